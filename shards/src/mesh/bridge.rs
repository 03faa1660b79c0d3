//! Bridges: the ports of threads that are no shard, such as the control plane's.
//!
//! Such a thread asks shards through the mesh and collects their answers as [`Answers`], without
//! blocking a shard. In the other direction a bridge has one bounded lane, into which every shard
//! sends: a parcel that finds it full is given back, as no shard waits for a thread that may be
//! slow.
//!
//! [`Answers`]: super::reply::Answers

use std::future::poll_fn;
use std::net::TcpStream;
use std::sync::Arc;
use std::task::Poll;

use atomic_waker::AtomicWaker;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

/// An HTTP request that is not an upgrade: the socket, and the bytes that were read from it.
#[derive(Debug)]
pub struct Visitor {
    /// The connection, in nonblocking mode.
    pub socket: TcpStream,
    /// Every byte read from it.
    pub head: Vec<u8>,
}

/// A parcel from a shard to a thread that is no shard.
#[derive(Debug)]
pub enum Crossing {
    /// A visitor to be answered.
    Visitor(Visitor),
}

/// The shards' end of a bridge; each port has one.
#[derive(Debug)]
pub(crate) struct BridgeLane {
    /// `None` only while it is dropped.
    sender: Option<Sender<Crossing>>,
    waker: Arc<AtomicWaker>,
}

/// The other end, for one thread.
#[derive(Debug)]
pub struct Inbox {
    receiver: Receiver<Crossing>,
    waker: Arc<AtomicWaker>,
}

/// Makes a bridge whose lane holds `parcels` parcels.
pub(crate) fn bridge(parcels: usize) -> (BridgeLane, Inbox) {
    let (sender, receiver) = bounded(parcels);
    let waker = Arc::new(AtomicWaker::new());
    let lane = BridgeLane { sender: Some(sender), waker: Arc::clone(&waker) };
    (lane, Inbox { receiver, waker })
}

impl BridgeLane {
    /// Sends a parcel, or returns it: the lane is full, or nobody is there any more.
    pub(crate) fn send(&self, parcel: Crossing) -> Result<(), Crossing> {
        let Some(sender) = &self.sender else { return Err(parcel) };
        let sent = sender.try_send(parcel).map_err(crossbeam_channel::TrySendError::into_inner);
        // After the push: the receiver looks once more after it has registered.
        self.waker.wake();
        sent
    }
}

impl Clone for BridgeLane {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), waker: Arc::clone(&self.waker) }
    }
}

impl Drop for BridgeLane {
    fn drop(&mut self) {
        // Before the wake: the last one that goes must be seen to have gone.
        drop(self.sender.take());
        self.waker.wake();
    }
}

impl Inbox {
    /// Waits for the next parcel; `None` when all shards have gone.
    pub async fn receive(&mut self) -> Option<Crossing> {
        poll_fn(|cx| {
            if let Some(received) = self.try_receive() {
                return Poll::Ready(received);
            }
            self.waker.register(cx.waker());
            // After registering: a parcel that came in between woke the old waker.
            self.try_receive().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Returns `None` if nothing is there yet, and `Some(None)` if nothing will come any more.
    #[expect(clippy::option_option, reason = "two ways of having nothing")]
    fn try_receive(&self) -> Option<Option<Crossing>> {
        match self.receiver.try_recv() {
            Ok(parcel) => Some(Some(parcel)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use futures_lite::future::block_on;

    use super::*;

    fn visitor(head: &[u8]) -> Crossing {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Crossing::Visitor(Visitor { socket, head: head.to_vec() })
    }

    fn head(received: Option<Crossing>) -> Option<Vec<u8>> {
        received.map(|Crossing::Visitor(visitor)| visitor.head)
    }

    #[test]
    fn a_full_bridge_returns_the_parcel() {
        let (lane, mut inbox) = bridge(1);
        assert!(lane.send(visitor(b"first")).is_ok());
        let Err(Crossing::Visitor(back)) = lane.send(visitor(b"second")) else { panic!("no room") };
        assert_eq!(back.head, b"second");
        assert_eq!(head(block_on(inbox.receive())), Some(b"first".to_vec()));
    }

    #[test]
    fn the_receiver_is_woken_by_parcels_and_by_the_end() {
        let (lane, mut inbox) = bridge(8);
        let other = lane.clone();
        let receiver = std::thread::spawn(move || {
            let mut heads = Vec::new();
            while let Some(one) = head(block_on(inbox.receive())) {
                heads.push(one);
            }
            heads
        });
        for (lane, name) in [(lane, b"a"), (other, b"b")] {
            assert!(lane.send(visitor(name)).is_ok());
        }
        // Both lanes have been dropped.
        assert_eq!(receiver.join().unwrap(), [b"a".to_vec(), b"b".to_vec()]);
    }
}
