//! Settings in four layers: defaults, `stentor.toml`, `STENTOR_*`, flags. The later one wins, and
//! each is checked alike.

mod api_keys;
pub(crate) mod apps;
pub(crate) mod channels;
pub(crate) mod engine;
mod env;
pub(crate) mod events;
pub(crate) mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod hooks;
pub(crate) mod keys;
pub(crate) mod listen;
#[cfg(test)]
mod page;
mod peers;
pub(crate) mod secret;
pub(crate) mod show;
mod tables;
pub(crate) mod tls;
pub(crate) mod tokens;
mod unix;
pub(crate) mod units;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use stentor_shards::{Config, ProxyProtocol, UserFrom};

use apps::Apps;
use channels::Channels;
use engine::Engine;
use events::Events;
use hooks::Hooks;
use keys::Key;
use tls::Tls;
use tokens::Tokens;
pub(crate) use unix::{Owner, UnixName};

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    Auto,
    Human,
    Json,
}

/// Everything that can be set, checked and with its units resolved.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) shards: Config,
    /// The rules of channels as they were set; `shards` has them checked.
    pub(crate) channels: Channels,
    /// The Unix socket that clients come to, instead of the shards' address.
    pub(crate) unix: Option<UnixName>,
    /// The mode of its file.
    pub(crate) unix_mode: u32,
    pub(crate) unix_owner: Option<Owner>,
    /// The number of shards asked for; `None`: one for each core.
    pub(crate) shard_count: Option<usize>,
    /// The cores that were named; empty: all that are allowed.
    pub(crate) cores: Vec<usize>,
    /// `true` to take the place of the process that serves the address, and to yield it.
    pub(crate) take_over: bool,
    /// `true` to end a process that does not answer, and to serve in its place.
    pub(crate) take_over_is_forced: bool,
    /// The time for which a process that has taken over does not yield.
    pub(crate) take_over_settle: Duration,
    /// The exit code of a process that another one has taken over from.
    pub(crate) relieved_exit_code: u8,
    /// The time to go on serving after SIGTERM, with `/ready` at 503.
    pub(crate) drain_delay: Duration,
    /// The folder of the file in which histories outlive the process.
    pub(crate) history_file: Option<PathBuf>,
    pub(crate) admin: Option<SocketAddr>,
    /// The API stands at the clients' address as well.
    pub(crate) public_api: bool,
    pub(crate) api_key: Option<String>,
    /// The file that the key was read from.
    pub(crate) api_key_file: Option<PathBuf>,
    /// The key that reads and does nothing else.
    pub(crate) api_read_key: Option<String>,
    /// The file that it was read from.
    pub(crate) api_read_key_file: Option<PathBuf>,
    pub(crate) tokens: Tokens,
    pub(crate) hooks: Hooks,
    pub(crate) events: Events,
    pub(crate) tls: Tls,
    pub(crate) apps: Apps,
    pub(crate) engine: Engine,
    pub(crate) log_format: LogFormat,
    pub(crate) log_level: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shards: Config::with_cores(Vec::new()),
            channels: Channels::default(),
            unix: None,
            unix_mode: 0o660,
            unix_owner: None,
            shard_count: None,
            cores: Vec::new(),
            take_over: true,
            take_over_is_forced: false,
            take_over_settle: Duration::from_secs(30),
            relieved_exit_code: crate::exit::RELIEVED,
            drain_delay: Duration::ZERO,
            history_file: None,
            admin: Some(SocketAddr::from(([127, 0, 0, 1], 9002))),
            public_api: false,
            api_key: None,
            api_key_file: None,
            api_read_key: None,
            api_read_key_file: None,
            tokens: Tokens::default(),
            hooks: Hooks::default(),
            events: Events::default(),
            tls: Tls::default(),
            apps: Apps::default(),
            engine: Engine::default(),
            log_format: LogFormat::Auto,
            log_level: "info".into(),
        }
    }
}

impl Settings {
    /// Refuses an admin address that others can reach and that asks nobody for a key.
    ///
    /// # Errors
    /// One line that names the address.
    pub(crate) fn check_admin(&self, admin: SocketAddr) -> Result<(), Invalid> {
        let shows_certificate = self.tls.admin_ca.is_some();
        if self.api_key.is_some() || shows_certificate || admin.ip().is_loopback() {
            return Ok(());
        }
        Err(Invalid(format!(
            "admin is {admin}, which others can reach: set api-key, or use a loopback address, or \
             admin-tls-ca"
        )))
    }
}

/// Where the value of a key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    File,
    Environment,
    Flag,
}

/// A fault of the configuration, on one line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct Invalid(pub(crate) String);

/// The settings, and the source of every key that is not a default.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layered {
    pub(crate) settings: Settings,
    sources: BTreeMap<&'static str, Source>,
    /// Oddities that are no reason to stop.
    pub(crate) warnings: Vec<String>,
}

impl Layered {
    /// Builds the settings from all layers.
    ///
    /// # Errors
    /// The first value that cannot be read, with the place where it stands.
    pub(crate) fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (OsString, OsString)>,
        flags: &BTreeMap<&'static str, String>,
    ) -> Result<Self, Invalid> {
        let mut layered = Self::default();
        if let Some(path) = file {
            file::read(path, &mut layered)?;
        }
        env::lay(environment, &mut layered)?;
        for (name, value) in flags {
            let key = keys::find(name).ok_or_else(|| Invalid(format!("no key {name}")))?;
            layered.set(key, value, Source::Flag).map_err(|why| Invalid(format!("--{why}")))?;
        }
        layered.read_secrets()?;
        layered.check_together()?;
        layered.check_channels()?;
        Ok(layered)
    }

    /// Sets one key; the error names it.
    fn set(&mut self, key: &'static Key, value: &str, source: Source) -> Result<(), String> {
        (key.set)(&mut self.settings, value.trim())
            .map_err(|why| format!("{}: {why}", key.name))?;
        self.sources.insert(key.name, source);
        Ok(())
    }

    pub(crate) fn source(&self, key: &Key) -> Source {
        self.sources.get(key.name).copied().unwrap_or(Source::Default)
    }

    fn read_secrets(&mut self) -> Result<(), Invalid> {
        self.warnings.extend(self.settings.tokens.complete().map_err(Invalid)?);
        self.settings.shards.user_from = self.settings.tokens.user_from().map_err(Invalid)?;
        self.settings.complete_api_keys().map_err(Invalid)?;
        if self.settings.public_api && self.settings.api_key.is_none() {
            return Err(Invalid("public-api is on: set api-key, or anybody could publish".into()));
        }
        Ok(())
    }

    /// Checks the settings that depend on each other.
    fn check_together(&self) -> Result<(), Invalid> {
        let shards = &self.settings.shards;
        let fail = |text: String| Err(Invalid(text));
        self.settings.tls.check(shards.listen).map_err(Invalid)?;
        self.settings.engine.check(shards.name_bytes).map_err(Invalid)?;
        if self.settings.engine.is_on() && self.settings.history_file.is_some() {
            return fail("history-file and engine are both set: the engine keeps histories".into());
        }
        if shards.outbox_total_bytes < shards.outbox_bytes {
            return fail(format!(
                "outbox-total-bytes is {} and outbox-bytes {}: one outbox must fit into all",
                shards.outbox_total_bytes, shards.outbox_bytes
            ));
        }
        if shards.outbox_bytes < shards.message_bytes {
            return fail(format!(
                "outbox-bytes is {} and message-bytes {}: a message must fit into an outbox",
                shards.outbox_bytes, shards.message_bytes
            ));
        }
        if shards.default_channel.len() > shards.name_bytes {
            return fail("default-channel is longer than name-bytes".into());
        }
        if shards.proxy_protocol != ProxyProtocol::Off && shards.trusted_proxies.is_empty() {
            return fail(
                "proxy-protocol is on and trusted-proxies is empty: nobody would be believed; \
                 name the proxies, such as trusted-proxies 10.0.0.0/8"
                    .into(),
            );
        }
        if matches!(shards.user_from, UserFrom::Header(_)) && shards.trusted_proxies.is_empty() {
            return fail(
                "user-from is a header and trusted-proxies is empty: nobody would be believed; \
                 name the proxies, such as trusted-proxies 10.0.0.0/8"
                    .into(),
            );
        }
        self.settings.admin.map_or(Ok(()), |admin| self.settings.check_admin(admin))
    }
}

impl Layered {
    /// Checks the rules of channels, and warns of what others may do.
    fn check_channels(&mut self) -> Result<(), Invalid> {
        let settings = &mut self.settings;
        let rules = settings.channels.rules(&settings.shards).map_err(Invalid)?;
        let default_channel = &settings.shards.default_channel;
        if rules.of(default_channel).is_none() {
            return Err(Invalid(format!(
                "default-channel is {default_channel:?}, and its namespace is not configured"
            )));
        }
        let personal = &settings.shards.personal_channel;
        if !personal.is_empty() && !rules.is_of_one_user(&format!("{personal}x"), "x") {
            return Err(Invalid(format!(
                "personal-channel is {personal:?}: it ends with no user-boundary, or its namespace \
                 is not configured"
            )));
        }
        settings.shards.news = settings.events.kinds();
        self.warnings.extend(settings.hooks.oddity(settings.shards.handshake_timeout));
        settings.channels.check_hooks(&settings.hooks).map_err(Invalid)?;
        let rules = settings.apps.put_into(rules, &settings.shards).map_err(Invalid)?;
        settings.shards.rules = Arc::new(rules.with_hooks(settings.hooks.switches()));
        let listen = settings.shards.listen;
        if settings.unix.is_none()
            && !listen.ip().is_loopback()
            && let Some(open) = settings.channels.open_to_anyone()
        {
            self.warnings.push(format!(
                "listen is {listen}, which others can reach, and ANYONE MAY PUBLISH to {open}: \
                 publish = \"users\", \"subscribers\", \"token\" or \"nobody\" limits that"
            ));
        }
        Ok(())
    }
}

/// The variable of a key.
pub(crate) fn variable(name: &str) -> String {
    format!("STENTOR_{}", name.to_ascii_uppercase().replace('-', "_"))
}

fn hint(near: &str) -> String {
    if near.is_empty() { String::new() } else { format!("; did you mean {near}?") }
}

/// All keys, in the order in which people read them.
pub(crate) fn all_keys() -> impl Iterator<Item = &'static Key> {
    keys::all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(
        variables: &[(&str, &str)],
        flags: &[(&'static str, &str)],
    ) -> Result<Layered, Invalid> {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let flags = flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Layered::load(None, variables, &flags)
    }

    #[test]
    fn a_flag_beats_a_variable_and_a_variable_the_default() {
        let layered = load(
            &[
                ("STENTOR_PING_INTERVAL", "3s"),
                ("STENTOR_PONG_TIMEOUT", "2s"),
                ("STENTOR_BENCH_TOKEN", "of the load tool"),
                ("HOME", "/"),
            ],
            &[("ping-interval", "500ms")],
        )
        .unwrap();
        assert_eq!(layered.settings.shards.ping_interval, Duration::from_millis(500));
        assert_eq!(layered.settings.shards.pong_timeout, Duration::from_secs(2));
        assert_eq!(layered.settings.shards.write_timeout, Duration::from_secs(10));
        assert_eq!(layered.source(keys::find("pong-timeout").unwrap()), Source::Environment);
    }

    #[test]
    fn config_errors_name_the_key() {
        for (variables, flags, part) in [
            (vec![("STENTOR_PING_INTERVALL", "3s")], vec![], "did you mean STENTOR_PING_INTERVAL?"),
            (vec![], vec![("pong-timeout", "5ms")], "--pong-timeout: 5ms is less than 100ms"),
            (vec![], vec![("outbox-bytes", "2000")], "a message must fit into an outbox"),
            (vec![], vec![("admin", "0.0.0.0:9002")], "set api-key"),
            (vec![("STENTOR_LOG_LEVELS", "x")], vec![], "unknown variable STENTOR_LOG_LEVELS"),
            (vec![("STENTOR_API_KEY_FILE", "/nowhere")], vec![], "api-key-file: /nowhere: No such"),
            (
                vec![("STENTOR_API_KEY_FILE", "/nowhere"), ("STENTOR_API_KEY", "k")],
                vec![],
                "api-key and api-key-file are both set",
            ),
            (vec![], vec![("proxy-protocol", "required")], "trusted-proxies is empty"),
            (vec![], vec![("user-from", "header:X-User")], "trusted-proxies is empty"),
            (vec![], vec![("user-from", "header:a b")], "is no name of a header"),
            (vec![], vec![("user-from", "token")], "no key verifies one"),
            (vec![], vec![("user-from", "cookie")], "is none of auto url token header:NAME"),
            (vec![], vec![("allowed-origins", "https://a/,null")], "ends after host and port"),
            (vec![], vec![("trusted-proxies", "10.0.0.1/8")], "meant is 10.0.0.0/8"),
            (vec![("STENTOR_PATH_PREFIX", "/chat/")], vec![], "without a slash at its end"),
        ] {
            let error = load(&variables, &flags).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn every_key_reads_back_what_it_shows() {
        let settings = Settings::default();
        for key in all_keys() {
            let shown = (key.get)(&settings);
            let mut other = Settings::default();
            if !shown.is_empty() {
                (key.set)(&mut other, &shown).unwrap_or_else(|why| panic!("{}: {why}", key.name));
            }
            assert_eq!((key.get)(&other), shown, "{}", key.name);
        }
    }
}
