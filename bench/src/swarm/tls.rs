//! One client's TLS, driven by hand: bytes of the socket go in, plain bytes and what is to be sent
//! come out.

use std::io;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{ClientConfig, HandshakeKind};

use crate::tls::explained;

#[cfg(test)]
mod tests;

/// More than what sealing adds to a record of TLS 1.2 or 1.3.
const SEAL_BYTES: usize = 64;

/// The most that one record holds.
const RECORD_BYTES: usize = 16 << 10;

/// A handshake message that the server sends is at most this long, in bytes, and usually 200.
const FLIGHT_BYTES: usize = 1 << 10;

/// One connection. It owns memory for what comes only while a record has come in part.
pub(super) struct Tls {
    connection: UnbufferedClientConnection,
    part: Vec<u8>,
    through: bool,
    said_goodbye: bool,
    /// It made no sense once: it is not asked any more.
    broken: bool,
}

impl Tls {
    /// A connection that has said nothing yet.
    pub(super) fn new(config: &Arc<ClientConfig>, name: &ServerName<'static>) -> io::Result<Self> {
        let connection = UnbufferedClientConnection::new(Arc::clone(config), name.clone());
        Ok(Self {
            connection: connection.map_err(wrong)?,
            part: Vec::new(),
            through: false,
            said_goodbye: false,
            broken: false,
        })
    }

    /// Returns `true` if the handshake is over, so that [`Tls::seal`] may be called.
    pub(super) fn is_through(&self) -> bool {
        self.through
    }

    /// Returns `true` if the server has said that nothing more comes: an end without it may be a
    /// cut.
    pub(super) fn said_goodbye(&self) -> bool {
        self.said_goodbye
    }

    /// Returns `true` if the handshake resumed an earlier session.
    pub(super) fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Takes the next bytes, none at the beginning, and appends what they say to `plain` and what
    /// is to be sent to `out`; both may hold something even where this fails.
    pub(super) fn take(
        &mut self,
        bytes: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        if self.broken {
            return Ok(());
        }
        if self.part.is_empty() {
            let used = self.advance(bytes, plain, out)?;
            self.part.extend_from_slice(&bytes[used..]);
        } else {
            let mut part = std::mem::take(&mut self.part);
            part.extend_from_slice(bytes);
            let used = self.advance(&mut part, plain, out)?;
            part.drain(..used);
            self.part = part;
        }
        if self.part.is_empty() || self.said_goodbye {
            self.part = Vec::new();
        }
        Ok(())
    }

    /// Goes on as far as `bytes` reach, and gives how many of them are used up.
    fn advance(
        &mut self,
        bytes: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut bytes[used..]);
            let state = match state {
                Ok(state) => state,
                Err(error) => {
                    self.broken = true;
                    self.object(&mut bytes[used + discard..], out);
                    return Err(wrong(error));
                }
            };
            let mut blocked = false;
            match state {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(wrong)?;
                        plain.extend_from_slice(record.payload);
                        discard += record.discard;
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    grown(out, FLIGHT_BYTES, |room| data.encode(room).map_err(Short::from))?;
                }
                // It leaves with the next send of this client, before anything else.
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.said_goodbye = true,
                ConnectionState::WriteTraffic(_) => (self.through, blocked) = (true, true),
                _ => blocked = true,
            }
            used += discard;
            if blocked {
                return Ok(used);
            }
        }
    }

    /// Appends what tells the server why this client goes.
    fn object(&mut self, rest: &mut [u8], out: &mut Vec<u8>) {
        let UnbufferedStatus { state, .. } = self.connection.process_tls_records(rest);
        if let Ok(ConnectionState::EncodeTlsData(mut data)) = state {
            // A peer that sends invalid records is told so only if that is possible at once.
            let _ = grown(out, FLIGHT_BYTES, |room| data.encode(room).map_err(Short::from));
        }
    }

    /// Appends `bytes` to `out` as records.
    pub(super) fn seal(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if self.broken {
            // Reading has counted it.
            return Ok(());
        }
        // With what came in part, as it is what this connection has been told of last.
        let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut self.part);
        match state.map_err(wrong)? {
            ConnectionState::WriteTraffic(mut traffic) => {
                let room = bytes.len() + (bytes.len() / RECORD_BYTES + 1) * SEAL_BYTES;
                grown(out, room, |room| traffic.encrypt(bytes, room).map_err(Short::from))
            }
            other => Err(io::Error::other(format!("TLS cannot send: {other:?}"))),
        }
    }
}

/// Why something was not written.
enum Short {
    /// It takes so many bytes.
    Of(usize),
    Never(String),
}

impl From<EncodeError> for Short {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Self::Of(required_size)
            }
            EncodeError::AlreadyEncoded => Self::Never(error.to_string()),
        }
    }
}

impl From<EncryptError> for Short {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Self::Of(required_size)
            }
            EncryptError::EncryptExhausted => Self::Never(error.to_string()),
        }
    }
}

/// Has `write` write behind what is in `out`, with room for `guess` bytes, or else for as many as
/// it asks for.
fn grown(
    out: &mut Vec<u8>,
    guess: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Short>,
) -> io::Result<()> {
    let begin = out.len();
    out.resize(begin + guess, 0);
    let mut written = write(&mut out[begin..]);
    if let Err(Short::Of(bytes)) = written {
        out.resize(begin + bytes, 0);
        written = write(&mut out[begin..]);
    }
    match written {
        Ok(bytes) => {
            out.truncate(begin + bytes);
            Ok(())
        }
        Err(short) => {
            out.truncate(begin);
            let why = match short {
                Short::Of(bytes) => format!("it takes {bytes} bytes"),
                Short::Never(why) => why,
            };
            Err(io::Error::other(format!("TLS cannot send: {why}")))
        }
    }
}

fn wrong(error: rustls::Error) -> io::Error {
    io::Error::other(explained(&error))
}
