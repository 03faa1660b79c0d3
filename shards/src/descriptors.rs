//! Descriptors: as many as this process may have, and room for them from the start.

use std::io;

use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The descriptors of a shard beside its clients: its listener, and that once more for a process
/// that takes over, the set of watched sockets and the bell's event.
pub const PER_SHARD: u64 = 4;

/// The further descriptors of a shard that sleeps in the runtime's ring: three rings, their event
/// and the wait on the set of watched sockets.
pub const PER_SHARD_RING: u64 = 5;

/// The number of descriptors for which there is room from the start, at 8 bytes each.
const ROOM_MAX: u64 = 1 << 20;

/// Raises the limit of open descriptors to the most that this process may have, makes room for
/// them, and returns it.
///
/// The kernel's table of them doubles as it fills. In a process of several threads whoever accepts
/// or connects then waits until every core has let go of the old one (`expand_fdtable` in the
/// kernel's `fs/file.c`): 5 to 25 ms, at 256, 512, 1,024 and so on. Call it before the first thread
/// starts: a single one waits for nobody.
///
/// # Errors
/// The limit cannot be set.
pub fn raise_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    make_room(limit.min(ROOM_MAX));
    Ok(limit)
}

/// Without room the table grows as it always did.
fn make_room(count: u64) {
    let highest = i32::try_from(count).unwrap_or(i32::MAX).saturating_sub(1);
    if let Ok(any) = eventfd(0, EventfdFlags::CLOEXEC) {
        // There for a moment, and the room for it stays.
        let _ = rustix::io::fcntl_dupfd_cloexec(&any, highest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_all_that_may_be_open() {
        let limit = raise_limit().unwrap();
        assert_eq!(getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX), limit);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let room = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
        assert!(room.trim().parse::<u64>().unwrap() >= limit.min(ROOM_MAX), "{room} of {limit}");
    }
}
