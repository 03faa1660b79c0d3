//! Where a load goes, and with how many clients: what all commands that connect have in common.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::agents::{Agents, Part};
use crate::frame;
use crate::run::Target;
use crate::swarm::Request;
use crate::units;
use crate::url::Url;

/// The server, and who connects to it.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct Aim {
    /// Where the server is: ws://host:port/path?query.
    #[arg(value_parser = Url::read)]
    pub(crate) url: Url,
    /// Clients that listen.
    #[arg(
        short = 'c', long = "clients", value_name = "N", default_value = "1000",
        value_parser = units::count
    )]
    pub(crate) clients: usize,
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
    /// The Origin header.
    #[arg(long)]
    pub(crate) origin: Option<String>,
    /// The subprotocol to ask for.
    #[arg(long)]
    pub(crate) subprotocol: Option<String>,
    /// What each client sends when it is open; may be given several times.
    #[arg(long, value_name = "TEXT")]
    pub(crate) hello: Vec<String>,
    /// Address to connect from; may be given several times, and they are used in turn.
    #[arg(long, value_name = "IP")]
    pub(crate) source_ip: Vec<Ipv4Addr>,
    /// Process of the server on this host, for its CPU time and memory.
    #[arg(long, value_name = "PID")]
    #[serde(skip)]
    pub(crate) server_pid: Option<u32>,
    /// Number from which the run's own choices follow.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// What charts and tables call this run.
    #[arg(long, default_value = "")]
    pub(crate) label: String,
    /// Say nothing while it runs.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) agents: Agents,
    /// What of it is this process's.
    #[arg(skip)]
    #[serde(skip)]
    pub(crate) part: Part,
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

impl Aim {
    /// What makes no sense together.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.agents.check()?;
        if self.clients == 0 || self.threads == 0 {
            return Err("at least one client and one thread".into());
        }
        let threads = self.threads.saturating_mul(self.agents.count().max(self.part.agents));
        if threads > self.clients {
            return Err(format!("{threads} threads for {} clients", self.clients));
        }
        Ok(())
    }

    /// How many threads work in all agents.
    pub(crate) fn threads_in_all(&self) -> usize {
        self.threads * self.part.agents
    }

    /// A thread's number among all of them.
    pub(super) fn place(&self, thread: usize) -> usize {
        self.part.agent * self.threads + thread
    }

    /// The first client of a thread's share, and how many they are.
    pub(super) fn share(&self, thread: usize) -> (usize, usize) {
        let (threads, place) = (self.threads_in_all(), self.place(thread));
        let (part, rest) = (self.clients / threads, self.clients % threads);
        (place * part + rest.min(place), part + usize::from(place < rest))
    }

    /// The core that a thread runs on, if any is named.
    pub(super) fn core(&self, thread: usize) -> Option<usize> {
        let turn = self.part.cores_taken + thread;
        (!self.cores.is_empty()).then(|| self.cores[turn % self.cores.len()])
    }

    /// What a record says of the server.
    pub(super) fn target(&self) -> Target {
        Target {
            url: self.url.to_string(),
            transport: "tcp".to_owned(),
            dialect: self.subprotocol.clone().unwrap_or_else(|| "plain".to_owned()),
        }
    }

    /// Each thread's part of the pace.
    pub(super) fn pace(&self) -> Option<f64> {
        let threads = u32::try_from(self.threads_in_all()).unwrap_or(1);
        self.ramp.map(|ramp| ramp / f64::from(threads))
    }

    /// What each client of a thread asks for.
    pub(super) fn request(&self, thread: usize) -> Result<Request, String> {
        let mut headers = String::new();
        let put = |headers: &mut String, line: &str| {
            headers.push_str(line);
            headers.push_str("\r\n");
        };
        for header in &self.headers {
            put(&mut headers, header);
        }
        if let Some(origin) = &self.origin {
            put(&mut headers, &format!("Origin: {origin}"));
        }
        if let Some(protocol) = &self.subprotocol {
            put(&mut headers, &format!("Sec-WebSocket-Protocol: {protocol}"));
        }
        let mut hello = Vec::new();
        for text in &self.hello {
            frame::put_masked(&mut hello, frame::TEXT, text.as_bytes());
        }
        let server = self.url.resolve()?;
        Ok(Request {
            host: self.url.authority(),
            headers,
            hello,
            first: self.share(thread).0,
            sources: self.source_ip.clone(),
            ..Request::plain(server, &self.url.target)
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
