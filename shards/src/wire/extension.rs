//! The extension permessage-deflate (RFC 7692): the offers of a client, and the answer to them.

use super::transport::Transport;

/// The name of the extension.
const NAME: &str = "permessage-deflate";

/// The terms on which a connection may carry compressed messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The window of messages to the client, as the answer names it.
    window: Window,
    /// Each message to the client is to be compressed by itself.
    each_alone: bool,
}

/// The window of messages to a client. A client that offers a smaller one than the largest gets one
/// of these that is not larger than it offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Window {
    /// 256 bytes: messages that are worth it do not fit into it, and go as they are.
    Tiny,
    /// 4 KiB: longer messages go as they are.
    Small,
    /// 32 KiB, which need not be named.
    Full,
}

impl Window {
    fn within(bits: u8) -> Self {
        match bits {
            15.. => Self::Full,
            12.. => Self::Small,
            _ => Self::Tiny,
        }
    }

    /// The parameter that names it.
    fn parameter(self) -> &'static str {
        match self {
            Self::Tiny => "; server_max_window_bits=8",
            Self::Small => "; server_max_window_bits=12",
            Self::Full => "",
        }
    }
}

impl Terms {
    /// Returns the terms of the first offer that can be kept. An offer that cannot be, or that
    /// makes no sense, is declined: such a client gets no compression, and nothing else is wrong.
    pub(super) fn agree<'a>(offers: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let texts = offers.filter_map(|value| std::str::from_utf8(value).ok());
        texts.flat_map(|value| parts(value, b',')).find_map(Self::of_offer)
    }

    fn of_offer(offer: &str) -> Option<Self> {
        let mut each = parts(offer, b';');
        if !each.next()?.eq_ignore_ascii_case(NAME) {
            return None;
        }
        let mut terms = Self { window: Window::Full, each_alone: false };
        let mut seen = [false; 4];
        for parameter in each {
            let (name, value) = match parameter.split_once('=') {
                Some((name, value)) => (name.trim_ascii(), Some(unquoted(value.trim_ascii()))),
                None => (parameter, None),
            };
            let place = match (name.to_ascii_lowercase().as_str(), value) {
                ("server_no_context_takeover", None) => {
                    terms.each_alone = true;
                    0
                }
                // It is told to, whatever it offers.
                ("client_no_context_takeover", None) => 1,
                ("server_max_window_bits", Some(value)) => {
                    terms.window = Window::within(window_bits(value)?);
                    2
                }
                ("client_max_window_bits", value) => {
                    value.map_or(Some(15), window_bits)?;
                    3
                }
                _ => return None,
            };
            if std::mem::replace(&mut seen[place], true) {
                return None;
            }
        }
        Some(terms)
    }

    /// Returns the transport of a connection on these terms.
    pub(super) fn transport(self) -> Transport {
        match (self.window, self.each_alone) {
            (Window::Tiny, _) => Transport::Inflated,
            (Window::Small, _) => Transport::DeflatedSmall,
            (Window::Full, true) => Transport::DeflatedAlone,
            (Window::Full, false) => Transport::Deflated,
        }
    }

    /// Writes the header that tells the terms. The client is told in any case to compress each
    /// message by itself: so nothing need be kept of it between two messages.
    pub(super) fn put_header(self, out: &mut Vec<u8>) {
        let alone = if self.each_alone { "; server_no_context_takeover" } else { "" };
        let parts = [
            "Sec-WebSocket-Extensions: ",
            NAME,
            "; client_no_context_takeover",
            alone,
            self.window.parameter(),
            "\r\n",
        ];
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

/// The parts of a text between marks, but for marks in quotes, without the space around them.
fn parts(text: &str, mark: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut quoted = false;
        let end = text.bytes().position(|byte| {
            quoted ^= byte == b'"';
            byte == mark && !quoted
        });
        rest = end.map(|at| &text[at + 1..]);
        Some(text[..end.unwrap_or(text.len())].trim_ascii())
    })
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

/// Reads the size of a window: 8 to 15, without leading zeros.
fn window_bits(text: &str) -> Option<u8> {
    let bits = text.parse().ok().filter(|bits| (8..=15).contains(bits));
    bits.filter(|bits: &u8| bits.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(offers: &[&str]) -> Option<String> {
        let terms = Terms::agree(offers.iter().map(|offer| offer.as_bytes()))?;
        let mut out = Vec::new();
        terms.put_header(&mut out);
        let text = String::from_utf8(out).unwrap();
        let start = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover";
        Some(text.strip_prefix(start).unwrap().trim_end().to_owned())
    }

    #[test]
    fn offers_are_answered_with_what_can_be_kept() {
        for (offer, answered) in [
            ("permessage-deflate", ""),
            ("permessage-deflate; client_max_window_bits", ""),
            ("permessage-deflate;client_max_window_bits=10", ""),
            ("Permessage-Deflate ; Client_No_Context_Takeover", ""),
            ("permessage-deflate; server_no_context_takeover", "; server_no_context_takeover"),
            ("permessage-deflate; server_max_window_bits=15", ""),
            ("permessage-deflate; server_max_window_bits=14", "; server_max_window_bits=12"),
            ("permessage-deflate; server_max_window_bits=\"12\"", "; server_max_window_bits=12"),
            ("permessage-deflate; server_max_window_bits=9", "; server_max_window_bits=8"),
            ("permessage-deflate; server_max_window_bits=8", "; server_max_window_bits=8"),
            ("x-webkit-deflate-frame, permessage-deflate", ""),
            ("permessage-deflate; new=1, permessage-deflate", ""),
            ("permessage-deflate; new=\"a,b;c\", permessage-deflate", ""),
            (
                "permessage-deflate; server_no_context_takeover; server_max_window_bits=13, \
                 permessage-deflate",
                "; server_no_context_takeover; server_max_window_bits=12",
            ),
        ] {
            assert_eq!(answer(&[offer]).as_deref(), Some(answered), "{offer}");
        }
        assert_eq!(answer(&["foo", "permessage-deflate"]).as_deref(), Some(""), "two headers");
    }

    #[test]
    fn offers_that_make_no_sense_are_declined() {
        for offer in [
            "",
            "deflate",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=08",
            "permessage-deflate; server_max_window_bits=+9",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=",
            "permessage-deflate; client_max_window_bits=x",
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
            "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
            "permessage-deflate; unknown",
            "permessage-deflate;",
            "\"permessage-deflate",
        ] {
            assert_eq!(answer(&[offer]), None, "{offer}");
        }
        assert_eq!(Terms::agree([&b"permessage-deflate\xff"[..]].into_iter()), None);
    }
}
