//! The command line: the subcommands, and one flag for every key of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::all_keys;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Serve,
    Check,
    Config(View),
    Doctor,
    Publish { channel: String, text: String, url: String, user: Option<String> },
    Subscribe { channel: String, url: String, user: Option<String>, json: bool, most: Option<u64> },
}

/// What `stentor config` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    Default,
    Show,
    Env,
}

/// The parsed command line.
#[derive(Debug)]
pub(crate) struct Cli {
    pub(crate) task: Task,
    pub(crate) file: Option<PathBuf>,
    /// Flags by key, as typed.
    pub(crate) flags: BTreeMap<&'static str, String>,
}

/// Parses the arguments; a mistake ends the process with 2 and says so.
pub(crate) fn parse(args: impl Iterator<Item = std::ffi::OsString>) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(args)?;
    let (task, inner) = match matches.subcommand() {
        None => (Task::Serve, &matches),
        Some(("serve", inner)) => (Task::Serve, inner),
        Some(("check", inner)) => (Task::Check, inner),
        Some(("doctor", inner)) => (Task::Doctor, inner),
        Some(("config", inner)) => {
            let view = match inner.get_one::<String>("view").map(String::as_str) {
                Some("default") => View::Default,
                Some("env") => View::Env,
                _ => View::Show,
            };
            (Task::Config(view), inner)
        }
        Some(("pub", inner)) => (publish(inner), inner),
        Some((_, inner)) => (subscribe(inner), inner),
    };
    Ok(Cli { task, file: file_of(inner).or_else(|| file_of(&matches)), flags: flags_of(inner) })
}

fn publish(matches: &ArgMatches) -> Task {
    Task::Publish {
        channel: one(matches, "channel").unwrap_or_default(),
        text: one(matches, "text").unwrap_or_else(|| "-".into()),
        url: one(matches, "url").unwrap_or_default(),
        user: one(matches, "user"),
    }
}

fn subscribe(matches: &ArgMatches) -> Task {
    Task::Subscribe {
        channel: one(matches, "channel").unwrap_or_default(),
        url: one(matches, "url").unwrap_or_default(),
        user: one(matches, "user"),
        json: matches.get_flag("json"),
        most: matches.get_one("count").copied(),
    }
}

fn one(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.get_one::<String>(name).cloned()
}

fn file_of(matches: &ArgMatches) -> Option<PathBuf> {
    matches.try_get_one::<PathBuf>("config").ok().flatten().cloned()
}

fn flags_of(matches: &ArgMatches) -> BTreeMap<&'static str, String> {
    let typed = |name: &str| matches.try_get_one::<String>(name).ok().flatten().cloned();
    all_keys().iter().filter_map(|key| Some((key.name, typed(key.name)?))).collect()
}

fn command() -> Command {
    let url = Arg::new("url")
        .long("url")
        .value_name("URL")
        .default_value("ws://127.0.0.1:9001/ws")
        .help("Endpoint of the server");
    let user = Arg::new("user").long("user").value_name("ID").help("User to be");
    let channel = Arg::new("channel").value_name("CHANNEL").required(true);
    let settings = |name: &'static str, about: &'static str| {
        Command::new(name).about(about).args(key_args()).arg(file_arg())
    };
    Command::new("stentor")
        .about("A WebSocket broadcast server: one io_uring shard per core, one order per channel")
        .long_about(
            "A WebSocket broadcast server: one io_uring shard per core, one order per channel.\n\n\
             Without a command it serves. Every flag is also a key of stentor.toml and a variable \
             STENTOR_*; flags win over variables, and these over the file.",
        )
        .version(env!("CARGO_PKG_VERSION"))
        .args(key_args())
        .arg(file_arg())
        .args_conflicts_with_subcommands(true)
        .subcommand(settings("serve", "Serve (the default)"))
        .subcommand(settings("check", "Check the configuration: exit 0, or 78 and why"))
        .subcommand(
            settings("config", "Print the defaults as a file, the settings in force, or variables")
                .arg(
                    Arg::new("view").value_parser(["default", "show", "env"]).default_value("show"),
                ),
        )
        .subcommand(settings(
            "doctor",
            "Print this host's limits, what they allow and what lifts them",
        ))
        .subcommand(
            Command::new("pub")
                .about("Publish one text, or each line of standard input")
                .arg(channel.clone())
                .arg(
                    Arg::new("text").value_name("TEXT").help("The text; - or none: standard input"),
                )
                .args([url.clone(), user.clone()]),
        )
        .subcommand(
            Command::new("sub")
                .about("Print what is published")
                .arg(channel)
                .arg(
                    Arg::new("json")
                        .long("json")
                        .action(ArgAction::SetTrue)
                        .help("Print whole messages, with offset, sender and time"),
                )
                .arg(
                    Arg::new("count")
                        .long("count")
                        .value_name("N")
                        .value_parser(clap::value_parser!(u64))
                        .help("End after so many messages"),
                )
                .args([url, user]),
        )
}

fn file_arg() -> Arg {
    Arg::new("config")
        .long("config")
        .short('c')
        .value_name("FILE")
        .env("STENTOR_CONFIG")
        .value_parser(clap::value_parser!(PathBuf))
        .help("Settings file, such as `stentor config default` prints")
}

fn key_args() -> impl Iterator<Item = Arg> {
    let defaults = crate::config::Settings::default();
    all_keys().iter().map(move |key| {
        let default = (key.get)(&defaults);
        let help = if default.is_empty() {
            key.help.to_owned()
        } else {
            format!("{} [default: {default}]", key.help)
        };
        let arg = Arg::new(key.name)
            .long(key.name)
            .value_name(key.value)
            .help(help)
            .help_heading(key.group);
        if key.value == "BOOL" {
            // A switch may stand alone.
            arg.num_args(0..=1).require_equals(true).default_missing_value("true")
        } else {
            arg.allow_hyphen_values(true)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Cli {
        parse(std::iter::once("stentor").chain(args.iter().copied()).map(Into::into)).unwrap()
    }

    #[test]
    fn the_command_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn serving_is_the_default_and_takes_every_flag() {
        let cli = parsed(&["--shards", "2", "--text-ping=false", "--require-user"]);
        assert_eq!(cli.task, Task::Serve);
        assert_eq!(cli.flags["shards"], "2");
        assert_eq!((&*cli.flags["text-ping"], &*cli.flags["require-user"]), ("false", "true"));
        assert_eq!(parsed(&["serve", "--shards", "2"]).flags, parsed(&["--shards", "2"]).flags);
        assert_eq!(parsed(&["check", "-c", "x.toml"]).file, Some("x.toml".into()));
        assert_eq!(parsed(&["config", "env"]).task, Task::Config(View::Env));
    }

    #[test]
    fn publishing_reads_standard_input_without_a_text() {
        let Task::Publish { channel, text, .. } = parsed(&["pub", "lobby"]).task else { panic!() };
        assert_eq!((&*channel, &*text), ("lobby", "-"));
    }
}
