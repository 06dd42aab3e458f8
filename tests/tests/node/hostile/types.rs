//! Guests that break the rules of values: results that are none, imports called past all bindings, deep types.

use std::time::Duration;

use lydian_client::FailureKind;
use lydian_tests::{generate, guests};

use crate::support::{Ended, TestNode, call, timeout};

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_no_value_is_a_trap() {
    let node = TestNode::start().await;
    for function in [
        "huge-list",
        "past-the-end",
        "invalid-utf8",
        "bad-option",
        "bad-pointer",
        "unaligned",
        "bad-char",
        "bad-case",
    ] {
        let ended = node
            .beside_others(node.call(guests::BAD_RESULTS, function, &[], timeout(LIMIT)))
            .await;
        let stopped = matches!(ended.kind(), Some(FailureKind::Trap | FailureKind::Payload));
        assert!(stopped, "{function}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allocator_that_lies_is_a_trap() {
    let node = TestNode::start().await;
    for function in ["outside", "unaligned", "trap"] {
        let ended = node
            .call(
                guests::BAD_REALLOC,
                function,
                &["[1, 2, 3]"],
                timeout(LIMIT),
            )
            .await;
        assert_eq!(
            ended.kind(),
            Some(FailureKind::Trap),
            "{function}: {ended:?}"
        );
    }
}

/// Every import of WASI with arguments that no language would let pass. The host may trap the guest for it; it
/// may not break.
#[tokio::test(flavor = "multi_thread")]
async fn no_import_breaks_the_host() {
    let node = TestNode::start().await;
    let count: u32 = node
        .function(guests::RAW, "count")
        .await
        .call(())
        .await
        .unwrap();
    let odd = node
        .function(guests::RAW, "odd")
        .await
        .with_limits(timeout(Duration::from_secs(1)));
    let name = node.function(guests::RAW, "name").await;
    for index in 0..count {
        for seed in 0..4u32 {
            let ended = call(&odd, &[&index.to_string(), &seed.to_string(), "3"]).await;
            if ended.kind() == Some(FailureKind::HostPanic) {
                let name: String = name.call((index,)).await.unwrap();
                panic!("{name} with seed {seed}: {ended:?}");
            }
        }
    }
    let storm = node
        .function(guests::RAW, "storm")
        .await
        .with_limits(timeout(Duration::from_secs(1)));
    for seed in 0..200u64 {
        let ended = call(&storm, &[&seed.to_string(), "50"]).await;
        assert_ne!(
            ended.kind(),
            Some(FailureKind::HostPanic),
            "seed {seed}: {ended:?}"
        );
    }
    node.is_empty().await;
}

/// As deep as values may be, and one deeper than any.
#[tokio::test(flavor = "multi_thread")]
async fn types_nested_too_deep_are_refused_and_others_run() {
    let node = TestNode::start().await;
    let fine = node
        .bytes(generate::nested_lists(30), "take")
        .await
        .unwrap();
    assert_eq!(call(&fine, &["[]"]).await, Ended::Value("0".into()));
    for component in [
        generate::nested_lists(90),
        generate::nested_options(90),
        generate::nested_lists(2000),
    ] {
        // Refused when looked at, or when called; a deep type does no harm before.
        if let Ok(take) = node.beside_others(node.bytes(component, "take")).await {
            let ended = node.beside_others(call(&take, &["[]"])).await;
            assert!(!matches!(ended, Ended::Value(_)), "{ended:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_ending_is_told_apart() {
    let node = TestNode::start().await;
    let end = |function: &'static str, arguments: &'static [&'static str]| {
        node.call(guests::ENDING, function, arguments, timeout(LIMIT))
    };
    assert_eq!(
        end("exit-with", &["3"]).await.kind(),
        Some(FailureKind::Exited)
    );
    assert_eq!(end("exit-with", &["0"]).await, Ended::Value(String::new()));
    for (function, arguments) in [
        ("panic", &["\"no more\""] as &[&str]),
        ("panic-deep", &[]),
        ("trap", &[]),
        ("abort-now", &[]),
        ("out-of-bounds", &[]),
        ("divide-by-zero", &["1"]),
    ] {
        assert_eq!(
            end(function, arguments).await.kind(),
            Some(FailureKind::Trap),
            "{function}"
        );
    }
    assert_eq!(
        end("err", &["\"no\""]).await,
        Ended::Value("err(\"no\")".into())
    );
    // A sandbox is new for each call, so it is always the first.
    for _ in 0..3 {
        assert_eq!(end("calls", &[]).await, Ended::Value("1".into()));
    }
}
