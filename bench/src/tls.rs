//! TLS as the command line asks for it: whom the clients trust, and what they tell of themselves.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use serde::{Deserialize, Serialize};

/// The one protocol that browsers offer for a WebSocket: servers that also speak HTTP/2 would
/// choose that.
const ALPN: &[u8] = b"http/1.1";

/// Names for which one client keeps what it needs to resume: it has one server.
const NAMES_MAX: usize = 1;

/// How a client reaches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Transport {
    /// As it is.
    Tcp,
    /// Within TLS 1.3 or 1.2.
    Tls,
}

/// The flags of TLS.
#[derive(Debug, Clone, Default, clap::Args, Serialize, Deserialize)]
pub(crate) struct Flags {
    /// How to reach the server; wss:// and https:// mean tls.
    #[arg(long, value_enum)]
    pub(crate) transport: Option<Transport>,
    /// Accept any certificate, and check nothing that it signs.
    #[arg(long, conflicts_with = "ca")]
    pub(crate) insecure: bool,
    /// Authorities to trust, as PEM, instead of those of this host.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Clients that come back resume their sessions; otherwise each handshake is a full one.
    #[arg(long)]
    pub(crate) tls_resume: bool,
}

/// The means of one worker's clients for their handshakes.
#[derive(Debug, Clone)]
pub(crate) struct Secure {
    /// One for all, or one for each client, where they resume: nobody uses another one's tickets.
    configs: Vec<Arc<ClientConfig>>,
    /// The name in the certificate; the server is told of it, unless it is an address.
    pub(crate) name: ServerName<'static>,
}

impl Flags {
    /// Returns `true` if no flag of TLS was given.
    pub(crate) fn is_silent(&self) -> bool {
        !self.insecure && self.ca.is_none() && !self.tls_resume
    }

    /// For so many clients of the server with this name.
    pub(crate) fn secure(&self, host: &str, clients: usize) -> Result<Secure, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host:?} is no name that a certificate can have"))?;
        let mut config = self.config()?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        let configs = if self.tls_resume {
            let own = |_| {
                let mut own = config.clone();
                own.resumption = Resumption::in_memory_sessions(NAMES_MAX);
                Arc::new(own)
            };
            (0..clients).map(own).collect()
        } else {
            vec![Arc::new(config)]
        };
        Ok(Secure { configs, name })
    }

    fn config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = if self.insecure {
            Arc::new(Anyone(Arc::clone(&provider)))
        } else {
            let roots = Arc::new(self.roots()?);
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .map_err(|error| error.to_string())?
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        Ok(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
    }

    /// The named authorities, or those that everything else on this host trusts.
    fn roots(&self) -> Result<RootCertStore, String> {
        let (certificates, none) = match &self.ca {
            Some(file) => (read(file)?, format!("{} has no certificate in it", file.display())),
            None => (rustls_native_certs::load_native_certs().certs, NO_ROOTS.to_owned()),
        };
        let mut roots = RootCertStore::empty();
        // A host may have authorities that are unknown here; one of its own making is none.
        let (good, bad) = roots.add_parsable_certificates(certificates);
        match (good, bad, &self.ca) {
            (0, _, _) => Err(none),
            (_, 1.., Some(file)) => {
                Err(format!("{}: {bad} certificates make no sense", file.display()))
            }
            _ => Ok(roots),
        }
    }
}

/// The error on a host without authorities.
const NO_ROOTS: &str = "this host trusts no authority (it lacks ca-certificates): --ca FILE names \
                        one, --insecure accepts any certificate";

fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let named = |why: String| format!("{}: {why}", file.display());
    let text = std::fs::read(file).map_err(|error| named(error.to_string()))?;
    CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| named(format!("{error:?}")))
}

impl Secure {
    /// Returns the configuration of one client.
    pub(crate) fn config(&self, client: usize) -> &Arc<ClientConfig> {
        &self.configs[client % self.configs.len()]
    }
}

/// Why a handshake or a connection failed, in words that say what to do.
pub(crate) fn explained(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => {
            let why = why.to_string();
            format!(
                "the server's certificate is not trusted ({why}): --ca FILE names whom to trust, \
                 --insecure accepts any certificate"
            )
        }
        Error::InvalidMessage(why) => format!("the server does not speak TLS here ({why:?})"),
        Error::AlertReceived(alert) => format!("the server ended TLS with the alert {alert:?}"),
        other => format!("TLS: {other}"),
    }
}

/// Takes any certificate for the right one.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
