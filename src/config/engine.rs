//! The settings of an engine: what joins nodes, where it is, and what it keeps.

use std::path::PathBuf;
use std::time::Duration;

use stentor_units::time::show as show_time;

use super::keys::{Key, number, show_bytes, size, time};
use super::units::unless_empty;

/// The heading of the flags.
const GROUP: &str = "Engine";

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

/// The settings of an engine, as they were set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Engine {
    /// The servers of the engine; none: this process is alone.
    pub(crate) servers: Vec<String>,
    /// Nodes of one cluster have one name for it.
    pub(crate) cluster: String,
    pub(crate) credentials: Option<PathBuf>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// The authorities of the engine's certificates, beside those of the system.
    pub(crate) tls_ca: Option<PathBuf>,
    /// `true` if the engine keeps publications in files.
    pub(crate) in_files: bool,
    /// The number of servers of the engine that have each publication.
    pub(crate) replicas: usize,
    /// The most publications of one channel that the engine keeps.
    pub(crate) history: u32,
    pub(crate) history_ttl: Duration,
    /// The most bytes that the engine keeps of all channels.
    pub(crate) bytes: usize,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            cluster: "stentor".into(),
            credentials: None,
            user: None,
            password: None,
            tls_ca: None,
            in_files: true,
            replicas: 1,
            history: 100,
            history_ttl: Duration::from_mins(5),
            bytes: 1 << 30,
        }
    }
}

impl Engine {
    /// Returns `true` if other nodes may be there.
    pub(crate) fn is_on(&self) -> bool {
        !self.servers.is_empty()
    }

    /// Checks the settings that depend on each other.
    pub(super) fn check(&self, name_bytes: usize) -> Result<(), String> {
        if !self.is_on() {
            return Ok(());
        }
        if !cfg!(feature = "nats") {
            return Err("engine is nats, and this program was built without it".into());
        }
        if self.user.is_some() != self.password.is_some() {
            return Err("engine-user and engine-password go together".into());
        }
        if self.user.is_some() && self.credentials.is_some() {
            return Err("engine-credentials and engine-user are both set: leave one out".into());
        }
        if name_bytes > NAME_BYTES_MAX {
            return Err(format!(
                "name-bytes is {name_bytes}, and an engine takes names of {NAME_BYTES_MAX} bytes"
            ));
        }
        Ok(())
    }
}

/// The longest name of a channel whose subject an engine takes, whatever its letters are.
const NAME_BYTES_MAX: usize = 1000;

/// Reads the servers: `memory`, or addresses of one engine.
fn servers(text: &str) -> Result<Vec<String>, String> {
    if text == "memory" || text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(str::trim).map(server).collect()
}

fn server(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is neither memory nor nats://HOST:PORT or tls://HOST:PORT");
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    if scheme != "nats" && scheme != "tls" {
        return Err(wrong());
    }
    if rest.contains('@') {
        return Err("a name or password stands in an address: use engine-user and \
                    engine-password, or engine-credentials"
            .into());
    }
    let host = rest.trim_end_matches('/');
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (host, "4222"),
    };
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if name.is_empty() || !name.chars().all(is_fine) || port.parse::<u16>().is_err() {
        return Err(wrong());
    }
    Ok(format!("{scheme}://{name}:{port}"))
}

fn cluster(text: &str) -> Result<String, String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if text.is_empty() || text.len() > 32 || !text.chars().all(is_fine) {
        return Err(format!("{text:?} is no name of 1 to 32 letters, digits, - and _"));
    }
    Ok(text.into())
}

fn file(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| text.into())
}

fn show_file(file: Option<&PathBuf>) -> String {
    file.map(|path| path.display().to_string()).unwrap_or_default()
}

/// One row of the table.
macro_rules! row {
    ($name:literal, $value:literal, $help:literal, $secret:literal, $get:expr, $set:expr) => {
        Key {
            name: $name,
            group: GROUP,
            value: $value,
            help: $help,
            secret: $secret,
            get: |s| {
                let get: fn(&Engine) -> String = $get;
                get(&s.engine)
            },
            set: |s, text| {
                let set: fn(&mut Engine, &str) -> Result<(), String> = $set;
                set(&mut s.engine, text)
            },
        }
    };
}

/// The settings of an engine, in the order of `--help`.
pub(super) const KEYS: &[Key] = &[
    row!(
        "engine",
        "URLS",
        "What joins nodes: memory (nothing), or nats://HOST:PORT of NATS servers with JetStream, \
         with commas between them; tls:// for TLS",
        false,
        |e| if e.is_on() { e.servers.join(",") } else { "memory".into() },
        |e, text| servers(text).map(|servers| e.servers = servers)
    ),
    row!(
        "engine-cluster",
        "NAME",
        "Name of the cluster; nodes with one name are one server",
        false,
        |e| e.cluster.clone(),
        |e, text| cluster(text).map(|name| e.cluster = name)
    ),
    row!(
        "engine-credentials",
        "FILE",
        "Credentials for the engine: a .creds file of NATS",
        false,
        |e| show_file(e.credentials.as_ref()),
        |e, text| {
            e.credentials = file(text);
            Ok(())
        }
    ),
    row!(
        "engine-user",
        "NAME",
        "User at the engine",
        false,
        |e| e.user.clone().unwrap_or_default(),
        |e, text| {
            e.user = unless_empty(text);
            Ok(())
        }
    ),
    row!(
        "engine-password",
        "PASSWORD",
        "Password of that user",
        true,
        |e| e.password.clone().unwrap_or_default(),
        |e, text| {
            e.password = unless_empty(text);
            Ok(())
        }
    ),
    row!(
        "engine-tls-ca",
        "FILE",
        "Authorities of the engine's certificates (PEM); unset = those of the system",
        false,
        |e| show_file(e.tls_ca.as_ref()),
        |e, text| {
            e.tls_ca = file(text);
            Ok(())
        }
    ),
    row!(
        "engine-storage",
        "WHERE",
        "Where the engine keeps publications: file or memory",
        false,
        |e| if e.in_files { "file".into() } else { "memory".into() },
        |e, text| {
            e.in_files = match text {
                "file" => true,
                "memory" => false,
                _ => return Err(format!("{text:?} is neither file nor memory")),
            };
            Ok(())
        }
    ),
    row!(
        "engine-replicas",
        "N",
        "Servers of the engine that have each publication, 1 to 5",
        false,
        |e| e.replicas.to_string(),
        |e, text| number(text, 1, 5).map(|count| e.replicas = count)
    ),
    row!(
        "engine-history",
        "N",
        "Most publications of one channel that the engine keeps",
        false,
        |e| e.history.to_string(),
        |e, text| number(text, 1, 100_000).map(|count| e.history = count)
    ),
    row!(
        "engine-history-ttl",
        "TIME",
        "Longest time that the engine keeps publications, 2 minutes or more",
        false,
        |e| show_time(e.history_ttl),
        |e, text| time(text, 120 * SECOND, 365 * DAY).map(|ttl| e.history_ttl = ttl)
    ),
    row!(
        "engine-bytes",
        "SIZE",
        "Most bytes that the engine keeps of all channels together",
        false,
        |e| show_bytes(e.bytes),
        |e, text| size(text, 1 << 20, 1 << 50).map(|bytes| e.bytes = bytes)
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_with_their_ports() {
        assert_eq!(servers("memory"), Ok(Vec::new()));
        let two = servers("nats://a, tls://[::1]:7").unwrap();
        assert_eq!(two, ["nats://a:4222", "tls://[::1]:7"]);
        for (wrong, part) in [
            ("redis://a", "is neither memory nor"),
            ("a:4222", "is neither memory nor"),
            ("nats://", "is neither memory nor"),
            ("nats://a:0x", "is neither memory nor"),
            ("nats://me:pw@a", "use engine-user"),
        ] {
            let fault = servers(wrong).unwrap_err();
            assert!(fault.contains(part), "{wrong}: {fault}");
        }
    }
}
