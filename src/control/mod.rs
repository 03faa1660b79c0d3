//! The control plane: one ordinary thread for everything that is not a WebSocket byte.

mod admin;
pub(crate) mod ask;
mod api;
mod apps;
mod dashboard;
pub(crate) mod fetch;
mod keyring;
mod metrics;
mod numbers;
mod openapi;
mod pages;
pub(crate) mod peers;
mod private;
mod process;
mod sealed;
pub(crate) mod reload;
mod stats;
mod visitors;
pub(crate) mod word;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
use stentor_shards::proof::Prover;
use stentor_shards::{Handle, Inbox, Rules};
use tokio::sync::{oneshot, watch};

pub(crate) use self::api::Once;
use self::peers::Peers;
use self::reload::{Origin, Reloads};
use crate::bus_status::Status as Bus;
use crate::events::{EventCounts, webhooks};
use crate::hooks;
use crate::node_list::Nodes;
use crate::tls::Certificates;

/// The connections that wait at the admin address until they are accepted.
const BACKLOG: i32 = 128;

/// How long the end waits for those who are being answered.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// What the control plane is told at start.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    admin: Option<SocketAddr>,
    /// The key in force; a reload may put another one there.
    api_key: watch::Sender<Option<String>>,
    /// The key in force that reads and does nothing else, likewise.
    api_read_key: watch::Sender<Option<String>>,
    /// The API stands at the clients' address as well.
    public_api: bool,
    /// Whether clients come through a Unix socket.
    is_unix: bool,
    message_bytes: usize,
    path_prefix: Arc<str>,
    keyring: keyring::Keyring,
    /// Publications that were made under a key.
    pub(crate) once: Once<stentor_shards::Position>,
    /// The other processes of a take-over.
    pub(crate) peers: Peers,
    /// The settings of hooks in force; a reload may put others there.
    hooks: watch::Sender<hooks::Settings>,
    hook_counts: Arc<hooks::AllCounts>,
    event_counts: Arc<EventCounts>,
    /// The certificates in force.
    pub(crate) certificates: Certificates,
    /// The rules in force, with the apps; a reload puts others there.
    rules: watch::Sender<Arc<Rules>>,
    app_places: apps::Places,
    /// The webhooks of the apps; a reload may put others there.
    webhooks: watch::Sender<webhooks::Settings>,
    /// The state of the bus to an engine.
    pub(crate) bus: Bus,
    /// The nodes of the cluster.
    pub(crate) nodes: watch::Sender<Nodes>,
    limits: dashboard::Limits,
}

impl Settings {
    pub(crate) fn of(settings: &crate::config::Settings) -> Self {
        Self {
            admin: settings.admin,
            api_key: watch::Sender::new(settings.api_key.clone()),
            api_read_key: watch::Sender::new(settings.api_read_key.clone()),
            public_api: settings.public_api,
            is_unix: settings.unix.is_some(),
            message_bytes: settings.shards.message_bytes,
            path_prefix: Arc::clone(&settings.shards.path_prefix),
            keyring: keyring::Keyring::new(&settings.tokens),
            once: Once::new(),
            peers: Peers::new(),
            hooks: watch::Sender::new(hooks::Settings::of(settings)),
            hook_counts: Arc::default(),
            event_counts: Arc::default(),
            certificates: Certificates::new(&settings.tls),
            rules: watch::Sender::new(Arc::clone(&settings.shards.rules)),
            app_places: apps::Places::new(),
            webhooks: watch::Sender::new(webhooks::Settings::of(
                settings,
                Arc::clone(&settings.shards.rules),
            )),
            bus: Bus::default(),
            nodes: watch::Sender::default(),
            limits: dashboard::Limits::of(settings),
        }
    }

    /// The settings of hooks, as they change, and where what comes of them is counted.
    pub(crate) fn hooks(&self) -> (watch::Receiver<hooks::Settings>, Arc<hooks::AllCounts>) {
        (self.hooks.subscribe(), Arc::clone(&self.hook_counts))
    }

    /// Where it is counted what the application was told.
    pub(crate) fn event_counts(&self) -> Arc<EventCounts> {
        Arc::clone(&self.event_counts)
    }

    /// The webhooks of the apps, as they change.
    pub(crate) fn webhooks(&self) -> watch::Receiver<webhooks::Settings> {
        self.webhooks.subscribe()
    }

    /// The verifier of tokens that the shards begin with, if there is a key.
    ///
    /// # Errors
    /// A key cannot be read.
    pub(crate) fn prover(&self) -> Result<Option<Arc<dyn Prover>>, String> {
        self.keyring.prover()
    }
}

/// What every route knows.
#[derive(Clone)]
pub(crate) struct State {
    shards: Handle,
    settings: Arc<Settings>,
    began: Instant,
    reloads: Reloads,
    live: dashboard::Live,
}

/// The running thread; dropping it ends it when those whom it has accepted are answered.
pub(crate) struct Control {
    admin: Option<SocketAddr>,
    /// The admin listener once more, until it is asked for.
    lent: Option<OwnedFd>,
    /// Whether another process serves the admin address, or nobody will.
    admin_over: watch::Sender<bool>,
    stop: Option<oneshot::Sender<()>>,
    reloads: Reloads,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// The address of the admin listener, if there is one.
    pub(crate) fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Where to ask for a reload.
    pub(crate) fn reloads(&self) -> Reloads {
        self.reloads.clone()
    }

    /// The admin listener for another process, and whom to tell when that one serves it; once.
    pub(crate) fn lend_admin(&mut self) -> (Option<OwnedFd>, watch::Sender<bool>) {
        (self.lent.take(), self.admin_over.clone())
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.admin_over.send_replace(true);
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Binds the admin address, unless `inherited` listens there.
///
/// # Errors
/// The address cannot be bound.
pub(crate) fn listen(
    settings: &Settings,
    inherited: Option<OwnedFd>,
) -> io::Result<Option<TcpListener>> {
    let inherited = inherited.map(TcpListener::from);
    let same = inherited.filter(|listener| listener.local_addr().ok() == settings.admin);
    match same {
        Some(listener) => Ok(Some(listener)),
        None => settings.admin.map(bind).transpose(),
    }
}

/// Starts the thread, which serves the admin address at `listener`.
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn start(
    shards: Handle,
    settings: Settings,
    listener: Option<TcpListener>,
    inbox: Inbox,
    origin: Origin,
) -> io::Result<Control> {
    let admin = listener.as_ref().map(TcpListener::local_addr).transpose()?;
    let lent = listener.as_ref().map(TcpListener::try_clone).transpose()?.map(OwnedFd::from);
    let (admin_over, is_over) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    let settings = Arc::new(settings);
    let (reloads, requests) = Reloads::new();
    let kept = reloads.clone();
    let live = dashboard::Live::new(is_over.clone());
    let state = State { shards, settings, began: Instant::now(), reloads: reloads.clone(), live };
    let is_private = listener.is_some();
    let thread = std::thread::Builder::new().name("control".into()).spawn(move || {
        runtime.block_on(async move {
            let public = visitors::receive(inbox, state.clone());
            let keys = state.settings.keyring.clone().keep(state.shards.clone());
            let certificates = state.settings.certificates.clone().keep(state.shards.clone());
            tokio::spawn(certificates);
            let private = admin::serve(listener, is_over, state.clone());
            tokio::spawn(peers::serve(state.clone()));
            if is_private {
                tokio::spawn(dashboard::keep(state.clone()));
            }
            let again = reload::serve(requests, reloads, origin, state);
            tokio::spawn(again);
            let served = async { tokio::join!(public, private) };
            let served = async {
                tokio::select! {
                    _ = served => {}
                    () = keys => {}
                }
            };
            tokio::pin!(served);
            tokio::select! {
                () = &mut served => return,
                _ = stopped => {}
            }
            let _ = tokio::time::timeout(FAREWELL_TIMEOUT, served).await;
        });
        // Without a wait for files that are still being read: that may take seconds.
        runtime.shutdown_background();
    })?;
    let (stop, thread) = (Some(stop), Some(thread));
    Ok(Control { admin, lent, admin_over, stop, reloads: kept, thread })
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("admin address {address}: {error}"))
    };
    let listener = TcpListener::from(open(address).map_err(|errno| named(errno.into()))?);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn open(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // All addresses are those of both families, whatever net.ipv6.bindv6only says.
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}
