//! Starting, stopping, dying and coming back.

use crate::guests::{MATH, SLEEP};
use crate::harness::{self, TestNode, expect_kind, raw, refusal, request, u64_of};
use bytes::Bytes;
use lydian_api::v1::call_info::State;
use lydian_api::v1::failure::Kind;
use lydian_api::v1::{self, Target};
use lydian_node::Options;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MINUTE: u64 = 60_000_000_000;
/// Tells the child which directory to serve.
const CHILD: &str = "LYDIAN_TEST_NODE";

#[tokio::test]
async fn deployments_outlive_the_node() {
    let directory = tempfile::tempdir().unwrap();
    let node = TestNode::of(Options::new(directory.path())).await;
    node.deploy("math", MATH).await;
    node.shut_down(Duration::ZERO).await;
    let node = TestNode::of(Options::new(directory.path())).await;
    let response = node
        .try_invoke(request("math", "square", &4u64.to_le_bytes()))
        .await
        .unwrap();
    let usage = response.outcome.as_ref().unwrap().usage.unwrap();
    assert_eq!(
        u64_of(&response.outcome.unwrap().into_result().unwrap()),
        16
    );
    // The artifact was on disk: nothing is compiled again.
    assert_eq!(
        (usage.compile_micros, usage.start()),
        (0, v1::usage::Start::ColdLoad)
    );
}

#[tokio::test]
async fn shutdown_lets_calls_in_flight_finish_and_takes_no_new_ones() {
    let node = TestNode::start().await;
    node.deploy("sleep", SLEEP).await;
    let mut calls = node.calls();
    let running = tokio::spawn(async move {
        calls
            .invoke(request("sleep", "", &3_000_000_000u64.to_le_bytes()))
            .await
    });
    node.wait_for(1, State::Running).await;
    let mut late = node.calls();
    let stopping = tokio::spawn(node.shut_down(Duration::from_secs(30)));
    let refused = loop {
        match late.invoke(request("sleep", "", &0u64.to_le_bytes())).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(status) => break status,
        }
    };
    assert_eq!(refusal(&refused).1, "draining");
    assert!(
        running
            .await
            .unwrap()
            .unwrap()
            .into_inner()
            .outcome
            .unwrap()
            .into_result()
            .is_ok()
    );
    stopping.await.unwrap();
}

#[tokio::test]
async fn past_the_grace_calls_are_interrupted() {
    let node = TestNode::start().await;
    node.deploy("sleep", SLEEP).await;
    let mut calls = node.calls();
    let running = tokio::spawn(async move {
        calls
            .invoke(request("sleep", "", &MINUTE.to_le_bytes()))
            .await
    });
    node.wait_for(1, State::Running).await;
    let since = Instant::now();
    node.shut_down(Duration::from_millis(100)).await;
    assert!(since.elapsed() < Duration::from_secs(30));
    let outcome = running
        .await
        .unwrap()
        .unwrap()
        .into_inner()
        .outcome
        .unwrap();
    expect_kind(outcome.into_result(), Kind::Interrupted);
}

/// Whoever stops a node must not lose what was promised: the next one takes it up.
#[tokio::test]
async fn shutdown_hands_spawned_calls_back_to_the_queue() {
    let directory = tempfile::tempdir().unwrap();
    let node = TestNode::of(Options::new(directory.path())).await;
    node.deploy("sleep", SLEEP).await;
    let spawn = v1::SpawnRequest {
        target: Some(Target::app("", "sleep", "")),
        args: Bytes::copy_from_slice(&2_000_000_000u64.to_le_bytes()),
        ..Default::default()
    };
    let call = node.calls().spawn(spawn).await.unwrap().into_inner().call;
    node.wait_for(1, State::Running).await;
    node.shut_down(Duration::ZERO).await;
    let node = TestNode::of(Options::new(directory.path())).await;
    let get = v1::GetCallRequest {
        call,
        timeout_ms: 60_000,
    };
    let told = node.calls().get(get).await.unwrap().into_inner();
    assert_eq!(
        told.info.as_ref().unwrap().state(),
        State::Succeeded,
        "{told:?}"
    );
    assert_eq!(told.info.unwrap().attempt, 2);
}

/// A node may stop at any moment of a call's beginning: each of many is in the queue again, and none is taken to run on.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_begin_while_the_node_stops_are_handed_back() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let node = TestNode::of(Options::new(directory.path())).await;
        node.deploy("sleep", SLEEP).await;
        for _ in 0..12 {
            let spawn = v1::SpawnRequest {
                target: Some(Target::app("", "sleep", "")),
                args: Bytes::copy_from_slice(&MINUTE.to_le_bytes()),
                ..Default::default()
            };
            node.calls().spawn(spawn).await.unwrap();
        }
        node.shut_down(Duration::ZERO).await;
        let node = TestNode::of(Options::embedded(directory.path())).await;
        let list = v1::ListCallsRequest {
            limit: 1_000,
            ..Default::default()
        };
        let calls = node.calls().list(list).await.unwrap().into_inner().calls;
        for call in calls {
            assert_eq!(call.state(), State::Queued, "{call:?}");
        }
    }
}

/// A program that embeds a node for a moment runs its own durable calls, not those it finds.
#[tokio::test]
async fn an_embedded_node_leaves_other_processes_calls_alone() {
    let directory = tempfile::tempdir().unwrap();
    let node = TestNode::of(Options::new(directory.path())).await;
    node.deploy("sleep", SLEEP).await;
    let spawn = |nanos: u64| v1::SpawnRequest {
        target: Some(Target::app("", "sleep", "")),
        args: Bytes::copy_from_slice(&nanos.to_le_bytes()),
        ..Default::default()
    };
    let left = node
        .calls()
        .spawn(spawn(MINUTE))
        .await
        .unwrap()
        .into_inner()
        .call;
    node.wait_for(1, State::Running).await;
    node.shut_down(Duration::ZERO).await;
    let node = TestNode::of(Options::embedded(directory.path())).await;
    let get = |call: &str, timeout_ms| v1::GetCallRequest {
        call: call.to_owned(),
        timeout_ms,
    };
    let told = node
        .calls()
        .get(get(&left, 1_500))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(told.info.unwrap().state(), State::Queued);
    // Also when it has something to do.
    node.deploy("math", MATH).await;
    let own = v1::SpawnRequest {
        target: Some(Target::app("", "math", "square")),
        ..spawn(3)
    };
    let own = node.calls().spawn(own).await.unwrap().into_inner().call;
    let told = node.calls().get(get(&own, 60_000)).await.unwrap();
    assert_eq!(told.into_inner().info.unwrap().state(), State::Succeeded);
    let told = node.calls().get(get(&left, 1_500)).await.unwrap();
    assert_eq!(told.into_inner().info.unwrap().state(), State::Queued);
    // It has let go of what it had, so another process can run calls of that function now.
    let beside = TestNode::of(Options::embedded(directory.path())).await;
    let other = v1::SpawnRequest {
        target: Some(Target::app("", "math", "square")),
        ..spawn(4)
    };
    let other = beside.calls().spawn(other).await.unwrap().into_inner().call;
    let told = beside.calls().get(get(&other, 10_000)).await.unwrap();
    assert_eq!(told.into_inner().info.unwrap().state(), State::Succeeded);
}

#[tokio::test]
async fn info_tells_the_node_and_its_machine() {
    let directory = tempfile::tempdir().unwrap();
    let node = TestNode::of(Options::new(directory.path())).await;
    node.deploy("math", MATH).await;
    node.invoke("math", "noop", &[]).await.unwrap();
    let info = node
        .nodes()
        .info(v1::InfoRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (info.version.as_str(), info.calls_total),
        (env!("CARGO_PKG_VERSION"), 1)
    );
    assert!(info.engine.starts_with("wasmtime 48."), "{}", info.engine);
    assert_eq!(info.sandboxes_max, 32);
    assert!(
        info.checks.iter().any(|check| check.name == "pagemap-scan"),
        "{:?}",
        info.checks
    );
    assert!(
        info.checks.iter().any(|check| check.name == "disk-space"),
        "{:?}",
        info.checks
    );
    assert_eq!(Path::new(&info.data_dir), directory.path());
    assert!(!info.draining);
}

/// kill -9 with spawned calls queued, running and ended: all are told of, each exactly once.
#[tokio::test]
async fn spawned_calls_survive_kill_nine() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = ChildNode::start(directory.path());
    let channel = harness::connect(first.address).await;
    let mut calls = harness::calls(channel.clone());
    for (app, text) in [("math", MATH), ("sleep", SLEEP)] {
        deploy(channel.clone(), app, text).await;
    }
    let spawn = |app: &str, function: &str, arg: u64| v1::SpawnRequest {
        target: Some(Target::app("", app, function)),
        args: Bytes::copy_from_slice(&arg.to_le_bytes()),
        idempotency_key: format!("{app}-{arg}"),
        ..Default::default()
    };
    let mut squares = Vec::new();
    for n in 0..50 {
        squares.push(
            calls
                .spawn(spawn("math", "square", n))
                .await
                .unwrap()
                .into_inner()
                .call,
        );
    }
    let slow = calls
        .spawn(spawn("sleep", "", 3_000_000_000))
        .await
        .unwrap()
        .into_inner()
        .call;
    tokio::time::sleep(Duration::from_millis(300)).await;
    first.kill();

    let second = ChildNode::start(directory.path());
    let mut calls = harness::calls(harness::connect(second.address).await);
    let get = |call: &str| v1::GetCallRequest {
        call: call.to_owned(),
        timeout_ms: 60_000,
    };
    for (n, call) in (0u64..).zip(&squares) {
        let told = calls.get(get(call)).await.unwrap().into_inner();
        assert_eq!(
            u64_of(&told.outcome.expect("ended").into_result().unwrap()),
            n * n
        );
    }
    let told = calls.get(get(&slow)).await.unwrap().into_inner();
    let info = told.info.unwrap();
    assert_eq!(info.state(), State::Succeeded);
    assert!(info.attempt >= 1);
    let again = calls
        .spawn(spawn("math", "square", 7))
        .await
        .unwrap()
        .into_inner();
    assert!(again.duplicate);
    assert_eq!(again.call, squares[7]);
}

/// kill -9 of one of two nodes on a directory: the other takes over what it had, and loses nothing.
#[tokio::test]
async fn calls_of_a_killed_node_are_taken_over_by_the_one_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = ChildNode::start(directory.path());
    let second = ChildNode::start(directory.path());
    let channel = harness::connect(first.address).await;
    deploy(channel.clone(), "sleep", SLEEP).await;
    let mut calls = harness::calls(channel);
    let mut spawned = Vec::new();
    for _ in 0..24 {
        let spawn = v1::SpawnRequest {
            target: Some(Target::app("", "sleep", "")),
            args: Bytes::copy_from_slice(&2_000_000_000u64.to_le_bytes()),
            ..Default::default()
        };
        spawned.push(calls.spawn(spawn).await.unwrap().into_inner().call);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    first.kill();
    let mut calls = harness::calls(harness::connect(second.address).await);
    for call in spawned {
        let get = v1::GetCallRequest {
            call,
            timeout_ms: 120_000,
        };
        let told = calls.get(get).await.unwrap().into_inner();
        let info = told.info.unwrap();
        assert_eq!(info.state(), State::Succeeded, "{info:?}");
        assert!(info.attempt <= 2, "{info:?}");
    }
}

async fn deploy(channel: tonic::transport::Channel, app: &str, text: &str) {
    let bytes = crate::guests::wasm(text);
    let digest = lydian_value::Digest::of(&bytes);
    let blobs = v1::blobs_client::BlobsClient::new(channel.clone());
    harness::put_as(blobs, digest, bytes)
        .await
        .expect("the upload");
    let request = v1::DeployRequest {
        app: app.into(),
        component: raw(&digest),
        ..Default::default()
    };
    v1::apps_client::AppsClient::new(channel)
        .deploy(request)
        .await
        .expect("the deploy");
}

/// A node in a process of its own, which can be killed.
struct ChildNode {
    child: Child,
    address: SocketAddr,
}

impl ChildNode {
    fn start(directory: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([
                "--exact",
                "lifecycle::child_node",
                "--ignored",
                "--nocapture",
            ])
            .env(CHILD, directory)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let address = lines
            .find_map(|line| line.ok()?.strip_prefix("listening on ")?.parse().ok())
            .expect("the child listens");
        // Its output is not read any more, and need not be.
        Self { child, address }
    }

    fn kill(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("its end");
    }
}

impl Drop for ChildNode {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test of its own: what [`ChildNode`] runs.
#[tokio::test]
#[ignore = "run by other tests, as a process of its own"]
async fn child_node() {
    let Ok(directory) = std::env::var(CHILD) else {
        return;
    };
    let node = TestNode::of(Options::new(directory)).await;
    println!("\nlistening on {}", node.address);
    std::future::pending::<()>().await;
}
