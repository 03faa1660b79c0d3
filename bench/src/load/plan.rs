//! A load of messages as asked for, and the share of each worker.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stentor_units::Url;

use super::absence::Reconnect;
use super::audience::Audience;
use super::message::Template;
use super::outline::{Outline, Schedule};
use super::sampler::Origin;
use super::setup::{ProtocolFlags, Setup};
use super::sizes::Sizes;
use super::spoken::DialectFlags;
use super::stamp::STAMP_BYTES;
use super::worker_task::{Mode, WorkerTask};
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
    pub(crate) setup: Setup,
    /// Clients among them that publish; with --channels those of each channel.
    #[arg(short = 'P', long, value_name = "N", default_value = "1", value_parser = units::count)]
    pub(crate) publishers: usize,
    #[command(flatten)]
    pub(crate) traffic: Traffic,
    #[command(flatten)]
    pub(crate) audience: Audience,
    #[command(flatten)]
    pub(crate) reconnect: Reconnect,
    #[arg(skip)]
    pub(crate) hears: Hears,
}

/// The clients that wait for a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Hears {
    /// Every client.
    #[default]
    All,
    /// The client that said it.
    Own,
    /// The clients of the channel of the client that said it.
    Channel,
    /// The client that it is for.
    One,
}

/// The messages, their rate or window, and the time.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct Traffic {
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
    /// Bytes of each message, 48 or more: it begins with its stamp. Several lengths make a mix,
    /// such as 64,1k:0.2,16k:5%, where a length without a share has an equal part of the rest.
    #[arg(
        long = "size", visible_alias = "bytes", value_name = "BYTES", default_value = "128",
        value_parser = Sizes::read
    )]
    pub(crate) sizes: Sizes,
    /// The form of a publication for the server; $MSG stands for the message, $LEN for the
    /// number of its bytes, $N for that of the client, $C for its channel's, $TO for that of the
    /// client that it is for, and $ID for a number that the client gives no other publication.
    #[arg(long, value_name = "TEXT", default_value = "$MSG", value_parser = Template::read)]
    pub(crate) message: Template,
}

impl Traffic {
    /// Returns an error for flags that contradict each other.
    fn check(&self) -> Result<(), String> {
        let (least, greatest) = self.sizes.bounds();
        if least < STAMP_BYTES || greatest > frame::PAYLOAD_BYTES_MAX {
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
    /// Returns an error for flags that contradict each other.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.setup.check()?;
        self.setup.spoken.check(self.traffic.message.dialect().is_some())?;
        if self.setup.spoken.dialect.only_listens() && self.hears == Hears::Own {
            return Err("clients of this dialect hear, and do not speak: no echo".into());
        }
        let agents = self.setup.agents.count().max(self.setup.agent_share.agents);
        let listeners = self.setup.clients.div_ceil(self.setup.threads * agents);
        if self.publishers == 0 {
            return Err("a load needs at least one publisher".into());
        }
        if self.publishers > self.setup.clients {
            return Err(format!(
                "{} publishers of {} clients",
                self.publishers, self.setup.clients
            ));
        }
        let heard = match self.hears {
            Hears::Own => 0,
            Hears::All | Hears::One => self.publishers,
            Hears::Channel => self.publishers / self.setup.channels.unwrap_or(1),
        };
        if listeners.saturating_mul(heard) > PLACES_MAX {
            return Err(format!(
                "{listeners} clients of a thread times {heard} publishers are too many to keep \
                 account of: more threads, or fewer publishers"
            ));
        }
        self.traffic.check()
    }

    /// The same load against another server, which passes messages on as they are.
    pub(crate) fn against(&self, address: SocketAddr, pid: u32) -> Result<Self, String> {
        Ok(Self {
            setup: Setup {
                url: Url::read(&format!("ws://{address}/ws"))?,
                server_pid: Some(pid),
                server_origin: Origin::Own,
                tls: tls::Flags::default(),
                protocol: ProtocolFlags::default(),
                spoken: DialectFlags::default(),
                subprotocol: None,
                label: "bare loop".to_owned(),
                ..self.setup.clone()
            },
            traffic: Traffic { message: Template::read("$MSG")?, ..self.traffic.clone() },
            ..self.clone()
        })
    }

    /// How many clients a thread hears before it says what is due. In echoes what is heard makes
    /// the next message due: a small part of all that is under way keeps the rest under way.
    fn at_once(&self) -> usize {
        let under_way =
            self.publishers / self.setup.threads_in_all() * self.traffic.window.unwrap_or(1);
        match self.hears {
            Hears::All | Hears::Channel | Hears::One => AT_ONCE_MAX,
            Hears::Own => (under_way / 16).clamp(1, AT_ONCE_MAX),
        }
    }

    /// Returns the outline for the view.
    pub(super) fn outline(&self) -> Outline {
        let (command, unit) = match self.hears {
            Hears::All | Hears::Channel | Hears::One => ("fanout", "deliveries"),
            Hears::Own => ("echo", "echoes"),
        };
        let (asked, hearers) = (self.setup.clients, self.hearers());
        Outline { command, unit, asked, hearers, threads: self.setup.threads_shown() }
    }

    /// The clients that each message is for.
    pub(crate) fn hearers(&self) -> usize {
        match self.hears {
            Hears::All => self.setup.clients,
            Hears::Channel => self.setup.clients / self.setup.channels.unwrap_or(1).max(1),
            Hears::One | Hears::Own => 1,
        }
    }

    pub(crate) fn schedule(&self) -> Schedule {
        Schedule { warm_up: self.traffic.warm_up, time: Some(self.traffic.time) }
    }

    /// Returns the mark that tells this run's messages from those of others.
    pub(crate) fn run_mark(&self) -> u16 {
        // Of the run's own choices this is the only one: by it two runs at once tell their messages
        // apart.
        let mixed =
            self.setup.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(std::process::id());
        u16::try_from(mixed >> 16 & 0xffff).unwrap_or(0)
    }

    /// The numbers of a thread's publishers, which are dealt out like cards. Those of channels are
    /// where their channel is: the first of each, then the second of each.
    fn publishers_of(&self, thread: usize) -> Vec<usize> {
        let (setup, publishers) = (&self.setup, self.publishers);
        match (setup.channels, setup.channels_of(thread)) {
            (Some(channels), Some(own)) => (0..publishers / channels.max(1))
                .flat_map(|turn| own.clone().map(move |place| turn * channels + place))
                .collect(),
            _ => (setup.place(thread)..publishers).step_by(setup.threads_in_all()).collect(),
        }
    }

    /// Each thread's share.
    pub(crate) fn tasks(&self) -> Result<Vec<WorkerTask>, String> {
        let setup = &self.setup;
        let run = setup.agent_share.run.unwrap_or_else(|| self.run_mark());
        let server = setup.server()?;
        let task = |thread| -> Result<WorkerTask, String> {
            Ok(WorkerTask {
                request: setup
                    .request(thread, server)?
                    .recovering_if(self.reconnect.backoff().is_some()),
                clients: setup.clients_of(thread).len(),
                publishers: self.publishers_of(thread),
                publishers_in_all: self.publishers,
                ramp: setup.pace(thread),
                speakers: setup.speakers(thread, server)?,
                template: setup.template(&self.traffic.message)?,
                sizes: self.traffic.sizes.clone(),
                addressees: (self.hears == Hears::One).then_some(setup.clients),
                mode: self.traffic.mode(),
                at_once: self.at_once(),
                backoff: self.reconnect.backoff(),
                seed: setup.seed,
                run,
            })
        };
        (0..setup.threads).map(task).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::coordination::AgentShare;

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
        let tasks = plan("127.0.0.1:9001 -c 10 -P 5 --threads 3 -r 30/s").tasks().unwrap();
        let clients: Vec<_> = tasks.iter().map(|task| (task.request.first, task.clients)).collect();
        assert_eq!(clients, [(0, 4), (4, 3), (7, 3)]);
        let publishers: Vec<_> = tasks.iter().map(|task| task.publishers.clone()).collect();
        assert_eq!(publishers, [vec![0, 3], vec![1, 4], vec![2]]);
    }

    #[test]
    fn who_hears_itself_is_answered_while_most_is_under_way() {
        let at_once = |line: &str, hears| {
            let plan = plan(line);
            let publishers = plan.setup.clients;
            Plan { publishers, hears, ..plan }.tasks().unwrap()[0].at_once
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
            "x:1 --channels 5 --members 3 -P 2 --size 64,1k:0.2",
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
            let tasks = plan.tasks().unwrap();
            tasks
                .into_iter()
                .map(|task| (task.request.first, task.clients, task.publishers, task.ramp))
                .collect()
        };
        let whole = shares(&plan(&format!("{typed} --threads 4")));
        let part = |agent| {
            let mut plan = plan(&format!("{typed} --threads 2"));
            let part = AgentShare { agent, agents: 2, cores_taken: agent, ..AgentShare::default() };
            plan.setup.agent_share = part;
            plan
        };
        assert_eq!([shares(&part(0)), shares(&part(1))].concat(), whole);
        let cores = [0, 1].map(|agent| part(agent).setup.core(0));
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
