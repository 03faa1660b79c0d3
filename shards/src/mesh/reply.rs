//! Answers to requests: the receiver of each, and a collection of answers for threads outside the
//! shards, which blocks no shard.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::model::id::{ClientId, RequestId};
use crate::model::told::Token;

/// The receiver of a request's outcome.
#[derive(Debug)]
pub(crate) enum ReplyTo<T> {
    Nobody,
    /// A client that gave its request an id.
    Client(ClientId, RequestId),
    /// A thread that is no shard, over its bridge.
    Bridge(Reply<T>),
    /// A home in a process that this one numbers publications for.
    Follower(Token),
    /// A home in the process that numbers publications for this one.
    Leader(Token),
}

/// Answers on their way: one from each shard asked, collected without blocking.
#[derive(Debug)]
pub struct Answers<T> {
    receiver: Receiver<T>,
    waker: Arc<AtomicWaker>,
    awaited: usize,
    got: Vec<T>,
}

/// The shard's end of [`Answers`].
#[derive(Debug)]
pub(crate) struct Reply<T> {
    sender: Sender<T>,
    waker: Arc<AtomicWaker>,
}

impl<T> Clone for Reply<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), waker: Arc::clone(&self.waker) }
    }
}

impl<T> Reply<T> {
    /// Sends the answer; never blocks. An asker that has gone is no error.
    pub(crate) fn send(&self, answer: T) {
        let _ = self.sender.try_send(answer);
        self.waker.wake();
    }
}

impl<T> Answers<T> {
    pub(crate) fn expect(awaited: usize) -> (Reply<T>, Self) {
        let (sender, receiver) = bounded(awaited.max(1));
        let waker = Arc::new(AtomicWaker::new());
        let reply = Reply { sender, waker: Arc::clone(&waker) };
        (reply, Self { receiver, waker, awaited, got: Vec::with_capacity(awaited) })
    }

    fn collect(&mut self) -> bool {
        while let Ok(answer) = self.receiver.try_recv() {
            self.got.push(answer);
        }
        self.got.len() >= self.awaited
    }
}

impl<T: Unpin> Future for Answers<T> {
    type Output = Vec<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Vec<T>> {
        if !self.collect() {
            self.waker.register(cx.waker());
            // After registering: an answer that came in between rang the old waker.
            if !self.collect() {
                return Poll::Pending;
            }
        }
        Poll::Ready(std::mem::take(&mut self.got))
    }
}
