//! Calls, against a node made of mirrors: what is sent, and what is made of the answers.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are not seen as tests"
)]

mod fake;

use fake::Fake;
use futures::TryStreamExt;
use lydian_client::{Call, Deploy, Error, Event, Json, Limits, Value, Values, Wave, gather};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// The first thing anybody does.
#[tokio::test]
async fn a_call_returns_its_result() {
    let square = Fake::new()
        .client()
        .function("math", "square")
        .await
        .expect("found");
    assert_eq!(square.call::<_, u64>((4u64,)).await.expect("works"), 16);
    let values = square.call_values(&[Value::U64(4)]).await.expect("works");
    assert_eq!(values, Some(Value::U64(16)));
    let Json(json) = square
        .call(Json(serde_json::json!({"x": 4})))
        .await
        .expect("works");
    assert_eq!(json, serde_json::json!(16));
    let Wave(wave) = square.call(Wave(vec!["4".into()])).await.expect("works");
    assert_eq!(wave, ["16"]);
    let wire = square
        .call_wire(4u64.to_le_bytes().to_vec())
        .await
        .expect("works");
    assert_eq!(wire, 16u64.to_le_bytes().to_vec());
}

/// A function without result gives `()`, and no value at all in the dynamic forms.
#[tokio::test]
async fn a_function_may_return_nothing() {
    let nothing = Fake::new()
        .client()
        .function("math", "nothing")
        .await
        .expect("found");
    nothing.call::<_, ()>(()).await.expect("works");
    assert_eq!(nothing.call_values(&[]).await.expect("works"), None);
}

/// A wrong type is the caller's mistake: nothing may be sent, and the path must be named.
#[tokio::test]
async fn a_wrong_type_is_found_before_anything_is_sent() {
    let fake = Fake::new();
    let client = fake.client();
    let train = client.function("math", "train").await.expect("found");
    let error = train
        .call::<_, f64>(Json(serde_json::json!([{"depth": 3, "rate": "high"}])))
        .await
        .expect_err("rate is a number");
    assert_eq!(error.code(), "wrong-argument-type");
    assert!(error.to_string().starts_with("config.rate: "), "{error}");
    let square = client.function("math", "square").await.expect("found");
    let error = square
        .call::<_, u64>((4u32,))
        .await
        .expect_err("x is a u64");
    assert_eq!(error.to_string(), "x: expected u64, found u32");
    let error = square
        .call::<_, String>((4u64,))
        .await
        .expect_err("the result is a u64");
    assert_eq!(error.code(), "wrong-result-type");
    let error = square
        .call::<_, u64>((4u64, 5u64))
        .await
        .expect_err("one argument");
    assert!(error.to_string().contains("expected 1 argument"), "{error}");
    assert!(fake.asked().invokes.lock().expect("unpoisoned").is_empty());
}

/// A failure is told apart from a refusal, and keeps what the node said.
#[tokio::test]
async fn a_trap_is_a_failure() {
    let square = Fake::new()
        .client()
        .function("math", "square")
        .await
        .expect("found");
    let error = square
        .call::<_, u64>((3u64,))
        .await
        .expect_err("odd numbers trap");
    assert!(matches!(&error, Error::Failed(failure) if failure.input.is_none()));
    assert_eq!(error.code(), "trap");
    assert_eq!(error.to_string(), "function `square` trapped at 3");
    let answer = square.invoke::<_, u64>((3u64,)).await.expect("answers");
    assert!(answer.result.is_err());
    assert_eq!(
        (answer.call.as_str(), &answer.stdout[..]),
        ("c-1", &b"hello"[..])
    );
}

/// Unknown names are told when they are looked up, with the node's or the client's advice.
#[tokio::test]
async fn an_unknown_app_or_function_is_told_at_once() {
    let client = Fake::new().client();
    let error = client
        .function("maths", "square")
        .await
        .expect_err("no such app");
    assert_eq!(
        (error.code(), error.hints()),
        ("app-not-found", &["deploy it first".to_owned()][..])
    );
    let error = client
        .function("math", "sqare")
        .await
        .expect_err("no such function");
    assert_eq!(error.hints()[0], "did you mean `square`?");
}

/// What the caller sets must reach the node; a limit that is lost on the way limits nothing.
#[tokio::test]
async fn options_reach_the_node() {
    let fake = Fake::new();
    let client = fake
        .client()
        .with_token("secret")
        .expect("a token")
        .in_environment("dev");
    let square = client.function("math", "square").await.expect("found");
    let square = square
        .with_limits(
            Limits::new()
                .timeout(Duration::from_secs(2))
                .memory_bytes(1 << 20),
        )
        .with_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .with_idempotency_key("order-17");
    square.call::<_, u64>((4u64,)).await.expect("works");
    let invokes = fake.asked().invokes.lock().expect("unpoisoned").clone();
    let limits = invokes[0].limits.expect("limits");
    assert_eq!((limits.timeout_ms, limits.memory_bytes), (2000, 1 << 20));
    assert!(invokes[0].traceparent.starts_with("00-0af7"));
    let target = format!("{:?}", invokes[0].target);
    assert!(target.contains("dev"), "{target}");
    let tokens = fake.asked().tokens.lock().expect("unpoisoned").clone();
    assert_eq!(tokens, [Some("Bearer secret".to_owned())]);

    assert!(!square.spawn((4u64,)).await.expect("works").was_duplicate());
    let again = square.spawn((4u64,)).await.expect("works");
    assert!(again.was_duplicate());
    let spawns = fake.asked().spawns.lock().expect("unpoisoned").clone();
    assert_eq!(spawns[0].idempotency_key, "order-17");
    assert_eq!(spawns[0].limits, Some(limits));
}

/// Bytes of one type must never be read as another: a call names the version it was encoded for.
#[tokio::test]
async fn a_deploy_between_two_calls_changes_version_and_types_together() {
    let fake = Fake::new();
    let client = fake.client();
    let square = client.function("math", "square").await.expect("found");
    square.call::<_, u64>((4u64,)).await.expect("works");
    assert_eq!(
        fake.asked().describes.load(SeqCst),
        1,
        "types are asked for once"
    );
    // Somebody else deploys: the old version is called until it is looked up again.
    fake.script.version.store(2, SeqCst);
    square
        .call::<_, u64>((4u64,))
        .await
        .expect("the old version still is what it was");
    // This client deploys: it knows at once.
    let code = vec![1, 2, 3];
    client
        .deploy(Deploy::new("math", code))
        .await
        .expect("deploys");
    let error = square
        .call::<_, u64>((4u64,))
        .await
        .expect_err("it takes s64 now");
    assert_eq!(error.to_string(), "x: expected s64, found u64");
    square.call::<_, i64>((4i64,)).await.expect("works");
    let versions: Vec<u64> = fake
        .asked()
        .invokes
        .lock()
        .expect("unpoisoned")
        .iter()
        .map(version)
        .collect();
    assert_eq!(versions, [1, 1, 3]);
}

fn version(request: &lydian_api::v1::InvokeRequest) -> u64 {
    match request
        .target
        .as_ref()
        .and_then(|target| target.code.as_ref())
    {
        Some(lydian_api::v1::target::Code::App(app)) => app.version,
        _ => 0,
    }
}

/// Output comes while the function runs, and a wrong use of streams is refused with the right one.
#[tokio::test]
async fn a_run_tells_what_happens() {
    let count = Fake::new()
        .client()
        .function("math", "count")
        .await
        .expect("found");
    let mut run = count.run::<_, Values>((4u32,)).await.expect("runs");
    let mut seen = Vec::new();
    while let Some(event) = run.next().await.expect("no error") {
        seen.push(match event {
            Event::Started { call, .. } => call,
            Event::Log(chunk) => chunk.text().into_owned(),
            Event::Finished(done) => format!("{:?}", done.result.expect("returned")),
            Event::Items(items) => format!("{} {}", items.items.len(), items.end),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(
        seen,
        [
            "c-run",
            "counting\n",
            "Values([Stream(0)])",
            "9 false",
            "9 true"
        ]
    );
    let error = count
        .call::<_, Values>((4u32,))
        .await
        .expect_err("a stream is no value");
    assert_eq!(error.code(), "returns-stream");
}

/// The items of a stream arrive one by one whatever the messages hold; a failure is the last item.
#[tokio::test]
async fn a_stream_result_is_a_stream() {
    let client = Fake::new().client();
    let count = client.function("math", "count").await.expect("found");
    let stream = count.stream::<_, u32>((5u32,)).await.expect("streams");
    assert_eq!(
        stream.try_collect::<Vec<_>>().await.expect("ends"),
        [0, 1, 2, 3, 4]
    );
    let mut broken = count.stream::<_, Wave>((13u32,)).await.expect("streams");
    let mut items = 0;
    let error = loop {
        match broken.try_next().await {
            Ok(Some(_)) => items += 1,
            Ok(None) => panic!("a broken stream must not look complete"),
            Err(error) => break error,
        }
    };
    assert_eq!(
        (items, error.to_string().as_str()),
        (13, "function `count` trapped")
    );
    let error = count
        .stream::<_, String>((5u32,))
        .await
        .expect_err("numbers");
    assert_eq!(error.code(), "wrong-result-type");
    let square = client.function("math", "square").await.expect("found");
    let error = square
        .stream::<_, u64>((5u64,))
        .await
        .expect_err("no stream");
    assert_eq!(error.code(), "not-a-stream");
}

/// Zero polls, nothing waits for ever, a time waits as long; a result has a type.
#[tokio::test]
async fn get_polls_or_waits() {
    let fake = Fake::new();
    let client = fake.client();
    fake.script
        .not_yet
        .lock()
        .expect("unpoisoned")
        .insert("c-4".into(), 2);
    let call = Call::from_id(&client, "c-4");
    let error = call.get::<u64>(Duration::ZERO).await.expect_err("not yet");
    assert!(matches!(error, Error::Timeout { .. }));
    assert_eq!(fake.asked().gets.load(SeqCst), 1, "a poll asks once");
    assert_eq!(call.poll::<u64>().await.expect("answers"), None);
    assert_eq!(call.get::<u64>(None).await.expect("works"), 16);
    let error = call.get::<String>(None).await.expect_err("it is a number");
    assert_eq!(error.code(), "wrong-result-type");
    let error = Call::from_id(&client, "c-5")
        .get::<u64>(None)
        .await
        .expect_err("odd");
    assert!(matches!(error, Error::Failed(_)));
    let error = Call::from_id(&client, "c-gone")
        .get::<u64>(None)
        .await
        .expect_err("unknown");
    assert!(matches!(error, Error::NotFound(_)));
}

/// More calls than are asked for at once; and one that fails must not wait for the others.
#[tokio::test]
async fn gather_gives_all_or_the_first_failure() {
    let fake = Fake::new();
    let client = fake.client();
    let call = |x: u64| Call::from_id(&client, format!("c-{}", 2 * x));
    let results: Vec<u64> = gather((0..200).map(call)).await.expect("all succeed");
    assert!(
        results
            .iter()
            .zip(0u64..)
            .all(|(result, x)| *result == 4 * x * x)
    );
    assert!(
        gather::<u64>([])
            .await
            .expect("nothing to wait for")
            .is_empty()
    );

    // A hundred that are never done, and a failed one behind them.
    for x in 1000..1100u64 {
        fake.script
            .not_yet
            .lock()
            .expect("unpoisoned")
            .insert(format!("c-{}", 2 * x), u64::MAX);
    }
    let calls = (1000..1100)
        .map(call)
        .chain([Call::from_id(&client, "c-3")]);
    let error = gather::<u64>(calls).await.expect_err("c-3 is odd");
    assert_eq!(error.to_string(), "function `square` trapped at 3");
}
