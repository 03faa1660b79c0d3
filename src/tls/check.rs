//! Checks of certificates: what would make clients turn away, found before they do.

use rustls::pki_types::ServerName;

use super::dates::now_s;
use super::pair::Pair;
use crate::config::Settings;
use crate::config::tls::Tls;

/// A certificate that ends within this time is warned of.
const SOON_S: i64 = 14 * 86_400;

/// Returns the reason for which clients would turn away from a server with these settings, and
/// warnings.
pub(crate) fn faults(settings: &Settings) -> (Option<String>, Vec<String>) {
    match check(&settings.tls) {
        Ok(Checked { warnings, fault, .. }) => (fault, warnings),
        Err(why) => (Some(why), Vec::new()),
    }
}

/// The certificates of the settings, each of them with its key.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) pairs: Vec<Pair>,
    /// Those of the admin address.
    pub(crate) admin: Option<Pair>,
    /// Oddities that are no reason not to start.
    pub(crate) warnings: Vec<String>,
    /// The first reason for which clients turn away, though the server could start.
    pub(crate) fault: Option<String>,
}

/// Reads all files that the settings name, and checks them.
///
/// # Errors
/// One line that names a setting and a file with which no server can start.
pub(crate) fn check(tls: &Tls) -> Result<Checked, String> {
    let mut pairs = Vec::with_capacity(tls.certs.len());
    for (index, (cert, key)) in tls.certs.iter().zip(&tls.keys).enumerate() {
        let ocsp = tls.ocsp.get(index).map(|file| &**file);
        pairs.push(Pair::read(cert, key, ocsp).map_err(|why| format!("tls: {why}"))?);
    }
    for name in &tls.names {
        let host =
            ServerName::try_from(name.as_str()).map_err(|_| format!("tls-names: {name:?}"))?;
        if !pairs.iter().any(|pair| pair.is_for(&host)) {
            let files = tls.certs.iter().map(|file| file.display().to_string());
            let files = files.collect::<Vec<_>>().join(", ");
            return Err(format!("tls-names: no certificate is good for {name}: {files}"));
        }
    }
    let admin = match (&tls.admin_cert, &tls.admin_key) {
        (Some(cert), Some(key)) => {
            Some(Pair::read(cert, key, None).map_err(|why| format!("admin-tls: {why}"))?)
        }
        _ => None,
    };
    if let Some(ca) = &tls.admin_ca {
        super::trust::roots_of(ca).map_err(|why| format!("admin-tls-ca: {why}"))?;
    }
    let (mut warnings, mut fault) = (Vec::new(), None);
    let now_s = now_s();
    for pair in pairs.iter().chain(&admin) {
        warnings.extend(pair.warnings.iter().map(|why| format!("tls: {why}")));
        if let Some(why) = pair.dates.fault(now_s) {
            fault = fault.or_else(|| Some(format!("tls: {}: {why}", pair.file)));
        } else if pair.dates.end_s - now_s < SOON_S {
            let days = (pair.dates.end_s - now_s) / 86_400;
            warnings.push(format!("tls: {}: it expires in {days} days", pair.file));
        }
    }
    Ok(Checked { pairs, admin, warnings, fault })
}
