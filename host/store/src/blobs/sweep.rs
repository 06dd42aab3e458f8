//! Collection: removes what nothing uses and nobody has touched for the grace.
//!
//! Finding, reading or storing a blob makes it young, under the shared lock; a blob is looked at again and
//! removed under the exclusive one. So whoever was told that a blob is there has a whole grace to commit
//! something that uses it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lydian_value::Digest;

use super::fs::{Dir, is_at};
use super::{LiveSet, Swept};
use crate::{Error, Result};

/// How long a corrupt entry is kept for whoever wants to know what happened to it.
const QUARANTINE_KEEP: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Dir {
    pub(super) fn sweep(&self, live: &LiveSet, grace: Duration) -> Result<Swept> {
        let before = self
            .now()
            .checked_sub(grace)
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let mut swept = Swept::default();
        for fan in 0..=u8::MAX {
            for path in files(&self.root().join(format!("{fan:02x}")))? {
                let digest = path
                    .file_name()
                    .and_then(|name| name.to_str()?.parse::<Digest>().ok());
                let unused = digest.is_some_and(|digest| !live.contains(&digest));
                if unused && is_old(&path, before)? {
                    let _lock = self.lock_exclusive()?;
                    if is_old(&path, before)? {
                        swept.bytes += remove(&path)?;
                        swept.blobs += 1;
                    }
                }
            }
        }
        for dir in [self.partials(), self.temporaries()] {
            for path in files(&dir)? {
                if is_old(&path, before)?
                    && let Some(bytes) = remove_abandoned(&path)?
                {
                    swept.bytes += bytes;
                    swept.uploads += 1;
                }
            }
        }
        self.clear_quarantine(grace)?;
        Ok(swept)
    }

    fn clear_quarantine(&self, grace: Duration) -> Result<()> {
        let before = self.now().checked_sub(grace.max(QUARANTINE_KEEP));
        for path in files(&self.quarantine())? {
            if is_old(&path, before.unwrap_or(SystemTime::UNIX_EPOCH))? {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let list = |error| Error::io("list", dir, error);
    match fs::read_dir(dir) {
        Ok(entries) => entries
            .map(|entry| Ok(entry.map_err(list)?.path()))
            .collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(list(error)),
    }
}

/// Whether the file was last stored, found or read by then. A file that is gone is not old.
fn is_old(path: &Path, before: SystemTime) -> Result<bool> {
    match fs::metadata(path).and_then(|metadata| metadata.modified()) {
        Ok(modified) => Ok(modified <= before),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("look at", path, error)),
    }
}

fn remove(path: &Path) -> Result<u64> {
    let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
    match fs::remove_file(path) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::io("remove", path, error)),
    }
}

/// Removes an upload's file unless somebody is at it, who holds its lock.
fn remove_abandoned(path: &Path) -> Result<Option<u64>> {
    let Ok(file) = File::open(path) else {
        return Ok(None);
    };
    if file.try_lock().is_err() || !is_at(&file, path) {
        return Ok(None);
    }
    remove(path).map(Some)
}
