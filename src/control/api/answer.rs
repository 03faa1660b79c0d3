//! The shapes in which the API answers: Centrifugo's results, errors and codes.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::control::ask::Unanswered;
pub(crate) use crate::control::word::{Answer, Fault};

/// Writes a result, or any other part of an answer.
pub(crate) fn written(part: &impl Serialize) -> Box<RawValue> {
    to_raw_value(part).expect("names are strings, and numbers are finite")
}

impl Fault {
    /// A fault of the request's form, answered with status 400.
    pub(crate) fn malformed(why: impl Into<String>) -> Self {
        Self::Malformed(why.into())
    }

    pub(crate) fn bad(why: impl Into<String>) -> Self {
        Self::Bad(why.into())
    }

    /// The shards did not take an order, where the name in it came from one parameter.
    pub(crate) fn about(parameter: &str, unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::BadName => Self::bad(format!("{parameter}: the name is not valid")),
            other => other.into(),
        }
    }

    /// The code as Centrifugo numbers it.
    fn code(&self) -> u32 {
        match self {
            Self::Busy => 100,
            Self::UnknownNamespace => 102,
            Self::Unknown(_) => 104,
            Self::LimitExceeded => 106,
            Self::Bad(_) | Self::Malformed(_) | Self::TooLarge | Self::Verb(_) => 107,
            Self::NotAvailable(_) => 108,
            Self::Unrecoverable => 112,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Busy => {
                "internal server error: the shards are busy or the engine is away, try again".into()
            }
            Self::Bad(why) | Self::Malformed(why) => format!("bad request: {why}"),
            Self::LimitExceeded => "limit exceeded: no more channels for one client".into(),
            Self::TooLarge => "bad request: the request is too large".into(),
            Self::NotAvailable(method) => format!("not available: {method}"),
            Self::Unrecoverable => "unrecoverable position".into(),
            Self::UnknownNamespace => "unknown channel: its namespace is not configured".into(),
            Self::Unknown(method) => format!("method not found: {method}"),
            Self::Verb(allowed) => format!("bad request: this method is asked for by {allowed}"),
        }
    }

    /// `{"code":…,"message":…}`.
    pub(crate) fn body(&self) -> Value {
        json!({ "code": self.code(), "message": self.message() })
    }

    /// Centrifugo answers a request that it could read with 200, whatever the result. In transport
    /// mode the status says what went wrong.
    fn status(&self, mode: Mode) -> StatusCode {
        match (self, mode) {
            (Self::Busy, Mode::Plain) => StatusCode::SERVICE_UNAVAILABLE,
            (Self::Busy, Mode::Transport) => StatusCode::INTERNAL_SERVER_ERROR,
            (Self::Malformed(_), _)
            | (Self::Bad(_) | Self::Unrecoverable | Self::LimitExceeded, Mode::Transport) => {
                StatusCode::BAD_REQUEST
            }
            (Self::TooLarge, _) => StatusCode::PAYLOAD_TOO_LARGE,
            (Self::Unknown(_), _) | (Self::UnknownNamespace, Mode::Transport) => {
                StatusCode::NOT_FOUND
            }
            (Self::Verb(_), _) => StatusCode::METHOD_NOT_ALLOWED,
            (Self::NotAvailable(_), Mode::Transport) => StatusCode::NOT_IMPLEMENTED,
            (
                Self::Bad(_)
                | Self::NotAvailable(_)
                | Self::Unrecoverable
                | Self::UnknownNamespace
                | Self::LimitExceeded,
                Mode::Plain,
            ) => StatusCode::OK,
        }
    }

    fn respond(&self, mode: Mode) -> Response {
        let body = match mode {
            Mode::Plain => json!({ "error": self.body() }),
            Mode::Transport => self.body(),
        };
        let mut response = (self.status(mode), Json(body)).into_response();
        match self {
            Self::Busy => {
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
            }
            Self::Verb(allowed) => {
                let allowed = header::HeaderValue::from_static(allowed);
                response.headers_mut().insert(header::ALLOW, allowed);
            }
            _ => {}
        }
        response
    }
}

impl From<Unanswered> for Fault {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Busy | Unanswered::Unavailable => Self::Busy,
            Unanswered::BadName => Self::bad("the name is not valid"),
            Unanswered::NoRoom => Self::bad("there is no room for another channel"),
            Unanswered::UnknownNamespace => Self::UnknownNamespace,
            Unanswered::TooLarge => Self::bad("the data is larger than a message may be"),
        }
    }
}

impl From<BytesRejection> for Fault {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Self::TooLarge
        } else {
            Self::malformed(rejection.body_text())
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        self.respond(Mode::Plain)
    }
}

/// Where an error is told: in a body with status 200, or by the status
/// (`X-Centrifugo-Error-Mode: transport`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
    Transport,
}

impl Mode {
    pub(crate) fn of(headers: &axum::http::HeaderMap) -> Result<Self, Fault> {
        match headers.get("x-centrifugo-error-mode").map(header::HeaderValue::as_bytes) {
            None => Ok(Self::Plain),
            Some(b"transport") => Ok(Self::Transport),
            Some(_) => Err(Fault::bad("the error mode in the header is not \"transport\"")),
        }
    }

    pub(crate) fn respond(self, answer: Answer) -> Response {
        match answer {
            Ok(result) => Json(BTreeMap::from([("result", result)])).into_response(),
            Err(fault) => fault.respond(self),
        }
    }
}

/// Reads a command's parameters. No body, and the body `null`, are no parameters.
pub(crate) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Fault> {
    let body = match body.trim_ascii() {
        b"" | b"null" => b"{}",
        body => body,
    };
    let explained = |why: serde_json::Error| match why.classify() {
        serde_json::error::Category::Data => Fault::bad(why.to_string()),
        _ => Fault::malformed(why.to_string()),
    };
    if !body.starts_with(b"{") {
        // A list would do for an object by the order of its fields.
        serde_json::from_slice::<serde::de::IgnoredAny>(body).map_err(explained)?;
        return Err(Fault::bad("the parameters are not an object"));
    }
    let mut text = serde_json::Deserializer::from_slice(body);
    let params = serde_path_to_error::deserialize(&mut text).map_err(|why| {
        let place = why.path().to_string();
        match explained(why.into_inner()) {
            // The message of a missing or unknown parameter names it already.
            Fault::Bad(why) if place != "." && !why.contains(&place) => {
                Fault::bad(format!("{place}: {why}"))
            }
            fault => fault,
        }
    })?;
    text.end().map_err(explained)?;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_have_the_codes_and_statuses_of_centrifugo() {
        let word = || String::from("x");
        for (fault, code, plain, transport) in [
            (Fault::Busy, 100, 503, 500),
            (Fault::Bad(word()), 107, 200, 400),
            (Fault::Malformed(word()), 107, 400, 400),
            (Fault::TooLarge, 107, 413, 413),
            (Fault::NotAvailable(word()), 108, 200, 501),
            (Fault::LimitExceeded, 106, 200, 400),
            (Fault::Unrecoverable, 112, 200, 400),
            (Fault::Unknown(word()), 104, 404, 404),
            (Fault::Verb("POST"), 107, 405, 405),
        ] {
            assert_eq!(fault.body()["code"], code, "{fault:?}");
            assert_eq!(fault.respond(Mode::Plain).status(), plain, "{fault:?}");
            assert_eq!(fault.respond(Mode::Transport).status(), transport, "{fault:?}");
        }
        assert_eq!(Fault::Busy.into_response().headers()[header::RETRY_AFTER], "1");
        assert_eq!(Fault::Verb("POST").into_response().headers()[header::ALLOW], "POST");
    }

    #[test]
    fn invalid_json_is_told_from_an_invalid_request() {
        #[derive(serde::Deserialize, Debug)]
        #[serde(deny_unknown_fields)]
        struct One {
            one: Option<u32>,
        }
        for nothing in ["", " \n", "null", "{}"] {
            assert_eq!(read::<One>(nothing.as_bytes()).unwrap().one, None, "{nothing}");
        }
        assert_eq!(read::<One>(b"{\"one\":1}").unwrap().one, Some(1));
        for malformed in ["{", "one", "{}{}", "\u{0}"] {
            let fault = read::<One>(malformed.as_bytes()).unwrap_err();
            assert!(matches!(fault, Fault::Malformed(_)), "{malformed}: {fault:?}");
        }
        for bad in ["[]", "1", "{\"one\":\"1\"}", "{\"two\":1}", "{\"one\":1,\"one\":1}"] {
            let fault = read::<One>(bad.as_bytes()).unwrap_err();
            assert!(matches!(fault, Fault::Bad(_)), "{bad}: {fault:?}");
        }
        let wrong = read::<One>(b"{\"one\":\"1\"}").unwrap_err().body()["message"].to_string();
        assert!(wrong.contains("one: invalid type"), "{wrong}");
    }
}
