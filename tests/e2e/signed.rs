//! Requests to the HTTP API of Pusher's protocol, signed as its server libraries sign them.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use md5::{Digest as _, Md5};
use serde_json::Value;
use stentor_auth::hmac_sha256_hex;

use crate::server::request;

/// An app as its backend knows it.
#[derive(Clone, Copy)]
pub(crate) struct Backend {
    pub(crate) to: SocketAddr,
    pub(crate) id: &'static str,
    pub(crate) key: &'static str,
    pub(crate) secret: &'static str,
    /// Seconds by which its clock is ahead.
    pub(crate) ahead_s: i64,
}

impl Backend {
    pub(crate) fn new(to: SocketAddr) -> Self {
        Self { to, id: "1", key: "app-key", secret: "app-secret", ahead_s: 0 }
    }

    /// The target of a request with its signature; `more` are further parameters.
    pub(crate) fn target(&self, method: &str, call: &str, more: &str, body: &str) -> String {
        let path = format!("/apps/{}/{call}", self.id);
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let time_s = now_s.checked_add_signed(self.ahead_s).unwrap();
        let mut parts = vec![
            format!("auth_key={}", self.key),
            format!("auth_timestamp={time_s}"),
            "auth_version=1.0".to_owned(),
        ];
        if !body.is_empty() {
            let hash: [u8; 16] = Md5::digest(body.as_bytes()).into();
            parts.push(format!("body_md5={:032x}", u128::from_be_bytes(hash)));
        }
        parts.extend(more.split('&').filter(|part| !part.is_empty()).map(str::to_owned));
        parts.sort();
        let query = parts.join("&");
        let signed = format!("{method}\n{path}\n{query}");
        let signature = hmac_sha256_hex(self.secret.as_bytes(), signed.as_bytes());
        format!("{path}?{query}&auth_signature={signature}")
    }

    pub(crate) fn post(&self, call: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        self.send("POST", &self.target("POST", call, "", &body), &body)
    }

    pub(crate) fn get(&self, call: &str, more: &str) -> (u16, Value) {
        self.send("GET", &self.target("GET", call, more, ""), "")
    }

    pub(crate) fn send(&self, method: &str, target: &str, body: &str) -> (u16, Value) {
        let (status, text) = request(self.to, &format!("{method} {target} HTTP/1.1"), body);
        let json = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (status, json)
    }
}
