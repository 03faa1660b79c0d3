//! Whom this process trusts where it is a client of TLS, and whom the admin address lets in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use stentor_shards::tls::provider;

use super::pair::certificates;

/// The error on a host without authorities.
const NO_ROOTS: &str = "this host trusts no authority (it lacks ca-certificates): --ca FILE names \
                        one, --insecure accepts any certificate";

/// The certificates that a client of TLS accepts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Those of the authorities of this host.
    #[default]
    Host,
    /// Those of the authorities in a PEM file.
    File(PathBuf),
    /// Any.
    Anybody,
}

/// Reads the authorities in a PEM file.
///
/// # Errors
/// One line that names the file.
pub(super) fn roots_of(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let (good, bad) = roots.add_parsable_certificates(certificates(file)?);
    match (good, bad) {
        (0, _) | (_, 1..) => {
            Err(format!("{}: {bad} of its certificates make no sense", file.display()))
        }
        _ => Ok(roots),
    }
}

/// Lets in only clients with a certificate of an authority in a PEM file.
///
/// # Errors
/// One line that names the file.
pub(super) fn only_from(file: &Path) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let roots = Arc::new(roots_of(file)?);
    WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| format!("{}: {error}", file.display()))
}

/// The settings of a client of TLS.
///
/// # Errors
/// The authorities cannot be read, or there are none.
pub(crate) fn client_config(trust: &Trust) -> Result<ClientConfig, String> {
    let provider = provider();
    let roots = match trust {
        Trust::Anybody => return with(Arc::clone(&provider), Arc::new(Anybody(provider))),
        Trust::File(file) => roots_of(file)?,
        Trust::Host => {
            let mut roots = RootCertStore::empty();
            // A host may have authorities that are unknown here.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(NO_ROOTS.to_owned());
            }
            roots
        }
    };
    let verifier = verifier(roots, &provider)?;
    with(provider, verifier)
}

fn verifier(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    Ok(built.build().map_err(|error| error.to_string())?)
}

fn with(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, String> {
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config =
        config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Takes any certificate for the right one.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
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
