//! Wakes those in this process who wait for a commit or for the end of a job. Only ever a hint: who
//! is woken reads the store, and who is not woken for long looks for itself. Ends that other
//! processes record are looked for once for all who wait, by who keeps the [`Hub`].

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::{JobId, Outcome, Result, Rev};

/// How long to go without a look at the database: bounds how late a commit of another process is seen.
pub(crate) const POLL: Duration = Duration::from_millis(500);

/// How long a waiter goes without a look of its own.
const OWN_LOOK: Duration = Duration::from_secs(10);

pub(crate) struct Hub {
    rev: watch::Sender<Rev>,
    jobs: Mutex<HashMap<JobId, Arc<Notify>>>,
    /// Whether somebody looks for ends that other processes record.
    watched: AtomicBool,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self {
            rev: watch::channel(0).0,
            jobs: Mutex::default(),
            watched: AtomicBool::new(false),
        }
    }

    pub(crate) fn committed(&self, rev: Rev) {
        self.rev
            .send_if_modified(|seen| std::mem::replace(seen, rev.max(*seen)) < rev);
    }

    pub(crate) fn commits(&self) -> watch::Receiver<Rev> {
        self.rev.subscribe()
    }

    pub(crate) fn ended(&self, id: &JobId) {
        if let Some(notify) = self.jobs.lock().get(id) {
            notify.notify_waiters();
        }
    }

    /// Whether the caller is to look for ends that other processes record, for as long as somebody
    /// waits.
    pub(crate) fn watch(&self) -> bool {
        !self.watched.swap(true, Ordering::SeqCst)
    }

    /// What is waited for; when nothing is, whoever looked is done, unless somebody came just now.
    pub(crate) fn awaited(&self) -> Option<Vec<JobId>> {
        let waiting = || self.jobs.lock().keys().cloned().collect::<Vec<_>>();
        let ids = waiting();
        if !ids.is_empty() {
            return Some(ids);
        }
        self.watched.store(false, Ordering::SeqCst);
        let ids = waiting();
        (!ids.is_empty() && self.watch()).then_some(ids)
    }

    /// Asks `look` until it finds an outcome, at most for `wait`. It is asked after registering for
    /// the wake-up, so no end falls between; `registered` is called in between.
    pub(crate) async fn wait_for_end<F>(
        &self,
        id: &JobId,
        wait: Duration,
        registered: impl FnOnce(),
        look: impl Fn() -> F,
    ) -> Result<Option<Outcome>>
    where
        F: Future<Output = Result<Option<Outcome>>>,
    {
        if wait.is_zero() {
            return look().await;
        }
        // A wait too long to be a point in time is a wait of 30 years.
        let deadline = Instant::now() + wait.min(Duration::from_secs(1 << 30));
        let waiter = Waiter::new(self, id);
        registered();
        loop {
            let notified = waiter.notify.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if let Some(outcome) = look().await? {
                return Ok(Some(outcome));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            let _ =
                tokio::time::timeout_at(deadline.min(Instant::now() + OWN_LOOK), notified).await;
        }
    }
}

/// Somebody waiting for a job; the entry goes with the last of them.
struct Waiter<'a> {
    hub: &'a Hub,
    id: &'a JobId,
    notify: Arc<Notify>,
}

impl<'a> Waiter<'a> {
    fn new(hub: &'a Hub, id: &'a JobId) -> Self {
        let notify = hub.jobs.lock().entry(id.clone()).or_default().clone();
        Self { hub, id, notify }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut jobs = self.hub.jobs.lock();
        // Two holders left are the map and this one.
        if Arc::strong_count(&self.notify) == 2 {
            jobs.remove(self.id);
        }
    }
}
