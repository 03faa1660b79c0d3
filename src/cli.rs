//! The command line: what was asked for, with settings before the command and behind it.

mod args;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::ArgMatches;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap_complete::Shell;
use stentor_auth::Wishes;
use stentor_units::Url;

use args::command;

use crate::config::all_keys;
use crate::speak::{Bearer, Publish, Subscribe};
use crate::tls::Trust;
use crate::tls::dev_cert::DevCert;
use crate::token;

/// The command to perform.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Serve,
    Check,
    Config(View),
    /// Translate a configuration of Centrifugo.
    Translate(PathBuf),
    /// Translate the settings of soketi, from a file or from the environment.
    TranslateSoketi(Option<PathBuf>),
    Doctor {
        json: bool,
    },
    Publish(Publish),
    Subscribe(Subscribe),
    Token(Box<token::Asked>),
    DevCert(DevCert),
    /// Checks the engine; creates the stream of the cluster if it is asked to.
    Engine {
        creates: bool,
    },
    /// A text that is printed as it is: completions, or a manual page.
    Print(String),
}

/// The part of the configuration that `stentor config` shows.
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

/// Parses the arguments. Settings may stand before the command and behind it.
///
/// # Errors
/// Clap's error for a mistake, or the help that was asked for.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(args)?;
    let (name, inner) = matches.subcommand().unwrap_or(("serve", &matches));
    let task = match name {
        "serve" => Task::Serve,
        "check" => Task::Check,
        "doctor" => Task::Doctor { json: inner.get_flag("json") },
        "config" if one(inner, "view").as_deref() == Some("from-centrifugo") => {
            Task::Translate(inner.get_one("source").cloned().expect("it is required"))
        }
        "config" if one(inner, "view").as_deref() == Some("from-soketi") => {
            Task::TranslateSoketi(inner.get_one("source").cloned())
        }
        "config" => Task::Config(match one(inner, "view").as_deref() {
            Some("default") => View::Default,
            Some("env") => View::Env,
            _ => View::Show,
        }),
        "pub" => Task::Publish(publish(inner)),
        "sub" => Task::Subscribe(subscribe(inner)),
        "token" => Task::Token(Box::new(token_of(inner))),
        "dev-cert" => Task::DevCert(DevCert {
            folder: inner.get_one("dir").cloned().expect("it has a default"),
            names: inner.get_many("name").into_iter().flatten().cloned().collect(),
            force: inner.get_flag("force"),
        }),
        "engine" => Task::Engine { creates: one(inner, "act").as_deref() == Some("init") },
        "completions" => Task::Print(completions(inner)),
        _ => Task::Print(manual(one(inner, "of").as_deref())),
    };
    let mut cli = Cli { task, file: None, flags: BTreeMap::new() };
    let takes_settings = inner.try_contains_id("config").is_ok();
    for (matches, before) in [(&matches, true), (inner, false)] {
        if matches.subcommand().is_none() && before {
            // The same, without a command.
            continue;
        }
        cli.take(matches, takes_settings, name)?;
    }
    cli.file = cli.file.or_else(|| file_of(inner)).or_else(|| file_of(&matches));
    Ok(cli)
}

impl Cli {
    /// Takes the settings that stand on one side of the command.
    fn take(&mut self, from: &ArgMatches, wanted: bool, name: &str) -> Result<(), clap::Error> {
        let is_typed = |id: &str| {
            matches!(from.try_contains_id(id), Ok(true))
                && from.value_source(id) == Some(ValueSource::CommandLine)
        };
        let check = |id: &str, is_there: bool| {
            let wrong = if !wanted {
                format!("--{id} is a setting of the server, and {name} takes none of these")
            } else if is_there {
                format!("--{id} stands before the command and behind it")
            } else {
                return Ok(());
            };
            Err(clap::Error::raw(ErrorKind::ArgumentConflict, wrong))
        };
        if is_typed("config") {
            check("config", self.file.is_some())?;
            self.file = file_of(from);
        }
        for key in all_keys().filter(|key| is_typed(key.name)) {
            check(key.name, self.flags.contains_key(key.name))?;
            self.flags.insert(key.name, one(from, key.name).unwrap_or_default());
        }
        Ok(())
    }
}

/// Returns the mistake of a command line, in one line.
pub(crate) fn complaint(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let lines = text.lines().map(str::trim);
    let lines =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let mut out = String::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let join = match line.strip_prefix("tip: ") {
            _ if out.is_empty() => "",
            Some(_) => "; ",
            None => " ",
        };
        out += join;
        out += line.strip_prefix("tip: ").unwrap_or(line);
    }
    out + " (--help lists what there is)"
}

fn publish(matches: &ArgMatches) -> Publish {
    Publish {
        url: url_of(matches),
        channel: one(matches, "channel").unwrap_or_default(),
        user: one(matches, "user"),
        token: bearer_of(matches),
        trust: trust_of(matches),
        text: one(matches, "text").unwrap_or_else(|| "-".into()),
    }
}

fn subscribe(matches: &ArgMatches) -> Subscribe {
    Subscribe {
        url: url_of(matches),
        channel: one(matches, "channel").unwrap_or_default(),
        user: one(matches, "user"),
        token: bearer_of(matches),
        trust: trust_of(matches),
        json: matches.get_flag("json"),
        count: matches.get_one("count").copied(),
        once: matches.get_flag("once"),
    }
}

fn bearer_of(matches: &ArgMatches) -> Bearer {
    let file = matches.get_one::<PathBuf>("token-file").cloned().map(Bearer::File);
    file.or(one(matches, "token").map(Bearer::Text)).unwrap_or(Bearer::Nobody)
}

fn trust_of(matches: &ArgMatches) -> Trust {
    match matches.get_one::<PathBuf>("ca") {
        _ if matches.get_flag("insecure") => Trust::Anybody,
        Some(file) => Trust::File(file.clone()),
        None => Trust::Host,
    }
}

fn token_of(matches: &ArgMatches) -> token::Asked {
    let list = |name: &str| {
        matches.get_many::<String>(name).into_iter().flatten().cloned().collect::<Vec<_>>()
    };
    let given = one(matches, "token").unwrap_or_else(|| "-".into());
    let checks = one(matches, "action").as_deref() == Some("check");
    let lasts = matches.get_one::<token::Lasting>("expires").copied();
    token::Asked {
        check: checks.then_some(given),
        private_key: matches.get_one("private-key").cloned(),
        wishes: Wishes {
            user: one(matches, "user"),
            lasts_s: lasts.unwrap_or_default().0,
            channels: list("channel"),
            joins: list("join"),
            subscription: one(matches, "subscription"),
            info: matches.get_one("info").cloned(),
            id: one(matches, "id"),
            kid: one(matches, "kid"),
            ..Wishes::default()
        },
    }
}

fn url_of(matches: &ArgMatches) -> Url {
    matches.get_one::<Url>("url").cloned().expect("it has a default")
}

fn completions(matches: &ArgMatches) -> String {
    let mut out = Vec::new();
    if let Some(shell) = matches.get_one::<Shell>("shell") {
        clap_complete::generate(*shell, &mut command(), "stentor", &mut out);
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The manual page of the program, or of one of its commands.
fn manual(of: Option<&str>) -> String {
    let mut command = command();
    command.build();
    let page = of.and_then(|name| command.find_subcommand(name)).unwrap_or(&command);
    // Commands have no version of their own, and every page shows one.
    let page = page.clone().version(env!("CARGO_PKG_VERSION"));
    let mut out = Vec::new();
    // Writing to memory does not fail.
    let _ = clap_mangen::Man::new(page).render(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn one(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.get_one::<String>(name).cloned()
}

fn file_of(matches: &ArgMatches) -> Option<PathBuf> {
    matches.try_get_one::<PathBuf>("config").ok().flatten().cloned()
}

#[cfg(test)]
mod tests {
    use super::args::COMMANDS;
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
    fn settings_may_stand_on_both_sides_of_a_command() {
        for args in [
            &["--shards", "2", "check", "--backlog", "9"][..],
            &["check", "--backlog", "9", "--shards", "2"],
            &["--backlog", "9", "--shards", "2", "check"],
        ] {
            let cli = parsed(args);
            assert_eq!((cli.task, cli.flags.len()), (Task::Check, 2), "{args:?}");
            assert_eq!((&*cli.flags["shards"], &*cli.flags["backlog"]), ("2", "9"), "{args:?}");
        }
        assert_eq!(parsed(&["-c", "x.toml", "serve"]).file, Some("x.toml".into()));
        assert_eq!(parsed(&["--shards=2", "config", "show"]).flags["shards"], "2");
    }

    #[test]
    fn mistakes_are_one_line() {
        for (args, part) in [
            (
                &["--shards", "2", "check", "--shards", "3"][..],
                "--shards stands before the command",
            ),
            (&["-c", "a", "check", "-c", "b"], "--config stands before the command"),
            (&["--shards", "2", "pub", "x"], "--shards is a setting of the server, and pub takes"),
            (&["-c", "a", "sub", "x"], "--config is a setting"),
            (&["pub", "x", "--shards", "2"], "unexpected argument '--shards'"),
            (&["--nonsense"], "unexpected argument '--nonsense'"),
            (&["chekc"], "unrecognized subcommand 'chekc'; a similar subcommand exists: 'check'"),
            (&["pub"], "required arguments were not provided: <CHANNEL>"),
            (&["completions", "tcsh"], "possible values: bash"),
            (&["sub", "x", "--ca", "f", "--insecure"], "cannot be used with"),
            (&["sub", "x", "--url", "ftp://h/ws"], "the scheme is ws or wss"),
            (&["sub", "x", "--count", "many"], "is not a count"),
        ] {
            let all = std::iter::once("stentor").chain(args.iter().copied());
            let error = parse(all.map(Into::into)).unwrap_err();
            let line = complaint(&error);
            assert!(line.contains(part) && !line.contains('\n'), "{args:?}: {line}");
            assert!(error.use_stderr());
        }
    }

    #[test]
    fn publishing_reads_standard_input_without_a_text() {
        let Task::Publish(asked) = parsed(&["pub", "lobby"]).task else { panic!() };
        assert_eq!((&*asked.channel, &*asked.text), ("lobby", "-"));
        let Task::Publish(asked) = parsed(&["pub", "a", "b", "--url", "WS://h:1/x"]).task else {
            panic!()
        };
        assert_eq!((asked.url.to_string().as_str(), &*asked.text), ("ws://h:1/x", "b"));
    }

    #[test]
    fn every_command_has_a_page_and_completions() {
        for name in COMMANDS {
            let Task::Print(page) = parsed(&["man", name]).task else { panic!() };
            let escaped = name.replace('-', "\\-");
            assert!(page.contains(&format!("stentor\\-{escaped}")), "{name}: {page}");
        }
        let Task::Print(page) = parsed(&["man"]).task else { panic!() };
        assert!(page.contains("ping\\-interval"), "{page}");
        for shell in ["bash", "zsh", "fish"] {
            let Task::Print(script) = parsed(&["completions", shell]).task else { panic!() };
            assert!(script.contains("ping-interval") && script.contains("doctor"), "{shell}");
        }
    }
}
