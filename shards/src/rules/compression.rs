//! Compression, as a setting for all channels and as a rule of a namespace.

/// The compression of messages to clients that can read such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// There is none.
    Off,
    /// Each message is compressed by itself, once for all clients.
    On,
    /// Messages of busy channels are compressed by those before them.
    Shared,
}
