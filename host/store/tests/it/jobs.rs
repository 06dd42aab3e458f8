//! Conformance of `JobStore`.

use std::time::Duration;

use lydian_store::{
    Accepted, Attempt, Back, Cancelled, Claimed, Conflict, Depth, Enqueued, Epoch, Error,
    JobFilter, JobState, NewJob, Outcome, Retried, Shard, Turn,
};
use lydian_value::Digest;

use crate::bed::{self, Engine, START_MS, WEEK, conformance, function, job};

const TTL: Duration = Duration::from_secs(10);

fn shard() -> Shard {
    bed::shard("square")
}

/// A job of another function, in another shard.
fn cube(id: &str) -> NewJob {
    let shard = Some(bed::shard("cube"));
    NewJob {
        function: function("cube"),
        shard,
        ..job(id)
    }
}

/// Makes `node` the owner of the shard that `job` belongs to.
async fn own(store: &dyn Engine, node: &str) -> Epoch {
    store
        .acquire(&shard().lease(), &node.into(), TTL)
        .await
        .unwrap()
        .unwrap()
}

async fn claim(store: &dyn Engine, epoch: Epoch, max: u32) -> Vec<Claimed> {
    store.claim(shard(), epoch, max).await.unwrap()
}

fn ids(claimed: &[Claimed]) -> Vec<String> {
    claimed
        .iter()
        .map(|claimed| claimed.job.id.to_string())
        .collect()
}

fn done() -> Outcome {
    Outcome::Succeeded("done".into())
}

async fn finish(store: &dyn Engine, id: &str, attempt: Attempt) -> Accepted {
    store
        .finish(vec![(id.into(), attempt, done())])
        .await
        .unwrap()[0]
}

async fn state(store: &dyn Engine, id: &str) -> JobState {
    store.job(&id.into()).await.unwrap().unwrap().state
}

conformance! { Bed:
    async fn a_job_runs_from_queue_to_result(bed) {
        assert_eq!(bed.store.enqueue(vec![job("a")]).await.unwrap(), [Enqueued::New("a".into())]);
        assert_eq!(state(&*bed.store, "a").await, JobState::Queued);
        let epoch = own(&*bed.store, "n1").await;
        let claimed = claim(&*bed.store, epoch, 9).await.remove(0);
        assert_eq!(claimed.payload, "payload of a");
        assert_eq!(claimed.attempt, Attempt { epoch, number: 1 });
        assert!(!claimed.exhausted());
        assert_eq!(claimed.job.details, "details of a");
        assert_eq!((claimed.job.created_at_ms, claimed.job.due_at_ms), (START_MS, START_MS));
        assert_eq!(state(&*bed.store, "a").await, JobState::Running);
        assert_eq!(bed.store.result(&"a".into(), Duration::ZERO).await.unwrap(), None);
        bed.clock.advance(Duration::from_secs(5));
        assert_eq!(finish(&*bed.store, "a", claimed.attempt).await, Accepted::Yes);
        assert_eq!(bed.store.result(&"a".into(), Duration::ZERO).await.unwrap(), Some(done()));
        let ended = bed.store.job(&"a".into()).await.unwrap().unwrap();
        assert_eq!((ended.state, ended.attempts), (JobState::Succeeded, 1));
        assert_eq!(ended.finished_at_ms, Some(START_MS + 5_000));
    }

    /// A client that repeats a spawn gets the call it made first.
    async fn an_idempotency_key_admits_one_job_per_function(bed) {
        let keyed = |id: &str, key: &str| NewJob { idempotency_key: Some(key.into()), ..job(id) };
        let elsewhere = NewJob { function: function("cube"), ..keyed("c", "k1") };
        let jobs = vec![keyed("a", "k1"), keyed("b", "k1"), elsewhere, keyed("d", "k2"), job("e"), job("f")];
        let enqueued = bed.store.enqueue(jobs).await.unwrap();
        let new = |id: &str| Enqueued::New(id.into());
        let first = Enqueued::Duplicate("a".into());
        assert_eq!(enqueued, [new("a"), first.clone(), new("c"), new("d"), new("e"), new("f")]);
        assert_eq!(bed.store.job(&"b".into()).await.unwrap(), None);
        // Also after it ended, as long as its result is kept.
        bed.store.cancel(&"a".into(), "".into()).await.unwrap();
        assert_eq!(bed.store.enqueue(vec![keyed("g", "k1")]).await.unwrap(), [first]);
    }

    async fn an_id_admits_one_job(bed) {
        let again = NewJob { function: function("cube"), ..job("a") };
        let enqueued = bed.store.enqueue(vec![job("a"), again]).await.unwrap();
        assert_eq!(enqueued, [Enqueued::New("a".into()), Enqueued::Duplicate("a".into())]);
        assert_eq!(bed.store.job(&"a".into()).await.unwrap().unwrap().function, function("square"));
    }

    async fn claims_come_oldest_first_and_once(bed) {
        for id in ["a", "b", "c", "d"] {
            bed.store.enqueue(vec![job(id)]).await.unwrap();
        }
        let epoch = own(&*bed.store, "n1").await;
        assert_eq!(ids(&claim(&*bed.store, epoch, 3).await), ["a", "b", "c"]);
        assert_eq!(ids(&claim(&*bed.store, epoch, 3).await), ["d"]);
        assert_eq!(ids(&claim(&*bed.store, epoch, 3).await), Vec::<String>::new());
    }

    async fn a_claim_is_of_one_shard(bed) {
        assert_ne!(cube("b").shard, Some(shard()));
        bed.store.enqueue(vec![job("a"), cube("b")]).await.unwrap();
        let epoch = own(&*bed.store, "n1").await;
        assert_eq!(ids(&claim(&*bed.store, epoch, 9).await), ["a"]);
    }

    async fn unclaimed_jobs_are_claimed_again_as_the_same_attempt(bed) {
        bed.store.enqueue(vec![job("a"), job("b")]).await.unwrap();
        let epoch = own(&*bed.store, "n1").await;
        let first = claim(&*bed.store, epoch, 9).await;
        bed.store.unclaim(vec!["a".into(), "nobody".into()]).await.unwrap();
        assert_eq!(state(&*bed.store, "a").await, JobState::Queued);
        let second = claim(&*bed.store, epoch, 9).await;
        assert_eq!(ids(&second), ["a"]);
        assert_eq!(second[0].attempt, first[0].attempt);
    }

    /// For jobs that someone waits for: others before them stay where they are.
    async fn jobs_can_be_claimed_by_name(bed) {
        let late = NewJob { due_at_ms: Some(START_MS + 1_000), ..job("late") };
        bed.store.enqueue(vec![job("a"), job("b"), job("c"), late]).await.unwrap();
        let epoch = own(&*bed.store, "n1").await;
        let these = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).into()).collect();
            bed.store.claim_these(shard(), epoch, names)
        };
        assert_eq!(ids(&these(&["c", "late", "nobody", "c"]).await.unwrap()), ["c"]);
        assert_eq!(these(&["c"]).await.unwrap(), []);
        assert_eq!(state(&*bed.store, "c").await, JobState::Running);
        assert_eq!(ids(&claim(&*bed.store, epoch, 1).await), ["a"]);
        assert_eq!(ids(&these(&["b", "a"]).await.unwrap()), ["b"]);
        let ended = bed.store.claim_these(shard(), epoch, vec!["b".into()]);
        assert_eq!(ended.await.unwrap(), []);
        let elsewhere = Shard(shard().0.wrapping_add(1));
        let epoch_there = bed.store.acquire(&elsewhere.lease(), &"n1".into(), TTL).await.unwrap().unwrap();
        bed.store.unclaim(vec!["b".into()]).await.unwrap();
        let there = bed.store.claim_these(elsewhere, epoch_there, vec!["b".into()]);
        assert_eq!(there.await.unwrap(), []);
        assert!(bed.store.claim_these(shard(), epoch + 1, vec!["b".into()]).await.is_err());
    }

    async fn only_the_holder_of_the_lease_may_claim(bed) {
        bed.store.enqueue(vec![job("a")]).await.unwrap();
        let refused = bed.store.claim(shard(), 1, 9).await.unwrap_err();
        assert!(matches!(refused, Error::Conflict(Conflict::Epoch { epoch: 1, .. })), "{refused}");
        let epoch = own(&*bed.store, "n1").await;
        assert!(bed.store.claim(shard(), epoch + 1, 9).await.is_err());
        bed.store.release(&shard().lease(), &"n1".into(), epoch).await.unwrap();
        assert!(bed.store.claim(shard(), epoch, 9).await.is_err());
    }

    /// An owner that was away too long finds that its work no longer counts.
    async fn a_new_epoch_takes_over_and_the_old_one_changes_nothing(bed) {
        bed.store.enqueue(vec![job("a"), job("b"), job("c")]).await.unwrap();
        let old = own(&*bed.store, "n1").await;
        let before = claim(&*bed.store, old, 9).await;
        bed.store.started(vec![("a".into(), before[0].attempt)]).await.unwrap();
        bed.clock.advance(TTL);
        let new = own(&*bed.store, "n2").await;
        for claimed in &before {
            let (id, attempt) = (claimed.job.id.clone(), claimed.attempt);
            assert_eq!(finish(&*bed.store, id.as_str(), attempt).await, Accepted::Stale);
            let started = bed.store.started(vec![(id.clone(), attempt)]).await.unwrap();
            assert_eq!(started, [Accepted::Stale]);
            let retried = bed.store.retry(id, attempt, START_MS, "".into()).await.unwrap();
            assert_eq!(retried, Retried::Stale);
        }
        let after = claim(&*bed.store, new, 9).await;
        assert_eq!(ids(&after), ["a", "b", "c"]);
        // The attempt that was recorded as started counts; those only claimed do not.
        assert_eq!(after[0].attempt, Attempt { epoch: new, number: 2 });
        assert_eq!(after[1].attempt, Attempt { epoch: new, number: 1 });
        assert_eq!(finish(&*bed.store, "a", after[0].attempt).await, Accepted::Yes);
    }

    async fn one_outcome_is_accepted(bed) {
        bed.store.enqueue(vec![job("a")]).await.unwrap();
        let epoch = own(&*bed.store, "n1").await;
        let attempt = claim(&*bed.store, epoch, 9).await[0].attempt;
        let failed = Outcome::Failed("late".into());
        let both = vec![("a".into(), attempt, done()), ("a".into(), attempt, failed)];
        assert_eq!(bed.store.finish(both).await.unwrap(), [Accepted::Yes, Accepted::Stale]);
        assert_eq!(bed.store.result(&"a".into(), Duration::ZERO).await.unwrap(), Some(done()));
        assert_eq!(finish(&*bed.store, "nobody", attempt).await, Accepted::Stale);
    }

    async fn a_retry_is_due_later_as_the_next_attempt(bed) {
        bed.store.enqueue(vec![job("a")]).await.unwrap();
        let epoch = own(&*bed.store, "n1").await;
        let first = claim(&*bed.store, epoch, 9).await[0].attempt;
        let later = START_MS + 2_000;
        let retried = bed.store.retry("a".into(), first, later, "why".into()).await.unwrap();
        assert_eq!(retried, Retried::Queued);
        assert_eq!(state(&*bed.store, "a").await, JobState::Queued);
        assert_eq!(claim(&*bed.store, epoch, 9).await, []);
        // The attempt that was given up cannot end the job any more.
        assert_eq!(finish(&*bed.store, "a", first).await, Accepted::Stale);
        bed.clock.advance(Duration::from_secs(2));
        let second = claim(&*bed.store, epoch, 9).await;
        assert_eq!(second[0].attempt, Attempt { epoch, number: 2 });
        assert_eq!(finish(&*bed.store, "a", first).await, Accepted::Stale);
        assert_eq!(finish(&*bed.store, "a", second[0].attempt).await, Accepted::Yes);
        assert_eq!(bed.store.job(&"a".into()).await.unwrap().unwrap().attempts, 2);
    }

    async fn the_last_attempts_failure_is_the_jobs(bed) {
        bed.store.enqueue(vec![NewJob { max_attempts: 2, ..job("a") }]).await.unwrap();
        let epoch = own(&*bed.store, "n1").await;
        for expected in [Retried::Queued, Retried::Failed] {
            let attempt = claim(&*bed.store, epoch, 9).await[0].attempt;
            let failure = format!("failure {}", attempt.number);
            let retried = bed.store.retry("a".into(), attempt, START_MS, failure.into()).await.unwrap();
            assert_eq!(retried, expected);
        }
        let result = bed.store.result(&"a".into(), Duration::ZERO).await.unwrap();
        assert_eq!(result, Some(Outcome::Failed("failure 2".into())));
        assert_eq!(claim(&*bed.store, epoch, 9).await, []);
    }

    /// A job that takes its node down each time it runs must not do so for ever.
    async fn a_job_that_kills_its_owner_is_exhausted(bed) {
        bed.store.enqueue(vec![NewJob { max_attempts: 2, ..job("a") }]).await.unwrap();
        for number in 1..=2 {
            let epoch = own(&*bed.store, "n1").await;
            let claimed = claim(&*bed.store, epoch, 9).await.remove(0);
            assert_eq!((claimed.attempt.number, claimed.exhausted()), (number, false));
            let started = bed.store.started(vec![("a".into(), claimed.attempt)]).await.unwrap();
            assert_eq!(started, [Accepted::Yes]);
        }
        let epoch = own(&*bed.store, "n1").await;
        let claimed = claim(&*bed.store, epoch, 9).await.remove(0);
        assert!(claimed.exhausted());
        assert_eq!(finish(&*bed.store, "a", claimed.attempt).await, Accepted::Yes);
    }

    async fn starting_is_recorded_once(bed) {
        bed.store.enqueue(vec![job("a")]).await.unwrap();
        let epoch = own(&*bed.store, "n1").await;
        let attempt = claim(&*bed.store, epoch, 9).await[0].attempt;
        for _ in 0..2 {
            bed.clock.advance(Duration::from_secs(1));
            let started = bed.store.started(vec![("a".into(), attempt)]).await.unwrap();
            assert_eq!(started, [Accepted::Yes]);
        }
        let job = bed.store.job(&"a".into()).await.unwrap().unwrap();
        assert_eq!((job.attempts, job.started_at_ms), (1, Some(START_MS + 1_000)));
        assert_eq!(finish(&*bed.store, "a", attempt).await, Accepted::Yes);
    }

    async fn a_job_is_not_claimed_before_it_is_due(bed) {
        let later = NewJob { due_at_ms: Some(START_MS + 1_000), ..job("a") };
        bed.store.enqueue(vec![later, job("b")]).await.unwrap();
        let epoch = own(&*bed.store, "n1").await;
        assert_eq!(ids(&claim(&*bed.store, epoch, 9).await), ["b"]);
        bed.clock.advance(Duration::from_secs(1));
        assert_eq!(ids(&claim(&*bed.store, epoch, 9).await), ["a"]);
    }

    async fn due_shards_are_those_with_something_to_do(bed) {
        assert_eq!(bed.store.due_shards().await.unwrap(), []);
        let later = NewJob { due_at_ms: Some(START_MS + 1_000), ..cube("b") };
        let cube = bed::shard("cube");
        bed.store.enqueue(vec![job("a"), later]).await.unwrap();
        assert_eq!(bed.store.due_shards().await.unwrap(), [shard()]);
        bed.clock.advance(Duration::from_secs(1));
        let mut both = [shard(), cube];
        both.sort();
        assert_eq!(bed.store.due_shards().await.unwrap(), both);
        bed.store.cancel(&"b".into(), "".into()).await.unwrap();
        assert_eq!(bed.store.due_shards().await.unwrap(), [shard()]);
    }

    async fn cancelling_ends_a_job_whether_it_runs_or_not(bed) {
        bed.store.enqueue(vec![job("a"), job("b")]).await.unwrap();
        let epoch = own(&*bed.store, "n1").await;
        let running = claim(&*bed.store, epoch, 1).await.remove(0);
        let ((id_a, id_b), store) = (("a".into(), "b".into()), &bed.store);
        assert_eq!(store.cancel(&id_a, "enough".into()).await.unwrap(), Cancelled::Now { running: true });
        assert_eq!(store.cancel(&id_b, "enough".into()).await.unwrap(), Cancelled::Now { running: false });
        assert_eq!(store.cancel(&id_b, "again".into()).await.unwrap(), Cancelled::AlreadyEnded);
        let result = store.result(&id_a, Duration::ZERO).await.unwrap();
        assert_eq!(result, Some(Outcome::Cancelled("enough".into())));
        assert_eq!(finish(&*bed.store, "a", running.attempt).await, Accepted::Stale);
        assert_eq!(claim(&*bed.store, epoch, 9).await, []);
        let missing = store.cancel(&"nobody".into(), "".into()).await.unwrap_err();
        assert!(matches!(missing, Error::JobNotFound { .. }));
    }

    async fn a_waiter_is_woken_by_the_end(bed) {
        bed.store.enqueue(vec![job("a"), job("b")]).await.unwrap();
        let epoch = own(&*bed.store, "n1").await;
        let attempt = claim(&*bed.store, epoch, 1).await[0].attempt;
        let (store, id) = (bed.store.clone(), "a".into());
        let waiter = tokio::spawn(async move { store.result(&id, Duration::from_secs(3600)).await });
        tokio::task::yield_now().await;
        finish(&*bed.store, "a", attempt).await;
        assert_eq!(waiter.await.unwrap().unwrap(), Some(done()));
        let other = bed.store.result(&"b".into(), Duration::from_millis(1)).await.unwrap();
        assert_eq!(other, None);
        let missing = bed.store.result(&"nobody".into(), Duration::from_secs(3600)).await.unwrap_err();
        assert!(matches!(missing, Error::JobNotFound { .. }));
    }

    async fn depth_counts_what_has_not_ended(bed) {
        assert_eq!(bed.store.depth(&function("square")).await.unwrap(), Depth::default());
        bed.store.enqueue(vec![job("a")]).await.unwrap();
        bed.clock.advance(Duration::from_secs(1));
        bed.store.enqueue(vec![job("b"), NewJob { function: function("cube"), ..job("c") }]).await.unwrap();
        let epoch = own(&*bed.store, "n1").await;
        let attempt = claim(&*bed.store, epoch, 1).await[0].attempt;
        let depth = |count, oldest_ms| Depth { count, oldest_ms: Some(oldest_ms) };
        assert_eq!(bed.store.depth(&function("square")).await.unwrap(), depth(2, START_MS));
        finish(&*bed.store, "a", attempt).await;
        assert_eq!(bed.store.depth(&function("square")).await.unwrap(), depth(1, START_MS + 1_000));
    }

    async fn listing_filters_and_shows_the_newest_first(bed) {
        let mut other = job("c");
        (other.function.environment, other.function.app) = ("dev".into(), "other".into());
        bed.store.enqueue(vec![job("a"), job("b"), other, job("d")]).await.unwrap();
        let epoch = own(&*bed.store, "n1").await;
        let first = claim(&*bed.store, epoch, 2).await.remove(0);
        finish(&*bed.store, "a", first.attempt).await;
        let store = &bed.store;
        let list = |filter: JobFilter, limit| async move {
            let jobs = store.list(filter, limit).await.unwrap();
            jobs.iter().map(|job| job.id.to_string()).collect::<Vec<_>>()
        };
        let filter = JobFilter::default;
        assert_eq!(list(filter(), 9).await, ["d", "c", "b", "a"]);
        assert_eq!(list(filter(), 2).await, ["d", "c"]);
        let in_env = JobFilter { environment: Some("main".into()), ..filter() };
        assert_eq!(list(in_env, 9).await, ["d", "b", "a"]);
        let of_app = JobFilter { app: Some("other".into()), ..filter() };
        assert_eq!(list(of_app, 9).await, ["c"]);
        let of_state = |state| JobFilter { state: Some(state), ..filter() };
        assert_eq!(list(of_state(JobState::Queued), 9).await, ["d", "c"]);
        assert_eq!(list(of_state(JobState::Running), 9).await, ["b"]);
        assert_eq!(list(of_state(JobState::Succeeded), 9).await, ["a"]);
        assert_eq!(list(of_state(JobState::Failed), 9).await, Vec::<String>::new());
    }

    async fn results_are_kept_for_the_retention_and_then_forgotten(bed) {
        let keyed = NewJob { idempotency_key: Some("k".into()), ..job("a") };
        bed.store.enqueue(vec![keyed.clone(), job("b")]).await.unwrap();
        bed.store.cancel(&"a".into(), "".into()).await.unwrap();
        bed.clock.advance(WEEK - Duration::from_millis(1));
        assert_eq!(bed.store.expire().await.unwrap(), 0);
        assert!(bed.store.result(&"a".into(), Duration::ZERO).await.unwrap().is_some());
        bed.clock.advance(Duration::from_millis(1));
        assert_eq!(bed.store.expire().await.unwrap(), 1);
        let gone = bed.store.result(&"a".into(), Duration::ZERO).await.unwrap_err();
        assert!(matches!(gone, Error::JobNotFound { .. }));
        // What has not ended does not expire, and the idempotency key is free again.
        assert_eq!(state(&*bed.store, "b").await, JobState::Queued);
        assert_eq!(bed.store.enqueue(vec![keyed]).await.unwrap(), [Enqueued::New("a".into())]);
    }

    async fn blobs_of_kept_jobs_are_live(bed) {
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let with = |id: &str, blobs: Vec<Digest>| NewJob { blobs, ..job(id) };
        bed.store.enqueue(vec![with("a", vec![one, two]), job("b"), with("c", vec![two])]).await.unwrap();
        let mut live = bed.store.live_blobs().await.unwrap();
        live.sort();
        let mut expected = vec![one, two, two];
        expected.sort();
        assert_eq!(live, expected);
        bed.store.cancel(&"a".into(), "".into()).await.unwrap();
        bed.clock.advance(WEEK);
        bed.store.expire().await.unwrap();
        assert_eq!(bed.store.live_blobs().await.unwrap(), [two]);
    }

    /// A result that is a blob stays as long as the job that had it, and no longer.
    async fn blobs_of_results_are_live_while_their_job_is_kept(bed) {
        let (argument, result, more) = (Digest::of(b"argument"), Digest::of(b"result"), Digest::of(b"more"));
        bed.store.enqueue(vec![NewJob { blobs: vec![argument], ..job("a") }, job("b")]).await.unwrap();
        let epoch = own(&*bed.store, "n1").await;
        let claimed = claim(&*bed.store, epoch, 9).await;
        let (a, b) = (claimed[0].attempt, claimed[1].attempt);
        let keep = |id: &str, attempt, blobs| bed.store.keep_blobs(id.into(), attempt, blobs);
        assert_eq!(keep("a", a, vec![result]).await.unwrap(), Accepted::Yes);
        assert_eq!(keep("b", b, vec![result, more]).await.unwrap(), Accepted::Yes);
        assert_eq!(finish(&*bed.store, "a", a).await, Accepted::Yes);
        // An attempt that does not count keeps nothing.
        assert_eq!(keep("a", a, vec![more]).await.unwrap(), Accepted::Stale);
        assert_eq!(keep("nobody", a, vec![more]).await.unwrap(), Accepted::Stale);
        let live = async || {
            let mut live = bed.store.live_blobs().await.unwrap();
            live.sort();
            live
        };
        let sorted = |mut digests: Vec<Digest>| {
            digests.sort();
            digests
        };
        assert_eq!(live().await, sorted(vec![argument, result, result, more]));
        bed.clock.advance(WEEK);
        bed.store.expire().await.unwrap();
        assert_eq!(live().await, sorted(vec![result, more]));
    }

    /// What the platform broke is no attempt of the function's, and no reason to give the job up.
    async fn an_attempt_that_could_not_run_does_not_count(bed) {
        bed.store.enqueue(vec![NewJob { max_attempts: 1, ..job("a") }]).await.unwrap();
        let epoch = own(&*bed.store, "n1").await;
        let back = |ran, delay| Back { ran, delay, reason: Some("the disk is full".into()) };
        for broken in 1..=5 {
            let claimed = claim(&*bed.store, epoch, 9).await.remove(0);
            assert_eq!((claimed.attempt.number, claimed.exhausted()), (1, false));
            bed.store.started(vec![("a".into(), claimed.attempt)]).await.unwrap();
            let back = back(false, Duration::from_secs(2));
            assert_eq!(bed.store.give_back("a".into(), claimed.attempt, back).await.unwrap(), Accepted::Yes);
            let job = bed.store.job(&"a".into()).await.unwrap().unwrap();
            assert_eq!((job.state, job.attempts, job.broken), (JobState::Queued, 0, broken));
            assert_eq!(job.waiting.as_deref(), Some("the disk is full"));
            assert_eq!(claim(&*bed.store, epoch, 9).await, []);
            bed.clock.advance(Duration::from_secs(2));
        }
        // A node that stops in order interrupts an attempt that ran; as many as there are nodes to
        // stop.
        for number in 1..=4 {
            let claimed = claim(&*bed.store, epoch, 9).await.remove(0);
            assert_eq!((claimed.attempt.number, claimed.exhausted()), (number, false));
            bed.store.started(vec![("a".into(), claimed.attempt)]).await.unwrap();
            let back = Back { reason: None, ..back(true, Duration::ZERO) };
            bed.store.give_back("a".into(), claimed.attempt, back).await.unwrap();
        }
        let job = bed.store.job(&"a".into()).await.unwrap().unwrap();
        assert_eq!((job.attempts, job.waiting), (4, None));
    }

    /// The clock may be set back between a job's record and its claim.
    async fn a_job_due_at_once_is_due_whatever_the_clock_says(bed) {
        bed.store.enqueue(vec![job("a"), job("b")]).await.unwrap();
        let epoch = own(&*bed.store, "n1").await;
        let attempt = claim(&*bed.store, epoch, 1).await[0].attempt;
        let back = Back { ran: false, delay: Duration::from_secs(5), reason: None };
        bed.store.give_back("a".into(), attempt, back).await.unwrap();
        bed.clock.step_to(START_MS - 3_600_000);
        assert_eq!(bed.store.due_shards().await.unwrap(), [shard()]);
        assert_eq!(ids(&claim(&*bed.store, epoch, 9).await), ["b", "a"]);
    }

    /// A clock that jumps a year ahead must not delete what is a minute old, nor one that jumps
    /// back keep it for ever.
    async fn a_step_of_the_clock_deletes_nothing_and_keeps_nothing(bed) {
        bed.store.enqueue(vec![job("a")]).await.unwrap();
        bed.store.cancel(&"a".into(), "".into()).await.unwrap();
        bed.clock.step_to(START_MS + 50 * 604_800_000);
        assert_eq!(bed.store.expire().await.unwrap(), 0);
        bed.clock.step_to(START_MS - 50 * 604_800_000);
        assert_eq!(bed.store.expire().await.unwrap(), 0);
        bed.clock.advance(WEEK);
        assert_eq!(bed.store.expire().await.unwrap(), 1);
    }

    /// Else a key used twice by mistake would answer one request with the result of another.
    async fn a_key_is_refused_for_another_request(bed) {
        let keyed = |id: &str, request: &[u8]| NewJob {
            idempotency_key: Some("k".into()),
            request: Some(Digest::of(request)),
            ..job(id)
        };
        let jobs = vec![keyed("a", b"one"), keyed("b", b"one"), keyed("c", b"two")];
        let (new, id) = (Enqueued::New("a".into()), || "a".into());
        let expected = [new, Enqueued::Duplicate(id()), Enqueued::OtherRequest(id())];
        assert_eq!(bed.store.enqueue(jobs).await.unwrap(), expected);
    }

    /// One group's thousands must not keep another's single job waiting, whatever its shard.
    async fn a_turn_is_shared_between_groups(bed) {
        let many = (0..500).map(|n| NewJob { group: "many@1".into(), ..job(&format!("m{n:03}")) });
        bed.store.enqueue(many.collect()).await.unwrap();
        bed.store.enqueue(vec![NewJob { group: "one@1".into(), ..cube("one") }]).await.unwrap();
        let (node, cube) = ("n1".into(), bed::shard("cube"));
        let names = vec![shard().lease(), cube.lease()];
        let held = bed.store.acquire_many(names, &node, TTL).await.unwrap();
        let held = held.iter().map(|(name, epoch)| (Shard::of_lease(name).unwrap(), *epoch));
        let turn = Turn { held: held.collect(), room: 4, ..Turn::default() };
        let turned = bed.store.claim_in_turn(turn.clone()).await.unwrap();
        let claimed = ids(&turned.claimed);
        assert_eq!(claimed.len(), 4);
        assert!(claimed.contains(&"one".into()), "{claimed:?}");
        // No room, and yet one for who has none in hand.
        bed.store.enqueue(vec![NewJob { group: "two@1".into(), ..job("two") }]).await.unwrap();
        let in_hand = [("many@1".to_owned(), 3), ("one@1".to_owned(), 1)].into();
        let full = Turn { room: 0, beyond: 10, in_hand, ..turn.clone() };
        assert_eq!(ids(&bed.store.claim_in_turn(full).await.unwrap().claimed), ["two"]);
        // A group that is left alone, one that is only tried, and a shard that another holds.
        let skip = Turn { room: 9, skip: ["many@1".to_owned()].into(), ..turn.clone() };
        assert_eq!(ids(&bed.store.claim_in_turn(skip).await.unwrap().claimed), Vec::<String>::new());
        let one_of = Turn { room: 9, one_of: ["many@1".to_owned()].into(), ..turn.clone() };
        assert_eq!(ids(&bed.store.claim_in_turn(one_of).await.unwrap().claimed).len(), 1);
        bed.store.acquire_many(vec![shard().lease()], &"n1".into(), TTL).await.unwrap();
        assert_eq!(ids(&bed.store.claim_in_turn(turn).await.unwrap().claimed), Vec::<String>::new());
    }

    /// A holder learns from this that a job was cancelled through another process.
    async fn ended_jobs_are_told_from_others(bed) {
        bed.store.enqueue(vec![job("a"), job("b")]).await.unwrap();
        bed.store.cancel(&"b".into(), "".into()).await.unwrap();
        let asked = vec!["a".into(), "b".into(), "nobody".into()];
        assert_eq!(bed.store.ended(asked).await.unwrap(), ["b".into(), "nobody".into()]);
    }

    /// Numbers from a client must not reach the database as something it cannot hold.
    async fn extreme_times_are_accepted(bed) {
        bed.store.enqueue(vec![NewJob { due_at_ms: Some(u64::MAX), ..job("a") }, job("b")]).await.unwrap();
        let epoch = bed.store.acquire(&shard().lease(), &"n1".into(), Duration::MAX).await.unwrap().unwrap();
        let claimed = claim(&*bed.store, epoch, 9).await;
        assert_eq!(ids(&claimed), ["b"]);
        let retried = bed.store.retry("b".into(), claimed[0].attempt, u64::MAX, "".into()).await.unwrap();
        assert_eq!(retried, Retried::Queued);
        assert_eq!(bed.store.result(&"b".into(), Duration::ZERO).await.unwrap(), None);
    }

    /// Claimers at once share the work without overlap.
    async fn concurrent_claims_do_not_overlap(bed) {
        let jobs = (0..200).map(|n| job(&format!("j{n:03}"))).collect();
        bed.store.enqueue(jobs).await.unwrap();
        let epoch = own(&*bed.store, "n1").await;
        let claimers: Vec<_> = (0..8).map(|_| {
            let store = bed.store.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let claimed = store.claim(shard(), epoch, 7).await.unwrap();
                    if claimed.is_empty() {
                        return mine;
                    }
                    for claimed in claimed {
                        finish(&*store, claimed.job.id.as_str(), claimed.attempt).await;
                        mine.push(claimed.job.id.to_string());
                    }
                }
            })
        }).collect();
        let mut all = Vec::new();
        for claimer in claimers {
            all.extend(claimer.await.unwrap());
        }
        all.sort();
        let expected: Vec<_> = (0..200).map(|n| format!("j{n:03}")).collect();
        assert_eq!(all, expected);
    }
}
