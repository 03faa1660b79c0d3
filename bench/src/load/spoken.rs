//! The flags that name the protocol of clients and server, and what follows from them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use stentor_units::Url;

use super::message::Template;
use crate::dialect::Dialect;
use crate::frame;

/// The channel where none is named, and what tells channels or clients apart in it.
const CHANNEL: &str = "bench";

/// The namespace of an app where none is named.
const NAMESPACE: &str = "bench";

/// Bytes that stand in other forms in a query: all but these and letters and digits. `$` begins a
/// placeholder.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'$')
    .remove(b':')
    .remove(b'/');

/// The protocol of clients and server, by its name.
#[derive(Debug, Clone, Default, clap::Args, Serialize, Deserialize)]
pub(crate) struct DialectFlags {
    /// The protocol that clients speak.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) dialect: Dialect,
    /// The channel of --dialect; if not given it is bench, or bench$C where there are several.
    #[arg(long, value_name = "NAME")]
    pub(super) channel: Option<String>,
    /// The token of each client's connect in Centrifugo's protocol.
    #[arg(long, value_name = "TOKEN")]
    pub(super) client_token: Option<String>,
    /// With --dialect sse: the path and query at which publishers connect by WebSocket. What they
    /// say is then told by --message and the flags beside it; if not given, they speak stentor.v1.
    #[arg(long, value_name = "TARGET", value_parser = target)]
    pub(super) publish_at: Option<String>,
    /// With --dialect pusher: the namespace that the app shares with the publishers.
    #[arg(long, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// With --dialect pusher: the secret of the app. Clients subscribe to a private channel with
    /// it, and publishers are clients as well, which send events: so any server can be measured.
    #[arg(long, value_name = "TEXT")]
    pub(super) app_secret: Option<String>,
}

fn target(text: &str) -> Result<String, String> {
    let valid = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    if valid { Ok(text.to_owned()) } else { Err(format!("{text:?} is not a path such as /ws")) }
}

impl DialectFlags {
    /// Returns an error for flags that contradict each other. `typed` are those that say the same
    /// for protocols without a name.
    pub(super) fn check(&self, typed: bool) -> Result<(), String> {
        let Self { dialect, channel, client_token, publish_at, namespace, app_secret } = self;
        if channel.is_some() && *dialect == Dialect::Plain {
            return Err("--channel goes with --dialect; others name it in their URL".into());
        }
        if client_token.is_some() && !dialect.has_tokens() {
            return Err("--client-token is for Centrifugo's protocol; others have -H".into());
        }
        if namespace.is_some() && *dialect != Dialect::Pusher {
            return Err("--namespace is for --dialect pusher".into());
        }
        if app_secret.is_some() && (*dialect != Dialect::Pusher || namespace.is_some()) {
            return Err("--app-secret is for --dialect pusher, without --namespace".into());
        }
        if app_secret.is_some() && channel.as_ref().is_some_and(|name| !is_private(name)) {
            return Err("with --app-secret the --channel begins with private-".into());
        }
        if publish_at.is_some() && *dialect != Dialect::Sse {
            return Err("--publish-at is for --dialect sse".into());
        }
        if typed && *dialect != Dialect::Plain && publish_at.is_none() {
            let name = dialect.name();
            return Err(format!(
                "--dialect {name} says by itself what --subprotocol, --hello, --ready, --answer, \
                 --binary and --message say"
            ));
        }
        Ok(())
    }

    /// Returns the channel, in which `$C` and `$N` may stand.
    pub(super) fn channel(&self, several: bool) -> String {
        let kind = if self.app_secret.is_some() { "private-" } else { "" };
        let own =
            || if several { format!("{kind}{CHANNEL}$C") } else { format!("{kind}{CHANNEL}") };
        self.channel.clone().unwrap_or_else(own)
    }

    /// The same where each client hears itself alone: it has a channel of its own.
    pub(super) fn of_each(&self) -> Self {
        let named = self.dialect != Dialect::Plain;
        let own = || named.then(|| format!("{CHANNEL}$N"));
        Self { channel: self.channel.clone().or_else(own), ..self.clone() }
    }

    /// Returns path and query of the clients' requests.
    pub(super) fn target(&self, url: &Url, several: bool) -> String {
        let Some(path) = self.dialect.path() else { return url.target.clone() };
        let text = url.to_string();
        let at = text.split_once("://").map_or(text.as_str(), |(_, rest)| rest);
        let has_path = at.find(['/', '?']).is_some_and(|begin| begin + 1 < at.len());
        let target = if has_path { url.target.clone() } else { path.to_owned() };
        if self.dialect != Dialect::Sse || channel_in(&target).is_some() {
            return target;
        }
        let joint = if target.contains('?') { '&' } else { '?' };
        format!("{target}{joint}channel={}", encoded(&self.channel(several)))
    }

    /// Returns path and query at which publishers connect that do not speak where they listen.
    pub(super) fn publishers_target(&self, url: &Url) -> Option<String> {
        if !self.dialect.only_listens() {
            return None;
        }
        if self.app_secret.is_some() {
            return Some(self.target(url, false));
        }
        if self.dialect == Dialect::Pusher {
            return Some("/ws".to_owned());
        }
        Some(self.publish_at.clone().unwrap_or_else(|| {
            let target = self.target(url, false);
            let path = target.split('?').next().unwrap_or_default();
            format!("{}/ws", path.strip_suffix("/sse").unwrap_or_default())
        }))
    }

    /// Returns the subprotocol of these publishers, if none is typed.
    pub(super) fn publishers_subprotocol(&self) -> Option<&'static str> {
        let is_beside = self.publish_at.is_none() && self.app_secret.is_none();
        is_beside.then_some("stentor.v1")
    }

    /// Returns the key and the secret of the app for which clients sign.
    pub(super) fn app(&self, url: &Url) -> Option<(String, String)> {
        let secret = self.app_secret.clone()?;
        let target = self.target(url, false);
        let path = target.split('?').next().unwrap_or_default();
        let key = path.rsplit_once("/app/").map_or("", |(_, key)| key);
        Some((key.to_owned(), secret))
    }

    /// Returns the form of a publication, where `typed` is that of `--message` and `opcode` that of
    /// its frames.
    pub(super) fn template(
        &self,
        typed: &Template,
        opcode: u8,
        (url, several): (&Url, bool),
    ) -> Result<Template, String> {
        let channel = self.channel(several);
        match self.dialect {
            Dialect::Plain => Ok(typed.in_frames(opcode)),
            Dialect::Sse if self.publish_at.is_some() => Ok(typed.in_frames(opcode)),
            Dialect::Centrifugo => Template::read(&self.dialect.publication(&channel)),
            Dialect::CentrifugoProtobuf => {
                Ok(Template::protobuf(&channel).in_frames(frame::BINARY))
            }
            Dialect::Pusher if self.app_secret.is_some() => {
                Template::read(&Dialect::client_event(&channel))
            }
            Dialect::Pusher => {
                let namespace = self.namespace.as_deref().unwrap_or(NAMESPACE);
                Template::read(&self.dialect.publication(&format!("{namespace}:{channel}")))
            }
            Dialect::Sse => {
                let target = self.target(url, several);
                let channel = channel_in(&target).map_or(channel, decoded);
                Template::read(&self.dialect.publication(&channel))
            }
        }
    }
}

/// Returns `true` for a channel in which clients of Pusher's protocol may send events.
fn is_private(channel: &str) -> bool {
    channel.starts_with("private-") && !channel.starts_with("private-encrypted-")
}

/// Returns the value of the parameter `channel`, as it stands there.
fn channel_in(target: &str) -> Option<&str> {
    let (_, query) = target.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix("channel="))
}

/// A text as it may stand in a query; placeholders stay.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string()
}

/// The text that stands in a query in this form.
fn decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(dialect: Dialect) -> DialectFlags {
        DialectFlags { dialect, ..DialectFlags::default() }
    }

    #[test]
    fn each_dialect_has_its_path() {
        for (dialect, text, target) in [
            (Dialect::Plain, "h:1", "/ws"),
            (Dialect::Centrifugo, "h:1", "/connection/websocket"),
            (Dialect::CentrifugoProtobuf, "ws://h:1/", "/connection/websocket"),
            (Dialect::Centrifugo, "ws://h:1/other?a=b", "/other?a=b"),
            (Dialect::Centrifugo, "ws://h:1/ws", "/ws"),
            (Dialect::Pusher, "h:1", "/app/bench?protocol=7&client=bench&version=1"),
            (Dialect::Pusher, "ws://h:1/app/k?protocol=7", "/app/k?protocol=7"),
            (Dialect::Sse, "http://h:1", "/sse?channel=bench"),
            (Dialect::Sse, "http://h:1/live/sse?token=t", "/live/sse?token=t&channel=bench"),
            (Dialect::Sse, "http://h:1/sse?channel=a%20b", "/sse?channel=a%20b"),
        ] {
            let url = Url::read(text).unwrap();
            assert_eq!(flags(dialect).target(&url, false), target, "{text}");
        }
        let url = Url::read("h:1").unwrap();
        assert_eq!(flags(Dialect::Sse).target(&url, true), "/sse?channel=bench$C");
        let named = DialectFlags { channel: Some("a&b".to_owned()), ..flags(Dialect::Sse) };
        assert_eq!(named.target(&url, false), "/sse?channel=a%26b");
    }

    #[test]
    fn publishers_of_events_speak_beside_them() {
        let url = Url::read("http://h:1/live/sse?channel=a%20b").unwrap();
        let sse = flags(Dialect::Sse);
        assert_eq!(sse.publishers_target(&url).as_deref(), Some("/live/ws"));
        assert_eq!(flags(Dialect::Centrifugo).publishers_target(&url), None);
        let typed = Template::read("$MSG").unwrap();
        let template = sse.template(&typed, frame::TEXT, (&url, false)).unwrap();
        let expected = r#"{"type":"publish","channel":"a b","body":"$MSG"}"#;
        assert_eq!(template, Template::read(expected).unwrap());
        let pusher = DialectFlags { namespace: Some("shop".into()), ..flags(Dialect::Pusher) };
        assert_eq!(pusher.publishers_target(&url).as_deref(), Some("/ws"));
        let expected = r#"{"type":"publish","channel":"shop:bench","body":"$MSG"}"#;
        let template = pusher.template(&typed, frame::TEXT, (&url, false)).unwrap();
        assert_eq!(template, Template::read(expected).unwrap());
        // Any server of this protocol takes events of clients.
        let signed = DialectFlags { app_secret: Some("s".into()), ..flags(Dialect::Pusher) };
        let url = Url::read("ws://h:1/x/app/k?protocol=7").unwrap();
        assert_eq!(signed.app(&url), Some(("k".into(), "s".into())));
        assert_eq!(signed.publishers_target(&url).as_deref(), Some("/x/app/k?protocol=7"));
        assert_eq!(
            (signed.publishers_subprotocol(), &*signed.channel(false)),
            (None, "private-bench")
        );
        let expected = r#"{"event":"client-m","channel":"private-bench","data":"$MSG"}"#;
        let template = signed.template(&typed, frame::TEXT, (&url, false)).unwrap();
        assert_eq!(template, Template::read(expected).unwrap());
        let at = DialectFlags { publish_at: Some("/pub?id=1".to_owned()), ..sse };
        assert_eq!(at.publishers_target(&url).as_deref(), Some("/pub?id=1"));
        assert_eq!(at.template(&typed, frame::TEXT, (&url, false)).unwrap(), typed);
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        let wrong = |flags: DialectFlags, typed| flags.check(typed).unwrap_err();
        let (channel, token) = (Some("a".to_owned()), Some("t".to_owned()));
        let plain = flags(Dialect::Plain);
        assert!(plain.check(true).is_ok());
        assert!(wrong(DialectFlags { channel, ..plain.clone() }, false).contains("--channel"));
        let sse = flags(Dialect::Sse);
        let with = DialectFlags { client_token: token, ..sse.clone() };
        assert!(wrong(with, false).contains("--client-token"));
        assert!(wrong(sse.clone(), true).contains("--message"));
        let at = Some("/pub".to_owned());
        assert!(DialectFlags { publish_at: at.clone(), ..sse }.check(true).is_ok());
        assert!(wrong(flags(Dialect::Centrifugo), true).contains("--hello"));
        let namespace = Some("shop".to_owned());
        let with = DialectFlags { namespace, ..plain.clone() };
        assert!(wrong(with, false).contains("--namespace"));
        let secret = Some("s".to_owned());
        let with = DialectFlags { app_secret: secret.clone(), ..plain.clone() };
        assert!(wrong(with, false).contains("--app-secret"));
        let (pusher, public) = (flags(Dialect::Pusher), Some("bench".to_owned()));
        let with = DialectFlags { app_secret: secret, channel: public, ..pusher };
        assert!(wrong(with, false).contains("private-"));
        assert!(wrong(DialectFlags { publish_at: at, ..plain }, false).contains("sse"));
        assert!(target("ws").is_err() && target("/a b").is_err());
    }
}
