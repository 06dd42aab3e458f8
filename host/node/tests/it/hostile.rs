//! Rows of the list of hostile guests that concern the whole node: the bad one gets its answer, the others
//! keep serving, nothing is left behind.

use crate::guests::{BYTES, MATH, SLEEP, printing};
use crate::harness::{TestNode, expect_kind, patiently, refusal, request, u64_of};
use futures::StreamExt;
use lydian_api::v1::call_info::State;
use lydian_api::v1::failure::Kind;
use lydian_api::v1::{self};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::Code;

const MINUTE: u64 = 60_000_000_000;

/// Calls another app until dropped, and checks every answer.
struct Neighbour {
    task: tokio::task::JoinHandle<u64>,
    stop: Arc<tokio::sync::Notify>,
}

impl Neighbour {
    async fn of(node: &TestNode) -> Self {
        node.deploy("neighbour", MATH).await;
        let (mut calls, stop) = (node.calls(), Arc::new(tokio::sync::Notify::new()));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut answered = 0;
            loop {
                let call = calls.invoke(request("neighbour", "square", &9u64.to_le_bytes()));
                tokio::select! {
                    answer = call => {
                        let value = answer.expect("taken").into_inner().outcome.expect("an outcome").into_result();
                        assert_eq!(u64_of(&value.expect("a value")), 81);
                        answered += 1;
                        // Compilers have the lowest priority, and must not wait for this.
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    () = stopped.notified() => return answered,
                }
            }
        });
        Self { task, stop }
    }

    /// It was answered rightly all along.
    async fn served(self) {
        self.stop.notify_one();
        assert!(self.task.await.expect("every answer was right") > 0);
    }
}

/// Rows 1 and 3: more guests loop than there are processors; each is stopped in time, and the node answers meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spinning_guests_stop_in_time_and_the_node_answers_meanwhile() {
    let node = TestNode::start().await;
    node.deploy_with("bad", MATH, r#"{"timeout": "5s"}"#)
        .await
        .unwrap();
    let neighbour = Neighbour::of(&node).await;
    let count = 4 * std::thread::available_parallelism().map_or(1, usize::from);
    let spinning: Vec<_> = (0..count)
        .map(|_| {
            let mut calls = node.calls();
            tokio::spawn(async move { calls.invoke(request("bad", "spin", &[])).await })
        })
        .collect();
    patiently("they do not run", async || {
        let list = node.apps().list(v1::ListAppsRequest::default()).await;
        let apps = list.unwrap().into_inner().apps;
        let bad = apps.iter().find(|app| app.name == "bad").unwrap();
        bad.calls_running == count as u64
    })
    .await;
    for _ in 0..10 {
        node.nodes().info(v1::InfoRequest {}).await.unwrap();
        node.apps()
            .list(v1::ListAppsRequest::default())
            .await
            .unwrap();
    }
    // All of it while they ran.
    assert!(!spinning.iter().any(|spin| spin.is_finished()));
    for spin in spinning {
        let outcome = spin.await.unwrap().unwrap().into_inner().outcome.unwrap();
        expect_kind(outcome.into_result(), Kind::Timeout);
    }
    neighbour.served().await;
    node.is_idle().await;
}

/// Row 10: output is bounded where it is made and where it is kept, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_output_is_cut_and_marked() {
    let node = TestNode::with(|options| options.call_log_bytes = 64 << 10).await;
    let manifest = r#"{"output": "1MiB", "output-rate": "1GiB", "timeout": "20s"}"#;
    node.deploy_with("bad", &printing(), manifest)
        .await
        .unwrap();
    let neighbour = Neighbour::of(&node).await;
    let response = node.try_invoke(request("bad", "flood", &[])).await.unwrap();
    let call = response.call;
    assert!(response.outcome.unwrap().into_result().is_err());
    let logs = v1::CallLogsRequest {
        call: call.clone(),
        follow: false,
    };
    let chunks: Vec<_> = node
        .calls()
        .logs(logs)
        .await
        .unwrap()
        .into_inner()
        .collect()
        .await;
    let chunks: Vec<_> = chunks.into_iter().map(|chunk| chunk.unwrap()).collect();
    let kept: usize = chunks.iter().map(|chunk| chunk.data.len()).sum();
    assert!(kept <= 64 << 10, "{kept} bytes kept");
    assert!(chunks[0].truncated && chunks[chunks.len() - 1].truncated);
    let told = node
        .calls()
        .explain(v1::ExplainRequest { call })
        .await
        .unwrap()
        .into_inner();
    assert!(told.usage.unwrap().output_bytes <= 1 << 20);
    neighbour.served().await;
}

/// Row 19: large arguments wait for room instead of adding up, and all of them are carried out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_arguments_share_a_bounded_budget() {
    let node = TestNode::with(|options| options.payload_budget_bytes = Some(8 << 20)).await;
    node.deploy("bytes", BYTES).await;
    let neighbour = Neighbour::of(&node).await;
    // `list<u8>` of 4 MiB: a length of 4 bytes, then the bytes.
    let mut args = vec![0x80, 0x80, 0x80, 0x02];
    args.resize(4 + (4 << 20), 1);
    let args = bytes::Bytes::from(args);
    let sent: Vec<_> = (0..12)
        .map(|_| {
            let (mut calls, args) = (node.calls(), args.clone());
            tokio::spawn(async move {
                calls
                    .invoke(v1::InvokeRequest {
                        args,
                        ..request("bytes", "length", &[])
                    })
                    .await
            })
        })
        .collect();
    for call in sent {
        let value = call
            .await
            .unwrap()
            .unwrap()
            .into_inner()
            .outcome
            .unwrap()
            .into_result()
            .unwrap();
        assert_eq!(value, &(4u32 << 20).to_le_bytes()[..]);
    }
    neighbour.served().await;
    node.is_idle().await;
}

/// Row 20: a result over the limit is refused before it is copied out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_result_is_refused() {
    let node = TestNode::start().await;
    node.deploy_with("bytes", BYTES, r#"{"payload": "1MiB"}"#)
        .await
        .unwrap();
    let neighbour = Neighbour::of(&node).await;
    let small = node
        .invoke("bytes", "give", &(1u32 << 19).to_le_bytes())
        .await
        .unwrap();
    assert_eq!(small.len(), 3 + (1 << 19));
    expect_kind(
        node.invoke("bytes", "give", &(64u32 << 20).to_le_bytes())
            .await,
        Kind::Payload,
    );
    neighbour.served().await;
}

/// Row 21: waiting for ever on the host ends at the deadline, and the slot is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sleeping_on_the_host_ends_at_the_deadline() {
    let node = TestNode::start().await;
    node.deploy_with("bad", SLEEP, r#"{"timeout": "300ms"}"#)
        .await
        .unwrap();
    let neighbour = Neighbour::of(&node).await;
    let since = Instant::now();
    expect_kind(
        node.invoke("bad", "sleep", &MINUTE.to_le_bytes()).await,
        Kind::Timeout,
    );
    assert!(since.elapsed() < Duration::from_secs(20));
    neighbour.served().await;
    node.is_idle().await;
}

/// Row 29: a storm of cancellations loses no slot and no counter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_cancelled_calls_leaves_nothing_behind() {
    let node = TestNode::start().await;
    node.deploy("sleep", SLEEP).await;
    node.deploy("math", MATH).await;
    let neighbour = Neighbour::of(&node).await;
    for round in 0..20u64 {
        let calls: Vec<_> = (0..50u64)
            .map(|n| {
                let mut calls = node.calls();
                let nanos = if n % 2 == 0 { MINUTE } else { n * 10_000 };
                tokio::spawn(async move {
                    calls
                        .invoke(request("sleep", "sleep", &nanos.to_le_bytes()))
                        .await
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_micros(round * 300)).await;
        calls.iter().for_each(|call| call.abort());
    }
    neighbour.served().await;
    node.is_idle().await;
    node.wait_for(0, State::Running).await;
    node.wait_for(0, State::Queued).await;
    let list = node
        .apps()
        .list(v1::ListAppsRequest::default())
        .await
        .unwrap()
        .into_inner()
        .apps;
    assert!(list.iter().all(|app| app.calls_running == 0), "{list:?}");
    assert!(node.invoke("math", "noop", &[]).await.is_ok());
}

/// A trap in the middle of a map, over and over, costs only its own inputs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traps_and_calls_live_side_by_side() {
    let node = TestNode::start().await;
    node.deploy("bad", MATH).await;
    let neighbour = Neighbour::of(&node).await;
    for _ in 0..200 {
        expect_kind(node.invoke("bad", "trap", &[]).await, Kind::Trap);
    }
    neighbour.served().await;
    node.is_idle().await;
}

/// The line for sandboxes is bounded: who finds it full is told at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_beyond_the_line_are_refused_with_a_hint() {
    let node = TestNode::with(|options| {
        options.max_sandboxes = Some(16);
        options.max_waiting = 2;
        options.max_wait = Duration::from_secs(5);
    })
    .await;
    node.deploy("sleep", SLEEP).await;
    let sleep = || {
        let mut calls = node.calls();
        tokio::spawn(async move {
            calls
                .invoke(request("sleep", "sleep", &MINUTE.to_le_bytes()))
                .await
        })
    };
    let running: Vec<_> = (0..16).map(|_| sleep()).collect();
    node.wait_for(16, State::Running).await;
    let waiting: Vec<_> = (0..2).map(|_| sleep()).collect();
    node.wait_for(2, State::Queued).await;
    let error = node
        .try_invoke(request("sleep", "sleep", &MINUTE.to_le_bytes()))
        .await
        .unwrap_err();
    assert_eq!(
        (refusal(&error).0, refusal(&error).1.as_str()),
        (Code::ResourceExhausted, "queue-full")
    );
    for call in waiting {
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(
            (refusal(&error).0, refusal(&error).1.as_str()),
            (Code::ResourceExhausted, "no-sandbox")
        );
    }
    running.iter().for_each(|call| call.abort());
    node.is_idle().await;
}
