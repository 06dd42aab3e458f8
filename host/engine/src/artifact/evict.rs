//! Keeps the directory of artifacts within its budget: the least recently used go first.
//!
//! Nothing here fails: a file that cannot be listed or removed is left for the next time.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Names end in these; whatever else lies in the directory is left alone.
pub(super) const ARTIFACT: &str = ".artifact";
pub(super) const TEMPORARY: &str = ".tmp";
/// Lies beside an artifact and goes with it.
pub(super) const NOTE: &str = ".checked";

/// A temporary file this old was left by a process that died: writing one takes seconds.
const ABANDONED: Duration = Duration::from_hours(1);

struct Entry {
    path: PathBuf,
    inode: u64,
    bytes: u64,
    used: SystemTime,
}

/// Bytes in the directory; takes abandoned temporary files away.
pub(super) fn used_bytes(directory: &Path) -> u64 {
    list(directory).iter().map(|entry| entry.bytes).sum()
}

/// Removes the least recently used artifacts until a tenth of the budget is free, so that the next save does not list
/// everything again. The one with the inode `keep` stays. Returns the bytes that are left.
pub(super) fn oldest(directory: &Path, budget_bytes: u64, keep: u64) -> u64 {
    let target = budget_bytes - budget_bytes / 10;
    let mut entries = list(directory);
    entries.sort_by_key(|entry| entry.used);
    let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
    let mut removed = 0_u64;
    for entry in entries.iter().filter(|entry| entry.inode != keep) {
        if total <= target {
            break;
        }
        if fs::remove_file(&entry.path).is_ok() {
            let _ = fs::remove_file(entry.path.with_extension(&NOTE[1..]));
            total = total.saturating_sub(entry.bytes);
            removed += 1;
        }
    }
    tracing::debug!(removed, total, budget_bytes, "evicted compiled components");
    total
}

fn list(directory: &Path) -> Vec<Entry> {
    let Ok(files) = fs::read_dir(directory) else {
        return Vec::new();
    };
    files.flatten().filter_map(|file| entry(&file)).collect()
}

fn entry(file: &fs::DirEntry) -> Option<Entry> {
    let name = file.file_name();
    let name = name.to_str()?;
    let metadata = file.metadata().ok()?;
    let used = metadata.modified().ok()?;
    if name.ends_with(TEMPORARY) {
        let abandoned = SystemTime::now()
            .duration_since(used)
            .is_ok_and(|age| age > ABANDONED);
        if abandoned {
            let _ = fs::remove_file(file.path());
        }
        return None;
    }
    name.ends_with(ARTIFACT).then(|| Entry {
        path: file.path(),
        inode: metadata.ino(),
        bytes: metadata.len(),
        used,
    })
}
