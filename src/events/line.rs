//! Events that wait for one endpoint, each in JSON: a bounded number of them, taken in batches.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// The most bytes of one batch.
const BATCH_BYTES_MAX: usize = 1 << 20;

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

/// An event found no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<String>,
    bytes: usize,
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
}

impl Line {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, queue: RefCell::default(), bell: Notify::new() }
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
        queue.bytes += json.len();
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
        *queue = Queue { is_over: true, is_abandoned: true, ..Queue::default() };
        self.bell.notify_one();
        lost
    }

    /// Returns `true` if nobody is to be told any more, also not what was taken before.
    pub(super) fn is_abandoned(&self) -> bool {
        self.queue.borrow().is_abandoned
    }

    /// Waits for the events of one batch. `None`: there will be none.
    pub(super) async fn batch(&self) -> Option<Vec<String>> {
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
        queue.bytes -= bytes;
        batch
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
        assert_eq!(line.push("1234567890".into()), Ok(()), "its bytes are free again");
        assert!(!line.is_abandoned());
        assert_eq!(line.abandon(), 1);
        assert!(line.is_abandoned());
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
