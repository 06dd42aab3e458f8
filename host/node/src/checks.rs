//! What `lydian doctor` asks a node about besides its sandboxes.

use crate::options::Data;
use lydian_engine::{Check, CheckStatus};
use std::os::unix::fs::PermissionsExt;
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

/// Whether others can get at what the node keeps. It closes its directory when it starts; somebody may open it since.
pub(crate) fn private(data: &Data) -> Option<Check> {
    let Data::Directory(path) = data else {
        return None;
    };
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    let (status, detail, fix) = match mode & 0o077 {
        0 => (
            CheckStatus::Ok,
            "the data directory is this user's alone",
            String::new(),
        ),
        _ => (
            CheckStatus::Fail,
            "other users can enter the data directory",
            format!("run `chmod 700 {}`", path.display()),
        ),
    };
    Some(Check {
        name: "data-private",
        status,
        detail: detail.into(),
        fix,
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

    /// What functions are given and answer lies there.
    #[test]
    fn a_data_directory_that_others_can_enter_fails() {
        let directory = tempfile::tempdir().expect("a directory");
        let data = Data::Directory(directory.path().to_owned());
        let check = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(directory.path(), mode).expect("a mode");
            private(&data).expect("a check")
        };
        assert_eq!(check(0o700).status, CheckStatus::Ok);
        let open = check(0o750);
        assert_eq!(open.status, CheckStatus::Fail);
        assert!(open.fix.starts_with("run `chmod 700 /"), "{open:?}");
        assert_eq!(private(&Data::Memory), None);
    }

    #[test]
    fn a_node_in_memory_has_no_disk_to_check() {
        assert_eq!(disk(&Data::Memory), None);
        assert!(disk(&Data::Directory(std::env::temp_dir())).is_some());
    }
}
