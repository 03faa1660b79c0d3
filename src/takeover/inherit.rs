//! The newer process reads the histories of the older one.

use std::io::Write;

use stentor_shards::snapshot::Past;

use super::histories;
use super::input::{BYTES_MAX, Inherited, Unread, receive};
use super::pass::BEGINS;
use super::{Asked, Claim, Predecessor, ask};

impl Claim {
    /// Reads the histories of the older process, right before this one begins; `None` if there is
    /// no older process. If they cannot be had, that is said in the log and counted in what this
    /// process begins with.
    pub(crate) fn inherit(&mut self) -> Option<Inherited> {
        let Predecessor { stream, who, has_histories, .. } = self.predecessor.as_mut()?;
        let who = *who;
        let (seed, epoch) = stentor_shards::fresh_seed();
        let read = if *has_histories {
            let asked = histories::request(stream, epoch);
            asked.and_then(|()| receive(stream, BYTES_MAX))
        } else {
            Err(Unread::OtherVersion)
        };
        match read {
            Ok(Inherited { past, keys }) => {
                let (channels, revocations) = (past.channels.len(), past.revocations.len());
                tracing::info!(pid = who.pid, channels, revocations, "histories taken over");
                Some(Inherited { past: Past { seed: Some(seed), ..past }, keys })
            }
            Err(why) => {
                tracing::warn!(pid = who.pid, %why, "the older process's histories are not had");
                // It numbers its publications by itself.
                *has_histories = false;
                if !matches!(why, Unread::OtherVersion | Unread::Refused(_)) {
                    // It may still be sending them.
                    self.ask_anew();
                }
                let past = Past { lost: 1, ..Past::default() };
                Some(Inherited { past, keys: Vec::new() })
            }
        }
    }

    /// Tells an older process whose histories were read that this one begins to number for both. If
    /// this one fails before that, the older one goes on in the same epochs.
    pub(crate) fn begin(&mut self) {
        let Some(Predecessor { stream, who, .. }) =
            self.predecessor.as_mut().filter(|older| older.has_histories)
        else {
            return;
        };
        if let Err(error) = stream.write_all(&[BEGINS]) {
            tracing::warn!(pid = who.pid, %error, "the older process is gone");
        }
    }

    /// Asks the older process once more, on another connection, and for no histories.
    fn ask_anew(&mut self) {
        let Some(Predecessor { asked: (address, newcomer), .. }) = self.predecessor.take() else {
            return;
        };
        // The sockets are those that this process has already.
        if let Ok(Asked::Yields(claim)) = ask(address, newcomer, false) {
            self.predecessor = claim.predecessor;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{SocketAddr, TcpListener};
    use std::os::fd::OwnedFd;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::takeover::pass::{self, FREE, HISTORIES, Request, SERVING, Sockets};
    use crate::takeover::{Newcomer, claim, meet};

    /// Serves newcomers as an older process, and answers a request for histories with some bytes.
    fn older(address: SocketAddr, answer: &'static [u8]) -> thread::JoinHandle<Vec<Request>> {
        let door = meet::open(&meet::place(address)).unwrap();
        thread::spawn(move || {
            let mut requests = Vec::new();
            loop {
                let (mut stream, _) = door.accept().unwrap();
                requests.push(pass::hear(&mut stream).unwrap());
                let listener = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
                let sockets = Sockets { listeners: vec![listener], admin: None };
                pass::send(&stream, &sockets, (1, true), Duration::ZERO).unwrap();
                let mut said = pass::next(&mut stream);
                if matches!(said, Ok(HISTORIES)) {
                    std::io::Read::read_exact(&mut stream, &mut [0; 8]).unwrap();
                    stream.write_all(answer).unwrap();
                    said = pass::next(&mut stream);
                }
                if matches!(said, Ok(SERVING)) {
                    stream.write_all(&[FREE]).unwrap();
                    return requests;
                }
            }
        })
    }

    #[test]
    fn an_older_process_whose_answer_is_damaged_is_relieved_all_the_same() {
        let answers: [&[u8]; 3] = [b"C\x01\0\0\0x", b"C\xff\xff\xff\xff", b"X\x04\0\0\0busy"];
        for (number, (answer, asked)) in answers.into_iter().zip([2, 2, 1]).enumerate() {
            let address = format!("127.0.0.9:{}", 10 + number).parse().unwrap();
            let older = older(address, answer);
            let newcomer = Newcomer { fingerprint: 2, base: Duration::ZERO, is_forced: false };
            let mut claimed = claim(address, newcomer).unwrap();
            let past = claimed.inherit().unwrap().past;
            assert_eq!((past.lost, past.channels.len()), (1, 0));
            claimed.relieve(None);
            let requests = older.join().unwrap();
            assert_eq!(requests.len(), asked);
            assert_eq!(requests[0].form, Some(histories::FORM));
            assert!(asked == 1 || requests[1].form.is_none());
        }
    }
}
