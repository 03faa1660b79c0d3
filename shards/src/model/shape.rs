//! The form in which a publication is written for a member. The model only tells forms apart.

/// One way in which a publication is written for the wire. The dialects say what each looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Shape(pub(crate) u8);
