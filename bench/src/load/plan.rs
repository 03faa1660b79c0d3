//! What is asked for, as typed, and how the threads share it.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::message::Template;
use super::worker::{Job, Mode};
use crate::frame;
use crate::swarm::Request;
use crate::units;
use crate::url::Url;

use super::stamp::STAMP_BYTES;

/// The most places of all clients and publishers together that one thread keeps: half a gigabyte.
const PLACES_MAX: usize = 32 << 20;

/// A load, as asked for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    /// Where the server is: ws://host:port/path?query.
    #[arg(value_parser = Url::read)]
    pub(crate) url: Url,
    /// Clients that listen.
    #[arg(short = 'c', long = "clients", value_name = "N", default_value = "1000", value_parser = units::count)]
    pub(crate) clients: usize,
    /// Clients among them that publish.
    #[arg(short = 'P', long, value_name = "N", default_value = "1", value_parser = units::count)]
    pub(crate) publishers: usize,
    /// Open loop: publications a second of all publishers together, such as 500/s.
    #[arg(short = 'r', long, value_name = "RATE", value_parser = units::rate, conflicts_with = "window")]
    pub(crate) rate: Option<f64>,
    /// Closed loop: messages of each publisher that may be under way; 1 if neither is given.
    #[arg(short = 'w', long, value_name = "N", value_parser = units::count)]
    pub(crate) window: Option<usize>,
    /// How long to measure.
    #[arg(short = 'd', long = "duration", value_name = "TIME", default_value = "10s", value_parser = units::time)]
    pub(crate) time: Duration,
    /// How long to work before measuring.
    #[arg(long = "warmup", value_name = "TIME", default_value = "2s", value_parser = units::time)]
    pub(crate) warm_up: Duration,
    /// Bytes of each message, 44 or more: it begins with its stamp.
    #[arg(long = "size", value_name = "BYTES", default_value = "128", value_parser = units::size)]
    pub(crate) bytes: usize,
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
    /// What a publication looks like to the server; $MSG stands for the message.
    #[arg(long, value_name = "TEXT", default_value = "$MSG", value_parser = Template::read)]
    pub(crate) message: Template,
    /// What each client sends when it is open; may be given several times.
    #[arg(long, value_name = "TEXT")]
    pub(crate) hello: Vec<String>,
    /// Address to connect from; may be given several times, and they are used in turn.
    #[arg(long, value_name = "IP")]
    pub(crate) source_ip: Vec<Ipv4Addr>,
    /// Process of the server on this host, for its CPU time and memory.
    #[arg(long, value_name = "PID")]
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

impl Plan {
    /// What makes no sense together.
    pub(crate) fn check(&self) -> Result<(), String> {
        let listeners = self.clients.div_ceil(self.threads.max(1));
        if self.clients == 0 || self.threads == 0 || self.publishers == 0 {
            return Err("a load needs at least one client, one publisher and one thread".into());
        }
        if self.publishers > self.clients || self.publishers > usize::from(u16::MAX) {
            let most = self.clients.min(usize::from(u16::MAX));
            return Err(format!("{} publishers of at most {most} clients", self.publishers));
        }
        if self.threads > self.clients {
            return Err(format!("{} threads for {} clients", self.threads, self.clients));
        }
        if self.bytes < STAMP_BYTES || self.bytes > frame::PAYLOAD_BYTES_MAX {
            let most = frame::PAYLOAD_BYTES_MAX;
            return Err(format!("messages are from {STAMP_BYTES} to {most} bytes long"));
        }
        if listeners * self.publishers > PLACES_MAX {
            return Err(format!(
                "{listeners} clients of a thread times {} publishers are too many to keep account \
                 of: more threads, or fewer publishers",
                self.publishers
            ));
        }
        if self.time < Duration::from_millis(100) {
            return Err("a run lasts at least 100 ms".into());
        }
        if self.window == Some(0) || self.window.is_some_and(|window| window > 4096) {
            return Err("a window is from 1 to 4096 messages".into());
        }
        Ok(())
    }

    pub(crate) fn mode(&self) -> Mode {
        match self.rate {
            Some(rate) => Mode::Open { rate },
            None => Mode::Closed { window: u32::try_from(self.window.unwrap_or(1)).unwrap_or(1) },
        }
    }

    /// Each thread's share. Publishers are dealt out like cards.
    pub(super) fn jobs(&self) -> Result<Vec<Job>, String> {
        let request = self.request()?;
        // Of the run's own choices this is the only one: by it two runs at once tell their messages
        // apart.
        let mixed = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(std::process::id());
        let run = u16::try_from(mixed >> 16 & 0xffff).unwrap_or(0);
        let part = self.clients / self.threads;
        let rest = self.clients % self.threads;
        let threads = u32::try_from(self.threads).unwrap_or(1);
        Ok((0..self.threads)
            .map(|thread| Job {
                thread,
                core: (!self.cores.is_empty()).then(|| self.cores[thread % self.cores.len()]),
                request: Request { first: thread * part + rest.min(thread), ..request.clone() },
                clients: part + usize::from(thread < rest),
                publishers: (thread..self.publishers).step_by(self.threads).collect(),
                publishers_in_all: self.publishers,
                ramp: self.ramp.map(|ramp| ramp / f64::from(threads)),
                template: self.message.clone(),
                bytes: self.bytes,
                mode: self.mode(),
                warm_up: self.warm_up,
                time: self.time,
                run,
            })
            .collect())
    }

    fn request(&self) -> Result<Request, String> {
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
            sources: self.source_ip.clone(),
            ..Request::plain(server, &self.url.target)
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        plan: Plan,
    }

    fn plan(line: &str) -> Plan {
        let words = std::iter::once("x").chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).plan
    }

    #[test]
    fn clients_and_publishers_are_dealt_out() {
        let jobs = plan("127.0.0.1:9001 -c 10 -P 5 --threads 3 -r 30/s --core 1").jobs().unwrap();
        let clients: Vec<_> = jobs.iter().map(|job| (job.request.first, job.clients)).collect();
        assert_eq!(clients, [(0, 4), (4, 3), (7, 3)]);
        let publishers: Vec<_> = jobs.iter().map(|job| job.publishers.clone()).collect();
        assert_eq!(publishers, [vec![0, 3], vec![1, 4], vec![2]]);
        assert!(jobs.iter().all(|job| job.core == Some(1)));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (line, word) in [
            ("x:1 -c 0", "at least one"),
            ("x:1 -c 5 -P 6", "6 publishers"),
            ("x:1 --size 10", "from 44"),
            ("x:1 -c 1 --threads 2", "2 threads"),
            ("x:1 -c 1M -P 60k", "too many"),
            ("x:1 -d 0", "100 ms"),
            ("x:1 -w 9999", "window"),
        ] {
            let error = plan(line).check().unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
        assert_eq!(plan("x:1 -c 10k -r 500/s -d 30s --warmup 5s --size 128").check(), Ok(()));
        assert!(header("no colon").is_err() && header("a: b\r\nc: d").is_err());
    }
}
