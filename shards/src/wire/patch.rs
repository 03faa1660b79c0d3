//! Patches: a text by its difference from the one before, in the delta format of Fossil.
//!
//! The encoder is ours because it runs in the fan-out: the crate that there is looks at up to 250
//! places for each byte, and a text made for it takes a shard 75 ms for 64 KiB. This one looks at
//! one place for each byte. It cuts texts between characters, so that a patch of texts is a text.

/// A longer text is told whole, and nothing is told by its difference from it.
pub(crate) const PATCHED_BYTES_MAX: usize = 64 << 10;

/// Texts are searched for equal blocks of so many bytes.
const BLOCK: usize = 16;

/// A copy shorter than this may take more room than the bytes that it stands for.
const COPY_MIN: usize = 12;

/// The digits of the format's numbers, which have the base 64.
const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";

/// A part that two texts have in common.
#[derive(Debug, Clone, Copy)]
struct Common {
    /// The place in the newer text.
    at: usize,
    /// The place in the older one.
    from: usize,
    len: usize,
}

/// Returns the patch that makes `new` of `old`, if it is shorter than `new`. If `new` is UTF-8 and
/// `is_text` holds, the patch is UTF-8 as well.
pub(crate) fn patch(old: &[u8], new: &[u8], is_text: bool) -> Option<Vec<u8>> {
    if new.len().max(old.len()) > PATCHED_BYTES_MAX || new.len() < COPY_MIN {
        return None;
    }
    let mut writer = Writer { new, is_text, done: 0, out: Vec::with_capacity(64) };
    put_number(&mut writer.out, new.len());
    writer.out.push(b'\n');
    // Most texts begin and end like the one before, and what lies between is short.
    let begin = common_len(old.iter().zip(new));
    let rest = old.len().min(new.len()) - begin;
    let end = common_len(old.iter().rev().zip(new.iter().rev()).take(rest));
    writer.copy(Common { at: 0, from: 0, len: begin });
    writer.copy_blocks(&old[begin..old.len() - end], begin, new.len() - end)?;
    writer.copy(Common { at: new.len() - end, from: old.len() - end, len: end });
    writer.finish()
}

fn common_len<'a>(pairs: impl Iterator<Item = (&'a u8, &'a u8)>) -> usize {
    pairs.take_while(|(old, new)| old == new).count()
}

/// Writes a patch from the beginning of the newer text to its end.
struct Writer<'a> {
    new: &'a [u8],
    is_text: bool,
    /// The bytes of the newer text that the patch makes already.
    done: usize,
    out: Vec<u8>,
}

impl Writer<'_> {
    /// Copies the blocks of the newer text up to `end` that `old` has as well; `old` begins at
    /// `from` of the older text. `None`: the patch has become too long.
    fn copy_blocks(&mut self, old: &[u8], from: usize, end: usize) -> Option<()> {
        if old.len() < BLOCK || end < self.done + BLOCK {
            return Some(());
        }
        let blocks = Blocks::of(old);
        let mut at = self.done;
        while at + BLOCK <= end {
            let window = &self.new[at..end];
            let Some(found) = blocks.find(old, window) else {
                at += 1;
                continue;
            };
            let before =
                common_len(old[..found].iter().rev().zip(self.new[self.done..at].iter().rev()));
            let behind = common_len(old[found..].iter().zip(window));
            let len = before + behind;
            self.copy(Common { at: at - before, from: from + found - before, len });
            if self.out.len() >= self.new.len() {
                return None;
            }
            at = (at + behind).max(self.done);
        }
        Some(())
    }

    /// Copies a part of the older text, behind the bytes of the newer one that come before it.
    fn copy(&mut self, Common { at, from, len }: Common) {
        let (mut begin, mut end) = (at, at + len);
        if self.is_text {
            // The bytes between two copies must be characters.
            let is_inside = |at: usize| self.new.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
            while begin < end && is_inside(begin) {
                begin += 1;
            }
            while begin < end && is_inside(end) {
                end -= 1;
            }
        }
        if end - begin < COPY_MIN {
            return;
        }
        self.put_own(begin);
        put_number(&mut self.out, end - begin);
        self.out.push(b'@');
        put_number(&mut self.out, from + begin - at);
        self.out.push(b',');
        self.done = end;
    }

    /// Puts the bytes of the newer text up to `end` themselves.
    fn put_own(&mut self, end: usize) {
        let own = &self.new[self.done..end];
        if !own.is_empty() {
            put_number(&mut self.out, own.len());
            self.out.push(b':');
            self.out.extend_from_slice(own);
            self.done = end;
        }
    }

    fn finish(mut self) -> Option<Vec<u8>> {
        self.put_own(self.new.len());
        put_number(&mut self.out, checksum(self.new) as usize);
        self.out.push(b';');
        (self.out.len() < self.new.len()).then_some(self.out)
    }
}

/// The blocks of a text, by a hash of their bytes. Of two with one hash the later one is known.
struct Blocks {
    /// The numbers of the blocks, from 1; zero for none.
    places: Vec<u16>,
    bits: u32,
}

const _: () = assert!(PATCHED_BYTES_MAX / BLOCK <= u16::MAX as usize, "a number fits its type");

impl Blocks {
    fn of(text: &[u8]) -> Self {
        let bits = (text.len() / BLOCK).next_power_of_two().trailing_zeros() + 1;
        let mut blocks = Self { places: vec![0; 1 << bits], bits };
        for (block, number) in text.chunks_exact(BLOCK).zip(1..) {
            let place = blocks.place(block);
            blocks.places[place] = number;
        }
        blocks
    }

    /// Returns the place in `text`, of which these are the blocks, of the block with which a
    /// window begins.
    fn find(&self, text: &[u8], window: &[u8]) -> Option<usize> {
        let block = &window[..BLOCK];
        let number = usize::from(self.places[self.place(block)]);
        let at = number.checked_sub(1)? * BLOCK;
        (&text[at..at + BLOCK] == block).then_some(at)
    }

    fn place(&self, block: &[u8]) -> usize {
        let half = |at: usize| {
            let bytes = block[at..at + 8].try_into().expect("a block has two halves");
            u64::from_le_bytes(bytes)
        };
        // Multiplied by odd numbers without a pattern, as a hash of Fibonacci's kind has it.
        let mixed = half(0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ half(8).wrapping_mul(0xc2b2_ae3d_27d4_eb4f).rotate_left(31);
        let hash = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        usize::try_from(hash >> (64 - self.bits)).unwrap_or_default()
    }
}

/// The sum of a text's words of four bytes, the highest byte first.
fn checksum(text: &[u8]) -> u32 {
    let words = text.chunks(4).map(|chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        u32::from_be_bytes(word)
    });
    words.fold(0, u32::wrapping_add)
}

/// Writes a number with the base 64, the highest digit first.
fn put_number(out: &mut Vec<u8>, number: usize) {
    let bits = usize::BITS - number.leading_zeros();
    let digits = bits.div_ceil(6).max(1);
    for digit in (0..digits).rev() {
        out.push(DIGITS[number >> (6 * digit) & 63]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Patches of the outside crate's making are read by clients; its reader reads ours.
    fn applied(old: &[u8], patch: &[u8]) -> Vec<u8> {
        fossil_delta::apply(old, patch).expect("a patch fits its text")
    }

    fn check(old: &[u8], new: &[u8]) -> Option<usize> {
        let mut shortest = None;
        for is_text in [false, std::str::from_utf8(new).is_ok()] {
            let patch = patch(old, new, is_text)?;
            assert!(patch.len() < new.len());
            assert_eq!(applied(old, &patch), new);
            assert!(!is_text || std::str::from_utf8(&patch).is_ok());
            shortest = Some(patch.len());
        }
        shortest
    }

    #[test]
    fn small_changes_make_small_patches() {
        let old = format!("{{\"counter\":1,\"payload\":\"{}\"}}", "a".repeat(500));
        let new = old.replace(":1,", ":22,");
        assert!(check(old.as_bytes(), new.as_bytes()).unwrap() < 30);
        assert_eq!(check(old.as_bytes(), old.as_bytes()), Some(14));
        let many: Vec<String> =
            (0..200).map(|n| format!("{{\"id\":{n},\"price\":{}}}", n * 7)).collect();
        let moved = many[100..].iter().chain(&many[..100]).cloned().collect::<String>();
        let len = check(many.concat().as_bytes(), moved.as_bytes()).unwrap();
        assert!(len < 100, "halves that change places: {len}");
        assert_eq!(check(b"one text of some length", b"quite another, as long"), None);
        assert_eq!(check(b"", &[b'x'; 100]), None);
        assert_eq!(check(&[b'x'; 100], b""), None);
        let long = vec![b'x'; PATCHED_BYTES_MAX + 1];
        assert_eq!(check(&long, &long[1..]), None);
        assert!(check(&long[1..], &long[1..]).is_some());
    }

    #[test]
    fn a_patch_of_texts_is_a_text() {
        let signs = ["é", "è", "🟢", "🔴", "中", "文", "a"];
        let text = |seed: usize| (0..300).map(|n| signs[(n * n + n * seed / 7) % 7]).collect();
        let texts: Vec<String> = (0..60).map(text).collect();
        let found = texts.windows(2).filter_map(|two| check(two[0].as_bytes(), two[1].as_bytes()));
        assert!(found.count() > 5, "some of them are worth it");
    }

    /// Two texts with parts in common.
    fn texts() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let part = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            "[é🟢a-c]{0,40}".prop_map(String::into_bytes),
            proptest::collection::vec(0..2_u8, 0..80),
        ];
        proptest::collection::vec(part, 1..12).prop_flat_map(|parts| {
            let count = parts.len();
            let order = || proptest::collection::vec(0..count, 1..16);
            (Just(parts), order(), order()).prop_map(|(parts, old, new)| {
                let made =
                    |order: Vec<usize>| order.iter().flat_map(|&at| parts[at].clone()).collect();
                (made(old), made(new))
            })
        })
    }

    proptest! {
        /// Another reader of the format makes the newer text of each patch.
        #[test]
        fn patches_make_the_newer_text((old, new) in texts()) {
            check(&old, &new);
        }
    }
}
