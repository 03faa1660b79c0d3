//! Certificates for tests, and clients that trust them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::{self, WebSocket};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, StreamOwned};

/// A connection within TLS.
pub(crate) type Sealed = StreamOwned<ClientConnection, TcpStream>;

/// An authority that signs certificates of a test.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    key: String,
    pub(crate) certificate: CertificateDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut wished = CertificateParams::new(Vec::new()).unwrap();
        wished.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wished.distinguished_name.push(DnType::CommonName, "the authority of a test");
        let key = KeyPair::generate().unwrap();
        let certificate = wished.self_signed(&key).unwrap().der().clone();
        let text = pem("PRIVATE KEY", key.serialized_der());
        Self { issuer: Issuer::new(wished, key), key: text, certificate }
    }

    /// A certificate and its key, as PEM.
    pub(crate) fn sign(&self, names: &[&str], serial: u64, last_year: i32) -> (String, String) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut wished = CertificateParams::new(names).unwrap();
        wished.serial_number = Some(serial.into());
        wished.distinguished_name.push(DnType::CommonName, "a server of a test");
        wished.not_before = rcgen::date_time_ymd(2020, 1, 1);
        wished.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = wished.signed_by(&key, &self.issuer).unwrap();
        (pem("CERTIFICATE", certificate.der()), pem("PRIVATE KEY", key.serialized_der()))
    }

    /// Writes a certificate and its key into two files of a folder.
    pub(crate) fn write(&self, folder: &Path, names: &[&str], serial: u64) -> [PathBuf; 2] {
        let (cert, key) = self.sign(names, serial, 2100);
        let files = ["cert", "key"].map(|what| folder.join(format!("{what}-{serial}.pem")));
        std::fs::write(&files[0], cert).unwrap();
        std::fs::write(&files[1], key).unwrap();
        files
    }

    /// Writes the authority's own certificate.
    pub(crate) fn write_own(&self, folder: &Path) -> PathBuf {
        let file = folder.join("ca.pem");
        std::fs::write(&file, pem("CERTIFICATE", &self.certificate)).unwrap();
        file
    }

    /// Writes the authority's own key.
    pub(crate) fn write_own_key(&self, folder: &Path) -> PathBuf {
        let file = folder.join("ca-key.pem");
        std::fs::write(&file, &self.key).unwrap();
        file
    }

    /// A client that trusts it, and may resume its sessions.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        self.client_of(&[&TLS13, &TLS12])
    }

    /// The same for a client that shows a certificate itself.
    pub(crate) fn client_with(&self, (cert, key): (String, String)) -> Arc<ClientConfig> {
        let chain = CertificateDer::pem_slice_iter(cert.as_bytes()).collect::<Result<_, _>>();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let config = self.building(&[&TLS13, &TLS12]);
        Arc::new(config.with_client_auth_cert(chain.unwrap(), key).unwrap())
    }

    /// The same for some versions of TLS.
    pub(crate) fn client_of(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        Arc::new(self.building(versions).with_no_client_auth())
    }

    fn building(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ConfigBuilder<ClientConfig, WantsClientCert> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
    }
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// Connects within TLS, as a client of `name`.
pub(crate) fn connect(to: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> Sealed {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_nodelay(true).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), stream)
}

/// Opens a WebSocket within TLS.
pub(crate) fn open(to: SocketAddr, target: &str, config: &Arc<ClientConfig>) -> WebSocket<Sealed> {
    let request = format!("wss://localhost{target}").into_client_request().unwrap();
    tungstenite::client(request, connect(to, "localhost", config)).unwrap().0
}

/// One request within TLS. Returns what comes, as text.
pub(crate) fn ask(stream: &mut Sealed, path: &str) -> String {
    try_ask(stream, path).unwrap()
}

/// The same, or why nothing comes.
pub(crate) fn try_ask(stream: &mut Sealed, path: &str) -> std::io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The serial number of the certificate that the server has shown.
pub(crate) fn serial(stream: &mut Sealed) -> u8 {
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    let certificate = stream.conn.peer_certificates().unwrap()[0].clone();
    // Behind the head and the version stands a number of one byte.
    let at = certificate.windows(2).position(|part| part == [2, 1]).unwrap();
    // The first one is the version, inside of its own tag.
    let behind = &certificate[at + 3..];
    assert_eq!(behind[..2], [2, 1], "a serial number below 128");
    behind[2]
}
