//! Native code on disk: one file per component and engine configuration, mapped into memory when it is loaded.
//!
//! Loading native code is running it, so a file is loaded only if this installation wrote it. Each file is the artifact as
//! wasmtime wants it, from the first byte on, followed by a trailer with a keyed MAC over the key and the artifact
//! ([`sealed`]). The descriptor that was checked is the one that is handed out, so no other file can slip in between.
//!
//! - **Named** by the component's digest, the wasmtime version, the configuration and the CPU's features ([`key`]): what was
//!   compiled for another engine is never found, so nothing has to be told apart later.
//! - **Checked** once: whoever has checked a file, or written it, leaves a MAC of the file's identity (device, inode, size, times
//!   of change) beside it, and later loads compare that. Nothing can be changed in a file that keeps its time of change.
//! - **Discarded** with a warning when it is proved not to be what was written: the component is compiled again. A file that
//!   cannot be read now is left alone, as its bytes may be sound.
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
use std::io::{self, Read, Write};
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

/// Why a file cannot be used.
#[derive(Debug)]
enum Unusable {
    /// Its bytes are not what this installation wrote under the key.
    Wrong(&'static str),
    /// They could not be had, and may be sound.
    Unread(io::Error),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Unread(error)
    }
}

impl From<Unusable> for io::Error {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Unread(error) => error,
            Unusable::Wrong(reason) => Self::new(io::ErrorKind::InvalidData, reason),
        }
    }
}

/// Whether the process, or the machine, is short of something at the moment.
fn is_shortage(error: &io::Error) -> bool {
    const SHORTAGES: [i32; 5] = [
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOMEM,
        libc::EAGAIN,
        libc::EINTR,
    ];
    error
        .raw_os_error()
        .is_some_and(|code| SHORTAGES.contains(&code))
}

/// Tells a file that was changed or replaced from the one that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
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

    /// The artifact under `key`, or `None` when it must be compiled: it is not there, cannot be
    /// read, or was not right and is gone now.
    ///
    /// # Errors
    /// [`Error::Io`] when this process has no descriptor or memory to spare: it had none for compiling either, and the artifact
    /// will be there once it has.
    pub(crate) fn load(&self, key: &Key) -> Result<Option<Stored>, Error> {
        let path = self.path(key);
        match self.open_checked(key, &path) {
            Ok(stored) => Ok(Some(stored)),
            Err(Unusable::Wrong(reason)) => {
                tracing::warn!(artifact = %key, reason, "discarded a compiled component: it is compiled again");
                let _ = fs::remove_file(&path);
                let _ = fs::remove_file(self.note_path(key));
                Ok(None)
            }
            Err(Unusable::Unread(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(Unusable::Unread(error)) if is_shortage(&error) => {
                Err(Error::io("read", &path, error))
            }
            Err(Unusable::Unread(error)) => {
                tracing::warn!(artifact = %key, %error, "cannot read a compiled component: it is compiled again");
                Ok(None)
            }
        }
    }

    fn open_checked(&self, key: &Key, path: &Path) -> Result<Stored, Unusable> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = match File::options().read(true).custom_flags(flags).open(path) {
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                return Err(Unusable::Wrong("it is a link"));
            }
            opened => opened?,
        };
        let stamp = Stamp::of(&file)?;
        let known = self.checked.lock().get(key) == Some(&stamp);
        let noted = known || self.is_noted(key, &stamp);
        if !noted {
            sealed::check(&file, stamp.bytes, key, &self.mac_key)?;
        }
        let (stamp, marked) = match mark_used(&file)? {
            true => (Stamp::of(&file)?, true),
            false => (stamp, false),
        };
        self.checked.lock().insert(*key, stamp);
        // A power cut must not leave the note of bytes that it takes.
        if (!noted && file.sync_data().is_ok()) || (noted && marked) {
            self.note(key, &stamp);
        }
        Ok(Stored {
            file,
            bytes: stamp.bytes,
        })
    }

    /// Whether this installation has noted that the file with this identity was checked.
    fn is_noted(&self, key: &Key, stamp: &Stamp) -> bool {
        let mut noted = [0; sealed::NOTE_BYTES];
        let path = self.note_path(key);
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = File::options().read(true).custom_flags(flags).open(path);
        let read = file.and_then(|mut file| file.read_exact(&mut noted));
        // Compared in constant time.
        read.is_ok() && blake3::Hash::from_bytes(noted) == self.note_of(key, stamp)
    }

    /// Notes that the file with this identity was checked. Where it cannot be, the file is checked
    /// again.
    fn note(&self, key: &Key, stamp: &Stamp) {
        let temporary = temporary(&self.directory, &key.to_string());
        let mut options = File::options();
        options.write(true).create_new(true).mode(0o600);
        let written = options
            .open(&temporary)
            .and_then(|mut file| file.write_all(self.note_of(key, stamp).as_bytes()))
            .and_then(|()| fs::rename(&temporary, self.note_path(key)));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
    }

    fn note_of(&self, key: &Key, stamp: &Stamp) -> blake3::Hash {
        sealed::note(key, &stamp.to_bytes(), &self.mac_key)
    }

    fn note_path(&self, key: &Key) -> PathBuf {
        self.directory.join(format!("{key}{}", evict::NOTE))
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
            Ok((Stamp::of(&file)?, file))
        });
        let (stamp, file) = written.map_err(|unusable| {
            let _ = fs::remove_file(&temporary);
            Error::write(&self.directory, unusable.into())
        })?;
        self.checked.lock().insert(*key, stamp);
        self.keep_budget(stamp);
        Ok(Stored {
            file,
            bytes: stamp.bytes,
        })
    }

    fn write(&self, key: &Key, artifact: &[u8], path: &Path) -> Result<File, Unusable> {
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
        } else if let Some(saved) = self.checked.lock().get(key).copied()
            && Stamp::of(&stored.file).is_ok_and(|stamp| stamp == saved)
        {
            // The stamp of what was written, not of what has become of it since.
            self.note(key, &saved);
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
    fn of(file: &File) -> Result<Self, Unusable> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Unusable::Wrong("it is not a regular file"));
        }
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    fn to_bytes(self) -> [u8; 56] {
        let (modified, changed) = (self.modified, self.changed);
        let mut bytes = [0; 56];
        let numbers = [
            self.device.to_le_bytes(),
            self.inode.to_le_bytes(),
            self.bytes.to_le_bytes(),
            modified.0.to_le_bytes(),
            modified.1.to_le_bytes(),
            changed.0.to_le_bytes(),
            changed.1.to_le_bytes(),
        ];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number);
        }
        bytes
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
