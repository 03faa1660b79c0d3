//! Signs what is posted to an application, so that it can tell who has posted it.

use std::fmt::Write as _;

use ring::hmac;

/// Returns the HMAC-SHA256 of `body` under `secret`, in hexadecimal digits.
pub fn hmac_sha256_hex(secret: &[u8], body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), body);
    tag.as_ref().iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second case of RFC 4231.
    #[test]
    fn a_known_case_is_signed_as_it_must_be() {
        assert_eq!(
            hmac_sha256_hex(b"Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
