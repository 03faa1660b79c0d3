//! Fetches a key set, over HTTPS or from this host: one GET, of a bounded size in a bounded time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// The longest that one fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Fetches without a control thread, for a command.
///
/// # Errors
/// There is no key set, with the reason.
pub(crate) fn fetch_alone(uri: &Uri) -> Result<Vec<u8>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(fetch(uri))
}

/// Returns the body at `uri`.
///
/// # Errors
/// There is none, with the reason.
pub(crate) async fn fetch(uri: &Uri) -> Result<Vec<u8>, String> {
    match tokio::time::timeout(FETCH_TIMEOUT, fetch_at_leisure(uri)).await {
        Ok(found) => found,
        Err(_) => Err(format!("no answer in {} s", FETCH_TIMEOUT.as_secs())),
    }
}

async fn fetch_at_leisure(uri: &Uri) -> Result<Vec<u8>, String> {
    let host = uri.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let is_tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let text = |error: std::io::Error| error.to_string();
    let stream = TcpStream::connect((bare.as_str(), port)).await.map_err(text)?;
    if !is_tls {
        return get(uri, stream).await;
    }
    let name = ServerName::try_from(bare).map_err(|_| "the host has no valid name")?;
    let connector = TlsConnector::from(trust().await?);
    get(uri, connector.connect(name, stream).await.map_err(text)?).await
}

/// The certificates that this host trusts. They are read anew each time, as they may change while
/// the server runs.
async fn trust() -> Result<Arc<ClientConfig>, String> {
    // Hundreds of files may have to be read.
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.map_err(|error| error.to_string())?.certs);
    if roots.is_empty() {
        return Err("this host trusts no certificates: install ca-certificates".into());
    }
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

async fn get(
    uri: &Uri,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Vec<u8>, String> {
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    // It ends when the sender is dropped.
    let driver = tokio::spawn(connection);
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let request = Request::get(target)
        .header(header::HOST, uri.authority().map_or("", |authority| authority.as_str()))
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, concat!("stentor/", env!("CARGO_PKG_VERSION")))
        .body(Body::empty())
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(text)?;
    let found = if response.status() == StatusCode::OK {
        let body = Body::new(response.into_body());
        to_bytes(body, stentor_auth::JWKS_BYTES_MAX).await.map_err(|error| error.to_string())
    } else {
        Err(format!("the answer is {}", response.status()))
    };
    driver.abort();
    found.map(|bytes| bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Answers one request with these bytes.
    fn answering(answer: String) -> Uri {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let _ = socket.read(&mut head).unwrap();
            // The client may have seen enough.
            let _ = socket.write_all(answer.as_bytes());
        });
        format!("http://127.0.0.1:{port}/jwks").parse().unwrap()
    }

    #[test]
    fn a_body_is_fetched_and_other_answers_are_reasons() {
        let whole = |status: &str, body: &str| {
            let length = body.len();
            answering(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}"))
        };
        assert_eq!(fetch_alone(&whole("200 OK", "{}")), Ok(b"{}".to_vec()));
        let long = "x".repeat(stentor_auth::JWKS_BYTES_MAX + 1);
        for (uri, why) in [
            (whole("404 Not Found", ""), "the answer is 404 Not Found"),
            (whole("302 Found", ""), "the answer is 302 Found"),
            (whole("200 OK", &long), "length limit exceeded"),
            (answering("no HTTP at all\r\n\r\n".into()), "invalid HTTP"),
            (answering(String::new()), "connection closed before message completed"),
        ] {
            let found = fetch_alone(&uri).unwrap_err();
            assert!(found.contains(why), "{found}");
        }
    }
}
