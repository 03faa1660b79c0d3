//! The log: lines for people on a terminal, JSON elsewhere, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Settings};

/// Installs the log. The level is for our own words: libraries speak from warnings up only, since
/// some of them write at lower levels what clients sent, as it came.
pub(crate) fn install(settings: &Settings) {
    let level = &settings.log_level;
    let filter = EnvFilter::new(format!("warn,stentor={level},stentor_shards={level}"));
    let human = match settings.log_format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = if human {
        builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init()
    } else {
        builder.json().try_init()
    };
    debug_assert!(installed.is_ok(), "the log is installed once");
}

/// Writes a panic to the log, and ends the process at once if a shard's thread panicked: clients
/// must not meet a server of which a part is dead.
pub(crate) fn end_with_a_shard() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed").to_owned();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        tracing::error!(thread = name, place, panic = text.escape_debug().to_string(), "panicked");
        // The runtime panics where io_uring is blocked; that is answered as a failure to start.
        let starting = place.contains("glommio") && text.contains("probe");
        if name.starts_with("shard-") && !starting {
            std::process::exit(crate::exit::INTERNAL.into());
        }
        if !starting {
            usual(panic);
        }
    }));
}
