//! The bytes of a connection of `pub` or `sub`: plain, or within TLS.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Error, StreamOwned};
use stentor_units::Url;

use crate::tls::{Trust, client_config};

/// The connection.
pub(super) enum Wire {
    Plain(TcpStream),
    Sealed(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    /// A connection as the address asks for it. The handshake is done with the first bytes.
    ///
    /// # Errors
    /// Nobody could be trusted, or the host has a name that no certificate has.
    pub(super) fn new(socket: TcpStream, url: &Url, trust: &Trust) -> Result<Self, String> {
        if !url.tls {
            return Ok(Self::Plain(socket));
        }
        let name = ServerName::try_from(url.host.clone())
            .map_err(|_| format!("{:?} is no name that a certificate can have", url.host))?;
        let connection = ClientConnection::new(Arc::new(client_config(trust)?), name)
            .map_err(|error| error.to_string())?;
        Ok(Self::Sealed(Box::new(StreamOwned::new(connection, socket))))
    }

    /// The socket below.
    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Sealed(stream) => stream.get_ref(),
        }
    }
}

/// Puts a failure of TLS in words that say what to do.
fn explained(error: io::Error) -> io::Error {
    let Some(of_tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return error;
    };
    let text = match of_tls {
        Error::InvalidCertificate(why) => format!(
            "the server's certificate is not trusted ({why}): --ca FILE names whom to trust, \
             --insecure accepts any certificate"
        ),
        Error::InvalidMessage(_) => "the server does not speak TLS here".to_owned(),
        other => format!("TLS: {other}"),
    };
    io::Error::new(error.kind(), text)
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(into),
            Self::Sealed(stream) => stream.read(into).map_err(explained),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Sealed(stream) => stream.write(bytes).map_err(explained),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Sealed(stream) => stream.flush().map_err(explained),
        }
    }
}
