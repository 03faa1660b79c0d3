//! The sending of clients: sealed where they speak TLS, to the socket at once, or when it takes
//! more.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::epoll;
use rustix::net::SendFlags;

use super::client::{Client, READS};

/// Most bytes that wait for one client's socket.
const OUT_BYTES_MAX: usize = 64 << 20;

/// The means of sending that all clients share.
pub(super) struct FrameSender {
    /// The set that all clients are watched by.
    pub(super) epoll: OwnedFd,
    /// Room for what is sealed on its way out.
    pub(super) sealed: Vec<u8>,
}

impl FrameSender {
    /// Sends what a client says.
    pub(super) fn send(
        &mut self,
        index: usize,
        client: &mut Client,
        bytes: &[u8],
    ) -> io::Result<()> {
        let Some(tls) = &mut client.tls else { return self.put(index, client, bytes) };
        self.sealed.clear();
        tls.seal(bytes, &mut self.sealed)?;
        self.put_sealed(index, client)
    }

    /// Sends what is in `sealed` as it is.
    pub(super) fn put_sealed(&mut self, index: usize, client: &mut Client) -> io::Result<()> {
        self.put(index, client, &self.sealed)
    }

    fn put(&self, index: usize, client: &mut Client, bytes: &[u8]) -> io::Result<()> {
        if !client.out.is_empty() {
            if client.out.len() > OUT_BYTES_MAX {
                let why = "the server does not read what its clients say";
                return Err(io::Error::new(io::ErrorKind::QuotaExceeded, why));
            }
            client.out.extend_from_slice(bytes);
            return Ok(());
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::net::send(&client.socket, bytes, flags) {
            Ok(sent) if sent == bytes.len() => Ok(()),
            Ok(sent) => self.keep(index, client, &bytes[sent..]),
            Err(rustix::io::Errno::AGAIN) => self.keep(index, client, bytes),
            // Closed by the server: reading counts it.
            Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn keep(&self, index: usize, client: &mut Client, rest: &[u8]) -> io::Result<()> {
        client.out.extend_from_slice(rest);
        self.watch(index, client)
    }

    /// Sends what waits, as the socket takes more.
    pub(super) fn flush(&self, index: usize, client: &mut Client) -> io::Result<()> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::net::send(&client.socket, &client.out, flags) {
            Ok(sent) => {
                client.out.drain(..sent);
            }
            Err(rustix::io::Errno::AGAIN) => {}
            // Reading counts it.
            Err(_) => client.out.clear(),
        }
        if client.out.is_empty() {
            client.out = Vec::new();
            self.watch(index, client)?;
        }
        Ok(())
    }

    /// Watches a client for what it waits for, from now on; what is so already is told once more.
    pub(super) fn watch(&self, index: usize, client: &Client) -> io::Result<()> {
        let waits = !client.out.is_empty();
        let flags = if waits { READS | epoll::EventFlags::OUT } else { READS };
        let data = epoll::EventData::new_u64(index as u64);
        Ok(epoll::modify(&self.epoll, &client.socket, data, flags)?)
    }
}
