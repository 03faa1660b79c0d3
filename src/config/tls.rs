//! The settings of TLS: files of certificates and keys, for clients and for the admin address.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stentor_shards::overlaps;
use stentor_units::time::show as show_time;

use super::keys::{Key, time};
use super::listen::address;
use super::units::items;

/// The heading of the flags.
const GROUP: &str = "TLS";

/// The shortest time between two looks at the files.
const LOOK_MIN: Duration = Duration::from_millis(100);

/// The settings of TLS, as they were set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    /// The address for TLS beside `listen`.
    pub(crate) listen: Option<SocketAddr>,
    /// Chains of certificates.
    pub(crate) certs: Vec<PathBuf>,
    /// Their keys, in the same order.
    pub(crate) keys: Vec<PathBuf>,
    /// Answers of OCSP for them, in the same order; none at all, or one for each.
    pub(crate) ocsp: Vec<PathBuf>,
    /// Host names that the certificates must be good for.
    pub(crate) names: Vec<String>,
    /// The time between two looks whether the files have changed; zero for none.
    pub(crate) look: Duration,
    pub(crate) admin_cert: Option<PathBuf>,
    pub(crate) admin_key: Option<PathBuf>,
    /// The authorities of clients of the admin address.
    pub(crate) admin_ca: Option<PathBuf>,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            listen: None,
            certs: Vec::new(),
            keys: Vec::new(),
            ocsp: Vec::new(),
            names: Vec::new(),
            look: Duration::from_secs(30),
            admin_cert: None,
            admin_key: None,
            admin_ca: None,
        }
    }
}

impl Tls {
    /// Returns `true` if clients may speak TLS.
    pub(crate) fn is_on(&self) -> bool {
        !self.certs.is_empty()
    }

    /// Checks the settings that depend on each other. The files are not read.
    ///
    /// # Errors
    /// One line that says what is missing.
    pub(super) fn check(&self, listen: SocketAddr) -> Result<(), String> {
        let (certs, keys, ocsp) = (self.certs.len(), self.keys.len(), self.ocsp.len());
        if certs != keys {
            return Err(format!(
                "tls-cert names {certs} files and tls-key {keys}: each certificate has its key, \
                 in the same order"
            ));
        }
        if ocsp != 0 && ocsp != certs {
            return Err(format!(
                "tls-ocsp names {ocsp} files and tls-cert {certs}: one for each, or none at all"
            ));
        }
        if self.listen.is_some() && certs == 0 {
            return Err("tls-listen needs tls-cert and tls-key: stentor dev-cert makes both for \
                        trying out"
                .into());
        }
        // The kernel would spread the connections over both, sealed or not.
        if let Some(at) = self.listen.filter(|at| at.port() != 0 && overlaps(*at, listen)) {
            return Err(format!(
                "tls-listen {at} and listen {listen} are one address: without tls-listen, listen \
                 itself speaks TLS"
            ));
        }
        if !self.names.is_empty() && certs == 0 {
            return Err("tls-names needs tls-cert and tls-key".into());
        }
        match (&self.admin_cert, &self.admin_key, &self.admin_ca) {
            (Some(_), None, _) => Err("admin-tls-cert needs admin-tls-key".into()),
            (None, Some(_), _) => Err("admin-tls-key needs admin-tls-cert".into()),
            (None, None, Some(_)) => {
                Err("admin-tls-ca needs admin-tls-cert and admin-tls-key".into())
            }
            _ => Ok(()),
        }
    }
}

fn show(path: Option<&Path>) -> String {
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

fn show_all(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(",")
}

fn file(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("it is empty".into()) } else { Ok(text.into()) }
}

fn files(text: &str) -> Result<Vec<PathBuf>, String> {
    text.split(',').map(str::trim).map(file).collect()
}

/// Host names and addresses, as clients ask for them.
fn names(text: &str) -> Result<Vec<String>, String> {
    items(text)
        .map(|name| {
            rustls::pki_types::ServerName::try_from(name)
                .map(|_| name.to_owned())
                .map_err(|_| format!("{name:?} is no host name and no address"))
        })
        .collect()
}

/// One row of the table.
macro_rules! row {
    ($name:literal, $value:literal, $help:literal, $get:expr, $set:expr) => {
        Key {
            name: $name,
            group: GROUP,
            value: $value,
            help: $help,
            secret: false,
            get: |s| {
                let get: fn(&Tls) -> String = $get;
                get(&s.tls)
            },
            set: |s, text| {
                let set: fn(&mut Tls, &str) -> Result<(), String> = $set;
                set(&mut s.tls, text)
            },
        }
    };
}

/// The settings of TLS, in the order of `--help`.
pub(super) const KEYS: &[Key] = &[
    row!(
        "tls-cert",
        "LIST",
        "Certificates for clients, as PEM files with their chains; several for \
         several host names",
        |t| show_all(&t.certs),
        |t, text| {
            t.certs = files(text)?;
            Ok(())
        }
    ),
    row!(
        "tls-key",
        "LIST",
        "Their private keys, as PEM files in the same order",
        |t| show_all(&t.keys),
        |t, text| {
            t.keys = files(text)?;
            Ok(())
        }
    ),
    row!(
        "tls-listen",
        "ADDR",
        "Address for TLS beside listen; without it listen itself speaks TLS as soon \
         as there is a certificate",
        |t| t.listen.map(|address| address.to_string()).unwrap_or_default(),
        |t, text| {
            t.listen = Some(address(text)?);
            Ok(())
        }
    ),
    row!(
        "tls-names",
        "LIST",
        "Host names that the certificates must be good for, such as chat.example.org; \
         others are refused at start and at a reload",
        |t| t.names.join(","),
        |t, text| {
            t.names = names(text)?;
            Ok(())
        }
    ),
    row!(
        "tls-ocsp",
        "LIST",
        "Answers of OCSP to be stapled, as DER files in the order of the certificates",
        |t| show_all(&t.ocsp),
        |t, text| {
            t.ocsp = files(text)?;
            Ok(())
        }
    ),
    row!(
        "tls-look",
        "TIME",
        "Time between two looks whether the files of certificates have changed; 0 = \
         only SIGHUP has them read again",
        |t| show_time(t.look),
        |t, text| {
            let look = time(text, Duration::ZERO, Duration::from_hours(24))?;
            if !look.is_zero() && look < LOOK_MIN {
                return Err(format!("{text} is less than {}", show_time(LOOK_MIN)));
            }
            t.look = look;
            Ok(())
        }
    ),
    row!(
        "admin-tls-cert",
        "FILE",
        "Certificate of the admin address, as a PEM file with its chain; without it \
         the address speaks plain HTTP",
        |t| show(t.admin_cert.as_deref()),
        |t, text| {
            t.admin_cert = Some(file(text)?);
            Ok(())
        }
    ),
    row!(
        "admin-tls-key",
        "FILE",
        "Its private key, as a PEM file",
        |t| show(t.admin_key.as_deref()),
        |t, text| {
            t.admin_key = Some(file(text)?);
            Ok(())
        }
    ),
    row!(
        "admin-tls-ca",
        "FILE",
        "Authorities, as a PEM file: only clients with a certificate of one of them \
         may use the admin address",
        |t| show(t.admin_ca.as_deref()),
        |t, text| {
            t.admin_ca = Some(file(text)?);
            Ok(())
        }
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let pair = |certs: usize, keys: usize| Tls {
            certs: vec!["c".into(); certs],
            keys: vec!["k".into(); keys],
            ..Tls::default()
        };
        let plain = ([127, 0, 0, 1], 1).into();
        assert_eq!(pair(0, 0).check(plain), Ok(()));
        assert_eq!(pair(2, 2).check(plain), Ok(()));
        let listen = Some(([127, 0, 0, 1], 2).into());
        assert_eq!(Tls { listen, ..pair(1, 1) }.check(plain), Ok(()));
        let admin = Some("a".into());
        for (tls, part) in [
            (pair(2, 1), "tls-cert names 2 files and tls-key 1"),
            (Tls { ocsp: vec!["o".into()], ..pair(2, 2) }, "one for each, or none at all"),
            (Tls { listen, ..Tls::default() }, "tls-listen needs tls-cert"),
            (Tls { listen: Some(plain), ..pair(1, 1) }, "are one address"),
            (Tls { listen: Some(([0; 4], 1).into()), ..pair(1, 1) }, "are one address"),
            (Tls { names: vec!["a".into()], ..Tls::default() }, "tls-names needs"),
            (Tls { admin_cert: admin.clone(), ..Tls::default() }, "needs admin-tls-key"),
            (Tls { admin_key: admin.clone(), ..Tls::default() }, "needs admin-tls-cert"),
            (Tls { admin_ca: admin, ..Tls::default() }, "admin-tls-ca needs"),
        ] {
            let why = tls.check(plain).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn names_are_those_that_a_certificate_can_have() {
        assert_eq!(names("a.example.org, ::1,10.0.0.1").unwrap().len(), 3);
        assert!(names("a b").unwrap_err().contains("no host name"));
        assert!(files("a,,b").is_err());
    }
}
