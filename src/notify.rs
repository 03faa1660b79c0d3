//! Messages to the service manager: ready, stopping, a line of status, and that the shards turn.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use stentor_shards::{Handle, Report};

/// The time between two lines of status where there is no watchdog.
const STATUS_EVERY: Duration = Duration::from_secs(30);

/// The time beyond its own times that a stop may take before the manager kills.
const STOP_SLACK: Duration = Duration::from_secs(10);

/// The time after which a shard with a full lane is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// The time that a message to the manager may take.
const TELL_TIMEOUT: Duration = Duration::from_secs(1);

static MANAGER: OnceLock<Option<Manager>> = OnceLock::new();

/// The service manager's socket.
struct Manager {
    socket: UnixDatagram,
    address: UnixAddress,
}

impl Manager {
    /// The manager that `NOTIFY_SOCKET` names, if it names one.
    fn find() -> io::Result<Option<Self>> {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let address = address(&name)?;
        let socket = UnixDatagram::unbound()?;
        // A manager that is slow must hear of it all the same; one that reads nothing must not hold
        // up a server.
        socket.set_write_timeout(Some(TELL_TIMEOUT))?;
        Ok(Some(Self { socket, address }))
    }
}

/// A path, or the name of an abstract socket behind an `@`.
fn address(name: &OsString) -> io::Result<UnixAddress> {
    match name.as_bytes() {
        [b'@', rest @ ..] => UnixAddress::from_abstract_name(rest),
        [b'/', ..] => UnixAddress::from_pathname(name),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor an @name")),
    }
}

fn tell(state: &str) {
    let manager = MANAGER.get_or_init(|| {
        Manager::find().unwrap_or_else(|error| {
            tracing::warn!(%error, "NOTIFY_SOCKET cannot be used");
            None
        })
    });
    if let Some(Manager { socket, address }) = manager
        && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
    {
        tracing::warn!(%error, "the service manager was not told");
    }
}

/// Says that this process serves, and goes on to say so for as long as it does.
pub(crate) fn ready(shards: &Handle, place: &str) {
    tell(&format!("READY=1\nSTATUS=serving on {place}"));
    if !matches!(MANAGER.get(), Some(Some(_))) {
        return;
    }
    let watched = watchdog(env::var("WATCHDOG_USEC").ok(), env::var("WATCHDOG_PID").ok());
    let shards = shards.clone();
    let spawned = thread::Builder::new()
        .name("notify".into())
        .spawn(move || keep_telling(&shards, watched.map(|time| time / 2)));
    if let Err(error) = spawned {
        tracing::warn!(%error, "the service manager's watchdog will not be answered");
    }
}

/// Says that this process goes, and how long that may take at most.
pub(crate) fn stopping(how: &str, longest: Duration) {
    let us = longest.saturating_add(STOP_SLACK).as_micros();
    tell(&format!("STOPPING=1\nSTATUS={how}\nEXTEND_TIMEOUT_USEC={us}"));
}

/// The time within which a sign of life is wanted from this process.
fn watchdog(time: Option<String>, pid: Option<String>) -> Option<Duration> {
    let others = pid.is_some_and(|pid| pid.parse() != Ok(std::process::id()));
    let us = time?.parse().ok().filter(|us| *us > 0)?;
    (!others).then(|| Duration::from_micros(us))
}

/// Asks the shards in every interval, and answers the watchdog only if all of them have answered.
fn keep_telling(shards: &Handle, watched: Option<Duration>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
        return;
    };
    let every = watched.unwrap_or(STATUS_EVERY);
    runtime.block_on(async {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let life = if watched.is_some() { "WATCHDOG=1\n" } else { "" };
            if crate::signals::has_gone() {
                // The times of the stop bound it from here on, and drained shards answer nobody.
                tell(life);
                continue;
            }
            if let Some(status) = within(every, ask(shards)).await {
                tell(&format!("{life}STATUS={status}"));
            } else {
                tracing::warn!("not all shards have answered: this is no sign of life");
            }
        }
    });
}

/// The status that the shards' answers make, if all have come in time.
async fn within(time: Duration, answers: impl Future<Output = Vec<Report>>) -> Option<String> {
    let reports = tokio::time::timeout(time, answers).await.ok()?;
    let clients = reports.iter().map(|report| report.clients).sum();
    Some(status(clients, reports.len()))
}

async fn ask(shards: &Handle) -> Vec<Report> {
    loop {
        match shards.reports() {
            Ok(answers) => return answers.await,
            // Nobody answers a lane that stays full: the time for the answers runs on.
            Err(_) => tokio::time::sleep(ASK_AGAIN).await,
        }
    }
}

fn status(clients: u64, shards: usize) -> String {
    let leaving = if crate::signals::is_leaving() { "; serving on before the drain" } else { "" };
    format!("{clients} clients on {shards} shards{leaving}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_abstract_names_are_addresses() {
        assert!(address(&"@stentor".into()).unwrap().as_abstract_name().is_some());
        assert!(address(&"/run/notify".into()).unwrap().as_pathname().is_some());
        for wrong in ["vsock:2:1234", "notify", "-"] {
            assert!(address(&wrong.into()).is_err(), "{wrong}");
        }
        assert!(address(&format!("/{}", "x".repeat(200)).into()).is_err());
    }

    #[tokio::test]
    async fn shards_that_do_not_answer_are_no_sign_of_life() {
        let time = Duration::from_millis(20);
        assert_eq!(within(time, std::future::pending()).await, None);
        let reports = || Report { clients: 2, ..Report::default() };
        let answers = std::future::ready(vec![reports(), reports()]);
        assert_eq!(within(time, answers).await.as_deref(), Some("4 clients on 2 shards"));
    }

    #[test]
    fn the_watchdog_is_of_this_process_only() {
        let time = || Some("30000000".to_owned());
        let own = Some(std::process::id().to_string());
        let wanted = Some(Duration::from_secs(30));
        assert_eq!((watchdog(time(), None), watchdog(time(), own)), (wanted, wanted));
        assert_eq!(watchdog(time(), Some("1".into())), None);
        assert_eq!(watchdog(time(), Some("nonsense".into())), None);
        for wrong in ["", "0", "-1", "soon"] {
            assert_eq!(watchdog(Some(wrong.into()), None), None, "{wrong}");
        }
    }
}
