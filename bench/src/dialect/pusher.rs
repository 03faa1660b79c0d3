//! Pusher's protocol: one JSON object a message. Clients subscribe to a public channel of an app,
//! to which they cannot publish.

use serde::Deserialize;
use serde_json::json;

use super::said::{SUBSCRIBE, Said};

/// The beginning of a message of the protocol itself, as its servers write it. It spares the
/// parsing of each publication.
const OWN: &[u8] = b"{\"event\":\"pusher";

/// The answer to a ping.
pub(super) const PONG: &[u8] = br#"{"event":"pusher:pong","data":{}}"#;

#[derive(Deserialize)]
struct Message<'a> {
    event: &'a str,
    #[serde(default)]
    data: serde_json::Value,
}

/// Returns the first words of a client.
pub(super) fn greeting(channel: &str) -> String {
    json!({ "event": "pusher:subscribe", "data": { "channel": channel } }).to_string()
}

/// Calls `each` for an answer, an error or a ping.
pub(super) fn each_said(message: &[u8], mut each: impl FnMut(Said)) {
    if !message.starts_with(OWN) {
        return;
    }
    let Ok(Message { event, data }) = serde_json::from_slice(message) else { return };
    match event {
        "pusher:ping" => each(Said::Ping),
        "pusher_internal:subscription_succeeded" => each(Said::Done(SUBSCRIBE)),
        "pusher:subscription_error" | "pusher:error" => {
            let code =
                [&data["code"], &data["status"]].into_iter().find_map(serde_json::Value::as_u64);
            let text =
                [&data["message"], &data["error"]].into_iter().find_map(|text| text.as_str());
            let text = text.unwrap_or_default();
            each(Said::refused(SUBSCRIBE, code.unwrap_or_default(), text));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_errors_and_pings_are_found() {
        let refused = |why: &str| vec![Said::Refused(SUBSCRIBE, why.to_owned())];
        let established = r#"{"event":"pusher:connection_established","data":"{}"}"#;
        let joined =
            r#"{"event":"pusher_internal:subscription_succeeded","channel":"c","data":"{}"}"#;
        for (message, expected) in [
            (established, vec![]),
            (joined, vec![Said::Done(SUBSCRIBE)]),
            (r#"{"event":"pusher:ping","data":{}}"#, vec![Said::Ping]),
            (r#"{"event":"message","channel":"c","data":"pusher:ping"}"#, vec![]),
            (
                r#"{"event":"pusher:error","data":{"code":4001,"message":"no app"}}"#,
                refused("error 4001: no app"),
            ),
            (
                r#"{"event":"pusher:subscription_error","data":{"error":"no","status":401}}"#,
                refused("error 401: no"),
            ),
            ("", vec![]),
            (&joined[..30], vec![]),
        ] {
            let mut found = Vec::new();
            each_said(message.as_bytes(), |said| found.push(said));
            assert_eq!(found, expected, "{message}");
        }
        let words: serde_json::Value = serde_json::from_str(&greeting("a\"b")).unwrap();
        assert_eq!(words["data"]["channel"], "a\"b");
    }
}
