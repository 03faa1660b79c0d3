//! Channels and namespaces: options become rules.

use stentor_shards::ChannelRules;

use super::Sheet;
use super::found::Found;
use crate::config::channels::Rule;

/// The rules of one namespace as they come together.
struct Rules<'a> {
    found: &'a mut Found,
    sheet: &'a mut Sheet,
    /// The path of its options.
    path: String,
    lines: Vec<(&'static str, toml::Value)>,
}

pub(super) fn translate(found: &mut Found, sheet: &mut Sheet) {
    let mut allows_users = Vec::new();
    let lines = namespace(found, sheet, "channel.without_namespace", &mut allows_users);
    sheet.default = lines;
    for index in 0.. {
        let path = format!("channel.namespaces[{index}]");
        if !found.has_below(&path) {
            break;
        }
        let Some(name) = found.text(&format!("{path}.name")) else {
            sheet.note(&path, "a namespace without a name");
            continue;
        };
        let lines = namespace(found, sheet, &path, &mut allows_users);
        if stentor_shards::check_namespace(&name).is_err() {
            sheet.note(&path, &format!("{name:?} is not a name of a namespace here"));
        } else {
            sheet.namespaces.push((name, lines));
        }
    }
    marks(found, sheet, &allows_users);
}

/// The marks in names. Users in the names of channels are one setting here, and an option of each
/// namespace there.
fn marks(found: &mut Found, sheet: &mut Sheet, allows_users: &[bool]) {
    let take = |found: &mut Found, path: &str| match found.take(path) {
        Some(serde_json::Value::String(text)) if text.is_empty() => Some("off".to_owned()),
        Some(serde_json::Value::String(text)) => Some(text),
        _ => None,
    };
    let boundary = take(found, "channel.user_boundary");
    for (path, name) in
        [("channel.private_prefix", "private-prefix"), ("channel.user_separator", "user-separator")]
    {
        if let Some(mark) = take(found, path) {
            sheet.set_rule(name, mark);
        }
    }
    let (some, all) = (allows_users.contains(&true), !allows_users.contains(&false));
    let personal = "client.subscribe_to_user_personal_channel";
    let namespace = found.text(&format!("{personal}.personal_channel_namespace"));
    let is_personal = found.switch(&format!("{personal}.enabled"));
    if is_personal {
        let mark = boundary.as_deref().unwrap_or("#");
        let prefix = namespace.map_or(mark.to_owned(), |name| format!("{name}:{mark}"));
        sheet.set("personal-channel", prefix, &format!("{personal}.enabled"));
    }
    if !some && !is_personal {
        sheet.set_rule("user-boundary", "off".to_owned());
    } else if let Some(boundary) = boundary {
        sheet.set_rule("user-boundary", boundary);
    }
    if some && !all {
        let text = "users in the names of channels count in all namespaces here";
        sheet.note("allow_user_limited_channels", text);
    }
}

fn namespace(
    found: &mut Found,
    sheet: &mut Sheet,
    path: &str,
    allows_users: &mut Vec<bool>,
) -> Vec<(&'static str, toml::Value)> {
    let mut rules = Rules { found, sheet, path: path.to_owned(), lines: Vec::new() };
    rules.access();
    let allows = rules.switch("allow_user_limited_channels");
    if allows && rules.is("subscribe", "token") {
        let text = "the users in a channel's name need subscribe = \"users\" here";
        rules.note("allow_user_limited_channels", text);
    }
    allows_users.push(allows);
    let presence = rules.switch("presence");
    rules.set("presence", presence);
    let join_leave = rules.switch("join_leave");
    rules.set("join-leave", join_leave);
    rules.history();
    rules.delta();
    rules.questions();
    rules.lines
}

impl Rules<'_> {
    fn at(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    fn switch(&mut self, name: &str) -> bool {
        let path = self.at(name);
        self.found.switch(&path)
    }

    fn note(&mut self, name: &str, text: &str) {
        let of = self.at(name);
        self.sheet.note(&of, text);
    }

    fn is(&self, name: &str, wanted: &str) -> bool {
        self.lines.iter().any(|(known, value)| *known == name && value.as_str() == Some(wanted))
    }

    /// Sets a rule, if the value is one that it can have.
    fn set(&mut self, name: &'static str, value: impl Into<toml::Value>) {
        let value = value.into();
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let rule = Rule::find(name).expect("it is a rule of the table");
        match (rule.set)(&mut ChannelRules::open("x"), &text) {
            Ok(()) => self.lines.push((name, value)),
            Err(why) => self.note(name, &format!("it cannot be {name} here: {why}")),
        }
    }

    /// Who may subscribe and publish.
    fn access(&mut self) {
        let insecure = self.sheet.insecure;
        let [clients, nobodies] = ["allow_subscribe_for_client", "allow_subscribe_for_anonymous"]
            .map(|name| self.switch(name));
        let hook = self.hook("subscribe");
        let subscribe = match (hook.is_some(), clients) {
            (false, _) if insecure => "anyone",
            (false, true) if nobodies => "anyone",
            (false, true) => "users",
            _ => "token",
        };
        self.set("subscribe", subscribe);
        if let Some(hook) = hook {
            self.set("subscribe-hook", hook);
        }
        if let Some(hook) = self.hook("sub_refresh") {
            self.set("sub-refresh-hook", hook);
        }
        let [clients, subscribers, nobodies] = [
            "allow_publish_for_client",
            "allow_publish_for_subscriber",
            "allow_publish_for_anonymous",
        ]
        .map(|name| self.switch(name));
        let hook = self.hook("publish");
        let publish = match (hook.is_some(), clients, subscribers) {
            (true, ..) => "token",
            (false, ..) if insecure => "anyone",
            (false, true, _) if nobodies => "anyone",
            (false, true, _) => "users",
            (false, false, true) => "subscribers",
            (false, false, false) => "nobody",
        };
        self.set("publish", publish);
        if let Some(hook) = hook {
            self.set("publish-hook", hook);
        }
    }

    /// The hook that a proxy of the namespace becomes.
    fn hook(&mut self, kind: &str) -> Option<String> {
        let (of, name) = (format!("{kind}_proxy_name"), self.at(&format!("{kind}_proxy_name")));
        let name = self.found.text(&name).unwrap_or_else(|| "default".into());
        if !self.switch(&format!("{kind}_proxy_enabled")) {
            return None;
        }
        if name == "default" {
            let wanted = format!("hook-{}", kind.replace('_', "-"));
            if self.sheet.has(&wanted) {
                return Some("on".into());
            }
            let text = match kind {
                "sub_refresh" => "no usual endpoint is configured for it: subscriptions end".into(),
                _ => format!(
                    "no usual endpoint is configured for it: only tokens let clients {kind}"
                ),
            };
            self.note(&format!("{kind}_proxy_enabled"), &text);
            return None;
        }
        let endpoint = self.sheet.proxies.get(&name).cloned();
        if endpoint.is_none() {
            self.note(&of, &format!("no proxy over HTTP is called {name:?}"));
        }
        endpoint
    }

    fn history(&mut self) {
        let (size, ttl) = (self.at("history_size"), self.at("history_ttl"));
        let (size, ttl) = (self.found.number(&size).unwrap_or(0), self.found.text(&ttl));
        let is_on = size > 0 && ttl.as_ref().is_some_and(|ttl| stentor_units::time(ttl).is_ok());
        self.set("history-size", if is_on { size } else { 0 });
        if let Some(ttl) = ttl.filter(|_| is_on) {
            self.set("history-ttl", ttl);
        }
        let recovers = ["force_recovery", "allow_recovery"].map(|name| self.switch(name));
        if recovers.contains(&true) {
            if is_on {
                self.set("recovery", true);
            } else {
                self.note("force_recovery", "without history nothing can be recovered");
            }
        }
        // Every publication has a position here.
        for name in ["force_positioning", "allow_positioning"] {
            self.switch(name);
        }
        let path = self.at("force_recovery_mode");
        if let Some(mode) = self.found.text(&path).filter(|mode| mode != "stream") {
            self.note("force_recovery_mode", &format!("no counterpart: {mode:?}"));
        }
    }

    /// The difference by which clients may be told publications.
    fn delta(&mut self) {
        let [of, by_default] = ["allowed_delta_types", "delta_publish"].map(|name| self.at(name));
        let kinds = self.found.texts(&of);
        let is_default = self.found.switch(&by_default);
        for kind in kinds.iter().filter(|kind| *kind != "fossil") {
            self.note("allowed_delta_types", &format!("no counterpart: {kind:?}"));
        }
        if !kinds.iter().any(|kind| kind == "fossil") {
            if is_default {
                let text = "without allowed_delta_types no client may ask for it";
                self.note("delta_publish", text);
            }
            return;
        }
        self.set("delta", "fossil");
        if !is_default {
            let text = "here each publication is told by its difference where that is shorter, \
                        whatever the publisher says";
            self.note("delta_publish", text);
        }
    }

    /// Who may ask for members and history: whoever may subscribe, or has.
    fn questions(&mut self) {
        for what in ["presence", "history"] {
            let [clients, subscribers, nobodies] = ["client", "subscriber", "anonymous"]
                .map(|who| self.switch(&format!("allow_{what}_for_{who}")));
            let is_there = match what {
                "presence" => self.lines.contains(&("presence", true.into())),
                _ => !self.lines.contains(&("history-size", 0.into())),
            };
            if is_there && !clients && !subscribers && !nobodies {
                let text = format!("clients that may subscribe may ask for {what} here");
                self.note(what, &text);
            }
        }
    }
}
