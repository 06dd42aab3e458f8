//! What a panic says, wherever its function was called from.

use crate::backends::{block_on, client};
use futures::StreamExt as _;
use lydian_client::{Error, Failure, FailureKind};

/// Without the place, which changes with the guest.
fn told(failure: &Failure) -> String {
    assert_eq!(failure.kind, FailureKind::Trap);
    let (before, told) = failure.message.split_once(".rs:").unwrap();
    let (_, message) = told.split_once(": ").unwrap();
    format!("{}: {message}", before.rsplit_once(' ').unwrap().0)
}

fn failure<T: std::fmt::Debug>(answer: lydian_client::Result<T>) -> Failure {
    match answer.unwrap_err() {
        Error::Failed(failure) => *failure,
        other => panic!("{other:?} is no failure of the function"),
    }
}

/// The trap itself says only that something unreachable was reached.
#[test]
fn a_panic_is_told_in_its_own_words_wherever_it_was_called_from() {
    const TOLD: &str = "function `broken` panicked at: too large: 7";
    block_on(async {
        let client = client().await;
        let broken = client.function("sdk", "broken").await?;
        let called = broken.call::<_, u32>((7u32,)).await;
        assert_eq!(told(&failure(called)), TOLD);
        let inputs = [(1u32,), (7u32,)];
        let mapped = broken.map::<_, u32, _>(inputs).return_errors().await?;
        assert_eq!(told(mapped[1].as_ref().unwrap_err()), TOLD);
        let spawned = broken.spawn((7u32,)).await?;
        let spawned = spawned.get::<u32>(None).await;
        assert_eq!(told(&failure(spawned)), TOLD);
        let session = client.session("sdk").await?;
        let within = session.call::<_, u32>("broken", (7u32,)).await;
        assert_eq!(told(&failure(within)), TOLD);
        Ok(())
    });
}

/// What was made before is the reader's, from a slow source and from one that broke at once.
#[test]
fn what_a_stream_gave_before_it_panicked_is_delivered() {
    block_on(async {
        let breaks = client().await.function("sdk", "breaks").await?;
        for millis in [0u64, 5] {
            let mut items = breaks.stream::<_, u32>((3u32, millis)).await?;
            for expected in 0..3 {
                assert_eq!(items.next().await.unwrap()?, expected);
            }
            let broken = failure(items.next().await.unwrap());
            assert_eq!(told(&broken), "function `breaks` panicked at: broken at 3");
        }
        Ok(())
    });
}
