//! The help of the command line: its sections, and examples of every command.

use clap::{Arg, Command};

/// The sections, and the flags that stand in each.
const SECTIONS: [(&str, &[&str]); 10] = [
    (
        "Load",
        &[
            "clients",
            "ramp",
            "publishers",
            "rate",
            "window",
            "time",
            "warm_up",
            "sizes",
            "channels",
            "members",
            "direct",
            "rounds",
            "hold",
        ],
    ),
    ("Search", &["slo", "by", "start", "max", "factor", "precision", "repeats", "kinds"]),
    ("Generator", &["threads", "cores", "source_ip", "seed", "asked", "token"]),
    (
        "Upgrade request and messages",
        &[
            "dialect",
            "namespace",
            "app_secret",
            "channel",
            "client_token",
            "publish_at",
            "headers",
            "compression",
            "origin",
            "subprotocol",
            "hello",
            "ready",
            "answers",
            "binary",
            "message",
        ],
    ),
    ("TLS", &["transport", "insecure", "ca", "tls_resume"]),
    ("Server's process", &["server_pid"]),
    ("Clients that come back", &["reconnect", "backoff"]),
    (
        "Against another server",
        &[
            "against_limit",
            "limit_core",
            "limit_kind",
            "pair",
            "pair_repeats",
            "pair_url",
            "pair_labels",
        ],
    ),
    ("While it runs", &["label", "quiet", "no_tui"]),
    ("Results", &["threshold", "json", "hgrm", "hlog", "csv"]),
];

/// The text below the help of the tool itself.
const START: &str = "\
Start with: stentor-bench fanout ws://127.0.0.1:9001/ws -c 1k -r 50/s
Flags and examples: stentor-bench COMMAND --help; also: completions, man
Exit codes: 0 measured, 2 usage, 3 unreachable, 4 invalid, 99 threshold missed";

/// The text below the help of each command.
const EXAMPLES: [(&str, &str); 15] = [
    (
        "fanout",
        "  Latency at 50 messages a second to 10,000 clients, with a bound:
    stentor-bench fanout ws://127.0.0.1:9001/ws -c 10k -r 50/s --threshold 'delivery.p99<20ms'
  Capacity, with what it costs the server's process:
    stentor-bench fanout ws://127.0.0.1:9001/ws -c 10k -w 16 --server-pid 4711
  500 channels of 20 clients, with two publishers in each:
    stentor-bench fanout 'ws://127.0.0.1:9001/ws?channel=c$C' --channels 500 --members 20 -P 2
  Direct messages, each to one user:
    stentor-bench fanout 'ws://127.0.0.1:9001/ws?user=u$N' --direct --message '$TO:$MSG' -r 500/s
  Clients of Centrifugo's protocol, or of server-sent events:
    stentor-bench fanout ws://127.0.0.1:9001 --dialect centrifugo -c 1k -r 50/s
  Two builds in turn:
    stentor-bench fanout ws://127.0.0.1:9001/ws -w 16 --pair './before' './after'",
    ),
    (
        "echo",
        "  Round trips of 1,000 clients, each in a channel of its own:
    stentor-bench echo 'ws://127.0.0.1:9001/ws?channel=c$N' -c 1k -r 500/s",
    ),
    (
        "connect",
        "  A storm of 10,000 at 2,000 a second, which come back once:
    stentor-bench connect ws://127.0.0.1:9001/ws -c 10k --ramp 2k/s --server-pid 4711",
    ),
    (
        "idle",
        "  Memory for each client, of a server that was just started:
    stentor-bench idle ws://127.0.0.1:9001/ws -c 10k -d 1m --server-pid 4711",
    ),
    (
        "search",
        "  The greatest rate at which 99 in 100 messages take less than 20 ms:
    stentor-bench search ws://127.0.0.1:9001/ws --slo 'p99<20ms' -c 10k --start 20/s -d 5s
  The most clients at one rate:
    stentor-bench search ws://127.0.0.1:9001/ws --slo 'p99<50ms' --by clients -r 10/s",
    ),
    (
        "limit",
        "  What this host can do at most, server and generator on a core each:
    stentor-bench limit -c 1k -P 20 -w 4 --limit-core 0 --core 1",
    ),
    (
        "agent",
        "  On each of two hosts, then on a third:
    STENTOR_BENCH_TOKEN=... stentor-bench agent --listen 0.0.0.0:7000
    STENTOR_BENCH_TOKEN=... stentor-bench fanout ws://10.0.0.1:9001/ws -c 60k -r 20/s \\
      --agents b:7000,c:7000",
    ),
    ("compare", "    stentor-bench compare before-*.json after-*.json"),
    (
        "report",
        "  A page of two runs, and the percentiles of one:
    stentor-bench report before.json after.json -o report.html
    stentor-bench report after.json -o after.hgrm",
    ),
    ("figure", "    stentor-bench figure latency ws://127.0.0.1:9001/ws --server-pid 4711"),
    ("wake", "    stentor-bench wake --from 0 --to 1"),
    ("handshake", "    stentor-bench handshake --cert dev-cert.pem --key dev-key.pem --core 0"),
    ("completions", "    stentor-bench completions bash >/etc/bash_completion.d/stentor-bench"),
    ("man", "    stentor-bench man search | man -l -"),
    ("raw", "    stentor-bench raw --listen 127.0.0.1:9201 --core 0"),
];

/// The same command line with sections and examples.
pub(crate) fn dressed(command: Command) -> Command {
    // A screen has so many lines. One of these is for scripts/figures.sh; START names the others.
    let command = ["wake", "handshake", "completions", "man"]
        .into_iter()
        .fold(command.after_help(START), |command, name| {
            command.mut_subcommand(name, |sub| sub.hide(true))
        });
    EXAMPLES.into_iter().fold(command, |command, (name, examples)| {
        command.mut_subcommand(name, |sub| {
            sub.mut_args(in_its_section).after_help(format!("Examples:\n{examples}"))
        })
    })
}

fn in_its_section(arg: Arg) -> Arg {
    match section_of(arg.get_id().as_str()) {
        Some(section) => arg.help_heading(section),
        None => arg,
    }
}

fn section_of(id: &str) -> Option<&'static str> {
    SECTIONS.into_iter().find(|(_, ids)| ids.contains(&id)).map(|(section, _)| section)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    /// Commands with few flags of their own.
    const PLAIN: [&str; 9] =
        ["agent", "compare", "report", "figure", "wake", "handshake", "raw", "completions", "man"];

    #[test]
    fn the_help_of_the_tool_fits_a_screen() {
        let help = dressed(Cli::command()).term_width(80).render_help().to_string();
        assert!(help.lines().count() <= 24, "{} lines:\n{help}", help.lines().count());
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(help.contains("COMMAND --help") && help.contains("Exit codes"), "{help}");
    }

    #[test]
    fn every_command_has_sections_and_examples() {
        let mut command = dressed(Cli::command());
        let mut names: Vec<String> =
            command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
        names.sort();
        let mut known = EXAMPLES.map(|(name, _)| name.to_owned());
        known.sort();
        assert_eq!(names, known);
        for name in names {
            let sub = command.find_subcommand_mut(&name).unwrap();
            let flags = || sub.get_arguments().filter(|arg| !arg.is_positional());
            if !PLAIN.contains(&name.as_str()) {
                let bare: Vec<&str> = flags()
                    .filter(|arg| arg.get_help_heading().is_none())
                    .map(|arg| arg.get_id().as_str())
                    .collect();
                assert_eq!(bare, [""; 0], "{name}: flags without a section");
            }
            let help = sub.render_help().to_string();
            assert!(help.contains("Examples:\n") && help.contains("stentor-bench "), "{help}");
        }
    }

    /// Every line of an example is one that the tool takes.
    #[test]
    fn examples_are_understood() {
        let command = dressed(Cli::command());
        for (name, examples) in EXAMPLES {
            let text = examples.replace("\\\n", " ");
            let lines: Vec<&str> = text
                .lines()
                .filter_map(|line| line.split_once("stentor-bench "))
                .map(|at| at.1)
                .collect();
            assert!(!lines.is_empty(), "{name}");
            for line in lines.into_iter().filter(|line| !line.ends_with("--help")) {
                let line = line.replace('\'', "");
                // The shell's part follows.
                let line = line.split(['|', '>']).next().unwrap();
                let words = std::iter::once("stentor-bench").chain(line.split_whitespace());
                let taken = command.clone().try_get_matches_from(words);
                assert!(taken.is_ok(), "{line}: {}", taken.unwrap_err());
            }
        }
    }
}
