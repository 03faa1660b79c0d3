//! The server's side of one TLS connection, by three verbs: feed it what came, seal what leaves,
//! say farewell. It knows no socket; all of rustls that a shard calls is called here.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{ProducesTickets, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{HandshakeKind, ServerConfig};

/// The most bytes that one record holds before it is sealed.
pub const RECORD_BYTES: usize = 16 << 10;

/// Room for a sealed record, with an answer to a key update in front of it.
pub const SEALED_BYTES: usize = RECORD_BYTES + 512;

/// The most bytes of a record, or of a message of a handshake, that has come in part: the largest
/// record that RFC 8446 allows.
const PART_BYTES_MAX: usize = 5 + RECORD_BYTES + 2048;

/// The cryptography of all TLS here, named in this one place.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Makes and reads the tickets with which clients resume their sessions, for all shards.
///
/// # Errors
/// This host gives no random numbers.
pub fn ticketer() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    rustls::crypto::ring::Ticketer::new()
}

/// Why a connection must end.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    /// The peer broke a rule of TLS, or does not want what this server has.
    #[error("{0}")]
    Peer(#[from] rustls::Error),
    /// More of a record or of a message came than one may have.
    #[error("a message of the handshake is too long")]
    TooLong,
    /// Nothing can be sealed: the keys are used up, or the handshake is not over.
    #[error("nothing can be sealed")]
    Unsealed,
}

/// One connection. It holds bytes of its own only while a record has come in part.
pub struct Session {
    connection: UnbufferedServerConnection,
    part: Vec<u8>,
    /// The handshake is over.
    is_through: bool,
    /// The peer has said that it sends nothing more.
    has_ended: bool,
    own: Own,
}

/// How far this side of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    /// It may say something.
    Open,
    /// The peer was told that this side is done: nothing more is sealed.
    Done,
    /// The peer broke a rule: the connection is not asked again, as it would answer once more.
    Broken,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("is_through", &self.is_through).finish_non_exhaustive()
    }
}

impl Session {
    /// A connection that has said nothing yet.
    ///
    /// # Errors
    /// The settings of TLS do not fit together.
    pub fn new(config: &Arc<ServerConfig>) -> Result<Self, Fault> {
        let connection = UnbufferedServerConnection::new(Arc::clone(config))?;
        Ok(Self {
            connection,
            part: Vec::new(),
            is_through: false,
            has_ended: false,
            own: Own::Open,
        })
    }

    /// Returns `true` if the handshake is over.
    pub fn is_through(&self) -> bool {
        self.is_through
    }

    /// Returns `true` if the peer has said that it sends nothing more.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Returns the bytes of memory that are kept for what has come in part.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn kept_bytes(&self) -> usize {
        self.part.capacity()
    }

    /// Returns `true` if the handshake went on from an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Takes the next bytes from the peer, which are overwritten. Appends what they say to `plain`,
    /// and what the peer is to be sent before anything else to `answer`, also in the case of an
    /// error.
    ///
    /// # Errors
    /// The connection must end.
    pub fn feed(
        &mut self,
        bytes: &mut [u8],
        plain: &mut Vec<u8>,
        answer: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        if self.own == Own::Broken {
            return Ok(());
        }
        if self.part.is_empty() {
            let used = self.advance(bytes, plain, answer)?;
            let rest = &bytes[used..];
            if !rest.is_empty() {
                self.part = rest.to_vec();
            }
        } else {
            let mut part = std::mem::take(&mut self.part);
            part.extend_from_slice(bytes);
            let used = self.advance(&mut part, plain, answer)?;
            // Not the memory of a whole read for the few bytes that are left of it.
            self.part = if used > 0 { part.split_off(used) } else { part };
        }
        if self.has_ended {
            // Nothing behind the peer's last word is looked at.
            self.part = Vec::new();
        }
        if self.part.len() > PART_BYTES_MAX {
            self.own = Own::Broken;
            return Err(Fault::TooLong);
        }
        Ok(())
    }

    /// Goes on as far as `bytes` reach. Returns the number of them that are used up.
    fn advance(
        &mut self,
        bytes: &mut [u8],
        plain: &mut Vec<u8>,
        answer: &mut Vec<u8>,
    ) -> Result<usize, Fault> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut bytes[used..]);
            let state = match state {
                Ok(state) => state,
                Err(error) => {
                    self.object(&mut bytes[used + discard..], answer);
                    return Err(error.into());
                }
            };
            let mut is_done = false;
            match state {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let Ok(record) = record else { continue };
                        plain.extend_from_slice(record.payload);
                        discard += record.discard;
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    grow(answer, |room| data.encode(room));
                }
                // The caller sends the answer before anything else.
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.has_ended = true,
                ConnectionState::WriteTraffic(_) => (self.is_through, is_done) = (true, true),
                _ => is_done = true,
            }
            used += discard;
            if is_done {
                return Ok(used);
            }
        }
    }

    /// Appends what tells the peer why this side ends the connection.
    fn object(&mut self, rest: &mut [u8], answer: &mut Vec<u8>) {
        self.own = Own::Broken;
        // The answer that was due before the fault, and the alert behind it. Where nothing is left
        // to be said the connection would look at the same bytes again.
        while self.connection.wants_write() {
            match self.connection.process_tls_records(rest).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    grow(answer, |room| data.encode(room));
                }
                _ => return,
            }
        }
    }

    /// Seals `plain`, which is not empty and at most [`RECORD_BYTES`] long, into `record`, which
    /// has [`SEALED_BYTES`]. Returns the length of what was written there.
    ///
    /// # Errors
    /// Nothing more can be sent.
    pub fn seal(&mut self, plain: &[u8], record: &mut [u8]) -> Result<usize, Fault> {
        debug_assert!(
            (1..=RECORD_BYTES).contains(&plain.len()),
            "one record, and not an empty one"
        );
        if self.own != Own::Open {
            return Err(Fault::Unsealed);
        }
        // With what has come in part, as the connection was told of it before.
        match self.connection.process_tls_records(&mut self.part).state? {
            ConnectionState::WriteTraffic(mut traffic) => {
                traffic.encrypt(plain, record).map_err(|_| Fault::Unsealed)
            }
            _ => Err(Fault::Unsealed),
        }
    }

    /// Writes this side's last word into `record`: once, and only when the handshake is over.
    /// Returns its length; zero where there is nothing to be said.
    pub fn farewell(&mut self, record: &mut [u8]) -> usize {
        if self.own != Own::Open || !self.is_through {
            return 0;
        }
        self.own = Own::Done;
        match self.connection.process_tls_records(&mut self.part).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                traffic.queue_close_notify(record).unwrap_or(0)
            }
            _ => 0,
        }
    }
}

/// Has `write` write behind what is in `out`, with as much room as it asks for.
fn grow(out: &mut Vec<u8>, mut write: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    let begin = out.len();
    out.resize(begin + (1 << 10), 0);
    let mut written = write(&mut out[begin..]);
    if let Err(EncodeError::InsufficientSize(short)) = &written {
        out.resize(begin + short.required_size, 0);
        written = write(&mut out[begin..]);
    }
    out.truncate(begin + written.unwrap_or(0));
}
