//! Bridges: the ports of threads that are no shard, such as the control plane's.
//!
//! Such a thread asks shards through the mesh and collects their answers as [`Answers`], without
//! blocking a shard. In the other direction each bridge has one bounded lane, into which every
//! shard sends: a parcel that finds the lane full is returned and counted, as no shard waits for a
//! thread that may be slow. A further bridge is one line in [`BridgeId`] and one call of
//! [`Bridges::build`] where its thread starts.
//!
//! [`Answers`]: super::reply::Answers

use std::future::poll_fn;
use std::net::TcpStream;
use std::sync::Arc;
use std::task::Poll;

use atomic_waker::AtomicWaker;
use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};

use super::news::News;
use super::question::Question;
use crate::tls::Session;

/// An HTTP request that is not an upgrade: the socket, and the bytes that were read from it.
#[derive(Debug)]
pub struct Visitor {
    /// The connection, in nonblocking mode.
    pub socket: TcpStream,
    /// Every byte read from it; of a connection that speaks TLS, what these bytes mean.
    pub head: Vec<u8>,
    /// The session of a connection that speaks TLS.
    pub sealed: Option<Box<Sealed>>,
}

/// The state of TLS on a connection that passes to another thread.
#[derive(Debug)]
pub struct Sealed {
    /// The session, whose handshake is over.
    pub session: Session,
    /// Sealed bytes that the socket has not taken yet.
    pub unsent: Vec<u8>,
}

/// A parcel from a shard to a thread that is no shard.
#[derive(Debug)]
pub enum Crossing {
    /// A visitor to be answered.
    Visitor(Visitor),
    /// A question for the application's backend.
    Question(Box<Question>),
    /// Something that the application is told.
    News(Box<News>),
}

/// The bridges of a process, one line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BridgeId {
    /// To the control plane: visitors to be answered.
    Control,
    /// To the thread that asks the application's backend.
    Hooks,
    /// To the thread that tells the application what happens.
    Events,
    /// To a thread of the tests.
    #[cfg(test)]
    Test,
}

/// The shards' ends of all bridges; each port has its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bridges {
    lanes: Vec<(BridgeId, BridgeLane<Crossing>)>,
    /// Parcels that found no room.
    refused: u64,
}

/// The shards' end of one bridge.
#[derive(Debug)]
pub(crate) struct BridgeLane<T> {
    /// `None` only while it is dropped.
    sender: Option<Sender<T>>,
    waker: Arc<AtomicWaker>,
}

/// The other end, for one thread.
#[derive(Debug)]
pub struct Inbox<T = Crossing> {
    receiver: Receiver<T>,
    waker: Arc<AtomicWaker>,
}

/// A lane to a thread, which holds `parcels` parcels, and that thread's end.
pub(crate) fn lane<T>(parcels: usize) -> (BridgeLane<T>, Inbox<T>) {
    let (sender, receiver) = bounded(parcels);
    let waker = Arc::new(AtomicWaker::new());
    let lane = BridgeLane { sender: Some(sender), waker: Arc::clone(&waker) };
    (lane, Inbox { receiver, waker })
}

impl Bridges {
    /// Builds the bridge `to` a thread, whose lane holds `parcels` parcels. Returns the thread's
    /// end. Call it before the ports are made: each of them has the bridges of that time.
    pub(crate) fn build(&mut self, to: BridgeId, parcels: usize) -> Inbox {
        debug_assert!(self.lanes.iter().all(|(of, _)| *of != to), "{to:?} is built once");
        let (lane, inbox) = lane(parcels);
        self.lanes.push((to, lane));
        inbox
    }

    /// Sends a parcel, or returns it and counts that: the lane is full, or nobody is there.
    pub(crate) fn send(&mut self, to: BridgeId, parcel: Crossing) -> Result<(), Crossing> {
        let sent = match self.lanes.iter().find(|(of, _)| *of == to) {
            Some((_, lane)) => lane.send(parcel).map_err(TrySendError::into_inner),
            None => Err(parcel),
        };
        self.refused += u64::from(sent.is_err());
        sent
    }

    /// Returns the number of parcels that found no room, on all bridges together.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
}

impl<T> BridgeLane<T> {
    /// Sends a parcel, or returns it: the lane is full, or nobody is there.
    pub(crate) fn send(&self, parcel: T) -> Result<(), TrySendError<T>> {
        let Some(sender) = &self.sender else { return Err(TrySendError::Disconnected(parcel)) };
        let sent = sender.try_send(parcel);
        // After the push: the receiver looks once more after it has registered.
        self.waker.wake();
        sent
    }

    pub(crate) fn is_full(&self) -> bool {
        self.sender.as_ref().is_some_and(Sender::is_full)
    }
}

impl<T> Clone for BridgeLane<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), waker: Arc::clone(&self.waker) }
    }
}

impl<T> Drop for BridgeLane<T> {
    fn drop(&mut self) {
        // Before the wake: the last one that goes must be seen to have gone.
        drop(self.sender.take());
        self.waker.wake();
    }
}

impl<T> Inbox<T> {
    /// Waits for the next parcel; `None` when all shards have gone.
    pub async fn receive(&mut self) -> Option<T> {
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

    /// Returns `true` if half of the lane or more is in use.
    pub(crate) fn is_half_full(&self) -> bool {
        self.receiver.capacity().is_some_and(|parcels| self.receiver.len() * 2 >= parcels)
    }

    /// Returns the next parcel if it is there already.
    pub(crate) fn try_next(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }

    /// Returns `None` if nothing is there yet, and `Some(None)` if nothing will come any more.
    #[expect(clippy::option_option, reason = "two ways of having nothing")]
    fn try_receive(&self) -> Option<Option<T>> {
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
        Crossing::Visitor(Visitor { socket, head: head.to_vec(), sealed: None })
    }

    fn head(received: Option<Crossing>) -> Option<Vec<u8>> {
        received.map(|crossing| match crossing {
            Crossing::Visitor(visitor) => visitor.head,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_full_bridge_returns_the_parcel_and_counts_it() {
        let mut bridges = Bridges::default();
        let mut inbox = bridges.build(BridgeId::Control, 1);
        let mut send = |head: &[u8]| bridges.send(BridgeId::Control, visitor(head));
        assert!(send(b"first").is_ok());
        let Err(Crossing::Visitor(back)) = send(b"second") else { panic!("no room") };
        assert_eq!(back.head, b"second");
        assert_eq!(head(block_on(inbox.receive())), Some(b"first".to_vec()));
        assert!(send(b"third").is_ok());
        assert_eq!(bridges.refused(), 1);
    }

    #[test]
    fn each_bridge_has_a_lane_of_its_own() {
        let mut bridges = Bridges::default();
        assert!(bridges.send(BridgeId::Test, visitor(b"early")).is_err(), "it is not built");
        let [mut control, mut test] =
            [BridgeId::Control, BridgeId::Test].map(|to| bridges.build(to, 1));
        let mut ports = [bridges.clone(), bridges];
        assert!(ports[0].send(BridgeId::Control, visitor(b"to control")).is_ok());
        assert!(ports[1].send(BridgeId::Test, visitor(b"to test")).is_ok(), "this lane has room");
        assert!(ports[1].send(BridgeId::Control, visitor(b"late")).is_err(), "all ports share it");
        assert_eq!(ports.each_ref().map(Bridges::refused), [1, 2], "the early one counts for both");
        assert_eq!(head(block_on(control.receive())), Some(b"to control".to_vec()));
        assert_eq!(head(block_on(test.receive())), Some(b"to test".to_vec()));
        drop(ports);
        assert_eq!([control, test].map(|mut inbox| head(block_on(inbox.receive()))), [None, None]);
    }

    #[test]
    fn the_receiver_is_woken_by_parcels_and_by_the_end() {
        let mut bridges = Bridges::default();
        let mut inbox = bridges.build(BridgeId::Control, 8);
        let receiver = std::thread::spawn(move || {
            let mut heads = Vec::new();
            while let Some(one) = head(block_on(inbox.receive())) {
                heads.push(one);
            }
            heads
        });
        for (mut port, name) in [(bridges.clone(), b"a"), (bridges, b"b")] {
            assert!(port.send(BridgeId::Control, visitor(name)).is_ok());
        }
        // The ends of all ports have been dropped.
        assert_eq!(receiver.join().unwrap(), [b"a".to_vec(), b"b".to_vec()]);
    }
}
