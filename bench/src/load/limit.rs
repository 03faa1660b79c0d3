//! The same load against the bare loop, on this host and in the same run: what a figure is held
//! against.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::{Failed, Plan};
use crate::run::Run;

/// How long the bare loop may take to listen.
const START_MAX: Duration = Duration::from_secs(5);

/// How the bare loop runs.
#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::struct_field_names, reason = "they are the flags' names")]
pub(crate) struct Limit {
    /// Run the same load against the bare loop as well, and print every figure as a ratio to it.
    #[arg(long)]
    against_limit: bool,
    /// The core that the bare loop runs on: the server's.
    #[arg(long, value_name = "CORE", requires = "against_limit")]
    limit_core: Option<usize>,
    /// Hold it against the loop that joins what one round brought in one send for each client.
    #[arg(long, requires = "against_limit")]
    limit_joined: bool,
}

/// The bare loop's process; it ends with this.
struct Bare(Child);

impl Drop for Bare {
    fn drop(&mut self) {
        // It may have ended by itself, which the run has met.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Limit {
    /// What makes no sense together.
    pub(crate) fn check(&self, plan: &Plan) -> Result<(), String> {
        if self.against_limit && plan.aim.agents.are_elsewhere() {
            return Err("--against-limit: the bare loop of this host is for agents of it".into());
        }
        Ok(())
    }

    /// What the bare loop does under `plan`, if that was asked for.
    pub(crate) fn run(
        &self,
        plan: &Plan,
        stopped: &Arc<AtomicBool>,
    ) -> Result<Option<Box<Run>>, Failed> {
        if !self.against_limit {
            return Ok(None);
        }
        let address = free_address()?;
        let bare = self.start(address)?;
        let plan = plan.against(address, bare.0.id()).map_err(Failed::Unreachable)?;
        super::run(&plan, stopped).map(|run| Some(Box::new(run)))
    }

    fn start(&self, address: SocketAddr) -> io::Result<Bare> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["raw", "--listen", &address.to_string()]);
        if let Some(core) = self.limit_core {
            command.args(["--core", &core.to_string()]);
        }
        if self.limit_joined {
            command.arg("--joined");
        }
        let mut bare = Bare(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect(address).is_err() {
            if bare.0.try_wait()?.is_some() || Instant::now() > deadline {
                return Err(io::Error::other("the bare loop did not start"));
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Ok(bare)
    }
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
