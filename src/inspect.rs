//! The commands that look and change nothing: `check` and `doctor`.

use std::io::Write;
use std::path::Path;

use crate::config::{Settings, UnixName};
use crate::history_file::is_in_use;
use crate::host::Host;
use crate::{End, doctor, exit, migrate, tls};

/// Prints a text, and says how that ended.
pub(crate) fn print(text: &str) -> End {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that has seen enough is no failure.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            End::Failed(exit::RUN, format!("standard output: {error}"))
        }
        _ => End::Done,
    }
}

/// Prints the translation of a configuration of Centrifugo.
pub(crate) fn translate(source: &Path) -> End {
    print_translated(migrate::translate(source))
}

/// Prints the translation of the settings of soketi.
pub(crate) fn translate_soketi(source: Option<&Path>) -> End {
    print_translated(migrate::soketi::translate(source, std::env::vars_os()))
}

/// Prints a translation, and names what has no counterpart.
fn print_translated(translated: Result<migrate::Translated, String>) -> End {
    match translated {
        Ok(migrate::Translated { file, notes }) => {
            for note in notes {
                let _ = writeln!(std::io::stderr(), "stentor: {}", exit::harmless_line(&note));
            }
            print(&file)
        }
        Err(why) => End::Failed(exit::RUN, exit::harmless_line(&why)),
    }
}

/// Says whether a server could start with these settings.
pub(crate) fn check(settings: &Settings) -> End {
    let verdict = Host::read().judge(settings);
    for warning in verdict.warnings() {
        print(&format!("warning: {warning}\n"));
    }
    if let Some(folder) = settings.history_file.as_ref().filter(|folder| is_in_use(folder)) {
        print(&format!(
            "warning: history-file: another process keeps its histories in {}: a server starts \
             there only if it takes over from that one\n",
            folder.display()
        ));
    }
    let (tls_fault, warnings) = tls::faults(settings);
    print(&as_lines(&warnings));
    let nowhere = settings.unix.as_ref().and_then(UnixName::fault);
    match verdict.refusal().or(nowhere).or(tls_fault) {
        None => print("the configuration is valid\n"),
        Some(why) => End::Failed(exit::CONFIG, why),
    }
}

fn as_lines(warnings: &[String]) -> String {
    let lines = warnings.iter().map(|why| format!("warning: {}\n", exit::harmless_line(why)));
    lines.collect()
}

/// Says what this host can carry.
pub(crate) fn examine(settings: &Settings, json: bool) -> End {
    let host = Host::read();
    let verdict = host.judge(settings);
    print(&if json {
        doctor::record(&host, &verdict)
    } else {
        doctor::describe(&host, &verdict, settings)
    });
    let (tls_fault, warnings) = tls::faults(settings);
    if !json {
        print(&as_lines(&warnings));
    }
    match verdict.refusal().or(tls_fault) {
        None => End::Done,
        Some(why) => End::Failed(exit::CONFIG, why),
    }
}
