//! The way of a home to one other process of a take-over.

use std::collections::VecDeque;

use crossbeam_channel::TrySendError;

use crate::mesh::link::Out;
use crate::model::told::Told;

/// The lane to the other process, and the messages that wait for room in it, in order.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) out: Out,
    pub(super) waiting: VecDeque<Told>,
}

impl Way {
    pub(super) fn new(out: Out) -> Self {
        Self { out, waiting: VecDeque::new() }
    }

    /// Sends a message. Returns `false` if nobody takes any more.
    pub(super) fn send(&mut self, told: Told) -> bool {
        if !self.waiting.is_empty() {
            self.waiting.push_back(told);
            return true;
        }
        match self.out.send(told) {
            Ok(()) => true,
            Err(TrySendError::Full(told)) => {
                self.waiting.push_back(told);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }

    /// Sends the messages that wait. Returns `false` if nobody takes any more.
    pub(super) fn retry(&mut self) -> bool {
        while let Some(told) = self.waiting.pop_front() {
            match self.out.send(told) {
                Ok(()) => {}
                Err(TrySendError::Full(told)) => {
                    self.waiting.push_front(told);
                    return true;
                }
                Err(TrySendError::Disconnected(_)) => return false,
            }
        }
        true
    }

    pub(super) fn has_work(&self) -> bool {
        self.out.is_over() || !self.waiting.is_empty() && !self.out.is_full()
    }
}
