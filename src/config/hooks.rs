//! The settings of hooks: the application's backend, the questions for it, and what holds where it
//! does not answer.

use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use stentor_shards::{ChannelRules, Hook, Hooks as Switches};
use stentor_units::time::show as show_time;

use super::keys::{Key, choice, number, time};
use super::units::{items, read_switch};

/// The heading of the flags.
pub(crate) const GROUP: &str = "Hooks";

/// The most headers that are passed on, and that are added.
const HEADERS_MAX: usize = 32;

const TIMEOUT_MAX: Duration = Duration::from_mins(1);

/// The settings of hooks, as they were set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hooks {
    pub(crate) connect: Option<Uri>,
    pub(crate) refresh: Option<Uri>,
    pub(crate) subscribe: Option<Uri>,
    pub(crate) sub_refresh: Option<Uri>,
    pub(crate) publish: Option<Uri>,
    pub(crate) rpc: Option<Uri>,
    /// The longest that one answer may take, the wait for its turn included.
    pub(crate) timeout: Duration,
    /// The most questions at one endpoint at once.
    pub(crate) concurrency: usize,
    /// The names of the headers of clients that are passed on, in lower case.
    pub(crate) passed_headers: Vec<Box<str>>,
    /// The headers that every question has.
    pub(crate) static_headers: Vec<(HeaderName, HeaderValue)>,
    /// The backend is told the `meta` of connections.
    pub(crate) has_meta: bool,
    /// The failures in a row after which an endpoint is left alone; zero: never.
    pub(crate) breaker_failures: u32,
    /// The time for which it is.
    pub(crate) breaker_pause: Duration,
    /// Where there is no answer, the rules alone decide.
    pub(crate) rules_decide: bool,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            connect: None,
            refresh: None,
            subscribe: None,
            sub_refresh: None,
            publish: None,
            rpc: None,
            timeout: Duration::from_secs(1),
            concurrency: 256,
            passed_headers: Vec::new(),
            static_headers: Vec::new(),
            has_meta: false,
            breaker_failures: 20,
            breaker_pause: Duration::from_secs(5),
            rules_decide: false,
        }
    }
}

impl Hooks {
    /// The questions that shards ask.
    pub(super) fn switches(&self) -> Switches {
        Switches {
            connect: self.connect.is_some(),
            refresh: self.refresh.is_some(),
            call: self.rpc.is_some(),
            rules_decide: self.rules_decide,
            headers: self.passed_headers.clone().into(),
        }
    }

    /// Returns an oddity that is no reason to stop.
    pub(super) fn oddity(&self, handshake_timeout: Duration) -> Option<String> {
        let asks = self.connect.is_some() || self.subscribe.is_some();
        (asks && self.timeout >= handshake_timeout).then(|| {
            format!(
                "hook-timeout is {} and handshake-timeout {}: clients that connect are closed \
                 before a slow backend answers",
                show_time(self.timeout),
                show_time(handshake_timeout)
            )
        })
    }

    /// Checks that a namespace which asks the backend has an endpoint for that.
    pub(super) fn check(&self, rules: &ChannelRules) -> Result<(), String> {
        for (name, hook, usual, flag) in [
            ("subscribe-hook", &rules.subscribe_hook, &self.subscribe, "hook-subscribe"),
            ("sub-refresh-hook", &rules.sub_refresh_hook, &self.sub_refresh, "hook-sub-refresh"),
            ("publish-hook", &rules.publish_hook, &self.publish, "hook-publish"),
        ] {
            if *hook == Hook::On && usual.is_none() {
                return Err(format!("{name} is on and {flag} is not set: set it to a URL"));
            }
        }
        Ok(())
    }
}

/// Reads the URL of an endpoint.
pub(super) fn endpoint(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|_| format!("{text:?} is not a URL"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err(format!("{text:?} is not a URL with http:// or https://")),
    }
    let authority = uri.authority().map(hyper::http::uri::Authority::as_str);
    match authority {
        None | Some("") => Err("the URL names no host".into()),
        Some(authority) if authority.contains('@') => {
            Err("the URL holds a user or a password, which would be shown: use headers".into())
        }
        Some(_) => Ok(uri),
    }
}

/// Reads what a namespace says about a hook: off, on, or a URL of its own.
pub(super) fn read_hook(text: &str) -> Result<Hook, String> {
    match text.to_ascii_lowercase().as_str() {
        "" | "off" | "false" => Ok(Hook::Off),
        "on" | "true" => Ok(Hook::On),
        _ => endpoint(text)
            .map(|_| Hook::At(text.into()))
            .map_err(|why| format!("{why}; or off, on")),
    }
}

/// Shows such a value.
pub(super) fn show_hook(hook: &Hook) -> String {
    match hook {
        Hook::Off => "off".into(),
        Hook::On => "on".into(),
        Hook::At(endpoint) => endpoint.to_string(),
    }
}

fn optional(text: &str) -> Result<Option<Uri>, String> {
    if text.is_empty() { Ok(None) } else { endpoint(text).map(Some) }
}

fn shown(uri: Option<&Uri>) -> String {
    uri.map(ToString::to_string).unwrap_or_default()
}

fn header_name(text: &str) -> Result<HeaderName, String> {
    HeaderName::try_from(text).map_err(|_| format!("{text:?} is no name of a header"))
}

/// Headers that belong to the connection to the backend, and not to a question.
const OWN: [&str; 6] =
    ["connection", "content-length", "content-type", "host", "transfer-encoding", "upgrade"];

fn question_header(text: &str) -> Result<HeaderName, String> {
    let name = header_name(text)?;
    if OWN.contains(&name.as_str()) {
        return Err(format!("{name} belongs to the request to the backend itself"));
    }
    Ok(name)
}

fn passed(text: &str) -> Result<Vec<Box<str>>, String> {
    let mut names = Vec::new();
    for one in items(text) {
        let name: Box<str> = question_header(one)?.as_str().into();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    bounded(names)
}

pub(super) fn fixed(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let mut headers = Vec::new();
    for one in items(text) {
        // A value is a secret: it is not quoted.
        let (name, value) =
            one.split_once(':').ok_or("a header is NAME: VALUE, without a comma")?;
        let name = question_header(name.trim())?;
        let mut value = HeaderValue::from_str(value.trim())
            .map_err(|_| format!("the value of {name} is none of a header"))?;
        value.set_sensitive(true);
        headers.push((name, value));
    }
    bounded(headers)
}

fn bounded<T>(list: Vec<T>) -> Result<Vec<T>, String> {
    if list.len() > HEADERS_MAX {
        return Err(format!("{} headers are more than {HEADERS_MAX}", list.len()));
    }
    Ok(list)
}

/// Shows their names; the values are secrets.
pub(super) fn show_fixed(headers: &[(HeaderName, HeaderValue)]) -> String {
    headers.iter().map(|(name, _)| format!("{name}: ***")).collect::<Vec<_>>().join(", ")
}

/// One row of the table.
macro_rules! row {
    ($name:literal, $value:literal, $help:literal, $get:expr, $set:expr) => {
        Key {
            name: $name,
            group: GROUP,
            value: $value,
            help: $help,
            secret: false,
            get: $get,
            set: |s, text| {
                let set: fn(&mut Hooks, &str) -> Result<(), String> = $set;
                set(&mut s.hooks, text)
            },
        }
    };
}

/// The endpoint of one kind of questions.
macro_rules! endpoint {
    ($name:literal, $field:ident, $help:literal) => {
        row!($name, "URL", $help, |s| shown(s.hooks.$field.as_ref()), |h, text| {
            h.$field = optional(text)?;
            Ok(())
        })
    };
}

/// The settings of hooks, in the order of `--help`.
pub(super) const KEYS: &[Key] = &[
    endpoint!(
        "hook-connect",
        connect,
        "Endpoint that is asked about clients that connect without a token"
    ),
    endpoint!(
        "hook-refresh",
        refresh,
        "Endpoint that is asked about clients whose time is nearly over"
    ),
    endpoint!(
        "hook-subscribe",
        subscribe,
        "Endpoint for subscriptions, in namespaces with subscribe_hook = \"on\""
    ),
    endpoint!(
        "hook-sub-refresh",
        sub_refresh,
        "Endpoint for subscriptions that end soon, in namespaces with sub_refresh_hook = \"on\""
    ),
    endpoint!(
        "hook-publish",
        publish,
        "Endpoint for publications, in namespaces with publish_hook = \"on\""
    ),
    endpoint!("hook-rpc", rpc, "Endpoint that answers remote procedure calls of clients"),
    row!(
        "hook-timeout",
        "TIME",
        "The longest wait for an answer",
        |s| show_time(s.hooks.timeout),
        |h, text| {
            h.timeout = time(text, Duration::from_millis(10), TIMEOUT_MAX)?;
            Ok(())
        }
    ),
    row!(
        "hook-on-failure",
        "WHAT",
        "Without an answer: deny = refuse what was asked for, for now; allow = the rules of \
         channels alone decide",
        |s| if s.hooks.rules_decide { "allow" } else { "deny" }.into(),
        |h, text| {
            h.rules_decide = choice!(text, "deny" => false, "allow" => true)?;
            Ok(())
        }
    ),
    row!(
        "hook-concurrency",
        "N",
        "Questions at one endpoint at once",
        |s| s.hooks.concurrency.to_string(),
        |h, text| {
            h.concurrency = number(text, 1, 10_000)?;
            Ok(())
        }
    ),
    row!(
        "hook-breaker-failures",
        "N",
        "Failures in a row after which an endpoint is left alone for a while; 0 = never",
        |s| s.hooks.breaker_failures.to_string(),
        |h, text| {
            h.breaker_failures = number(text, 0, 1 << 20)?;
            Ok(())
        }
    ),
    row!(
        "hook-breaker-pause",
        "TIME",
        "Time for which it is left alone; then one question tries it",
        |s| show_time(s.hooks.breaker_pause),
        |h, text| {
            h.breaker_pause = time(text, Duration::from_millis(10), Duration::from_hours(1))?;
            Ok(())
        }
    ),
    row!(
        "hook-headers",
        "LIST",
        "Headers of a client's request that are passed on, such as Cookie, Authorization",
        |s| s.hooks.passed_headers.join(","),
        |h, text| {
            h.passed_headers = passed(text)?;
            Ok(())
        }
    ),
    row!(
        "hook-static-headers",
        "LIST",
        "Headers of every question: \"NAME: VALUE, NAME: VALUE\"",
        |s| show_fixed(&s.hooks.static_headers),
        |h, text| {
            h.static_headers = fixed(text)?;
            Ok(())
        }
    ),
    row!(
        "hook-meta",
        "BOOL",
        "The backend is told the meta of connections",
        |s| s.hooks.has_meta.to_string(),
        |h, text| {
            h.has_meta = read_switch(text)?;
            Ok(())
        }
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_and_headers_are_checked() {
        for wrong in ["", "/x", "ftp://h/", "grpc://h", "http://u:p@h/", "http:///x"] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
        assert!(endpoint("http://10.0.0.7:3000/x").is_ok() && endpoint("https://h").is_ok());
        for wrong in ["a b", "Host", "content-type", "X\u{e9}"] {
            assert!(passed(wrong).is_err(), "{wrong}");
        }
        assert_eq!(passed("Cookie, X-A,cookie").unwrap(), ["cookie".into(), "x-a".into()]);
        for wrong in ["secret", "a b: c", "Host: x", "X: \u{7}"] {
            let why = fixed(wrong).unwrap_err();
            assert!(!why.contains("secret"), "a value is not quoted: {why}");
        }
        assert_eq!(show_fixed(&fixed("X-Key: secret, Y:z").unwrap()), "x-key: ***, y: ***");
    }

    #[test]
    fn a_hook_is_off_on_or_a_url() {
        for (text, shown) in
            [("", "off"), ("Off", "off"), ("on", "on"), ("http://h/x", "http://h/x")]
        {
            assert_eq!(show_hook(&read_hook(text).unwrap()), shown);
        }
        assert!(read_hook("sometimes").unwrap_err().ends_with("or off, on"));
        let hooks = Hooks::default();
        let asking = ChannelRules { publish_hook: Hook::On, ..ChannelRules::open("x") };
        assert!(
            hooks.check(&asking).unwrap_err().starts_with("publish-hook is on and hook-publish")
        );
        let hooks = Hooks { publish: Some("http://h".parse().unwrap()), ..hooks };
        assert!(hooks.check(&asking).is_ok() && hooks.oddity(Duration::from_secs(1)).is_none());
        let hooks = Hooks { connect: Some("http://h".parse().unwrap()), ..hooks };
        assert!(hooks.oddity(Duration::from_secs(1)).is_some());
        assert!(hooks.oddity(Duration::from_secs(2)).is_none());
    }
}
