//! A shard's loop: turns as long as there is work, and two ways of sleeping.
//!
//! A nap is a wait on the watched sockets themselves, and short: under load it ends soon, and costs
//! one call. A shard that naps in vain parks in the runtime's ring, for as long as nothing happens.
//! Parking and waking there takes four calls and a cancelled timer; it was a third of an accept.
//!
//! Without `io_uring` the nap is the only way of sleeping, and lasts for as long as nothing
//! happens. The bell's event is one of the watched descriptors, so another shard ends the nap as
//! well. The shard waits for nothing else and needs no executor.
//!
//! In both cases the shard tells its bell before it sleeps that it must be rung (`Port::park`).

use std::task::Poll;
use std::time::Duration;

use crate::clock::Now;
use crate::model::report::Ending;
use crate::rt::{self, NAP};
use crate::shard::Shard;
use crate::stage::accept::Entrance;
use crate::watch::Watch;

/// The longest sleep in epoll: the call needs some bound.
const SLEEP_MAX: Duration = Duration::from_hours(1);

/// Runs a shard on this thread until it is drained. Without the ring it waits only in `parking`,
/// which blocks the thread: the first poll of this future completes it.
pub(crate) async fn run(
    mut shard: Shard<Watch>,
    mut entrance: Entrance,
    mut parking: Parking,
) -> Ending {
    loop {
        if shard.has_work() || entrance.is_due(&shard.clients.net) {
            shard.clients.net.look(Duration::ZERO);
        } else if shard.port.park(shard.clients.net.waker()) {
            parking.sleep(&mut shard, &entrance).await;
            shard.port.unpark();
        }
        let now = Now::read();
        entrance.accept(&mut shard, now);
        shard.turn(now);
        if shard.is_drained() {
            return shard.end();
        }
    }
}

/// The way in which a shard sleeps.
pub(crate) enum Parking {
    /// In short naps on its sockets, then in the runtime's ring.
    Ring { alarm: rt::Alarm, poll: rt::RingPoll },
    /// On its sockets alone.
    Epoll,
}

impl Parking {
    /// The place for a shard that `runner` runs.
    pub(crate) fn of(runner: &rt::Runner) -> Self {
        match runner {
            rt::Runner::Ring(_) => {
                Self::Ring { alarm: rt::Alarm::unset(), poll: rt::RingPoll::default() }
            }
            rt::Runner::Epoll => Self::Epoll,
        }
    }

    /// Sleeps until a socket is ready, another shard rings, or time is up.
    async fn sleep(&mut self, shard: &mut Shard<Watch>, entrance: &Entrance) {
        let longest = [shard.nap(), entrance.patience()].into_iter().flatten().min();
        let Self::Ring { alarm, poll } = self else {
            shard.clients.net.look(longest.unwrap_or(SLEEP_MAX));
            return;
        };
        let nap = longest.map_or(NAP, |longest| longest.min(NAP));
        if shard.clients.net.look(nap) || !poll.begin(shard.clients.net.descriptor()) {
            // Without a free descriptor there are only naps.
            return;
        }
        if let Some(longest) = longest {
            alarm.set(longest.saturating_sub(NAP));
        }
        std::future::poll_fn(|cx| {
            if alarm.poll(cx) || poll.poll(cx) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        shard.clients.net.look(Duration::ZERO);
    }
}
