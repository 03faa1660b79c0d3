//! SIGTERM and SIGINT drain, a second one ends at once; SIGHUP says that settings are read at
//! start.

use std::io;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use stentor_shards::{Handle, Untaken};

/// Handles signals on a thread of its own until the process ends.
pub(crate) fn handle(shards: Handle) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        let mut asked = false;
        for signal in signals.forever() {
            match signal {
                SIGHUP => {
                    tracing::info!("SIGHUP: settings are read at start; restart to change them");
                }
                _ if asked => {
                    tracing::warn!("a second signal: ending at once");
                    std::process::exit(128 + signal);
                }
                _ => {
                    asked = true;
                    tracing::info!(signal, "draining");
                    drain(&shards, false);
                }
            }
        }
    })?;
    Ok(())
}

/// A full lane empties itself: the order is repeated until every shard has it.
pub(crate) fn drain(shards: &Handle, successor: bool) {
    while shards.drain(successor) == Err(Untaken::Busy) {
        thread::park_timeout(Duration::from_millis(1));
    }
}
