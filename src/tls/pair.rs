//! One certificate with its chain and its key, and the choice among several of them.

use std::path::Path;
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, ServerConfig};
use stentor_shards::tls::provider;

use super::dates::{Dates, dates};
use crate::config::file::bytes_in;

/// The most bytes of a file of certificates or of a key.
const BYTES_MAX: u64 = 1 << 20;

/// The one protocol that is spoken here.
const ALPN: &[u8] = b"http/1.1";

/// Tickets for each client. One is enough: each resumed session brings another one.
const TICKETS: usize = 1;

/// A certificate with its chain and its key.
#[derive(Debug)]
pub(crate) struct Pair {
    /// The name of the certificate's file.
    pub(crate) file: String,
    pub(crate) dates: Dates,
    key: Arc<CertifiedKey>,
}

impl Pair {
    /// Reads a certificate, its key and an answer of OCSP for it.
    ///
    /// # Errors
    /// One line that names the file.
    pub(crate) fn read(cert: &Path, key: &Path, ocsp: Option<&Path>) -> Result<Self, String> {
        let chain = certificates(cert)?;
        let text = read(key)?;
        let secret = PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
            PemError::NoItemsFound => named(key, "it has no private key that is not encrypted"),
            other => named(key, &format!("it is no private key in PEM: {other}")),
        })?;
        let dates =
            dates(&chain[0]).ok_or_else(|| named(cert, "its first certificate is damaged"))?;
        if ParsedCertificate::try_from(&chain[0]).is_err() {
            return Err(named(cert, "its first certificate makes no sense"));
        }
        let mut certified =
            CertifiedKey::from_der(chain, secret, &provider()).map_err(|error| match error {
                Error::InconsistentKeys(_) => named(
                    key,
                    &format!("it is not the key of the certificate in {}", cert.display()),
                ),
                other => named(key, &other.to_string()),
            })?;
        certified.ocsp = ocsp.map(answer_of_ocsp).transpose()?;
        Ok(Self { file: cert.display().to_string(), dates, key: Arc::new(certified) })
    }

    /// Returns `true` if the certificate is good for a host.
    pub(crate) fn is_for(&self, name: &ServerName<'_>) -> bool {
        let parsed = self.key.cert.first().and_then(|one| ParsedCertificate::try_from(one).ok());
        parsed.is_some_and(|parsed| verify_server_name(&parsed, name).is_ok())
    }
}

/// Reads the certificates of a file, of which there is one at least.
///
/// # Errors
/// One line that names the file.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(file)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(named(file, "it has no certificate in PEM")),
        Ok(chain) => Ok(chain),
        Err(error) => Err(named(file, &format!("it is no PEM: {error}"))),
    }
}

fn answer_of_ocsp(file: &Path) -> Result<Vec<u8>, String> {
    let answer = read(file)?;
    // A sequence whose first part is a status of zero: the authority has answered.
    let is_answer =
        answer.first() == Some(&0x30) && answer.windows(3).any(|part| part == [10, 1, 0]);
    if is_answer { Ok(answer) } else { Err(named(file, "it is no answer of OCSP in DER")) }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    bytes_in(file, BYTES_MAX).map_err(|error| named(file, &error.to_string()))
}

fn named(file: &Path, why: &str) -> String {
    format!("{}: {why}", file.display())
}

/// Chooses among several certificates by the name that a client asks for. One that asks for none,
/// or for one that no certificate is good for, is shown the first.
#[derive(Debug)]
struct ByName(Vec<Pair>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let [only] = &*self.0 {
            return Some(Arc::clone(&only.key));
        }
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let schemes = hello.signature_schemes();
        let can = |pair: &&Pair| pair.key.key.choose_scheme(schemes).is_some();
        let fits = |pair: &&Pair| name.as_ref().is_some_and(|name| pair.is_for(name));
        let mut able = self.0.iter().filter(can);
        let chosen = able.clone().find(fits).or_else(|| able.next()).or(self.0.first());
        chosen.map(|pair| Arc::clone(&pair.key))
    }
}

/// The settings of TLS for clients, with these certificates.
///
/// # Errors
/// The library does not take them together.
pub(super) fn server_config(
    pairs: Vec<Pair>,
    ticketer: Arc<dyn rustls::server::ProducesTickets>,
) -> Result<ServerConfig, String> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName(pairs)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.ticketer = ticketer;
    config.send_tls13_tickets = TICKETS;
    // Tickets hold all that is needed: no table is shared between shards.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}
