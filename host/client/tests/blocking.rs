//! The façade without `async`, against a node made of mirrors.
#![allow(clippy::expect_used, reason = "helpers of tests are not seen as tests")]

mod fake;

use fake::Fake;
use lydian_client::blocking::{Call, Client, gather};
use lydian_client::{Deploy, Error};

fn client() -> Client {
    Client::wrap(Fake::new().client()).expect("a thread")
}

/// A script does everything the other side does.
#[test]
fn everything_works_without_async() {
    let client = client();
    let square = client.function("math", "square").expect("found");
    assert_eq!(square.call::<_, u64>((4u64,)).expect("works"), 16);
    let map = square.map::<_, u64, _>((0..100u64).map(|x| (2 * x,)));
    let results: Result<Vec<u64>, Error> = map.collect();
    assert!(
        results
            .expect("works")
            .into_iter()
            .eq((0..100).map(|x| 4 * x * x))
    );
    let mut failing = square
        .map::<_, u64, _>([(2u64,), (3,)])
        .with(|map| map.return_errors());
    assert!(failing.next().expect("a result").expect("works").is_ok());
    assert!(failing.next().expect("a result").expect("works").is_err());
    assert!(failing.next().is_none());
    assert_eq!(
        failing.get_ref().summary().map(|summary| summary.failed),
        Some(1)
    );
    let count = client.function("math", "count").expect("found");
    let items = count.stream::<_, u32>((4u32,)).expect("streams");
    assert!(items.map(|item| item.expect("works")).eq(0..4));
    let session = client.session("math").expect("opens");
    let counter = session.construct("counter.new", (1u32,)).expect("made");
    assert_eq!(counter.call::<_, u32>("add", (1u32,)).expect("works"), 2);
    let call = square.spawn((4u64,)).expect("spawns");
    assert_eq!(call.get::<u64>(None).expect("works"), 16);
    let calls = ["c-2", "c-4"].map(|id| Call::from_id(&client, id));
    assert_eq!(gather::<u64>(calls).expect("works"), [4, 16]);
    assert_eq!(
        client
            .deploy(Deploy::new("math", vec![1]))
            .expect("deploys")
            .version,
        2
    );
    assert_eq!(client.environments().expect("lists"), ["main"]);
}

/// Blocking inside `async` code would stop it; it must be an error, not a panic.
#[test]
fn blocking_inside_async_code_is_refused() {
    let client = client();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let error = client.environments().expect_err("refused");
        assert_eq!(error.code(), "blocking-in-async");
        drop(client);
    });
}
