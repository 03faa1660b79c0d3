//! A nats-server with `JetStream` on a free port.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// A running engine; it is killed when dropped.
pub(crate) struct Nats {
    child: Child,
    port: u16,
    folder: TempDir,
    more: Vec<String>,
}

fn binary() -> PathBuf {
    let binary = Path::new(env!("CARGO_MANIFEST_DIR")).join(".nats/bin/nats-server");
    assert!(binary.exists(), "scripts/nats.sh installs {}", binary.display());
    binary
}

impl Nats {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let more: Vec<String> = more.iter().map(|flag| (*flag).to_owned()).collect();
        let (child, port) = spawn(&folder, "-1", &more);
        Self { child, port, folder, more }
    }

    /// The address for nodes.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Kills it. What it has in files stays.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, at the same address.
    pub(crate) fn start_again(&mut self) {
        (self.child, _) = spawn(&self.folder, &self.port.to_string(), &self.more);
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::zombie_processes, reason = "dropping the engine reaps it")]
fn spawn(folder: &TempDir, port: &str, more: &[String]) -> (Child, u16) {
    let ports = folder.path().join("ports");
    let _ = fs::remove_dir_all(&ports);
    fs::create_dir(&ports).unwrap();
    let child = Command::new(binary())
        .args(["-js", "-a", "127.0.0.1", "-p", port])
        .arg("-sd")
        .arg(folder.path().join("store"))
        .arg("--ports_file_dir")
        .arg(&ports)
        .args(more)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "nats-server does not start");
        let file = fs::read_dir(&ports).unwrap().flatten().next();
        let text = file.and_then(|file| fs::read_to_string(file.path()).ok()).unwrap_or_default();
        if let Ok(told) = serde_json::from_str::<Value>(&text)
            && let Some(url) = told["nats"][0].as_str()
        {
            let port = url.rsplit_once(':').unwrap().1.parse().unwrap();
            return (child, port);
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
