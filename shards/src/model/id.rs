//! Identities as types that cannot be mixed up: shards, slots, clients, channels, requests.

use std::fmt;
use std::str::FromStr;

/// A shard's number, from 0 in the order of the cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ShardId(pub(crate) u16);

impl ShardId {
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The shard of that number, which is below [`SHARDS_MAX`].
    pub(crate) fn at(index: usize) -> Self {
        Self(u16::try_from(index).expect("at most 64 shards"))
    }

    /// This shard in a set of shards.
    pub(crate) fn bit(self) -> u64 {
        1 << self.0
    }
}

/// The most shards a set can hold.
pub(crate) const SHARDS_MAX: usize = 64;

/// The shards of a set.
pub(crate) fn shards_of(mut set: u64) -> impl Iterator<Item = ShardId> {
    std::iter::from_fn(move || {
        let next = set.trailing_zeros();
        (next < 64).then(|| {
            set &= set - 1;
            ShardId(u16::try_from(next).unwrap_or(0))
        })
    })
}

/// Makes a newtype of 32 bits that indexes a table.
macro_rules! index {
    ($(#[$about:meta])* $name:ident) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) struct $name(pub(crate) u32);

        impl $name {
            /// The same place as an index of a table.
            pub(crate) fn index(self) -> usize {
                self.0 as usize
            }

            /// The name of a table's place; tables end long before 32 bits do.
            pub(crate) fn at(index: usize) -> Self {
                Self(u32::try_from(index).expect("descriptors and memory end before 32 bits do"))
            }
        }
    };
}

index! {
    /// A client's place in the tables of its shard. It is given to another client later.
    Slot
}

index! {
    /// A channel's place in the table of one shard, for as long as the shard knows the channel.
    ChannelIndex
}

index! {
    /// A member's place in the list of its channel's members of one shape.
    Place
}

/// The bits of a generation that count the clients of a slot. Those above say which process of a
/// row of take-overs gave the id out.
const COUNT_BITS: u32 = 27;

/// The number of processes that can follow each other until ids are the same again.
const PROCESSES: u32 = 16;

/// A process in a row of take-overs: clients of two processes that live at once have other ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ProcessId(u8);

impl ProcessId {
    /// The process that takes over from this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self::of(u32::from(self.0) + 1)
    }

    /// Returns its number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The process of a number; `None` for one that no process has.
    pub fn numbered(number: u8) -> Option<Self> {
        (u32::from(number) < PROCESSES).then_some(Self(number))
    }

    fn of(number: u32) -> Self {
        Self(u8::try_from(number % PROCESSES).unwrap_or_default())
    }

    /// The generation of the first client of a slot.
    pub(crate) fn first_generation(self) -> u32 {
        u32::from(self.0) << COUNT_BITS
    }
}

/// Returns the generation behind one, in the same process.
pub(crate) fn next_generation(generation: u32) -> u32 {
    let count = (1 << COUNT_BITS) - 1;
    generation & !count | generation.wrapping_add(1) & count
}

/// One client for as long as the process runs: the generation tells it from others of its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId {
    pub(crate) generation: u32,
    pub(crate) slot: Slot,
    pub(crate) shard: ShardId,
}

/// The id of a client's request, as its dialect wrote it, to be echoed in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(pub(crate) Box<str>);

const _: () = assert!(size_of::<ClientId>() <= 12, "copied into every parcel");

impl ClientId {
    /// The process whose client it is.
    pub(crate) fn process(self) -> ProcessId {
        ProcessId::of(self.generation >> COUNT_BITS)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.shard.0, self.slot.0, self.generation)
    }
}

impl FromStr for ClientId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '-');
        let shard = ShardId(part(parts.next())?);
        let slot = Slot(part(parts.next())?);
        let generation = part(parts.next())?;
        Ok(Self { generation, slot, shard })
    }
}

fn part<T: FromStr>(text: Option<&str>) -> Result<T, ()> {
    // `parse` would take a plus sign and leading zeros, and one client must have one name.
    let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    let shortest = |text: &&str| *text == "0" || !text.starts_with('0');
    let text = text.filter(digits).filter(shortest).ok_or(())?;
    text.parse().map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_nothing_else_does() {
        let id = ClientId { generation: 7, slot: Slot(31), shard: ShardId(2) };
        assert_eq!(id.to_string(), "2-31-7");
        assert_eq!("2-31-7".parse(), Ok(id));
        for wrong in
            ["", "2", "2-31", "2-31-", "-1-2-3", "2-31-7-1", "+2-31-7", "02-31-7", "99999-1-1"]
        {
            assert_eq!(wrong.parse::<ClientId>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn clients_of_processes_that_follow_each_other_have_other_ids() {
        let first = ProcessId::default();
        let mut process = first;
        for number in 0..16 {
            assert_eq!((process.number(), ProcessId::numbered(number)), (number, Some(process)));
            let begin = process.first_generation();
            let last = begin | ((1 << COUNT_BITS) - 1);
            for generation in [begin, next_generation(begin), last] {
                let id = ClientId { generation, slot: Slot(0), shard: ShardId(0) };
                assert_eq!(id.process(), process);
            }
            assert_eq!(next_generation(last), begin, "its own ids come again");
            process = process.next();
        }
        assert_eq!((process, ProcessId::numbered(16)), (first, None));
    }

    #[test]
    fn a_set_lists_its_shards_in_order() {
        let set = ShardId(0).bit() | ShardId(5).bit() | ShardId(63).bit();
        let listed: Vec<u16> = shards_of(set).map(|shard| shard.0).collect();
        assert_eq!(listed, [0, 5, 63]);
        assert_eq!(shards_of(0).count(), 0);
    }
}
