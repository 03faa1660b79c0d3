//! The answers of the API of Pusher's protocol: JSON, or a status with a line that says why.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::control::api::answer;
use crate::control::ask::Unanswered;

/// The result of a call, or why there is none.
pub(super) type Answer = Result<Value, Fault>;

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It makes no sense.
    Bad(String),
    /// Its signature is not good.
    Unsigned(String),
    /// The app may not do this.
    Forbidden(&'static str),
    /// Nothing is there.
    NotFound(&'static str),
    /// It is asked for by another verb.
    Verb(&'static str),
    /// It holds more than it may.
    TooLarge(String),
    /// Its body does not come.
    TooSlow,
    /// The server has more to do than it can take: try again.
    Busy,
}

impl Fault {
    pub(super) fn bad(why: impl Into<String>) -> Self {
        Self::Bad(why.into())
    }
}

impl From<Unanswered> for Fault {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Busy | Unanswered::Unavailable => Self::Busy,
            Unanswered::BadName => Self::bad("the name of a channel or a user is not valid"),
            Unanswered::TooLarge => {
                Self::TooLarge("the data is larger than a message may be".into())
            }
            Unanswered::NoRoom => Self::bad("there is no room for another channel"),
            // A reload has taken the app away meanwhile.
            Unanswered::UnknownNamespace => Self::NotFound("no app has this id"),
        }
    }
}

impl From<answer::Fault> for Fault {
    fn from(fault: answer::Fault) -> Self {
        match fault {
            answer::Fault::Busy => Self::Busy,
            answer::Fault::UnknownNamespace => Self::NotFound("no app has this id"),
            other => Self::bad(other.body()["message"].as_str().unwrap_or("bad request")),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let (status, why) = match &self {
            Self::Bad(why) => (StatusCode::BAD_REQUEST, &**why),
            Self::Unsigned(why) => (StatusCode::UNAUTHORIZED, &**why),
            Self::Forbidden(why) => (StatusCode::FORBIDDEN, *why),
            Self::NotFound(why) => (StatusCode::NOT_FOUND, *why),
            Self::Verb(verb) => (StatusCode::METHOD_NOT_ALLOWED, *verb),
            Self::TooLarge(why) => (StatusCode::PAYLOAD_TOO_LARGE, &**why),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "the body has not come in time"),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the server is busy or its engine away: try again",
            ),
        };
        let text = match &self {
            Self::Verb(verb) => format!("this is asked for by {verb}"),
            _ => why.to_owned(),
        };
        let mut response = (status, Json(json!({ "error": text }))).into_response();
        let headers = response.headers_mut();
        match self {
            Self::Verb(verb) => {
                headers.insert(header::ALLOW, HeaderValue::from_static(verb));
            }
            Self::Busy => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// The response of a call that went well.
pub(super) fn good(value: Value) -> Response {
    Json(value).into_response()
}
