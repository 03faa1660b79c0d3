//! Where a load goes, and with how many clients: what all commands that connect have in common.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;

use serde::{Deserialize, Serialize};
use stentor_units::Url;

use super::message::Template;
use super::sampler::Origin;
use super::spoken::DialectFlags;
use crate::coordination::{AgentShare, Agents};
use crate::dialect::Dialect;
use crate::frame;
use crate::run::Target;
use crate::swarm::{Answer, CHANNEL, Ramp, Request};
use crate::tls::{self, Secure, Transport};
use crate::units;

/// The server, and who connects to it.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// Where the server is: ws://host:port/path?query, or wss://.
    #[arg(value_parser = Url::read)]
    pub(crate) url: Url,
    /// Clients that listen.
    #[arg(
        short = 'c', long = "clients", value_name = "N", default_value = "1000",
        value_parser = units::count
    )]
    pub(crate) clients: usize,
    /// Channels that the clients are divided into, all of one length.
    #[arg(skip)]
    pub(crate) channels: Option<usize>,
    /// Connect so many clients a second, such as 1k/s; all at once if not given.
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    pub(crate) ramp: Option<f64>,
    /// Threads of the generator, each with its share of the clients.
    #[arg(long, value_name = "N", default_value = "1", value_parser = units::count)]
    pub(crate) threads: usize,
    /// The core of each thread, in turn: --core 1 --core 2.
    #[arg(long = "core", value_name = "CORE")]
    pub(crate) cores: Vec<usize>,
    /// A header of the upgrade request: -H 'Authorization: Bearer x'.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<String>,
    /// Offer permessage-deflate, and inflate what comes.
    #[arg(long)]
    pub(crate) compression: bool,
    /// The Origin header.
    #[arg(long)]
    pub(crate) origin: Option<String>,
    /// The subprotocol to ask for.
    #[arg(long)]
    pub(crate) subprotocol: Option<String>,
    #[command(flatten)]
    #[serde(default)]
    pub(crate) spoken: DialectFlags,
    #[command(flatten)]
    pub(crate) protocol: ProtocolFlags,
    #[command(flatten)]
    pub(crate) tls: tls::Flags,
    /// Address to connect from; may be given several times, and they are used in turn.
    #[arg(long, value_name = "IP")]
    pub(crate) source_ip: Vec<Ipv4Addr>,
    /// Process of the server on this host, for its CPU time and memory.
    #[arg(long, value_name = "PID")]
    #[serde(skip)]
    pub(crate) server_pid: Option<u32>,
    #[arg(skip)]
    #[serde(skip)]
    pub(crate) server_origin: Origin,
    /// Number from which the run's own choices follow.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The name of this run in charts and tables.
    #[arg(long, default_value = "")]
    pub(crate) label: String,
    /// Say nothing while it runs.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// A bar instead of the live view, where there is a terminal.
    #[arg(long)]
    #[serde(skip)]
    pub(crate) no_tui: bool,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) agents: Agents,
    /// The part of the load that this process drives.
    #[arg(skip)]
    #[serde(skip)]
    pub(crate) agent_share: AgentShare,
}

/// The protocol within the frames, beside the messages that are measured.
#[derive(Debug, Clone, Default, clap::Args, Serialize, Deserialize)]
pub(crate) struct ProtocolFlags {
    /// Text that each client sends after its 101; may be given several times.
    #[arg(long, value_name = "TEXT")]
    pub(crate) hello: Vec<String>,
    /// A client counts as connected only when a message has this in it.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) ready: String,
    /// Reply to messages that are WHAT, or as *WHAT* have it in them; may be given several times.
    #[arg(long = "answer", value_name = "WHAT=REPLY")]
    pub(crate) answers: Vec<String>,
    /// Speak in binary frames.
    #[arg(long)]
    pub(crate) binary: bool,
}

impl ProtocolFlags {
    /// The kind of frame that everything is said in.
    pub(super) fn opcode(&self) -> u8 {
        if self.binary { frame::BINARY } else { frame::TEXT }
    }

    /// Returns `true` if some of it was typed.
    fn is_typed(&self) -> bool {
        let Self { hello, ready, answers, binary } = self;
        !(hello.is_empty() && ready.is_empty() && answers.is_empty()) || *binary
    }

    fn answers(&self) -> Result<Vec<Answer>, String> {
        self.answers.iter().map(|text| Answer::read(text, self.opcode())).collect()
    }
}

fn header(text: &str) -> Result<String, String> {
    let named = text.split_once(':').filter(|(name, _)| !name.trim().is_empty());
    match named {
        Some(_) if text.chars().any(char::is_control) => {
            Err(format!("{text:?} has a control character in it"))
        }
        Some(_) => Ok(text.to_owned()),
        None => Err(format!("{text:?} is not NAME: VALUE")),
    }
}

impl Setup {
    /// Returns an error for flags that contradict each other.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.agents.check()?;
        if self.clients == 0 || self.threads == 0 {
            return Err("at least one client and one thread".into());
        }
        let threads = self.threads.saturating_mul(self.agents.count().max(self.agent_share.agents));
        if threads > self.clients {
            return Err(format!("{threads} threads for {} clients", self.clients));
        }
        if let Some(channels) = self.channels.filter(|channels| threads > *channels) {
            return Err(format!(
                "{threads} threads for {channels} channels: each is of one thread"
            ));
        }
        self.protocol.answers()?;
        self.spoken.check(self.subprotocol.is_some() || self.protocol.is_typed())?;
        match (self.transport(), self.tls.transport) {
            (Transport::Tcp, _) if !self.tls.is_silent() => {
                Err("--insecure, --ca and --tls-resume are for wss:// URLs".into())
            }
            (Transport::Tls, Some(Transport::Tcp)) => {
                Err(format!("{} is reached within TLS, not as tcp", self.url))
            }
            _ => self.secure(1).map(|_| ()),
        }
    }

    fn transport(&self) -> Transport {
        let tls = self.url.tls || self.tls.transport == Some(Transport::Tls);
        if tls { Transport::Tls } else { Transport::Tcp }
    }

    fn secure(&self, clients: usize) -> Result<Option<Secure>, String> {
        let tls = self.transport() == Transport::Tls;
        tls.then(|| self.tls.secure(&self.url.host, clients)).transpose()
    }

    /// How many threads there are to see, of this process or of those that work for it.
    pub(super) fn threads_shown(&self) -> usize {
        self.threads * self.agents.count().max(1)
    }

    /// How many threads work in all agents.
    pub(crate) fn threads_in_all(&self) -> usize {
        self.threads * self.agent_share.agents
    }

    /// A thread's number among all of them.
    pub(super) fn place(&self, thread: usize) -> usize {
        self.agent_share.agent * self.threads + thread
    }

    /// Returns the clients of a thread, by their numbers in the whole run.
    pub(super) fn clients_of(&self, thread: usize) -> Range<usize> {
        let (threads, place) = (self.threads_in_all(), self.place(thread));
        // Channels stay whole: all clients of one are a thread's.
        let whole = self.channels.unwrap_or(self.clients);
        let each = self.clients / whole.max(1);
        let (part, rest) = (whole / threads, whole % threads);
        let first = place * part + rest.min(place);
        first * each..(first + part + usize::from(place < rest)) * each
    }

    /// Returns the channels of a thread, where there are any.
    pub(super) fn channels_of(&self, thread: usize) -> Option<Range<usize>> {
        let members = (self.clients / self.channels?.max(1)).max(1);
        let clients = self.clients_of(thread);
        Some(clients.start / members..clients.end / members)
    }

    /// Returns `true` if clients ask for a channel by its number.
    pub(super) fn asks_for_channels(&self) -> bool {
        let ProtocolFlags { hello, ready, .. } = &self.protocol;
        let (target, named) = (&self.url.target, self.spoken.channel(false));
        let texts = hello.iter().chain(&self.headers).chain([ready, target, &named]);
        texts.into_iter().any(|text| text.contains(CHANNEL))
    }

    /// The core that a thread runs on, if any is named.
    pub(super) fn core(&self, thread: usize) -> Option<usize> {
        let turn = self.agent_share.cores_taken + thread;
        (!self.cores.is_empty()).then(|| self.cores[turn % self.cores.len()])
    }

    /// Returns the server as records name it.
    pub(super) fn target(&self) -> Target {
        Target {
            url: self.url.to_string(),
            transport: match self.transport() {
                Transport::Tcp => "tcp".to_owned(),
                Transport::Tls => "tls".to_owned(),
            },
            dialect: match (self.spoken.dialect, &self.subprotocol) {
                (Dialect::Plain, Some(subprotocol)) => subprotocol.clone(),
                (dialect, _) => dialect.name().to_owned(),
            },
        }
    }

    /// A thread's part of the ramp: all threads' clients come in one even row.
    pub(super) fn pace(&self, thread: usize) -> Option<Ramp> {
        self.ramp.map(|rate| Ramp::new(rate, self.place(thread), self.threads_in_all()))
    }

    /// Returns the address at which the server answers: all clients of a run connect to the same.
    pub(super) fn server(&self) -> Result<SocketAddr, String> {
        self.whole_url().reach()
    }

    fn whole_url(&self) -> Url {
        let tls = self.transport() == Transport::Tls;
        if tls { self.url.within_tls() } else { self.url.clone() }
    }

    /// Returns the form of a publication, where `typed` is that of `--message`.
    pub(super) fn template(&self, typed: &Template) -> Result<Template, String> {
        let place = (&self.url, self.channels.is_some());
        self.spoken.template(typed, self.protocol.opcode(), place)
    }

    /// Returns the request of a worker's clients.
    pub(super) fn request(&self, thread: usize, server: SocketAddr) -> Result<Request, String> {
        let DialectFlags { dialect, client_token, .. } = &self.spoken;
        let several = self.channels.is_some();
        let target = self.spoken.target(&self.url, several);
        let request = Request {
            dialect: *dialect,
            channel: self.spoken.channel(several),
            token: client_token.clone().unwrap_or_default(),
            app: self.spoken.app(&self.url),
            ..self.request_for(thread, server, &target)?
        };
        let subprotocol = dialect.subprotocol().or(self.subprotocol.as_deref());
        // One that begins at a place of its own begins there again.
        let recovers = dialect.recovers(subprotocol) && !request.target.contains("since=");
        let request = Request { recovers, ..request };
        match dialect {
            Dialect::Sse => Ok(request),
            _ => self.upgrade(request, subprotocol),
        }
    }

    /// Returns the request of publishers that do not speak where they listen, if there are any.
    pub(super) fn speakers(
        &self,
        thread: usize,
        server: SocketAddr,
    ) -> Result<Option<Request>, String> {
        let Some(target) = self.spoken.publishers_target(&self.url) else { return Ok(None) };
        let app = self.spoken.app(&self.url);
        let dialect = if app.is_some() { self.spoken.dialect } else { Dialect::Plain };
        let request = Request {
            base: self.clients_of(thread).len(),
            dialect,
            channel: self.spoken.channel(self.channels.is_some()),
            app,
            ..self.request_for(thread, server, &target)?
        };
        let subprotocol = self.spoken.publishers_subprotocol().or(self.subprotocol.as_deref());
        self.upgrade(request, subprotocol).map(Some)
    }

    /// Adds what a WebSocket's request says, and the words that follow it.
    fn upgrade(&self, request: Request, subprotocol: Option<&str>) -> Result<Request, String> {
        let mut headers = request.headers;
        if let Some(protocol) = subprotocol {
            headers.push_str("Sec-WebSocket-Protocol: ");
            headers.push_str(protocol);
            headers.push_str("\r\n");
        }
        if self.compression {
            headers.push_str("Sec-WebSocket-Extensions: permessage-deflate\r\n");
        }
        Ok(Request {
            headers,
            hello: self.protocol.hello.clone(),
            opcode: self.protocol.opcode(),
            ready: self.protocol.ready.clone(),
            answers: self.protocol.answers()?,
            ..request
        })
    }

    /// Returns the part of a request that is the same for whatever is asked for.
    fn request_for(
        &self,
        thread: usize,
        server: SocketAddr,
        target: &str,
    ) -> Result<Request, String> {
        let origin = self.origin.iter().map(|origin| format!("Origin: {origin}"));
        let lines = self.headers.iter().cloned().chain(origin);
        let clients = self.clients_of(thread);
        let tls = self.secure(clients.len())?;
        Ok(Request {
            tls,
            host: self.whole_url().authority(),
            headers: lines.map(|line| line + "\r\n").collect(),
            first: clients.start,
            channels: self.channels_of(thread),
            sources: self.source_ip.clone(),
            ..Request::plain(server, target)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_lines() {
        assert!(header("Authorization: Bearer x").is_ok());
        assert!(header("no colon").is_err() && header("a: b\r\nc: d").is_err());
    }
}
