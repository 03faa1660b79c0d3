//! The same load against the bare loop, on this host and in the same run: what a figure is held
//! against.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::load::{Failed, Plan};
use crate::measure::Measure;
use crate::run::Run;
use crate::served::Served;

/// How the bare loop sends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// One send(2) for each client and message.
    #[default]
    Plain,
    /// One send(2) for each client and all that one round brought.
    Joined,
    /// `io_uring`, a batch for each message.
    Uring,
}

impl Kind {
    /// Returns the name in flags and tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Joined => "joined",
            Self::Uring => "uring",
        }
    }
}

/// How the bare loop runs beside another server.
#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::struct_field_names, reason = "they are the flags' names")]
pub(crate) struct Limit {
    /// Run the same load against the bare loop as well, and print every figure as a ratio to it.
    #[arg(long)]
    against_limit: bool,
    /// The core that the bare loop runs on: the server's.
    #[arg(long, value_name = "CORE", requires = "against_limit")]
    limit_core: Option<usize>,
    /// The bare loop to hold it against.
    #[arg(long, value_name = "KIND", requires = "against_limit", default_value = "plain")]
    limit_kind: Kind,
}

impl Limit {
    /// Returns `true` if the bare loop is to run as well.
    pub(crate) fn is_asked(&self) -> bool {
        self.against_limit
    }

    /// Returns an error for flags that contradict each other.
    pub(crate) fn check(&self, plan: &Plan) -> Result<(), String> {
        if self.against_limit && plan.setup.agents.are_elsewhere() {
            return Err("--against-limit: the bare loop of this host is for agents of it".into());
        }
        if self.against_limit && !plan.audience.is_everyone() {
            return Err("--against-limit: the bare loop knows neither channels nor users".into());
        }
        Ok(())
    }

    /// Runs `plan` against the bare loop, if that was asked for.
    pub(crate) fn run(
        &self,
        plan: &Plan,
        stopped: &Arc<AtomicBool>,
    ) -> Result<Option<Box<Run>>, Failed> {
        if !self.against_limit {
            return Ok(None);
        }
        let (bare, address) = start(self.limit_kind, self.limit_core)?;
        let mut plan = plan.against(address, bare.pid()).map_err(Failed::Unreachable)?;
        plan.setup.label = format!("bare loop, {}", self.limit_kind.name());
        plan.run(stopped).map(|run| Some(Box::new(run)))
    }
}

/// A bare loop on a free port; it ends with what is returned.
pub(crate) fn start(kind: Kind, core: Option<usize>) -> io::Result<(Served, SocketAddr)> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["raw", "--listen", &address.to_string()]);
    match kind {
        Kind::Plain => {}
        Kind::Joined => drop(command.arg("--joined")),
        Kind::Uring => drop(command.arg("--uring")),
    }
    if let Some(core) = core {
        command.args(["--core", &core.to_string()]);
    }
    Ok((Served::start(&mut command, &[address])?, address))
}
