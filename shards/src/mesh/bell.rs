//! The wake-up between shards: a ring is lost neither before, while nor after its shard goes to
//! sleep.
//!
//! Two pairs of accesses carry it. The ringer pushes, fences and looks at the flag; the sleeper
//! raises the flag, fences and looks at the queue. Of two sequentially consistent fences one comes
//! first, so at least one of the two looks sees what the other side did. [`Room`] is the same
//! bargain the other way round: for a sender that waits for room.

#[cfg(loom)]
use loom::{
    future::AtomicWaker,
    sync::atomic::{AtomicBool, AtomicU64, Ordering, fence},
};
#[cfg(not(loom))]
use {
    atomic_waker::AtomicWaker,
    std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence},
};

use std::task::Waker;

/// Wakes one shard.
#[derive(Debug)]
pub(crate) struct Bell {
    parked: AtomicBool,
    waker: AtomicWaker,
}

impl Bell {
    pub(crate) fn new() -> Self {
        Self { parked: AtomicBool::new(false), waker: AtomicWaker::new() }
    }

    /// Wakes the shard if it sleeps; call it after the push. Returns `true` if the shard slept.
    pub(crate) fn ring(&self) -> bool {
        // Partner: the fence in `park`. Orders the push before the look at the flag.
        fence(Ordering::SeqCst);
        if !self.parked.load(Ordering::Relaxed) {
            return false;
        }
        // Several may ring at once; one wake is enough. Acquire pairs with the release in `park`:
        // the waker is registered.
        if self.parked.swap(false, Ordering::Acquire) {
            self.waker.wake();
            return true;
        }
        false
    }

    /// Says that the shard is about to sleep. The caller must look at its queues once more
    /// afterwards, and [`unpark`](Self::unpark) if it finds something.
    pub(crate) fn park(&self, waker: &Waker) {
        #[cfg(loom)]
        self.waker.register_by_ref(waker);
        #[cfg(not(loom))]
        self.waker.register(waker);
        // Release: a thread that sees the flag sees the waker. Partner: the swap in `ring`.
        self.parked.store(true, Ordering::Release);
        // Partner: the fence in `ring`. Orders the flag before the caller's look at the queue.
        fence(Ordering::SeqCst);
    }

    /// Says that the shard is awake: rings are not needed until it parks again.
    pub(crate) fn unpark(&self) {
        // Relaxed: a ring that still sees the old flag costs one needless wake.
        self.parked.store(false, Ordering::Relaxed);
    }
}

/// The shards that wait for room in one lane.
#[derive(Debug)]
pub(crate) struct Room {
    wanted_by: AtomicU64,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self { wanted_by: AtomicU64::new(0) }
    }

    /// Says that the shard of `bit` found the lane full. It must try once more afterwards, before
    /// it waits.
    pub(crate) fn want(&self, bit: u64) {
        self.wanted_by.fetch_or(bit, Ordering::Relaxed);
        // Partner: the fence in `take_wanting`. Orders the wish before the sender's second try.
        fence(Ordering::SeqCst);
    }

    /// The shards to ring, after the receiver has taken parcels out.
    pub(crate) fn take_wanting(&self) -> u64 {
        // Partner: the fence in `want`. Orders the room made before the look at the wishes.
        fence(Ordering::SeqCst);
        if self.wanted_by.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.wanted_by.swap(0, Ordering::Relaxed)
    }
}
