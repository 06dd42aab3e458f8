//! What several benches need: a node to call, medians, and the programs of the same build.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use lydian_node::{Node, Options};
use lydian_value::Digest;

/// Whatever a bench ends with.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Two threads: one runtime for the node and one for its client, as they would be in two processes.
///
/// # Errors
/// The machine gives no threads.
pub fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}

/// A node that serves on a free port of loopback.
///
/// # Errors
/// It does not start.
pub async fn start(mut options: Options) -> Result<(Node, SocketAddr), Error> {
    options.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let node = Node::start(options).await?;
    let address = node.local_addr().ok_or("no address")?;
    let served = node.clone();
    tokio::spawn(async move { served.serve().await });
    Ok((node, address))
}

/// Whether a part was asked for by name on the command line; all are when none is named.
pub fn wanted() -> impl Fn(&str) -> bool {
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    move |name| named.is_empty() || named.iter().any(|arg| arg == name)
}

/// A program of the same build: benches lie in `release/deps`.
pub fn beside(name: &str) -> Option<PathBuf> {
    let bench = std::env::current_exe().ok()?;
    let program = bench.parent()?.parent()?.join(name);
    program.is_file().then_some(program)
}

/// The digest as messages carry it.
pub fn raw(digest: Digest) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(digest.as_bytes())
}

/// The one in the middle.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Bytes of a process in memory; `self` is this one.
///
/// # Errors
/// There is no such process.
pub fn resident(process: &str) -> Result<u64, Error> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib * 1024)
}
