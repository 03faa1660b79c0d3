//! What is asked for, as typed, and how the threads share it.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stentor_units::Url;

use super::absence::Reconnect;
use super::aim::{Aim, Speech};
use super::crew::{Scene, Times};
use super::job::{Job, Mode};
use super::message::Template;
use super::stamp::STAMP_BYTES;
use crate::frame;
use crate::tls;
use crate::units;

/// The most places of all clients and publishers together that one thread keeps: half a gigabyte.
const PLACES_MAX: usize = 32 << 20;

/// The most clients that are heard before what is due is said: a quarter of a millisecond.
const AT_ONCE_MAX: usize = 64;

/// A load, as asked for.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) aim: Aim,
    /// Clients among them that publish.
    #[arg(short = 'P', long, value_name = "N", default_value = "1", value_parser = units::count)]
    pub(crate) publishers: usize,
    #[command(flatten)]
    pub(crate) talk: Talk,
    #[command(flatten)]
    pub(crate) reconnect: Reconnect,
    #[arg(skip)]
    pub(crate) hears: Hears,
}

/// Who waits for a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Hears {
    /// Every client.
    #[default]
    All,
    /// The client that said it.
    Own,
}

/// What is said, how often, and for how long.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct Talk {
    /// Open loop: messages a second of all publishers together, such as 500/s.
    #[arg(
        short = 'r', long, value_name = "RATE",
        value_parser = units::rate, conflicts_with = "window"
    )]
    pub(crate) rate: Option<f64>,
    /// Closed loop: messages of each publisher that may be under way; 1 if neither is given.
    #[arg(short = 'w', long, value_name = "N", value_parser = units::count)]
    pub(crate) window: Option<usize>,
    /// How long to measure.
    #[arg(
        short = 'd', long = "duration", value_name = "TIME", default_value = "10s",
        value_parser = units::time
    )]
    pub(crate) time: Duration,
    /// How long to work before measuring.
    #[arg(long = "warmup", value_name = "TIME", default_value = "2s", value_parser = units::time)]
    pub(crate) warm_up: Duration,
    /// Bytes of each message, 48 or more: it begins with its stamp.
    #[arg(long = "size", value_name = "BYTES", default_value = "128", value_parser = units::size)]
    pub(crate) bytes: usize,
    /// What a publication looks like to the server; $MSG stands for the message, $LEN for the
    /// number of its bytes and $N for that of the client.
    #[arg(long, value_name = "TEXT", default_value = "$MSG", value_parser = Template::read)]
    pub(crate) message: Template,
}

impl Talk {
    /// What makes no sense together.
    fn check(&self) -> Result<(), String> {
        if self.bytes < STAMP_BYTES || self.bytes > frame::PAYLOAD_BYTES_MAX {
            let most = frame::PAYLOAD_BYTES_MAX;
            return Err(format!("messages are from {STAMP_BYTES} to {most} bytes long"));
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
}

impl Plan {
    /// What makes no sense together.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.aim.check()?;
        let agents = self.aim.agents.count().max(self.aim.part.agents);
        let listeners = self.aim.clients.div_ceil(self.aim.threads * agents);
        if self.publishers == 0 {
            return Err("a load needs at least one publisher".into());
        }
        if self.publishers > self.aim.clients {
            return Err(format!("{} publishers of {} clients", self.publishers, self.aim.clients));
        }
        if self.hears == Hears::All && listeners * self.publishers > PLACES_MAX {
            return Err(format!(
                "{listeners} clients of a thread times {} publishers are too many to keep account \
                 of: more threads, or fewer publishers",
                self.publishers
            ));
        }
        self.talk.check()
    }

    /// The same load against another server, which passes messages on as they are.
    pub(crate) fn against(&self, address: SocketAddr, pid: u32) -> Result<Self, String> {
        Ok(Self {
            aim: Aim {
                url: Url::read(&format!("ws://{address}/ws"))?,
                server_pid: Some(pid),
                tls: tls::Flags::default(),
                speech: Speech::default(),
                subprotocol: None,
                label: "bare loop".to_owned(),
                ..self.aim.clone()
            },
            talk: Talk { message: Template::read("$MSG")?, ..self.talk.clone() },
            ..self.clone()
        })
    }

    /// How many clients a thread hears before it says what is due. In echoes what is heard makes
    /// the next message due: a small part of all that is under way keeps the rest under way.
    fn at_once(&self) -> usize {
        let under_way = self.publishers / self.aim.threads_in_all() * self.talk.window.unwrap_or(1);
        match self.hears {
            Hears::All => AT_ONCE_MAX,
            Hears::Own => (under_way / 16).clamp(1, AT_ONCE_MAX),
        }
    }

    /// What is to be seen of it.
    pub(super) fn scene(&self) -> Scene {
        let clients = self.aim.clients;
        let (command, unit, hearers) = match self.hears {
            Hears::All => ("fanout", "deliveries", clients),
            Hears::Own => ("echo", "echoes", 1),
        };
        Scene { command, unit, asked: clients, hearers, threads: self.aim.threads_shown() }
    }

    pub(super) fn times(&self) -> Times {
        Times { warm_up: self.talk.warm_up, time: Some(self.talk.time) }
    }

    /// What tells this run's messages from those of others.
    pub(crate) fn run_mark(&self) -> u16 {
        // Of the run's own choices this is the only one: by it two runs at once tell their messages
        // apart.
        let mixed =
            self.aim.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(std::process::id());
        u16::try_from(mixed >> 16 & 0xffff).unwrap_or(0)
    }

    /// Each thread's share. Publishers are dealt out like cards.
    pub(super) fn jobs(&self) -> Result<Vec<Job>, String> {
        let aim = &self.aim;
        let threads = aim.threads_in_all();
        let run = aim.part.run.unwrap_or_else(|| self.run_mark());
        let server = aim.server()?;
        let job = |thread| -> Result<Job, String> {
            Ok(Job {
                request: aim.request(thread, server)?,
                clients: aim.share(thread).1,
                publishers: (aim.place(thread)..self.publishers).step_by(threads).collect(),
                publishers_in_all: self.publishers,
                ramp: aim.pace(thread),
                template: self.talk.message.in_frames(aim.speech.opcode()),
                bytes: self.talk.bytes,
                mode: self.talk.mode(),
                at_once: self.at_once(),
                backoff: self.reconnect.backoff(),
                seed: aim.seed,
                run,
            })
        };
        (0..aim.threads).map(job).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::agents::Part;

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
        let jobs = plan("127.0.0.1:9001 -c 10 -P 5 --threads 3 -r 30/s").jobs().unwrap();
        let clients: Vec<_> = jobs.iter().map(|job| (job.request.first, job.clients)).collect();
        assert_eq!(clients, [(0, 4), (4, 3), (7, 3)]);
        let publishers: Vec<_> = jobs.iter().map(|job| job.publishers.clone()).collect();
        assert_eq!(publishers, [vec![0, 3], vec![1, 4], vec![2]]);
    }

    #[test]
    fn who_hears_itself_is_answered_while_most_is_under_way() {
        let at_once = |line: &str, hears| {
            let plan = plan(line);
            let publishers = plan.aim.clients;
            Plan { publishers, hears, ..plan }.jobs().unwrap()[0].at_once
        };
        assert_eq!(at_once("127.0.0.1:1 -c 20 -w 4", Hears::Own), 5);
        assert_eq!(at_once("127.0.0.1:1 -c 20 -w 4 --threads 2", Hears::Own), 2);
        assert_eq!(at_once("127.0.0.1:1 -c 1", Hears::Own), 1);
        assert_eq!(at_once("127.0.0.1:1 -c 10k", Hears::Own), AT_ONCE_MAX);
        assert_eq!(at_once("127.0.0.1:1 -c 20 -w 4", Hears::All), AT_ONCE_MAX);
    }

    #[test]
    fn agents_are_told_all_that_was_typed() {
        for line in [
            "x:1",
            "wss://x/a?b=c -c 10k -P 5 -r 0.3/s -d 30s --warmup 5s --size 128 --threads 3 --core 1 \
             --ramp 1k/s -H a:b --origin o --subprotocol s --hello one --hello two --ready r \
             --answer PING=PONG --binary --source-ip 127.0.0.9 --seed 7 --label l --insecure",
            "x:1 -w 16 --message {$N:$MSG} --reconnect --backoff 1s..9s",
        ] {
            let plan = plan(line);
            let told: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
            assert_eq!(format!("{told:?}"), format!("{plan:?}"));
        }
    }

    /// Two agents of two threads deal out what four threads of one process would have.
    #[test]
    fn parts_make_up_the_whole() {
        let typed = "127.0.0.1:9001 -c 11 -P 6 --ramp 4/s --core 5 --core 6";
        let shares = |plan: &Plan| -> Vec<_> {
            let jobs = plan.jobs().unwrap();
            jobs.into_iter()
                .map(|job| (job.request.first, job.clients, job.publishers, job.ramp))
                .collect()
        };
        let whole = shares(&plan(&format!("{typed} --threads 4")));
        let part = |agent| {
            let mut plan = plan(&format!("{typed} --threads 2"));
            let part = Part { agent, agents: 2, cores_taken: agent, ..Part::default() };
            plan.aim.part = part;
            plan
        };
        assert_eq!([shares(&part(0)), shares(&part(1))].concat(), whole);
        let cores = [0, 1].map(|agent| part(agent).aim.core(0));
        assert_eq!(cores, [Some(5), Some(6)], "the second of a host goes on with its cores");
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (line, word) in [
            ("x:1 -c 0", "at least one"),
            ("x:1 -c 5 -P 6", "6 publishers"),
            ("x:1 --size 10", "from 48"),
            ("x:1 -c 1 --threads 2", "2 threads"),
            ("x:1 -c 1M -P 60k", "too many"),
            ("x:1 -d 0", "100 ms"),
            ("x:1 -w 9999", "window"),
        ] {
            let error = plan(line).check().unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
        assert_eq!(plan("x:1 -c 10k -r 500/s -d 30s --warmup 5s --size 128").check(), Ok(()));
    }
}
