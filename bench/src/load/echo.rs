//! Echoes: every client waits for what it said itself, and for nothing else.

use std::time::Duration;

use super::absence::Reconnect;
use super::account::Account;
use super::audience::Audience;
use super::ledger::{Order, Receipt};
use super::place::{Arrival, Place, Tally};
use super::plan::{Hears, Plan, Traffic};
use super::setup::Setup;
use super::stamp::Stamp;

/// Round trips of messages, as asked for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Echo {
    #[command(flatten)]
    pub(crate) setup: Setup,
    #[command(flatten)]
    traffic: Traffic,
    #[command(flatten)]
    reconnect: Reconnect,
}

impl Echo {
    /// As a load in which every client publishes, and hears itself.
    pub(crate) fn plan(&self) -> Plan {
        let publishers = self.setup.clients;
        let (traffic, reconnect) = (self.traffic.clone(), self.reconnect.clone());
        let audience = Audience::default();
        let setup = Setup { spoken: self.setup.spoken.of_each(), ..self.setup.clone() };
        Plan { setup, publishers, traffic, audience, reconnect, hears: Hears::Own }
    }
}

/// One thread's echoes; its publishers are its clients.
pub(super) struct Echoes {
    clients: Vec<Speaker>,
    /// Clients that have received a message since the last call of `moved`.
    moved: Vec<usize>,
    tally: Tally,
}

/// One client that hears itself.
struct Speaker {
    /// Its number in the whole run, which its stamps carry.
    number: usize,
    place: Place,
    /// How many of its messages came back.
    heard: u32,
    /// It is on the list of those that have heard something.
    moved: bool,
}

impl Echoes {
    /// For clients of these numbers.
    pub(super) fn new(numbers: &[usize]) -> Self {
        let speaker = |number| Speaker { number, place: Place::default(), heard: 0, moved: false };
        Self {
            clients: numbers.iter().copied().map(speaker).collect(),
            moved: Vec::with_capacity(numbers.len()),
            tally: Tally::default(),
        }
    }
}

impl Account for Echoes {
    fn hear(&mut self, client: usize, stamp: &Stamp, took_ns: Option<u64>) -> Receipt {
        let counts = took_ns.is_some();
        let (tally, speaker) = (&mut self.tally, &mut self.clients[client]);
        if speaker.number != stamp.publisher as usize {
            tally.strays += u64::from(counts);
            return Receipt::Stray;
        }
        let arrival = speaker.place.take(stamp.number);
        tally.count(arrival, counts);
        if arrival == Arrival::Again {
            return Receipt::Again;
        }
        speaker.heard += 1;
        if !std::mem::replace(&mut speaker.moved, true) {
            self.moved.push(client);
        }
        Receipt::Fresh { last: false }
    }

    fn leave(&mut self, client: usize) {
        // It waited for itself alone.
        self.clients[client].place.leave();
    }

    fn complete(&self, place: usize) -> u32 {
        self.clients[place].heard
    }

    fn moved(&mut self, places: &mut Vec<usize>) {
        for client in self.moved.drain(..) {
            self.clients[client].moved = false;
            places.push(client);
        }
    }

    fn is_through(&self, sent: &[u32]) -> bool {
        self.clients.iter().zip(sent).all(|(speaker, sent)| speaker.heard >= *sent)
    }

    fn patience(&self) -> Option<Duration> {
        None
    }

    fn settle(&mut self) {
        // A message that nobody else waits for is lost with its client.
    }

    fn tally(&self) -> Tally {
        self.tally
    }

    fn orders(&self) -> &[Order] {
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(publisher: u32, number: u32) -> Stamp {
        Stamp { publisher, number, intended_ns: 0, late_us: 0 }
    }

    #[test]
    fn a_client_hears_itself_and_others_are_strays() {
        let mut echoes = Echoes::new(&[1, 3]);
        let fresh = Receipt::Fresh { last: false };
        assert_eq!(echoes.hear(0, &stamp(1, 0), Some(9)), fresh);
        assert_eq!(echoes.hear(1, &stamp(3, 0), Some(9)), fresh);
        assert_eq!(echoes.hear(1, &stamp(1, 0), Some(9)), Receipt::Stray);
        assert_eq!(echoes.hear(1, &stamp(1, 1), None), Receipt::Stray, "before it counts");
        assert_eq!(echoes.hear(1, &stamp(3, 2), Some(9)), fresh);
        assert_eq!(echoes.hear(1, &stamp(3, 1), Some(9)), fresh, "late, and still the first");
        assert_eq!(echoes.hear(1, &stamp(3, 1), Some(9)), Receipt::Again);
        assert_eq!((echoes.complete(0), echoes.complete(1)), (1, 3));
        assert!(echoes.is_through(&[1, 3]) && !echoes.is_through(&[2, 3]));
        let Tally { duplicated, out_of_order, strays, .. } = echoes.tally();
        assert_eq!((duplicated, out_of_order, strays), (1, 1, 1));
    }

    #[test]
    fn who_heard_something_is_told_once() {
        let mut echoes = Echoes::new(&[0, 1, 2]);
        for (client, number) in [(2, 0), (0, 0), (2, 1)] {
            echoes.hear(client, &stamp(u32::try_from(client).unwrap(), number), Some(9));
        }
        let mut places = Vec::new();
        echoes.moved(&mut places);
        assert_eq!(places, [2, 0]);
        echoes.moved(&mut places);
        assert_eq!(places.len(), 2, "nothing since");
        echoes.hear(2, &stamp(2, 2), Some(9));
        echoes.moved(&mut places);
        assert_eq!(places, [2, 0, 2]);
    }
}
