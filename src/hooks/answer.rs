//! The answer of a backend, read as a ruling. An answer in which anything is wrong is none.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use stentor_shards::{Details, Dismissal, Grant, Matter, Rejection, Ruling, Subject};

/// The most bytes of a text for people, in an error or in a close frame.
const TEXT_BYTES_MAX: usize = 1024;

/// The most bytes of `info` and `meta`.
const INFO_BYTES_MAX: usize = 4096;

/// The most bytes of a publication's tags.
const TAGS_BYTES_MAX: usize = 4096;

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default, borrow)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<ErrorBody>,
    #[serde(default)]
    disconnect: Option<DisconnectBody>,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: u32,
    #[serde(default)]
    message: String,
    #[serde(default)]
    temporary: bool,
}

#[derive(Deserialize)]
struct DisconnectBody {
    code: u32,
    #[serde(default)]
    reason: String,
}

/// The fields of all results; each kind of question uses its own.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Fields<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    b64data: Option<String>,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    b64info: Option<String>,
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
    expired: bool,
    expire_at: Option<i64>,
    skip_history: bool,
    tags: Option<BTreeMap<String, String>>,
    #[serde(borrow, rename = "override")]
    changes: Option<&'a RawValue>,
}

/// Reads the body of an answer to a question about `subject`.
///
/// # Errors
/// The fault in it, for the operator.
pub(super) fn read(subject: &Subject, body: &[u8]) -> Result<Ruling, String> {
    // A list would be taken for an object whose names are left out.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err("the answer is not a JSON object".into());
    }
    let answer: Answer<'_> = serde_json::from_slice(body)
        .map_err(|error| format!("the answer is not sound: {error}"))?;
    if let Some(DisconnectBody { code, reason }) = answer.disconnect {
        let code = u16::try_from(code).ok().filter(|code| (3000..5000).contains(code));
        let code = code.ok_or("the code of a disconnect is from 3000 to 4999")?;
        return Ok(Ruling::Dismissed(Dismissal { code, reason: cut(&reason).into() }));
    }
    if let Some(ErrorBody { code, message, temporary }) = answer.error {
        let text = cut(&message).into();
        return Ok(Ruling::Rejected(Rejection { code, text, is_passing: temporary }));
    }
    let result = answer.result.filter(|result| result.get() != "null");
    match (subject, result) {
        (Subject::Connect(_), None) => {
            // Nobody has said who the client is.
            Ok(Ruling::Dismissed(Dismissal { code: 3501, reason: "bad request".into() }))
        }
        (Subject::Refresh | Subject::SubRefresh { .. }, None) => {
            Ok(Ruling::Granted(Box::new(Grant { is_expired: true, ..Grant::default() })))
        }
        (_, None) => Ok(Ruling::Granted(Box::default())),
        (subject, Some(result)) => {
            grant(subject, result).map(|grant| Ruling::Granted(Box::new(grant)))
        }
    }
}

fn grant(subject: &Subject, result: &RawValue) -> Result<Grant, String> {
    let text = result.get();
    if !text.starts_with('{') {
        return Err("the result is not a JSON object".into());
    }
    let fields: Fields<'_> =
        serde_json::from_str(text).map_err(|error| format!("the result is not sound: {error}"))?;
    let mut grant = Grant {
        info: bounded(json_of(fields.info, fields.b64info.as_deref(), "info")?, "info")?,
        meta: bounded(json_of(fields.meta, None, "meta")?, "meta")?,
        expires: fields.expire_at.and_then(|unix_s| u64::try_from(unix_s).ok()).filter(|s| *s > 0),
        is_expired: fields.expired,
        ..Grant::default()
    };
    match subject {
        Subject::Connect(_) => {
            let proof = stentor_auth::read_backend(text.as_bytes());
            grant.proof = Some(Arc::new(proof.map_err(|fault| fault.to_string())?));
            grant.data = json_of(fields.data, fields.b64data.as_deref(), "data")?;
        }
        Subject::Publish { .. } => {
            grant.body = body_of(fields.data, fields.b64data.as_deref())?;
            grant.details = details_of(fields.skip_history, fields.tags)?;
        }
        Subject::Refresh | Subject::SubRefresh { .. } => {}
        Subject::Subscribe { .. } => {
            let changes = stentor_auth::read_override(fields.changes);
            grant.watches = changes.map_err(|fault| fault.to_string())?;
            grant.data = json_of(fields.data, fields.b64data.as_deref(), "data")?;
        }
        Subject::Call { .. } => {
            grant.data = json_of(fields.data, fields.b64data.as_deref(), "data")?;
        }
    }
    Ok(grant)
}

/// The JSON of a field, or of its twin in base64.
fn json_of(
    plain: Option<&RawValue>,
    base64: Option<&str>,
    name: &str,
) -> Result<Option<Arc<str>>, String> {
    let decoded;
    let text = match base64.filter(|text| !text.is_empty()) {
        None => match plain {
            None => return Ok(None),
            Some(plain) => plain.get(),
        },
        Some(base64) => {
            decoded = bytes_of(base64, name)?;
            std::str::from_utf8(&decoded).map_err(|_| format!("b64{name} is not JSON in base64"))?
        }
    };
    // Clients and other readers bound how deep JSON may be nested, as this parser does.
    serde_json::from_str::<serde_json::Value>(text)
        .map_err(|error| format!("{name} is not JSON that clients can read: {error}"))?;
    Ok(Some(text.into()))
}

fn body_of(plain: Option<&RawValue>, base64: Option<&str>) -> Result<Option<Matter>, String> {
    if let Some(base64) = base64.filter(|text| !text.is_empty()) {
        return Ok(Some(Matter::Binary(bytes_of(base64, "data")?.into())));
    }
    let json = json_of(plain.filter(|data| data.get() != "null"), None, "data")?;
    Ok(json.map(|json| Matter::Json((*json).into())))
}

fn details_of(
    skip_history: bool,
    tags: Option<BTreeMap<String, String>>,
) -> Result<Option<Arc<Details>>, String> {
    let tags = tags.filter(|tags| !tags.is_empty()).map(|tags| json!(tags).to_string());
    if tags.as_ref().is_some_and(|tags| tags.len() > TAGS_BYTES_MAX) {
        return Err(format!("tags are longer than {TAGS_BYTES_MAX} bytes"));
    }
    let tags = tags.map(Into::into);
    let details = Details { skip_history, tags, ..Details::default() };
    Ok((details != Details::default()).then(|| Arc::new(details)))
}

fn bytes_of(base64: &str, name: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(base64).map_err(|_| format!("b64{name} is not base64"))
}

fn bounded(json: Option<Arc<str>>, name: &str) -> Result<Option<Arc<str>>, String> {
    if json.as_ref().is_some_and(|json| json.len() > INFO_BYTES_MAX) {
        return Err(format!("{name} is longer than {INFO_BYTES_MAX} bytes"));
    }
    Ok(json)
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribe() -> Subject {
        Subject::Subscribe { channel: "c".into(), endpoint: None, data: None }
    }

    fn publish() -> Subject {
        Subject::Publish { channel: "c".into(), endpoint: None, body: Matter::Json("1".into()) }
    }

    fn granted(subject: &Subject, body: &str) -> Grant {
        match read(subject, body.as_bytes()) {
            Ok(Ruling::Granted(grant)) => *grant,
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn results_become_grants() {
        let connect = Subject::Connect(Box::default());
        let grant =
            granted(&connect, r#"{"result":{"user":"ana","data":{"a":1},"channels":["n"]}}"#);
        let proof = grant.proof.unwrap();
        assert_eq!((proof.user.as_deref(), proof.channels.len()), (Some("ana"), 1));
        assert_eq!(grant.data.as_deref(), Some(r#"{"a":1}"#));
        let grant = granted(&subscribe(), r#"{"result":{"b64info":"eyJhIjoxfQ=="},"more":1}"#);
        assert_eq!(grant.info.as_deref(), Some(r#"{"a":1}"#));
        assert!(granted(&subscribe(), "{}").info.is_none());
        let body =
            r#"{"result":{"expire_at":9,"override":{"force_push_join_leave":{"value":true}}}}"#;
        let grant = granted(&subscribe(), body);
        assert_eq!((grant.watches, grant.expires), (true, Some(9)));
        assert!(granted(&Subject::Refresh, "{}").is_expired);
        let stay = Subject::SubRefresh { channel: "c".into(), endpoint: None };
        assert!(granted(&stay, "{}").is_expired);
        let grant = granted(&stay, r#"{"result":{"expire_at":7,"info":1}}"#);
        assert_eq!((grant.expires, grant.info.as_deref()), (Some(7), Some("1")));
        assert_eq!(granted(&Subject::Refresh, r#"{"result":{"expire_at":7}}"#).expires, Some(7));
        let grant = granted(&publish(), r#"{"result":{"data":"x","tags":{"a":"b"}}}"#);
        assert!(matches!(grant.body, Some(Matter::Json(json)) if json.as_str() == "\"x\""));
        assert_eq!(grant.details.unwrap().tags.as_deref(), Some(r#"{"a":"b"}"#));
        let grant = granted(&publish(), r#"{"result":{"b64data":"AP8="}}"#);
        assert!(matches!(grant.body, Some(Matter::Binary(bytes)) if *bytes == [0, 255]));
    }

    #[test]
    fn errors_and_disconnects_are_taken_over() {
        let body = r#"{"error":{"code":1000,"message":"not you","temporary":true}}"#;
        let Ok(Ruling::Rejected(rejection)) = read(&subscribe(), body.as_bytes()) else { panic!() };
        assert_eq!(
            (rejection.code, &*rejection.text, rejection.is_passing),
            (1000, "not you", true)
        );
        let body = r#"{"result":{},"disconnect":{"code":4500,"reason":"go"}}"#;
        let Ok(Ruling::Dismissed(dismissal)) = read(&publish(), body.as_bytes()) else { panic!() };
        assert_eq!((dismissal.code, &*dismissal.reason), (4500, "go"));
        let nobody = read(&Subject::Connect(Box::default()), b"{}");
        assert!(matches!(nobody, Ok(Ruling::Dismissed(Dismissal { code: 3501, .. }))));
    }

    #[test]
    fn an_unsound_answer_is_none() {
        let deep = format!(r#"{{"result":{{"data":{}{}}}}}"#, "[".repeat(500), "]".repeat(500));
        for wrong in [
            "",
            "[]",
            "null",
            "<html>",
            r#"{"result":[]}"#,
            r#"{"result":7}"#,
            r#"{"error":{}}"#,
            r#"{"error":"no"}"#,
            r#"{"disconnect":{"code":1000}}"#,
            r#"{"disconnect":{"code":70000}}"#,
            r#"{"result":{"b64data":"!"}}"#,
            r#"{"result":{"b64data":"AP8="}}"#,
            r#"{"result":{"expire_at":"soon"}}"#,
            r#"{"result":{"override":7}}"#,
            &deep,
        ] {
            assert!(read(&subscribe(), wrong.as_bytes()).is_err(), "{wrong}");
        }
        let long = format!(r#"{{"result":{{"info":"{}"}}}}"#, "x".repeat(5000));
        assert!(read(&subscribe(), long.as_bytes()).is_err());
    }
}
