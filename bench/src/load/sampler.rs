//! CPU time and memory of the server's process and of the host while a load runs.

use std::time::Instant;
use std::{fs, io};

use crate::proc::{self, CpuTime, Memory};

/// The past of a server's process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Started by somebody else.
    #[default]
    Unknown,
    /// Started by this tool for this run.
    Own,
    /// It had clients in an earlier run.
    Used,
}

#[derive(Debug, Clone)]
struct Look {
    at: Instant,
    server: Option<CpuTime>,
}

/// Less for each client is no growth.
const BYTES_PER_CLIENT_MIN: u64 = 64;

/// A server of which nothing is known and that has run for longer may have had clients.
const START_CPU_MAX_S: f64 = 0.5;

const PAGE_BYTES: u64 = 4096;

const UNSEEN: &str = "the server was not looked at while all clients were there";

const USED: &str = "the server has worked before, and may use the memory of earlier clients again: \
                    start it anew, or have --pair start it";

const NOT_GROWN: &str = "the server's memory did not grow: it had room for these clients; start it \
                         anew, or have --pair start it, and ask for more clients";

/// Looks at processes.
#[derive(Debug)]
pub(crate) struct Sampler {
    pid: Option<u32>,
    /// The server's process ended while it was looked at.
    pub(crate) gone: bool,
    before: Option<Memory>,
    pub(crate) memory: Option<Memory>,
    /// The server had no clients before.
    fresh: bool,
    /// The private memory that the clients added to the server's, once they are there.
    clients_bytes: Option<u64>,
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
    pub(crate) fn new(pid: Option<u32>, origin: Origin) -> io::Result<Self> {
        let fresh = match origin {
            Origin::Own => true,
            Origin::Used => false,
            // Clients cost time, and to start does not cost much.
            Origin::Unknown => pid
                .and_then(proc::cpu_ticks)
                .is_none_or(|(user, system)| proc::tick_seconds(user + system) <= START_CPU_MAX_S),
        };
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Ok(Self {
            pid,
            gone: false,
            before: pid.map(Memory::of).transpose()?,
            memory: None,
            fresh,
            clients_bytes: None,
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
        self.clients_bytes = Some(memory.private.saturating_sub(before));
        Ok(())
    }

    /// Returns the private memory that each of so many clients added to the server's, or why that
    /// is not to be told.
    pub(crate) fn bytes_per_client(&self, clients: u64) -> Result<f64, &'static str> {
        let bytes = self.clients_bytes.ok_or(UNSEEN)?;
        if !self.fresh {
            return Err(USED);
        }
        // A connection that takes less than this lies in memory that was there before.
        if bytes < (clients * BYTES_PER_CLIENT_MIN).max(PAGE_BYTES) {
            return Err(NOT_GROWN);
        }
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        Ok(bytes as f64 / clients as f64)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_there_before_is_not_told() {
        let told = |origin, clients_bytes, clients| {
            let sampler = Sampler::new(None, origin).unwrap();
            Sampler { clients_bytes, ..sampler }.bytes_per_client(clients)
        };
        assert_eq!(told(Origin::Own, Some(12_400_000), 1000), Ok(12_400.0));
        assert_eq!(told(Origin::Used, Some(6_000_000), 1000), Err(USED));
        assert_eq!(told(Origin::Own, Some(0), 1000), Err(NOT_GROWN));
        assert_eq!(told(Origin::Own, Some(63_999), 1000), Err(NOT_GROWN));
        assert_eq!(told(Origin::Own, Some(4095), 1), Err(NOT_GROWN));
        assert_eq!(told(Origin::Own, None, 1000), Err(UNSEEN));
    }

    #[test]
    fn a_process_that_has_worked_is_not_new() {
        while proc::cpu_ticks(std::process::id())
            .is_some_and(|(user, system)| proc::tick_seconds(user + system) <= START_CPU_MAX_S)
        {
            std::hint::spin_loop();
        }
        let of = |origin| Sampler::new(Some(std::process::id()), origin).unwrap().fresh;
        assert_eq!((of(Origin::Unknown), of(Origin::Own)), (false, true));
    }
}
