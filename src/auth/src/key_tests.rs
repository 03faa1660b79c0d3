//! Keys in PEM and in key sets: what is read, what is refused, and which tokens they verify.

use super::*;

#[test]
fn a_key_set_verifies_by_name_and_by_kind() {
    let vectors = vectors();
    let public = || vectors["tokens"].as_array().unwrap().iter().filter(|v| v["pem"].is_string());
    let mut keys: Vec<Value> = public().map(|vector| vector["jwk"].clone()).collect();
    keys.dedup();
    for (index, key) in keys.iter_mut().enumerate() {
        key["kid"] = if key["crv"] == "P-384" { "one".into() } else { format!("k{index}").into() };
        key["use"] = "sig".into();
    }
    keys.push(json!({ "kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB" }));
    keys.push(json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AQAB" }));
    let set = json!({ "keys": keys }).to_string();
    let verifier = verifier(crate::jwks::read(set.as_bytes(), false).unwrap());
    for vector in public() {
        let token = vector["token"].as_str().unwrap();
        assert!(verifier.check_connection(token, NOW_S).is_ok(), "{}", vector["algorithm"]);
    }
}

#[test]
fn key_sets_of_no_use_are_refused() {
    let small = json!({ "keys": [{ "kty": "RSA", "n": "AQAB", "e": "AQAB" }] }).to_string();
    let secret = json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] }).to_string();
    let many = json!({ "keys": vec![json!({}); KEYS_MAX + 1] }).to_string();
    let long = " ".repeat(crate::jwks::JWKS_BYTES_MAX + 1);
    for (set, why) in [
        ("[]", "this is no key set"),
        ("{\"keys\":[]}", "none of the 0 keys"),
        ("{\"keys\":[7]}", "a key is malformed"),
        (&*small, "fewer than 2048 bits"),
        (&secret, "a secret does not belong in a set that is fetched"),
        (&many, "more than 64 keys"),
        (&long, "longer than 262144 bytes"),
    ] {
        let found = crate::jwks::read(set.as_bytes(), false).unwrap_err();
        assert!(found.contains(why), "{set:.60}: {found}");
    }
    let keys = crate::jwks::read(secret.as_bytes(), true).unwrap();
    let token = claiming(&json!({ "sub": "ana" }));
    assert!(verifier(keys).check_connection(&token, NOW_S).is_ok(), "a file may hold a secret");
}

#[test]
fn a_key_with_an_algorithm_verifies_no_other() {
    let vectors = vectors();
    let find = |name| {
        vectors["tokens"].as_array().unwrap().iter().find(|v| v["algorithm"] == name).unwrap()
    };
    let mut jwk = find("RS256")["jwk"].clone();
    jwk["alg"] = "RS512".into();
    let set = json!({ "keys": [jwk] }).to_string();
    let verifier = verifier(crate::jwks::read(set.as_bytes(), false).unwrap());
    let check = |name| verifier.check_connection(find(name)["token"].as_str().unwrap(), NOW_S);
    assert!(check("RS512").is_ok());
    assert_eq!(check("RS256"), Err(Fault::NoKey("")));
}

#[test]
fn pem_of_other_kinds_is_named() {
    let vectors = vectors();
    let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (pem, why) in [
        (private, "a private key"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "a certificate"),
        ("-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----\n", "PKCS #1"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key"),
        ("secret", "there is no public key"),
        (vectors["small_rsa"].as_str().unwrap(), "fewer than 2048 bits"),
        (vectors["p521"].as_str().unwrap(), "neither P-256 nor P-384"),
    ] {
        let found = Key::from_pem(pem).unwrap_err();
        assert!(found.contains(why), "{pem}: {found}");
    }
}
