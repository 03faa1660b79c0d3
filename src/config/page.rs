//! The page of all settings, `docs/SETTINGS.md`, which a test holds against the binary's tables.

use std::fmt::Write as _;

use super::apps::{APP_KEYS, webhook};
use super::channels::{GROUP, RULES};
use super::{Settings, all_keys, variable};
use stentor_shards::App;

const HEAD: &str = "\
# Settings
Every setting with its default. `stentor --help` and `stentor config default` say the same; \
[CONFIGURATION.md](CONFIGURATION.md) has the rules around
them. The setting `--name` is the variable `STENTOR_NAME` and the key `name` of `stentor.toml`, \
with `_` in the place of each `-`. No default means that
the setting is not set.

This page is made from the program: `WRITE_PAGES=1 cargo nextest run -p stentor settings_page`
";

const RULES_HEAD: &str = "
## Rules of channels
The keys of `[channels]`, for channels without a namespace, and of each `[[namespace]]`, which \
has a `name` besides. Those with a flag can be set for
channels without a namespace by flag and variable too.

| key | default | flag | meaning |
| --- | --- | --- | --- |
";

const APPS_HEAD: &str = "
## Apps
The keys of each `[[app]]`, beside its `id`, its `key`, and its `secret` or `secret_file`. \
A reload reads them again.

| key | default | meaning |
| --- | --- | --- |
";

const WEBHOOKS_HEAD: &str = "
The keys of each `[[app.webhook]]`, below its `[[app]]`:

| key | default | meaning |
| --- | --- | --- |
";

/// Returns a text as it stands in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", cell(text)) }
}

fn page() -> String {
    let settings = Settings::default();
    let mut out = HEAD.to_owned();
    let mut group = "";
    for key in all_keys().filter(|key| key.group != GROUP) {
        if key.group != group {
            group = key.group;
            let _ = write!(out, "\n## {group}\n| setting | default | meaning |\n");
            out.push_str("| --- | --- | --- |\n");
        }
        let value = cell(key.value);
        let (default, help) = (code(&(key.get)(&settings)), cell(key.help));
        let _ = writeln!(out, "| `--{} {value}` | {default} | {help} |", key.name);
    }
    out.push_str(RULES_HEAD);
    for rule in RULES {
        let flag = rule.flag.map(|flag| format!("`--{flag}`")).unwrap_or_default();
        let default = code(&(rule.get)(&settings.channels.default.0));
        let name = rule.name.replace('-', "_");
        let _ = writeln!(out, "| `{name}` | {default} | {flag} | {} |", cell(rule.help));
    }
    out.push_str(APPS_HEAD);
    let example = App::new("1", "app-key", "");
    for key in APP_KEYS {
        let (name, default) = (key.name.replace('-', "_"), code(&(key.get)(&example)));
        let _ = writeln!(out, "| `{name}` | {default} | {} |", cell(key.help));
    }
    out.push_str(WEBHOOKS_HEAD);
    for (name, default, help) in webhook::HELP {
        let _ = writeln!(out, "| `{name}` | {} | {} |", code(default), cell(help));
    }
    out
}

/// With `WRITE_PAGES=1` in the environment the test writes the page.
#[test]
fn the_settings_page_lists_every_setting_with_its_default() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/SETTINGS.md");
    if std::env::var_os("WRITE_PAGES").is_some() {
        return std::fs::write(path, page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == page(), "docs/SETTINGS.md is not of this program: WRITE_PAGES=1 writes it");
    assert_eq!(variable("drain-spread"), "STENTOR_DRAIN_SPREAD", "as the page says");
}
