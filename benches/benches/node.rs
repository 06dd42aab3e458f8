//! What a node costs before and between calls: first calls, rest, and a whole process for one call.
//!
//! | measured | bar |
//! | --- | --- |
//! | `first`: first call of an app whose artifact is on disk, over gRPC | 2 ms |
//! | `first`: first call of a component just uploaded, less the compile time | 5 ms |
//! | `idle`: resident memory of `lydian up` after a call | 40 MB |
//! | `sandboxes`: resident memory of 10,000 live idle sandboxes | 50 KiB each |
//! | `command`: `lydian run`, whole process, embedded | 1.5 x `wasmtime run --invoke` beside it |
//!
//! `cargo xtask bench node [first|idle|sandboxes|command]`. `idle` and `command` use the `lydian` beside this bench
//! (`cargo build --release -p lydian-cli`), `command` also a `wasmtime` 48 from `WASMTIME` or `PATH`; what is missing is
//! said.

use bytes::Bytes;
use lydian_api::v1;
use lydian_benches::{Error, beside, median, raw, resident, runtime, start, wanted};
use lydian_engine::{Engine, Options as EngineOptions, SessionOptions};
use lydian_node::{Node, Options};
use lydian_tests::guests;
use lydian_value::Digest;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tonic::transport::Channel;

type Result<T, E = Error> = std::result::Result<T, E>;

/// Each first call needs a node of its own.
const STARTS: usize = 9;
const SANDBOXES: usize = 10_000;
/// Pairs of processes, one after the other.
const PAIRS: usize = 41;

fn main() -> Result<()> {
    let wants = wanted();
    let runtime = runtime()?;
    if wants("first") {
        runtime.block_on(first())?;
    }
    if wants("sandboxes") {
        runtime.block_on(sandboxes())?;
    }
    if wants("idle") {
        idle()?;
    }
    if wants("command") {
        command()?;
    }
    Ok(())
}

/// Both first calls, on nodes over one directory: the first compiles, the others find the artifact.
async fn first() -> Result<()> {
    let (mut compiled, mut loaded) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let directory = tempfile::tempdir()?;
        let (node, channel) = connected(directory.path()).await?;
        let bytes = Bytes::from(guests::MATH.bytes());
        let digest = put(channel.clone(), bytes).await?;
        let since = Instant::now();
        let compile = call(
            channel.clone(),
            v1::Target::component(raw(digest), "square"),
        )
        .await?;
        compiled.push(since.elapsed().saturating_sub(compile));
        deploy(channel, digest).await?;
        node.shutdown(Duration::ZERO).await;

        let (node, channel) = connected(directory.path()).await?;
        let since = Instant::now();
        call(channel, v1::Target::app("", "math", "square")).await?;
        loaded.push(since.elapsed());
        node.shutdown(Duration::ZERO).await;
    }
    println!("first call, artifact on disk: p50 {:?}", median(loaded));
    println!(
        "first call after the upload, less the compile time: p50 {:?}",
        median(compiled)
    );
    Ok(())
}

async fn connected(directory: &Path) -> Result<(Node, Channel)> {
    let (node, address) = start(Options::new(directory)).await?;
    let channel = Channel::from_shared(format!("http://{address}"))?
        .tcp_nodelay(true)
        .connect()
        .await?;
    // The connection is not what is measured.
    tonic_health::pb::health_client::HealthClient::new(channel.clone())
        .check(tonic_health::pb::HealthCheckRequest::default())
        .await?;
    Ok((node, channel))
}

async fn put(channel: Channel, bytes: Bytes) -> Result<Digest> {
    let digest = Digest::of(&bytes);
    let start = v1::PutStart {
        digest: raw(digest),
        size_bytes: bytes.len() as u64,
        offset_bytes: 0,
    };
    let mut parts = vec![v1::PutRequest::from(start)];
    parts.extend(
        bytes
            .chunks(1 << 20)
            .map(|part| v1::put_request::Part::Data(Bytes::copy_from_slice(part)).into()),
    );
    v1::blobs_client::BlobsClient::new(channel)
        .put(futures::stream::iter(parts))
        .await?;
    Ok(digest)
}

async fn deploy(channel: Channel, digest: Digest) -> Result<()> {
    let request = v1::DeployRequest {
        app: "math".into(),
        component: raw(digest),
        ..Default::default()
    };
    v1::apps_client::AppsClient::new(channel)
        .deploy(request)
        .await?;
    Ok(())
}

/// Answers what went into compiling.
async fn call(channel: Channel, target: v1::Target) -> Result<Duration> {
    let request = v1::InvokeRequest {
        target: Some(target),
        args: Bytes::copy_from_slice(&4u64.to_le_bytes()),
        ..Default::default()
    };
    let answer = v1::calls_client::CallsClient::new(channel)
        .invoke(request)
        .await?
        .into_inner();
    let outcome = answer.outcome.ok_or("no outcome")?;
    if let Some(v1::outcome::Result::Failure(failure)) = outcome.result {
        return Err(failure.message.into());
    }
    let usage = outcome.usage.unwrap_or_default();
    Ok(Duration::from_micros(usage.compile_micros))
}

/// Sessions that are open and do nothing, of a guest with a heap.
async fn sandboxes() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let engine = Engine::new(EngineOptions::new(directory.path()))?;
    let most = engine.stats().sandboxes_max;
    if most < SANDBOXES {
        println!(
            "sandboxes: this machine carries {most} at once, not {SANDBOXES}: see `lydian doctor` (vm.max_map_count, memory)"
        );
    }
    let count = SANDBOXES.min(most);
    let bytes = Bytes::from(guests::MATH.bytes());
    let source = move || -> futures::future::BoxFuture<'static, Result<Bytes, std::io::Error>> {
        Box::pin(std::future::ready(Ok(bytes)))
    };
    let component = engine
        .prepare(Digest::of(&guests::MATH.bytes()), source)
        .await?;
    // The first ones touch what all share.
    let mut open = Vec::with_capacity(count);
    for _ in 0..10 {
        open.push(session(&engine, &component).await?);
    }
    let before = resident("self")?;
    let since = Instant::now();
    while open.len() < count {
        open.push(session(&engine, &component).await?);
    }
    let took = since.elapsed();
    let grown = resident("self")?.saturating_sub(before);
    println!(
        "sandboxes: {count} idle ones take {} KiB each, opened in {took:?}; {} mappings",
        grown / (count as u64 - 10) / 1024,
        std::fs::read_to_string("/proc/self/maps")?.lines().count()
    );
    Ok(())
}

async fn session(
    engine: &Engine,
    component: &std::sync::Arc<lydian_engine::Component>,
) -> Result<lydian_engine::Session> {
    engine
        .open(SessionOptions::new(component.clone()))
        .await
        .map_err(|failure| failure.message.into())
}

/// A node as people run it, after one call.
fn idle() -> Result<()> {
    let Some(lydian) = beside("lydian") else {
        println!(
            "idle: skipped, no `lydian` beside this bench: cargo build --release -p lydian-cli"
        );
        return Ok(());
    };
    let home = tempfile::tempdir()?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let node = Running(
        Command::new(&lydian)
            .args(["up", "--listen", &address.to_string()])
            .env("LYDIAN_HOME", home.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?,
    );
    while TcpStream::connect(address).is_err() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let fresh = resident(&node.0.id().to_string())?;
    let called = Command::new(&lydian)
        .args(["run", "-q"])
        .arg(format!("{}::square", guests::MATH.path))
        .arg("4")
        .env("LYDIAN_URL", format!("http://{address}"))
        .env("LYDIAN_HOME", home.path())
        .stdout(Stdio::null())
        .status()?;
    std::thread::sleep(Duration::from_millis(500));
    let after = resident(&node.0.id().to_string())?;
    println!(
        "idle: a node takes {} MB when it is up, {} MB after a call ({called})",
        fresh / 1_000_000,
        after / 1_000_000
    );
    Ok(())
}

/// Whole processes in turn, both with what they compiled before.
fn command() -> Result<()> {
    let (Some(lydian), Some(wasmtime)) = (beside("lydian"), wasmtime()) else {
        println!(
            "command: skipped, needs `lydian` beside this bench and `wasmtime` 48 in WASMTIME or PATH"
        );
        return Ok(());
    };
    let home = tempfile::tempdir()?;
    let guest = guests::MATH.path;
    let ours = || {
        let mut command = Command::new(&lydian);
        command
            .args(["run", "-q", &format!("{guest}::square"), "4"])
            .env("LYDIAN_HOME", home.path())
            .env_remove("LYDIAN_URL");
        timed(command)
    };
    let theirs = || {
        let mut command = Command::new(&wasmtime);
        command.args(["run", "-C", "cache=y", "--invoke", "square(4)", guest]);
        timed(command)
    };
    ours()?;
    theirs()?;
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        our_times.push(ours()?);
        their_times.push(theirs()?);
    }
    let (ours, theirs) = (median(our_times), median(their_times));
    println!(
        "command: lydian run p50 {ours:?}, wasmtime run p50 {theirs:?}, {:.2} x",
        ours.as_secs_f64() / theirs.as_secs_f64()
    );
    Ok(())
}

fn timed(mut command: Command) -> Result<Duration> {
    let since = Instant::now();
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    Ok(since.elapsed())
}

/// A process that is killed when it is no longer needed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wasmtime() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("WASMTIME") {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join("wasmtime"))
        .find(|program| program.is_file())
}
