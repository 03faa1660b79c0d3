//! `stentor dev-cert`: a certificate of one's own, for trying out TLS on this host.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use super::dates::now_s;

/// The names of a certificate that are not asked for otherwise: those of this host alone.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The days for which it is valid: browsers take no longer ones.
const DAYS: i64 = 397;

/// The arguments of `stentor dev-cert`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DevCert {
    /// The folder for the files.
    pub(crate) folder: PathBuf,
    /// Host names and addresses; none: those of this host alone.
    pub(crate) names: Vec<String>,
    /// Files that are there already are replaced.
    pub(crate) force: bool,
}

/// Makes an authority, and a certificate of it, in three files. Returns what to do with them.
///
/// # Errors
/// One line that names what is wrong.
pub(crate) fn dev_cert(asked: &DevCert) -> Result<String, String> {
    let local = LOCAL.map(str::to_owned).to_vec();
    let names = if asked.names.is_empty() { local } else { asked.names.clone() };
    let [ca_file, cert_file, key_file] =
        ["dev-ca.pem", "dev-cert.pem", "dev-key.pem"].map(|name| asked.folder.join(name));
    let there = [&ca_file, &cert_file, &key_file].into_iter().find(|file| file.exists());
    if let Some(file) = there.filter(|_| !asked.force) {
        return Err(format!("{} is there already: --force replaces it", file.display()));
    }
    let made = make(&names).map_err(|error| format!("no certificate for {names:?}: {error}"))?;
    std::fs::create_dir_all(&asked.folder)
        .map_err(|error| format!("{}: {error}", asked.folder.display()))?;
    write(&ca_file, &made.ca, 0o644)?;
    write(&cert_file, &made.cert, 0o644)?;
    write(&key_file, &made.key, 0o600)?;
    let [ca, cert, key] = [&ca_file, &cert_file, &key_file].map(|file| file.display());
    Ok(format!(
        "{ca}\n{cert}\n{key}\n\nfor {names}, valid for {DAYS} days. The key of its authority is \
         kept nowhere.\n\n    stentor --tls-cert {cert} --tls-key {key} --tls-listen :9443\n    \
         stentor sub lobby --url wss://localhost:9443/ws --ca {ca}\n    curl --cacert {ca} \
         https://localhost:9443/health\n",
        names = names.join(", ")
    ))
}

/// Three files in PEM.
struct Made {
    ca: String,
    cert: String,
    key: String,
}

fn make(names: &[String]) -> Result<Made, rcgen::Error> {
    // A clock that is a little behind this one finds it valid too.
    let begin = OffsetDateTime::UNIX_EPOCH + Duration::seconds(now_s()) - Duration::days(1);
    let end = begin + Duration::days(DAYS);
    let mut of_ca = CertificateParams::new(Vec::new())?;
    of_ca.distinguished_name.push(DnType::CommonName, "Stentor, for trying out");
    of_ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    of_ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (of_ca.not_before, of_ca.not_after) = (begin, end);
    let ca_key = KeyPair::generate()?;
    let ca = of_ca.self_signed(&ca_key)?;

    let mut of_cert = CertificateParams::new(names.to_vec())?;
    of_cert.distinguished_name.push(DnType::CommonName, names[0].as_str());
    of_cert.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    of_cert.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    of_cert.use_authority_key_identifier_extension = true;
    (of_cert.not_before, of_cert.not_after) = (begin, end);
    let key = KeyPair::generate()?;
    let cert = of_cert.signed_by(&key, &Issuer::from_params(&of_ca, &ca_key))?;
    Ok(Made {
        ca: pem("CERTIFICATE", ca.der()),
        cert: pem("CERTIFICATE", cert.der()),
        key: pem("PRIVATE KEY", key.serialized_der()),
    })
}

/// Puts DER into PEM (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.extend(line.iter().copied().map(char::from));
        out.push('\n');
    }
    out + &format!("-----END {label}-----\n")
}

/// Writes a file whose mode is right from its first byte on.
fn write(file: &Path, text: &str, mode: u32) -> Result<(), String> {
    let named = |error: std::io::Error| format!("{}: {error}", file.display());
    // Another one that is there keeps its mode: it goes first.
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(named(error)),
        _ => {}
    }
    let mut opened =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(file).map_err(named)?;
    opened.write_all(text.as_bytes()).map_err(named)
}
