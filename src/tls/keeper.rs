//! Keeper: the certificates in force, and those that take their place when the files change.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::ProducesTickets;
use stentor_shards::{Handle, Untaken};
use tokio::sync::watch;

use super::check::{Checked, check};
use super::pair::{Pair, server_config};
use super::trust::only_from;
use crate::config::tls::Tls;

/// The time between two attempts while shards are busy, and their number.
const PUT_AGAIN: Duration = Duration::from_millis(10);
const PUTS_MAX: usize = 200;

/// Files that have changed are read once they have been the same for so long: a certificate and its
/// key change one after the other.
const STILL: Duration = Duration::from_millis(500);

/// The end of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expiry {
    /// The name of its file.
    pub(crate) file: String,
    /// The last second of its time, since 1970.
    pub(crate) end_s: i64,
}

/// The numbers of reloads that were done, and that failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) reloads: u64,
    pub(crate) failures: u64,
}

/// The certificates of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Certificates {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tls: Tls,
    /// One for all certificates: a client that has seen the last one resumes its session.
    ticketer: OnceLock<Arc<dyn ProducesTickets>>,
    expiries: watch::Sender<Vec<Expiry>>,
    /// The settings of TLS at the admin address; `None`: it speaks plain HTTP.
    admin: watch::Sender<Option<Arc<ServerConfig>>>,
    reloads: AtomicU64,
    failures: AtomicU64,
}

/// Everything that one reading of the files has brought.
#[derive(Debug)]
struct Read {
    clients: Option<Arc<ServerConfig>>,
    admin: Option<Arc<ServerConfig>>,
    expiries: Vec<Expiry>,
    warnings: Vec<String>,
}

impl Certificates {
    /// Certificates that have not been read yet.
    pub(crate) fn new(tls: &Tls) -> Self {
        let shared = Shared {
            tls: tls.clone(),
            ticketer: OnceLock::new(),
            expiries: watch::Sender::new(Vec::new()),
            admin: watch::Sender::new(None),
            reloads: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Reads them for the start. Returns the settings with which shards begin, if clients may speak
    /// TLS.
    ///
    /// # Errors
    /// One line that names the file.
    pub(crate) fn begin(&self) -> Result<Option<Arc<ServerConfig>>, String> {
        let read = self.read()?;
        for warning in &read.warnings {
            tracing::warn!("{warning}");
        }
        self.note(&read);
        Ok(read.clients)
    }

    /// The settings of TLS at the admin address, as they change.
    pub(crate) fn admin(&self) -> watch::Receiver<Option<Arc<ServerConfig>>> {
        self.shared.admin.subscribe()
    }

    pub(crate) fn expiries(&self) -> Vec<Expiry> {
        self.shared.expiries.borrow().clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        // Relaxed: they order nothing.
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts { reloads: count(&self.shared.reloads), failures: count(&self.shared.failures) }
    }

    fn note(&self, read: &Read) {
        self.shared.expiries.send_replace(read.expiries.clone());
        self.shared.admin.send_replace(read.admin.clone());
    }

    fn ticketer(&self) -> Result<Arc<dyn ProducesTickets>, String> {
        if let Some(ticketer) = self.shared.ticketer.get() {
            return Ok(Arc::clone(ticketer));
        }
        let made = stentor_shards::tls::ticketer().map_err(|error| format!("tls: {error}"))?;
        Ok(Arc::clone(self.shared.ticketer.get_or_init(|| made)))
    }

    fn read(&self) -> Result<Read, String> {
        let tls = &self.shared.tls;
        let Checked { pairs, admin, mut warnings, fault } = check(tls)?;
        warnings.extend(fault);
        let expiry = |pair: &Pair| Expiry { file: pair.file.clone(), end_s: pair.dates.end_s };
        let expiries = pairs.iter().chain(&admin).map(expiry).collect();
        let clients = if pairs.is_empty() {
            None
        } else {
            Some(Arc::new(server_config(pairs, self.ticketer()?)?))
        };
        let admin = admin.map(|pair| self.of_admin(pair)).transpose()?;
        Ok(Read { clients, admin, expiries, warnings })
    }

    fn of_admin(&self, pair: Pair) -> Result<Arc<ServerConfig>, String> {
        let mut config = server_config(vec![pair], self.ticketer()?)?;
        if let Some(ca) = &self.shared.tls.admin_ca {
            let verifier = only_from(ca).map_err(|why| format!("admin-tls-ca: {why}"))?;
            config = asking_for(&config, verifier)?;
        }
        Ok(Arc::new(config))
    }

    /// Reads the files again and puts them in force; those whom this server knows already stay as
    /// they are. Nothing changes if a file is broken.
    ///
    /// # Errors
    /// One line that names the file.
    pub(crate) async fn reload(&self, shards: &Handle) -> Result<(), String> {
        let own = self.clone();
        // Reading a file may take its time.
        let read = tokio::task::spawn_blocking(move || own.read());
        let read = read.await.unwrap_or_else(|_| Err("tls: the reading failed".to_owned()));
        let put = match read {
            Ok(read) => put(&read, shards).await.map(|()| read),
            Err(why) => Err(why),
        };
        let (outcome, counter) = match put {
            Ok(read) => {
                for warning in &read.warnings {
                    tracing::warn!("{warning}");
                }
                self.note(&read);
                (Ok(()), &self.shared.reloads)
            }
            Err(why) => (Err(why), &self.shared.failures),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        outcome
    }

    /// Looks at the files from time to time, for as long as the process lives, and puts them in
    /// force when they have changed.
    pub(crate) async fn keep(self, shards: Handle) {
        let every = self.shared.tls.look;
        if every.is_zero() || self.files().is_empty() {
            return std::future::pending().await;
        }
        let mut known = self.look().await;
        loop {
            tokio::time::sleep(every).await;
            let mut found = self.look().await;
            if found == known {
                continue;
            }
            loop {
                tokio::time::sleep(STILL.min(every)).await;
                let later = self.look().await;
                if std::mem::replace(&mut found, later) == found {
                    break;
                }
            }
            known = found;
            match self.reload(&shards).await {
                Ok(()) => tracing::info!("certificates have changed, and are in force"),
                Err(why) => {
                    let why = crate::exit::harmless_line(&why);
                    tracing::error!("certificates have changed, and the old ones stay: {why}");
                }
            }
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let tls = &self.shared.tls;
        let lists = [&tls.certs, &tls.keys, &tls.ocsp].into_iter().flatten();
        lists.chain(&tls.admin_cert).chain(&tls.admin_key).chain(&tls.admin_ca).cloned().collect()
    }

    /// What tells one content of the files from another. A link is followed: Kubernetes puts
    /// another folder behind one.
    async fn look(&self) -> Vec<Option<Mark>> {
        let files = self.files();
        let looked =
            tokio::task::spawn_blocking(move || files.iter().map(|file| mark(file)).collect());
        looked.await.unwrap_or_default()
    }
}

/// Device, number, size and time of a file.
type Mark = (u64, u64, u64, i64, i64);

fn mark(file: &std::path::Path) -> Option<Mark> {
    use std::os::unix::fs::MetadataExt;
    let of = std::fs::metadata(file).ok()?;
    Some((of.dev(), of.ino(), of.size(), of.mtime(), of.mtime_nsec()))
}

/// Hands the shards other settings, waiting for those that are busy.
async fn put(read: &Read, shards: &Handle) -> Result<(), String> {
    let Some(clients) = &read.clients else { return Ok(()) };
    for _ in 0..PUTS_MAX {
        match shards.set_tls(clients) {
            Ok(_) => return Ok(()),
            Err(Untaken::Busy) => tokio::time::sleep(PUT_AGAIN).await,
            Err(_) => break,
        }
    }
    Err("tls: the shards are busy: some may have the new certificates, ask again".into())
}

/// The same settings, for clients that show a certificate themselves.
fn asking_for(
    config: &ServerConfig,
    verifier: Arc<dyn rustls::server::danger::ClientCertVerifier>,
) -> Result<ServerConfig, String> {
    let mut asking = ServerConfig::builder_with_provider(stentor_shards::tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::clone(&config.cert_resolver));
    asking.alpn_protocols.clone_from(&config.alpn_protocols);
    // A resumed session would not show its certificate again: its authority may be out of favour.
    asking.send_tls13_tickets = 0;
    asking.session_storage = Arc::clone(&config.session_storage);
    Ok(asking)
}
