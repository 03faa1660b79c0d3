//! The word of the application's backend for a client that may not do what it wants.

/// An error for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Its number.
    pub code: u32,
    /// Its text.
    pub text: Box<str>,
    /// The same request may succeed later.
    pub is_passing: bool,
}

/// The close frame of a client that is sent away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dismissal {
    /// The close code.
    pub code: u16,
    /// The reason text.
    pub reason: Box<str>,
}
