//! Where a call stands among those that led to it, and what they may call together.

use super::trace;
use crate::calls::id::CallId;
use crate::error::Error;
use lru::LruCache;
use lydian_api::v1::{Target, target};
use lydian_engine::calls::{Error as Refusal, ErrorKind};
use parking_lot::Mutex;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Roots of recorded calls that are remembered: those of calls that are in line or run, and were made of late.
const REMEMBERED_ROOTS: usize = 16_384;

/// No environment has a longer name; one that is cut to this is still none's.
const MAX_ENVIRONMENT_BYTES: usize = 128;

/// Where a call stands among those that led to it.
#[derive(Clone, Default)]
pub(crate) struct Lineage {
    /// Calls that led to it; 0 for a client's.
    pub(crate) depth: u32,
    /// The call whose function made it.
    pub(crate) parent: Option<CallId>,
    /// Of a bare component: where the apps are that it may call.
    pub(crate) environment: String,
    /// W3C trace context; may be empty.
    pub(crate) traceparent: String,
    /// What all calls share that one client's call led to; none for the client's own, which begins one.
    pub(crate) root: Option<Arc<Root>>,
    /// When the caller's time is over.
    pub(crate) deadline: Option<Instant>,
}

impl Lineage {
    /// A client's call. Of what the client says, only so much is kept as can mean something.
    pub(crate) fn of_client(target: Option<&Target>, depth: u32, traceparent: String) -> Self {
        Self {
            depth,
            traceparent: trace::valid(traceparent),
            environment: target.map(environment).unwrap_or_default(),
            ..Self::default()
        }
    }

    /// Whether a function on this node waits for it.
    pub(crate) fn is_nested(&self) -> bool {
        self.deadline.is_some()
    }
}

fn environment(target: &Target) -> String {
    match &target.code {
        Some(target::Code::Component(_)) => {
            let name = crate::resolve::environment(&target.environment);
            name[..name.floor_char_boundary(MAX_ENVIRONMENT_BYTES)].to_owned()
        }
        _ => String::new(),
    }
}

/// The budget of one client's call: calls that it leads to, all levels together.
pub(crate) struct Root {
    id: CallId,
    allowed: u64,
    left: AtomicU64,
}

impl Root {
    pub(crate) fn new(id: CallId, allowed: u64) -> Arc<Self> {
        Arc::new(Self {
            id,
            allowed,
            left: AtomicU64::new(allowed),
        })
    }

    pub(crate) fn id(&self) -> CallId {
        self.id
    }

    pub(crate) fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Takes `calls` from the budget, all or none.
    pub(crate) fn take(&self, calls: u64) -> Result<(), Refusal> {
        let take = |left: u64| left.checked_sub(calls);
        match self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
        {
            Ok(_) => Ok(()),
            Err(_) => {
                let text = format!(
                    "call `{}` led to as many calls as it may: {}",
                    self.id, self.allowed
                );
                Err(Refusal::new(ErrorKind::Budget, text)
                    .hint("do more in each call, or give its function a larger `fan-out`"))
            }
        }
    }
}

/// Roots that recorded calls share with the call that spawned them, so that spawning does not multiply a budget. One that
/// was forgotten begins anew with what was left when the call was recorded.
pub(crate) struct Roots(Mutex<LruCache<CallId, Arc<Root>>>);

impl Default for Roots {
    fn default() -> Self {
        let remembered = NonZeroUsize::new(REMEMBERED_ROOTS).unwrap_or(NonZeroUsize::MIN);
        Self(Mutex::new(LruCache::new(remembered)))
    }
}

impl Roots {
    pub(crate) fn remember(&self, root: &Arc<Root>) {
        self.0.lock().put(root.id, root.clone());
    }

    /// # Errors
    /// [`Error::Internal`] when `id` is none.
    pub(crate) fn find(&self, id: &str, left: u64) -> Result<Arc<Root>, Error> {
        let id = id
            .parse()
            .map_err(|_| Error::Internal("the recorded call's root is malformed".into()))?;
        let mut roots = self.0.lock();
        Ok(roots.get_or_insert(id, || Root::new(id, left)).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call is remembered long after it ended, with what its client said of it.
    #[test]
    fn a_client_s_words_are_kept_as_far_as_they_mean_something() {
        let mut target = Target {
            environment: "ü".repeat(1 << 20),
            code: Some(target::Code::Component(Vec::new().into())),
            ..Target::default()
        };
        let lineage = Lineage::of_client(Some(&target), 0, "x".repeat(1 << 20));
        assert!(lineage.environment.len() <= MAX_ENVIRONMENT_BYTES);
        assert_eq!(lineage.traceparent, "");
        target.environment = "staging".into();
        let lineage = Lineage::of_client(Some(&target), 0, String::new());
        assert_eq!(lineage.environment, "staging");
    }
}
