//! The server's process.
#![forbid(unsafe_code)]

use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let _ = rustix::thread::membarrier(rustix::thread::MembarrierCommand::RegisterPrivateExpedited);
    let args: Vec<String> = std::env::args().collect();
    let get = |name: &str| args.iter().position(|a| a == name).map(|i| args[i + 1].clone());
    let shards: usize = get("--shards").map_or(1, |n| n.parse().unwrap_or(1));
    let cores = get("--cores").map_or_else(
        || (0..shards).collect(),
        |c| c.split(',').map(|c| c.parse().unwrap_or(0)).collect(),
    );
    let mut config = stentor_shards::Config::with_cores(cores);
    if let Some(listen) = get("--listen") {
        config.listen = listen.parse().expect("an address");
    }
    if let Some(s) = get("--ping-interval") {
        config.ping_interval =
            std::time::Duration::from_secs(s.trim_end_matches('s').parse().expect("seconds"));
    }
    let (handle, run) = stentor_shards::run(config, Arc::new(|_| false)).expect("a run");
    eprintln!("ready {}", handle.address());
    println!("{:?}", run.wait());
}
