//! Blobs in a directory: one file each, named by its digest, read-only to everyone but this module.
//!
//! ```text
//! ab/abcd…64 digits   whole blobs, spread over 256 directories by their first byte
//! partial/abcd…       uploads that can be resumed; locked while somebody uploads
//! temporary/abcd….N   other incoming bytes; locked likewise
//! quarantine/abcd….MS corrupt entries, with the time they were found
//! lock                shared while a blob is found or published, exclusive while one is removed
//! ```
//!
//! A file reaches its place by a rename after its bytes were flushed, and the rename is flushed before it
//! is answered; so a crash leaves no partial blob and loses no acknowledged one. The locks are the file
//! system's, so several processes can share the directory.

use std::fs::{self, File, FileTimes};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use lydian_value::Digest;

use super::read::FileReader;
use super::upload::{FsUpload, Incoming};
use super::{BlobStore, DEFAULT_MAX_BLOB_BYTES, LiveSet, Reader, Swept, Upload};
use crate::private::{self, close_dir, create_dir};
use crate::{Error, Result};

#[derive(Debug, Clone)]
pub struct FsBlobsOptions {
    /// Larger blobs are refused.
    pub max_blob_bytes: u64,
}

impl Default for FsBlobsOptions {
    fn default() -> Self {
        Self {
            max_blob_bytes: DEFAULT_MAX_BLOB_BYTES,
        }
    }
}

/// The blob directory; clones share it.
#[derive(Clone)]
pub struct FsBlobs(Arc<Dir>);

impl FsBlobs {
    /// Opens the directory, creating it if need be.
    pub fn open(dir: impl Into<PathBuf>, options: FsBlobsOptions) -> Result<Self> {
        let fans = [const { AtomicBool::new(false) }; 256];
        let dir = Dir {
            root: dir.into(),
            options,
            counter: AtomicU64::new(0),
            fans,
            opened: (SystemTime::now(), Instant::now()),
        };
        for path in [
            dir.root.clone(),
            dir.partials(),
            dir.temporaries(),
            dir.quarantine(),
        ] {
            create_dir(&path)?;
        }
        close_dir(&dir.root)?;
        Ok(Self(Arc::new(dir)))
    }

    /// Where the blob is, or would be. Reading it there skips verification.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.0.blob(digest)
    }

    #[cfg(test)]
    pub(super) fn dir(&self) -> &Arc<Dir> {
        &self.0
    }

    /// Runs file work off the asynchronous threads.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Dir>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let dir = self.0.clone();
        blocking(move || work(&dir)).await
    }
}

/// Runs `work` on a thread that may block; its panic is the caller's.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Closed),
    }
}

#[async_trait]
impl BlobStore for FsBlobs {
    async fn has_many(&self, digests: &[Digest]) -> Result<Vec<bool>> {
        let digests = digests.to_vec();
        self.run(move |dir| {
            let _lock = dir.lock_shared()?;
            digests.iter().map(|digest| dir.find(digest)).collect()
        })
        .await
    }

    async fn put(&self, bytes: Bytes) -> Result<Digest> {
        self.run(move |dir| {
            let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
            dir.check_size(&digest, size)?;
            if !dir.has_whole(&digest, size)? {
                let mut incoming = Incoming::temporary(dir, digest, size)?;
                incoming.write(&bytes)?;
                incoming.publish()?;
            }
            Ok(digest)
        })
        .await
    }

    async fn get(&self, digest: &Digest) -> Result<Bytes> {
        let digest = *digest;
        self.run(move |dir| dir.read(&digest)).await
    }

    async fn reader(&self, digest: &Digest) -> Result<Box<dyn Reader>> {
        let digest = *digest;
        self.run(move |dir| Ok(Box::new(FileReader::open(dir, &digest)?) as Box<dyn Reader>))
            .await
    }

    async fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        let digest = *digest;
        self.run(move |dir| dir.len(&dir.blob(&digest))).await
    }

    async fn offset(&self, digest: &Digest) -> Result<u64> {
        let digest = *digest;
        self.run(move |dir| match dir.len(&dir.blob(&digest))? {
            Some(size) => Ok(size),
            None => Ok(dir
                .len(&dir.partials().join(digest.to_string()))?
                .unwrap_or(0)),
        })
        .await
    }

    async fn upload(&self, digest: &Digest, size: u64) -> Result<Box<dyn Upload>> {
        let digest = *digest;
        self.run(move |dir| Ok(Box::new(FsUpload::start(dir, digest, size)?) as Box<dyn Upload>))
            .await
    }

    async fn sweep(&self, live: &LiveSet, grace: Duration) -> Result<Swept> {
        let live = live.clone();
        self.run(move |dir| dir.sweep(&live, grace)).await
    }
}

/// The directory; all of its methods block.
pub(super) struct Dir {
    root: PathBuf,
    options: FsBlobsOptions,
    counter: AtomicU64,
    /// Whether this process made sure that a fan-out directory's own name is on the disk.
    fans: [AtomicBool; 256],
    opened: (SystemTime, Instant),
}

impl Dir {
    /// Now, by which blobs are old: no later than the time that passed since the directory was
    /// opened says, for a clock that steps forward makes nothing old.
    pub(super) fn now(&self) -> SystemTime {
        let (at, since) = self.opened;
        SystemTime::now().min(at + since.elapsed())
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn partials(&self) -> PathBuf {
        self.root.join("partial")
    }

    pub(super) fn temporaries(&self) -> PathBuf {
        self.root.join("temporary")
    }

    pub(super) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.to_string();
        self.root.join(&hex[..2]).join(hex)
    }

    /// The directory of the blob, whose name is on the disk. That it exists is not enough: whoever made it
    /// may have died, or still be, before flushing the name.
    pub(super) fn fan(&self, digest: &Digest) -> Result<PathBuf> {
        let first = digest.as_bytes()[0];
        let (path, ready) = (
            self.root.join(format!("{first:02x}")),
            &self.fans[usize::from(first)],
        );
        if !ready.load(Ordering::Acquire) {
            create_dir(&path)?;
            sync_dir(&self.root)?;
            self.root.parent().map_or(Ok(()), sync_dir)?;
            ready.store(true, Ordering::Release);
        }
        Ok(path)
    }

    /// A name for incoming bytes that nobody has used in this process.
    pub(super) fn temporary(&self, digest: &Digest) -> PathBuf {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        self.temporaries()
            .join(format!("{digest}.{}-{number}", std::process::id()))
    }

    pub(super) fn check_size(&self, digest: &Digest, bytes: u64) -> Result<()> {
        let limit = self.options.max_blob_bytes;
        if bytes > limit {
            return Err(Error::BlobTooLarge {
                digest: *digest,
                bytes,
                limit,
            });
        }
        Ok(())
    }

    /// Held while a blob is found or published, so that none is removed in between.
    pub(super) fn lock_shared(&self) -> Result<File> {
        let (file, path) = self.lock_file()?;
        file.lock_shared()
            .map_err(|error| Error::io("lock", path, error))?;
        Ok(file)
    }

    /// Held while a blob is removed.
    pub(super) fn lock_exclusive(&self) -> Result<File> {
        let (file, path) = self.lock_file()?;
        file.lock()
            .map_err(|error| Error::io("lock", path, error))?;
        Ok(file)
    }

    /// A handle of its own each time: the lock belongs to the handle.
    fn lock_file(&self) -> Result<(File, PathBuf)> {
        let path = self.root.join("lock");
        let file = private::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        Ok((
            file.map_err(|error| Error::write(&path, 0, "open", error))?,
            path,
        ))
    }

    /// Whether the blob is there; if so it counts as used now. The shared lock must be held.
    fn find(&self, digest: &Digest) -> Result<bool> {
        let path = self.blob(digest);
        match touch(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("touch", path, error)),
        }
    }

    /// As [`Dir::find`], and of this size: a file cut short by a damaged disk is to be written again.
    pub(super) fn has_whole(&self, digest: &Digest, size: u64) -> Result<bool> {
        let _lock = self.lock_shared()?;
        Ok(self.len(&self.blob(digest))? == Some(size) && self.find(digest)?)
    }

    fn len(&self, path: &Path) -> Result<Option<u64>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("look at", path, error)),
        }
    }

    /// The blob's file, which counts as used now.
    pub(super) fn open(&self, digest: &Digest) -> Result<(File, PathBuf)> {
        let path = self.blob(digest);
        let _lock = self.lock_shared()?;
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::BlobNotFound { digest: *digest });
            }
            Err(error) => return Err(Error::io("open", path, error)),
        };
        touch(&path).map_err(|error| Error::io("touch", &path, error))?;
        Ok((file, path))
    }

    fn read(&self, digest: &Digest) -> Result<Bytes> {
        let (mut file, path) = self.open(digest)?;
        let read = |error| Error::io("read", &path, error);
        let size = file.metadata().map_err(read)?.len();
        // A damaged directory entry can claim any size; no blob was stored over the limit.
        let mut bytes = Vec::with_capacity(size.min(self.options.max_blob_bytes) as usize);
        file.read_to_end(&mut bytes).map_err(read)?;
        if Digest::of(&bytes) == *digest {
            return Ok(bytes.into());
        }
        Err(self.set_aside(digest, &file))
    }

    /// Moves a corrupt blob out of the way, unless a whole one has taken its place meanwhile.
    pub(super) fn set_aside(&self, digest: &Digest, corrupt: &File) -> Error {
        let path = self.blob(digest);
        let quarantine = self.quarantine().join(format!("{digest}.{}", now_ms()));
        let moved = self.lock_exclusive().and_then(|_lock| {
            if is_at(corrupt, &path) {
                fs::rename(&path, &quarantine)
                    .map_err(|error| Error::io("move aside", &path, error))?;
                sync_dir(path.parent().unwrap_or(&self.root))?;
            }
            Ok(())
        });
        match moved {
            Ok(()) => {
                tracing::warn!(digest = %digest.short(), path = %quarantine.display(), "corrupt blob moved aside");
                Error::CorruptEntry {
                    digest: *digest,
                    quarantine,
                }
            }
            Err(error) => error,
        }
    }
}

fn touch(path: &Path) -> io::Result<()> {
    // Opened for reading: the owner may set times, and a blob is never open for writing.
    File::open(path)?.set_times(FileTimes::new().set_modified(SystemTime::now()))
}

fn now_ms() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis()
}

/// Whether the open file is the one that now has this name.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(file), Ok(named)) => (file.dev(), file.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// Flushes a directory's names.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| Error::write(path, 0, "flush", error))
}
