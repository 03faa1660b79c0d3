//! Pusher's protocol: one JSON object a message. Clients subscribe to a public channel of an app,
//! to which they cannot publish, or with its secret to a private one.

use serde::Deserialize;
use serde_json::json;
use stentor_shards::{Secret, signature};

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

/// Returns the words with which the client of a socket id subscribes to a private channel.
pub(super) fn signed(channel: &str, (key, secret): (&str, &str), socket_id: &str) -> String {
    let signed = format!("{socket_id}:{channel}");
    let auth = format!("{key}:{}", signature(&Secret::new(secret), signed.as_bytes()));
    json!({ "event": "pusher:subscribe", "data": { "channel": channel, "auth": auth } }).to_string()
}

/// Calls `each` for an answer, an error or a ping.
pub(super) fn each_said(message: &[u8], mut each: impl FnMut(Said)) {
    if !message.starts_with(OWN) {
        return;
    }
    let Ok(Message { event, data }) = serde_json::from_slice(message) else { return };
    match event {
        "pusher:ping" => each(Said::Ping),
        "pusher:connection_established" => {
            // Its data is JSON in a text.
            let data = data.as_str().and_then(|data| serde_json::from_str(data).ok());
            let data: serde_json::Value = data.unwrap_or_default();
            each(Said::Named(data["socket_id"].as_str().unwrap_or_default().to_owned()));
        }
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
        let established =
            r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\"}"}"#;
        let joined =
            r#"{"event":"pusher_internal:subscription_succeeded","channel":"c","data":"{}"}"#;
        for (message, expected) in [
            (established, vec![Said::Named("1.2".into())]),
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
        // The example of the protocol's documents.
        let of = ("278d425bdf160c739803", "7ad3773142a6692b25b8");
        let words = signed("private-foobar", of, "1234.1234");
        let words: serde_json::Value = serde_json::from_str(&words).unwrap();
        let auth = "278d425bdf160c739803:\
                    58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
        assert_eq!(words["data"]["auth"], auth);
    }
}
