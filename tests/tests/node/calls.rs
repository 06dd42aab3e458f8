//! Functions that call functions: `lydian:calls` on a real node.

use std::time::{Duration, Instant};

use lydian_client::{CallFilter, CallState, FailureKind, Limits};
use lydian_tests::guests::CALLER;
use serde_json::json;

use crate::support::{Ended, TestNode, patiently};

/// Long enough for anything but a call that waits for ever.
const LONG: Duration = Duration::from_secs(60);

/// Arguments of the guest's `call`.
fn of(app: Option<&str>, function: &str, args: &[u8]) -> (Option<String>, String, Vec<u8>) {
    (app.map(str::to_owned), function.to_owned(), args.to_vec())
}

async fn node() -> TestNode {
    let node = TestNode::start().await;
    node.deploy("caller", CALLER, json!({})).await;
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_calls_its_own_app_and_others() {
    let node = node().await;
    node.deploy("other", CALLER, json!({ "env": { "WHO": "other" } }))
        .await;
    let args = of(None, "square", 7u64.to_le_bytes().as_slice());
    let ok = node.text("caller", "call", args).await;
    assert_eq!(ok, "ok [49, 0, 0, 0, 0, 0, 0, 0]");
    let args = of(Some("other"), "variable", b"\x03WHO".as_slice());
    let ok = node.text("caller", "call", args).await;
    assert_eq!(ok, format!("ok {:?}", b"\x05other"));
    let ty = node
        .text(
            "caller",
            "type-of",
            (Some("other".to_owned()), "square".to_owned()),
        )
        .await;
    let ty: lydian_client::FuncType = serde_json::from_str(&ty).unwrap();
    assert_eq!(ty.signature(), "func(x: u64) -> u64");
    assert_eq!(
        node.text("caller", "sum-started", (100u64,)).await,
        "328350"
    );
    node.is_empty().await;
}

/// A caller must not get what it was not granted by calling, nor lend what it was.
#[tokio::test(flavor = "multi_thread")]
async fn grants_are_not_inherited() {
    let node = TestNode::start().await;
    let granted = json!({ "functions": { "call": { "env": { "SECRET": "mine" } } } });
    node.deploy("caller", CALLER, granted).await;
    let args = of(None, "variable", b"\x06SECRET".as_slice());
    let answer = node.text("caller", "call", args).await;
    assert_eq!(answer, format!("ok {:?}", b"\x07not set"));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_values_that_name_the_thing() {
    let node = node().await;
    let call = async |app: Option<&str>, function: &str, args: &[u8]| {
        let args = of(app, function, args);
        node.text("caller", "call", args).await
    };
    let told = call(None, "sqare", &[]).await;
    assert!(
        told.starts_with("ErrorKind::NotFound: ") && told.contains("`sqare`"),
        "{told}"
    );
    let told = call(Some("nobody"), "square", &[]).await;
    assert!(
        told.starts_with("ErrorKind::NotFound: ") && told.contains("`nobody`"),
        "{told}"
    );
    let told = call(None, "square", &[1, 2]).await;
    assert!(told.starts_with("ErrorKind::InvalidArgument: "), "{told}");
    let told = call(None, "trap", &[]).await;
    assert!(
        told.starts_with("ErrorKind::Failed: function `trap`"),
        "{told}"
    );
    node.client.stop("caller").await.unwrap();
    node.deploy("other", CALLER, json!({})).await;
    let args = of(Some("caller"), "square", 7u64.to_le_bytes().as_slice());
    let told = node.text("other", "call", args).await;
    assert!(
        told.starts_with("ErrorKind::Unavailable: ") && told.contains("stopped"),
        "{told}"
    );
}

/// Another environment is another world, whatever it is called.
#[tokio::test(flavor = "multi_thread")]
async fn calls_stay_in_their_environment() {
    let node = TestNode::start().await;
    let dev = node.client.in_environment("dev");
    for (client, who) in [(&node.client, "main"), (&dev, "dev")] {
        let manifest = json!({ "env": { "WHO": who } });
        for app in ["caller", "same"] {
            let deploy = lydian_client::Deploy::new(app, CALLER.bytes()).manifest(&manifest);
            client.deploy(deploy).await.unwrap();
        }
        let function = client.function("caller", "call").await.unwrap();
        let args = of(Some("same"), "variable", b"\x03WHO".as_slice());
        let told: String = function.call(args).await.unwrap();
        assert!(
            told.contains(&format!("{:?}", who.as_bytes()).replace('[', "")),
            "{told}"
        );
    }
    // So does what a component calls that nobody deployed.
    let digest = dev.put(CALLER.bytes()).await.unwrap();
    for (client, who) in [(&dev, "dev"), (&node.client, "main")] {
        let function = client.component_function(digest, "call").await.unwrap();
        let args = of(Some("same"), "variable", b"\x03WHO".as_slice());
        let told: String = function.call(args).await.unwrap();
        assert!(
            told.contains(&format!("{:?}", who.as_bytes()).replace('[', "")),
            "{told}"
        );
        let own = of(None, "square", 3u64.to_le_bytes().as_slice());
        let told: String = function.call(own).await.unwrap();
        assert_eq!(told, "ok [9, 0, 0, 0, 0, 0, 0, 0]");
    }
}

/// The version that runs calls itself, whatever was deployed since.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_calls_itself_at_its_own_version() {
    let node = TestNode::start().await;
    for version in ["1", "2"] {
        let manifest = json!({ "env": { "VERSION": version } });
        node.deploy("caller", CALLER, manifest).await;
    }
    for version in [1, 2] {
        let function = node
            .client
            .function_at("caller", version, "call")
            .await
            .unwrap();
        let args = of(None, "variable", b"\x07VERSION".as_slice());
        let told: String = function.call(args).await.unwrap();
        assert_eq!(told, format!("ok [1, {}]", b'0' + version as u8));
    }
}

/// HOSTILE 33: a circle of calls ends, and says where it ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_calls_ends_at_the_depth_limit() {
    let node = TestNode::start().await;
    for app in ["cycle-a", "cycle-b"] {
        node.deploy(app, CALLER, json!({})).await;
    }
    let told = node
        .beside_others(node.text("cycle-a", "cycle", (0u32,)))
        .await;
    assert!(
        told.starts_with("at 16 ErrorKind::Depth: ") && told.contains("over 16 calls deep"),
        "{told}"
    );
    assert_eq!(
        node.text("cycle-a", "recurse", (16u32,)).await,
        "the bottom"
    );
}

/// HOSTILE 33: a map of ten million inputs from a function ends at its budget.
#[tokio::test(flavor = "multi_thread")]
async fn a_fan_out_bomb_ends_at_its_budget() {
    let node = TestNode::with(|options| options.max_nested_calls = 1_000).await;
    node.deploy("caller", CALLER, json!({})).await;
    let told = node.beside_others(node.text("caller", "bomb", ())).await;
    assert!(told.starts_with("1000 then ErrorKind::Budget: "), "{told}");
    // It is the root's: what is called shares it.
    let tree = node.client.function("caller", "tree").await.unwrap();
    let failed = tree.call::<_, u64>((32u32, 3u32)).await;
    assert!(failed.is_err(), "{failed:?}");
    // A deployment can set it.
    let manifest = json!({ "functions": { "bomb": { "fan-out": 500 } } });
    node.deploy("caller", CALLER, manifest).await;
    let told = node.text("caller", "bomb", ()).await;
    assert!(told.starts_with("500 then ErrorKind::Budget: "), "{told}");
}

/// Recorded calls that record calls share the budget of the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_of_recorded_calls_ends_at_its_budget() {
    let node = TestNode::with(|options| options.max_nested_calls = 20).await;
    node.deploy("caller", CALLER, json!({})).await;
    let told = node.text("caller", "spawn-bomb", ()).await;
    assert!(told.contains("ErrorKind::Budget: "), "{told}");
    patiently("jobs are left", async {
        loop {
            let calls = node.client.calls(CallFilter::default()).await.unwrap();
            if calls.iter().all(|call| call.state == CallState::Succeeded) {
                assert_eq!(calls.len(), 21);
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Functions that wait hold sandboxes; those they wait for must find some.
#[tokio::test(flavor = "multi_thread")]
async fn nested_calls_on_a_tiny_pool_end() {
    let node = TestNode::with(|options| options.max_sandboxes = Some(5)).await;
    node.deploy("caller", CALLER, json!({})).await;
    let tree = node.client.function("caller", "tree").await.unwrap();
    let sums = node.client.function("caller", "sum-started").await.unwrap();
    let many = async {
        let trees: Vec<_> = (0..12).map(|_| tree.call::<_, u64>((3u32, 3u32))).collect();
        let sums: Vec<_> = (0..12).map(|_| sums.call::<_, String>((50u64,))).collect();
        futures::join!(
            futures::future::join_all(trees),
            futures::future::join_all(sums)
        )
    };
    let (trees, sums) = patiently("nested calls wait for each other", many).await;
    assert!(trees.into_iter().all(|leaves| leaves.unwrap() == 27));
    assert!(sums.into_iter().all(|sum| sum.unwrap() == "40425"));
    // Deeper than there are sandboxes is told at once.
    let told = node.text("caller", "recurse", (4u32,)).await;
    assert_eq!(told, "the bottom");
    let told = node.text("caller", "recurse", (5u32,)).await;
    assert!(told.starts_with("ErrorKind::Depth: "), "{told}");
    node.is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn maps_inside_functions_keep_order_and_tell_failures() {
    let node = node().await;
    for ordered in [true, false] {
        let sum = node.text("caller", "sum-mapped", (3_000u64, ordered)).await;
        assert_eq!(sum, "8995500500");
    }
    assert_eq!(node.text("caller", "sum-mapped", (0u64, true)).await, "0");
    let told = node.text("caller", "map-traps", (10u64, 4u64, false)).await;
    assert_eq!(told, "4 good, then ErrorKind::Failed");
    let told = node.text("caller", "map-traps", (10u64, 4u64, true)).await;
    assert_eq!(told, "9 good, 4 ErrorKind::Failed");
}

/// What a guest hoards is bounded in number.
#[tokio::test(flavor = "multi_thread")]
async fn calls_under_way_are_bounded_and_end_with_their_caller() {
    let node = node().await;
    let told = node.text("caller", "hoard", ()).await;
    assert!(told.starts_with("1024 then ErrorKind::Budget: "), "{told}");
    node.is_empty().await;
    assert_eq!(node.text("caller", "leave", ()).await, "under way");
    node.is_empty().await;
    let told = node.text("caller", "cancel", ()).await;
    assert!(told.starts_with("ErrorKind::Cancelled: "), "{told}");
}

/// A child that goes on after its parent was stopped would run for nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_parent_takes_its_children_with_it() {
    let node = node().await;
    let wait = node.client.function("caller", "wait").await.unwrap();
    let short = wait.with_limits(Limits::new().timeout(Duration::from_millis(400)));
    let begun = Instant::now();
    let ended = crate::support::call(&short, &["600000"]).await;
    assert_eq!(ended.kind(), Some(FailureKind::Timeout), "{ended:?}");
    node.is_empty().await;
    assert!(begun.elapsed() < LONG);

    let waiting = async {
        let call = crate::support::call(&wait, &["600000"]);
        patiently("a cancelled call goes on", call).await
    };
    let cancelling = async {
        loop {
            let calls = node.client.calls(CallFilter::default()).await.unwrap();
            let running = |call: &&lydian_client::CallInfo| call.state == CallState::Running;
            let child = calls
                .iter()
                .filter(running)
                .find(|call| call.function == "sleep");
            if let Some(child) = child {
                assert_eq!(child.depth, 1);
                lydian_client::Call::from_id(&node.client, &child.parent)
                    .cancel()
                    .await
                    .unwrap();
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (ended, ()) = futures::join!(waiting, cancelling);
    assert_eq!(ended.kind(), Some(FailureKind::Cancelled), "{ended:?}");
    node.is_empty().await;
}

/// A child has its own limits, and never more time than its parent has left.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_has_its_own_time_limit() {
    let node = TestNode::start().await;
    let manifest = json!({ "functions": { "sleep": { "timeout": "200ms" } } });
    node.deploy("caller", CALLER, manifest).await;
    let told = node.text("caller", "wait", (600_000u64,)).await;
    assert!(
        told.starts_with("ErrorKind::Timeout: ") && told.contains("200ms"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_record_calls_and_get_their_results() {
    let node = node().await;
    assert_eq!(node.text("caller", "spawn-square", (12u64,)).await, "144");
    let call = node.text("caller", "spawn-sleep", (600_000u64,)).await;
    assert_eq!(
        node.text("caller", "get", (call.clone(),)).await,
        "not done"
    );
    let info = lydian_client::Call::from_id(&node.client, &call)
        .info()
        .await
        .unwrap();
    assert!(!info.parent.is_empty() && info.depth == 1, "{info:?}");
    // Whoever is elsewhere must not learn that it exists.
    let dev = node.client.in_environment("dev");
    let deploy = lydian_client::Deploy::new("caller", CALLER.bytes());
    dev.deploy(deploy).await.unwrap();
    for function in ["get", "cancel-recorded"] {
        let function = dev.function("caller", function).await.unwrap();
        let told: String = function.call((call.clone(),)).await.unwrap();
        assert!(told.starts_with("ErrorKind::NotFound: "), "{told}");
    }
    let told = node
        .text("caller", "cancel-recorded", (call.clone(),))
        .await;
    assert_eq!(told, "cancelled");
    let told = node.text("caller", "get", (call,)).await;
    assert!(told.starts_with("ErrorKind::Cancelled: "), "{told}");
    node.is_empty().await;
}

/// What a call cost includes how many others it made.
#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_nested_calls_is_told() {
    let node = node().await;
    let function = node.client.function("caller", "sum-started").await.unwrap();
    let answer = function.invoke::<_, String>((25u64,)).await.unwrap();
    assert_eq!(answer.usage.nested_calls, 25);
    let info = node.client.calls(CallFilter::default()).await.unwrap();
    let children = info
        .iter()
        .filter(|call| call.parent == answer.call)
        .count();
    assert_eq!(children, 25);
}

/// Calls of a client and sessions are no different.
#[tokio::test(flavor = "multi_thread")]
async fn functions_call_from_sessions_and_maps_too() {
    let node = node().await;
    let session = node.client.session("caller").await.unwrap();
    for _ in 0..2 {
        let sum: String = session.call("sum-started", (10u64,)).await.unwrap();
        assert_eq!(sum, "285");
    }
    drop(session);
    let function = node.client.function("caller", "sum-started").await.unwrap();
    let sums = function.map::<_, String, _>((0..20u64).map(|_| (10u64,)));
    let sums: Vec<String> = futures::TryStreamExt::try_collect(sums).await.unwrap();
    assert!(sums.iter().all(|sum| sum == "285") && sums.len() == 20);
    node.is_empty().await;
    assert!(matches!(
        node.call(CALLER, "recurse", &["3"], Limits::new()).await,
        Ended::Value(_)
    ));
}

/// Recorded calls that wait for ones they recorded, more of them than the node has in hand: those they wait for come
/// before the rest, or all would wait until their time is over.
#[tokio::test(flavor = "multi_thread")]
async fn recorded_calls_are_not_behind_those_that_wait_for_them() {
    let node = TestNode::with(|options| options.max_spawned_in_hand = 2).await;
    node.deploy("caller", CALLER, json!({})).await;
    let parent = node
        .client
        .function("caller", "spawn-square")
        .await
        .unwrap();
    let mut parents = Vec::new();
    for x in 0..12u64 {
        parents.push((x, parent.spawn((x,)).await.unwrap()));
    }
    for (x, call) in parents {
        let squared = call.get::<String>(Duration::from_secs(100)).await.unwrap();
        assert_eq!(squared, (x * x).to_string());
    }
    node.is_empty().await;
}
