//! One certificate with its chain and its key, and the choice among several of them.

use std::path::Path;
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{Error, ServerConfig};
use stentor_shards::tls::provider;
use webpki::EndEntityCert;

use super::by_name::ByName;
use super::dates::{Dates, Parts, now_s, parts};
use super::keeper::Expiry;
use super::ocsp::{self, Status};
use crate::config::file::bytes_in;

/// The most bytes of a file of certificates or of a key.
const BYTES_MAX: u64 = 1 << 20;

/// The most bytes of a chain, which every client is sent and for which memory may be needed.
const CHAIN_BYTES_MAX: usize = 32 << 10;

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
    /// Oddities of its chain, and of its answer of OCSP.
    pub(crate) warnings: Vec<String>,
    pub(super) key: Arc<CertifiedKey>,
    /// The same with an answer of OCSP.
    stapled: Option<Stapled>,
}

/// A certificate with an answer of OCSP.
#[derive(Debug)]
struct Stapled {
    key: Arc<CertifiedKey>,
    /// The name of the answer's file.
    file: String,
    /// The last second for which the answer counts.
    end_s: Option<i64>,
}

impl Pair {
    /// Reads a certificate, its key and an answer of OCSP for it.
    ///
    /// # Errors
    /// One line that names the file.
    pub(crate) fn read(cert: &Path, key: &Path, ocsp: Option<&Path>) -> Result<Self, String> {
        let chain = certificates(cert)?;
        if chain.iter().map(|one| one.len()).sum::<usize>() > CHAIN_BYTES_MAX {
            return Err(named(cert, "its certificates are more than 32 KiB together"));
        }
        let text = read(key)?;
        let secret = PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
            PemError::NoItemsFound => named(key, "it has no private key that is not encrypted"),
            other => named(key, &format!("it is no private key in PEM: {other}")),
        })?;
        let dates = dates_of(&chain).map_err(|why| named(cert, &why))?;
        let mut warnings: Vec<_> = oddities_of(&chain).iter().map(|why| named(cert, why)).collect();
        if ParsedCertificate::try_from(&chain[0]).is_err() {
            return Err(named(cert, "its first certificate makes no sense"));
        }
        let certified =
            CertifiedKey::from_der(chain, secret, &provider()).map_err(|error| match error {
                Error::InconsistentKeys(_) => named(
                    key,
                    &format!("it is not the key of the certificate in {}", cert.display()),
                ),
                other => named(key, &other.to_string()),
            })?;
        let stapled = ocsp.map(|file| staple(&certified, file)).transpose()?;
        let stapled = stapled.and_then(|(stapled, warning)| {
            let is_worth_it = warning.is_none();
            warnings.extend(warning);
            is_worth_it.then_some(stapled)
        });
        let file = cert.display().to_string();
        Ok(Self { file, dates, warnings, key: Arc::new(certified), stapled })
    }

    /// The certificate as a client is shown it at a time. An answer of OCSP whose time is over is
    /// worse than none.
    pub(super) fn shown(&self, now_s: impl FnOnce() -> i64) -> &Arc<CertifiedKey> {
        match &self.stapled {
            Some(Stapled { key, end_s: None, .. }) => key,
            Some(Stapled { key, end_s: Some(end_s), .. }) if now_s() <= *end_s => key,
            _ => &self.key,
        }
    }

    /// The ends of the certificate and of its answer of OCSP.
    pub(super) fn expiries(&self) -> Vec<Expiry> {
        let own = Expiry { file: self.file.clone(), end_s: self.dates.end_s };
        let answer = self.stapled.iter().filter_map(|one| Some((&one.file, one.end_s?)));
        let answers = answer.map(|(file, end_s)| Expiry { file: file.clone(), end_s });
        std::iter::once(own).chain(answers).collect()
    }

    /// The names in the certificate, as they stand there.
    pub(super) fn names(&self) -> Vec<String> {
        let Some(Ok(parsed)) = self.key.cert.first().map(EndEntityCert::try_from) else {
            return Vec::new();
        };
        parsed.valid_dns_names().map(str::to_ascii_lowercase).collect()
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

/// Returns the time in which clients accept a certificate: its own and that of the authority that
/// has signed it.
fn dates_of(chain: &[CertificateDer<'_>]) -> Result<Dates, String> {
    let mut dates = parts(&chain[0]).ok_or("its first certificate is damaged")?.dates;
    if let Some(next) = chain.get(1) {
        let next = parts(next).ok_or("its second certificate is damaged")?.dates;
        dates.begin_s = dates.begin_s.max(next.begin_s);
        dates.end_s = dates.end_s.min(next.end_s);
    }
    Ok(dates)
}

/// Names what some clients stumble over in a chain.
fn oddities_of(chain: &[CertificateDer<'_>]) -> Vec<String> {
    let parts: Vec<Option<Parts<'_>>> = chain.iter().map(|one| parts(one)).collect();
    let mut oddities = Vec::new();
    for (index, pair) in parts.windows(2).enumerate() {
        let [Some(one), Some(next)] = pair else { continue };
        if one.issuer != next.subject {
            oddities.push(format!(
                "certificate {} of its chain is not of the authority that has signed the one \
                 before it",
                index + 2
            ));
        }
    }
    oddities
}

/// Adds an answer of OCSP. Returns a warning if it says nothing that helps.
fn staple(certified: &CertifiedKey, file: &Path) -> Result<(Stapled, Option<String>), String> {
    let der = read(file)?;
    let answer = ocsp::answer(&der).ok_or_else(|| named(file, "it is no answer of OCSP in DER"))?;
    let is_over = answer.end_s.is_some_and(|end_s| end_s < now_s());
    let fault = match answer.status {
        Status::Good if is_over => Some("its time is over, and it is not stapled"),
        Status::Good => None,
        Status::Revoked => Some("it says that the certificate is revoked, and is not stapled"),
        Status::Unknown => Some("it does not know the certificate, and is not stapled"),
    };
    let key = CertifiedKey { ocsp: Some(der), ..certified.clone() };
    let (file_name, end_s) = (file.display().to_string(), answer.end_s);
    let stapled = Stapled { key: Arc::new(key), file: file_name, end_s };
    Ok((stapled, fault.map(|why| named(file, why))))
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    bytes_in(file, BYTES_MAX).map_err(|error| named(file, &error.to_string()))
}

fn named(file: &Path, why: &str) -> String {
    format!("{}: {why}", file.display())
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
        .with_cert_resolver(Arc::new(ByName::new(pairs)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.ticketer = ticketer;
    config.send_tls13_tickets = TICKETS;
    // Tickets hold all that is needed: no table is shared between shards.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}
