//! The figures of the README as presets: each name stands for a command line of an ordinary load.

use clap::builder::PossibleValuesParser;

/// One load under a name of its own.
struct Preset {
    name: &'static str,
    /// The subcommand and its flags, separated by spaces.
    line: &'static str,
}

/// A publication of a JSON client of Stentor. It has no space in it, as lines are cut at spaces.
const JSON: &str = r#"--subprotocol stentor.v1 --message {"type":"publish","body":"$MSG"}"#;

/// Ten thousand channels of one client each. The server's URL names the channel: `?channel=c$C`.
const CHANNELS: &str = "--channels 10000 --members 1 -P 1 --size 64 --warmup 1s -d 3s";

/// One message in flight to many clients.
const ONE: &str = "-w 1 --size 64 --warmup 1s -d 2s";

/// `JSON`, `CHANNELS` and `ONE` in a preset's line stand for the flags of these names.
const PRESETS: [Preset; 28] = [
    preset("one-1k", "fanout -c 1000 -w 1 --size 64 --warmup 1s -d 2s"),
    preset("one-15k", "fanout -c 15000 -w 1 --size 64 --warmup 1s -d 2s"),
    preset("joined-1k", "fanout -c 1000 -w 16 --size 64 --warmup 1s -d 2s"),
    preset("joined-15k", "fanout -c 15000 -w 16 --size 64 --warmup 1s -d 2s"),
    preset("all-200", "fanout -c 200 -P 200 -w 1 --size 64 --warmup 1s -d 2s"),
    preset("large-16", "fanout -c 1000 -w 16 --size 16KiB --warmup 1s -d 2s"),
    preset("rate-1k", "fanout -c 1000 -r 20/s --size 64 --warmup 1s -d 5s"),
    preset("latency", "fanout -c 1000 -r 20/s --size 64 --warmup 1s -d 10s"),
    preset("json-1k", "fanout -c 1000 -w 1 --size 64 --warmup 1s -d 2s JSON"),
    preset("json-1k-16", "fanout -c 1000 -w 16 --size 64 --warmup 1s -d 2s JSON"),
    preset("centrifugo-1k", "fanout -c 1000 ONE --dialect centrifugo"),
    preset("centrifugo-10k", "fanout -c 10000 ONE --dialect centrifugo"),
    preset("protobuf-1k", "fanout -c 1000 ONE --dialect centrifugo-protobuf"),
    preset("protobuf-10k", "fanout -c 10000 ONE --dialect centrifugo-protobuf"),
    preset("sse-1k", "fanout -c 1000 ONE --dialect sse"),
    preset("sse-10k", "fanout -c 10000 ONE --dialect sse"),
    preset("channels-10k", "fanout CHANNELS -r 10k/s"),
    preset("channels-40k", "fanout CHANNELS -r 40k/s"),
    preset("json-channels-10k", "fanout CHANNELS -r 10k/s JSON"),
    preset("json-channels-40k", "fanout CHANNELS -r 40k/s JSON"),
    preset("accept", "connect -c 15000 --rounds 1 --hold 20ms"),
    preset("ping", "idle -c 15000 --warmup 5s -d 10s"),
    preset("idle-15k", "idle -c 15000 --warmup 1s -d 2s"),
    preset("idle-json", "idle -c 15000 --warmup 1s -d 2s --subprotocol stentor.v1"),
    preset("idle-10k", "idle -c 10000 --warmup 1s -d 2s"),
    preset("idle-centrifugo", "idle -c 10000 --warmup 1s -d 2s --dialect centrifugo"),
    preset("idle-protobuf", "idle -c 10000 --warmup 1s -d 2s --dialect centrifugo-protobuf"),
    preset("idle-sse", "idle -c 10000 --warmup 1s -d 2s --dialect sse"),
];

const fn preset(name: &'static str, line: &'static str) -> Preset {
    Preset { name, line }
}

/// A preset as it is named on the command line.
#[derive(clap::Args)]
pub(crate) struct Figure {
    /// The preset.
    #[arg(value_parser = names())]
    name: String,
    /// The server's URL, and flags of the preset's command that replace its own.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "URL AND FLAGS")]
    rest: Vec<String>,
}

fn names() -> PossibleValuesParser {
    PRESETS.iter().map(|preset| preset.name).collect::<Vec<_>>().into()
}

impl Figure {
    /// Returns the command line that the preset stands for, the program's name included.
    pub(crate) fn command_line(&self) -> Vec<String> {
        let preset = PRESETS.iter().find(|preset| preset.name == self.name);
        let line = preset.map_or("", |preset| preset.line);
        let words = line.split(' ').flat_map(|word| match word {
            "JSON" => JSON.split(' ').collect(),
            "CHANNELS" => CHANNELS.split(' ').collect(),
            "ONE" => ONE.split(' ').collect(),
            _ => vec![word],
        });
        let words = std::iter::once("stentor-bench").chain(words).map(str::to_owned);
        words.chain(self.rest.iter().cloned()).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns the command line of every preset, against some server.
    pub(crate) fn command_lines() -> impl Iterator<Item = Vec<String>> {
        PRESETS.iter().map(|preset| {
            let rest = vec!["127.0.0.1:9001/ws?channel=c$C".to_owned()];
            Figure { name: preset.name.to_owned(), rest }.command_line()
        })
    }

    #[test]
    fn json_flags_are_words_of_their_own() {
        let figure = Figure { name: "json-1k".to_owned(), rest: vec!["h:1".to_owned()] };
        let line = figure.command_line();
        let end = ["--message", r#"{"type":"publish","body":"$MSG"}"#, "h:1"];
        assert_eq!(line[line.len() - 3..], end);
    }
}
