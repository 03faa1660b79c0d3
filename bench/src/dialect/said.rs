//! Messages of a server to one client, in a protocol whose clients send numbered commands.

/// The number of the command that subscribes. The one before it connects, those after it publish.
pub(crate) const SUBSCRIBE: u32 = 2;

/// A message to one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// It wants a pong.
    Ping,
    /// It has named the client, which signs with that name.
    Named(String),
    /// The command of a number was performed.
    Done(u32),
    /// The command of a number was refused, with an error for people.
    Refused(u32, String),
}

impl Said {
    /// The refusal of a command, by the error's code and text.
    pub(super) fn refused(id: u32, code: u64, text: &str) -> Self {
        Self::Refused(id, format!("error {code}: {text}").escape_debug().to_string())
    }
}
