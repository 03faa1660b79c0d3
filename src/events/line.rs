//! Events that wait for one endpoint, each in JSON: a bounded number of them, taken in batches.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// The most bytes of one batch.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// The bytes of a line that no budget has to lend.
const OWN_BYTES: usize = if cfg!(test) { 4 } else { 16 << 10 };

/// The bounds of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The most events and bytes that wait.
    pub(super) events: usize,
    pub(super) bytes: usize,
    /// The most events of one batch.
    pub(super) batch: usize,
    /// The longest wait for a batch to become full.
    pub(super) delay: Duration,
}

/// The bytes that lines share, beside the little that each of them has for itself.
#[derive(Debug, Clone)]
pub(super) struct Budget(Rc<Cell<usize>>);

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Rc::new(Cell::new(bytes)))
    }

    /// Takes bytes, if there are so many.
    fn take(&self, bytes: usize) -> bool {
        let left = self.0.get().checked_sub(bytes);
        left.inspect(|left| self.0.set(*left)).is_some()
    }

    fn give_back(&self, bytes: usize) {
        self.0.set(self.0.get() + bytes);
    }
}

/// An event found no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<String>,
    /// Those of the events that wait, and of the batch that was taken last.
    bytes: usize,
    taken: usize,
    /// Those of them that the budget has lent.
    lent: usize,
    /// No further ones will come.
    is_over: bool,
    /// Nobody is to be told any more.
    is_abandoned: bool,
}

/// The events that wait for one endpoint, in their order.
#[derive(Debug)]
pub(super) struct Line {
    bounds: Bounds,
    queue: RefCell<Queue>,
    bell: Notify,
    budget: Budget,
}

impl Line {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self::sharing(bounds, Budget::new(bounds.bytes))
    }

    /// A line whose bytes count among those of others.
    pub(super) fn sharing(bounds: Bounds, budget: Budget) -> Self {
        Self { bounds, queue: RefCell::default(), bell: Notify::new(), budget }
    }

    /// Returns the number of events that wait.
    pub(super) fn len(&self) -> usize {
        self.queue.borrow().events.len()
    }

    /// Adds an event, unless there is no room.
    pub(super) fn push(&self, json: String) -> Result<(), Full> {
        let mut queue = self.queue.borrow_mut();
        let is_full = queue.events.len() >= self.bounds.events
            || queue.bytes + json.len() > self.bounds.bytes;
        if is_full {
            return Err(Full);
        }
        // If others have taken all that there is, each line still has a little.
        let bytes = queue.bytes + json.len();
        let to_lend = bytes.saturating_sub(OWN_BYTES).saturating_sub(queue.lent);
        if !self.budget.take(to_lend) {
            return Err(Full);
        }
        queue.lent += to_lend;
        queue.bytes = bytes;
        queue.events.push_back(json);
        self.bell.notify_one();
        Ok(())
    }

    /// No further events will come: what waits is taken, and then there is no batch.
    pub(super) fn close(&self) {
        self.queue.borrow_mut().is_over = true;
        self.bell.notify_one();
    }

    /// Forgets what waits, and closes the line. Returns the number of events that are lost.
    pub(super) fn abandon(&self) -> usize {
        let mut queue = self.queue.borrow_mut();
        let lost = queue.events.len();
        self.budget.give_back(queue.lent);
        *queue = Queue { is_over: true, is_abandoned: true, ..Queue::default() };
        self.bell.notify_one();
        lost
    }

    /// Returns `true` if nobody is to be told any more, also not what was taken before.
    pub(super) fn is_abandoned(&self) -> bool {
        self.queue.borrow().is_abandoned
    }

    /// Waits for the events of one batch. `None`: there will be none. The batch before this one
    /// takes no room any more.
    pub(super) async fn batch(&self) -> Option<Vec<String>> {
        self.let_go();
        let mut full_by = None;
        loop {
            {
                let queue = self.queue.borrow();
                let is_full = queue.events.len() >= self.bounds.batch
                    || full_by.is_some_and(|time| Instant::now() >= time);
                if queue.events.is_empty() && queue.is_over {
                    return None;
                }
                if !queue.events.is_empty() && (is_full || queue.is_over) {
                    break;
                }
                if !queue.events.is_empty() && full_by.is_none() {
                    full_by = Some(Instant::now() + self.bounds.delay);
                }
            }
            match full_by {
                None => self.bell.notified().await,
                Some(time) => tokio::select! {
                    () = self.bell.notified() => {}
                    () = sleep_until(time) => {}
                },
            }
        }
        Some(self.take())
    }

    fn take(&self) -> Vec<String> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut queue = self.queue.borrow_mut();
        while batch.len() < self.bounds.batch
            && let Some(next) = queue.events.front()
            && (batch.is_empty() || bytes + next.len() <= BATCH_BYTES_MAX)
            && let Some(next) = queue.events.pop_front()
        {
            bytes += next.len();
            batch.push(next);
        }
        queue.taken = bytes;
        batch
    }

    /// The batch that was taken last has been told, or given up.
    fn let_go(&self) {
        let mut queue = self.queue.borrow_mut();
        queue.bytes -= std::mem::take(&mut queue.taken);
        let lent = queue.bytes.saturating_sub(OWN_BYTES);
        self.budget.give_back(queue.lent - lent.min(queue.lent));
        queue.lent = lent.min(queue.lent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(events: usize, bytes: usize) -> Line {
        Line::new(Bounds { events, bytes, batch: 2, delay: Duration::ZERO })
    }

    #[test]
    fn what_waits_is_bounded_in_events_and_in_bytes() {
        let line = line(2, 10);
        assert_eq!(line.push("12345".into()), Ok(()));
        assert_eq!(line.push("123456".into()), Err(Full));
        assert_eq!(line.push("12345".into()), Ok(()));
        assert_eq!(line.push(String::new()), Err(Full));
        assert_eq!((line.len(), line.take().len(), line.len()), (2, 2, 0));
        assert_eq!(line.push("1".into()), Err(Full), "its bytes are on their way");
        line.let_go();
        assert_eq!(line.push("1234567890".into()), Ok(()), "its bytes are free again");
        assert!(!line.is_abandoned());
        assert_eq!(line.abandon(), 1);
        assert!(line.is_abandoned());
    }

    #[test]
    fn lines_share_a_budget_and_each_has_a_little() {
        let (bounds, budget) = (line(9, 100).bounds, Budget::new(10));
        let lines = [0, 1].map(|_| Line::sharing(bounds, budget.clone()));
        assert_eq!(lines[0].push("x".repeat(OWN_BYTES + 10)), Ok(()));
        assert_eq!(lines[0].push("x".into()), Err(Full));
        assert_eq!(lines[1].push("x".repeat(OWN_BYTES)), Ok(()), "that is its own");
        assert_eq!(lines[1].push("x".into()), Err(Full), "the other one has it all");
        assert_eq!(lines[0].take().len(), 1);
        assert_eq!(lines[1].push("x".into()), Err(Full), "it may have to be told again");
        lines[0].let_go();
        assert_eq!(lines[1].push("x".repeat(10)), Ok(()));
        assert_eq!(lines[0].push("x".repeat(OWN_BYTES + 1)), Err(Full));
        lines[1].abandon();
        assert_eq!(budget.0.get(), 10, "all is given back");
    }

    #[test]
    fn batches_come_in_order_until_the_line_is_closed() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let line = line(10, 100);
            for text in ["a", "b", "c"] {
                line.push(text.into()).unwrap();
            }
            assert_eq!(line.batch().await.unwrap(), ["a", "b"]);
            line.close();
            assert_eq!(line.batch().await.unwrap(), ["c"]);
            assert_eq!(line.batch().await, None);
        });
    }
}
