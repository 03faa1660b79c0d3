//! The coordinator's first errand: agents are started or called, greeted, and asked for the time.

use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use socket2::Socket;

use super::clock::{Exchange, Offset, Source};
use super::link::{self, LinkReader, LinkWriter};
use super::wire::{Hello, Order, REPORT_BYTES_MAX, Report, Welcome};
use crate::coordination::{Agents, Party, TOKEN};
use crate::host::own_ns;

/// How long an agent may take to answer a call.
const CALL_MAX: Duration = Duration::from_secs(5);

/// How long it may be silent: it speaks twice a second.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How often an agent is asked for the time, at most and at least.
const EXCHANGES: [usize; 2] = [64, 8];

/// How long that may take, if it was often enough.
const EXCHANGING: Duration = Duration::from_secs(1);

/// An agent that takes part, and the connection with it.
pub(super) struct Member {
    pub(super) reader: LinkReader,
    pub(super) writer: LinkWriter,
    pub(super) known: Known,
}

/// Facts about an agent.
pub(super) struct Known {
    /// As whoever reads an error knows it.
    pub(super) name: String,
    pub(super) welcome: Welcome,
    /// As measured when it was greeted.
    pub(super) offset: Offset,
    /// Its process, if it was started for this run.
    _process: Option<Process>,
}

/// A process of this run, which ends with it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It has mostly ended by itself: its connection has.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// All agents of a run, greeted; whoever cannot be had is named.
pub(super) fn enrol(agents: &Agents) -> io::Result<Vec<Member>> {
    let token = agents.token.as_deref();
    std::thread::scope(|scope| {
        let parties = agents.parties();
        let calls: Vec<_> = parties
            .enumerate()
            .map(|(number, party)| scope.spawn(move || greet(number, party, token)))
            .collect();
        calls
            .into_iter()
            .map(|call| call.join().map_err(|_| io::Error::other("a call panicked"))?)
            .collect()
    })
}

fn greet(number: usize, party: &Party, token: Option<&str>) -> io::Result<Member> {
    let (name, reached) = match party {
        Party::Local(_) => (format!("agent {}", number + 1), start()),
        Party::At(address) => (
            format!("agent {} ({address})", number + 1),
            call(address).map(|socket| (socket, None)),
        ),
    };
    let greeted = reached.and_then(|(socket, process)| {
        let (mut reader, mut writer) = link::halves(socket)?;
        reader.line_bytes_max = REPORT_BYTES_MAX;
        reader.silence_max = SILENCE_MAX;
        writer.say(&Order::Hello(Hello::with(token.map(str::to_owned))))?;
        let welcome = match reader.hear::<Report<()>>()? {
            Report::Welcome(welcome) => welcome,
            Report::Refused { why } => return Err(io::Error::other(format!("it refuses: {why}"))),
            _ => return Err(unexpected()),
        };
        let measured = time_of(&mut reader, &mut writer)?;
        let offset = Offset::between(&Source::here(), &welcome.source, measured);
        let known = Known { name: name.clone(), welcome, offset, _process: process };
        Ok(Member { reader, writer, known })
    });
    greeted.map_err(|error| named(&name, &error))
}

impl Known {
    /// How far its clock is off by now.
    pub(super) fn offset_now(
        &self,
        reader: &mut LinkReader,
        writer: &mut LinkWriter,
    ) -> io::Result<Offset> {
        let measured = time_of(reader, writer).map_err(|error| named(&self.name, &error))?;
        Ok(Offset::between(&Source::here(), &self.welcome.source, measured))
    }
}

/// An error of an agent, in one line whatever it said.
pub(super) fn named(name: &str, error: &io::Error) -> io::Error {
    let text: String =
        error.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    io::Error::new(error.kind(), format!("{name}: {text}"))
}

/// It spoke out of turn.
pub(super) fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it said something else than it was asked")
}

/// A process of this very program, on a connection that nobody else can reach.
fn start() -> io::Result<(Socket, Option<Process>)> {
    let (here, there) = UnixStream::pair()?;
    let child = Command::new(std::env::current_exe()?)
        .args(["agent", "--inherited"])
        .env_remove(TOKEN)
        .stdin(OwnedFd::from(there))
        .stdout(Stdio::null())
        // An interrupt from the terminal is for the coordinator, which ends the run in good order.
        .process_group(0)
        .spawn()?;
    Ok((Socket::from(OwnedFd::from(here)), Some(Process(child))))
}

fn call(address: &str) -> io::Result<Socket> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CALL_MAX) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(Socket::from(stream));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Asks for the time until it is known well enough.
fn time_of(reader: &mut LinkReader, writer: &mut LinkWriter) -> io::Result<Offset> {
    let [most, least] = EXCHANGES;
    let began = Instant::now();
    let mut exchanges = Vec::with_capacity(most);
    while exchanges.len() < most && (exchanges.len() < least || began.elapsed() < EXCHANGING) {
        let asked_ns = own_ns();
        writer.say(&Order::Time)?;
        let Report::Time { at_ns } = reader.hear::<Report<()>>()? else { return Err(unexpected()) };
        exchanges.push(Exchange { asked_ns, there_ns: at_ns, answered_ns: own_ns() });
    }
    Offset::of(&exchanges).ok_or_else(unexpected)
}
