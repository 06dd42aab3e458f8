//! What functions print, on its way to who called them.

use super::{ended, function};
use futures::TryStreamExt;
use lydian_client::{Call, Client, Deploy, Event, Limits, LogChunk, LogSource, Tail};
use lydian_tests::guests;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Lines reach the caller as events, the app's log and the call's log.
pub(super) async fn output_arrives_while_the_function_runs(client: Client) {
    let deploy = Deploy::new("output", guests::OUTPUT.bytes());
    client.deploy(deploy).await.expect("deploys");
    let print = client.function("output", "print").await.expect("found");
    let run = print.run::<_, ()>(("to stdout".to_owned(), false)).await;
    let mut run = run.expect("runs");
    let (mut text, mut finished, mut call) = (String::new(), false, String::new());
    while let Some(event) = run.next().await.expect("no error") {
        match event {
            Event::Started { call: id, .. } => call = id,
            Event::Log(chunk) if chunk.source == LogSource::Stdout => text += &chunk.text(),
            Event::Finished(done) => finished = done.result.is_ok(),
            _ => {}
        }
    }
    assert_eq!((text.trim_end(), finished), ("to stdout", true));
    let answer = print.invoke::<_, ()>(("to stderr".to_owned(), true)).await;
    assert_eq!(&answer.expect("works").stderr[..], b"to stderr");

    let logs = client.app_logs("output", Tail::lines(10)).await;
    let logs: Vec<_> = logs.expect("answers").try_collect().await.expect("ends");
    let text: String = logs.iter().map(|chunk| chunk.text()).collect();
    assert!(text.contains("to stdout"), "{text}");
    let logs = Call::from_id(&client, call).logs(false).await;
    let logs: Vec<_> = logs.expect("answers").try_collect().await.expect("ends");
    assert!(logs.iter().any(|chunk| chunk.text().contains("to stdout")));
}

/// Counts lines, and that none is missing.
#[derive(Clone, Default)]
struct Lines(Arc<AtomicU64>);

impl Lines {
    fn count(&self, chunk: &LogChunk) {
        assert!(!chunk.truncated && chunk.missed_bytes == 0, "{chunk:?}");
        let lines = chunk.data.iter().filter(|byte| **byte == b'\n').count();
        self.0.fetch_add(lines as u64, Ordering::Relaxed);
    }

    fn so_far(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A node keeps less of a call's output than its limits allow, so whoever prints fast waits for who reads: in a single call,
/// in a map whose results come all the while, and in a session.
pub(super) async fn what_is_printed_arrives_whole(client: Client) {
    const MANY: u32 = 60_000;
    let roomy = || {
        Limits::new()
            .output_bytes(64 << 20)
            .output_bytes_per_second(64 << 20)
    };
    let lines = function(&client, guests::OUTPUT, "lines").await;
    let lines = lines.with_limits(roomy());
    let mut run = lines.run::<_, ()>((MANY,)).await.expect("runs");
    let seen = Lines::default();
    while let Some(event) = run.next().await.expect("no error") {
        match event {
            Event::Log(chunk) => seen.count(&chunk),
            Event::Finished(done) => done.result.expect("works"),
            _ => {}
        }
    }
    assert_eq!(seen.so_far(), u64::from(MANY));

    // Ever so slow: what is printed meanwhile is more than any buffer on the way holds.
    const LONG: u64 = 16 << 20;
    let line = function(&client, guests::OUTPUT, "one-line").await;
    let run = line.with_limits(roomy()).run::<_, ()>((LONG,)).await;
    let mut run = run.expect("runs");
    let mut read = 0;
    while let Some(event) = run.next().await.expect("no error") {
        match event {
            Event::Started { .. } => tokio::time::sleep(Duration::from_millis(500)).await,
            Event::Log(chunk) => {
                assert_eq!(chunk.missed_bytes, 0, "after {read} bytes");
                read += chunk.data.len() as u64;
            }
            Event::Finished(done) => done.result.expect("works"),
            _ => {}
        }
    }
    assert_eq!(read, LONG);

    let of_map = Lines::default();
    let counted = of_map.clone();
    let map = lines.map::<_, (), _>((0..100).map(|_| (1000u32,)));
    let done = map.on_log(move |chunk| counted.count(&chunk)).drain().await;
    assert_eq!(done.expect("works").succeeded, 100);
    assert_eq!(of_map.so_far(), 100_000);

    let component = client.put(guests::OUTPUT.bytes()).await.expect("is put");
    let session = client.component_session(component, roomy()).await;
    let session = session.expect("opens");
    let of_session = Lines::default();
    let counted = of_session.clone();
    session.on_log(move |chunk| counted.count(&chunk));
    let () = session.call("lines", (MANY,)).await.expect("works");
    assert_eq!(of_session.so_far(), u64::from(MANY));
}

/// Output of a session comes while a call runs; and a client that leaves then gives the sandbox back.
pub(super) async fn who_leaves_a_session_ends_its_call(client: Client) {
    let component = client.put(guests::OUTPUT.bytes()).await.expect("is put");
    // Half a year of output.
    let limits = Limits::new()
        .output_bytes(1 << 40)
        .output_bytes_per_second(64 << 10);
    let session = client.component_session(component, limits).await;
    let session = session.expect("opens");
    let id = session.id().to_owned();
    let printed = Arc::new(Notify::new());
    let tell = printed.clone();
    session.on_log(move |_| tell.notify_one());
    tokio::select! {
        result = session.call::<_, ()>("flood", ()) => panic!("it floods on: {result:?}"),
        () = printed.notified() => {}
    }
    drop(session);
    ended(&client, &id).await;
}
