//! What one sandbox may use, per function, with every limit on by default.
//!
//! Zero means "not set" everywhere: a caller, a manifest and the node each state only what they care about,
//! and [`Limits::or`] and [`Limits::lowered_by`] put them together. The engine runs nothing on a limit that
//! is not set; it takes [`Limits::default`] for it.

use crate::limit::bytes;
use std::time::Duration;

/// Wall time of one call: start, init, lowering, run, host calls, lifting, post-return and drop.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);
/// Memories, tables and host bytes of one sandbox, summed.
const DEFAULT_MEMORY_BYTES: u64 = 256 << 20;
/// Arguments, and results, each; the wire encoding's own bound.
const DEFAULT_PAYLOAD_BYTES: u64 = 64 << 20;
/// What one host call may copy out of the guest. wasmtime's default is 128 MiB.
const DEFAULT_HOST_CALL_BYTES: u64 = 16 << 20;
/// Host resources a guest may hold open at once, and resources of its own the host may hold.
const DEFAULT_HANDLES: u32 = 4_096;
/// Files, directories and sockets open at once.
const DEFAULT_OPEN_FILES: u32 = 256;
/// Standard output and standard error together.
const DEFAULT_OUTPUT_BYTES: u64 = 16 << 20;
/// A guest that prints faster is slowed down, after a burst of one second's worth.
const DEFAULT_OUTPUT_BYTES_PER_SECOND: u64 = 4 << 20;

/// What one call may use. A field of zero is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Wall time, from the taken slot to the dropped sandbox. Ends in [`FailureKind::Timeout`](crate::FailureKind::Timeout).
    pub timeout: Duration,
    /// Time on a processor. Not set: as long as `timeout`.
    pub cpu: Duration,
    /// Linear memories, tables and bytes the host holds for the guest, summed.
    pub memory_bytes: u64,
    /// Encoded arguments, and encoded result, each.
    pub payload_bytes: u64,
    /// Bytes copied out of the guest by one host call, and random bytes or HTTP fields asked for at once.
    pub host_call_bytes: u64,
    /// Host resources open at once, and guest resources held by a session.
    pub handles: u32,
    /// Files, directories and sockets open at once; they count as handles too.
    pub open_files: u32,
    /// Standard output and standard error together.
    pub output_bytes: u64,
    /// Rate above which printing waits.
    pub output_bytes_per_second: u64,
}

/// A day: what runs longer is better a recorded call that continues where it was.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// One copy takes a few milliseconds, during which nothing can stop it.
const MAX_HOST_CALL_BYTES: u64 = 64 << 20;
const MAX_HANDLES: u32 = 1 << 16;
/// A process has often no more descriptors than this.
const MAX_OPEN_FILES: u32 = 4_096;
/// What is printed is passed on or dropped, never held, so this is what a day of it may come to.
const MAX_OUTPUT_BYTES: u64 = 1 << 40;
/// As fast as memory.
const MAX_OUTPUT_BYTES_PER_SECOND: u64 = 1 << 40;

impl Limits {
    /// The most that a call may be given on a node with `memory_bytes` for guests that says nothing
    /// else.
    pub fn ceiling(memory_bytes: u64) -> Limits {
        Limits {
            timeout: MAX_TIMEOUT,
            cpu: MAX_TIMEOUT,
            memory_bytes,
            payload_bytes: DEFAULT_PAYLOAD_BYTES.min(memory_bytes),
            host_call_bytes: MAX_HOST_CALL_BYTES,
            handles: MAX_HANDLES,
            open_files: MAX_OPEN_FILES,
            output_bytes: MAX_OUTPUT_BYTES,
            output_bytes_per_second: MAX_OUTPUT_BYTES_PER_SECOND,
        }
    }

    /// The first limit that is above `ceiling`: its name in a manifest, what was asked, what may
    /// be.
    pub fn above(&self, ceiling: &Limits) -> Option<(&'static str, String, String)> {
        let size = |name, asked: u64, most: u64| {
            (most != 0 && asked > most).then(|| (name, bytes(asked), bytes(most)))
        };
        let time = |name, asked: Duration, most: Duration| {
            let over = !most.is_zero() && asked > most;
            over.then(|| (name, format!("{asked:?}"), format!("{most:?}")))
        };
        let count = |name, asked: u32, most: u32| {
            (most != 0 && asked > most).then(|| (name, asked.to_string(), most.to_string()))
        };
        time("timeout", self.timeout, ceiling.timeout)
            .or_else(|| time("cpu", self.cpu, ceiling.cpu))
            .or_else(|| size("memory", self.memory_bytes, ceiling.memory_bytes))
            .or_else(|| size("payload", self.payload_bytes, ceiling.payload_bytes))
            .or_else(|| {
                size(
                    "host-call-bytes",
                    self.host_call_bytes,
                    ceiling.host_call_bytes,
                )
            })
            .or_else(|| count("handles", self.handles, ceiling.handles))
            .or_else(|| count("open-files", self.open_files, ceiling.open_files))
            .or_else(|| size("output", self.output_bytes, ceiling.output_bytes))
            .or_else(|| {
                let most = ceiling.output_bytes_per_second;
                size("output-rate", self.output_bytes_per_second, most)
            })
    }

    /// Nothing set.
    pub const UNSET: Limits = Limits {
        timeout: Duration::ZERO,
        cpu: Duration::ZERO,
        memory_bytes: 0,
        payload_bytes: 0,
        host_call_bytes: 0,
        handles: 0,
        open_files: 0,
        output_bytes: 0,
        output_bytes_per_second: 0,
    };

    /// The lower of the two, field by field; what `other` does not set stays as it is.
    ///
    /// So a caller lowers what the deployment set and can never raise it.
    #[must_use]
    pub fn lowered_by(&self, other: &Limits) -> Limits {
        self.zip(other, |mine, theirs| match (mine, theirs) {
            (mine, 0) => mine,
            (0, theirs) => theirs,
            (mine, theirs) => mine.min(theirs),
        })
    }

    /// These limits, with what is not set taken from `other`.
    #[must_use]
    pub fn or(&self, other: &Limits) -> Limits {
        self.zip(other, |mine, theirs| if mine == 0 { theirs } else { mine })
    }

    /// The same with the CPU time filled in: a function that may run for a minute may compute for one.
    ///
    /// Nothing is above `ceiling`, whoever asked for it.
    pub(crate) fn resolved(&self, node: &Limits, ceiling: &Limits) -> Limits {
        let limits = self.or(node).or(&Limits::default());
        let mut limits = limits.lowered_by(&Limits {
            // Not set means as long as the timeout, which has its own ceiling.
            cpu: Duration::ZERO,
            ..*ceiling
        });
        if limits.cpu.is_zero() {
            limits.cpu = limits.timeout;
        }
        if !ceiling.cpu.is_zero() {
            limits.cpu = limits.cpu.min(ceiling.cpu);
        }
        limits
    }

    fn zip(&self, other: &Limits, pick: impl Fn(u64, u64) -> u64) -> Limits {
        let time = |a: Duration, b: Duration| Duration::from_nanos(pick(nanos(a), nanos(b)));
        let count = |a: u32, b: u32| pick(a.into(), b.into()).try_into().unwrap_or(u32::MAX);
        Limits {
            timeout: time(self.timeout, other.timeout),
            cpu: time(self.cpu, other.cpu),
            memory_bytes: pick(self.memory_bytes, other.memory_bytes),
            payload_bytes: pick(self.payload_bytes, other.payload_bytes),
            host_call_bytes: pick(self.host_call_bytes, other.host_call_bytes),
            handles: count(self.handles, other.handles),
            open_files: count(self.open_files, other.open_files),
            output_bytes: pick(self.output_bytes, other.output_bytes),
            output_bytes_per_second: pick(
                self.output_bytes_per_second,
                other.output_bytes_per_second,
            ),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            timeout: DEFAULT_TIMEOUT,
            cpu: Duration::ZERO,
            memory_bytes: DEFAULT_MEMORY_BYTES,
            payload_bytes: DEFAULT_PAYLOAD_BYTES,
            host_call_bytes: DEFAULT_HOST_CALL_BYTES,
            handles: DEFAULT_HANDLES,
            open_files: DEFAULT_OPEN_FILES,
            output_bytes: DEFAULT_OUTPUT_BYTES,
            output_bytes_per_second: DEFAULT_OUTPUT_BYTES_PER_SECOND,
        }
    }
}

/// 584 years fit; a longer limit is as good as that one.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A caller may tighten a deployment's limit, never loosen it.
    #[test]
    fn lowering_never_raises() {
        let deployed = Limits {
            memory_bytes: 100,
            handles: 0,
            ..Limits::UNSET
        };
        let asked = Limits {
            memory_bytes: 200,
            handles: 7,
            timeout: Duration::from_secs(1),
            ..Limits::UNSET
        };
        let lowered = deployed.lowered_by(&asked);
        assert_eq!((lowered.memory_bytes, lowered.handles), (100, 7));
        assert_eq!(lowered.timeout, Duration::from_secs(1));
        assert_eq!(
            deployed
                .lowered_by(&Limits {
                    memory_bytes: 50,
                    ..Limits::UNSET
                })
                .memory_bytes,
            50
        );
    }

    /// Nothing ever runs without a limit.
    #[test]
    fn every_limit_is_set_once_resolved() {
        let limits = Limits::UNSET.resolved(&Limits::UNSET, &Limits::UNSET);
        assert_eq!(limits.cpu, DEFAULT_TIMEOUT);
        assert_eq!(
            Limits {
                cpu: Duration::ZERO,
                ..limits
            },
            Limits::default()
        );
    }

    /// A default is not a ceiling: the most a call may have holds whoever sets the limit.
    #[test]
    fn nothing_is_above_the_ceiling() {
        let ceiling = Limits {
            memory_bytes: 100,
            timeout: Duration::from_secs(2),
            cpu: Duration::from_secs(1),
            ..Limits::UNSET
        };
        let greedy = Limits {
            memory_bytes: 70 << 30,
            timeout: Duration::from_secs(360_000),
            ..Limits::UNSET
        };
        let given = greedy.resolved(&Limits::UNSET, &ceiling);
        assert_eq!((given.memory_bytes, given.timeout), (100, ceiling.timeout));
        assert_eq!(given.cpu, Duration::from_secs(1));
        let (name, asked, most) = greedy.above(&ceiling).unwrap();
        assert_eq!(
            (name, asked.as_str(), most.as_str()),
            ("timeout", "360000s", "2s")
        );
        assert_eq!(ceiling.above(&ceiling), None);
    }
}
