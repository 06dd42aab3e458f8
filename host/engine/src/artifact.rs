//! Native code on disk: one file per component and engine configuration, mapped into memory when it is loaded.
//!
//! Loading native code is running it, so a file is loaded only if this installation wrote it. Each file is the artifact as
//! wasmtime wants it, from the first byte on, followed by a trailer with a keyed MAC over the key and the artifact
//! ([`sealed`]). The descriptor that was checked is the one that is handed out, so no other file can slip in between.
//!
//! - **Named** by the component's digest, the wasmtime version, the configuration and the CPU's features ([`key`]): what was
//!   compiled for another engine is never found, so nothing has to be told apart later.
//! - **Checked** at the first load in this process; later loads compare inode, size and change time.
//! - **Discarded** with a warning when anything is wrong with it: the component is compiled again.
//! - **Evicted** by last use when the directory passes its budget. A mapped file lives on until it is unmapped.
//!
//! Always true: a file appears under its name whole, or, after a power cut, is found out and discarded; several processes may
//! share one directory.
//! Not done here: compiling ([`crate::compile`]), keeping loaded components ([`crate::component`]).

mod evict;
mod key;
mod sealed;

pub(crate) use key::{Configuration, Key};

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, FileTimes};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

/// How old a file's last use may be on disk. Writing it at every load would cost a write per cold start.
const USE_GRANULARITY: Duration = Duration::from_hours(1);

/// Why the store could not do its part. The compiled artifact itself is not lost by this.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No room left on the disk or in the quota.
    #[error("no room for compiled components in `{}`", directory.display())]
    DiskFull { directory: PathBuf },
    /// Anything else the file system answered.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: Arc<io::Error>,
    },
    /// No randomness for the installation's key.
    #[error("cannot make the key that protects compiled components: {0}")]
    Random(String),
}

impl Error {
    /// What the operator can do, as one sentence.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::DiskFull { .. } => Some(
                "free some space, or keep less with `lydian up --artifact-cache`: components compile again at each start",
            ),
            Self::Io { .. } => {
                Some("the data directory must be writable by the user that runs the node")
            }
            Self::Random(_) => None,
        }
    }
}

/// An artifact that may be mapped.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) file: File,
    /// Bytes of the file, the trailer included.
    pub(crate) bytes: u64,
}

/// The directory of artifacts. One per engine; shared by reference.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
    mac_key: key::MacKey,
    budget_bytes: u64,
    /// Bytes in the directory as far as known; `None` until the first save, because a start should not list 10,000 files.
    used_bytes: Mutex<Option<u64>>,
    /// Files that were checked by this process, as they looked then.
    checked: Mutex<HashMap<Key, Stamp>>,
}

/// Tells a file that was changed or replaced from the one that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Store {
    /// Opens the directory, making it and the installation's key where they are missing.
    pub(crate) fn open(directory: &Path, budget_bytes: u64) -> Result<Self, Error> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .and_then(|()| close(directory))
            .map_err(|error| Error::io("create", directory, error))?;
        Ok(Self {
            directory: directory.to_owned(),
            mac_key: key::MacKey::open(directory)?,
            budget_bytes,
            used_bytes: Mutex::new(None),
            checked: Mutex::new(HashMap::new()),
        })
    }

    /// The artifact under `key`, or `None` when it must be compiled: it is not there, or was not right and is gone now.
    pub(crate) fn load(&self, key: &Key) -> Option<Stored> {
        let path = self.path(key);
        match self.open_checked(key, &path) {
            Ok(stored) => Some(stored),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(artifact = %key, %error, "discarded a compiled component: it is compiled again");
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    fn open_checked(&self, key: &Key, path: &Path) -> io::Result<Stored> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        let stamp = Stamp::of(&file)?;
        let known = self.checked.lock().get(key) == Some(&stamp);
        if !known {
            sealed::check(&file, stamp.bytes, key, &self.mac_key)?;
        }
        let stamp = if mark_used(&file)? {
            Stamp::of(&file)?
        } else {
            stamp
        };
        self.checked.lock().insert(*key, stamp);
        Ok(Stored {
            file,
            bytes: stamp.bytes,
        })
    }

    /// Bytes of the file under `key`, if there is one.
    pub(crate) fn size(&self, key: &Key) -> Option<u64> {
        fs::symlink_metadata(self.path(key))
            .ok()
            .map(|file| file.len())
    }

    /// Writes an artifact to a temporary file and renames it. [`Store::sync`] brings it to the disk; until then it can be used,
    /// and lost to a power cut: the MAC tells a file that came back in pieces, so nobody has to wait for the disk.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Io`]; nothing is left behind.
    pub(crate) fn save(&self, key: &Key, artifact: &[u8]) -> Result<Stored, Error> {
        let temporary = temporary(&self.directory, &key.to_string());
        let written = self.write(key, artifact, &temporary).and_then(|file| {
            fs::rename(&temporary, self.path(key))?;
            let stamp = Stamp::of(&file)?;
            Ok((file, stamp))
        });
        let (file, stamp) = written.map_err(|error| {
            let _ = fs::remove_file(&temporary);
            Error::write(&self.directory, error)
        })?;
        self.checked.lock().insert(*key, stamp);
        self.keep_budget(stamp);
        Ok(Stored {
            file,
            bytes: stamp.bytes,
        })
    }

    fn write(&self, key: &Key, artifact: &[u8], path: &Path) -> io::Result<File> {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(artifact)?;
        file.write_all(&sealed::trailer(key, artifact, &self.mac_key))?;
        Ok(file)
    }

    /// Waits until a saved artifact is on the disk; what cannot be brought there is taken away.
    pub(crate) fn sync(&self, key: &Key, stored: &Stored) {
        if let Err(error) = stored.file.sync_data() {
            tracing::warn!(artifact = %key, %error, "a compiled component did not reach the disk");
            let _ = fs::remove_file(self.path(key));
        }
    }

    fn keep_budget(&self, new: Stamp) {
        let mut used = self.used_bytes.lock();
        let total = used.map_or_else(
            || evict::used_bytes(&self.directory),
            |used| used.saturating_add(new.bytes),
        );
        let total = if total > self.budget_bytes {
            evict::oldest(&self.directory, self.budget_bytes, new.inode)
        } else {
            total
        };
        *used = Some(total);
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.directory.join(format!("{key}{}", evict::ARTIFACT))
    }
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "not a regular file",
            ));
        }
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// A directory that others may enter was made by somebody else: what is mapped from here is run.
fn close(directory: &Path) -> io::Result<()> {
    let mut permissions = fs::metadata(directory)?.permissions();
    if permissions.mode() & 0o077 == 0 {
        return Ok(());
    }
    permissions.set_mode(0o700);
    fs::set_permissions(directory, permissions)
}

/// A name that no other thread or process uses.
fn temporary(directory: &Path, name: &str) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    directory.join(format!("{name}.{process}-{count}{}", evict::TEMPORARY))
}

/// Writes down that the file is used now, unless that was done lately. Says whether it did.
fn mark_used(file: &File) -> io::Result<bool> {
    let now = SystemTime::now();
    let modified = file.metadata()?.modified()?;
    let fresh = now
        .duration_since(modified)
        .is_ok_and(|age| age < USE_GRANULARITY);
    if fresh {
        return Ok(false);
    }
    file.set_times(FileTimes::new().set_modified(now))?;
    Ok(true)
}

/// An artifact that could not be stored, kept in memory as a file so that it loads the same way.
pub(crate) fn in_memory(artifact: &[u8]) -> Result<Stored, Error> {
    let make = || -> io::Result<File> {
        use rustix::fs::{MemfdFlags, SealFlags};
        let mut file = File::from(rustix::fs::memfd_create(
            "lydian-artifact",
            MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
        )?);
        file.write_all(artifact)?;
        rustix::fs::fcntl_add_seals(
            &file,
            SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
        )?;
        Ok(file)
    };
    let file = make().map_err(|error| Error::io("keep in memory", Path::new("artifact"), error))?;
    Ok(Stored {
        file,
        bytes: artifact.len() as u64,
    })
}

impl Error {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }

    fn write(directory: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull {
                directory: directory.to_owned(),
            },
            _ => Self::io("write to", directory, source),
        }
    }
}

#[cfg(test)]
mod tests;
