//! One suite, two ways to a node: over a connection, and in this process. Both must behave alike.
//!
//! Each test is a function of a [`Client`]; [`both`] runs it over each. The guests are those of
//! `lydian-tests`. Nodes are shared by the tests of a process, so every test uses apps of its own.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are not seen as tests"
)]

mod output;
#[path = "../typed/mod.rs"]
mod typed;

use futures::{StreamExt, TryStreamExt};
use lydian_client::{
    Call, CallFilter, CallState, ChangeKind, Client, Deploy, Digest, Error, Failure, FailureKind,
    Function, Json, Limits, Options, Value, Wave, gather,
};
use lydian_tests::{Guest, guests};
use output::{
    output_arrives_while_the_function_runs, what_is_printed_arrives_whole,
    who_leaves_a_session_ends_its_call,
};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use typed::{
    a_typed_client_notices_another_type, resources_live_in_sessions, typed_clients_speak_every_type,
};

/// Enough for what the tests do at once, and little to reserve.
const SANDBOXES: u32 = 64;

/// The directory of this process's embedded node.
fn embedded_directory() -> PathBuf {
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| tempfile::tempdir().expect("a directory"));
    directory.path().to_owned()
}

async fn embedded() -> Client {
    let options = Options::new(embedded_directory());
    let options = options.configure(|node| node.max_sandboxes = Some(SANDBOXES));
    Client::embedded(options).await.expect("starts")
}

/// A node on a port of its own, served by a thread for as long as the process lives.
fn served() -> &'static SocketAddr {
    static SERVED: OnceLock<SocketAddr> = OnceLock::new();
    SERVED.get_or_init(|| {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let mut options = lydian_node::Options::memory();
                options.listen = Some(([127, 0, 0, 1], 0).into());
                options.max_sandboxes = Some(SANDBOXES);
                let node = lydian_node::Node::start(options).await.expect("starts");
                let address = node.local_addr().expect("listens");
                tell.send(address).expect("heard");
                node.serve().await.expect("serves");
            });
        });
        told.recv().expect("the node started")
    })
}

async fn connected() -> Client {
    let url = format!("http://{}", served());
    Client::connect(&url).await.expect("connects")
}

/// Makes two tests of each function, one per way.
macro_rules! both {
    ($($name:ident)*) => {
        mod over_a_connection {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::connected().await).await;
            })*
        }

        mod in_this_process {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::embedded().await).await;
            })*
        }
    };
}

both! {
    a_component_is_put_and_called
    bulk_data_crosses_whole
    typed_clients_speak_every_type
    a_typed_client_notices_another_type
    apps_have_versions
    bad_components_are_refused
    failures_tell_their_kind
    limits_are_enforced
    output_arrives_while_the_function_runs
    what_is_printed_arrives_whole
    who_leaves_a_session_ends_its_call
    streams_are_streams
    maps_keep_order_and_count
    maps_of_large_inputs_finish
    map_failures_are_raised_or_returned
    a_dropped_map_frees_its_sandboxes
    spawned_calls_outlive_their_spawner
    spawned_calls_are_cancelled
    resources_live_in_sessions
    environments_are_apart
    ephemeral_apps_live_with_their_opener
    calls_are_explained
}

/// The path of `lydian run` and `lydian serve`.
async fn ephemeral_apps_live_with_their_opener(client: Client) {
    let opened = client.open_app(guests::MATH.bytes(), None, "math").await;
    let app = opened.expect("opens");
    assert!(app.name().starts_with("math~"), "{}", app.name());
    assert_eq!(app.opened().deployed.version, 1);
    let square = client.function(app.name(), "square").await.expect("found");
    assert_eq!(square.call::<_, u64>((4u64,)).await.expect("called"), 16);

    let refused = app.replace(b"no component".to_vec(), None).await;
    assert!(
        matches!(refused, Err(Error::InvalidArgument(_))),
        "{refused:?}"
    );
    // A question whose asker went away leaves its answer to nobody.
    let asked = app.replace(guests::HELLO.bytes(), None);
    let _ = tokio::time::timeout(Duration::from_millis(1), asked).await;
    let manifest = serde_json::json!({ "timeout": "9s" });
    let swapped = app.replace(guests::MATH.bytes(), Some(&manifest)).await;
    let swapped = swapped.expect("replaced");
    assert!(
        swapped
            .deployed
            .functions
            .iter()
            .any(|one| one.name == "square")
    );
    assert!(swapped.swap > Duration::ZERO);
    assert_eq!(square.call::<_, u64>((5u64,)).await.expect("called"), 25);

    let name = app.detach().await.expect("detached");
    let apps = client.apps().await.expect("listed");
    let listed = apps.iter().find(|one| one.name == name).expect("listed");
    assert!(listed.ephemeral && listed.detached);
    client.stop(&name).await.expect("stopped");
    assert!(matches!(
        client.describe(&name).await,
        Err(Error::NotFound(_))
    ));

    let app = client.open_app(guests::MATH.bytes(), None, "math").await;
    let app = app.expect("opens");
    let name = app.name().to_owned();
    assert_eq!(app.close().await.expect("closed"), 0);
    assert!(matches!(
        client.describe(&name).await,
        Err(Error::NotFound(_))
    ));
}

async fn put(client: &Client, guest: Guest) -> Digest {
    client.put(guest.bytes()).await.expect("stored")
}

async fn function(client: &Client, guest: Guest, name: &str) -> Function {
    let digest = put(client, guest).await;
    client
        .component_function(digest, name)
        .await
        .expect("found")
}

fn failure<T: std::fmt::Debug>(result: Result<T, Error>) -> Failure {
    match result {
        Err(Error::Failed(failure)) => *failure,
        other => panic!("expected a failure, found {other:?}"),
    }
}

/// The way of `lydian run file.wasm::square 4`.
async fn a_component_is_put_and_called(client: Client) {
    let square = function(&client, guests::MATH, "square").await;
    assert_eq!(square.ty().signature(), "func(x: u64) -> u64");
    assert_eq!(square.call::<_, u64>((4u64,)).await.expect("works"), 16);
    let values = square.call_values(&[Value::U64(5)]).await.expect("works");
    assert_eq!(values, Some(Value::U64(25)));
    let json: Result<Json, _> = square.call(Json(serde_json::json!([6]))).await;
    assert_eq!(json.expect("works"), Json(serde_json::json!(36)));
    let wave: Result<Wave, _> = square.call(Wave(vec!["7".into()])).await;
    assert_eq!(wave.expect("works"), Wave(vec!["49".into()]));

    let even = function(&client, guests::MATH, "even").await;
    let odd: Result<u64, String> = even.call((3u64,)).await.expect("an err is a result");
    assert!(odd.is_err());

    let digest = put(&client, guests::MATH).await;
    let find = async |digest, name| client.component_function(digest, name).await;
    let error = find(digest, "sqare").await.expect_err("mistyped");
    assert_eq!(error.hints()[0], "did you mean `square`?");
    let error = find(digest, "").await.expect_err("there are several");
    assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
    let absent = Digest::of(b"nobody put this");
    let error = find(absent, "f").await.expect_err("not there");
    assert!(matches!(error, Error::NotFound(_)), "{error:?}");
    let hello = function(&client, guests::HELLO, "").await;
    let greeting: String = hello.call(("you".to_owned(),)).await.expect("works");
    assert_eq!(greeting, "Hello, you!");
}

/// Large arguments and results, larger than any window or frame.
async fn bulk_data_crosses_whole(client: Client) {
    let bytes: Vec<u8> = (0..20 << 20).map(|at: u32| (at % 251) as u8).collect();
    let echo = function(&client, guests::ECHO, "echo-bytes").await;
    let back: Vec<u8> = echo.call((bytes.clone(),)).await.expect("works");
    assert!(back == bytes, "bytes changed on the way");
    let floats: Vec<f32> = (0..1_000_000).map(|at| at as f32).collect();
    let echo = function(&client, guests::ECHO, "echo-f32s").await;
    let back: Vec<f32> = echo.call((floats.clone(),)).await.expect("works");
    assert!(back == floats, "numbers changed on the way");
}

/// Deploy, look, deploy again, go back, stop.
async fn apps_have_versions(client: Client) {
    let app = "versions";
    let deploy = |guest: Guest| Deploy::new(app, guest.bytes());
    let plan = client.plan(deploy(guests::MATH)).await.expect("plans");
    let added = plan.changes.iter().any(|c| c.what.contains("square"));
    assert!(added, "{plan:?}");
    let error = client
        .describe(app)
        .await
        .expect_err("a plan deploys nothing");
    assert!(matches!(error, Error::NotFound(_)));

    let first = deploy(guests::MATH).message("first").commit("abc*");
    let first = client.deploy(first).await.expect("deploys");
    assert_eq!((first.version, first.unchanged), (1, false));
    assert!(first.compile.is_some());
    assert!(first.functions.iter().any(|f| f.name == "square"));
    let same = client.deploy(deploy(guests::MATH)).await.expect("deploys");
    assert_eq!((same.version, same.unchanged), (1, true));

    let square = client.function(app, "square").await.expect("found");
    assert_eq!(square.call::<_, u64>((3u64,)).await.expect("works"), 9);
    let apps = client.apps().await.expect("lists");
    assert!(apps.iter().any(|a| a.name == app && a.version == 1));

    let stale = deploy(guests::HELLO).if_version(7);
    let error = client.deploy(stale).await.expect_err("it is 1");
    assert!(matches!(error, Error::Conflict(_)), "{error:?}");
    let second = deploy(guests::HELLO).if_version(1);
    let second = client.deploy(second).await.expect("deploys");
    assert_eq!(second.version, 2);
    let removed = second.changes.iter().find(|c| c.what.contains("square"));
    assert_eq!(removed.map(|c| c.kind), Some(ChangeKind::Removed));
    let error = square.call::<_, u64>((3u64,)).await.expect_err("gone");
    assert!(matches!(error, Error::NotFound(_)), "{error:?}");
    let old = client.function_at(app, 1, "square").await;
    let old = old.expect("versions stay");
    assert_eq!(old.call::<_, u64>((3u64,)).await.expect("works"), 9);

    let back = client.rollback(app, 0).await.expect("rolls back");
    assert_eq!(back.version, 3);
    assert_eq!(square.call::<_, u64>((3u64,)).await.expect("is back"), 9);
    let history = client.history(app).await.expect("answers");
    assert!(history.iter().map(|version| version.number).eq([3, 2, 1]));
    assert_eq!(history[0].rolled_back_to, Some(1));
    let first = &history[2];
    assert_eq!((&*first.message, &*first.commit), ("first", "abc*"));
    assert_eq!(history[0].component, first.component);

    client.stop(app).await.expect("stops");
    let error = square.call::<_, u64>((3u64,)).await.expect_err("stopped");
    assert!(matches!(error, Error::Conflict(_)), "{error:?}");
    let again = client.deploy(deploy(guests::MATH)).await;
    again.expect("starts it again");
    assert_eq!(square.call::<_, u64>((3u64,)).await.expect("works"), 9);
}

/// What is no component is refused with the reason; nothing of it stays.
async fn bad_components_are_refused(client: Client) {
    for (bytes, what) in [
        (b"not wasm at all".to_vec(), "not a component"),
        (guests::CORE_MODULE.bytes(), "core module"),
        (guests::MATH.bytes()[..1000].to_vec(), ""),
        (Vec::new(), ""),
    ] {
        let deployed = client.deploy(Deploy::new("bad", bytes)).await;
        let error = deployed.expect_err(what);
        assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
        assert!(error.to_string().contains(what), "{error}");
    }
    let error = client
        .describe("bad")
        .await
        .expect_err("was never deployed");
    assert!(matches!(error, Error::NotFound(_)));
}

/// A trap has a backtrace; the next call does not notice.
async fn failures_tell_their_kind(client: Client) {
    let panics = function(&client, guests::ENDING, "panic-deep").await;
    let failed = failure(panics.call::<_, ()>(()).await);
    assert_eq!(failed.kind, FailureKind::Trap);
    assert!(!failed.backtrace.is_empty());
    let exits = function(&client, guests::ENDING, "exit-with").await;
    let failed = failure(exits.call::<_, ()>((3u8,)).await);
    assert_eq!(failed.kind, FailureKind::Exited, "{failed:?}");
    let calls = function(&client, guests::ENDING, "calls").await;
    for _ in 0..3 {
        let count: u32 = calls.call(()).await.expect("works");
        assert_eq!(count, 1, "every sandbox is fresh");
    }
}

/// A caller can lower a limit, and is told which one was met.
async fn limits_are_enforced(client: Client) {
    let spin = function(&client, guests::SPIN, "spin").await;
    let spin = spin.with_limits(Limits::new().timeout(Duration::from_millis(200)));
    let began = Instant::now();
    let failed = failure(spin.call::<_, ()>(()).await);
    assert_eq!(failed.kind, FailureKind::Timeout, "{failed:?}");
    assert!(failed.kind.is_limit());
    assert!(began.elapsed() < Duration::from_secs(120));
    let fill = function(&client, guests::MEMORY, "fill").await;
    let fill = fill.with_limits(Limits::new().memory_bytes(16 << 20));
    let failed = failure(fill.call::<_, u64>((64u64 << 20,)).await);
    let refused = [FailureKind::Memory, FailureKind::Trap];
    assert!(refused.contains(&failed.kind), "{failed:?}");
    let echo = function(&client, guests::ECHO, "echo-string").await;
    let echo = echo.with_limits(Limits::new().payload_bytes(100));
    let error = echo.call::<_, String>(("x".repeat(1000),)).await;
    let error = error.expect_err("too long");
    assert!(
        matches!(error, Error::InvalidArgument(_) | Error::Failed(_)),
        "{error:?}"
    );
}

/// Items of `stream<T>` and the value of `future<T>`; a trap in the middle is an error at the end.
async fn streams_are_streams(client: Client) {
    let stream_of = async |name| function(&client, guests::STREAMS, name).await;
    let count = stream_of("count").await;
    let items = count.stream::<_, u32>((1000u32,)).await.expect("streams");
    let items: Vec<u32> = items.try_collect().await.expect("ends");
    assert!(items.iter().copied().eq(0..1000));
    let bytes = stream_of("bytes").await;
    let stream = bytes.stream::<_, u8>((3_000_000u64, 4096u32)).await;
    let mut stream = stream.expect("streams");
    let mut total = 0;
    while let Some(chunk) = stream.next_chunk().await.expect("no error") {
        let mut numbered = chunk.iter().enumerate();
        assert!(numbered.all(|(at, byte)| *byte == (total + at) as u8));
        total += chunk.len();
    }
    assert_eq!(total, 3_000_000);
    let promise = stream_of("promise").await;
    let value = promise
        .stream::<_, u64>((7u64, 10u64))
        .await
        .expect("streams");
    assert_eq!(value.try_collect::<Vec<_>>().await.expect("ends"), [7]);
    let lines = stream_of("lines").await;
    let lines = lines
        .stream::<_, Wave>((3u32, 1u64))
        .await
        .expect("streams");
    let lines: Vec<Wave> = lines.try_collect().await.expect("ends");
    assert_eq!(lines[2], Wave(vec!["\"line 2\"".into()]));
    let trap = stream_of("trap-after").await;
    let stream = trap.stream::<_, u32>((5u32,)).await.expect("streams");
    let error = stream.try_collect::<Vec<_>>().await.expect_err("it traps");
    assert!(matches!(error, Error::Failed(_)), "{error:?}");
    // Nobody reads on: the sandbox is given back.
    let endless = stream_of("endless").await;
    let mut stream = endless.stream::<_, u8>(()).await.expect("streams");
    stream.next_chunk().await.expect("no error");
    drop(stream);
    let later = stream_of("later").await;
    assert_eq!(later.call::<_, u64>((5u64, 1u64)).await.expect("works"), 5);
}

/// Thousands of inputs: none lost, none doubled, order as asked for.
async fn maps_keep_order_and_count(client: Client) {
    let square = function(&client, guests::MATH, "square").await;
    let inputs = || (0..3000u64).map(|x| (x,));
    let results: Vec<u64> = square.map(inputs()).await.expect("works");
    assert!(results.into_iter().eq((0..3000u64).map(|x| x * x)));
    let map = square.map::<_, u64, _>(inputs()).unordered().with_index();
    let mut results: Vec<(u64, u64)> = map.try_collect().await.expect("works");
    results.sort_unstable();
    assert!(results.into_iter().eq((0..3000u64).map(|x| (x, x * x))));
    let map = square.map::<_, u64, _>(inputs()).max_parallel(1);
    let summary = map.drain().await.expect("works");
    assert_eq!((summary.succeeded, summary.failed), (3000, 0));
    let none = square.map::<(u64,), u64, _>([]).await.expect("works");
    assert!(none.is_empty());
    // A map of a map, whose inputs come as they are ready.
    let inner = square.map::<_, u64, _>((0..500u64).map(|x| (x % 7,)));
    let inner = inner.map(|result| (result.expect("works"),));
    let results: Vec<u64> = square.map_stream(inner).await.expect("works");
    assert_eq!(results[13], (13u64 % 7).pow(4));
}

/// Inputs that are large beside the node's window must neither be refused nor wait for ever.
async fn maps_of_large_inputs_finish(client: Client) {
    let echo = function(&client, guests::ECHO, "echo-bytes").await;
    let sizes = [1usize, 20 << 20, 30 << 20, 40 << 20, 5, 30 << 20, 40 << 20];
    let inputs = sizes.map(|size| (vec![7u8; size],));
    let map = echo.map::<_, Vec<u8>, _>(inputs);
    let results = tokio::time::timeout(Duration::from_secs(300), map);
    let results = results.await.expect("in time").expect("works");
    assert!(results.iter().map(Vec::len).eq(sizes));
}

/// The first failure, or all of them.
async fn map_failures_are_raised_or_returned(client: Client) {
    let divide = function(&client, guests::MATH, "divide").await;
    let inputs = || (0..100u64).map(|x| (100u64, x % 10));
    let failed = failure(divide.map::<_, u64, _>(inputs()).await);
    assert_eq!((failed.kind, failed.input), (FailureKind::Trap, Some(0)));
    let map = divide.map::<_, u64, _>(inputs()).return_errors();
    let results = map.await.expect("works");
    let failures: Vec<_> = results.iter().filter_map(|r| r.as_ref().err()).collect();
    assert_eq!((results.len(), failures.len()), (100, 10));
    let tenth = |failure: &&Failure| failure.input.is_some_and(|at| at % 10 == 0);
    assert!(failures.iter().all(tenth));
}

/// Dropping a map in the middle stops what runs for it.
async fn a_dropped_map_frees_its_sandboxes(client: Client) {
    let later = function(&client, guests::STREAMS, "later").await;
    let inputs = (0u64..).map(|x| (x, if x == 0 { 0u64 } else { 60_000 }));
    let mut map = later.map::<_, u64, _>(inputs);
    assert_eq!(map.next().await.expect("a result").expect("works"), 0);
    let id = map.call().expect("it is open").to_owned();
    drop(map);
    ended(&client, &id).await;
}

/// Waits until a call that nobody waits for any more is over.
async fn ended(client: &Client, id: &str) {
    let began = Instant::now();
    loop {
        let explained = Call::from_id(client, id).explain().await;
        let info = explained.expect("is known").info;
        if info.finished_at.is_some() {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "{info:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Spawn, poll, find again by id, gather; a repeated key is the same call.
async fn spawned_calls_outlive_their_spawner(client: Client) {
    let deploy = Deploy::new("spawned", guests::STREAMS.bytes());
    client.deploy(deploy).await.expect("deploys");
    let later = client.function("spawned", "later").await.expect("found");
    let call = later.spawn((9u64, 1000u64)).await.expect("spawns");
    let error = call.get::<u64>(Duration::ZERO).await;
    assert!(matches!(error, Err(Error::Timeout { .. })), "{error:?}");
    let again = Call::from_id(&client, call.id());
    let minute = Duration::from_secs(60);
    assert_eq!(again.get::<u64>(minute).await.expect("works"), 9);
    assert_eq!(again.poll::<u64>().await.expect("results stay"), Some(9));
    let json: Json = again.get(None).await.expect("works");
    assert_eq!(json, Json(serde_json::json!(9)));
    let info = again.info().await.expect("is known");
    assert_eq!(info.state, CallState::Succeeded);

    let keyed = later.with_idempotency_key("the only one");
    let first = keyed.spawn((1u64, 0u64)).await.expect("spawns");
    let second = keyed.spawn((1u64, 0u64)).await.expect("spawns");
    assert_eq!((first.id(), second.was_duplicate()), (second.id(), true));

    let mut calls = Vec::new();
    for x in 0..20u64 {
        calls.push(later.spawn((x, 10u64)).await.expect("spawns"));
    }
    let results: Vec<u64> = gather(calls).await.expect("all succeed");
    assert!(results.into_iter().eq(0..20));
    let filter = CallFilter::default().app("spawned").limit(100);
    let listed = client.calls(filter).await.expect("lists");
    assert!(listed.iter().any(|info| info.call == call.id()));
    let error = Call::from_id(&client, "no-such-call")
        .get::<u64>(None)
        .await;
    assert!(
        matches!(error, Err(Error::NotFound(_) | Error::InvalidArgument(_))),
        "{error:?}"
    );
}

/// Cancelling stops the one call; its result says so.
async fn spawned_calls_are_cancelled(client: Client) {
    let deploy = Deploy::new("cancelled", guests::STREAMS.bytes());
    client.deploy(deploy).await.expect("deploys");
    let later = client.function("cancelled", "later").await.expect("found");
    let doomed = later.spawn((1u64, 60_000u64)).await.expect("spawns");
    let other = later.spawn((2u64, 200u64)).await.expect("spawns");
    assert!(doomed.cancel().await.expect("works"));
    let soon = Duration::from_secs(20);
    let failed = failure(doomed.get::<u64>(soon).await);
    assert_eq!(failed.kind, FailureKind::Cancelled, "{failed:?}");
    let info = doomed.info().await.expect("is known");
    assert_eq!(info.state, CallState::Cancelled);
    assert_eq!(other.get::<u64>(soon).await.expect("works"), 2);
    assert!(!other.cancel().await.expect("works"), "it had finished");
}

/// One name in two environments is two apps.
async fn environments_are_apart(client: Client) {
    let (dev, prod) = (client.in_environment("dev"), client.in_environment("prod"));
    let hello = Deploy::new("apart", guests::HELLO.bytes());
    dev.deploy(hello).await.expect("deploys");
    let error = prod
        .function("apart", "hello")
        .await
        .expect_err("not there");
    assert!(matches!(error, Error::NotFound(_)));
    let math = Deploy::new("apart", guests::MATH.bytes());
    prod.deploy(math).await.expect("deploys");
    prod.function("apart", "square").await.expect("there");
    dev.function("apart", "hello").await.expect("as it was");
    let environments = client.environments().await.expect("lists");
    assert!(environments.contains(&"dev".to_owned()), "{environments:?}");
    let all = client.all_apps().await.expect("lists");
    assert_eq!(all.iter().filter(|app| app.name == "apart").count(), 2);
}

/// Where the time of any call went can be asked for afterwards.
async fn calls_are_explained(client: Client) {
    let square = function(&client, guests::MATH, "square").await;
    let answer = square.invoke::<_, u64>((4u64,)).await.expect("works");
    assert_eq!(answer.result.as_ref().ok(), Some(&16));
    assert_eq!((answer.usage.bytes_in, answer.usage.bytes_out), (8, 8));
    assert!(answer.usage.run > Duration::ZERO);
    let call = Call::from_id(&client, answer.call);
    let explanation = call.explain().await.expect("is known");
    assert_eq!(explanation.info.function, "square");
    assert!(!explanation.start_reason.is_empty());
    assert!(explanation.failure.is_none());
    let node = client.node_info().await.expect("answers");
    assert!(node.engine.starts_with("wasmtime"), "{node:?}");
    assert!(!node.checks.is_empty());
}
