//! Waits for several calls at once.

use super::{Call, LONGEST_WAIT};
use crate::error::Result;
use crate::forms::Output;
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::VecDeque;
use std::time::Duration;

/// How many calls [`gather`] waits for at once: every wait takes one of the connection's streams.
const GATHERED_AT_ONCE: usize = 64;
/// How long [`gather`] waits for one call while others have not had their turn.
const TURN: Duration = Duration::from_millis(200);

/// The results of several calls of one type, in their order. The first failure is returned at once;
/// the other calls go on.
///
/// # Errors
/// As of [`Call::get`].
///
/// ```no_run
/// # async fn example(train: lydian_client::Function) -> lydian_client::Result<()> {
/// let mut calls = Vec::new();
/// for depth in [5u32, 10, 20] {
///     calls.push(train.spawn((depth,)).await?);
/// }
/// let scores: Vec<f64> = lydian_client::gather(calls).await?;
/// # Ok(())
/// # }
/// ```
pub async fn gather<R: Output>(calls: impl IntoIterator<Item = Call>) -> Result<Vec<R>> {
    let mut waiting = calls.into_iter().enumerate().collect::<Vec<_>>();
    let mut results: Vec<Option<R>> = waiting.iter().map(|_| None).collect();
    // Taken from the end; those that used up their turn are put in front.
    waiting.reverse();
    let mut waiting = VecDeque::from(waiting);
    let mut asked = FuturesUnordered::new();
    loop {
        while asked.len() < GATHERED_AT_ONCE
            && let Some((index, call)) = waiting.pop_back()
        {
            let turn = if waiting.is_empty() && asked.len() < GATHERED_AT_ONCE {
                LONGEST_WAIT
            } else {
                TURN
            };
            asked.push(async move { (index, call.ask_patiently::<R>(turn).await, call) });
        }
        match asked.next().await {
            Some((index, answer, call)) => match answer? {
                Some(result) => results[index] = Some(result?),
                None => waiting.push_front((index, call)),
            },
            None => return Ok(results.into_iter().flatten().collect()),
        }
    }
}
