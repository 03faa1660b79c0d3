//! The bell under every interleaving that loom finds: no ring is lost, on either side of a lane.
#![cfg(test)]

#[allow(dead_code, reason = "the model does not do all that a shard does")]
#[path = "../src/mesh/bell.rs"]
mod bell;

use std::sync::Arc as StdArc;
use std::task::{Wake, Waker};

use bell::{Bell, Room};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

/// Raises a flag that loom sees.
struct Raise(AtomicBool);

impl Wake for Raise {
    fn wake(self: StdArc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

// The queue is a relaxed count: it adds no ordering of its own, so that the bell's fences alone
// carry the proof.

#[test]
fn a_ring_is_never_lost() {
    loom::model(|| {
        let bell = Arc::new(Bell::new());
        let queue = Arc::new(AtomicUsize::new(0));
        let woken = StdArc::new(Raise(AtomicBool::new(false)));

        let ringer = {
            let (bell, queue) = (Arc::clone(&bell), Arc::clone(&queue));
            thread::spawn(move || {
                queue.store(1, Ordering::Relaxed);
                bell.ring();
            })
        };

        bell.park(&Waker::from(StdArc::clone(&woken)));
        let seen = queue.load(Ordering::Relaxed) == 1;
        ringer.join().unwrap();
        assert!(
            seen || woken.0.load(Ordering::Acquire),
            "the shard sleeps although a parcel lies in its lane"
        );
    });
}

#[test]
fn of_two_ringers_none_is_lost() {
    loom::model(|| {
        let bell = Arc::new(Bell::new());
        let queues = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let woken = StdArc::new(Raise(AtomicBool::new(false)));

        let ringers: Vec<_> = (0..2)
            .map(|index| {
                let (bell, queues) = (Arc::clone(&bell), Arc::clone(&queues));
                thread::spawn(move || {
                    queues[index].store(1, Ordering::Relaxed);
                    bell.ring();
                })
            })
            .collect();

        bell.park(&Waker::from(StdArc::clone(&woken)));
        let seen: usize = queues.iter().map(|queue| queue.load(Ordering::Relaxed)).sum();
        for ringer in ringers {
            ringer.join().unwrap();
        }
        assert!(seen == 2 || woken.0.load(Ordering::Acquire));
    });
}

#[test]
fn a_shard_that_sleeps_for_want_of_room_is_woken() {
    loom::model(|| {
        let room = Arc::new(Room::new());
        let bell = Arc::new(Bell::new());
        let full = Arc::new(AtomicUsize::new(1));
        let woken = StdArc::new(Raise(AtomicBool::new(false)));

        let receiver = {
            let (room, bell, full) = (Arc::clone(&room), Arc::clone(&bell), Arc::clone(&full));
            thread::spawn(move || {
                full.store(0, Ordering::Relaxed);
                if room.take_wanting() != 0 {
                    bell.ring();
                }
            })
        };

        room.want(1);
        let still_full = full.load(Ordering::Relaxed) == 1;
        if still_full {
            bell.park(&Waker::from(StdArc::clone(&woken)));
            // The last look: without it a ring that came before the flag was up would be lost.
            let sleeps = full.load(Ordering::Relaxed) == 1;
            receiver.join().unwrap();
            assert!(!sleeps || woken.0.load(Ordering::Acquire), "it sleeps although there is room");
        } else {
            receiver.join().unwrap();
        }
    });
}

#[test]
fn a_sender_that_waits_for_room_is_rung() {
    loom::model(|| {
        let room = Arc::new(Room::new());
        let full = Arc::new(AtomicUsize::new(1));

        let receiver = {
            let (room, full) = (Arc::clone(&room), Arc::clone(&full));
            thread::spawn(move || {
                full.store(0, Ordering::Relaxed);
                room.take_wanting()
            })
        };

        room.want(1);
        let still_full = full.load(Ordering::Relaxed) == 1;
        let rung = receiver.join().unwrap();
        assert!(!still_full || rung == 1, "the sender waits although there is room");
    });
}
