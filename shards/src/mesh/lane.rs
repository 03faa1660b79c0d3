//! One lane into a shard: a bounded queue that all others send to, and what is known of its load
//! without taking from it.

use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::bell::Room;
use super::parcel::Parcel;

/// A lane with this number of broad parcels is crowded: the parcels behind them wait until all
/// clients that they concern have been told.
const BROAD_MAX: usize = 32;

/// The sending end of a lane, the same for all threads.
#[derive(Debug)]
pub(super) struct Lane<T> {
    sender: Sender<T>,
    room: Room,
    /// The number of broad parcels that are in it, or about to be.
    broad: AtomicUsize,
}

impl<T: Parcel> Lane<T> {
    /// A lane for `parcels` parcels, and its receiving end.
    pub(super) fn new(parcels: usize) -> (Self, Receiver<T>) {
        let (sender, receiver) = bounded(parcels);
        (Self { sender, room: Room::new(), broad: AtomicUsize::new(0) }, receiver)
    }

    /// Sends a parcel, or returns it if the lane is full.
    pub(super) fn try_send(&self, parcel: T) -> Result<(), T> {
        let broad = parcel.is_broad();
        if broad {
            // Before the push: the receiver finds the parcel counted. Relaxed: it orders nothing.
            self.broad.fetch_add(1, Ordering::Relaxed);
        }
        self.sender.try_send(parcel).map_err(|error| {
            if broad {
                self.broad.fetch_sub(1, Ordering::Relaxed);
            }
            let (TrySendError::Full(parcel) | TrySendError::Disconnected(parcel)) = error;
            parcel
        })
    }

    /// The same for the shard of `bit`, which is rung when there is room.
    pub(super) fn send_or_want(&self, bit: u64, parcel: T) -> Result<(), T> {
        self.try_send(parcel).or_else(|parcel| {
            self.room.want(bit);
            self.try_send(parcel)
        })
    }

    /// Takes a parcel out of the receiving end.
    pub(super) fn take(&self, receiver: &Receiver<T>) -> Option<T> {
        let parcel = receiver.try_recv().ok()?;
        if parcel.is_broad() {
            self.broad.fetch_sub(1, Ordering::Relaxed);
        }
        Some(parcel)
    }

    /// The shards to ring, after parcels were taken out.
    pub(super) fn take_wanting(&self) -> u64 {
        self.room.take_wanting()
    }

    pub(super) fn is_full(&self) -> bool {
        self.sender.is_full()
    }

    /// Returns `true` if no more broad parcels should be caused.
    pub(super) fn is_crowded(&self) -> bool {
        self.broad.load(Ordering::Relaxed) >= BROAD_MAX
    }

    /// Returns `true` if the lane is still crowded for the shard of `bit`, which saw it crowded: it
    /// is until half of the bound is free. If so, that shard is rung when parcels were taken out.
    pub(super) fn stays_crowded(&self, bit: u64) -> bool {
        let crowded = || self.broad.load(Ordering::Relaxed) > BROAD_MAX / 2;
        crowded() && {
            self.room.want(bit);
            crowded()
        }
    }
}
