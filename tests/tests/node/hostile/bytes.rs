//! Guests that move too many bytes: arguments, results, output, random numbers, headers.

use std::time::Duration;

use lydian_client::{FailureKind, Limits};
use lydian_tests::guests;

use crate::support::{Ended, TestNode, timeout};

const PAYLOAD_BYTES: u64 = 1 << 20;

fn limits() -> Limits {
    timeout(Duration::from_secs(30)).payload_bytes(PAYLOAD_BYTES)
}

/// Refused before a sandbox is taken, or before the bytes reach it; never taken in.
#[tokio::test(flavor = "multi_thread")]
async fn an_argument_beyond_the_limit_is_refused() {
    let node = TestNode::start().await;
    let take = node
        .function(guests::PAYLOAD, "take")
        .await
        .with_limits(limits());
    let fits: u64 = take
        .call((vec![1u8; PAYLOAD_BYTES as usize - 64],))
        .await
        .unwrap();
    assert_eq!(fits, PAYLOAD_BYTES - 64);
    let error = take
        .call::<_, u64>((vec![1u8; 2 * PAYLOAD_BYTES as usize],))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("1 MiB") || error.code() == "payload",
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_beyond_the_limit_is_not_copied_out() {
    let node = TestNode::start().await;
    let fits = node
        .call(guests::PAYLOAD, "give", &["1000"], limits())
        .await;
    assert!(matches!(fits, Ended::Value(_)), "{fits:?}");
    for (function, arguments) in [
        ("give", &["100000000"] as &[&str]),
        ("give-strings", &["1000", "10000"]),
        ("give-empties", &["10000000"]),
        ("give-error", &["10000000"]),
    ] {
        let ended = node
            .beside_others(node.call(guests::PAYLOAD, function, arguments, limits()))
            .await;
        assert_eq!(
            ended.kind(),
            Some(FailureKind::Payload),
            "{function}: {ended:?}"
        );
    }
}

/// Half a gigabyte of strings over the same page: the sum of what is copied counts, not what the guest holds.
#[tokio::test(flavor = "multi_thread")]
async fn strings_over_the_same_bytes_are_counted_each_time() {
    let node = TestNode::start().await;
    let ended = node
        .beside_others(node.call(guests::AMPLIFY, "give", &[], limits()))
        .await;
    let stopped = matches!(
        ended.kind(),
        Some(FailureKind::Payload | FailureKind::HostCall)
    );
    assert!(stopped, "{ended:?}");
}

/// Output has a limit in bytes; a guest that goes on is stopped there or told nothing more, and never floods.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_is_stopped() {
    let node = TestNode::start().await;
    let limits = || timeout(Duration::from_secs(20)).output_bytes(100_000);
    for (function, arguments) in [
        ("flood", &[] as &[&str]),
        ("flood-stderr", &[]),
        ("one-line", &["1000000000"]),
    ] {
        let ended = node
            .beside_others(node.call(guests::OUTPUT, function, arguments, limits()))
            .await;
        assert_eq!(
            ended.kind(),
            Some(FailureKind::Output),
            "{function}: {ended:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terabyte_of_random_numbers_is_refused() {
    let node = TestNode::start().await;
    for function in ["bytes", "insecure-bytes"] {
        let terabyte = (1u64 << 40).to_string();
        let ended = node
            .beside_others(node.call(guests::RANDOM, function, &[&terabyte], limits()))
            .await;
        let stopped = matches!(
            ended.kind(),
            Some(FailureKind::Trap | FailureKind::HostCall)
        );
        assert!(stopped, "{function}: {ended:?}");
    }
}

/// `wasi:http` needs no grant to be asked for requests, and what is queued in those that are never
/// sent is the sandbox's.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_never_sent_are_counted() {
    let node = TestNode::start().await;
    let limits = limits().memory_bytes(64 << 20);
    let call = node.call(guests::HTTP_BODIES, "go", &["2000"], limits);
    let ended = node.beside_others(call).await;
    assert!(
        matches!(ended, Ended::Failed(FailureKind::Memory, _)),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_headers_and_a_huge_one_are_refused() {
    let node = TestNode::start().await;
    for (count, bytes, kind, said) in [
        (
            "1000000",
            "10",
            FailureKind::Trap,
            "total size of fields exceeds limit",
        ),
        (
            "10",
            "50000000",
            FailureKind::HostCall,
            "moved more bytes than its limit of 16 MiB",
        ),
    ] {
        let ended = node
            .beside_others(node.call(guests::NET, "headers", &[count, bytes], limits()))
            .await;
        let Ended::Failed(found, message) = &ended else {
            panic!("{ended:?}")
        };
        assert_eq!(*found, kind, "{message}");
        assert!(message.contains(said), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_pollables_is_limited() {
    let node = TestNode::start().await;
    let ended = node
        .beside_others(node.call(guests::WAITING, "poll-storm", &["1000000", "1"], limits()))
        .await;
    assert_eq!(ended.kind(), Some(FailureKind::Handles), "{ended:?}");
    let ended = node
        .beside_others(node.call(guests::WAITING, "poll-same", &["100"], limits()))
        .await;
    assert_eq!(ended, Ended::Value("100".into()));
}

/// Without a grant there is no network, by whichever road.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_reached_without_a_grant() {
    let node = TestNode::start().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    listener.set_nonblocking(true).unwrap();
    let quoted = format!("\"{address}\"");
    for (function, arguments) in [
        ("tcp-connect", vec![quoted.as_str()]),
        ("send-udp", vec![quoted.as_str()]),
        ("tcp-listen", vec!["\"127.0.0.1:0\""]),
        ("resolve", vec!["\"localhost\""]),
        ("get", vec!["\"http\"", quoted.as_str(), "\"/\""]),
    ] {
        let ended = node.call(guests::NET, function, &arguments, limits()).await;
        assert!(
            matches!(&ended, Ended::Value(value) if value.starts_with("err(")),
            "{function}: {ended:?}"
        );
    }
    assert!(
        listener.accept().is_err(),
        "a guest without a grant reached the listener"
    );
}

/// The host's own variables, arguments and files are not the guest's.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_host_is_seen() {
    let node = TestNode::start().await;
    for (function, nothing) in [("variables", "[]"), ("arguments", "[]"), ("preopens", "[]")] {
        let ended = node.call(guests::ENV, function, &[], limits()).await;
        assert_eq!(ended, Ended::Value(nothing.into()), "{function}");
    }
    let passwd = node
        .call(guests::ENV, "read-file", &["\"/etc/passwd\""], limits())
        .await;
    assert!(
        matches!(&passwd, Ended::Value(value) if value.starts_with("err(")),
        "{passwd:?}"
    );
}
