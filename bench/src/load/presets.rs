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

/// A kilobyte of JSON, as an application may say it.
const CHAT: &str = concat!(
    r#"--size 48 --message {"type":"presence","room":"lobby","number":$N,"members":["#,
    r##"{"id":48151,"name":"Ana","state":"online","colour":"#aa3311","at":[127,9911],"##,
    r##""groups":["staff","north"]},"##,
    r##"{"id":62342,"name":"Bohumil","state":"away","colour":"#0f9d58","at":[17,204],"##,
    r##""groups":["guests"]},"##,
    r##"{"id":7310,"name":"Chidi","state":"online","colour":"#4285f4","at":[991,50],"##,
    r##""groups":["staff","ethics"],"typing":true},"##,
    r##"{"id":90125,"name":"Dagny","state":"offline","since":"2026-11-28T21:17:04Z","##,
    r##""groups":[]},"##,
    r##"{"id":2112,"name":"Esperanza","state":"online","colour":"#f4b400","at":[64,728],"##,
    r##""groups":["north","choir"]},"##,
    r##"{"id":51515,"name":"Farouk","state":"busy","colour":"#773399","at":[300,12],"##,
    r##""note":"back-at-noon"},"##,
    r##"{"id":1984,"name":"Greta","state":"online","colour":"#00acc1","at":[8,8008],"##,
    r##""groups":["guests","choir","south"]}"##,
    r#"],"text":"$MSG"}"#,
);

/// The same of 128 bytes.
const MOVED: &str = concat!(
    r#"--size 48 --message {"event":"moved","room":"lobby","#,
    r#""user":{"id":48151,"name":"Ana"},"to":"$MSG"}"#,
);

/// `JSON`, `CHANNELS`, `CHAT`, `MOVED` and `ONE` in a preset's line stand for the flags of these
/// names.
const PRESETS: [Preset; 35] = [
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
    preset("chat-1k", "fanout -c 1000 -w 1 --warmup 1s -d 2s CHAT"),
    preset("chat-1k-deflated", "fanout -c 1000 -w 1 --warmup 1s -d 2s CHAT --compression"),
    preset("moved-1k", "fanout -c 1000 -w 1 --warmup 1s -d 2s MOVED"),
    preset("moved-1k-deflated", "fanout -c 1000 -w 1 --warmup 1s -d 2s MOVED --compression"),
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
    preset("pusher-1k", "fanout -c 1000 ONE --dialect pusher --app-secret bench"),
    preset("pusher-10k", "fanout -c 10000 ONE --dialect pusher --app-secret bench"),
    preset("idle-pusher", "idle -c 10000 --warmup 1s -d 2s --dialect pusher --app-secret bench"),
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
            "CHAT" => CHAT.split(' ').collect(),
            "MOVED" => MOVED.split(' ').collect(),
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
