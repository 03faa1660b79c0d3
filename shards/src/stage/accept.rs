//! Accept: every shard has its own listener on the same address, and the kernel spreads the
//! connections.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SocketFlags;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::clock::Now;
use crate::config::Config;
use crate::net::Net;
use crate::shard::{Fresh, Shard};
use crate::watch::Watch;
use crate::wire::refusal::Refusal;

/// The most connections that may wait for the shard's next turn. A handshake costs about 20 us, and
/// as much again if its client is sent what it missed: a storm of them makes turns that are a third
/// of a millisecond long. With 64 a turn, other clients' messages waited for 1.5 ms. Turns that are
/// long for other reasons take more: see [`Shard::part_of_turn`].
const FRESH_MAX: usize = 8;

/// The time that a connection takes in its first turns.
const FRESH_NS: u64 = 40_000;

/// Slots beyond those of clients, for connections that are told that the server is full.
const REFUSALS_MAX: usize = 256;

/// The most connections that a shard takes at one look from a socket that all shards share, so that
/// each shard gets some of many.
const SHARED_MAX: usize = 4;

/// The time for which the kernel keeps a connection whose peer acknowledges nothing. It is longer
/// than any write timeout, and ends connections to peers that vanished.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Binds one listening socket. `address` with port 0 takes a free one.
pub(crate) fn listen(config: &Config, address: SocketAddr, core: usize) -> io::Result<OwnedFd> {
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    furnish(SockRef::from(&socket), config)?;
    if config.steer_by_core {
        socket.set_cpu_affinity(core)?;
    }
    if address.is_ipv6() && address.ip().is_unspecified() {
        // All addresses are those of both families, whatever net.ipv6.bindv6only says.
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog(config))?;
    Ok(socket.into())
}

/// Makes a socket on which another process listens, or has listened, one of this process. Settings
/// that this process leaves to the kernel, such as buffer sizes, stay as they are.
pub(crate) fn adopt(listener: &OwnedFd, config: &Config, core: usize) -> io::Result<()> {
    let socket = SockRef::from(listener);
    if is_unix(listener) {
        // A Unix socket has neither TCP's settings nor its spreading by cores.
        return socket.listen(backlog(config));
    }
    // The kernel takes minus one for no core.
    socket.set_cpu_affinity(if config.steer_by_core { core } else { usize::MAX })?;
    // Listening once more changes the backlog, and neither loses nor refuses a connection.
    socket.listen(backlog(config))?;
    furnish(socket, config)
}

fn is_unix(listener: &OwnedFd) -> bool {
    SockRef::from(listener).local_addr().is_ok_and(|address| address.is_unix())
}

fn backlog(config: &Config) -> i32 {
    i32::try_from(config.backlog).unwrap_or(i32::MAX)
}

fn furnish(socket: SockRef<'_>, config: &Config) -> io::Result<()> {
    // Accepted sockets inherit these from the listener, which saves calls for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))?;
    if config.send_buffer_bytes > 0 {
        socket.set_send_buffer_size(config.send_buffer_bytes as usize)?;
    }
    if config.receive_buffer_bytes > 0 {
        socket.set_recv_buffer_size(config.receive_buffer_bytes as usize)?;
    }
    Ok(())
}

/// A listening socket of a shard.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) socket: OwnedFd,
    /// Connections that come to it speak TLS.
    pub(crate) is_sealed: bool,
}

/// A shard's listeners, and the time of the next look at them.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// One for each address, or several of a process with more shards.
    doors: Vec<Door>,
    /// The place of the door at which the next look begins.
    next: usize,
    /// Connections may wait without another event: the last look did not take all.
    more: bool,
    /// No look before then: no descriptor was left, or other shards were behind.
    not_before: Option<Now>,
    pause: Duration,
    /// Other shards accept from the same socket.
    is_shared: bool,
}

impl Entrance {
    pub(crate) fn new(doors: Vec<Door>, pause: Duration) -> Self {
        // All shards watch a shared socket, each of them edge-triggered: every connection wakes all
        // of them, and the first one takes it. EPOLLEXCLUSIVE has no effect on shards that sleep in
        // the ring; of those that sleep in epoll it would always wake the same one.
        let is_shared = doors.iter().any(|door| is_unix(&door.socket));
        Self { doors, next: 0, more: false, not_before: None, pause, is_shared }
    }

    /// Returns `true` if the shard must look at its listeners before it sleeps.
    pub(crate) fn is_due(&self, net: &Watch) -> bool {
        self.not_before.is_none() && (net.listener_is_ready || self.more)
    }

    /// The longest time that the shard may sleep; `None` for any time.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.not_before.map(|_| self.pause)
    }

    /// Accepts the connections that wait, up to a bound. Pauses if no descriptor is left, as the
    /// listener would stay ready.
    pub(crate) fn accept(&mut self, shard: &mut Shard<Watch>, now: Now) {
        let due =
            self.not_before.map_or_else(|| self.is_due(&shard.clients.net), |then| now >= then);
        if !due {
            return;
        }
        if shard.has_successor() {
            return self.leave(&mut shard.clients.net);
        }
        if shard.port.owes_much() {
            return self.pause(now);
        }
        (self.not_before, self.more, shard.clients.net.listener_is_ready) = (None, false, false);
        let mut empty = 0;
        let of_one = FRESH_MAX.max(shard.part_of_turn(FRESH_NS));
        let fresh_max = if self.is_shared { SHARED_MAX } else { of_one };
        while shard.fresh.len() < fresh_max {
            let Some(Door { socket, is_sealed }) = self.doors.get(self.next) else { return };
            match rustix::net::accept_with(socket, SocketFlags::CLOEXEC) {
                Ok(stream) => shard.fresh.push_back(Fresh { stream, is_sealed: *is_sealed }),
                Err(Errno::AGAIN) => {
                    empty += 1;
                    if empty == self.doors.len() {
                        return;
                    }
                    self.next = (self.next + 1) % self.doors.len();
                }
                Err(error) if is_the_peers(error) => {}
                Err(_) => {
                    shard.clients.tally.accept_pauses += 1;
                    return self.pause(now);
                }
            }
        }
        self.more = true;
    }

    fn pause(&mut self, now: Now) {
        self.not_before = Some(Now { ns: now.ns + nanoseconds(self.pause) });
    }

    /// Leaves the listeners, and the connections that wait at them, to another process. That
    /// process holds the same sockets, so no connection is refused.
    fn leave(&mut self, net: &mut Watch) {
        for door in self.doors.drain(..) {
            // The kernel reports events of a socket as long as another process holds it.
            net.forget(&door.socket);
        }
        (self.not_before, self.more, net.listener_is_ready) = (None, false, false);
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}

/// Returns `true` if accepting failed because of one connection, which is gone.
fn is_the_peers(error: Errno) -> bool {
    matches!(error, Errno::CONNABORTED | Errno::CONNRESET | Errno::INTR | Errno::TIMEDOUT)
}

impl<N: Net> Shard<N> {
    /// Gives the accepted connections slots, and has their sockets watched.
    pub(crate) fn admit_fresh(&mut self) {
        let clients = &mut self.clients;
        let slots_max = clients.config.clients_per_shard.saturating_add(REFUSALS_MAX);
        while let Some(Fresh { stream, is_sealed }) = self.fresh.pop_front() {
            clients.tally.accepts += 1;
            if clients.roster.len() >= slots_max {
                // There is no slot for a refusal either: it would be one over the bound.
                clients.count_refusal(&Refusal::Full);
                N::shutdown(N::fd(&stream));
                continue;
            }
            let secured = is_sealed.then(|| clients.sealing.session());
            if matches!(secured, Some(Err(_))) {
                clients.tally.tls_faults += 1;
                N::shutdown(N::fd(&stream));
                continue;
            }
            let slot = clients.roster.add(stream, clients.now.ms(), clients.now.seconds());
            if let Some(Ok(secured)) = secured {
                clients.roster.state_mut(slot).secure();
                clients.roster.put_session(slot, Box::new(secured));
            }
            let Some(client) = clients.roster.get(slot) else { continue };
            if clients.net.watch(&client.stream, slot).is_err() {
                // The kernel is out of memory or watches too many. Dropping closes the socket.
                clients.count_refusal(&Refusal::Full);
                clients.roster.remove(slot);
                continue;
            }
            clients.set_deadline(slot, clients.config.handshake_timeout);
        }
    }
}
