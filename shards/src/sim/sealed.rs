//! TLS in the simulation: the client's end of a simulated socket that seals what the client says
//! and opens what it gets, and the settings of the shards' end.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};

use crate::tls::provider;

/// A certificate and its key for tests. The signatures of Ed25519 are all of one length, so that a
/// schedule cuts its records at the same places each time.
const CERTIFICATE: &[u8] = include_bytes!("ed25519.cert.der");
const KEY: &[u8] = include_bytes!("ed25519.key.der");

/// The settings of a server with that certificate.
pub(crate) fn server_config() -> Arc<ServerConfig> {
    let chain = vec![CertificateDer::from(CERTIFICATE)];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(KEY));
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.ticketer = crate::tls::ticketer().unwrap();
    config.send_tls13_tickets = 1;
    Arc::new(config)
}

/// The settings of a client that accepts any certificate.
pub(crate) fn client_config() -> Arc<ClientConfig> {
    client_config_of(&TLS13)
}

/// The same for a client of one version.
pub(crate) fn client_config_of(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// The client's end of a connection.
pub(crate) struct ClientEnd {
    connection: ClientConnection,
}

impl ClientEnd {
    /// An end that says hello into `inbound`.
    pub(crate) fn new(config: Arc<ClientConfig>, inbound: &mut VecDeque<u8>) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let mut connection = ClientConnection::new(config, name).unwrap();
        connection.set_buffer_limit(None);
        let mut end = Self { connection };
        end.send(inbound);
        end
    }

    fn send(&mut self, inbound: &mut VecDeque<u8>) {
        while self.connection.wants_write() {
            self.connection.write_tls(inbound).unwrap();
        }
    }

    /// Seals what the client says, as soon as the handshake is over.
    pub(crate) fn say(&mut self, bytes: &[u8], inbound: &mut VecDeque<u8>) {
        self.connection.writer().write_all(bytes).unwrap();
        self.send(inbound);
    }

    /// Says that nothing more comes, once the handshake is over: before that it is an error.
    pub(crate) fn finish(&mut self, inbound: &mut VecDeque<u8>) {
        if !self.connection.is_handshaking() {
            self.connection.send_close_notify();
            self.send(inbound);
        }
    }

    /// Has both sides change their keys.
    #[cfg(test)]
    pub(crate) fn change_keys(&mut self, inbound: &mut VecDeque<u8>) {
        if !self.connection.is_handshaking() {
            self.connection.refresh_traffic_keys().unwrap();
            self.send(inbound);
        }
    }

    /// Opens what the client gets. Every record must be whole, in its order, and the server's own.
    pub(crate) fn hear(
        &mut self,
        mut bytes: &[u8],
        outbound: &mut Vec<u8>,
        inbound: &mut VecDeque<u8>,
    ) {
        while !bytes.is_empty() {
            let count = self.connection.read_tls(&mut bytes).unwrap();
            let state = self.connection.process_new_packets().expect("records in their order");
            if state.plaintext_bytes_to_read() > 0 {
                let begin = outbound.len();
                outbound.resize(begin + state.plaintext_bytes_to_read(), 0);
                self.connection.reader().read_exact(&mut outbound[begin..]).unwrap();
            }
            if count == 0 {
                break;
            }
        }
        self.send(inbound);
    }
}

/// Takes any certificate for the right one.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
