//! Many clients on one thread: connects them, answers their pings, and tells what each of them
//! hears.
//!
//! `client` is one connection; `sender` sends for it, `enter` takes it through connect, TLS and
//! upgrade, `back` keeps account of those that are to come back. `clients` is all of them, and
//! `hear` takes their bytes; `arrive` and `come_back` are the two ways in which clients are added.

mod request;
mod answer;
mod causes;
mod absence;
mod tls;
mod client;
mod sender;
mod enter;
mod back;
mod clients;
mod hear;
mod arrive;
mod come_back;

pub(crate) use absence::{Absences, Backoff, Spell};
pub(crate) use answer::Answer;
pub(crate) use arrive::{Arrived, Ramp};
pub(crate) use clients::Swarm;
pub(crate) use request::{CHANNEL, Request};
