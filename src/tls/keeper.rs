//! Keeper: the certificates in force, and those that take their place when the files change.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::ProducesTickets;
use stentor_shards::{Handle, Untaken};
use tokio::sync::{Mutex, watch};

use super::check::{Checked, check};
use super::dates::{Dates, now_s};
use super::marks::{Marks, marks};
use super::pair::{Pair, server_config};
use super::trust::only_from;
use crate::config::tls::Tls;

/// The time between two attempts while shards are busy, and their number.
const PUT_AGAIN: Duration = Duration::from_millis(10);
const PUTS_MAX: usize = 200;

/// Files that have changed are read once they have been the same for so long: a certificate and its
/// key change one after the other.
const STILL: Duration = Duration::from_millis(500);

/// The end of one certificate, or of an answer of OCSP.
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
    in_force: watch::Sender<InForce>,
    /// Held by a reload, so that the later of two is the one that stays.
    turn: Mutex<()>,
    /// The settings of TLS at the admin address; `None`: it speaks plain HTTP.
    admin: watch::Sender<Option<Arc<ServerConfig>>>,
    reloads: AtomicU64,
    failures: AtomicU64,
}

/// The facts about the certificates in force.
#[derive(Debug, Default)]
struct InForce {
    expiries: Vec<Expiry>,
    dates: Vec<Dates>,
    /// The state of the files as they were read.
    marks: Marks,
}

/// Everything that one reading of the files has brought.
#[derive(Debug)]
struct Loaded {
    clients: Option<Arc<ServerConfig>>,
    admin: Option<Arc<ServerConfig>>,
    in_force: InForce,
    warnings: Vec<String>,
    /// The first reason for which clients turn away.
    fault: Option<String>,
}

impl Certificates {
    /// Certificates that have not been read yet.
    pub(crate) fn new(tls: &Tls) -> Self {
        let shared = Shared {
            tls: tls.clone(),
            ticketer: OnceLock::new(),
            in_force: watch::Sender::default(),
            turn: Mutex::new(()),
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
        let loaded = self.load()?;
        for warning in loaded.warnings.iter().chain(&loaded.fault) {
            tracing::warn!("{warning}");
        }
        let clients = loaded.clients.clone();
        self.note(loaded);
        Ok(clients)
    }

    /// The settings of TLS at the admin address, as they change.
    pub(crate) fn admin(&self) -> watch::Receiver<Option<Arc<ServerConfig>>> {
        self.shared.admin.subscribe()
    }

    pub(crate) fn expiries(&self) -> Vec<Expiry> {
        self.shared.in_force.borrow().expiries.clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        // Relaxed: they order nothing.
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts { reloads: count(&self.shared.reloads), failures: count(&self.shared.failures) }
    }

    fn note(&self, loaded: Loaded) {
        self.shared.in_force.send_replace(loaded.in_force);
        self.shared.admin.send_replace(loaded.admin);
    }

    fn ticketer(&self) -> Result<Arc<dyn ProducesTickets>, String> {
        if let Some(ticketer) = self.shared.ticketer.get() {
            return Ok(Arc::clone(ticketer));
        }
        let made = stentor_shards::tls::ticketer().map_err(|error| format!("tls: {error}"))?;
        Ok(Arc::clone(self.shared.ticketer.get_or_init(|| made)))
    }

    fn load(&self) -> Result<Loaded, String> {
        let tls = &self.shared.tls;
        // Before they are read: a change in between is one that is still to be seen.
        let marks = marks(&self.files());
        let Checked { pairs, admin, warnings, fault } = check(tls)?;
        let expiries = pairs.iter().chain(&admin).flat_map(Pair::expiries).collect();
        let dates = pairs.iter().chain(&admin).map(|pair| pair.dates).collect();
        let clients = if pairs.is_empty() {
            None
        } else {
            Some(Arc::new(server_config(pairs, self.ticketer()?)?))
        };
        let admin = admin.map(|pair| self.of_admin(pair)).transpose()?;
        let in_force = InForce { expiries, dates, marks };
        Ok(Loaded { clients, admin, in_force, warnings, fault })
    }

    /// The admin address has tickets of its own: one from clients of the public address proves
    /// nothing there. With an authority of clients there are none, so that each connection shows
    /// its certificate.
    fn of_admin(&self, pair: Pair) -> Result<Arc<ServerConfig>, String> {
        let own = stentor_shards::tls::ticketer().map_err(|error| format!("tls: {error}"))?;
        let config = server_config(vec![pair], own)?;
        Ok(Arc::new(match &self.shared.tls.admin_ca {
            None => config,
            Some(ca) => {
                let verifier = only_from(ca).map_err(|why| format!("admin-tls-ca: {why}"))?;
                asking_for(&config, verifier)?
            }
        }))
    }

    /// Reads the files again and puts them in force; clients that are connected stay as they are.
    /// Nothing changes if a file is broken, or if clients would turn away as they do not now.
    ///
    /// # Errors
    /// One line that names the file.
    pub(crate) async fn reload(&self, shards: &Handle) -> Result<(), String> {
        if self.files().is_empty() {
            return Ok(());
        }
        let _turn = self.shared.turn.lock().await;
        let outcome = self.replace(shards).await;
        let counter = if outcome.is_ok() { &self.shared.reloads } else { &self.shared.failures };
        counter.fetch_add(1, Ordering::Relaxed);
        outcome
    }

    async fn replace(&self, shards: &Handle) -> Result<(), String> {
        let own = self.clone();
        // Reading a file may take its time.
        let loaded = tokio::task::spawn_blocking(move || own.load());
        let mut loaded =
            loaded.await.unwrap_or_else(|_| Err("tls: the reading failed".to_owned()))?;
        if let Some(why) = loaded.fault.take() {
            if self.is_sound(now_s()) {
                return Err(why);
            }
            loaded.warnings.push(why);
        }
        put(&loaded, shards).await?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        self.note(loaded);
        Ok(())
    }

    /// Returns `true` if clients do not turn away from any certificate in force.
    fn is_sound(&self, now_s: i64) -> bool {
        self.shared.in_force.borrow().dates.iter().all(|dates| dates.fault(now_s).is_none())
    }

    /// Looks at the files from time to time, for as long as the process lives, and puts them in
    /// force when they have changed.
    pub(crate) async fn keep(self, shards: Handle) {
        let every = self.shared.tls.look;
        if every.is_zero() || self.files().is_empty() {
            return std::future::pending().await;
        }
        let mut said = String::new();
        loop {
            tokio::time::sleep(every).await;
            let mut found = self.look().await;
            if self.is_known(&found) {
                said.clear();
                continue;
            }
            loop {
                tokio::time::sleep(STILL.min(every)).await;
                let later = self.look().await;
                if std::mem::replace(&mut found, later) == found {
                    break;
                }
            }
            // SIGHUP may have had them read meanwhile.
            if self.is_known(&found) {
                continue;
            }
            match self.reload(&shards).await {
                Ok(()) => {
                    tracing::info!("certificates have changed, and are in force");
                    said.clear();
                }
                // It is tried again, as the reason may lie elsewhere, and said once.
                Err(why) if why == said => {}
                Err(why) => {
                    let line = crate::exit::harmless_line(&why);
                    tracing::error!("certificates have changed, and the old ones stay: {line}");
                    said = why;
                }
            }
        }
    }

    fn is_known(&self, marks: &Marks) -> bool {
        self.shared.in_force.borrow().marks == *marks
    }

    fn files(&self) -> Vec<PathBuf> {
        let tls = &self.shared.tls;
        let lists = [&tls.certs, &tls.keys, &tls.ocsp].into_iter().flatten();
        lists.chain(&tls.admin_cert).chain(&tls.admin_key).chain(&tls.admin_ca).cloned().collect()
    }

    async fn look(&self) -> Marks {
        let files = self.files();
        tokio::task::spawn_blocking(move || marks(&files)).await.unwrap_or_default()
    }
}

/// Hands the shards other settings, waiting for those that are busy.
async fn put(loaded: &Loaded, shards: &Handle) -> Result<(), String> {
    let Some(clients) = &loaded.clients else { return Ok(()) };
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
    // Neither tickets nor kept sessions, and never a ticketer: a resumed session would not show its
    // certificate again, whose authority may be out of favour, or it may have had none at all.
    asking.send_tls13_tickets = 0;
    asking.session_storage = Arc::clone(&config.session_storage);
    Ok(asking)
}
