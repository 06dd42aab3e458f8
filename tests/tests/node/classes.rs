//! Classes: instances that are entered once, serve many calls, and go in good order.

use std::collections::HashSet;
use std::time::Duration;

use futures::future::join_all;
use lydian_client::{
    CallFilter, CallState, Deploy, Error, FailureKind, Function, Input, Start, Tail,
};
use lydian_tests::guests::MODEL;
use serde_json::{Value, json};

use crate::support::{TestNode, patiently};

/// A class over the guest, with more of its manifest.
fn class(more: Value) -> Value {
    let mut class = json!({ "enter": true, "exit": true });
    let more = more.as_object().cloned().unwrap_or_default();
    class.as_object_mut().unwrap().extend(more);
    json!({ "classes": { "model": class } })
}

async fn node(more: Value) -> TestNode {
    let node = TestNode::start().await;
    node.deploy("app", MODEL, class(more)).await;
    node
}

async fn method(node: &TestNode, name: &str) -> Function {
    let name = format!("model#{name}");
    node.client.function("app", &name).await.unwrap()
}

async fn number<A: Input>(node: &TestNode, name: &str, args: A) -> u64 {
    let method = method(node, name).await;
    patiently("no answer", method.call(args)).await.unwrap()
}

/// What the app has printed so far.
async fn printed(node: &TestNode) -> String {
    use futures::TryStreamExt;
    let logs = node
        .client
        .app_logs("app", Tail::lines(1_000))
        .await
        .unwrap();
    let chunks: Vec<_> = logs.try_collect().await.unwrap();
    chunks
        .iter()
        .map(|chunk| chunk.text().to_string())
        .collect()
}

/// Until the app has printed `text` so often.
async fn prints(node: &TestNode, text: &str, times: usize) -> String {
    patiently(&format!("`{text}` was not printed {times} times"), async {
        loop {
            let printed = printed(node).await;
            if printed.matches(text).count() >= times {
                return printed;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_share_an_instance_that_was_entered_once() {
    let node = node(json!({})).await;
    let count = method(&node, "count").await;
    let first = count.invoke::<_, u64>(()).await.unwrap();
    assert_eq!(first.result.clone().unwrap(), 1);
    assert_ne!(first.usage.start, Start::Warm);
    for served in 2..=5 {
        let answer = count.invoke::<_, u64>(()).await.unwrap();
        assert_eq!(
            (answer.result.clone().unwrap(), answer.usage.start),
            (served, Start::Warm)
        );
    }
    assert_eq!(printed(&node).await.matches("enter").count(), 1);
    // Functions that are no methods are as fresh as ever.
    let plain = node.client.function("app", "plain").await.unwrap();
    for _ in 0..2 {
        assert_ne!(
            plain.invoke::<_, u64>(()).await.unwrap().usage.start,
            Start::Warm
        );
    }
}

/// The instances that so many calls at once run on, one for each. On a busy machine they need longer to be at once.
async fn at_once(slow: &Function, calls: usize) -> HashSet<u64> {
    let mut instances = HashSet::new();
    for millis in [300u64, 3_000, 30_000] {
        let all = join_all((0..calls).map(|_| slow.call::<_, u64>((millis,)))).await;
        instances = all.into_iter().map(Result::unwrap).collect();
        if instances.len() == calls {
            return instances;
        }
    }
    panic!("{calls} calls at once shared {instances:?}");
}

/// An instance in use by two calls would share what must not be.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_serves_one_call_at_a_time() {
    let node = node(json!({})).await;
    let slow = method(&node, "slow").await;
    let instances = at_once(&slow, 4).await;
    for _ in 0..8 {
        assert!(instances.contains(&number(&node, "identity", ()).await));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_goes_after_so_many_calls_and_exits_before() {
    let node = node(json!({ "max-calls": 3 })).await;
    let mut counts = Vec::new();
    for _ in 0..7 {
        counts.push(number(&node, "count", ()).await);
    }
    assert_eq!(counts, [1, 2, 3, 1, 2, 3, 1]);
    prints(&node, "exit after 3", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_and_old_instances_go_and_exit_before() {
    let node = node(json!({ "max-idle": "200ms" })).await;
    let first = number(&node, "identity", ()).await;
    prints(&node, "exit after 1", 1).await;
    node.is_empty().await;
    assert_ne!(number(&node, "identity", ()).await, first);

    node.deploy("app", MODEL, class(json!({ "max-age": "3s" })))
        .await;
    let first = number(&node, "identity", ()).await;
    assert_eq!(number(&node, "identity", ()).await, first);
    prints(&node, "exit after 2", 1).await;
    assert_ne!(number(&node, "identity", ()).await, first);
}

/// What a trap or a limit leaves behind is not to be trusted, not even with its exit.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_failed_is_never_used_again() {
    let node = node(json!({})).await;
    let limits = lydian_client::Limits::new().timeout(Duration::from_millis(500));
    for bad in ["trap", "spin"] {
        let before = number(&node, "identity", ()).await;
        let bad_one = method(&node, bad).await.with_limits(limits.clone());
        let failed = bad_one.call::<_, ()>(()).await;
        assert!(matches!(failed, Err(Error::Failed(_))), "{failed:?}");
        assert_ne!(number(&node, "identity", ()).await, before, "{bad}");
    }
    // One whose caller went away.
    let before = number(&node, "identity", ()).await;
    let slow = method(&node, "slow").await;
    let running = async {
        let of_slow = |call: &lydian_client::CallInfo| {
            call.state == CallState::Running && call.function.ends_with("slow")
        };
        while !node
            .client
            .calls(CallFilter::default())
            .await
            .unwrap()
            .iter()
            .any(of_slow)
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        answer = slow.call::<_, u64>((60_000u64,)) => panic!("{answer:?}"),
        () = patiently("the call does not begin", running) => {}
    }
    assert_ne!(number(&node, "identity", ()).await, before);
    assert!(!printed(&node).await.contains("exit"));
}

/// HOSTILE 14: what leaks a little in each call must not leak for ever.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_leaks_is_recycled() {
    let node = node(json!({ "memory": "64MiB", "handles": 400 })).await;
    let mut served = HashSet::new();
    for _ in 0..20 {
        served.insert(number(&node, "leak-memory", (8u64 << 20,)).await);
    }
    assert!(served.len() < 10, "{served:?}");
    prints(&node, "exit after", 2).await;
    let mut served = HashSet::new();
    for _ in 0..20 {
        served.insert(number(&node, "leak-handles", (40u32,)).await);
    }
    assert!(served.len() < 15, "{served:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_cannot_be_entered_says_so() {
    let node = TestNode::start().await;
    for (how, kind, says) in [
        ("fails", FailureKind::Trap, "the weights are not there"),
        ("traps", FailureKind::Trap, "model#lydian-enter"),
        ("spins", FailureKind::Timeout, "ran past its limit"),
    ] {
        let more = json!({ "env": { "ENTER": how }, "timeout": "400ms" });
        node.deploy("app", MODEL, class(more)).await;
        let count = method(&node, "count").await;
        let failure = match count.call::<_, u64>(()).await {
            Err(Error::Failed(failure)) => failure,
            other => panic!("{how}: {other:?}"),
        };
        assert_eq!(failure.kind, kind);
        let text = &failure.message;
        assert!(
            text.starts_with("class `model` could not be entered: "),
            "{text}"
        );
        assert!(text.contains(says), "{text}");
    }
    node.is_empty().await;
}

/// They are the platform's to call, and only in their place.
#[tokio::test(flavor = "multi_thread")]
async fn lifecycle_functions_are_nobodys_to_call() {
    let node = node(json!({})).await;
    let described = node.client.describe("app").await.unwrap();
    let names: Vec<_> = described
        .functions
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert!(names.contains(&"model#count") && names.contains(&"plain"));
    assert!(
        !names.iter().any(|name| name.contains("lydian-")),
        "{names:?}"
    );
    assert_eq!(described.app.unwrap().functions as usize, names.len());
    let class = described
        .functions
        .iter()
        .find(|one| one.name == "model#count");
    assert_eq!(class.unwrap().class, "model");
    let session = node.client.session("app").await.unwrap();
    for hidden in ["model#lydian-enter", "lydian-exit"] {
        let found = node.client.function("app", hidden).await;
        assert!(matches!(found, Err(Error::NotFound(_))), "{found:?}");
        assert!(session.call::<_, ()>(hidden, ()).await.is_err());
    }
    assert_eq!(session.call::<_, u64>("plain", ()).await.unwrap(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn maps_spawns_and_nested_calls_use_kept_instances() {
    let node = node(json!({})).await;
    let count = method(&node, "count").await;
    let one = count.map::<_, u64, _>((0..20).map(|_| ())).max_parallel(1);
    let counts: Vec<u64> = futures::TryStreamExt::try_collect(one).await.unwrap();
    assert_eq!(counts, (1..=20).collect::<Vec<_>>());
    let spawned = count.spawn(()).await.unwrap();
    let served: u64 = spawned.get(Duration::from_secs(30)).await.unwrap();
    assert_eq!(served, 21);
    let through: String = node.text("app", "through", ()).await;
    assert_eq!(through, "ok [22, 0, 0, 0, 0, 0, 0, 0]");
    let mapped = node.client.function("app", "mapped").await.unwrap();
    assert_eq!(mapped.call::<_, u64>((10u64,)).await.unwrap(), 32);
    // A method that calls its class gets another instance: it is one call at a time.
    let own = number(&node, "identity", ()).await;
    let nested: String = method(&node, "nested").await.call(()).await.unwrap();
    assert!(nested.starts_with("ok [") && nested != format!("ok {:?}", own.to_le_bytes()));
}

/// Limits are an instance's for life, so a call with lower ones needs one of its own.
#[tokio::test(flavor = "multi_thread")]
async fn other_limits_mean_another_instance() {
    let node = node(json!({})).await;
    let identity = method(&node, "identity").await;
    let one: u64 = identity.call(()).await.unwrap();
    let limits = lydian_client::Limits::new();
    let quicker = identity.with_limits(limits.clone().timeout(Duration::from_secs(5)));
    assert_eq!(quicker.call::<_, u64>(()).await.unwrap(), one);
    let smaller = identity.with_limits(limits.memory_bytes(32 << 20));
    assert_ne!(smaller.call::<_, u64>(()).await.unwrap(), one);
}

/// Output is the call's, whichever instance it is from.
#[tokio::test(flavor = "multi_thread")]
async fn output_goes_to_the_call_that_printed() {
    let node = node(json!({ "output": "1KiB" })).await;
    let say = method(&node, "say").await;
    for text in ["first", "second"] {
        let answer = say.invoke::<_, ()>((text.to_owned(),)).await.unwrap();
        let stdout = String::from_utf8_lossy(&answer.stdout).into_owned();
        assert!(stdout.ends_with(&format!("{text}\n")), "{stdout}");
        assert_eq!(stdout.contains("enter"), text == "first");
    }
    // The limit is each call's.
    for _ in 0..4 {
        say.call::<_, ()>(("x".repeat(700),)).await.unwrap();
    }
}

/// Instances that do nothing must not keep others from running.
#[tokio::test(flavor = "multi_thread")]
async fn idle_instances_give_way() {
    let node = TestNode::with(|options| options.max_sandboxes = Some(20)).await;
    node.deploy("app", MODEL, class(json!({}))).await;
    let slow = method(&node, "slow").await;
    at_once(&slow, 3).await;
    // All of the pool, for what makes no calls of its own.
    let sleepers = node.function(lydian_tests::guests::SLEEP, "sleep").await;
    let others = join_all((0..20).map(|_| sleepers.call::<_, ()>((500_000_000u64,))));
    let others = patiently("idle instances keep the pool", others).await;
    assert!(others.into_iter().all(|one| one.is_ok()));
    prints(&node, "exit after 1", 3).await;
    // More calls of a class than there are sandboxes share those there are.
    let many = join_all((0..40).map(|_| slow.call::<_, u64>((5u64,))));
    let many = patiently("calls of a class wait for each other", many).await;
    let instances: HashSet<u64> = many.into_iter().map(Result::unwrap).collect();
    assert!(instances.len() <= 8, "{}", instances.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_and_a_stopping_node_let_instances_exit() {
    let node = node(json!({})).await;
    let first = number(&node, "identity", ()).await;
    node.deploy("app", MODEL, class(json!({ "max-calls": 50 })))
        .await;
    prints(&node, "exit after 1", 1).await;
    assert_ne!(number(&node, "identity", ()).await, first);
    let node = node.shut_down().await;
    prints(&node, "exit after 1", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn classes_that_cannot_be_are_refused() {
    let node = TestNode::start().await;
    let refused = async |manifest: Value| {
        let deploy = lydian_client::Deploy::new("app", MODEL.bytes()).manifest(&manifest);
        let error = node.client.deploy(deploy).await.unwrap_err();
        format!("{error} | {}", error.hints().join(" | "))
    };
    for (manifest, says) in [
        (json!({ "classes": { "modle": {} } }), "`classes.modle`"),
        (
            json!({ "classes": { "modle": {} } }),
            "did you mean `model`?",
        ),
        (class(json!({ "methods": ["cuont"] })), "`model#cuont`"),
        (
            class(json!({ "enter": "count" })),
            "func() -> result<_, string>",
        ),
        (class(json!({ "enter": "absent" })), "`model#absent`"),
        (class(json!({ "snapshot": true })), "come with a later one"),
        (class(json!({ "max-idel": "1s" })), "`max-idle`"),
        (json!({ "max-calls": 3 }), "is a key of classes"),
        (
            json!({ "classes": { "model": {} }, "functions": { "model#count": { "timeout": "1s" } } }),
            "`classes.model`",
        ),
    ] {
        let told = refused(manifest).await;
        assert!(told.contains(says), "{told}");
    }
}

/// What is kept, and for how long, is part of what a plan shows: of a new class only what is not the default.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_what_changes_of_a_class() {
    let node = TestNode::start().await;
    let plan = async |more: Value| {
        let manifest = class(more);
        let deploy = Deploy::new("app", MODEL.bytes()).manifest(&manifest);
        let planned = node.client.plan(deploy).await.unwrap();
        let settings = |what: &str| what.starts_with("class ") || what.starts_with("limit ");
        let changes = planned.changes.into_iter();
        let changes = changes.filter(|change| settings(&change.what));
        let told = changes.map(|change| (change.what, change.before, change.after));
        told.collect::<Vec<_>>()
    };
    let change = |what: &str, before: &str, after: &str| {
        (what.to_owned(), before.to_owned(), after.to_owned())
    };
    let first = json!({ "max-calls": 3, "timeout": "9s" });
    let planned = plan(first.clone()).await;
    assert!(
        planned.contains(&change("class model.max-calls", "", "3")),
        "{planned:?}"
    );
    assert!(
        planned.contains(&change("limit model#count.timeout", "", "9s")),
        "{planned:?}"
    );
    assert!(
        !planned.iter().any(|(what, ..)| what.contains("max-idle")),
        "{planned:?}"
    );

    node.deploy("app", MODEL, class(first)).await;
    let planned = plan(json!({ "max-idle": "5s", "timeout": "9s" })).await;
    assert_eq!(
        planned,
        [
            change("class model.max-idle", "60s", "5s"),
            change("class model.max-calls", "3", "1000"),
        ]
    );
}

/// Any component can have a class, whatever made it.
#[tokio::test(flavor = "multi_thread")]
async fn a_class_can_be_named_otherwise_and_have_no_lifecycle() {
    let node = TestNode::start().await;
    let manifest = json!({ "classes": { "counters": {
        "interface": "test:counter/counters", "methods": ["live"]
    } } });
    node.deploy("app", lydian_tests::guests::COUNTER, manifest)
        .await;
    let live = node.client.function("app", "live").await.unwrap();
    assert_eq!(live.call::<_, u32>(()).await.unwrap(), 0);
    let warm = live.invoke::<_, u32>(()).await.unwrap();
    assert_eq!(warm.usage.start, Start::Warm);
}
