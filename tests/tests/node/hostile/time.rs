//! Guests that never end: in the export, before it, after it, in the host, or in the middle of async.

use std::time::Duration;

use lydian_client::{Error, FailureKind, Handle, Limits};
use lydian_tests::{Guest, guests};

use crate::support::{Ended, SHORT, TestNode, call, timeout};

/// Runs it with a short limit on wall time and expects to be stopped by that.
async fn is_timed_out(node: &TestNode, guest: Guest, function: &str, arguments: &[&str]) {
    let ended = node
        .beside_others(node.call(guest, function, arguments, timeout(SHORT)))
        .await;
    assert_eq!(
        ended.kind(),
        Some(FailureKind::Timeout),
        "{}::{function}: {ended:?}",
        guest.name
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_in_an_export_ends_at_the_deadline() {
    let node = TestNode::start().await;
    for function in [
        "spin",
        "spin-calling",
        "spin-allocating",
        "spin-async",
        "spin-yielding",
    ] {
        is_timed_out(&node, guests::SPIN, function, &[]).await;
    }
}

/// The deadline covers all that runs of the guest, not just its export.
#[tokio::test(flavor = "multi_thread")]
async fn a_loop_before_or_after_the_export_ends_at_the_deadline() {
    let node = TestNode::start().await;
    is_timed_out(&node, guests::SPIN_START, "run", &[]).await;
    is_timed_out(&node, guests::SPIN_INIT, "run", &[]).await;
    is_timed_out(&node, guests::SPIN_REALLOC, "take", &["\"text\""]).await;
    is_timed_out(&node, guests::SPIN_POST_RETURN, "give", &[]).await;
}

/// A resource's destructor runs when its holder lets go of it: the session it is in ends, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_loop_in_a_destructor_ends_its_session_at_the_deadline() {
    let node = TestNode::start().await;
    let digest = node.client.put(guests::SPIN_DTOR.bytes()).await.unwrap();
    // It must be made within the same time.
    let limits = timeout(Duration::from_secs(2));
    let session = node.client.component_session(digest, limits).await.unwrap();
    let thing = session
        .construct("test:spin/things#make", ())
        .await
        .unwrap();
    drop(thing);
    let next = session.call::<_, Handle>("test:spin/things#make", ());
    let error = node.beside_others(next).await.unwrap_err();
    let Error::Failed(failure) = &error else {
        panic!("{error}")
    };
    assert!(failure.message.contains("the session is over"), "{error}");
    // Without a session nobody could let go of it.
    let ended = node.call(
        guests::SPIN_DTOR,
        "test:spin/things#make",
        &[],
        timeout(SHORT),
    );
    assert_eq!(ended.await, Ended::Refused("needs-session".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn cpu_time_has_a_limit_of_its_own() {
    let node = TestNode::start().await;
    let limits = Limits::new().cpu(SHORT).timeout(Duration::from_secs(60));
    let ended = node
        .beside_others(node.call(guests::SPIN, "spin", &[], limits))
        .await;
    assert_eq!(ended.kind(), Some(FailureKind::Cpu), "{ended:?}");
}

/// More spinning guests than processors, with minutes to go: the node still answers, and others still run.
#[tokio::test(flavor = "multi_thread")]
async fn spinning_on_all_processors_does_not_silence_the_node() {
    let node = TestNode::start().await;
    let spin = node
        .function(guests::SPIN, "spin")
        .await
        .with_limits(timeout(Duration::from_secs(100)));
    let count = 4 * std::thread::available_parallelism().unwrap().get();
    let mut calls = Vec::new();
    for _ in 0..count {
        calls.push(spin.spawn(()).await.unwrap());
    }
    let square = node.function(guests::MATH, "square").await;
    for x in 0..20u64 {
        assert_eq!(square.call::<_, u64>((x,)).await.unwrap(), x * x);
        node.client.node_info().await.unwrap();
    }
    for call in calls {
        call.cancel().await.unwrap();
    }
    node.is_empty().await;
}

/// Time in the host is the guest's time too.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_ever_in_the_host_ends_at_the_deadline() {
    let node = TestNode::start().await;
    is_timed_out(&node, guests::WAITING, "sleep-for-ever", &[]).await;
    is_timed_out(&node, guests::WAITING, "zero-timers", &[]).await;
    is_timed_out(&node, guests::WAITING, "zero-timers-async", &["50"]).await;
    is_timed_out(&node, guests::STREAMS, "never", &[]).await;
    // Waiting for what only the guest itself could do is seen at once.
    let ended = node
        .beside_others(node.call(guests::STREAMS, "deadlock", &[], timeout(SHORT)))
        .await;
    let stopped = matches!(ended.kind(), Some(FailureKind::Timeout | FailureKind::Trap));
    assert!(stopped, "{ended:?}");
}

/// There is no input: a guest that waits for some is told so at once.
#[tokio::test(flavor = "multi_thread")]
async fn reading_input_that_never_comes_ends() {
    let node = TestNode::start().await;
    let ended = node
        .call(
            guests::WAITING,
            "read-for-ever",
            &[],
            timeout(Duration::from_secs(60)),
        )
        .await;
    assert_eq!(ended, Ended::Value("0".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_in_the_middle_of_async_fails_that_call_alone() {
    let node = TestNode::start().await;
    let later = node.call(
        guests::STREAMS,
        "trap-later",
        &["10"],
        timeout(Duration::from_secs(10)),
    );
    let ended = node.beside_others(later).await;
    assert_eq!(ended.kind(), Some(FailureKind::Trap), "{ended:?}");
}

/// Each cancel stops its own sandbox, and the counters come back to nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_cancels_returns_every_slot() {
    let node = TestNode::start().await;
    let spin = node.function(guests::SPIN, "spin").await;
    let storm = async {
        for _ in 0..50 {
            let call = spin.spawn(()).await.unwrap();
            call.cancel().await.unwrap();
        }
    };
    node.beside_others(storm).await;
    let fine = node.function(guests::SPIN, "fine").await;
    assert_eq!(call(&fine, &["3"]).await, Ended::Value("3".into()));
}
