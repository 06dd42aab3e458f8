//! What `lydian doctor` asks a node about besides its sandboxes.

use crate::options::Data;
use lydian_engine::{Check, CheckStatus};
use std::path::Path;

/// Less than this and uploads and results will soon fail.
const WARN_BYTES: u64 = 1 << 30;
/// Less than this and they fail now.
const FAIL_BYTES: u64 = 64 << 20;

/// The room that is left where the node keeps its state.
pub(crate) fn disk(data: &Data) -> Option<Check> {
    let Data::Directory(path) = data else {
        return None;
    };
    Some(match free_bytes(path) {
        Ok(free) => disk_check(free),
        Err(error) => Check {
            name: "disk-space",
            status: CheckStatus::Warn,
            detail: format!("cannot be told: {error}"),
            fix: "check that the data directory is there and may be read".into(),
        },
    })
}

fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn disk_check(free: u64) -> Check {
    let status = match free {
        0..FAIL_BYTES => CheckStatus::Fail,
        FAIL_BYTES..WARN_BYTES => CheckStatus::Warn,
        _ => CheckStatus::Ok,
    };
    let fix = match status {
        CheckStatus::Ok => String::new(),
        _ => "free space on the data directory's file system, or set `LYDIAN_HOME` to a larger one"
            .into(),
    };
    Check {
        name: "disk-space",
        status,
        detail: format!("{} MiB free for components and results", free >> 20),
        fix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A full disk is told before it makes a deploy fail, and with what to do.
    #[test]
    fn little_room_is_warned_of_and_none_fails() {
        assert_eq!(disk_check(10 << 30).status, CheckStatus::Ok);
        assert_eq!(disk_check(500 << 20).status, CheckStatus::Warn);
        let full = disk_check(1 << 20);
        assert_eq!(full.status, CheckStatus::Fail);
        assert!(full.fix.contains("LYDIAN_HOME"));
    }

    #[test]
    fn a_node_in_memory_has_no_disk_to_check() {
        assert_eq!(disk(&Data::Memory), None);
        assert!(disk(&Data::Directory(std::env::temp_dir())).is_some());
    }
}
