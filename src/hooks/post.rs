//! Posts JSON to an endpoint over connections that are kept, and takes an answer of a bounded size.

use axum::body::{Body, to_bytes};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::time::Duration;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// The most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// The time after which a connection without questions is closed.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// A client of backends.
#[derive(Debug, Clone)]
pub(crate) struct Poster(Client<HttpsConnector<HttpConnector>, Body>);

impl Poster {
    /// A client that keeps so many connections to one endpoint at most while they are idle.
    pub(crate) fn new(idle_max: usize, speaks_tls: bool) -> Self {
        let https = HttpsConnectorBuilder::new().with_tls_config(trust(speaks_tls));
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let connector = https.https_or_http().enable_http1().wrap_connector(http);
        Self(
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_max_idle_per_host(idle_max)
                .build(connector),
        )
    }

    /// Posts one body. Returns the status and the body of the answer.
    ///
    /// # Errors
    /// There is none, or it is too long, with the reason.
    pub(crate) async fn post(
        &self,
        uri: &Uri,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Vec<u8>), String> {
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers;
        let json = HeaderValue::from_static("application/json");
        let own = HeaderValue::from_static(concat!("stentor/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(CONTENT_TYPE, json.clone());
        request.headers_mut().insert(ACCEPT, json);
        request.headers_mut().entry(USER_AGENT).or_insert(own);
        let answer = self.0.request(request).await.map_err(|error| chain(&error))?;
        let status = answer.status();
        let body = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await;
        body.map(|bytes| (status, bytes.to_vec())).map_err(|error| chain(&error))
    }
}

/// The certificates that this host trusts; none, if no endpoint speaks TLS: hundreds of files may
/// have to be read for them.
fn trust(speaks_tls: bool) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    if speaks_tls {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            tracing::warn!("this host trusts no certificates: install ca-certificates");
        }
    }
    ClientConfig::builder_with_provider(crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("ring speaks the versions of TLS that are built in")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
