//! What the server's process and the host use while a load runs.

use std::time::Instant;
use std::{fs, io};

use crate::proc::{self, CpuTime, Memory};

#[derive(Debug, Clone)]
struct Look {
    at: Instant,
    server: Option<CpuTime>,
}

/// Looks at processes.
#[derive(Debug)]
pub(crate) struct Sampler {
    pid: Option<u32>,
    /// The server's process ended while it was looked at.
    pub(crate) gone: bool,
    before: Option<Memory>,
    pub(crate) memory: Option<Memory>,
    /// What the clients added to the server's private memory.
    pub(crate) clients_bytes: u64,
    first: Option<Look>,
    last: Option<Look>,
    end: Option<Look>,
    split: Option<(u64, u64)>,
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
    /// The server's share of a core in each second.
    pub(crate) seconds: Vec<Option<f64>>,
    steal: Option<(u64, u64)>,
    pub(crate) steal_share: f64,
    pub(crate) load: f64,
}

impl Sampler {
    /// Before anything is connected.
    pub(crate) fn new(pid: Option<u32>) -> io::Result<Self> {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Ok(Self {
            pid,
            gone: false,
            before: pid.map(Memory::of).transpose()?,
            memory: None,
            clients_bytes: 0,
            first: None,
            last: None,
            end: None,
            split: None,
            user_s: 0.0,
            system_s: 0.0,
            seconds: Vec::new(),
            steal: None,
            steal_share: 0.0,
            load: load.split_whitespace().next().and_then(|one| one.parse().ok()).unwrap_or(0.0),
        })
    }

    /// All clients are there.
    pub(crate) fn connected(&mut self) -> io::Result<()> {
        let Some(memory) = self.ask(Memory::of)? else { return Ok(()) };
        let before = self.before.as_ref().map_or(0, |before| before.private);
        self.clients_bytes = memory.private.saturating_sub(before);
        Ok(())
    }

    /// Once a second, from the beginning of the measured time to its end.
    pub(crate) fn sample(&mut self, is_first: bool, is_last: bool) -> io::Result<()> {
        let look = self.look()?;
        if let Some(last) = &self.last {
            self.seconds.push(share(last, &look));
        }
        if is_first {
            (self.steal, self.split) = self.ticks();
            self.first = Some(look.clone());
        }
        if is_last {
            let (steal, split) = self.ticks();
            if let (Some((stolen, all)), Some((stolen_then, all_then))) = (steal, self.steal) {
                self.steal_share = proc::part(stolen - stolen_then, all - all_then);
            }
            if let (Some((user, system)), Some((user_then, system_then))) = (split, self.split) {
                self.user_s = proc::tick_seconds(user - user_then);
                self.system_s = proc::tick_seconds(system - system_then);
            }
            self.end = Some(look.clone());
        }
        self.last = Some(look);
        Ok(())
    }

    /// The load is over.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.memory = self.ask(Memory::of)?;
        Ok(())
    }

    /// The server's process, if it is known and there.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.pid.filter(|_| !self.gone)
    }

    /// Nanoseconds of the server in the measured time.
    pub(crate) fn server_ns(&self) -> Option<u64> {
        let (first, end) = (self.first.as_ref()?, self.end.as_ref()?);
        Some(end.server.as_ref()?.since(first.server.as_ref()?))
    }

    /// The server's share of a core in the whole measured time.
    pub(crate) fn server_share(&self) -> Option<f64> {
        share(self.first.as_ref()?, self.end.as_ref()?)
    }

    /// The share of its core that the server's busiest thread had.
    pub(crate) fn server_busiest_share(&self) -> Option<f64> {
        let (first, end) = (self.first.as_ref()?, self.end.as_ref()?);
        let busiest = end.server.as_ref()?.busiest_since(first.server.as_ref()?);
        Some(share_of(busiest, first, end))
    }

    /// The host's stolen and all ticks, and the server's user and system ones.
    #[expect(clippy::type_complexity, reason = "two pairs, either of which may not be there")]
    fn ticks(&self) -> (Option<(u64, u64)>, Option<(u64, u64)>) {
        (proc::steal_ticks(), self.pid().and_then(proc::cpu_ticks))
    }

    fn look(&mut self) -> io::Result<Look> {
        Ok(Look { at: Instant::now(), server: self.ask(CpuTime::of)? })
    }

    /// Asks for something of the server's process, unless it has gone.
    fn ask<T>(&mut self, what: fn(u32) -> io::Result<T>) -> io::Result<Option<T>> {
        let Some(pid) = self.pid() else { return Ok(None) };
        match what(pid) {
            Err(_) if !proc::is_there(pid) => {
                self.gone = true;
                Ok(None)
            }
            found => found.map(Some),
        }
    }
}

fn share(from: &Look, to: &Look) -> Option<f64> {
    Some(share_of(to.server.as_ref()?.since(from.server.as_ref()?), from, to))
}

/// So many nanoseconds of a core's, between two looks.
#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn share_of(run_ns: u64, from: &Look, to: &Look) -> f64 {
    run_ns as f64 / (to.at - from.at).as_nanos().max(1) as f64
}
