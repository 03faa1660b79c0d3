//! Tests of the verifier: tokens of `PyJWT`, tokens of our own signer, and what attackers do with
//! them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair,
};
use serde_json::{Value, json};
use stentor_shards::proof::Right;

use super::*;
use crate::algorithm::Algorithm;
use crate::sign::{Signer, Wishes};

#[path = "key_tests.rs"]
mod key_tests;

const NOW_S: u64 = 1_800_000_000;
const SECRET: &[u8] = b"secret";

fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors.json")).unwrap()
}

/// The key of a vector, from its secret or its PEM.
fn key_of(vector: &Value) -> Vec<Key> {
    match vector["secret"].as_str() {
        Some(secret) => vec![Key::secret(secret.as_bytes()).unwrap()],
        None => Key::from_pem(vector["pem"].as_str().unwrap()).unwrap(),
    }
}

fn verifier(keys: Vec<Key>) -> Verifier {
    Verifier::new(keys, Expected::default(), None).unwrap()
}

fn with_secret() -> Verifier {
    verifier(vec![Key::secret(SECRET).unwrap()])
}

fn signed(header: &Value, claims: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", part(&header.to_string()), part(claims));
    let signature = Signer::secret(SECRET).sign(message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn claiming(claims: &Value) -> String {
    signed(&json!({ "alg": "HS256" }), &claims.to_string())
}

fn fault_of(claims: &Value) -> String {
    with_secret().check_connection(&claiming(claims), NOW_S).unwrap_err().to_string()
}

#[test]
fn tokens_of_pyjwt_are_verified_with_each_algorithm() {
    let vectors = vectors();
    let tokens = vectors["tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 9);
    for vector in tokens {
        let token = vector["token"].as_str().unwrap();
        let name = vector["algorithm"].as_str().unwrap();
        assert_eq!(split(token).unwrap().algorithm.name(), name);
        let proof = verifier(key_of(vector)).check_connection(token, NOW_S).unwrap();
        assert_eq!((proof.user.as_deref(), proof.issued), (Some("ana"), Some(1_700_000_000)));
        for other in tokens {
            let same = other["token"] == vector["token"];
            let found = verifier(key_of(other)).check_connection(token, NOW_S);
            let alike = vector["pem"].is_string() && other["pem"] == vector["pem"];
            let alike = alike || (vector["secret"].is_string() && other["secret"].is_string());
            assert_eq!(found.is_ok(), same || alike, "{name} by a key of {}", other["algorithm"]);
        }
        // Each byte of claims and signature counts.
        for (at, byte) in token.bytes().enumerate().filter(|(_, byte)| *byte != b'.').step_by(7) {
            let other = if byte == b'A' { "B" } else { "A" };
            let broken = format!("{}{other}{}", &token[..at], &token[at + 1..]);
            let found = verifier(key_of(vector)).check_connection(&broken, NOW_S);
            assert!(found.is_err(), "{name}, byte {at}");
        }
    }
}

#[test]
fn a_public_key_is_no_secret_and_none_is_no_algorithm() {
    let vectors = vectors();
    for vector in vectors["tokens"].as_array().unwrap().iter().filter(|v| v["pem"].is_string()) {
        let pem = vector["pem"].as_str().unwrap();
        let verifier = verifier(Key::from_pem(pem).unwrap());
        // The attacker knows the public key, and signs with it as if it were a secret.
        let der = pem.lines().filter(|line| !line.starts_with('-')).collect::<String>();
        let der = STANDARD.decode(der).unwrap();
        for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), &der] {
            let wishes = Wishes { user: Some("ana".into()), ..Wishes::default() };
            let token = Signer::secret(secret).token(&wishes, NOW_S).unwrap();
            assert_eq!(verifier.check_connection(&token, NOW_S), Err(Fault::NoKey("")));
        }
    }
    let claims = URL_SAFE_NO_PAD.encode(r#"{"sub":"ana"}"#);
    for alg in ["none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "HS1", "PS256", "ES256K"] {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": alg }).to_string());
        for end in ["", "AAAA"] {
            let token = format!("{header}.{claims}.{end}");
            let found = with_secret().check_connection(&token, NOW_S);
            assert!(matches!(found, Err(Fault::Malformed(_))), "{alg}: {found:?}");
        }
    }
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
    let stripped = with_secret().check_connection(&format!("{header}.{claims}."), NOW_S);
    assert_eq!(stripped, Err(Fault::Signature));
}

#[test]
fn malformed_tokens_are_refused_before_any_key_is_asked() {
    let good = claiming(&json!({ "sub": "ana" }));
    assert!(with_secret().check_connection(&good, NOW_S).is_ok());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let padded = format!("{message}=.{signature}");
    let extra = format!("{good}.");
    let critical = signed(&json!({ "alg": "HS256", "crit": ["b64"], "b64": false }), "{}");
    let kid = signed(&json!({ "alg": "HS256", "kid": "k".repeat(300) }), "{}");
    let long = claiming(&json!({ "sub": "ana", "x": "x".repeat(TOKEN_BYTES_MAX) }));
    let twice = format!("{}.e30.AAAA", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","alg":"HS256"}"#));
    let list = format!("{}.e30.AAAA", URL_SAFE_NO_PAD.encode(r#"["HS256"]"#));
    for token in ["", ".", "..", "a.b", &list, "é.é.é", "e30.e30.", &padded, &extra] {
        let found = with_secret().check_connection(token, NOW_S);
        assert!(matches!(found, Err(Fault::Malformed(_))), "{token}: {found:?}");
    }
    for token in [critical, kid, long, twice] {
        let found = with_secret().check_connection(&token, NOW_S);
        assert!(matches!(found, Err(Fault::Malformed(_))), "{token:.80}: {found:?}");
    }
}

#[test]
fn times_count_with_their_leeway() {
    let leeway_s = 10;
    let expected = Expected { leeway_s, ..Expected::default() };
    let verifier = Verifier::new(vec![Key::secret(SECRET).unwrap()], expected, None).unwrap();
    let check = |claims: &Value| verifier.check_connection(&claiming(claims), NOW_S);
    let end = |claims: &Value| check(claims).unwrap().expires;
    assert_eq!(end(&json!({ "sub": "ana" })), None);
    assert_eq!(end(&json!({ "exp": NOW_S + 60 })), Some(NOW_S + 60 + leeway_s));
    assert_eq!(end(&json!({ "exp": NOW_S - 9 })), Some(NOW_S + 1));
    assert_eq!(check(&json!({ "exp": NOW_S - 10 })), Err(Fault::Expired(10)));
    assert_eq!(check(&json!({ "exp": 0 })), Err(Fault::Expired(NOW_S)));
    assert!(check(&json!({ "nbf": NOW_S + 10 })).is_ok());
    assert_eq!(check(&json!({ "nbf": NOW_S + 11 })), Err(Fault::TooEarly(1)));
    let times = json!({ "exp": NOW_S + 60, "expire_at": NOW_S + 600 });
    assert_eq!(end(&times), Some(NOW_S + 600 + leeway_s));
    assert_eq!(end(&json!({ "exp": NOW_S + 60, "expire_at": 0 })), None);
    assert_eq!(end(&json!({ "exp": f64::from(u32::MAX) + 0.5 })), Some(4_294_967_295 + leeway_s));
    for exp in [json!(-1), json!(1e300), json!("4000000000"), json!([])] {
        assert!(check(&json!({ "exp": exp })).is_err(), "{exp}");
    }
}

#[test]
fn audience_and_issuer_are_the_ones_that_are_set() {
    let expected = Expected {
        audience: Some("chat".into()),
        issuer: Some("https://id.example".into()),
        ..Expected::default()
    };
    let verifier = Verifier::new(vec![Key::secret(SECRET).unwrap()], expected, None).unwrap();
    let check = |aud: Value, iss: Value| {
        verifier.check_connection(&claiming(&json!({ "aud": aud, "iss": iss })), NOW_S).err()
    };
    let iss = || json!("https://id.example");
    assert_eq!(check(json!("chat"), iss()), None);
    assert_eq!(check(json!(["mail", "chat"]), iss()), None);
    for aud in [json!("mail"), json!(["mail"]), json!([]), json!(null), json!("chatter")] {
        assert_eq!(check(aud.clone(), iss()), Some(Fault::Audience), "{aud}");
    }
    for iss in [json!("https://id.example/"), json!(null)] {
        assert_eq!(check(json!("chat"), iss.clone()), Some(Fault::Issuer), "{iss}");
    }
}

#[test]
fn claims_become_a_proof() {
    let claims = json!({
        "sub": "ana", "jti": "t-1", "iat": 5.9, "info": { "name": "Ana" }, "meta": [1, 2],
        "channels": ["news", "chat"], "subs": { "chat": {}, "a:b": { "info": 1 } },
        "caps": [
            { "channels": ["chat:*"], "match": "wildcard", "allow": ["sub", "publish"] },
            { "channels": ["news"], "allow": ["hst"] },
        ],
    });
    let proof = with_secret().check_connection(&claiming(&claims), NOW_S).unwrap();
    assert_eq!((proof.user.as_deref(), proof.id.as_deref()), (Some("ana"), Some("t-1")));
    assert_eq!((proof.issued, proof.info.as_deref()), (Some(5), Some(r#"{"name":"Ana"}"#)));
    assert_eq!(proof.meta.as_deref(), Some("[1,2]"));
    assert_eq!(proof.channels.iter().map(|c| &**c).collect::<Vec<_>>(), ["a:b", "chat", "news"]);
    let grants: Vec<_> = proof.grants.iter().map(|(channel, _)| &**channel).collect();
    assert_eq!(grants, ["a:b"], "the other says nothing");
    let grant = proof.grant("a:b").unwrap();
    assert_eq!((grant.info.as_deref(), &grant.data, grant.watches), (Some("1"), &None, false));
    assert!(proof.allows("chat:1", Right::Publish) && !proof.allows("chat:1", Right::History));
    assert!(proof.allows("news", Right::History) && !proof.allows("news", Right::Subscribe));
    let anonymous = with_secret().check_connection(&claiming(&json!({ "sub": "" })), NOW_S);
    assert_eq!(anonymous.unwrap().user, None);
    let info = json!({ "b64info": STANDARD.encode("{\"a\":1}") });
    let proof = with_secret().check_connection(&claiming(&info), NOW_S).unwrap();
    assert_eq!(proof.info.as_deref(), Some("{\"a\":1}"));
}

#[test]
fn claims_beyond_their_bounds_are_refused() {
    let many = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
    for (claims, why) in [
        (json!({ "sub": 7 }), "claim sub is not a text"),
        (json!({ "jti": "x".repeat(129) }), "claim jti"),
        (json!({ "info": "x".repeat(4095) }), "claim info"),
        (json!({ "meta": "x".repeat(4095) }), "claim meta"),
        (json!({ "b64info": "=" }), "claim b64info"),
        (json!({ "b64info": STANDARD.encode("{") }), "claim b64info"),
        (json!({ "channels": many(129) }), "128 channels"),
        (json!({ "subs": { "a": 7 } }), "an entry that is no object"),
        (json!({ "subs": { "a": { "data": "x".repeat(4095) } } }), "claim data"),
        (json!({ "subs": { "a": { "b64data": "=" } } }), "claim b64data"),
        (json!({ "subs": { "a": { "override": [] } } }), "claim override"),
        (json!({ "channels": [7] }), "not of its type"),
        (json!({ "caps": [{ "channels": many(257), "allow": [] }] }), "256 channels"),
        (json!({ "caps": [{ "channels": ["a*b"], "allow": [] }] }), "a star in its middle"),
        (json!({ "caps": [{ "channels": ["a"], "allow": ["all"] }] }), "an unknown right"),
        (json!({ "caps": [{ "channels": ["a"], "match": "regex", "allow": [] }] }), "match"),
        (json!({ "channel": "news" }), "this token is for a subscription"),
        (json!([]), "not of its type"),
    ] {
        let fault = fault_of(&claims);
        assert!(fault.contains(why), "{claims}: {fault}");
    }
}

#[test]
fn another_claim_may_hold_the_user() {
    let expected = Expected { user_claim: Some("name".into()), ..Expected::default() };
    let verifier = Verifier::new(vec![Key::secret(SECRET).unwrap()], expected, None).unwrap();
    let user = |claims: Value| verifier.check_connection(&claiming(&claims), NOW_S);
    let proof = user(json!({ "sub": "7", "name": "ana" })).unwrap();
    assert_eq!(proof.user.as_deref(), Some("ana"));
    assert!(user(json!({ "sub": "7" })).is_err() && user(json!({ "name": 7 })).is_err());
}

#[test]
fn a_subscription_token_is_for_one_channel_client_and_user() {
    let asking = Asking { channel: "news", client: "1-2", user: Some("ana") };
    let check = |claims: Value| with_secret().check_subscription(&claiming(&claims), asking, NOW_S);
    let good = json!({ "sub": "ana", "channel": "news", "exp": NOW_S + 5, "info": 7 });
    let proof = check(good).unwrap();
    let info = proof.grant.info.as_deref();
    assert_eq!((proof.expires, info), (Some(NOW_S + 5), Some("7")));
    let changes =
        json!({ "force_push_join_leave": { "value": true }, "presence": { "value": false } });
    let whole = json!({ "sub": "ana", "channel": "news", "jti": "t-2", "iat": 9, "data": [1],
        "override": changes });
    let proof = check(whole).unwrap();
    assert_eq!((proof.issued, proof.id.as_deref()), (Some(9), Some("t-2")));
    assert!(proof.grant.watches && proof.grant.data.as_deref() == Some("[1]"));
    assert!(check(json!({ "sub": "ana", "channel": "news", "client": "1-2" })).is_ok());
    assert!(check(json!({ "sub": "ana", "channel": "news", "client": "" })).is_ok());
    for claims in [
        json!({ "sub": "ana" }),
        json!({ "sub": "ana", "channel": "other" }),
        json!({ "sub": "bob", "channel": "news" }),
        json!({ "channel": "news" }),
        json!({ "sub": "ana", "channel": "news", "client": "1-3" }),
    ] {
        let found = check(claims.clone());
        assert!(matches!(found, Err(Fault::Kind(_))), "{claims}: {found:?}");
    }
    let late = json!({ "sub": "ana", "channel": "news", "exp": NOW_S });
    assert_eq!(check(late), Err(Fault::Expired(0)));
}

#[test]
fn an_unknown_name_of_a_key_asks_for_newer_keys() {
    let vectors = vectors();
    let vector = vectors["tokens"].as_array().unwrap().iter().find(|v| v["algorithm"] == "ES384");
    let token = vector.unwrap()["token"].as_str().unwrap();
    for (on_their_way, public) in [(true, TokenFault::UnknownKey), (false, TokenFault::Invalid)] {
        let ask: AskForKeys = Arc::new(move || on_their_way);
        let verifier = Verifier::new(Vec::new(), Expected::default(), Some(ask)).unwrap();
        assert_eq!(verifier.connection(token, NOW_S), Err(public));
        // A secret is in no key set.
        let secret = claiming(&json!({}));
        assert_eq!(verifier.check_connection(&secret, NOW_S), Err(Fault::NoKey("")));
    }
    let other = Verifier::new(Vec::new(), Expected::default(), None).unwrap();
    assert_eq!(other.connection(token, NOW_S), Err(TokenFault::Invalid));
}

#[test]
fn our_own_signer_is_verified() {
    let rng = SystemRandom::new();
    let curve = |kind| EcdsaKeyPair::generate_pkcs8(kind, &rng).unwrap();
    let p256 = curve(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let p384 = curve(&ECDSA_P384_SHA384_FIXED_SIGNING);
    let ed25519 = Ed25519KeyPair::generate_pkcs8(&rng).unwrap();
    let public = |kind, der: &[u8]| {
        let pair = EcdsaKeyPair::from_pkcs8(kind, der, &rng).unwrap();
        pair.public_key().as_ref().to_vec()
    };
    let point = Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).unwrap();
    for (der, key, algorithm) in [
        (
            &p256,
            Key::p256(&public(&ECDSA_P256_SHA256_FIXED_SIGNING, p256.as_ref())),
            Algorithm::Es256,
        ),
        (
            &p384,
            Key::p384(&public(&ECDSA_P384_SHA384_FIXED_SIGNING, p384.as_ref())),
            Algorithm::Es384,
        ),
        (&ed25519, Key::ed25519(point.public_key().as_ref()), Algorithm::EdDsa),
    ] {
        let body = STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
        let signer = Signer::from_pem(&pem).unwrap();
        let wishes = Wishes {
            user: Some("ana".into()),
            lasts_s: Some(60),
            channels: vec!["chat:*".into()],
            joins: vec!["news".into()],
            kid: Some("k1".into()),
            ..Wishes::default()
        };
        let token = signer.token(&wishes, NOW_S).unwrap();
        let parts = split(&token).unwrap();
        assert_eq!((parts.algorithm, parts.kid.as_deref()), (algorithm, Some("k1")));
        let proof = verifier(vec![key.unwrap()]).check_connection(&token, NOW_S).unwrap();
        assert_eq!((proof.user.as_deref(), proof.expires), (Some("ana"), Some(NOW_S + 60)));
        assert!(proof.allows("chat:1", Right::Publish) && &*proof.channels[0] == "news");
    }
    assert!(Signer::from_pem("secret").is_err());
    let broken = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(Signer::from_pem(broken).is_err());
}

#[test]
fn nothing_shows_a_key() {
    let key = Key::secret(b"hunter2").unwrap();
    let shown = format!("{:?} {:?}", verifier(vec![key]), Signer::secret(b"hunter2"));
    assert!(shown.contains("HMAC") && !shown.contains("hunter2"), "{shown}");
}
