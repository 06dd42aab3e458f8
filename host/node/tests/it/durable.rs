//! Durable calls while the platform is in trouble: nothing is lost, nothing fails that did not run,
//! nothing runs twice without need.

use crate::faulty::Faults;
use crate::guests::{BYTES, MATH, ONE, SLEEP};
use crate::harness::{PATIENCE, TestNode, expect_kind, patiently, raw, u64_of};
use bytes::Bytes;
use lydian_api::v1::call_info::State;
use lydian_api::v1::failure::Kind;
use lydian_api::v1::{self, Target, open_request, open_response};
use lydian_node::Options;
use std::time::{Duration, Instant};
use tokio_stream::wrappers::ReceiverStream;

const SECOND: u64 = 1_000_000_000;

fn spawn(app: &str, function: &str, args: &[u8]) -> v1::SpawnRequest {
    v1::SpawnRequest {
        target: Some(Target::app("", app, function)),
        args: Bytes::copy_from_slice(args),
        ..Default::default()
    }
}

async fn spawned(node: &TestNode, app: &str, function: &str, arg: u64) -> String {
    let request = spawn(app, function, &arg.to_le_bytes());
    node.calls()
        .spawn(request)
        .await
        .expect("recorded")
        .into_inner()
        .call
}

async fn get(node: &TestNode, call: &str, timeout_ms: u64) -> v1::GetCallResponse {
    let call = call.to_owned();
    let request = v1::GetCallRequest { call, timeout_ms };
    node.calls().get(request).await.expect("known").into_inner()
}

async fn info(node: &TestNode, call: &str) -> v1::CallInfo {
    get(node, call, 0).await.info.unwrap()
}

async fn ended(node: &TestNode, call: &str) -> v1::GetCallResponse {
    let told = get(node, call, PATIENCE.as_millis() as u64).await;
    assert!(told.outcome.is_some(), "{told:?}");
    told
}

async fn running(node: &TestNode) -> u32 {
    let info = node.nodes().info(v1::InfoRequest {}).await.unwrap();
    info.into_inner().sandboxes_live
}

/// Of forty calls in line when the disk fills, 32 were once failed for good though none of them
/// ran.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_keeps_calls_waiting_and_says_so() {
    let (directory, faults) = (tempfile::tempdir().unwrap(), Faults::default());
    let mut options = Options::new(directory.path());
    options.max_sandboxes = Some(16);
    let node = TestNode::over(options, faults.store(directory.path()).await).await;
    node.deploy("sleep", SLEEP).await;
    let calls = (0..40).map(|_| spawned(&node, "sleep", "", 3 * SECOND));
    let calls = futures::future::join_all(calls).await;
    node.wait_for(16, State::Running).await;
    faults.fill(true);
    patiently("a call says why it waits", async || {
        let list = v1::ListCallsRequest::default();
        let calls = node.calls().list(list).await.unwrap().into_inner().calls;
        let mut waiting = calls.iter().filter(|call| call.state() == State::Queued);
        waiting
            .any(|call| call.waiting_reason == "the node's disk is full" && call.next_try_at_ms > 0)
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    faults.fill(false);
    for call in &calls {
        let told = ended(&node, call).await;
        let info = told.info.unwrap();
        assert_eq!(
            (info.state(), info.attempt),
            (State::Succeeded, 1),
            "{info:?}"
        );
    }
    assert_eq!(faults.starts(), 40);
}

/// What could not be read may be readable again; until then no other call suffers.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_blob_keeps_its_call_and_no_other_waiting() {
    let (directory, faults) = (tempfile::tempdir().unwrap(), Faults::default());
    let store = faults.store(directory.path()).await;
    let node = TestNode::over(Options::new(directory.path()), store).await;
    node.deploy("bytes", BYTES).await;
    node.deploy("math", MATH).await;
    let warm = spawned(&node, "math", "square", 2).await;
    ended(&node, &warm).await;
    faults.damage(true);
    let mut args = vec![0x80, 0x80, 0x0c]; // 196,608: too many for the record
    args.resize(3 + 196_608, 5);
    let request = spawn("bytes", "length", &args);
    let call = node.calls().spawn(request).await.unwrap().into_inner().call;
    patiently("the call says why it waits", async || {
        let info = info(&node, &call).await;
        info.state() == State::Queued && info.waiting_reason == "the node's storage failed"
    })
    .await;
    let other = spawned(&node, "math", "square", 3).await;
    assert_eq!(
        ended(&node, &other).await.info.unwrap().state(),
        State::Succeeded
    );
    assert_eq!(info(&node, &call).await.attempt, 0);
    faults.damage(false);
    let told = ended(&node, &call).await;
    assert_eq!(told.info.as_ref().unwrap().attempt, 1);
    assert_eq!(
        told.outcome.unwrap().into_result().unwrap(),
        &196_608u32.to_le_bytes()[..]
    );
}

/// A component that is damaged while its call waits is whole again after a deploy of the same
/// content.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_component_waits_for_its_repair() {
    let directory = tempfile::tempdir().unwrap();
    let node = TestNode::of(Options::embedded(directory.path())).await;
    let digest = node.put(MATH).await;
    node.deploy("math", MATH).await;
    node.shut_down(Duration::ZERO).await;
    // Recorded, and not yet run by anyone.
    let mut options = Options::new(directory.path());
    options.max_spawned_in_hand = 0;
    let node = TestNode::of(options).await;
    let call = spawned(&node, "math", "square", 6).await;
    node.shut_down(Duration::ZERO).await;
    let hex = digest.to_string();
    let blob = directory.path().join("blobs").join(&hex[..2]).join(&hex);
    std::fs::remove_file(&blob).unwrap();
    let mut options = Options::new(directory.path());
    options.artifacts = Some(directory.path().join("other"));
    let node = TestNode::of(options).await;
    patiently("the call says why it waits", async || {
        let info = info(&node, &call).await;
        info.state() == State::Queued
            && info.waiting_reason.contains("damaged")
            && info.broken_starts > 0
    })
    .await;
    node.deploy("math", MATH).await;
    let told = ended(&node, &call).await;
    assert_eq!(told.info.as_ref().unwrap().attempt, 1);
    assert_eq!(u64_of(&told.outcome.unwrap().into_result().unwrap()), 36);
}

/// What a function came to is not lost to a disk that is full when it ends, and the function does
/// not run again for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_cannot_be_recorded_is_kept_until_it_can() {
    let (directory, faults) = (tempfile::tempdir().unwrap(), Faults::default());
    let store = faults.store(directory.path()).await;
    let node = TestNode::over(Options::new(directory.path()), store).await;
    node.deploy("sleep", SLEEP).await;
    let call = spawned(&node, "sleep", "", SECOND).await;
    node.wait_for(1, State::Running).await;
    faults.fill(true);
    patiently("the call says what it waits for", async || {
        let info = info(&node, &call).await;
        info.waiting_reason
            .contains("its outcome cannot be recorded")
    })
    .await;
    // Longer than it was tried before.
    tokio::time::sleep(Duration::from_secs(13)).await;
    faults.fill(false);
    let info = ended(&node, &call).await.info.unwrap();
    assert_eq!((info.state(), info.attempt), (State::Succeeded, 1));
    assert_eq!(faults.starts(), 1);
}

/// A task of the node's that panics must not keep its call claimed for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_task_panics_is_run_again() {
    let (directory, faults) = (tempfile::tempdir().unwrap(), Faults::default());
    let store = faults.store(directory.path()).await;
    let node = TestNode::over(Options::new(directory.path()), store).await;
    node.deploy("math", MATH).await;
    faults.panic_at_start(2);
    let call = spawned(&node, "math", "square", 5).await;
    let told = ended(&node, &call).await;
    assert_eq!(u64_of(&told.outcome.unwrap().into_result().unwrap()), 25);
    let info = told.info.unwrap();
    assert_eq!((info.attempt, info.broken_starts), (1, 2));
}

/// The node that claims a call may not have heard of the deploy that came before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_an_app_that_is_news_to_its_node_runs() {
    let directory = tempfile::tempdir().unwrap();
    let one = TestNode::of(Options::new(directory.path())).await;
    let two = TestNode::of(Options::new(directory.path())).await;
    let digest = one.put(ONE).await;
    let mut calls = Vec::new();
    for n in 0..30 {
        let app = format!("app{n}");
        let deploy = v1::DeployRequest {
            app: app.clone(),
            component: raw(&digest),
            ..Default::default()
        };
        one.apps().deploy(deploy).await.unwrap();
        let request = spawn(&app, "", &[]);
        calls.push(one.calls().spawn(request).await.unwrap().into_inner().call);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    for call in calls {
        let told = ended(&two, &call).await;
        assert_eq!(
            told.info.as_ref().unwrap().state(),
            State::Succeeded,
            "{told:?}"
        );
    }
}

/// An app in memory is gone with its node; what was recorded of it is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_an_ephemeral_app_outlives_the_app() {
    let directory = tempfile::tempdir().unwrap();
    let node = TestNode::of(Options::new(directory.path())).await;
    let digest = node.put(SLEEP).await;
    let (sender, requests) = tokio::sync::mpsc::channel(4);
    let part = |part| v1::OpenRequest { part: Some(part) };
    let open = v1::OpenApp {
        name: "eph".into(),
        code: Some(v1::AppCode {
            component: raw(&digest),
            manifest: Bytes::new(),
        }),
        ..Default::default()
    };
    sender
        .send(part(open_request::Part::Open(open)))
        .await
        .unwrap();
    let answers = node
        .apps()
        .open(ReceiverStream::new(requests))
        .await
        .unwrap();
    let mut answers = answers.into_inner();
    let opened = answers.message().await.unwrap().unwrap().part.unwrap();
    let open_response::Part::Opened(opened) = opened else {
        panic!("{opened:?}")
    };
    let detach = open_request::Part::Detach(v1::Detach {});
    sender.send(part(detach)).await.unwrap();
    answers.message().await.unwrap();
    let call = spawned(&node, &opened.name, "", 2 * SECOND).await;
    node.wait_for(1, State::Running).await;
    node.shut_down(Duration::ZERO).await;
    let node = TestNode::of(Options::new(directory.path())).await;
    let info = ended(&node, &call).await.info.unwrap();
    assert_eq!(
        (info.state(), info.attempt),
        (State::Succeeded, 2),
        "{info:?}"
    );
}

/// Work that was done once must not be done again because its node takes its time to leave.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_lets_its_calls_end_and_none_runs_twice() {
    let directory = tempfile::tempdir().unwrap();
    let one = TestNode::of(Options::new(directory.path())).await;
    one.deploy("sleep", SLEEP).await;
    // Longer than a lease: a node that does not renew while it drains loses it in between.
    let call = spawned(&one, "sleep", "", 20 * SECOND).await;
    one.wait_for(1, State::Running).await;
    let two = TestNode::of(Options::new(directory.path())).await;
    let began = Instant::now();
    let drained = tokio::spawn(one.shut_down(Duration::from_secs(60)));
    // What was not begun is the other's at once.
    let mut soon = 0;
    for _ in 0..8 {
        let short = spawned(&two, "sleep", "", SECOND / 10).await;
        let left = Duration::from_secs(15).saturating_sub(began.elapsed());
        soon += u32::from(
            get(&two, &short, left.as_millis() as u64)
                .await
                .outcome
                .is_some(),
        );
    }
    // One may share its shard with the call that keeps the first node.
    assert!(soon >= 6, "{soon} of 8");
    let info = ended(&two, &call).await.info.unwrap();
    assert_eq!(
        (info.state(), info.attempt),
        (State::Succeeded, 1),
        "{info:?}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    drained.await.unwrap();
}

/// Stopping in order is no fault of the function's, however often.
#[tokio::test(flavor = "multi_thread")]
async fn orderly_restarts_do_not_use_a_call_up() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = TestNode::of(Options::new(directory.path())).await;
    node.deploy("sleep", SLEEP).await;
    let call = spawned(&node, "sleep", "", 5 * SECOND).await;
    for _ in 0..12 {
        node.wait_for(1, State::Running).await;
        node.shut_down(Duration::ZERO).await;
        node = TestNode::of(Options::new(directory.path())).await;
    }
    assert_eq!(
        ended(&node, &call).await.info.unwrap().state(),
        State::Succeeded
    );
}

/// A caller need not know which process runs its call.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_through_another_node_stops_the_sandbox() {
    let directory = tempfile::tempdir().unwrap();
    let one = TestNode::of(Options::new(directory.path())).await;
    one.deploy("sleep", SLEEP).await;
    let call = spawned(&one, "sleep", "", 600 * SECOND).await;
    one.wait_for(1, State::Running).await;
    let two = TestNode::of(Options::embedded(directory.path())).await;
    let cancel = v1::CancelRequest { call: call.clone() };
    two.calls().cancel(cancel).await.unwrap();
    let since = Instant::now();
    patiently("the sandbox is free", async || running(&one).await == 0).await;
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
    let told = ended(&one, &call).await;
    assert_eq!(told.info.unwrap().state(), State::Cancelled);
    expect_kind(told.outcome.unwrap().into_result(), Kind::Cancelled);
}

/// Thousands of calls of one app are one app's.
#[tokio::test(flavor = "multi_thread")]
async fn one_apps_backlog_keeps_no_other_app_waiting() {
    let node = TestNode::with(|options| {
        options.max_sandboxes = Some(16);
        options.max_spawned_in_hand = 32;
    })
    .await;
    node.deploy("many", SLEEP).await;
    node.deploy("one", SLEEP).await;
    let spawns = (0..1_500).map(|_| async {
        let request = spawn("many", "", &(SECOND / 4).to_le_bytes());
        node.calls().spawn(request).await.unwrap();
    });
    futures::future::join_all(spawns).await;
    node.wait_for(16, State::Running).await;
    let since = Instant::now();
    let call = spawned(&node, "one", "", 1).await;
    assert_eq!(
        ended(&node, &call).await.info.unwrap().state(),
        State::Succeeded
    );
    assert!(
        since.elapsed() < Duration::from_secs(6),
        "{:?}",
        since.elapsed()
    );
}

/// Two nodes on one directory do one function's work together, though the first had all shards when
/// the second came.
#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_share_one_functions_calls() {
    let directory = tempfile::tempdir().unwrap();
    let options = || {
        let mut options = Options::new(directory.path());
        options.max_sandboxes = Some(16);
        options
    };
    let one = TestNode::of(options()).await;
    one.deploy("sleep", SLEEP).await;
    let two = TestNode::of(options()).await;
    let calls = (0..100).map(|_| spawned(&one, "sleep", "", 3 * SECOND));
    let calls = futures::future::join_all(calls).await;
    patiently("the second node runs some", async || {
        running(&two).await > 4
    })
    .await;
    for call in &calls {
        let info = ended(&two, call).await.info.unwrap();
        assert_eq!((info.state(), info.attempt), (State::Succeeded, 1));
    }
}
