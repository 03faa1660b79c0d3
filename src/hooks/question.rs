//! The body of a question, as backends of Centrifugo read it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use stentor_shards::{Matter, Question, Subject};

/// The fields of all kinds; those that a kind does not have are left out.
#[derive(Serialize, Default)]
struct Body<'a> {
    client: String,
    transport: &'static str,
    protocol: &'static str,
    encoding: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b64data: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    channels: &'a [std::sync::Arc<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<Box<RawValue>>,
}

/// Returns the transport and the protocol of a dialect, by the names that backends know.
fn transport(dialect: &str) -> (&'static str, &'static str) {
    let transport = match dialect {
        name if name.contains("sse") => "sse",
        name if name.contains("stream") => "http_stream",
        _ => "websocket",
    };
    (transport, if dialect.contains("protobuf") { "protobuf" } else { "json" })
}

/// JSON of a client as it was written. A shard has read it as JSON.
fn json(text: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(text.to_owned()).ok()
}

/// Writes the body of a question.
pub(super) fn write(question: &Question, has_meta: bool) -> Vec<u8> {
    let (transport, protocol) = transport(question.dialect);
    let meta = question.meta.as_deref().filter(|_| has_meta).and_then(json);
    let mut body = Body {
        client: question.client.to_string(),
        transport,
        protocol,
        encoding: "json",
        meta,
        ..Body::default()
    };
    if !matches!(question.subject, Subject::Connect(_)) {
        body.user = Some(question.user.as_deref().unwrap_or_default());
    }
    match &question.subject {
        Subject::Connect(arrival) => {
            body.data = arrival.data.as_deref().and_then(json);
            (body.name, body.version) = (&arrival.name, &arrival.version);
            body.channels = &arrival.channels;
        }
        Subject::Refresh => {}
        Subject::Subscribe { channel, data, .. } => {
            body.channel = Some(channel);
            body.data = data.as_deref().and_then(json);
        }
        Subject::SubRefresh { channel, .. } => body.channel = Some(channel),
        Subject::Publish { channel, body: matter, .. } => {
            body.channel = Some(channel);
            match matter {
                Matter::Json(text) => body.data = json(text),
                Matter::Text(text) => body.data = to_raw_value(text.as_str()).ok(),
                Matter::Binary(bytes) => {
                    body.encoding = "binary";
                    body.b64data = Some(STANDARD.encode(bytes));
                }
            }
        }
        Subject::Call { method, data } => {
            body.method = Some(method);
            body.data = data.as_deref().and_then(json);
        }
    }
    serde_json::to_vec(&body).unwrap_or_default()
}
