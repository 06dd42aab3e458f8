//! Maps, against a node made of mirrors: order, failures, credit, laziness.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are not seen as tests"
)]

mod fake;

use fake::Fake;
use futures::{StreamExt, TryStreamExt, stream};
use lydian_client::{Error, Function, Wave};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

async fn square(fake: &Fake) -> Function {
    fake.client()
        .function("math", "square")
        .await
        .expect("found")
}

fn evens(n: u64) -> impl Iterator<Item = (u64,)> + Send {
    (0..n).map(|x| (2 * x,))
}

/// The results are those of the inputs, in their order, and the credit is never overdrawn.
#[tokio::test]
async fn a_map_gives_all_results_in_order() {
    let fake = Fake::new();
    let results: Vec<u64> = square(&fake).await.map(evens(10_000)).await.expect("works");
    assert_eq!(results.len(), 10_000);
    assert!(
        results
            .iter()
            .zip(0u64..)
            .all(|(result, x)| *result == 4 * x * x)
    );
    assert_eq!(fake.asked().overdrawn.load(SeqCst), 0);
    assert_eq!(fake.asked().map_inputs.load(SeqCst), 10_000);
}

/// As completed, every result still knows its input.
#[tokio::test]
async fn an_unordered_map_tells_the_input() {
    let fake = Fake::new();
    let map = square(&fake).await.map::<_, u64, _>(evens(500)).unordered();
    let mut results: Vec<(u64, u64)> = map.with_index().try_collect().await.expect("works");
    assert!(
        results.windows(2).any(|pair| pair[0].0 > pair[1].0),
        "the fake reverses"
    );
    results.sort_unstable();
    assert!(
        results
            .iter()
            .zip(0u64..)
            .all(|(result, x)| *result == (x, 4 * x * x))
    );
}

/// The first failure ends the map, names the input, and nothing follows it.
#[tokio::test]
async fn the_first_failure_is_raised() {
    let fake = Fake::new();
    let inputs = [(2u64,), (3,), (4,), (5,)];
    let mut map = square(&fake).await.map::<_, u64, _>(inputs);
    assert_eq!(map.try_next().await.expect("even"), Some(4));
    let error = map.try_next().await.expect_err("odd");
    assert!(matches!(&error, Error::Failed(failure) if failure.input == Some(1)));
    assert_eq!(error.to_string(), "input 1: function `square` trapped at 3");
    assert!(map.next().await.is_none());
}

/// Returned, failures are results like others.
#[tokio::test]
async fn failures_are_returned_when_asked_for() {
    let fake = Fake::new();
    let inputs = [(2u64,), (3,), (4,), (5,)];
    let mut map = square(&fake).await.map::<_, u64, _>(inputs).return_errors();
    let mut seen = Vec::new();
    while let Some(result) = map.try_next().await.expect("the map itself works") {
        seen.push(result.map_err(|failure| failure.input));
    }
    assert_eq!(seen, [Ok(4), Err(Some(1)), Ok(16), Err(Some(3))]);
    let summary = map.summary().expect("it is over");
    assert_eq!((summary.succeeded, summary.failed), (2, 2));
    assert_eq!(map.call(), Some("c-map"));
}

/// Nothing to do is done at once, without asking anybody.
#[tokio::test]
async fn an_empty_map_asks_nothing() {
    let fake = Fake::new();
    let square = square(&fake).await;
    let none: Vec<u64> = square
        .map(std::iter::empty::<(u64,)>())
        .await
        .expect("works");
    assert!(none.is_empty());
    let summary = square
        .map_stream::<(u64,), u64, _>(stream::empty())
        .drain()
        .await;
    assert_eq!(summary.expect("works").succeeded, 0);
    assert_eq!(fake.asked().maps.load(SeqCst), 0);
}

/// Nothing happens before somebody wants a result.
#[tokio::test]
async fn a_map_is_lazy() {
    let fake = Fake::new();
    let taken = Arc::new(AtomicU64::new(0));
    let counter = taken.clone();
    let inputs = evens(10).inspect(move |_| {
        counter.fetch_add(1, SeqCst);
    });
    let map = square(&fake).await.map::<_, u64, _>(inputs);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!((taken.load(SeqCst), fake.asked().maps.load(SeqCst)), (0, 0));
    drop(map);
}

/// However many inputs there are, only a window of them exists at any time; that is what keeps memory
/// flat. Endless inputs prove it.
#[tokio::test]
async fn a_slow_reader_slows_the_inputs() {
    let fake = Fake::new();
    fake.script.map_window.store(8, SeqCst);
    let taken = Arc::new(AtomicU64::new(0));
    let counter = taken.clone();
    let inputs = (0u64..).map(move |x| {
        counter.fetch_add(1, SeqCst);
        (2 * x,)
    });
    let mut map = square(&fake).await.map::<_, u64, _>(inputs);
    for read in 1..=100u64 {
        map.try_next().await.expect("works").expect("endless");
        // The window, and what waits in the fake's channels.
        assert!(
            taken.load(SeqCst) <= read + 5 * 8,
            "{} taken after {read}",
            taken.load(SeqCst)
        );
    }
    assert_eq!(fake.asked().overdrawn.load(SeqCst), 0);
}

/// Dropping the map is how it is cancelled.
#[tokio::test]
async fn a_dropped_map_is_cancelled() {
    let fake = Fake::new();
    let mut map = square(&fake)
        .await
        .map::<_, u64, _>((0u64..).map(|x| (2 * x,)));
    map.try_next().await.expect("works");
    drop(map);
    for _ in 0..6_000 {
        if fake.asked().maps_dropped.load(SeqCst) == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the node was not told");
}

/// Inputs may come as slowly as they like: results of earlier ones must not wait for later ones.
#[tokio::test]
async fn results_do_not_wait_for_later_inputs() {
    let fake = Fake::new();
    let (inputs, queue) = futures::channel::mpsc::unbounded();
    let mut map = square(&fake).await.map_stream::<(u64,), u64, _>(queue);
    for x in 0..10u64 {
        inputs.unbounded_send((2 * x,)).expect("open");
        assert_eq!(map.try_next().await.expect("works"), Some(4 * x * x));
    }
    drop(inputs);
    assert_eq!(map.try_next().await.expect("works"), None);
}

/// A map over the results of another runs through both, however long they are.
#[tokio::test]
async fn a_map_of_a_map_does_not_deadlock() {
    let fake = Fake::new();
    fake.script.map_window.store(4, SeqCst);
    let square = square(&fake).await;
    let inner = square
        .map::<_, u64, _>(evens(1000))
        .map(|result| (result.expect("even"),));
    let outer: Vec<u64> = square.map_stream(inner).await.expect("works");
    assert_eq!(outer.len(), 1000);
    // One for each result of another, all open at once.
    let mut nested = square.map::<_, u64, _>(evens(50));
    let mut open = Vec::new();
    while let Some(result) = nested.try_next().await.expect("works") {
        let mut map = square.map::<_, u64, _>((0u64..).map(move |x| (2 * x * result,)));
        map.try_next().await.expect("works");
        open.push(map);
    }
    assert_eq!(open.len(), 50);
}

/// A mistake in one input is the caller's, and says which input it was.
#[tokio::test]
async fn a_wrong_input_is_named() {
    let fake = Fake::new();
    let inputs = ["2", "4", "six"].map(|text| Wave(vec![text.into()]));
    let error = square(&fake)
        .await
        .map::<_, u64, _>(inputs)
        .await
        .expect_err("not a number");
    assert!(matches!(error, Error::InvalidArgument(_)));
    assert!(error.to_string().starts_with("input 2: x: "), "{error}");
    let error = square(&fake)
        .await
        .map::<_, u64, _>([(1u32,)])
        .await
        .expect_err("u64");
    assert_eq!(error.to_string(), "x: expected u64, found u32");
}

/// Inputs may borrow: a map ends where it is awaited.
#[tokio::test]
async fn inputs_may_borrow() {
    let fake = Fake::new();
    let numbers = [2u64, 4];
    let inputs = numbers.iter().map(|x| (*x,));
    let results: Vec<u64> = square(&fake).await.map(inputs).await.expect("works");
    assert_eq!(results, [4, 16]);
}
