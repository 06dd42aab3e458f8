//! Limits a caller sets for its own calls.

use lydian_api::v1;
use std::time::Duration;

/// Limits of one call. A field left out keeps what the deployment set, else the node's default; a
/// caller can lower a limit, never raise it.
///
/// ```
/// use lydian_client::Limits;
/// use std::time::Duration;
///
/// let limits = Limits::new()
///     .timeout(Duration::from_secs(5))
///     .memory_bytes(64 << 20);
/// assert_eq!(limits.timeout, Some(Duration::from_secs(5)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Limits {
    /// Wall time: start, initialisation, run, host calls, drop. Whole milliseconds, at least one.
    pub timeout: Option<Duration>,
    /// CPU time. Whole milliseconds, at least one.
    pub cpu: Option<Duration>,
    /// Memories, tables and host bytes, summed.
    pub memory_bytes: Option<u64>,
    /// Arguments and result, each.
    pub payload_bytes: Option<u64>,
    /// Copied by one host call.
    pub host_call_bytes: Option<u64>,
    /// Resource handles, streams and sockets open at once.
    pub handles: Option<u32>,
    /// Files open at once.
    pub open_files: Option<u32>,
    /// Written to stdout and stderr together.
    pub output_bytes: Option<u64>,
    /// Written to stdout and stderr, per second.
    pub output_bytes_per_second: Option<u64>,
}

/// One setter per field, so that limits are built in one expression.
macro_rules! setters {
    ($($field:ident: $type:ty, $doc:literal;)*) => {$(
        #[doc = $doc]
        #[must_use]
        pub fn $field(mut self, $field: $type) -> Self {
            self.$field = Some($field);
            self
        }
    )*};
}

impl Limits {
    /// No limit set: the deployment's hold.
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        timeout: Duration, "Sets the wall time.";
        cpu: Duration, "Sets the CPU time.";
        memory_bytes: u64, "Sets the memory.";
        payload_bytes: u64, "Sets the size of arguments and result, each.";
        host_call_bytes: u64, "Sets what one host call may copy.";
        handles: u32, "Sets how many handles may be open.";
        open_files: u32, "Sets how many files may be open.";
        output_bytes: u64, "Sets how much may be written to stdout and stderr.";
        output_bytes_per_second: u64, "Sets how fast may be written to stdout and stderr.";
    }

    pub(crate) fn to_wire(&self) -> Option<v1::Limits> {
        if *self == Self::default() {
            return None;
        }
        Some(v1::Limits {
            timeout_ms: millis(self.timeout),
            cpu_ms: millis(self.cpu),
            memory_bytes: amount(self.memory_bytes, 1),
            payload_bytes: amount(self.payload_bytes, 1),
            host_call_bytes: amount(self.host_call_bytes, 1),
            handles: amount(self.handles, 1),
            open_files: amount(self.open_files, 1),
            output_bytes: amount(self.output_bytes, 1),
            output_bytes_per_second: amount(self.output_bytes_per_second, 1),
        })
    }
}

/// Rounded up: zero means "not set" on the wire, so the shortest time that can be asked for is 1 ms.
fn millis(time: Option<Duration>) -> u64 {
    let Some(time) = time else { return 0 };
    let millis = time.as_nanos().div_ceil(1_000_000).max(1);
    u64::try_from(millis).unwrap_or(u64::MAX)
}

/// Zero means "not set" on the wire, so an amount of zero becomes the smallest there is.
fn amount<T: Ord + Default>(amount: Option<T>, one: T) -> T {
    amount.map_or_else(T::default, |amount| amount.max(one))
}

impl From<v1::Limits> for Limits {
    fn from(wire: v1::Limits) -> Self {
        let time = |millis| (millis > 0).then(|| Duration::from_millis(millis));
        let count = |n: u64| (n > 0).then_some(n);
        let small = |n: u32| (n > 0).then_some(n);
        Self {
            timeout: time(wire.timeout_ms),
            cpu: time(wire.cpu_ms),
            memory_bytes: count(wire.memory_bytes),
            payload_bytes: count(wire.payload_bytes),
            host_call_bytes: count(wire.host_call_bytes),
            handles: small(wire.handles),
            open_files: small(wire.open_files),
            output_bytes: count(wire.output_bytes),
            output_bytes_per_second: count(wire.output_bytes_per_second),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Zero means "not set" on the wire: a limit of half a millisecond must not become none.
    #[test]
    fn a_tiny_timeout_stays_a_timeout() {
        let limits = Limits::new().timeout(Duration::from_micros(500));
        assert_eq!(limits.to_wire().map(|wire| wire.timeout_ms), Some(1));
    }

    /// "Nothing at all" must not turn into "whatever the deployment allows".
    #[test]
    fn a_limit_of_zero_is_not_no_limit() {
        let wire = Limits::new().output_bytes(0).handles(0).to_wire();
        assert_eq!(
            wire.map(|wire| (wire.output_bytes, wire.handles)),
            Some((1, 1))
        );
    }

    /// Every field travels: one that is dropped on the way is a limit that nobody enforces.
    #[test]
    fn every_limit_travels() {
        let limits = Limits {
            timeout: Some(Duration::from_millis(1)),
            cpu: Some(Duration::from_millis(2)),
            memory_bytes: Some(3),
            payload_bytes: Some(4),
            host_call_bytes: Some(5),
            handles: Some(6),
            open_files: Some(7),
            output_bytes: Some(8),
            output_bytes_per_second: Some(9),
        };
        assert_eq!(limits.to_wire().map(Limits::from), Some(limits));
        assert_eq!(Limits::new().to_wire(), None);
    }
}
