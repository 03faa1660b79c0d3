//! The command line: the subcommands, and one flag for every key of the configuration.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};
use clap_complete::Shell;
use stentor_units::Url;

use crate::config::all_keys;
use crate::token::Lasting;

pub(super) const COMMANDS: [&str; 11] = [
    "serve",
    "check",
    "config",
    "doctor",
    "engine",
    "pub",
    "sub",
    "token",
    "dev-cert",
    "completions",
    "man",
];

pub(super) fn command() -> Command {
    let settings = |name: &'static str, about: &'static str| {
        Command::new(name).about(about).args(key_args()).arg(file_arg())
    };
    Command::new("stentor")
        .about("A WebSocket broadcast server: one io_uring shard per core, one order per channel")
        .long_about(
            "A WebSocket broadcast server: one io_uring shard per core, one order per channel.\n\n\
             Without a command it serves. Every flag is also a key of stentor.toml and a variable \
             STENTOR_*; flags win over variables, and these over the file. Flags may stand before \
             a command and behind it.",
        )
        .version(env!("CARGO_PKG_VERSION"))
        .args(key_args())
        .arg(file_arg())
        .subcommand(settings("serve", "Serve (the default)"))
        .subcommand(settings(
            "check",
            "Check the configuration and this host: exit 0, or 78 and why",
        ))
        .subcommand(
            settings("config", "Print the defaults as a file, the settings in force, or variables")
                .arg(
                    Arg::new("view")
                        .value_parser(["default", "show", "env", "from-centrifugo", "from-soketi"])
                        .default_value("show"),
                )
                .arg(
                    Arg::new("source")
                        .value_name("FILE")
                        .value_parser(value_parser!(PathBuf))
                        .required_if_eq("view", "from-centrifugo")
                        .help(
                            "Configuration of Centrifugo 6 that from-centrifugo translates, or \
                             soketi's JSON or .env that from-soketi does; without it the \
                             environment",
                        ),
                ),
        )
        .subcommand(
            settings(
                "doctor",
                "Print this host's limits, what they allow and what lifts them: exit 0, or 78",
            )
            .arg(
                Arg::new("json")
                    .long("json")
                    .action(ArgAction::SetTrue)
                    .help("Print them for programs, with what the server needs"),
            ),
        )
        .subcommand(
            settings("engine", "Check the engine that joins nodes: exit 0, or 1 and why").arg(
                Arg::new("act").value_parser(["init", "check"]).default_value("check").help(
                    "init creates the stream of the cluster if it is not there, as every node \
                     does when it starts; check only looks",
                ),
            ),
        )
        .subcommands([pub_command(), sub_command(), token_command(), dev_cert_command()])
        .subcommand(Command::new("completions").about("Print completions for a shell").arg(
            Arg::new("shell").value_name("SHELL").required(true).value_parser(value_parser!(Shell)),
        ))
        .subcommand(
            Command::new("man").about("Print a manual page, for man -l -").arg(
                Arg::new("of")
                    .value_name("COMMAND")
                    .value_parser(COMMANDS)
                    .help("The page of one command; without it that of the program"),
            ),
        )
}

fn pub_command() -> Command {
    let [channel, connection @ ..] = endpoint_args();
    Command::new("pub")
        .about("Publish one text, or each line of standard input")
        .long_about(
            "Publish one text, or each line of standard input, to the subscribers of a channel.\n\n\
             The command exits with 0 once the server has acknowledged everything. Otherwise it \
             exits with 1, and one line on standard error says how many texts were published and \
             why the others were not. Example: echo hello | stentor pub news",
        )
        .arg(channel)
        .arg(Arg::new("text").value_name("TEXT").help(
            "Text to publish; without it, or with -, each line of standard input is published",
        ))
        .args(connection)
}

fn sub_command() -> Command {
    let [channel, connection @ ..] = endpoint_args();
    Command::new("sub")
        .about("Print what is published")
        .long_about(
            "Print what is published.\n\n\
             When the connection ends it comes back by itself, unless the server ended it for good \
             (exit code 1, with the close code and reason), and prints what was published while it \
             was away. Where the server has not kept all of it, \"recovered: false\" on standard \
             error says so.",
        )
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
                .value_parser(stentor_units::count)
                .help("End after so many messages"),
        )
        .arg(
            Arg::new("once")
                .long("once")
                .action(ArgAction::SetTrue)
                .help("Do not come back when the connection ends: exit with 1, code and reason"),
        )
        .args(connection)
}

fn token_command() -> Command {
    let value = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let list = |name, value_name, help| value(name, value_name, help).action(ArgAction::Append);
    Command::new("token")
        .about("Make a token for trying out, or check one")
        .long_about(
            "Make a token for trying out, or check one.\n\n\
             `stentor token --user ana` prints a token that is signed with --private-key, or else \
             with token-hmac-secret. `stentor token check TOKEN` says what a token proves: exit 0; \
             or why a server with these settings refuses it: exit 1.",
        )
        .arg(
            Arg::new("action")
                .value_parser(["make", "check"])
                .default_value("make")
                .help("What to do"),
        )
        .arg(Arg::new("token").value_name("TOKEN").help("The token to check; -: standard input"))
        .args([
            value("user", "ID", "User whom the token names"),
            value("expires", "TIME", "How long it is good, or never")
                .default_value("1h")
                .value_parser(read_lasting),
            list("channel", "PATTERN", "Channels in which all is allowed, such as news or chat:*"),
            list("join", "CHANNEL", "Channel that the server subscribes the client to"),
            value("subscription", "CHANNEL", "Channel of a subscription token"),
            value("info", "JSON", "What presence shows").value_parser(read_json),
            value("id", "ID", "Id of the token; default a random one"),
            value("private-key", "FILE", "File with the private key in PEM")
                .value_parser(value_parser!(PathBuf)),
            value("kid", "NAME", "Name of the key, for a key set"),
        ])
        .args(key_args())
        .arg(file_arg())
}

fn dev_cert_command() -> Command {
    Command::new("dev-cert")
        .about("Make a certificate for trying out TLS on this host")
        .long_about(
            "Make a certificate for trying out TLS on this host.\n\n\
             Three files are written: dev-ca.pem, which clients are told to trust, dev-cert.pem \
             and dev-key.pem. The authority's own key is thrown away, so nobody can make another \
             certificate that these clients would accept.",
        )
        .arg(
            Arg::new("name")
                .long("name")
                .value_name("HOST")
                .action(ArgAction::Append)
                .help("Host name or address that it is for [default: localhost, 127.0.0.1, ::1]"),
        )
        .arg(
            Arg::new("dir")
                .long("dir")
                .value_name("DIR")
                .default_value(".")
                .value_parser(value_parser!(PathBuf))
                .help("Folder for the files"),
        )
        .arg(
            Arg::new("force")
                .long("force")
                .action(ArgAction::SetTrue)
                .help("Replace files that are there already"),
        )
}

fn endpoint_args() -> [Arg; 7] {
    [
        Arg::new("channel").value_name("CHANNEL").required(true).help("Name of the channel"),
        Arg::new("url")
            .long("url")
            .value_name("URL")
            .default_value("ws://127.0.0.1:9001/ws")
            .value_parser(Url::read)
            .help("Address of the server, with the path of its WebSocket endpoint"),
        Arg::new("user").long("user").value_name("ID").help("Name of the user to connect as"),
        Arg::new("token").long("token").value_name("TOKEN").help(
            "Token to connect with; other users of this host can see it in a list of processes",
        ),
        Arg::new("token-file")
            .long("token-file")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .conflicts_with("token")
            .help("File with the token to connect with, read anew for each connection"),
        Arg::new("ca")
            .long("ca")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Authorities to trust with wss://, as PEM, instead of those of this host"),
        Arg::new("insecure")
            .long("insecure")
            .action(ArgAction::SetTrue)
            .conflicts_with("ca")
            .help("Accept any certificate, and check nothing that it signs"),
    ]
}

fn file_arg() -> Arg {
    Arg::new("config")
        .long("config")
        .short('c')
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Settings file, such as `stentor config default` prints; also STENTOR_CONFIG")
}

fn key_args() -> impl Iterator<Item = Arg> {
    let defaults = crate::config::Settings::default();
    all_keys().map(move |key| {
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

/// Reads how many seconds a token lasts; `None` is for ever.
fn read_lasting(text: &str) -> Result<Lasting, String> {
    if text.eq_ignore_ascii_case("never") {
        return Ok(Lasting(None));
    }
    stentor_units::time(text).map(|time| Lasting(Some(time.as_secs())))
}

fn read_json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}
