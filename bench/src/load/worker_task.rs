//! The task of one worker, and its result.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::ledger::Order;
use super::message::Template;
use super::place::Tally;
use super::sizes::Sizes;
use crate::output::hist;
use crate::seconds::Interval;
use crate::swarm::{Absences, Backoff, Ramp, Request};

/// The task of one worker.
#[derive(Debug, Clone)]
pub(crate) struct WorkerTask {
    pub(crate) request: Request,
    /// Of publishers that do not speak where they listen: they connect beside the clients.
    pub(crate) speakers: Option<Request>,
    pub(crate) clients: usize,
    /// Its clients that publish are the first ones; their numbers in the whole run.
    pub(crate) publishers: Vec<usize>,
    pub(crate) publishers_in_all: usize,
    /// When its clients connect, unless at once.
    pub(crate) ramp: Option<Ramp>,
    pub(crate) template: Template,
    pub(crate) sizes: Sizes,
    /// The clients of all threads, where each message is for one of them.
    pub(crate) addressees: Option<usize>,
    pub(crate) mode: Mode,
    /// Clients that are heard before what is due is said.
    pub(crate) at_once: usize,
    /// How clients come back, if they do.
    pub(crate) backoff: Option<Backoff>,
    pub(crate) seed: u64,
    pub(crate) run: u16,
}

/// The messages of one channel, and their receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Room {
    pub(super) published: u64,
    pub(super) receipts: u64,
}

/// The rule by which messages leave.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mode {
    /// So many messages of each publisher are under way.
    Closed { window: u32 },
    /// So many a second leave in all, whatever becomes of them.
    Open { rate: f64 },
}

/// The result of one worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) connected: usize,
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) endings: BTreeMap<String, u64>,
    /// Publications that the server refused, by its error.
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) published: u64,
    /// Due, and nowhere to be said.
    pub(crate) unsaid: u64,
    /// Receipts of messages that were meant to leave within the measured time.
    pub(crate) receipts: u64,
    /// Receipts within the measured time, of whatever messages.
    pub(crate) receipts_in_time: u64,
    pub(crate) tally: Tally,
    pub(crate) absences: Option<Absences>,
    pub(crate) orders: Vec<Order>,
    /// Clients that heard their channel's messages in another order than others did.
    pub(crate) disordered: u64,
    pub(crate) rooms: Vec<Room>,
    /// Bytes that came within the measured time.
    pub(crate) bytes_in: u64,
    #[serde(with = "hist::text")]
    pub(crate) handshake: Histogram<u64>,
    #[serde(with = "hist::text")]
    pub(crate) service: Histogram<u64>,
    #[serde(with = "hist::text")]
    pub(crate) last: Histogram<u64>,
    #[serde(with = "hist::text")]
    pub(crate) late: Histogram<u64>,
    pub(crate) intervals: Vec<Interval>,
}
