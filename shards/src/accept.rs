//! Stage 1: every shard has its own listener on the same address, and the kernel spreads the
//! connections.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Config;
use crate::net::Net;
use crate::rt;
use crate::shard::Shard;

/// How many connections may wait for the shard's next turn.
const FRESH_MAX: usize = 256;

/// How long the kernel keeps a connection whose peer acknowledges nothing. Beyond any write
/// timeout; for peers that vanished.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Accepted connections on their way from the accept task to the shard's turn.
#[derive(Debug)]
pub(crate) struct Fresh<S> {
    streams: RefCell<VecDeque<S>>,
    pauses: Cell<u64>,
    stopped: Cell<bool>,
}

impl<S> Default for Fresh<S> {
    fn default() -> Self {
        Self {
            streams: RefCell::new(VecDeque::new()),
            pauses: Cell::new(0),
            stopped: Cell::new(false),
        }
    }
}

impl<S> Fresh<S> {
    pub(crate) fn is_empty(&self) -> bool {
        self.streams.borrow().is_empty()
    }

    pub(crate) fn push(&self, stream: S) {
        self.streams.borrow_mut().push_back(stream);
    }

    /// How often accepting paused because descriptors were out.
    pub(crate) fn pauses(&self) -> u64 {
        self.pauses.get()
    }

    /// Ends the accept task at its next step.
    pub(crate) fn stop(&self) {
        self.stopped.set(true);
    }
}

/// Binds one listening socket. `address` with port 0 takes a free one.
pub(crate) fn listen(config: &Config, address: SocketAddr, core: usize) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Accepted sockets inherit these from the listener, which saves calls for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))?;
    if config.send_buffer_bytes > 0 {
        socket.set_send_buffer_size(config.send_buffer_bytes as usize)?;
    }
    if config.receive_buffer_bytes > 0 {
        socket.set_recv_buffer_size(config.receive_buffer_bytes as usize)?;
    }
    if config.steer_by_core {
        socket.set_cpu_affinity(core)?;
    }
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(config.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// Accepts until the shard stops. Where descriptors are out it pauses instead of spinning.
pub(crate) async fn accept(listener: rt::Listener, fresh: Rc<Fresh<rt::Stream>>, pause: Duration) {
    while !fresh.stopped.get() {
        match listener.accept().await {
            Ok(stream) => {
                fresh.push(stream);
                rt::wake_shard();
                if fresh.streams.borrow().len() >= FRESH_MAX {
                    rt::look_at_ring().await;
                }
            }
            Err(error) if is_the_peers(&error) => {}
            Err(_) => {
                fresh.pauses.set(fresh.pauses.get() + 1);
                rt::sleep(pause).await;
            }
        }
    }
}

/// Whether accepting failed because of that one connection, which is gone.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
    )
}

impl<N: Net> Shard<N> {
    /// Gives the accepted connections slots. Their sockets are read in this turn, if the request
    /// came with them.
    pub(crate) fn admit_fresh(&mut self) {
        let slots_max = self.config.clients_per_shard.saturating_add(FRESH_MAX);
        loop {
            let Some(stream) = self.fresh.streams.borrow_mut().pop_front() else { break };
            self.tally.accepts += 1;
            if self.roster.len() >= slots_max {
                // Not even a refusal can be afforded: a slot for it would be one over the bound.
                self.count_refusal(&crate::wire::http::Refusal::Full);
                N::shutdown(N::fd(&stream));
                continue;
            }
            let slot = self.roster.add(stream, self.now.ms(), self.now.seconds());
            self.set_deadline(slot, self.config.handshake_timeout);
            N::mark_ready(slot);
        }
    }

    /// Sets when a connection that is on its way in or out must be done.
    pub(crate) fn set_deadline(&mut self, slot: u32, after: Duration) {
        let after = u32::try_from(after.as_millis()).unwrap_or(u32::MAX / 4);
        self.deadlines.push((self.now.ms().wrapping_add(after), self.roster.id(slot)));
    }
}
