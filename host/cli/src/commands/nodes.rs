//! The nodes that live on a data directory: each says in a file of its own where it listens.
//!
//! ```text
//! DATA_DIR/nodes/STARTED-PID    http://127.0.0.1:7070
//! ```
//!
//! A node keeps its file locked as long as it lives, and no way of ending it leaves the lock behind. So a file that can
//! be locked is that of a node which was killed, and whoever finds it removes it. No node touches another's.

use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// In the data directory.
const DIR: &str = "nodes";

/// The file of a node of this process; it goes when this does.
pub(super) struct NodeFile {
    path: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl NodeFile {
    /// Tells commands on the same data directory where this node listens.
    ///
    /// # Errors
    /// No file can be written there: a full disk, say.
    pub(super) fn write(data_dir: &Path, url: &str) -> std::io::Result<Self> {
        let dir = data_dir.join(DIR);
        fs::create_dir_all(&dir)?;
        let started = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        // Names are never used again, so nobody who removes a dead node's file can meet a living one's.
        let name = format!("{:020}-{}", started.as_nanos(), std::process::id());
        let hidden = dir.join(format!(".{name}"));
        let path = dir.join(name);
        let written = Self::locked(&hidden, url).and_then(|file| {
            // Nobody sees it before it is locked and whole.
            fs::rename(&hidden, &path)?;
            Ok(file)
        });
        match written {
            Ok(_file) => Ok(Self { path, _file }),
            Err(error) => {
                let _ = fs::remove_file(&hidden);
                Err(error)
            }
        }
    }

    fn locked(path: &Path, url: &str) -> std::io::Result<File> {
        let mut file = File::create_new(path)?;
        // A file system without locks: then nobody else can lock it either, and all depends on who answers.
        let _ = file.try_lock();
        file.write_all(format!("{url}\n").as_bytes())?;
        Ok(file)
    }
}

impl Drop for NodeFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The URLs of the nodes that live on a data directory, the one started last first.
pub(super) fn living(data_dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(data_dir.join(DIR)).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| !is_hidden(path))
        .collect();
    // A name begins with the time.
    files.sort_unstable_by(|a, b| b.cmp(a));
    files.iter().filter_map(|path| url_of(path)).collect()
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_none_or(|name| name.starts_with('.'))
}

/// Where the node of this file listens; none, and no file any more, when it is gone.
fn url_of(path: &Path) -> Option<String> {
    let file = File::open(path).ok()?;
    match file.try_lock_shared() {
        Ok(()) => {
            let _ = fs::remove_file(path);
            None
        }
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {
            let text = fs::read_to_string(path).ok()?;
            Some(text.trim().to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path) -> usize {
        fs::read_dir(dir.join(DIR)).unwrap().count()
    }

    #[test]
    fn each_node_is_found_until_its_own_end() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(living(dir.path()), Vec::<String>::new());
        let first = NodeFile::write(dir.path(), "http://first").unwrap();
        let second = NodeFile::write(dir.path(), "http://second").unwrap();
        assert_eq!(living(dir.path()), ["http://second", "http://first"]);
        drop(second);
        assert_eq!(living(dir.path()), ["http://first"]);
        drop(first);
        assert_eq!(files(dir.path()), 0);
    }

    #[test]
    fn the_file_of_a_killed_node_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let node = NodeFile::write(dir.path(), "http://living").unwrap();
        fs::write(dir.path().join(DIR).join("1-1"), "http://killed\n").unwrap();
        assert_eq!(living(dir.path()), ["http://living"]);
        assert_eq!(files(dir.path()), 1);
        drop(node);
    }
}
