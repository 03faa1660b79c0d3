//! The needs of the server: each figure once, for the checks, for `doctor` and, through
//! `doctor --json`, for the planner.

use stentor_shards::{Ring, descriptors, rt};

/// Memory of one idle client, in bytes, as measured with 8,000 of them: its part of the shard, and
/// the kernel's objects for its socket, which `/proc/slabinfo` counts (`TCP`, `sock_inode_cache`,
/// `filp`, `dentry`, `eventpoll_epi` and a security module's).
pub(crate) const CLIENT_BYTES: u64 = 100 + 4_000;

/// Descriptors of the process that neither a client nor a shard holds: the standard streams, the
/// control thread, signals and the place where a newer process asks.
pub(crate) const PROCESS_DESCRIPTORS: u64 = 16;

/// Descriptors that are left for requests to the admin address and for pages.
pub(crate) const SPARE_DESCRIPTORS: u64 = 48;

/// Watches of a shard that are not clients: of its listener and of its bell.
const SHARD_WATCHES: u64 = 2;

/// The needs of a number of shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) shards: u64,
    pub(crate) ring: bool,
}

impl Needs {
    pub(crate) fn of(shards: usize, ring: Ring) -> Self {
        Self { shards: shards as u64, ring: ring != Ring::Off }
    }

    /// Descriptors of one shard beside its clients.
    pub(crate) fn shard_descriptors(self) -> u64 {
        descriptors::PER_SHARD + if self.ring { descriptors::PER_SHARD_RING } else { 0 }
    }

    /// Descriptors that are no client's.
    pub(crate) fn descriptors(self) -> u64 {
        PROCESS_DESCRIPTORS + SPARE_DESCRIPTORS + self.shards * self.shard_descriptors()
    }

    /// Bytes of memory that all rings lock.
    pub(crate) fn locked_bytes(self) -> u64 {
        if self.ring { self.shards * rt::RING_BYTES } else { 0 }
    }

    /// Bytes of memory that the rings of two servers lock, which run beside each other while one
    /// takes over from the other. Each of them asks for a least limit, too.
    pub(crate) fn two_servers_locked_bytes(self) -> u64 {
        if self.ring { (2 * self.locked_bytes()).max(rt::MEMLOCK_MIN) } else { 0 }
    }

    /// Watches that are no client's.
    pub(crate) fn watches(self) -> u64 {
        self.shards * SHARD_WATCHES
    }
}
