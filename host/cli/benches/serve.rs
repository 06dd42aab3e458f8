//! `lydian serve`: save to live, and calls meanwhile.
//!
//! The clock covers what comes after the compiler: a component is written to the watched path, noticed, read, sent,
//! compiled in its jail, and swapped in. Not covered: cargo and rustc. First nobody calls, then four callers never stop; one
//! failed call ends the bench. 1,000 swaps under load, or as many as `SWAPS` says, and a tenth of that before.
//!
//! `cargo bench -p lydian-cli --bench serve`

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench ends where it fails"
)]

use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lydian_client::blocking::Client;
use lydian_tests::guests;
use serde_json::Value as Json;

const CALLERS: u64 = 4;

/// Ended when dropped, and when the bench panics.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    let swaps: u32 = std::env::var("SWAPS").map_or(1_000, |text| text.parse().unwrap());
    let dir = tempfile::TempDir::new().unwrap();
    let component = dir.path().join("math.wasm");
    let math = guests::MATH.bytes().to_vec();
    std::fs::write(&component, &math).unwrap();
    let (_serve, mut events) = serve(dir.path(), &component);
    let mut line = String::new();
    let mut event = || -> Json {
        line.clear();
        events.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    };
    let opened = event();
    let client = Client::connect(opened["url"].as_str().unwrap()).unwrap();
    let square = Arc::new(
        client
            .function(opened["app"].as_str().unwrap(), "square")
            .unwrap(),
    );
    let mut save = |numbers: Range<u32>| {
        let (mut live, mut swap) = (Vec::new(), Vec::new());
        for number in numbers {
            let saved = Instant::now();
            std::fs::write(&component, variant(&math, number)).unwrap();
            let told = event();
            assert_eq!(told["event"], "swapped", "{told}");
            live.push(saved.elapsed());
            swap.push(Duration::from_secs_f64(
                told["swap_ms"].as_f64().unwrap() / 1e3,
            ));
        }
        (live, swap)
    };
    let quiet = swaps.div_ceil(10);
    let (mut live, mut swap) = save(0..quiet);
    println!("{quiet} swaps that nobody disturbs");
    tell("save to live", &mut live);
    tell("of that, read to swapped", &mut swap);
    let (stop, calls) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let callers: Vec<_> = (0..CALLERS)
        .map(|x| {
            let (square, stop, calls) = (square.clone(), stop.clone(), calls.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(square.call::<_, u64>((x,)).unwrap(), x * x);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let started = Instant::now();
    let (mut live, mut swap) = save(quiet..quiet + swaps);
    let took = started.elapsed();
    stop.store(true, Ordering::Relaxed);
    callers
        .into_iter()
        .for_each(|caller| caller.join().unwrap());
    let calls = calls.load(Ordering::Relaxed);
    println!("{swaps} swaps in {took:.1?}, {calls} calls meanwhile, none failed");
    tell("save to live", &mut live);
    tell("of that, read to swapped", &mut swap);
}

/// `lydian serve` with a node of its own.
fn serve(dir: &Path, component: &Path) -> (Process, BufReader<std::process::ChildStdout>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lydian"));
    command
        .args([
            "serve",
            "--json",
            "--url",
            "embedded",
            "--listen",
            "127.0.0.1:0",
        ])
        .arg(component)
        .env("LYDIAN_HOME", dir.join("home"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let events = BufReader::new(child.stdout.take().unwrap());
    (Process(child), events)
}

/// The same component with a custom section that no other has: its artifact is in no cache.
fn variant(bytes: &[u8], number: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.extend([0, 6, 1, b'v']);
    bytes.extend(number.to_le_bytes());
    bytes
}

fn tell(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "{what}: p50 {:.1?}, p90 {:.1?}, p99 {:.1?}, max {:.1?}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}
