//! Every example, called as its own header says: on a node, and in this process.

use std::time::Duration;

use lydian_client::{Call, Client, Deploy, Options, Wave};
use lydian_tests::{Guest, examples};
use serde_json::json;

use crate::support::TestNode;

/// Makes two tests of each function.
macro_rules! everywhere {
    ($($test:ident),+ $(,)?) => {
        mod node {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let node = super::TestNode::start().await;
                super::$test(&node.client).await;
            })+
        }

        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let data = tempfile::tempdir().unwrap();
                let options = super::Options::new(data.path());
                let client = super::Client::embedded(options).await.unwrap();
                super::$test(&client).await;
            })+
        }
    };
}

everywhere!(
    hello_greets,
    square_and_cube_are_two_apps,
    model_is_loaded_once,
    services_are_one_app,
    text_is_spawned_and_polled,
    digits_are_swept_one_sandbox_for_each_configuration,
);

async fn deploy(client: &Client, example: Guest) {
    client
        .deploy(Deploy::new(example.name, example.bytes()))
        .await
        .unwrap();
}

async fn hello_greets(client: &Client) {
    deploy(client, examples::HELLO).await;
    let hello = client.function("hello", "hello").await.unwrap();
    assert_eq!(
        hello
            .call::<_, String>(("World".to_owned(),))
            .await
            .unwrap(),
        "Hello, World!"
    );
}

/// Small enough to be sent and compiled in the blink of an eye; what the SDK adds to it is counted here.
#[test]
fn hello_is_small() {
    let bytes = examples::HELLO.bytes().len();
    assert!(bytes < 100_000, "hello has {bytes} bytes");
}

/// A component that calls nobody asks for nothing but the standard's interfaces.
#[test]
fn calls_are_imported_only_where_they_are_made() {
    let imports = |example: Guest| {
        let bytes = example.bytes();
        bytes
            .windows(b"lydian:calls/invoke".len())
            .any(|window| window == b"lydian:calls/invoke")
    };
    assert!(imports(examples::CUBE));
    assert!(!imports(examples::HELLO));
    assert!(!imports(examples::SQUARE));
}

/// Two apps, each with its own versions, one of which calls the other.
async fn square_and_cube_are_two_apps(client: &Client) {
    deploy(client, examples::SQUARE).await;
    deploy(client, examples::CUBE).await;
    let square = client.function("square", "square").await.unwrap();
    let cube = client.function("cube", "cube").await.unwrap();
    assert_eq!(
        square
            .call::<_, Result<u64, String>>((12u64,))
            .await
            .unwrap(),
        Ok(144)
    );
    let cubes: Vec<Result<u64, String>> = cube.map((0..100u64).map(|x| (x,))).await.unwrap();
    assert_eq!(cubes[99], Ok(970_299));
    let too_large = square
        .call::<_, Result<u64, String>>((1u64 << 32,))
        .await
        .unwrap();
    assert!(too_large.unwrap_err().contains("does not fit"));
}

/// Trained once for all calls that one instance serves.
async fn model_is_loaded_once(client: &Client) {
    let reviews = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/model/reviews");
    let tree = client.ship_directory(reviews).await.unwrap();
    let mounts = json!({ "mounts": { "/reviews": { "tree": tree.to_string() } } });
    let deploy = Deploy::new("model", examples::MODEL.bytes()).manifest(&mounts);
    client.deploy(deploy).await.unwrap();
    let predict = client.function("model", "model#predict").await.unwrap();
    for (text, verdict) in [("a joy", "good"), ("dull and far too long", "bad")] {
        let Wave(answer) = predict.call((text.to_owned(),)).await.unwrap();
        assert!(answer[0].starts_with(verdict), "{text}: {answer:?}");
    }
    let served = client.function("model", "model#served").await.unwrap();
    assert_eq!(served.call::<_, u64>(()).await.unwrap(), 2);
}

/// One component of several modules, which call each other.
async fn services_are_one_app(client: &Client) {
    deploy(client, examples::SERVICES).await;
    let services = client.describe("services").await.unwrap();
    let names: Vec<&str> = services
        .functions
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert!(
        ["words", "report", "doubled"]
            .iter()
            .all(|name| names.contains(name)),
        "{names:?}"
    );
    let report = client.function("services", "report").await.unwrap();
    let text = Wave(vec!["the the cat saw the dog".to_owned()]);
    let Wave(report) = report.call(text).await.unwrap();
    assert_eq!(
        report,
        [r#"ok({vocabulary: 4, favourite: some("the"), doubled: ["the"]})"#]
    );
}

/// Spawned, left, and found again by nothing but its id.
async fn text_is_spawned_and_polled(client: &Client) {
    deploy(client, examples::TEXT).await;
    let repeats = client.function("text", "repeats").await.unwrap();
    let text = "the cat sat here\n\na dog ran\n\nThe cat sat there".to_owned();
    let id = repeats.spawn((text, 0.5)).await.unwrap().id().to_owned();
    let call = Call::from_id(client, id);
    let Wave(result) = call.get(Duration::from_secs(60)).await.unwrap();
    assert!(
        result[0].starts_with("ok([{first: 1, second: 3, similarity: 0.6"),
        "{result:?}"
    );
}

/// What `cargo xtask demo` does, for the fastest learners only.
async fn digits_are_swept_one_sandbox_for_each_configuration(client: &Client) {
    deploy(client, examples::DIGITS).await;
    let leave_one_out = client.function("digits", "leave-one-out").await.unwrap();
    type Read = Result<(u8, u8), String>;
    let read: Vec<Read> = leave_one_out
        .map((0..40u32).map(|digit| (digit, 3u32)))
        .await
        .unwrap();
    let right = read
        .iter()
        .filter(|read| matches!(read, Ok((is, read)) if is == read));
    assert!(right.count() >= 38, "{read:?}");
    let evaluate = client.function("digits", "evaluate").await.unwrap();
    let config = "{learner: nearest({neighbours: 3, weighted: true}), folds: 2, seed: 1}";
    let Wave(score) = evaluate.call(Wave(vec![config.to_owned()])).await.unwrap();
    assert!(score[0].starts_with("ok({accuracy: 0.98"), "{score:?}");
}

/// An example without a test above would rot; adding one to the workspace breaks this until it is here.
#[test]
fn no_example_is_forgotten() {
    let names: Vec<&str> = examples::ALL.iter().map(|example| example.name).collect();
    assert_eq!(
        names,
        [
            "cube", "digits", "hello", "model", "services", "square", "text"
        ]
    );
}
