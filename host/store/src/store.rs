//! [`Store`]: the engines of one node, put together.
//!
//! ```text
//! data directory
//!   meta.sqlite     keys, jobs, leases (with its log beside it)
//!   blobs/          see [`crate::FsBlobs`]
//! ```

use std::path::{Path, absolute};
use std::sync::Arc;
use std::time::Duration;

use crate::blobs::{LiveSet, Swept, sync_dir};
use crate::private::{close_dir, create_dir};
use crate::{
    BlobStore, Catalog, Clock, DEFAULT_MAX_BLOB_BYTES, DEFAULT_RETENTION, Error, FsBlobs,
    FsBlobsOptions, JobStore, Leases, MemoryBlobs, MemoryStore, MetaStore, Result, SqliteOptions,
    SqliteStore,
};

const DATABASE: &str = "meta.sqlite";

/// How long deletions are remembered: a watcher that was away longer reads everything again.
const KEEP_DELETIONS: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Clone)]
pub struct Options {
    pub clock: Clock,
    /// How long results of ended jobs are kept.
    pub retention: Duration,
    /// Larger blobs are refused.
    pub max_blob_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            retention: DEFAULT_RETENTION,
            max_blob_bytes: DEFAULT_MAX_BLOB_BYTES,
        }
    }
}

/// What a node keeps. Clones share it; the files are closed with the last one.
#[derive(Clone)]
pub struct Store {
    blobs: Arc<dyn BlobStore>,
    meta: Arc<dyn MetaStore>,
    jobs: Arc<dyn JobStore>,
    leases: Arc<dyn Leases>,
    catalog: Catalog,
}

impl Store {
    /// Opens the data directory, creating it if need be. Several processes may have it open.
    ///
    /// # Errors
    /// [`Error::NewerSchema`], [`Error::NotOurs`], [`Error::CorruptDatabase`], [`Error::DiskFull`], [`Error::Shared`].
    pub async fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(dir, Options::default()).await
    }

    /// As [`Store::open`], with options.
    pub async fn open_with(dir: impl AsRef<Path>, options: Options) -> Result<Self> {
        let dir = dir.as_ref().to_path_buf();
        let clock = options.clock.clone();
        let open = move || -> Result<_> {
            let limit = FsBlobsOptions {
                max_blob_bytes: options.max_blob_bytes,
            };
            make(&dir)?;
            let blobs = FsBlobs::open(dir.join("blobs"), limit)?;
            let sqlite = SqliteOptions {
                clock: options.clock,
                retention: options.retention,
            };
            Ok((blobs, SqliteStore::open(dir.join(DATABASE), sqlite)?))
        };
        let (blobs, engine) = tokio::task::spawn_blocking(open)
            .await
            .map_err(|_| Error::Closed)??;
        Self::over(Arc::new(blobs), Arc::new(engine), clock).await
    }

    /// A store that keeps nothing.
    pub async fn memory() -> Result<Self> {
        Self::memory_with(Options::default()).await
    }

    /// As [`Store::memory`], with options.
    pub async fn memory_with(options: Options) -> Result<Self> {
        let blobs = MemoryBlobs::with(options.clock.clone(), options.max_blob_bytes);
        let engine = MemoryStore::with(options.clock.clone(), options.retention);
        Self::over(Arc::new(blobs), Arc::new(engine), options.clock).await
    }

    /// A store of other engines; keys, jobs and leases must share one transaction domain.
    pub async fn over<E>(blobs: Arc<dyn BlobStore>, engine: Arc<E>, clock: Clock) -> Result<Self>
    where
        E: MetaStore + JobStore + Leases,
    {
        let catalog = Catalog::open(engine.clone(), clock).await?;
        Ok(Self {
            blobs,
            meta: engine.clone(),
            jobs: engine.clone(),
            leases: engine,
            catalog,
        })
    }

    pub fn blobs(&self) -> &Arc<dyn BlobStore> {
        &self.blobs
    }

    pub fn meta(&self) -> &Arc<dyn MetaStore> {
        &self.meta
    }

    pub fn jobs(&self) -> &Arc<dyn JobStore> {
        &self.jobs
    }

    pub fn leases(&self) -> &Arc<dyn Leases> {
        &self.leases
    }

    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Removes blobs that no version, no kept job and nothing in `more` uses, and that nobody has stored,
    /// found or read for `grace`; see [`BlobStore::sweep`].
    pub async fn collect(&self, more: LiveSet, grace: Duration) -> Result<Swept> {
        let mut live = more;
        live.extend(self.catalog.live_blobs().await?);
        live.extend(self.jobs.live_blobs().await?);
        self.blobs.sweep(&live, grace).await
    }

    /// Forgets results past their time and old deletions; to be run now and then. Returns how many.
    pub async fn expire(&self) -> Result<u64> {
        Ok(self.jobs.expire().await? + self.meta.compact(KEEP_DELETIONS).await?)
    }
}

/// Makes the data directory and makes sure that its name is on the disk: what is later flushed inside is
/// lost with it otherwise. The database is made after this, so its presence says that this was done.
fn make(dir: &Path) -> Result<()> {
    let dir = absolute(dir).map_err(|error| Error::io("find", dir, error))?;
    if dir.join(DATABASE).exists() {
        return close_dir(&dir);
    }
    let missing = dir
        .ancestors()
        .take_while(|ancestor| !ancestor.exists())
        .count();
    create_dir(&dir)?;
    close_dir(&dir)?;
    dir.ancestors()
        .skip(1)
        .take(missing.max(1))
        .try_for_each(sync_dir)
}
