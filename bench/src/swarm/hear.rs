//! The bytes of open clients: their messages are told, and their pings answered.

use std::io;

use super::causes;
use super::client::Inbound;
use super::clients::Swarm;
use crate::dialect::{Event, Said};
use crate::frame::{self, Reader};

impl Swarm {
    pub(super) fn hear(
        &mut self,
        index: usize,
        bytes: &mut [u8],
        each: &mut impl FnMut(usize, &[u8]),
    ) -> io::Result<()> {
        let Some(client) = self.clients[index].as_mut() else { return Ok(()) };
        let (pings, pongs) = (&mut self.pings, &mut self.pongs);
        let (answers, close_code) = (&self.answers, &mut client.close_code);
        let (dialect, refused) = (self.dialect, &mut self.refused);
        let mut track = client.track.as_deref_mut();
        let reader = match &mut client.inbound {
            Inbound::Frames(reader) => reader,
            Inbound::Events(_) => return self.hear_events(index, bytes, each),
        };
        let read = reader.feed(bytes, |opcode, payload| match opcode {
            frame::TEXT | frame::BINARY | frame::CONTINUATION => {
                each(index, payload);
                if let Some(track) = &mut track {
                    dialect.follow(payload, track);
                }
                dialect.each_said(payload, |said| match said {
                    Said::Ping => {
                        *pings += 1;
                        dialect.put_pong(pongs);
                    }
                    Said::Refused(_, why) => causes::count(refused, &why),
                    Said::Done(_) | Said::Named(_) => {}
                });
                for known in answers {
                    if known.is_to(payload) {
                        *pings += 1;
                        pongs.extend_from_slice(&known.frame);
                    }
                }
            }
            frame::PING => {
                *pings += 1;
                frame::put_masked(pongs, frame::PONG, payload);
            }
            frame::CLOSE => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                *close_code = code.or(Some(1005));
            }
            _ => {}
        });
        read.map_err(|_| io::Error::other("the server sent a frame that is too long"))?;
        let recovered = track.and_then(|track| track.recovered.take());
        if let (Some(recovered), Some(returning)) = (recovered, &mut self.returning) {
            returning.absences.recovered(recovered);
        }
        if !self.pongs.is_empty() {
            self.sender.send(index, client, &self.pongs)?;
            self.pongs.clear();
        }
        Ok(())
    }

    /// Like [`Swarm::hear`], of what a client got while it became ready, and behind that.
    pub(super) fn hear_first(
        &mut self,
        index: usize,
        each: &mut impl FnMut(usize, &[u8]),
    ) -> io::Result<()> {
        let Some(client) = self.clients[index].as_mut() else { return Ok(()) };
        let mut head = std::mem::take(&mut client.head);
        let mut early = std::mem::take(&mut client.early);
        if !early.is_empty() {
            // These are whole frames, and the reader may have a part of the next one.
            let part = std::mem::replace(&mut client.inbound, Inbound::Frames(Reader::default()));
            let heard = self.hear(index, &mut early, each);
            if let Some(client) = self.clients[index].as_mut() {
                client.inbound = part;
            }
            heard?;
        }
        self.hear(index, &mut head, each)
    }

    /// Like [`Swarm::hear`], of bytes that came within TLS.
    pub(super) fn hear_sealed(
        &mut self,
        index: usize,
        bytes: &mut [u8],
        each: &mut impl FnMut(usize, &[u8]),
    ) -> io::Result<()> {
        let Some(client) = self.clients[index].as_mut() else { return Ok(()) };
        let Some(tls) = &mut client.tls else { return Ok(()) };
        let (mut plain, sealed) = (std::mem::take(&mut self.plain), &mut self.sender.sealed);
        plain.clear();
        sealed.clear();
        let taken = tls.take(bytes, &mut plain, sealed);
        if !sealed.is_empty() {
            self.sender.put_sealed(index, client)?;
        }
        // Messages before the invalid bytes count all the same.
        let heard = self.hear(index, &mut plain, each);
        self.plain = plain;
        if let Err(error) = taken {
            self.part_with(index, Some(error));
        }
        heard
    }

    /// Like [`Swarm::hear`], of the events of a stream.
    fn hear_events(
        &mut self,
        index: usize,
        bytes: &mut [u8],
        each: &mut impl FnMut(usize, &[u8]),
    ) -> io::Result<()> {
        let Some(client) = self.clients[index].as_mut() else { return Ok(()) };
        let (Inbound::Events(events), close_code) = (&mut client.inbound, &mut client.close_code)
        else {
            return Ok(());
        };
        let read = events.feed(bytes, |Event { name, data }| match name {
            b"" | b"message" => each(index, data),
            b"close" => *close_code = code_of(data).or(*close_code),
            _ => {}
        });
        read.map_err(|why| io::Error::other(format!("the server: {why}")))
    }
}

/// Returns the close code that a server says in the last event of a stream.
fn code_of(data: &[u8]) -> Option<u16> {
    #[derive(serde::Deserialize)]
    struct Close {
        code: u16,
    }
    serde_json::from_slice(data).ok().map(|close: Close| close.code)
}
