//! `stentor pub` and `stentor sub`: small clients of stentor.v1.

mod lines;
mod link;
mod place;
mod publish;
mod subscribe;
mod wire;

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, Timespec};
use stentor_units::Url;

use crate::config::secret;
use crate::tls::Trust;

pub(crate) use publish::publish;
pub(crate) use subscribe::subscribe;

/// The token of a connection.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Bearer {
    Nobody,
    Text(String),
    /// The file that holds it.
    File(PathBuf),
}

impl Bearer {
    /// Returns the token, if there is one.
    ///
    /// # Errors
    /// The file cannot be read, or it is no token.
    fn token(&self) -> Result<Option<String>, String> {
        match self {
            Self::Nobody => Ok(None),
            Self::Text(token) => Ok(Some(token.clone())),
            Self::File(path) => secret::read(path).map(Some),
        }
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("Nobody"),
            Self::Text(_) => f.write_str("Text(***)"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

/// The arguments of `stentor pub`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) url: Url,
    pub(crate) channel: String,
    pub(crate) user: Option<String>,
    pub(crate) token: Bearer,
    pub(crate) trust: Trust,
    /// One text; `-` stands for the lines of standard input.
    pub(crate) text: String,
}

/// The arguments of `stentor sub`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscribe {
    pub(crate) url: Url,
    pub(crate) channel: String,
    pub(crate) user: Option<String>,
    pub(crate) token: Bearer,
    pub(crate) trust: Trust,
    /// Whole messages rather than their texts.
    pub(crate) json: bool,
    /// After so many messages it is over.
    pub(crate) count: Option<u64>,
    /// `true` if it ends with the connection instead of connecting again.
    pub(crate) once: bool,
}

/// The end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// With a close frame; without a code it is 1005.
    Closed { code: u16, reason: String },
    /// Without one.
    Lost(String),
}

impl End {
    /// Returns `true` if the same client would meet the same end again: the table of close codes in
    /// PROTOCOL.md.
    fn is_final(&self) -> bool {
        match self {
            Self::Lost(_) => false,
            Self::Closed { code, .. } => *code >= 3500 || matches!(code, 1000 | 1002 | 1007 | 1008),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { code, reason } => {
                // The reason comes from elsewhere: nothing of it may move a terminal's cursor.
                write!(f, "closed by the server: {code} {}", reason.escape_debug())
            }
            Self::Lost(why) => write!(f, "the connection was lost: {why}"),
        }
    }
}

/// Waits until one of the descriptors has something to tell, or for so long.
fn wait(fds: &mut [PollFd<'_>], most: Option<Duration>) -> Result<(), String> {
    let most = most.map(|most| Timespec {
        tv_sec: i64::try_from(most.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(most.subsec_nanos()),
    });
    match rustix::event::poll(fds, most.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(format!("poll: {error}")),
    }
}

/// A line for people, beside what is printed.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "stentor: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_codes_are_those_of_the_protocol() {
        let is_final = |code| End::Closed { code, reason: String::new() }.is_final();
        for code in [1000, 1002, 1007, 1008, 3500, 3501, 4000] {
            assert!(is_final(code), "{code}");
        }
        for code in [1001, 1005, 1006, 1009, 1011, 1012, 1013, 1014, 3000, 3008, 3012, 3499] {
            assert!(!is_final(code), "{code}");
        }
        assert!(!End::Lost("reset".into()).is_final());
    }

    #[test]
    fn an_end_is_one_line() {
        let end = End::Closed { code: 3501, reason: "a\nb\x1b".into() };
        assert_eq!(end.to_string(), "closed by the server: 3501 a\\nb\\u{1b}");
    }
}
