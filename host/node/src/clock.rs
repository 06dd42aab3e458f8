//! Wall time, as the API counts it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970; 0 when the machine's clock is before that.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
