//! Durable calls.

use crate::guests::{BYTES, MATH, ONE, SLEEP, printing};
use crate::harness::{TestNode, expect_kind, patiently, raw, refusal, u64_of};
use bytes::Bytes;
use futures::StreamExt;
use lydian_api::v1::call_info::{Kind as CallKind, State};
use lydian_api::v1::failure::Kind;
use lydian_api::v1::{self, Target};
use lydian_node::Options;
use std::time::Duration;

const MINUTE: u64 = 60_000_000_000;

fn spawn(app: &str, function: &str, args: &[u8]) -> v1::SpawnRequest {
    v1::SpawnRequest {
        target: Some(Target::app("", app, function)),
        args: Bytes::copy_from_slice(args),
        ..Default::default()
    }
}

async fn spawned(node: &TestNode, request: v1::SpawnRequest) -> String {
    node.calls()
        .spawn(request)
        .await
        .expect("recorded")
        .into_inner()
        .call
}

async fn get(node: &TestNode, call: &str, timeout_ms: u64) -> v1::GetCallResponse {
    let request = v1::GetCallRequest {
        call: call.to_owned(),
        timeout_ms,
    };
    node.calls().get(request).await.expect("known").into_inner()
}

#[tokio::test]
async fn a_spawned_call_is_run_and_its_result_kept() {
    let node = TestNode::start().await;
    node.deploy("math", MATH).await;
    let call = spawned(&node, spawn("math", "square", &5u64.to_le_bytes())).await;
    for _ in 0..2 {
        let told = get(&node, &call, 60_000).await;
        let info = told.info.unwrap();
        assert_eq!(
            (info.state(), info.kind(), info.attempt),
            (State::Succeeded, CallKind::Spawn, 1)
        );
        assert_eq!((info.result_signature.as_str(), info.version), ("u64", 1));
        assert_eq!(u64_of(&told.outcome.unwrap().into_result().unwrap()), 25);
    }
    let told = node
        .calls()
        .explain(v1::ExplainRequest { call })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(told.usage.unwrap().bytes_out, 8);
    assert!(told.limits.unwrap().timeout_ms > 0);
}

#[tokio::test]
async fn polling_does_not_wait() {
    let node = TestNode::start().await;
    node.deploy("sleep", SLEEP).await;
    let call = spawned(&node, spawn("sleep", "", &MINUTE.to_le_bytes())).await;
    let told = get(&node, &call, 0).await;
    assert!(told.outcome.is_none());
    assert!(matches!(
        told.info.unwrap().state(),
        State::Queued | State::Running
    ));
    let told = get(&node, &call, 50).await;
    assert!(told.outcome.is_none());
    node.calls()
        .cancel(v1::CancelRequest { call })
        .await
        .unwrap();
}

/// A caller that repeats a request after a lost answer must not run it twice.
#[tokio::test]
async fn the_same_key_answers_the_first_call() {
    let node = TestNode::start().await;
    node.deploy("math", MATH).await;
    let keyed = |arg: u64, key: &str| v1::SpawnRequest {
        idempotency_key: key.into(),
        ..spawn("math", "square", &arg.to_le_bytes())
    };
    let first = node
        .calls()
        .spawn(keyed(3, "k"))
        .await
        .unwrap()
        .into_inner();
    let again = node
        .calls()
        .spawn(keyed(3, "k"))
        .await
        .unwrap()
        .into_inner();
    // The answer to this would be that of another question.
    let reused = node.calls().spawn(keyed(4, "k")).await.unwrap_err();
    let (_, code, text) = refusal(&reused);
    assert_eq!(code, "invalid-request");
    assert!(
        text.contains(&first.call) && text.contains("other arguments"),
        "{text}"
    );
    let other = node
        .calls()
        .spawn(keyed(4, "l"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (first.duplicate, again.duplicate, other.duplicate),
        (false, true, false)
    );
    assert_eq!(first.call, again.call);
    assert_ne!(first.call, other.call);
    assert_eq!(
        u64_of(
            &get(&node, &again.call, 60_000)
                .await
                .outcome
                .unwrap()
                .into_result()
                .unwrap()
        ),
        9
    );
    let long = keyed(1, &"k".repeat(1_000));
    assert_eq!(
        refusal(&node.calls().spawn(long).await.unwrap_err()).1,
        "invalid-request"
    );
}

#[tokio::test]
async fn a_failure_is_a_result_too() {
    let node = TestNode::start().await;
    node.deploy("math", MATH).await;
    let call = spawned(&node, spawn("math", "trap", &[])).await;
    let told = get(&node, &call, 60_000).await;
    assert_eq!(told.info.unwrap().state(), State::Failed);
    expect_kind(told.outcome.unwrap().into_result(), Kind::Trap);
}

#[tokio::test]
async fn running_and_ended_calls_can_be_cancelled() {
    let node = TestNode::start().await;
    node.deploy("sleep", SLEEP).await;
    let call = spawned(&node, spawn("sleep", "", &MINUTE.to_le_bytes())).await;
    node.wait_for(1, State::Running).await;
    let cancel = v1::CancelRequest { call: call.clone() };
    assert!(
        node.calls()
            .cancel(cancel.clone())
            .await
            .unwrap()
            .into_inner()
            .was_running
    );
    let told = get(&node, &call, 60_000).await;
    assert_eq!(told.info.unwrap().state(), State::Cancelled);
    expect_kind(told.outcome.unwrap().into_result(), Kind::Cancelled);
    assert!(
        !node
            .calls()
            .cancel(cancel)
            .await
            .unwrap()
            .into_inner()
            .was_running
    );
    node.is_idle().await;
}

#[tokio::test]
async fn a_queued_call_can_be_cancelled_and_never_runs() {
    let node = TestNode::with(|options| options.max_sandboxes = Some(16)).await;
    node.deploy("sleep", SLEEP).await;
    let mut calls = Vec::new();
    for _ in 0..17 {
        calls.push(spawned(&node, spawn("sleep", "", &MINUTE.to_le_bytes())).await);
    }
    node.wait_for(16, State::Running).await;
    let queued = node.wait_for(1, State::Queued).await[0].call.clone();
    assert!(
        node.calls()
            .cancel(v1::CancelRequest {
                call: queued.clone()
            })
            .await
            .unwrap()
            .into_inner()
            .was_running
    );
    assert_eq!(
        get(&node, &queued, 60_000).await.info.unwrap().state(),
        State::Cancelled
    );
    for call in calls {
        node.calls()
            .cancel(v1::CancelRequest { call })
            .await
            .unwrap();
    }
    node.is_idle().await;
}

/// A call runs what was deployed when it was spawned.
#[tokio::test]
async fn a_later_deploy_or_stop_changes_nothing_for_a_spawned_call() {
    let node = TestNode::with(|options| options.max_sandboxes = Some(16)).await;
    node.deploy("sleep", SLEEP).await;
    node.deploy("app", MATH).await;
    let mut busy = Vec::new();
    for _ in 0..16 {
        busy.push(spawned(&node, spawn("sleep", "", &MINUTE.to_le_bytes())).await);
    }
    node.wait_for(16, State::Running).await;
    let call = spawned(&node, spawn("app", "square", &6u64.to_le_bytes())).await;
    node.deploy("app", ONE).await;
    node.apps()
        .stop(v1::StopRequest {
            app: "app".into(),
            ..Default::default()
        })
        .await
        .unwrap();
    for call in busy {
        node.calls()
            .cancel(v1::CancelRequest { call })
            .await
            .unwrap();
    }
    let told = get(&node, &call, 60_000).await;
    assert_eq!(u64_of(&told.outcome.unwrap().into_result().unwrap()), 36);
}

/// Arguments too large for a database record go to the blob store and come back.
#[tokio::test]
async fn large_arguments_are_kept_too() {
    let node = TestNode::start().await;
    node.deploy("bytes", crate::guests::BYTES).await;
    let mut args = vec![0x80, 0x80, 0x0c]; // 196,608
    args.resize(3 + 196_608, 5);
    let call = spawned(&node, spawn("bytes", "length", &args)).await;
    let told = get(&node, &call, 60_000).await;
    assert_eq!(
        told.outcome.unwrap().into_result().unwrap(),
        &196_608u32.to_le_bytes()[..]
    );
}

#[tokio::test]
async fn output_is_kept_with_the_result() {
    let node = TestNode::start().await;
    node.deploy("print", &printing()).await;
    let call = spawned(&node, spawn("print", "hello", &[])).await;
    let follow = v1::CallLogsRequest { call, follow: true };
    let chunks: Vec<_> = node
        .calls()
        .logs(follow)
        .await
        .unwrap()
        .into_inner()
        .collect()
        .await;
    let text: Vec<u8> = chunks
        .into_iter()
        .flat_map(|chunk| chunk.unwrap().data.to_vec())
        .collect();
    assert_eq!(text, b"hello\n");
}

#[tokio::test]
async fn spawned_calls_are_listed_by_app_and_state() {
    let node = TestNode::start().await;
    node.deploy("math", MATH).await;
    for function in ["noop", "trap", "noop"] {
        let call = spawned(&node, spawn("math", function, &[])).await;
        get(&node, &call, 60_000).await;
    }
    let list = |app: &str, state: State, limit| v1::ListCallsRequest {
        app: app.into(),
        state: state.into(),
        limit,
        ..Default::default()
    };
    let count = async |request| {
        node.calls()
            .list(request)
            .await
            .unwrap()
            .into_inner()
            .calls
            .len()
    };
    assert_eq!(count(list("math", State::Unspecified, 0)).await, 3);
    assert_eq!(count(list("math", State::Succeeded, 0)).await, 2);
    assert_eq!(count(list("math", State::Failed, 0)).await, 1);
    assert_eq!(count(list("other", State::Unspecified, 0)).await, 0);
    assert_eq!(count(list("", State::Unspecified, 2)).await, 2);
}

/// Large results must not make the database large, and must be there as long as their call is, whatever is collected.
#[tokio::test(flavor = "multi_thread")]
async fn large_results_are_kept_beside_the_database() {
    const LENGTH: u32 = 8 << 20;
    let directory = tempfile::tempdir().unwrap();
    let options = || {
        let mut options = Options::new(directory.path());
        options.blob_grace = Duration::ZERO;
        options
    };
    let node = TestNode::of(options()).await;
    node.deploy("bytes", BYTES).await;
    let call = spawned(&node, spawn("bytes", "give", &LENGTH.to_le_bytes())).await;
    let whole = |told: v1::GetCallResponse| {
        let value = told.outcome.unwrap().into_result().unwrap();
        assert_eq!(value.len(), 4 + LENGTH as usize);
    };
    whole(get(&node, &call, 60_000).await);
    node.node.collect().await;
    whole(get(&node, &call, 0).await);
    let explain = v1::ExplainRequest { call: call.clone() };
    let told = node.calls().explain(explain).await.unwrap().into_inner();
    assert!(told.failure.is_none() && told.usage.unwrap().bytes_out > u64::from(LENGTH));
    let database: u64 = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("meta.sqlite")
        })
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    assert!(database < u64::from(LENGTH) / 2, "{database} bytes");
    node.shut_down(Duration::ZERO).await;
    let node = TestNode::of(options()).await;
    whole(get(&node, &call, 0).await);
}

/// What is kept of calls goes by itself when its time is over, and what only they used with it.
#[tokio::test(flavor = "multi_thread")]
async fn expired_results_and_their_blobs_are_collected() {
    let retention = Duration::from_secs(3);
    let node = TestNode::with(|options| {
        options.result_retention = retention;
        options.collect_every = Duration::from_millis(50);
        options.blob_grace = retention;
    })
    .await;
    node.deploy("bytes", BYTES).await;
    let give = spawn("bytes", "give", &(1u32 << 20).to_le_bytes());
    let call = spawned(&node, give).await;
    let told = get(&node, &call, 60_000).await;
    let value = told.outcome.unwrap().into_result().unwrap();
    let blob = raw(&lydian_value::Digest::of(&value));
    let missing = async || {
        let request = v1::MissingRequest {
            digests: vec![blob.clone()],
        };
        let missing = node.blobs().missing(request).await.unwrap().into_inner();
        !missing.digests.is_empty()
    };
    patiently("the call is still known", async || {
        let request = v1::GetCallRequest {
            call: call.clone(),
            timeout_ms: 0,
        };
        node.calls().get(request).await.is_err()
    })
    .await;
    // Not asked for in between, for that is a use.
    tokio::time::sleep(retention * 2).await;
    assert!(missing().await);
    // Its app is kept.
    assert!(node.invoke("bytes", "length", &[0]).await.is_ok());
}
