//! The cost of a full handshake of TLS in the library alone: both ends in memory, of which the
//! server's part is counted.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConnection, ServerConfig, ServerConnection};
use serde_json::{Value, json};

use crate::host;
use crate::tls::Flags;

/// The longest time that is told apart, in nanoseconds.
const LONGEST_NS: u64 = 1_000_000_000;

/// Handshakes before those that count.
const WARM_UP: usize = 100;

/// A server's certificate, and how much to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Handshake {
    /// Certificate of the server, as PEM.
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Its private key, as PEM.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Handshakes to measure.
    #[arg(short = 'n', long, default_value_t = 2000)]
    count: usize,
    /// Core of both ends.
    #[arg(long)]
    core: Option<usize>,
}

impl Handshake {
    /// Does handshakes, one after the other.
    pub(crate) fn run(&self) -> Result<Value, String> {
        host::pin(self.core).map_err(|error| error.to_string())?;
        let server = Arc::new(self.server()?);
        let flags = Flags { insecure: true, ..Flags::default() };
        let secure = flags.secure("localhost", 1)?;
        let mut costs = Histogram::<u64>::new_with_bounds(1, LONGEST_NS, 3)
            .map_err(|error| error.to_string())?;
        for number in 0..WARM_UP + self.count {
            let client = ClientConnection::new(Arc::clone(secure.config(0)), secure.name.clone())
                .map_err(|error| error.to_string())?;
            let cost_ns = shake(client, &server).map_err(|error| error.to_string())?;
            if number >= WARM_UP {
                costs.saturating_record(cost_ns);
            }
        }
        Ok(json!({
            "what": "the server's part of a full handshake of TLS, in memory",
            "count": costs.len(), "mean_ns": costs.mean(),
            "p50_ns": costs.value_at_quantile(0.5), "p99_ns": costs.value_at_quantile(0.99),
        }))
    }

    /// Settings like those of a server with tickets.
    fn server(&self) -> Result<ServerConfig, String> {
        let named = |file: &Path, why: String| format!("{}: {why}", file.display());
        let chain = CertificateDer::pem_file_iter(&self.cert)
            .and_then(Iterator::collect)
            .map_err(|error| named(&self.cert, error.to_string()))?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| named(&self.key, error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| named(&self.key, error.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = ring::Ticketer::new().map_err(|error| error.to_string())?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 1;
        Ok(config)
    }
}

/// One handshake. Returns the CPU time of the server's end.
fn shake(mut client: ClientConnection, config: &Arc<ServerConfig>) -> io::Result<u64> {
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let (mut server, mut cost_ns) = (None, 0);
    loop {
        up.clear();
        while client.wants_write() {
            client.write_tls(&mut up)?;
        }
        if up.is_empty() && !client.is_handshaking() {
            return Ok(cost_ns);
        }
        let began_ns = cpu_ns();
        let server = match &mut server {
            Some(server) => server,
            none => none.insert(new_server(config)?),
        };
        let mut rest = &up[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest)?;
            server.process_new_packets().map_err(io::Error::other)?;
        }
        down.clear();
        while server.wants_write() {
            server.write_tls(&mut down)?;
        }
        cost_ns += cpu_ns() - began_ns;
        let mut rest = &down[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest)?;
            client.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

fn new_server(config: &Arc<ServerConfig>) -> io::Result<ServerConnection> {
    ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)
}

/// The CPU time of this thread.
fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let whole = u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000;
    whole + u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    #[test]
    fn each_handshake_is_a_full_one_and_is_counted() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, label: &str, der: &[u8]| {
            let text = base64::engine::general_purpose::STANDARD.encode(der);
            let file = folder.path().join(name);
            let pem = format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n");
            std::fs::write(&file, pem).unwrap();
            file
        };
        let cert = write("cert.pem", "CERTIFICATE", made.cert.der());
        let key = write("key.pem", "PRIVATE KEY", &made.signing_key.serialize_der());
        let mut asked = Handshake { cert: cert.clone(), key, count: 20, core: None };
        let found = asked.run().unwrap();
        assert_eq!(found["count"], 20);
        assert!(found["mean_ns"].as_f64().unwrap() > 1_000.0, "{found}");
        asked.key = cert;
        assert!(asked.run().unwrap_err().contains("cert.pem: "));
    }
}
