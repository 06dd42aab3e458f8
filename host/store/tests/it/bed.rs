//! The engines under test, each with a clock that the test moves.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lydian_store::{
    BlobStore, Clock, FsBlobs, FsBlobsOptions, FunctionKey, JobStore, Leases, MemoryBlobs,
    MemoryStore, MetaStore, NewJob, Options, Shard, SqliteOptions, SqliteStore, Store,
};
use tempfile::TempDir;

/// Some point in time; tests count from here.
pub(crate) const START_MS: u64 = 1_700_000_000_000;

pub(crate) const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Runs each function over every engine of keys, jobs and leases.
macro_rules! conformance {
    ($bed:ident: $($(#[$doc:meta])* async fn $name:ident($arg:ident) $body:block)*) => {
        $($(#[$doc])* async fn $name($arg: &crate::bed::$bed) $body)*
        mod on_memory {
            $(#[tokio::test] async fn $name() { super::$name(&crate::bed::$bed::memory()).await })*
        }
        mod on_disk {
            $(#[tokio::test] async fn $name() { super::$name(&crate::bed::$bed::disk()).await })*
        }
    };
}
pub(crate) use conformance;

pub(crate) trait Engine: MetaStore + JobStore + Leases {}
impl<T: MetaStore + JobStore + Leases> Engine for T {}

/// An engine of keys, jobs and leases.
pub(crate) struct Bed {
    pub(crate) store: Arc<dyn Engine>,
    pub(crate) clock: Clock,
    _dir: Option<TempDir>,
}

impl Bed {
    pub(crate) fn memory() -> Self {
        let clock = Clock::manual(START_MS);
        Self {
            store: Arc::new(MemoryStore::with(clock.clone(), WEEK)),
            clock,
            _dir: None,
        }
    }

    pub(crate) fn disk() -> Self {
        let (clock, dir) = (Clock::manual(START_MS), TempDir::new().unwrap());
        let options = SqliteOptions {
            clock: clock.clone(),
            retention: WEEK,
        };
        let store = Arc::new(SqliteStore::open(dir.path().join("meta.sqlite"), options).unwrap());
        Self {
            store,
            clock,
            _dir: Some(dir),
        }
    }
}

/// An engine of blobs; `age` makes everything in it older.
pub(crate) struct BlobBed {
    pub(crate) store: Arc<dyn BlobStore>,
    clock: Clock,
    pub(crate) dir: Option<TempDir>,
}

/// The size limit of the blob beds.
pub(crate) const MAX_BLOB_BYTES: u64 = 4 << 20;

impl BlobBed {
    pub(crate) fn memory() -> Self {
        let clock = Clock::manual(START_MS);
        Self {
            store: Arc::new(MemoryBlobs::with(clock.clone(), MAX_BLOB_BYTES)),
            clock,
            dir: None,
        }
    }

    pub(crate) fn disk() -> Self {
        let dir = TempDir::new().unwrap();
        let options = FsBlobsOptions {
            max_blob_bytes: MAX_BLOB_BYTES,
        };
        let store = Arc::new(FsBlobs::open(dir.path(), options).unwrap());
        Self {
            store,
            clock: Clock::manual(START_MS),
            dir: Some(dir),
        }
    }

    /// Lets time pass: on disk by setting the files' times back.
    pub(crate) fn age(&self, by: Duration) {
        self.clock.advance(by);
        if let Some(dir) = &self.dir {
            set_back(dir.path(), by);
        }
    }
}

fn set_back(path: &std::path::Path, by: Duration) {
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            set_back(&path, by);
        } else {
            let file = std::fs::File::open(&path).unwrap();
            let modified: SystemTime = file.metadata().unwrap().modified().unwrap();
            file.set_modified(modified - by).unwrap();
        }
    }
}

/// A whole store.
pub(crate) struct StoreBed {
    pub(crate) clock: Clock,
    dir: Option<TempDir>,
}

impl StoreBed {
    pub(crate) fn memory() -> Self {
        Self {
            clock: Clock::manual(START_MS),
            dir: None,
        }
    }

    pub(crate) fn disk() -> Self {
        Self {
            clock: Clock::manual(START_MS),
            dir: Some(TempDir::new().unwrap()),
        }
    }

    pub(crate) async fn open(&self) -> Store {
        let options = Options {
            clock: self.clock.clone(),
            ..Options::default()
        };
        match &self.dir {
            Some(dir) => Store::open_with(dir.path(), options).await.unwrap(),
            None => Store::memory_with(options).await.unwrap(),
        }
    }
}

pub(crate) fn function(name: &str) -> FunctionKey {
    FunctionKey {
        environment: "main".into(),
        app: "demo".into(),
        function: name.into(),
    }
}

/// The shard that tests put a function's jobs into.
pub(crate) fn shard(name: &str) -> Shard {
    Shard::of(&name.into())
}

/// A job of function `square`.
pub(crate) fn job(id: &str) -> NewJob {
    NewJob {
        id: id.into(),
        function: function("square"),
        shard: Some(shard("square")),
        group: "demo@1".into(),
        payload: format!("payload of {id}").into(),
        details: format!("details of {id}").into(),
        idempotency_key: None,
        request: None,
        due_at_ms: None,
        max_attempts: 3,
        blobs: Vec::new(),
    }
}
