//! An agent: waits for a coordinator, or has been started by one.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::clock::Source;
use super::link::{self, LinkReader, LinkWriter};
use super::session;
use super::wire::{GREETING_BYTES_MAX, Hello, ORDER_BYTES_MAX, Order, PROTOCOL, Report, Welcome};
use crate::coordination::TOKEN;

/// How long a stranger may take to say who it is.
const GREETING_MAX: Duration = Duration::from_secs(5);

/// How long a coordinator may be silent while it greets the others.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// Strangers, and coordinators that are told to wait, at one time.
const CALLERS_MAX: usize = 16;

/// A token that others than this host's users may guess at is at least so long.
const TOKEN_BYTES_MIN: usize = 16;

/// How an agent runs.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Where to wait for a coordinator; elsewhere than on loopback only with a token.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7000")]
    listen: SocketAddr,
    /// The secret that a coordinator must know.
    #[arg(long, value_name = "TOKEN", env = TOKEN, hide_env_values = true)]
    token: Option<String>,
    /// The coordinator has started this process, and its standard input is the connection.
    #[arg(long, hide = true)]
    inherited: bool,
}

impl Args {
    /// Returns an error for flags that contradict each other, or are not safe.
    pub(crate) fn check(&self) -> Result<(), String> {
        let is_local = match self.listen.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback(),
        };
        match &self.token {
            None if !is_local => Err(format!(
                "{} is open to others: a --token keeps them from ordering load",
                self.listen
            )),
            Some(token) if token.len() < TOKEN_BYTES_MIN => {
                Err(format!("the token is shorter than {TOKEN_BYTES_MIN} bytes"))
            }
            _ => Ok(()),
        }
    }

    /// Serves one coordinator after the other, or the one that started this process.
    pub(crate) fn serve(&self) -> io::Result<()> {
        if self.inherited {
            let socket = Socket::from(io::stdin().as_fd().try_clone_to_owned()?);
            let (reader, writer) = link::halves(socket)?;
            let desk = Desk { token: None, busy: AtomicBool::new(false), ends_with: true };
            return desk.receive(reader, writer);
        }
        match self.listen() {
            Ok(never) => match never {},
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", self.listen))),
        }
    }

    fn listen(&self) -> io::Result<Infallible> {
        let listener = TcpListener::bind(self.listen)?;
        tell(&format!("listening on {}", listener.local_addr()?));
        let token = self.token.clone();
        let desk = Arc::new(Desk { token, busy: AtomicBool::new(false), ends_with: false });
        let callers = Arc::new(AtomicUsize::new(0));
        loop {
            let (stream, caller) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) => {
                    tell(&format!("a call failed: {error}"));
                    std::thread::park_timeout(Duration::from_millis(100));
                    continue;
                }
            };
            let here = Arc::clone(&callers);
            if here.fetch_add(1, Ordering::Relaxed) >= CALLERS_MAX {
                here.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let desk = Arc::clone(&desk);
            let started = Builder::new().name("caller".to_owned()).spawn(move || {
                if let Err(error) = desk.take(stream) {
                    tell(&format!("{caller}: {}", plain(&error.to_string())));
                }
                here.fetch_sub(1, Ordering::Relaxed);
            });
            if let Err(error) = started {
                tell(&format!("a call failed: {error}"));
                callers.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

/// Where coordinators are received.
struct Desk {
    token: Option<String>,
    /// Somebody's run is under way.
    busy: AtomicBool,
    /// This process has one coordinator, and ends when that has gone.
    ends_with: bool,
}

/// The right to run; given back when it is dropped.
struct Turn<'a>(&'a AtomicBool);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Desk {
    fn take(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (reader, writer) = link::halves(Socket::from(stream))?;
        self.receive(reader, writer)
    }

    /// Hears who it is, and serves it if it may order a load.
    fn receive(&self, mut reader: LinkReader, mut writer: LinkWriter) -> io::Result<()> {
        reader.line_bytes_max = GREETING_BYTES_MAX;
        reader.deadline = Some(Instant::now() + GREETING_MAX);
        let Order::Hello(hello) = reader.hear()? else {
            return Err(io::Error::other("it did not say who it is"));
        };
        let refused = self.refusal(&hello).err();
        let turn = refused.is_none().then(|| self.turn()).flatten();
        let Some(_turn) = turn else {
            let why = refused.unwrap_or_else(|| "it has another run under way".to_owned());
            writer.say(&Report::<()>::Refused { why: why.clone() })?;
            return Err(io::Error::other(format!("refused: {why}")));
        };
        reader.line_bytes_max = ORDER_BYTES_MAX;
        reader.deadline = None;
        reader.silence_max = SILENCE_MAX;
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let descriptors = limit.current.unwrap_or(u64::MAX);
        let welcome = Welcome { source: Source::here(), descriptors };
        writer.say(&Report::<()>::Welcome(welcome))?;
        let done = session::run(reader, writer, self.ends_with)?;
        if !self.ends_with {
            tell(&done);
        }
        Ok(())
    }

    fn refusal(&self, hello: &Hello) -> Result<(), String> {
        let own = Hello::with(None);
        let given = hello.token.as_deref().unwrap_or_default();
        if !self.token.as_deref().is_none_or(|token| is_same(token, given)) {
            return Err("the token is not right".to_owned());
        }
        if (hello.protocol, hello.version.as_str()) != (PROTOCOL, own.version.as_str()) {
            return Err(format!(
                "it is version {} (protocol {PROTOCOL}), the coordinator {} (protocol {})",
                own.version, hello.version, hello.protocol
            ));
        }
        Ok(())
    }

    fn turn(&self) -> Option<Turn<'_>> {
        // Acquire: what the run before left behind is seen.
        let free = self.busy.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        free.is_ok().then_some(Turn(&self.busy))
    }
}

/// Compares in the same time wherever they differ.
fn is_same(right: &str, given: &str) -> bool {
    let differs = right.bytes().zip(given.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b));
    right.len() == given.len() && std::hint::black_box(differs) == 0
}

/// Strangers' words, without what steers a terminal.
fn plain(text: &str) -> String {
    text.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// One line for whoever runs the agent.
fn tell(text: &str) {
    // Nobody may be reading.
    let _ = writeln!(io::stdout(), "stentor-bench agent: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(listen: &str, token: Option<&str>) -> Args {
        let token = token.map(str::to_owned);
        Args { listen: listen.parse().unwrap(), token, inherited: false }
    }

    #[test]
    fn only_this_hosts_users_need_no_token() {
        assert_eq!(args("127.0.0.1:7000", None).check(), Ok(()));
        assert_eq!(args("[::1]:7000", None).check(), Ok(()));
        let open = args("0.0.0.0:7000", None).check().unwrap_err();
        assert!(open.contains("--token"), "{open}");
        assert_eq!(args("0.0.0.0:7000", Some("0123456789abcdef")).check(), Ok(()));
        assert!(args("0.0.0.0:7000", Some("short")).check().unwrap_err().contains("16"));
        assert!(args("127.0.0.1:7000", Some("")).check().is_err());
    }

    #[test]
    fn who_does_not_know_the_token_or_speaks_otherwise_is_refused() {
        let desk = |token: Option<&str>| Desk {
            token: token.map(str::to_owned),
            busy: AtomicBool::new(false),
            ends_with: false,
        };
        let hello = |token: Option<&str>| Hello::with(token.map(str::to_owned));
        assert_eq!(desk(None).refusal(&hello(Some("whatever"))), Ok(()));
        let guarded = desk(Some("the right one"));
        assert_eq!(guarded.refusal(&hello(Some("the right one"))), Ok(()));
        for wrong in [None, Some(""), Some("the right on"), Some("the right onE")] {
            assert!(guarded.refusal(&hello(wrong)).unwrap_err().contains("token"), "{wrong:?}");
        }
        let other = Hello { protocol: 99, ..hello(None) };
        assert!(desk(None).refusal(&other).unwrap_err().contains("protocol 99"));
        let older = Hello { version: "0.0.1".to_owned(), ..hello(None) };
        assert!(desk(None).refusal(&older).unwrap_err().contains("0.0.1"));
        let told = guarded.refusal(&Hello { protocol: 99, ..hello(None) }).unwrap_err();
        assert!(told.contains("token"), "strangers learn nothing: {told}");
    }

    #[test]
    fn one_run_at_a_time() {
        let desk = Desk { token: None, busy: AtomicBool::new(false), ends_with: false };
        let turn = desk.turn();
        assert!(turn.is_some() && desk.turn().is_none());
        drop(turn);
        assert!(desk.turn().is_some());
    }
}
