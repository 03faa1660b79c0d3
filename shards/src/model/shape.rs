//! How a publication looks to a member, as far as the model needs to know: one look or another.

/// One way in which a publication is written for the wire. The dialects say what each looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Shape(pub(crate) u8);
