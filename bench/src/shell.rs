//! Completions for shells and manual pages, made from this command line.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Subcommand;
use clap_complete::Shell;

use crate::files::{FAILED, USAGE};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print completions for a shell.
    Completions {
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Print a manual page, for man -l -.
    Man {
        /// The page of one command; without it that of the program.
        #[arg(value_name = "COMMAND")]
        of: Option<String>,
    },
}

impl Command {
    /// Prints what was asked for of the command line `whole`.
    pub(crate) fn run(&self, whole: clap::Command) -> ExitCode {
        let told = |code: u8, text: String| {
            // Where standard error is closed, the exit code still says it.
            let _ = writeln!(io::stderr(), "stentor-bench: {text}");
            ExitCode::from(code)
        };
        let Some(text) = self.text(whole) else {
            return told(USAGE, "there is no such command to have a page".to_owned());
        };
        match io::stdout().write_all(&text).and_then(|()| io::stdout().flush()) {
            // A reader that has gone has had enough.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                told(FAILED, format!("standard output: {error}"))
            }
            _ => ExitCode::SUCCESS,
        }
    }

    fn text(&self, mut command: clap::Command) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match self {
            Self::Completions { shell } => {
                clap_complete::generate(*shell, &mut command, "stentor-bench", &mut out);
            }
            Self::Man { of } => {
                command.build();
                let page = match of {
                    Some(name) => command.find_subcommand(name)?.clone(),
                    None => command,
                };
                // Commands have no version of their own, and every page shows one.
                let page = page.version(env!("CARGO_PKG_VERSION"));
                // Writing to memory does not fail.
                let _ = clap_mangen::Man::new(page).render(&mut out);
            }
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;
    use crate::help::dressed;

    #[test]
    fn completions_and_pages_know_the_flags() {
        let bytes = |command: Command| command.text(dressed(Cli::command()));
        let text = |command| String::from_utf8(bytes(command).unwrap()).unwrap();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = text(Command::Completions { shell });
            assert!(script.contains("fanout") && script.contains("warmup"), "{shell}");
        }
        assert!(text(Command::Man { of: None }).contains("fanout"));
        let page = text(Command::Man { of: Some("search".to_owned()) });
        assert!(page.contains("stentor\\-bench") && page.contains("slo"), "{page}");
        assert!(page.contains("Examples:"), "{page}");
        assert!(page.contains(env!("CARGO_PKG_VERSION")), "{page}");
        assert!(bytes(Command::Man { of: Some("nothing".to_owned()) }).is_none());
    }
}
