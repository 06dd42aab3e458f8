//! Every type of WIT, in and out, through every layer at once; resources within a session; streams as results.

use lydian_client::{Error, Limits};
use lydian_tests::guests;

use crate::support::{Ended, TestNode};

/// What goes in comes out: the same text, as WAVE spells it.
#[tokio::test(flavor = "multi_thread")]
async fn every_anonymous_type_comes_back_as_it_went() {
    let node = TestNode::start().await;
    for (function, value) in [
        ("echo-bool", "true"),
        ("echo-s8", "-128"),
        ("echo-u8", "255"),
        ("echo-s16", "-32768"),
        ("echo-u16", "65535"),
        ("echo-s32", "-2147483648"),
        ("echo-u32", "4294967295"),
        ("echo-s64", "-9223372036854775808"),
        ("echo-u64", "18446744073709551615"),
        ("echo-f32", "0.1"),
        ("echo-f64", "-1.7976931348623157e308"),
        ("echo-f64", "nan"),
        ("echo-char", "'𝛑'"),
        ("echo-string", "\"two\\nlines, «quoted» and \\\"so\\\"\""),
        ("echo-string", "\"\""),
        ("echo-strings", "[\"a\", \"\", \"c\"]"),
        ("echo-bytes", "[0, 127, 128, 255]"),
        ("echo-s16s", "[-1, 0, 1]"),
        ("echo-u32s", "[]"),
        ("echo-u64s", "[18446744073709551615]"),
        ("echo-f32s", "[0.5, -inf, nan]"),
        ("echo-f64s", "[0.1, inf]"),
        ("echo-bools", "[true, false]"),
        ("echo-chars", "['a', 'é']"),
        ("echo-pairs", "[(\"a\", 1), (\"b\", 2)]"),
        ("echo-tuple", "(1, \"b\", 0.25)"),
        ("echo-option", "some(\"x\")"),
        ("echo-option", "none"),
        ("echo-nested-option", "some(none)"),
        ("echo-result", "ok(\"fine\")"),
        ("echo-result", "err(7)"),
        ("echo-bare-result", "err"),
        ("echo-nested", "[[[1, 2], []], []]"),
    ] {
        let ended = node
            .call(guests::ECHO, function, &[value], Limits::new())
            .await;
        assert_eq!(ended, Ended::Value(value.into()), "{function}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_named_type_comes_back_as_it_went() {
    let node = TestNode::start().await;
    let everything = "{flag: true, small: 1, signed: -1, short: -2, wide: 3, ratio: 0.5, single: 0.25, letter: 'x', \
                      text: \"t\", bytes: [1, 2], weights: [0.5], where: {x: 1, y: -1}, colour: green, \
                      shape: polygon([{x: 0, y: 0}]), rights: {read, execute}, maybe: some(\"m\"), \
                      outcome: err(\"e\"), pair: (1, \"p\"), nested: [[some({x: 2, y: 2}), none]]}";
    let several = format!("[{everything}, {everything}]");
    for (function, value) in [
        ("echo-point", "{x: -1, y: 2147483647}"),
        ("echo-everything", everything),
        ("echo-everythings", &several),
        ("echo-colour", "blue"),
        ("echo-shape", "nothing"),
        ("echo-shape", "named((\"n\", red))"),
        ("echo-shape", "wrapped(some(err(9)))"),
        ("echo-shapes", "[circle(1.5), square(2), nothing]"),
        ("echo-rights", "{read, write, execute}"),
        ("echo-rights", "{}"),
        ("echo-many", "{f0, f8, f18}"),
        ("echo-points", "[{x: 1, y: 2}]"),
        ("echo-colours", "[red, green, blue]"),
    ] {
        let ended = node
            .call(
                guests::ECHO,
                &format!("test:echo/shapes#{function}"),
                &[value],
                Limits::new(),
            )
            .await;
        assert_eq!(ended, Ended::Value(value.into()), "{function}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn maps_and_lists_of_fixed_length_come_back_as_they_went() {
    let node = TestNode::start().await;
    for (function, value) in [
        ("echo-map", "[(\"a\", 1), (\"b\", 2)]"),
        ("echo-fixed", "[1, 2, 3, 4]"),
        ("echo-matrix", "[[1, 2], [3, 4]]"),
    ] {
        let ended = node
            .call(guests::NEWER, function, &[value], Limits::new())
            .await;
        assert_eq!(ended, Ended::Value(value.into()), "{function}");
    }
}

/// More parameters than fit in core parameters go through memory.
#[tokio::test(flavor = "multi_thread")]
async fn seventeen_parameters_arrive_in_order() {
    let node = TestNode::start().await;
    let arguments = [
        "1", "2", "3", "4", "-5", "-6", "-7", "-8", "0.5", "0.25", "true", "'c'", "\"m\"",
        "[1, 2]", "some(3)", "(4, 5)", "err(6)",
    ];
    let ended = node
        .call(guests::ECHO, "echo-wide", &arguments, Limits::new())
        .await;
    let all = "\"1 2 3 4 -5 -6 -7 -8 0.5 0.25 true c m [1, 2] Some(3) (4, 5) Err(6)\"";
    assert_eq!(ended, Ended::Value(all.into()));
}

/// A large list is one copy each way; what arrives must still be every byte of it.
#[tokio::test(flavor = "multi_thread")]
async fn bulk_data_arrives_whole() {
    let node = TestNode::start().await;
    let bytes: Vec<u8> = (0..3_000_000u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let echo = node.function(guests::ECHO, "echo-bytes").await;
    assert_eq!(
        echo.call::<_, Vec<u8>>((bytes.clone(),)).await.unwrap(),
        bytes
    );
    let numbers: Vec<f32> = (0..1_000_000).map(|at| at as f32 * 0.5).collect();
    let echo = node.function(guests::ECHO, "echo-f32s").await;
    assert_eq!(
        echo.call::<_, Vec<f32>>((numbers.clone(),)).await.unwrap(),
        numbers
    );
}

/// A resource lives as long as its session, and no longer than its handle.
#[tokio::test(flavor = "multi_thread")]
async fn a_resource_keeps_its_state_between_calls() {
    let node = TestNode::start().await;
    let component = node.client.put(guests::COUNTER.bytes()).await.unwrap();
    let session = node
        .client
        .component_session(component, Limits::new())
        .await
        .unwrap();
    let counter = session
        .construct("test:counter/counters#counter.new", (5u64,))
        .await
        .unwrap();
    assert_eq!(
        counter.call::<_, u64>("increment", (3u64,)).await.unwrap(),
        8
    );
    assert_eq!(counter.call::<_, u64>("value", ()).await.unwrap(), 8);
    let live: u32 = session
        .call("test:counter/counters#live", ())
        .await
        .unwrap();
    assert_eq!(live, 1);
    drop(counter);
    let live: u32 = session
        .call("test:counter/counters#live", ())
        .await
        .unwrap();
    assert_eq!(live, 0);
    drop(session);
    node.is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_gives_its_items_as_they_come() {
    let node = TestNode::start().await;
    let count = node.function(guests::STREAMS, "count").await;
    let mut numbers = count.stream::<_, u32>((1000u32,)).await.unwrap();
    let mut received = Vec::new();
    while let Some(chunk) = numbers.next_chunk().await.unwrap() {
        received.extend(chunk);
    }
    assert_eq!(received, (0..1000).collect::<Vec<u32>>());
}

/// What came before the trap was sent; the trap is the end, and is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_says_so_after_its_items() {
    let node = TestNode::start().await;
    let broken = node.function(guests::STREAMS, "trap-after").await;
    let mut numbers = broken.stream::<_, u32>((10u32,)).await.unwrap();
    let mut received = Vec::new();
    let error = loop {
        match numbers.next_chunk().await {
            Ok(Some(chunk)) => received.extend(chunk),
            Ok(None) => panic!("the stream ended as if all were well, after {received:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Failed(_)), "{error}");
    assert_eq!(received, (0..10).collect::<Vec<u32>>());
}

/// An endless stream stops with its reader.
#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_stream_ends_its_sandbox() {
    let node = TestNode::start().await;
    let endless = node.function(guests::STREAMS, "endless").await;
    let mut bytes = endless.stream::<_, u8>(()).await.unwrap();
    assert!(bytes.next_chunk().await.unwrap().is_some());
    drop(bytes);
    node.is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_counted_by_a_guest_that_tells_its_progress() {
    let node = TestNode::start().await;
    let ended = node
        .call(
            guests::TEXT,
            "count-words",
            &["\"b a b\"", "2"],
            Limits::new(),
        )
        .await;
    assert_eq!(ended, Ended::Value("[(\"b\", 2), (\"a\", 1)]".into()));
}

/// A program is a component with one export, `run`.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_runs_to_its_end() {
    let node = TestNode::start().await;
    let ended = node.call(guests::COMMAND, "", &[], Limits::new()).await;
    assert!(matches!(ended, Ended::Value(_)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_without_functions_has_none_to_call() {
    let node = TestNode::start().await;
    let error = node.bytes(guests::EMPTY.bytes(), "run").await.unwrap_err();
    assert!(
        matches!(error, Error::NotFound(_) | Error::InvalidArgument(_)),
        "{error}"
    );
}
