//! A shard's loop: turns as long as there is work, and two ways of sleeping.
//!
//! A nap is a wait on the watched sockets themselves, and short: under load it ends soon, and costs
//! one call. A shard that naps in vain parks in the runtime's ring, for as long as nothing happens.
//! Parking and waking there takes four calls and a cancelled timer; it was a third of an accept.

use std::task::Poll;
use std::time::Duration;

use crate::clock::Now;
use crate::model::report::Report;
use crate::rt;
use crate::shard::Shard;
use crate::stage::accept::Entrance;
use crate::watch::Watch;

/// How long a nap lasts before the shard parks.
const NAP: Duration = Duration::from_millis(10);

/// Runs a shard on this thread's executor until it is drained.
pub(crate) async fn run(mut shard: Shard<Watch>, mut entrance: Entrance) -> Report {
    let mut bed = Bed { alarm: rt::Alarm::unset(), ring: rt::RingPoll::default() };
    loop {
        if shard.has_work() || entrance.is_due(&shard.clients.net) {
            shard.clients.net.look(Duration::ZERO);
        } else if shard.port.park(shard.clients.net.rope()) {
            bed.sleep(&mut shard, &entrance).await;
            shard.port.unpark();
        }
        let now = Now::read();
        entrance.accept(&mut shard, now);
        shard.turn(now);
        if shard.is_drained() {
            return shard.report();
        }
    }
}

/// Where a shard sleeps.
struct Bed {
    alarm: rt::Alarm,
    ring: rt::RingPoll,
}

impl Bed {
    /// Sleeps until a socket is ready, another shard rings, or time is up.
    async fn sleep(&mut self, shard: &mut Shard<Watch>, entrance: &Entrance) {
        let longest = [shard.nap(), entrance.patience()].into_iter().flatten().min();
        let nap = longest.map_or(NAP, |longest| longest.min(NAP));
        if shard.clients.net.look(nap) || !self.ring.begin(shard.clients.net.descriptor()) {
            // Where descriptors are out there are only naps.
            return;
        }
        if let Some(longest) = longest {
            self.alarm.set(longest.saturating_sub(NAP));
        }
        std::future::poll_fn(|cx| {
            if self.alarm.poll(cx) || self.ring.poll(cx) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        shard.clients.net.look(Duration::ZERO);
    }
}
