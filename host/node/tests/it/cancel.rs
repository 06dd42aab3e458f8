//! What is told of calls that were stopped: what they used until then.

use crate::guests::{BYTES, MATH, SLEEP, printing};
use crate::harness::{TestNode, request};
use futures::StreamExt;
use lydian_api::v1::{self, call_info::State, session_request, session_response};
use std::time::Duration;

/// As much as makes a stopped call's usage tell from none: 20 ms.
const SOME_MICROS: u64 = 20_000;

async fn explain(node: &TestNode, call: &str) -> v1::ExplainResponse {
    let request = v1::ExplainRequest { call: call.into() };
    let told = node.calls().explain(request).await;
    told.expect("the call is known").into_inner()
}

/// Whoever looks for what a function costs must see it where somebody lost patience with it, too.
#[tokio::test]
async fn a_cancelled_spawned_call_tells_what_it_used() {
    let node = TestNode::start().await;
    node.deploy("math", MATH).await;
    let spawn = v1::SpawnRequest {
        target: Some(v1::Target::app("", "math", "spin")),
        ..Default::default()
    };
    let call = node.calls().spawn(spawn).await.expect("it is taken");
    let call = call.into_inner().call;
    node.wait_for(1, State::Running).await;
    tokio::time::sleep(Duration::from_micros(3 * SOME_MICROS)).await;
    let cancel = v1::CancelRequest { call: call.clone() };
    let cancelled = node.calls().cancel(cancel).await.expect("an answer");
    assert!(cancelled.into_inner().was_running);
    let told = explain(&node, &call).await;
    let usage = told.usage.expect("it is known");
    assert!(usage.run_micros >= SOME_MICROS, "{usage:?}");
    assert!(usage.cpu_micros > 0, "{usage:?}");
    assert!(
        told.start_reason.contains("memory"),
        "{}",
        told.start_reason
    );
    assert_eq!(told.info.unwrap().state(), State::Cancelled);
    node.is_idle().await;
}

/// Ctrl-C ends the connection, not the account of what ran.
#[tokio::test]
async fn a_call_whose_reader_left_tells_what_it_used() {
    let node = TestNode::start().await;
    node.deploy("math", MATH).await;
    let run = node.calls().run(request("math", "spin", &[])).await;
    let mut events = run.expect("it is taken").into_inner();
    events.message().await.expect("it has started");
    tokio::time::sleep(Duration::from_micros(3 * SOME_MICROS)).await;
    drop(events);
    let call = node.wait_for(1, State::Cancelled).await[0].call.clone();
    let told = explain(&node, &call).await;
    let usage = told.usage.expect("it is known");
    assert!(usage.run_micros >= SOME_MICROS, "{usage:?}");
    let failure = told.failure.expect("it failed").message;
    assert!(failure.contains("its caller went away"), "{failure}");
    node.is_idle().await;
}

/// Nothing known is not nothing used.
#[tokio::test]
async fn a_call_whose_end_nobody_saw_has_no_usage_rather_than_none_used() {
    let node = TestNode::start().await;
    node.deploy("sleep", SLEEP).await;
    let minute = 60_000_000_000_u64.to_le_bytes();
    let call = tokio::spawn({
        let mut calls = node.calls();
        async move { calls.invoke(request("sleep", "", &minute)).await }
    });
    node.wait_for(1, State::Running).await;
    call.abort();
    let call = node.wait_for(1, State::Cancelled).await[0].call.clone();
    let told = explain(&node, &call).await;
    assert_eq!(
        (told.usage, told.start_reason.as_str()),
        (None, "not known")
    );
    node.is_idle().await;
}

/// One that never had a sandbox used none, and says so.
#[tokio::test]
async fn a_call_cancelled_in_line_took_no_sandbox() {
    let node = TestNode::with(|options| options.max_sandboxes = Some(16)).await;
    node.deploy("sleep", SLEEP).await;
    let minute = 60_000_000_000_u64.to_le_bytes();
    let spawn = || v1::SpawnRequest {
        target: Some(v1::Target::app("", "sleep", "")),
        args: minute.to_vec().into(),
        ..Default::default()
    };
    let mut calls = Vec::new();
    for _ in 0..17 {
        let call = node.calls().spawn(spawn()).await.expect("it is taken");
        calls.push(call.into_inner().call);
    }
    node.wait_for(16, State::Running).await;
    let queued = node.wait_for(1, State::Queued).await[0].call.clone();
    let cancel = async |call: String| node.calls().cancel(v1::CancelRequest { call }).await;
    cancel(queued.clone()).await.expect("an answer");
    let told = explain(&node, &queued).await;
    assert_eq!(told.start_reason, "it took no sandbox");
    for call in calls {
        cancel(call).await.expect("an answer");
    }
    node.is_idle().await;
}

/// A client that does not read keeps the session's answers waiting, and not its sandbox from
/// others.
#[tokio::test]
async fn a_session_that_is_not_read_can_be_cancelled() {
    let node = TestNode::with(|options| options.max_sandboxes = Some(1)).await;
    node.deploy("bytes", BYTES).await;
    let open = v1::SessionOpen {
        target: Some(v1::Target::app("", "bytes", "")),
        ..Default::default()
    };
    let give = |id| v1::SessionCall {
        id,
        function: "give".into(),
        args: (4u32 << 20).to_le_bytes().to_vec().into(),
    };
    let asked = (1..=30).map(|id| session_request::Part::Call(give(id)).into());
    let opened = std::iter::once(session_request::Part::Open(open).into());
    let requests = futures::stream::iter(opened.chain(asked).collect::<Vec<_>>());
    let requests = requests.chain(futures::stream::pending());
    let session = node.calls().session(requests).await.expect("it is opened");
    let mut unread = session.into_inner();
    let first = unread.message().await.expect("an answer").expect("one");
    let Some(session_response::Part::Opened(opened)) = first.part else {
        panic!("{first:?}");
    };
    // Until all has been filled that is between the session and its client.
    let cancel = v1::CancelRequest { call: opened.call };
    tokio::time::sleep(Duration::from_millis(500)).await;
    let cancelled = node.calls().cancel(cancel).await.expect("an answer");
    assert!(cancelled.into_inner().was_running);
    node.is_idle().await;
    let answer = node.invoke("bytes", "give", &5u32.to_le_bytes()).await;
    assert_eq!(answer.expect("there is a sandbox").len(), 6);
    drop(unread);
}

/// The same where one call prints more than its reader takes.
#[tokio::test]
async fn a_run_that_is_not_read_can_be_cancelled() {
    let node = TestNode::with(|options| options.max_sandboxes = Some(1)).await;
    node.deploy("loud", &printing()).await;
    let run = node.calls().run(request("loud", "flood", &[])).await;
    let mut unread = run.expect("it is taken").into_inner();
    unread.message().await.expect("it has started");
    let call = node.wait_for(1, State::Running).await[0].call.clone();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let cancel = v1::CancelRequest { call };
    let cancelled = node.calls().cancel(cancel).await.expect("an answer");
    assert!(cancelled.into_inner().was_running);
    node.is_idle().await;
    drop(unread);
}
