//! The answer of an application's backend about a connection: it proves as much as a token, and its
//! claims have the same form and the same bounds.

use stentor_shards::proof::Proof;

use crate::claims::{Claims, user_by};
use crate::fault::Fault;

/// Reads the result of a backend as the proof of a connection. The user stands in `user`.
///
/// # Errors
/// A claim that is none.
pub fn read_backend(result: &[u8]) -> Result<Proof, Fault> {
    let claims = Claims::read(result)?;
    let user = match user_by("user", result) {
        // No user: the client is anonymous.
        Err(Fault::Claim(_)) if !names_user(result) => None,
        found => found?,
    };
    Ok(Proof {
        user,
        expires: claims.expire_at()?.filter(|unix_s| *unix_s > 0),
        issued: None,
        id: None,
        info: claims.info()?,
        meta: claims.meta()?,
        channels: claims.channels()?,
        grants: claims.grants()?,
        caps: claims.caps()?,
    })
}

fn names_user(result: &[u8]) -> bool {
    let object: Option<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_slice(result).ok();
    object.is_some_and(|object| object.contains_key("user"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_proves_a_user_its_channels_and_its_end() {
        let result = br#"{"user":"ana","expire_at":1900000000,"info":{"n":1},"meta":[2],
            "channels":["news"],"subs":{"chat:1":{"info":7}},"data":{"x":1},
            "caps":[{"channels":["a*"],"allow":["pub"]}]}"#;
        let proof = read_backend(result).unwrap();
        assert_eq!(proof.user.as_deref(), Some("ana"));
        assert_eq!(proof.expires, Some(1_900_000_000));
        assert_eq!(
            (proof.info.as_deref(), proof.meta.as_deref()),
            (Some("{\"n\":1}"), Some("[2]"))
        );
        assert_eq!(proof.channels, ["chat:1".into(), "news".into()]);
        assert_eq!(proof.grant("chat:1").unwrap().info.as_deref(), Some("7"));
        assert_eq!(proof.caps.len(), 1);
        let anonymous = read_backend(br#"{"expire_at":0}"#).unwrap();
        assert_eq!((anonymous.user, anonymous.expires), (None, None));
        assert_eq!(read_backend(br#"{"user":""}"#).unwrap().user, None);
    }

    #[test]
    fn an_answer_with_a_wrong_claim_proves_nothing() {
        for wrong in ["[]", "7", r#"{"user":7}"#, r#"{"channels":"a"}"#, r#"{"expire_at":-1}"#] {
            assert!(read_backend(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let long = format!(r#"{{"user":"a","info":"{}"}}"#, "x".repeat(5000));
        assert!(read_backend(long.as_bytes()).is_err());
    }
}
