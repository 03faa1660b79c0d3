//! Names of channels and users: the characters allowed in them, and their form in a URL.

/// The most bytes of the name of an app's user.
pub const APP_USER_BYTES: usize = 256;

/// Returns `true` if a text can be the name of an app's user.
pub fn is_app_user(name: &str) -> bool {
    check_name(name, APP_USER_BYTES).is_ok()
}

/// Checks a name; the error names its fault.
pub(crate) fn check_name(name: &str, bytes_max: usize) -> Result<(), &'static str> {
    if name.is_empty() {
        Err("a name is empty")
    } else if name.len() > bytes_max {
        Err("a name is too long")
    } else if name.chars().any(is_unseen) {
        Err("a name holds control characters")
    } else {
        Ok(())
    }
}

/// Characters that would let one name look like another, or break a line of a log.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Reads a query value: `%41` and `+` as forms write them. `None`: not UTF-8, or a broken escape.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    decoded(text, b' ')
}

/// Reads a path: `%41`, and no other escape. `None`: not UTF-8, or a broken escape.
pub fn path_decoded(text: &str) -> Option<String> {
    decoded(text, b'+')
}

/// Reads percent escapes, and a plus as it is meant.
fn decoded(text: &str, plus: u8) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => plus,
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_and_invalid_names() {
        for good in ["lobby", "Zimmer 7", "日本", "a/b:c", "x".repeat(64).as_str()] {
            assert_eq!(check_name(good, 64), Ok(()), "{good}");
        }
        for bad in ["", "a\nb", "\u{1b}[31m", "a\u{202e}b", "\0", "x".repeat(65).as_str()] {
            assert!(check_name(bad, 64).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn escapes_are_read_or_refused() {
        assert_eq!(percent_decoded("a%20b+c%C3%A4").as_deref(), Some("a b cä"));
        for broken in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(percent_decoded(broken), None, "{broken}");
        }
    }

    #[test]
    fn paths_are_decoded_and_a_plus_is_a_plus() {
        let decoded = path_decoded("/apps/1/channels/a%40b+c");
        assert_eq!(decoded.as_deref(), Some("/apps/1/channels/a@b+c"));
        for broken in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(path_decoded(broken), None, "{broken}");
        }
    }
}
