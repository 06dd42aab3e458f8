//! One call as others see it: what runs, since when, how it ended, and how to stop it.

use crate::admission::Need;
use crate::calls::id::CallId;
use crate::calls::log::{self, LogRing};
use crate::calls::nested::lineage::Lineage;
use crate::calls::nested::waiting::Waits;
use crate::clock::now_ms;
use crate::resolve::Resolved;
use bytes::Bytes;
use lydian_api::v1::{call_info, log_chunk};
use lydian_engine::{
    Failure, FailureKind, Grants, Limits, Mount, OutputChunk, OutputStream, Usage,
};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(crate) use call_info::{Kind, State};

static NEXT_KEY: AtomicU64 = AtomicU64::new(0);

/// A call on this node, running or remembered.
pub(crate) struct Call {
    pub(crate) id: CallId,
    /// What admission knows it by.
    pub(crate) key: u64,
    /// How deep it counts, being waited for by a call that deep; its own depth while that is more.
    raised: Arc<AtomicU32>,
    /// What its functions wait for.
    waits: Arc<Waits>,
    pub(crate) kind: Kind,
    pub(crate) target: Arc<Resolved>,
    pub(crate) limits: Limits,
    pub(crate) created_at_ms: u64,
    /// From 1; above it only for a durable call that was started before.
    pub(crate) attempt: u32,
    /// What led to it.
    pub(crate) lineage: Lineage,
    /// Stops this call's sandboxes and no others.
    pub(crate) cancel: CancellationToken,
    log_bytes: usize,
    log: OnceLock<Arc<LogRing>>,
    progress: Mutex<Progress>,
    over: Notify,
    /// The node stopped under the call.
    interrupted: AtomicBool,
    /// Directories of its app, until it has ended.
    mounts: Mutex<Vec<Mount>>,
}

/// How far a call has come.
#[derive(Clone)]
pub(crate) struct Progress {
    pub(crate) state: State,
    pub(crate) started_at_ms: u64,
    pub(crate) finished_at_ms: u64,
    /// None until it ended, and where nobody was left to tell.
    pub(crate) usage: Option<Usage>,
    pub(crate) failure: Option<Failure>,
}

/// What a new call is made of.
pub(crate) struct NewCall {
    pub(crate) id: CallId,
    pub(crate) kind: Kind,
    pub(crate) target: Arc<Resolved>,
    pub(crate) limits: Limits,
    pub(crate) attempt: u32,
    pub(crate) lineage: Lineage,
    pub(crate) cancel: CancellationToken,
    pub(crate) log_bytes: usize,
}

impl Call {
    pub(crate) fn new(new: NewCall) -> Self {
        Self {
            mounts: Mutex::new(new.target.mounts()),
            id: new.id,
            key: NEXT_KEY.fetch_add(1, Ordering::Relaxed),
            raised: Arc::default(),
            waits: Arc::default(),
            kind: new.kind,
            target: new.target,
            limits: new.limits,
            created_at_ms: now_ms(),
            attempt: new.attempt,
            lineage: new.lineage,
            cancel: new.cancel,
            log_bytes: new.log_bytes,
            log: OnceLock::new(),
            over: Notify::new(),
            interrupted: AtomicBool::new(false),
            progress: Mutex::new(Progress {
                state: State::Queued,
                started_at_ms: 0,
                finished_at_ms: 0,
                usage: None,
                failure: None,
            }),
        }
    }

    /// What it needs of the pool.
    pub(crate) fn need(&self) -> Need {
        let function = &self.target.function;
        Need {
            tenant: self.target.tenant,
            call: self.key,
            sandboxes: function.slots() as usize,
            stacks: function.stacks() as usize,
            memory: function.initial_bytes().min(self.limits.memory_bytes),
            depth: self.depth(),
            concurrent: function.is_concurrent(),
            calls: function.makes_calls(),
            nested: self.lineage.is_nested(),
        }
    }

    /// How deep it counts now.
    pub(crate) fn depth(&self) -> u32 {
        self.lineage.depth.max(self.raised.load(Ordering::Relaxed))
    }

    /// What its functions wait for.
    pub(crate) fn waits(&self) -> &Arc<Waits> {
        &self.waits
    }

    /// What says how deep it counts, for those who see it change.
    pub(crate) fn raised(&self) -> Arc<AtomicU32> {
        self.raised.clone()
    }

    /// Counts it as `depth` deep from now on; `false` when it was before.
    pub(crate) fn raise(&self, depth: u32) -> bool {
        depth > self.depth() && self.raised.fetch_max(depth, Ordering::Relaxed) < depth
    }

    /// What it may reach, its app's directories included.
    pub(crate) fn grants(&self) -> Arc<Grants> {
        let mounts = self.mounts.lock();
        match mounts.is_empty() {
            true => self.target.grants.clone(),
            false => Arc::new(Grants {
                mounts: mounts.clone(),
                ..Grants::clone(&self.target.grants)
            }),
        }
    }

    /// Its limits, with no more time than its caller has left.
    pub(crate) fn limits_now(&self) -> Limits {
        let mut limits = self.limits;
        if let Some(deadline) = self.lineage.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            // Zero would mean that there is no limit.
            limits.timeout = limits.timeout.min(left.max(Duration::from_millis(1)));
        }
        limits
    }

    /// Marks that a sandbox was given to the call.
    pub(crate) fn started(&self) {
        let mut progress = self.progress.lock();
        if progress.state == State::Queued {
            progress.state = State::Running;
            progress.started_at_ms = now_ms();
        }
    }

    /// Marks the end, once; what comes later changes nothing.
    pub(crate) fn finished(&self, usage: impl Into<Option<Usage>>, failure: Option<Failure>) {
        let mut progress = self.progress.lock();
        if !progress.running() {
            return;
        }
        progress.state = match &failure {
            None => State::Succeeded,
            Some(failure) if failure.kind == FailureKind::Cancelled => State::Cancelled,
            Some(_) => State::Failed,
        };
        progress.finished_at_ms = now_ms();
        progress.usage = usage.into();
        progress.failure = failure.map(remembered);
        drop(progress);
        self.mounts.lock().clear();
        self.over.notify_waiters();
        if let Some(log) = self.log.get() {
            log.close();
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress.lock().clone()
    }

    /// Whether the call has not ended.
    pub(crate) fn running(&self) -> bool {
        self.progress.lock().running()
    }

    /// Whether the call waits for a sandbox.
    pub(crate) fn in_line(&self) -> bool {
        self.progress.lock().state == State::Queued
    }

    /// Whether the call has a sandbox now.
    pub(crate) fn in_sandbox(&self) -> bool {
        self.progress.lock().state == State::Running
    }

    /// Stops the call because the node stops.
    pub(crate) fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Relaxed);
        self.cancel.cancel();
    }

    /// Whether the node stopped under the call.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Returns once the call has ended.
    pub(crate) async fn ended(&self) {
        let mut over = std::pin::pin!(self.over.notified());
        // Registered before looking, so an end in between is not missed.
        over.as_mut().enable();
        if self.running() {
            over.await;
        }
    }

    /// The call's log, made when first asked for: most calls print nothing.
    pub(crate) fn log(&self) -> &Arc<LogRing> {
        let log = self
            .log
            .get_or_init(|| Arc::new(LogRing::new(self.log_bytes)));
        // Whoever asks after the end must not wait for more; closing twice is harmless.
        if !self.running() {
            log.close();
        }
        log
    }

    /// The call's log, if anything was printed or anyone asked.
    pub(crate) fn log_if_any(&self) -> Option<&Arc<LogRing>> {
        self.log.get()
    }

    /// Whether who reads the output as it comes can take more, or nobody does.
    pub(crate) fn has_room(&self) -> bool {
        self.log_if_any().is_none_or(|log| log.has_room())
    }

    /// Keeps what the guest printed, for the call and for its app.
    pub(crate) fn printed(&self, output: OutputChunk) {
        let source = match output.stream {
            OutputStream::Stdout => log_chunk::Source::Stdout,
            OutputStream::Stderr => log_chunk::Source::Stderr,
        };
        let function = self.target.name();
        let mut chunk = log::chunk(
            &self.id.to_string(),
            function,
            source,
            output.data,
            now_ms(),
        );
        chunk.truncated = output.truncated;
        if chunk.data.is_empty() && chunk.truncated {
            chunk.source = log_chunk::Source::System.into();
            chunk.data = Bytes::from_static(b"(output limit reached: the rest was dropped)\n");
        }
        self.target.live.log.push(chunk.clone());
        self.log().push(chunk);
    }
}

/// A failure as it is remembered. Names in a backtrace and texts of guests are as long as their
/// authors like, and thousands of calls are remembered.
fn remembered(mut failure: Failure) -> Failure {
    const MAX_BYTES: usize = 4 << 10;
    const MAX_BACKTRACE_BYTES: usize = 8 << 10;
    const MAX_HINTS: usize = 8;
    cut(&mut failure.message, MAX_BYTES);
    cut(&mut failure.backtrace, MAX_BACKTRACE_BYTES);
    failure.hints.truncate(MAX_HINTS);
    for hint in &mut failure.hints {
        cut(hint, MAX_BYTES / MAX_HINTS);
    }
    failure
}

/// Leaves at most so much of a text.
fn cut(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
        text.push('…');
        text.shrink_to_fit();
    }
}

impl Progress {
    fn running(&self) -> bool {
        matches!(self.state, State::Queued | State::Running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest decides how long its functions' names are, and what it panics with.
    #[test]
    fn a_remembered_failure_is_small() {
        let long = || "ü".repeat(1 << 20);
        let mut failure = Failure::new(FailureKind::Trap, long());
        failure.backtrace = long();
        failure.hints = vec![long(); 100];
        let kept = remembered(failure);
        let hints: usize = kept.hints.iter().map(String::len).sum();
        assert!(kept.message.len() + kept.backtrace.len() + hints < 17 << 10);
        assert!(kept.message.ends_with('…'));
        let short = Failure::new(FailureKind::Trap, "no").hint("try again");
        assert_eq!(remembered(short.clone()), short);
    }
}
