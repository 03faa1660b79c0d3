//! The figures of hooks in `/metrics`, by kind of question.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stentor_shards::Subject;

/// The kind of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Connect,
    Refresh,
    Subscribe,
    SubRefresh,
    Publish,
    Rpc,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Connect, Self::Refresh, Self::Subscribe, Self::SubRefresh, Self::Publish, Self::Rpc];

    pub(super) fn of(subject: &Subject) -> Self {
        match subject {
            Subject::Connect(_) => Self::Connect,
            Subject::Refresh => Self::Refresh,
            Subject::Subscribe { .. } => Self::Subscribe,
            Subject::SubRefresh { .. } => Self::SubRefresh,
            Subject::Publish { .. } => Self::Publish,
            Subject::Call { .. } => Self::Rpc,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Refresh => "refresh",
            Self::Subscribe => "subscribe",
            Self::SubRefresh => "sub_refresh",
            Self::Publish => "publish",
            Self::Rpc => "rpc",
        }
    }
}

/// The figures of one kind. Relaxed everywhere: they order nothing.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Questions that went out.
    asked: AtomicU64,
    /// Of these, those without a sound answer in time.
    failed: AtomicU64,
    /// Questions that were held back because their endpoint had failed too often.
    held_back: AtomicU64,
    /// Questions whose time was over before their turn came.
    late: AtomicU64,
    /// Times that an endpoint was given up for a while.
    opened: AtomicU64,
    /// Questions that wait for their turn or for an answer.
    under_way: AtomicU64,
    /// Time to the answers, in microseconds.
    waited_us: AtomicU64,
}

/// The figures at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) asked: u64,
    pub(crate) failed: u64,
    pub(crate) held_back: u64,
    pub(crate) late: u64,
    pub(crate) opened: u64,
    pub(crate) under_way: u64,
    pub(crate) waited_us: u64,
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counts {
    pub(super) fn begin(&self) {
        add(&self.under_way);
    }

    pub(super) fn end(&self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn ask(&self) {
        add(&self.asked);
    }

    pub(super) fn take_time(&self, waited: Duration) {
        let waited = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.waited_us.fetch_add(waited, Ordering::Relaxed);
    }

    pub(super) fn fail(&self, opens: bool) {
        add(&self.failed);
        if opens {
            add(&self.opened);
        }
    }

    pub(super) fn hold_back(&self) {
        add(&self.held_back);
    }

    pub(super) fn be_late(&self) {
        add(&self.late);
    }

    /// Returns the figures now.
    pub(crate) fn figures(&self) -> Figures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            asked: read(&self.asked),
            failed: read(&self.failed),
            held_back: read(&self.held_back),
            late: read(&self.late),
            opened: read(&self.opened),
            under_way: read(&self.under_way),
            waited_us: read(&self.waited_us),
        }
    }
}

/// The figures of all kinds, in the order of [`Kind::ALL`].
#[derive(Debug, Default)]
pub(crate) struct AllCounts([Counts; 6]);

impl AllCounts {
    pub(super) fn of(&self, kind: Kind) -> &Counts {
        &self.0[kind as usize]
    }

    /// Returns the figures of all kinds now.
    pub(crate) fn figures(&self) -> [(Kind, Figures); 6] {
        Kind::ALL.map(|kind| (kind, self.of(kind).figures()))
    }
}
