//! The wall clock and the time that passes, replaceable so that tests of leases and due times need
//! not wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970. Clones share a manual clock.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<Manual>>);

#[derive(Debug, Default)]
struct Manual {
    wall: AtomicU64,
    passed: AtomicU64,
}

/// Where the machine's passed time counts from.
static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock {
    /// The machine's.
    pub fn system() -> Self {
        Self(None)
    }

    /// One that stands still until [`Clock::advance`].
    pub fn manual(now_ms: u64) -> Self {
        Self(Some(Arc::new(Manual {
            wall: now_ms.into(),
            passed: 0.into(),
        })))
    }

    /// Moves a manual clock on; no effect on the machine's.
    pub fn advance(&self, by: Duration) {
        if let Some(manual) = &self.0 {
            manual.wall.fetch_add(millis(by), Ordering::SeqCst);
            manual.passed.fetch_add(millis(by), Ordering::SeqCst);
        }
    }

    /// Sets a manual clock to another time of day, while no time passes; no effect on the
    /// machine's.
    pub fn step_to(&self, now_ms: u64) {
        if let Some(manual) = &self.0 {
            manual.wall.store(now_ms, Ordering::SeqCst);
        }
    }

    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            Some(manual) => manual.wall.load(Ordering::SeqCst),
            None => millis(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default(),
            ),
        }
    }

    /// Milliseconds that have passed since some moment of this process; no step of the clock
    /// changes it.
    pub(crate) fn passed_ms(&self) -> u64 {
        match &self.0 {
            Some(manual) => manual.passed.load(Ordering::SeqCst),
            None => millis(BEGIN.elapsed()),
        }
    }
}

/// Time as it passes, by which results are kept: it never steps, forward or back.
#[derive(Debug, Clone)]
pub(crate) struct Steady {
    clock: Clock,
    from_ms: u64,
    passed_ms: u64,
}

impl Steady {
    /// Counts on from `from_ms`.
    pub(crate) fn from(clock: Clock, from_ms: u64) -> Self {
        let passed_ms = clock.passed_ms();
        Self {
            clock,
            from_ms,
            passed_ms,
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.from_ms + self.clock.passed_ms().saturating_sub(self.passed_ms)
    }
}

/// Whole milliseconds, few enough that adding them to the time stays [`storable`].
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .min(i64::MAX as u64 / 4)
}

/// At most what a column of the database can hold.
pub(crate) fn storable(number: u64) -> u64 {
    number.min(i64::MAX as u64)
}
