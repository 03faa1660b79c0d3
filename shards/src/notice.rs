//! Notices: events that an operator must know with more detail than a counter has. A thread of its
//! own logs them, so that no shard waits for the log, and each one at most once a minute.

use std::collections::HashMap;
use std::net::IpAddr;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::clock::Now;

/// The most notices that may wait; more are lost.
const NOTICES_WAITING_MAX: usize = 64;

/// The most different notices that are told apart within a minute.
const KEYS_MAX: usize = 256;

/// The time for which the same notice is not logged again.
const QUIET_S: u32 = 60;

/// The most characters of a client's text in a line of the log.
const SHOWN_MAX: usize = 200;

/// Something that happened on a shard.
#[derive(Debug)]
pub(crate) enum Notice {
    /// A browser's origin is not allowed.
    OriginRefused { origin: String, host: String, client: Option<IpAddr> },
    /// A proxy that is not trusted forwards clients, while clients are limited by address.
    ProxyNotTrusted { proxy: Option<IpAddr> },
}

/// The notices of the last minute.
#[derive(Debug, Default)]
struct Said {
    at_s: HashMap<String, u32>,
    /// The number of notices left out since the last one, because there were too many.
    left_out: u64,
}

impl Said {
    /// Returns `true` if the notice of `key` is to be logged now.
    fn is_due(&mut self, key: String, now_s: u32) -> bool {
        if self.at_s.len() >= KEYS_MAX {
            self.at_s.retain(|_, at_s| now_s.saturating_sub(*at_s) < QUIET_S);
        }
        let full = self.at_s.len() >= KEYS_MAX;
        match self.at_s.get_mut(&key) {
            Some(at_s) if now_s.saturating_sub(*at_s) < QUIET_S => false,
            Some(at_s) => {
                *at_s = now_s;
                true
            }
            None if full => {
                self.left_out += 1;
                false
            }
            None => {
                self.at_s.insert(key, now_s);
                true
            }
        }
    }
}

/// Starts the thread; it ends when every sender is gone.
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn start() -> std::io::Result<Sender<Notice>> {
    let (sender, receiver) = bounded(NOTICES_WAITING_MAX);
    std::thread::Builder::new().name("notices".into()).spawn(move || log_all(&receiver))?;
    Ok(sender)
}

fn log_all(notices: &Receiver<Notice>) {
    let mut said = Said::default();
    for notice in notices {
        log(&mut said, notice, Now::read().seconds());
    }
}

fn log(said: &mut Said, notice: Notice, now_s: u32) {
    match notice {
        Notice::OriginRefused { origin, host, client } => {
            let origin = shown(&origin);
            if !said.is_due(origin.clone(), now_s) {
                return;
            }
            let (host, client) = (shown(&host), client.map(|client| client.to_string()));
            tracing::warn!(
                origin,
                host,
                client,
                left_out = std::mem::take(&mut said.left_out),
                "refused an origin: allowed-origins does not name it, and it is not the host that \
                 was asked for"
            );
        }
        Notice::ProxyNotTrusted { proxy } => {
            if !said.is_due(String::new(), now_s) {
                return;
            }
            let proxy = proxy.map(|proxy| proxy.to_string());
            tracing::warn!(
                proxy,
                "connections come through a proxy, and max-clients-per-ip counts all of them as \
                 one address: name the proxy in trusted-proxies"
            );
        }
    }
}

/// A client's text as a part of one line.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_MAX).collect();
    if shown.len() < text.len() {
        shown.push('\u{2026}');
    }
    shown.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_logged_once_a_minute() {
        let mut said = Said::default();
        assert!(said.is_due("a".into(), 1000));
        assert!(!said.is_due("a".into(), 1059));
        assert!(said.is_due("b".into(), 1059));
        assert!(said.is_due("a".into(), 1060));
    }

    #[test]
    fn many_different_notices_are_counted_and_forgotten() {
        let mut said = Said::default();
        let due = (0..1000).filter(|key| said.is_due(key.to_string(), 1000)).count();
        assert_eq!((due, said.left_out), (KEYS_MAX, 1000 - KEYS_MAX as u64));
        assert!(said.at_s.len() <= KEYS_MAX);
        assert!(said.is_due("another".into(), 1060));
        assert_eq!(said.at_s.len(), 1);
    }

    #[test]
    fn a_clients_text_stays_within_its_line() {
        assert_eq!(shown("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(shown(&"x".repeat(500)).chars().count(), SHOWN_MAX + 1);
    }
}
