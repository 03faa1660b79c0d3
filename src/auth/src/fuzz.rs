//! Facts that any bytes must leave true, for the fuzzer and for a test that replays its seeds.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use stentor_shards::proof::Asking;

use crate::fault::Fault;
use crate::key::Key;
use crate::sign::Signer;
use crate::verify::{Expected, TOKEN_BYTES_MAX, Verifier};

const SECRET: &[u8] = b"a secret of the fuzzer, and of nobody else";
const NOW_S: u64 = 1_800_000_000;

/// The first byte says what the others are: a token, the claims of a token that is signed well, the
/// header of one, a key set, or a key in PEM.
///
/// # Panics
/// If a token without the right signature is taken, or one is taken whose time is over.
pub fn token(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let key = Key::secret(SECRET).expect("the secret is not empty");
    let expected = Expected { leeway_s: 1, ..Expected::default() };
    let verifier = Verifier::new(vec![key], expected, None).expect("one key is not too many");
    match kind % 5 {
        0 => {
            let Ok(text) = std::str::from_utf8(rest) else { return };
            // Nobody but the signer below knows the secret.
            assert!(verifier.check_connection(text, NOW_S).is_err(), "an unsigned token");
        }
        1 => claims(&verifier, rest),
        2 => {
            let message = format!("{}.e30", URL_SAFE_NO_PAD.encode(rest));
            let token = signed(&message);
            if verifier.check_connection(&token, NOW_S).is_ok() {
                assert!(rest.windows(5).any(|text| text == b"HS256"), "another algorithm");
            }
        }
        3 => {
            let keys = crate::jwks::read(rest, false).unwrap_or_default();
            assert!(keys.iter().all(|key| key.kind() != "HMAC secret"), "a secret was fetched");
        }
        _ => {
            if let Ok(text) = std::str::from_utf8(rest) {
                let _ = Key::from_pem(text);
                let _ = Signer::from_pem(text);
            }
        }
    }
}

/// A token whose signature is right, with any claims.
fn claims(verifier: &Verifier, claims: &[u8]) {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
    let token = signed(&format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims)));
    let asking = Asking { channel: "news", client: "1-2", user: Some("ana") };
    let subscription = verifier.check_subscription(&token, asking, NOW_S);
    match verifier.check_connection(&token, NOW_S) {
        Ok(proof) => {
            assert!(token.len() <= TOKEN_BYTES_MAX, "an oversized token");
            assert!(subscription.is_err(), "a token of both kinds");
            assert!(proof.info.is_none_or(|info| info.len() <= 4096), "too much info");
            assert!(proof.channels.len() <= 128, "too many channels");
        }
        Err(fault) => assert_ne!(fault, Fault::Signature, "a signature that is right"),
    }
    // The last byte of the signature is no part of what was changed: any other one is wrong.
    let mut other = token.clone();
    let last = if other.pop() == Some('A') { 'E' } else { 'A' };
    other.push(last);
    assert!(verifier.check_connection(&other, NOW_S).is_err(), "a wrong signature");
}

fn signed(message: &str) -> String {
    let signature = Signer::secret(SECRET).sign(message.as_bytes()).expect("no random is needed");
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn every_seed_holds() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz");
        let program = std::fs::read_to_string(folder.join("targets/token.rs")).unwrap();
        assert!(program.contains("fuzz::token(data)"), "tokens are not fuzzed");
        let seeds = folder.join("seeds/token");
        let mut count = 0;
        for seed in seeds.read_dir().unwrap() {
            super::token(&std::fs::read(seed.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "there are no seeds");
    }
}
