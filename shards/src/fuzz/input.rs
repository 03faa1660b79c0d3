//! The input of a fuzz target, read piece by piece.

/// The rest of the given bytes; behind the last, all are zero.
pub(super) struct Input<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    pub(super) fn below(&mut self, sides: usize) -> usize {
        usize::from(self.byte()) % sides
    }

    /// The next `count` bytes, or what there is.
    pub(super) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// A list of lengths: a count below eight, then the lengths. None: all in one piece.
    pub(super) fn cuts(&mut self) -> &'a [u8] {
        let count = self.below(8);
        self.take(count)
    }
}

/// `bytes` in pieces of these lengths, again and again; zero stands for 256.
pub(super) fn pieces<'a>(mut bytes: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut cuts = cuts.iter().cycle();
    while !bytes.is_empty() {
        let len = match cuts.next() {
            None => bytes.len(),
            Some(0) => 256,
            Some(len) => usize::from(*len),
        };
        let (piece, rest) = bytes.split_at(len.min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}
