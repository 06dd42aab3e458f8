//! What the guest SDK and its tools cost.
//!
//! | measured | bar |
//! | --- | --- |
//! | `typed`: a typed SDK call beside the same dynamic one, p50, in turn over one connection | under 5 % |
//! | `guest`: the same inside a guest, which calls another app so often that its own call does not count | under 5 % |
//! | `swap`: replacing an ephemeral app a thousand times under load | under 100 ms each, no failed call |
//! | `rebuild`: `lydian run` of a crate in which nothing has changed, whole process | 300 ms before the call |
//! | `size`: the component of `examples/hello` | under 100 kB |
//!
//! `cargo xtask bench sdk [typed|guest|swap|rebuild|size]`.

#![allow(
    unreachable_pub,
    reason = "an app's functions are public, in a bench as well"
)]

use lydian_benches::{Error, beside, median, runtime, start, wanted};
use lydian_client::{Client, Value};
use lydian_node::Options;
use lydian_tests::{examples, guests};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The typed client of `examples/square`.
#[lydian::app(name = "square")]
mod app {
    #[lydian::function]
    pub fn square(x: u64) -> Result<u64, String> {
        x.checked_pow(2).ok_or_else(String::new)
    }
}

type Result<T, E = Error> = std::result::Result<T, E>;

const CALLS: usize = 10_000;
/// Calls that a guest makes in one call of its own, and how often it is called; the first is below every node's budget.
const NESTED: u32 = 500;
const ROUNDS: usize = 41;
const SWAPS: usize = 1_000;
/// Clients that call while the app is replaced.
const CALLERS: usize = 4;
const REBUILDS: usize = 11;

fn main() -> Result<()> {
    let wants = wanted();
    // A runtime of its own for the node, as it would be in another process.
    let (server, client) = (runtime()?, runtime()?);
    let (node, address) = server.block_on(start(Options::memory()))?;
    let url = format!("http://{address}");
    if wants("typed") {
        client.block_on(typed(&url))?;
    }
    if wants("guest") {
        client.block_on(guest(&url))?;
    }
    if wants("swap") {
        client.block_on(swap(&url))?;
    }
    server.block_on(node.shutdown(Duration::ZERO));
    if wants("rebuild") {
        rebuild()?;
    }
    if wants("size") {
        println!(
            "size: hello {} bytes, square {} bytes",
            examples::HELLO.bytes().len(),
            examples::SQUARE.bytes().len()
        );
    }
    Ok(())
}

async fn typed(url: &str) -> Result<()> {
    let client = Client::connect(url).await?;
    client
        .deploy(lydian_client::Deploy::new(
            "square",
            examples::SQUARE.bytes(),
        ))
        .await?;
    let dynamic = client.function("square", "square").await?;
    lydian::set_backend(lydian::Backend::client(client));
    let (mut typed_times, mut dynamic_times) = (Vec::new(), Vec::new());
    for _ in 0..CALLS {
        let since = Instant::now();
        let answer = app::square::remote(12).await?;
        typed_times.push(since.elapsed());
        assert_eq!(answer, Ok(144));
        let since = Instant::now();
        dynamic.call_values(&[Value::U64(12)]).await?;
        dynamic_times.push(since.elapsed());
    }
    compare("typed", median(typed_times), median(dynamic_times));
    Ok(())
}

fn compare(what: &str, typed: Duration, dynamic: Duration) {
    println!(
        "{what}: p50 {typed:?}, dynamic p50 {dynamic:?}, {:+.1} %",
        100.0 * (typed.as_secs_f64() / dynamic.as_secs_f64() - 1.0)
    );
}

/// What a guest needs for one call, by the type its module was given and by name. Covered: what the guest does and the
/// nested call; not covered: the outer call, but for a share of one in `NESTED`.
async fn guest(url: &str) -> Result<()> {
    let client = Client::connect(url).await?;
    for (app, guest) in [("sdk", guests::SDK), ("sdk-calls", guests::SDK_CALLS)] {
        let deploy = lydian_client::Deploy::new(app, guest.bytes());
        client.deploy(deploy).await?;
    }
    let typed = client.function("sdk-calls", "shouts-typed").await?;
    let dynamic = client.function("sdk-calls", "shouts-dynamic").await?;
    let (mut typed_times, mut dynamic_times) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (function, times) in [(&typed, &mut typed_times), (&dynamic, &mut dynamic_times)] {
            let since = Instant::now();
            let shouted: Result<String, String> = function.call((NESTED,)).await?;
            times.push(since.elapsed() / NESTED);
            assert_eq!(shouted?, "HELLO");
        }
    }
    compare("guest", median(typed_times), median(dynamic_times));
    Ok(())
}

/// Two components in turn, both known to the node, as saving a file and taking it back would give.
async fn swap(url: &str) -> Result<()> {
    let client = Client::connect(url).await?;
    let versions = [
        examples::SQUARE.bytes(),
        with_a_section(examples::SQUARE.bytes()),
    ];
    let opened = client.open_app(versions[0].clone(), None, "square").await?;
    let (over, called) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let square = client.function(opened.name(), "square").await?;
        let (over, called) = (over.clone(), called.clone());
        callers.push(tokio::spawn(async move {
            let mut failed = 0u64;
            while !over.load(Ordering::Relaxed) {
                let answer = square
                    .call::<_, std::result::Result<u64, String>>((12u64,))
                    .await;
                failed += u64::from(!matches!(answer, Ok(Ok(144))));
                called.fetch_add(1, Ordering::Relaxed);
            }
            failed
        }));
    }
    let mut times = Vec::new();
    for n in 0..SWAPS {
        let component = versions[(n + 1) % 2].clone();
        let since = Instant::now();
        opened.replace(component, None).await?;
        times.push(since.elapsed());
    }
    over.store(true, Ordering::Relaxed);
    let mut failed = 0;
    for caller in callers {
        failed += caller.await?;
    }
    let slowest = times.iter().max().copied().unwrap_or_default();
    println!(
        "swap: {SWAPS} swaps, p50 {:?}, slowest {slowest:?}; {failed} of {} calls failed",
        median(times),
        called.load(Ordering::Relaxed)
    );
    opened.close().await?;
    Ok(())
}

/// The same component with a custom section of one byte: other bytes, other digest.
fn with_a_section(mut component: Vec<u8>) -> Vec<u8> {
    component.extend_from_slice(&[0, 3, 1, b'x', 0]);
    component
}

fn rebuild() -> Result<()> {
    let Some(lydian) = beside("lydian") else {
        println!(
            "rebuild: skipped, no `lydian` beside this bench: cargo build --release -p lydian-cli"
        );
        return Ok(());
    };
    let home = tempfile::tempdir()?;
    let hello = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/hello");
    let run = || -> Result<Duration> {
        let since = Instant::now();
        let status = Command::new(&lydian)
            .args(["run", "-q"])
            .arg(&hello)
            .arg("World")
            .env("LYDIAN_HOME", home.path())
            .env_remove("LYDIAN_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        match status.success() {
            true => Ok(since.elapsed()),
            false => Err(format!("lydian run {}: {status}", hello.display()).into()),
        }
    };
    let first = run()?;
    let times = (0..REBUILDS).map(|_| run()).collect::<Result<Vec<_>>>()?;
    println!(
        "rebuild: first run {first:?}, then p50 {:?}, the call included",
        median(times)
    );
    Ok(())
}
