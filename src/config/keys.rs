//! Every setting once: its name, its group in `--help`, its meaning, and the functions that read
//! and show it.

use std::fmt::Display;
use std::time::Duration;

use stentor_shards::{DuplicateUser, ForwardedHeader, JoinMessages, ProxyProtocol, Ring};

use stentor_units::quantity::show_size;
use stentor_units::time::show as show_time;

use super::listen::address;
use super::peers::{origins, proxies, show_origins, show_proxies};
use super::units::{read_cores, read_switch, show_cores};
use super::{LogFormat, Settings, apps, channels, engine, events, hooks, tls, tokens, unix};

/// One setting.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) group: &'static str,
    pub(crate) value: &'static str,
    pub(crate) help: &'static str,
    /// Not to be shown.
    pub(crate) secret: bool,
    pub(crate) get: fn(&Settings) -> String,
    pub(crate) set: fn(&mut Settings, &str) -> Result<(), String>,
}

/// All settings, in the order of `--help`.
pub(crate) fn all() -> impl Iterator<Item = &'static Key> {
    KEYS.iter()
        .chain(channels::KEYS)
        .chain(channels::MARKS)
        .chain(tls::KEYS)
        .chain(tokens::KEYS)
        .chain(hooks::KEYS)
        .chain(events::KEYS)
        .chain(apps::KEYS)
        .chain(engine::KEYS)
}

/// Finds a key by its name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
}

/// The key whose name is most like `name`, if any is like it at all.
pub(crate) fn nearest(name: &str) -> Option<&'static Key> {
    let like = |key: &Key| strsim::jaro_winkler(key.name, name);
    all().max_by(|a, b| like(a).total_cmp(&like(b))).filter(|key| like(key) > 0.8)
}

/// The key that `name` was most likely meant to be: a letter off, words in another order, or a key
/// with words behind it.
pub(crate) fn mistyped(name: &str) -> Option<&'static Key> {
    let is_meant = |key: &&Key| {
        let distance = strsim::osa_distance(key.name, name);
        let begins = name.strip_prefix(key.name).is_some_and(|rest| rest.starts_with('-'));
        distance <= (key.name.len() / 4).max(1) || sorted(key.name) == sorted(name) || begins
    };
    let like = |key: &Key| strsim::jaro_winkler(key.name, name);
    all().filter(is_meant).max_by(|a, b| like(a).total_cmp(&like(b)))
}

fn sorted(name: &str) -> Vec<&str> {
    let mut words: Vec<&str> = name.split('-').collect();
    words.sort_unstable();
    words
}

/// A count, such as 10k, from `min` to `max`.
pub(super) fn number<T>(text: &str, min: T, max: T) -> Result<T, String>
where
    T: TryFrom<u64> + PartialOrd + Display + Copy,
{
    let value = stentor_units::count(text)?;
    between(T::try_from(value).map_err(|_| format!("{text} is more than {max}"))?, min, max, text)
}

fn between<T: PartialOrd + Display>(value: T, min: T, max: T, text: &str) -> Result<T, String> {
    if value < min {
        Err(format!("{text} is less than {min}"))
    } else if value > max {
        Err(format!("{text} is more than {max}"))
    } else {
        Ok(value)
    }
}

pub(super) fn size(text: &str, min: usize, max: usize) -> Result<usize, String> {
    let value = usize::try_from(stentor_units::size(text)?).unwrap_or(usize::MAX);
    let wrong = |bound, word| Err(format!("{text} is {word} than {}", show_size(bound as u64)));
    match value {
        _ if value < min => wrong(min, "less"),
        _ if value > max => wrong(max, "more"),
        _ => Ok(value),
    }
}

pub(super) fn time(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let value = stentor_units::time(text)?;
    if value < min {
        Err(format!("{text} is less than {}", show_time(min)))
    } else if value > max {
        Err(format!("{text} is more than {}", show_time(max)))
    } else {
        Ok(value)
    }
}

/// A size of either of the types that sizes have.
pub(super) fn show_bytes(bytes: impl TryInto<u64>) -> String {
    show_size(bytes.try_into().unwrap_or(u64::MAX))
}

const MS: fn(u64) -> Duration = Duration::from_millis;
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const GIB: usize = 1 << 30;

/// Names a choice by its word, in any case.
macro_rules! choice {
    ($text:expr, $($word:literal => $value:expr),+ $(,)?) => {
        match $text.to_ascii_lowercase().as_str() {
            $($word => Ok($value),)+
            other => Err(format!(concat!("{:?} is none of", $(" ", $word),+), other)),
        }
    };
}
pub(super) use choice;

/// One row of the table.
macro_rules! key {
    ($group:literal, $name:literal, $value:literal, $help:literal, $get:expr, $set:expr) => {
        Key {
            name: $name,
            group: $group,
            value: $value,
            help: $help,
            secret: false,
            get: $get,
            set: $set,
        }
    };
}

/// A row for a time of the shards' configuration.
macro_rules! time_key {
    ($group:literal, $name:literal, $field:ident, $min:expr, $help:literal) => {
        key!($group, $name, "TIME", $help, |s| show_time(s.shards.$field), |s, text| {
            s.shards.$field = time(text, $min, DAY)?;
            Ok(())
        })
    };
}

/// A row for a size in bytes of the shards' configuration.
macro_rules! size_key {
    ($group:literal, $name:literal, $field:ident, $min:expr, $max:expr, $help:literal) => {
        key!($group, $name, "BYTES", $help, |s| show_bytes(s.shards.$field), |s, text| {
            s.shards.$field = size(text, $min, $max)?.try_into().map_err(|_| "too large")?;
            Ok(())
        })
    };
}

/// A row for a count of the shards' configuration.
macro_rules! count_key {
    ($group:literal, $name:literal, $field:ident, $min:expr, $max:expr, $help:literal) => {
        key!($group, $name, "N", $help, |s| s.shards.$field.to_string(), |s, text| {
            s.shards.$field = number(text, $min, $max)?;
            Ok(())
        })
    };
}

/// A row for a switch of the shards' configuration.
macro_rules! switch_key {
    ($group:literal, $name:literal, $field:ident, $help:literal) => {
        key!($group, $name, "BOOL", $help, |s| s.shards.$field.to_string(), |s, text| {
            s.shards.$field = read_switch(text)?;
            Ok(())
        })
    };
}

/// The settings that need no file of their own.
#[rustfmt::skip]
const KEYS: &[Key] = &[
    key!("Listening", "listen", "ADDR", "Address for clients, the page and health: 127.0.0.1:9001, localhost:9001, or :9001 for all of this host; unix:/run/stentor.sock or unix:@NAME for a proxy on it",
        |s| s.unix.as_ref().map_or_else(|| s.shards.listen.to_string(), ToString::to_string),
        |s, text| {
            s.unix = text.strip_prefix("unix:").map(unix::name).transpose()?;
            if s.unix.is_none() { s.shards.listen = address(text)?; }
            Ok(())
        }),
    key!("Listening", "unix-mode", "MODE", "Mode of the Unix socket's file; a user who may write to it may connect", |s| format!("{:04o}", s.unix_mode),
        |s, text| { s.unix_mode = unix::mode(text)?; Ok(()) }),
    key!("Listening", "unix-owner", "USER:GROUP", "Owner of the Unix socket's file, by names or numbers: user, user:group or :group",
        |s| s.unix_owner.as_ref().map(|owner| owner.text.clone()).unwrap_or_default(),
        |s, text| { s.unix_owner = unix::owner(text)?; Ok(()) }),
    key!("Listening", "shards", "N", "Shards; default one for each allowed core, or as many as a CPU quota keeps busy",
        |s| s.shard_count.map(|count| count.to_string()).unwrap_or_default(),
        |s, text| { s.shard_count = Some(number(text, 1, 64)?); Ok(()) }),
    key!("Listening", "cores", "LIST", "Cores of the shards, such as 0,2-5; default all allowed", |s| show_cores(&s.cores),
        |s, text| { s.cores = read_cores(text)?; Ok(()) }),
    key!("Listening", "ring", "HOW", "Where idle shards sleep: auto = io_uring, or epoll where that is blocked; required = io_uring; off = epoll",
        |s| match s.shards.ring { Ring::Auto => "auto", Ring::Required => "required", Ring::Off => "off" }.into(),
        |s, text| {
            s.shards.ring = choice!(text, "auto" => Ring::Auto, "required" => Ring::Required, "off" => Ring::Off)?;
            Ok(())
        }),
    count_key!("Listening", "backlog", backlog, 1, 1 << 20, "Accept queue of each shard; the kernel caps it at somaxconn"),
    switch_key!("Listening", "steer-by-core", steer_by_core, "Let the kernel choose the shard of the core on which a connection arrives"),
    key!("Listening", "allowed-origins", "LIST", "Origins of browsers: same-host, * for any, or a list beside the same host, such as https://*.example.org,null",
        |s| show_origins(&s.shards.origins),
        |s, text| { s.shards.origins = origins(text)?; Ok(()) }),

    key!("Behind proxies", "path-prefix", "PATH", "Path under which a proxy shows this server, such as /chat; paths without it work as well",
        |s| s.shards.path_prefix.to_string(),
        |s, text| { stentor_shards::check_path_prefix(text)?; s.shards.path_prefix = text.into(); Ok(()) }),
    key!("Behind proxies", "trusted-proxies", "LIST", "Networks of proxies that are believed when they name a client, such as 10.0.0.0/8,::1; unix for a Unix socket",
        |s| show_proxies(&s.shards.trusted_proxies),
        |s, text| { s.shards.trusted_proxies = proxies(text)?; Ok(()) }),
    key!("Behind proxies", "forwarded-header", "NAME", "Header in which trusted proxies name the client: x-forwarded-for or forwarded; the other one is not read",
        |s| s.shards.forwarded_header.name().into(),
        |s, text| {
            s.shards.forwarded_header = choice!(text, "x-forwarded-for" => ForwardedHeader::XForwardedFor, "forwarded" => ForwardedHeader::Forwarded)?;
            Ok(())
        }),
    key!("Behind proxies", "proxy-protocol", "HOW", "PROXY protocol, version 1 or 2, of trusted proxies: off, optional or required",
        |s| match s.shards.proxy_protocol {
            ProxyProtocol::Off => "off", ProxyProtocol::Optional => "optional", ProxyProtocol::Required => "required",
        }.into(),
        |s, text| {
            s.shards.proxy_protocol = choice!(text, "off" => ProxyProtocol::Off, "optional" => ProxyProtocol::Optional, "required" => ProxyProtocol::Required)?;
            Ok(())
        }),

    key!("Clients and heartbeats", "default-channel", "NAME", "Channel of plain clients that name none", |s| s.shards.default_channel.to_string(),
        |s, text| {
            if text.is_empty() || text.chars().any(char::is_control) { return Err("not a name".into()); }
            s.shards.default_channel = text.into();
            Ok(())
        }),
    key!("Clients and heartbeats", "personal-channel", "PREFIX", "Put each user into a channel named by this and its name, such as # or news:#",
        |s| s.shards.personal_channel.to_string(),
        |s, text| {
            if text.chars().any(char::is_control) { return Err("not a part of a name".into()); }
            s.shards.personal_channel = text.into();
            Ok(())
        }),
    switch_key!("Clients and heartbeats", "require-user", require_user, "Refuse clients that name no user"),
    key!("Clients and heartbeats", "on-duplicate-user", "RULE", "Effect of a second client of a user: replace, refuse or allow",
        |s| match s.shards.duplicate_user {
            DuplicateUser::Replace => "replace", DuplicateUser::Refuse => "refuse", DuplicateUser::Allow => "allow",
        }.into(),
        |s, text| {
            s.shards.duplicate_user = choice!(text, "replace" => DuplicateUser::Replace, "refuse" => DuplicateUser::Refuse, "allow" => DuplicateUser::Allow)?;
            Ok(())
        }),
    time_key!("Clients and heartbeats", "ping-interval", ping_interval, Duration::ZERO, "Time between two pings of a client; 0 = never"),
    time_key!("Clients and heartbeats", "pong-timeout", pong_timeout, MS(100), "Close a client that is silent for this long after a ping"),
    switch_key!("Clients and heartbeats", "text-ping", text_ping, "Answer text `ping` and {\"heartbeat\":true} of plain clients"),
    switch_key!("Clients and heartbeats", "trim-text", trim_text, "Turn line breaks in plain text into spaces and trim its ends"),
    key!("Clients and heartbeats", "join-messages", "HOW", "Join a tick's texts for plain clients: none or newline; ?join= overrides it",
        |s| match s.shards.join_messages { JoinMessages::None => "none", JoinMessages::Newline => "newline" }.into(),
        |s, text| {
            s.shards.join_messages = choice!(text, "none" => JoinMessages::None, "newline" => JoinMessages::Newline)?;
            Ok(())
        }),
    key!("Clients and heartbeats", "compression", "HOW", "Compression of messages to clients that can read it: off, on (each by itself) or shared (by those before it)",
        |s| channels::show_compression(s.shards.compression).into(),
        |s, text| { s.shards.compression = channels::read_compression(text)?; Ok(()) }),

    key!("Slow clients", "slow-clients", "RULE", "Treatment of a client whose outbox is full: disconnect, drop or conflate",
        |s| channels::show_slow(s.shards.slow_clients).into(),
        |s, text| { s.shards.slow_clients = channels::read_slow(text)?; Ok(()) }),
    size_key!("Slow clients", "outbox-bytes", outbox_bytes, 1024, GIB, "Bytes that may wait for one client"),
    size_key!("Slow clients", "outbox-total-bytes", outbox_total_bytes, 1024, 1024 * GIB, "Bytes that may wait for all clients of a shard together; beyond it the slowest are closed"),
    time_key!("Slow clients", "write-timeout", write_timeout, MS(100), "Close a client whose outbox has not moved for this long"),
    size_key!("Slow clients", "send-buffer-bytes", send_buffer_bytes, 0, GIB, "SO_SNDBUF of clients; 0 = the kernel's choice"),
    size_key!("Slow clients", "receive-buffer-bytes", receive_buffer_bytes, 0, GIB, "SO_RCVBUF of clients; 0 = the kernel's choice"),

    size_key!("Limits", "message-bytes", message_bytes, 1, GIB, "Largest message from a client, in bytes"),
    size_key!("Limits", "head-bytes", head_bytes, 256, 1 << 20, "Largest request head, in bytes"),
    time_key!("Limits", "handshake-timeout", handshake_timeout, MS(100), "Time that a handshake may take"),
    count_key!("Limits", "max-clients", clients, 1, usize::MAX, "Most clients of the process"),
    count_key!("Limits", "max-clients-per-shard", clients_per_shard, 1, 1 << 30, "Most clients of one shard"),
    count_key!("Limits", "max-clients-per-ip", clients_per_ip, 0, u32::MAX, "Most clients of one address; 0 = no limit"),
    count_key!("Limits", "ipv6-prefix", ipv6_prefix, 0, 128, "Length of the IPv6 prefix that counts as one address for max-clients-per-ip"),
    count_key!("Limits", "messages-per-second", messages_per_second, 0, 1 << 24, "Messages a second from one client; 0 = no limit"),
    size_key!("Limits", "bytes-per-second", bytes_per_second, 0, GIB, "Bytes a second from one client; 0 = no limit"),
    count_key!("Limits", "name-bytes", name_bytes, 1, 1024, "Longest name of a channel or a user, in bytes"),
    count_key!("Limits", "channels-per-client", channels_per_client, 1, 1 << 16, "Most channels of one client"),
    count_key!("Limits", "channels-per-shard", channels_per_shard, 1, 1 << 26, "Most channels that one shard knows"),
    count_key!("Limits", "presence-names", presence_names, 1, 10_000, "Members of a channel that presence names; above it watchers hear counts"),
    size_key!("Limits", "history-total-bytes", history_total_bytes, 0, 1024 * GIB, "Most bytes that a shard keeps as history, of all channels together"),
    count_key!("Limits", "errors-max", errors_max, 1, 1 << 16, "Errors that a JSON client may make; one per second is forgiven"),
    count_key!("Limits", "lane-parcels", lane_parcels, 1, 1 << 20, "Parcels in each lane between shards"),
    size_key!("Limits", "read-buffer-bytes", read_buffer_bytes, 1024, 64 << 20, "Buffer into which a shard reads its sockets"),
    key!("Limits", "history-file", "DIR", "Folder of a file in which histories outlive the process; written once a minute and at the end",
        |s| s.history_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        |s, text| {
            if text.is_empty() { return Err("it is empty".into()); }
            s.history_file = Some(text.into());
            Ok(())
        }),

    time_key!("Lifecycle", "drain-spread", drain_spread, Duration::ZERO, "Time over which a drain spreads its closes"),
    time_key!("Lifecycle", "drain-timeout", drain_timeout, Duration::ZERO, "Time for which a drain waits for outboxes after that"),
    key!("Lifecycle", "take-over", "HOW", "Take the place of the process that serves the address, and yield it to the next: true, false = share the port, or force = also end a process that does not answer",
        |s| if s.take_over_is_forced { "force".into() } else { s.take_over.to_string() },
        |s, text| {
            s.take_over_is_forced = text.eq_ignore_ascii_case("force");
            s.take_over = s.take_over_is_forced || read_switch(text).map_err(|why| format!("{why} nor force"))?;
            Ok(())
        }),
    key!("Lifecycle", "take-over-settle", "TIME", "Time for which a process that has taken over yields to no other; 0 = it yields at once",
        |s| show_time(s.take_over_settle), |s, text| { s.take_over_settle = time(text, Duration::ZERO, HOUR)?; Ok(()) }),
    key!("Lifecycle", "relieved-exit-code", "CODE", "Exit code of a process that another one has taken over from",
        |s| s.relieved_exit_code.to_string(), |s, text| { s.relieved_exit_code = number(text, 0, 125)?; Ok(()) }),
    key!("Lifecycle", "drain-delay", "TIME", "Time for which the server goes on serving after SIGTERM, with /ready at 503, before it drains",
        |s| show_time(s.drain_delay), |s, text| { s.drain_delay = time(text, Duration::ZERO, HOUR)?; Ok(()) }),
    time_key!("Lifecycle", "close-timeout", close_timeout, MS(100), "Time in which a client must answer a close frame"),
    time_key!("Lifecycle", "accept-pause", accept_pause, MS(1), "Pause of accepting when no descriptor is free"),

    key!("Control plane", "admin", "ADDR", "Address of the admin API and metrics, or off",
        |s| s.admin.map_or_else(|| "off".into(), |admin| admin.to_string()),
        |s, text| { s.admin = if text.eq_ignore_ascii_case("off") { None } else { Some(address(text)?) }; Ok(()) }),
    key!("Control plane", "public-api", "true|false", "Serve the API at the clients' address too, under /api; it asks for the key there",
        |s| s.public_api.to_string(), |s, text| { s.public_api = read_switch(text)?; Ok(()) }),
    Key { name: "api-key", group: "Control plane", value: "KEY", help: "Key that /api/* asks for in X-API-Key", secret: true,
        // A key from a file is shown as that file.
        get: |s| if s.api_key_file.is_none() { s.api_key.clone().unwrap_or_default() } else { String::new() },
        set: |s, text| {
            super::secret::check(text)?;
            s.api_key = Some(text.into());
            Ok(())
        } },

    key!("Control plane", "api-key-file", "FILE", "File that holds this key and nothing else",
        |s| s.api_key_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        |s, text| {
            if text.is_empty() { return Err("it is empty".into()); }
            s.api_key_file = Some(text.into());
            Ok(())
        }),
    Key { name: "api-read-key", group: "Control plane", value: "KEY", help: "Second key for /api/*, which reads and changes nothing, such as for the dashboard", secret: true,
        get: |s| if s.api_read_key_file.is_none() { s.api_read_key.clone().unwrap_or_default() } else { String::new() },
        set: |s, text| {
            super::secret::check(text)?;
            s.api_read_key = Some(text.into());
            Ok(())
        } },
    key!("Control plane", "api-read-key-file", "FILE", "File that holds this key and nothing else",
        |s| s.api_read_key_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        |s, text| {
            if text.is_empty() { return Err("it is empty".into()); }
            s.api_read_key_file = Some(text.into());
            Ok(())
        }),

    key!("Logging", "log-format", "HOW", "human, json, or auto: human on a terminal",
        |s| match s.log_format { LogFormat::Auto => "auto", LogFormat::Human => "human", LogFormat::Json => "json" }.into(),
        |s, text| {
            s.log_format = choice!(text, "auto" => LogFormat::Auto, "human" => LogFormat::Human, "json" => LogFormat::Json)?;
            Ok(())
        }),
    key!("Logging", "log-level", "LEVEL", "error, warn, info, debug or trace", |s| s.log_level.clone(),
        |s, text| {
            s.log_level = choice!(text, "error" => "error", "warn" => "warn", "info" => "info", "debug" => "debug", "trace" => "trace")?.into();
            Ok(())
        }),
];
