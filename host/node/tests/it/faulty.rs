//! A store that fails when a test says so: a full disk, an unreadable blob, a panic.

use bytes::Bytes;
use futures::stream::BoxStream;
use lydian_store::{
    Accepted, Attempt, Back, BlobStore, Cancelled, Change, Claimed, Clock, Committed, Depth,
    Enqueued, Entry, Epoch, Error, FsBlobs, FsBlobsOptions, FunctionKey, Guard, Job, JobFilter,
    JobId, JobStore, Key, Lease, LeaseName, Leases, LiveSet, MetaStore, NewJob, NodeId, Outcome,
    Page, Range, Reader, Result, Retried, Rev, Shard, SqliteOptions, SqliteStore, Store, Swept,
    Turn, Turned, Upload, Write,
};
use lydian_value::Digest;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// What is broken now. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Faults(Arc<Inner>);

#[derive(Default)]
struct Inner {
    full: AtomicBool,
    unreadable: AtomicBool,
    panics: AtomicU32,
    started: AtomicU32,
}

impl Faults {
    /// Whether no write succeeds, as on a full disk.
    pub(crate) fn fill(&self, full: bool) {
        self.0.full.store(full, Ordering::SeqCst);
    }

    /// Whether no blob can be read, as of a failing disk.
    pub(crate) fn damage(&self, unreadable: bool) {
        self.0.unreadable.store(unreadable, Ordering::SeqCst);
    }

    /// The next so many records of a start panic.
    pub(crate) fn panic_at_start(&self, times: u32) {
        self.0.panics.store(times, Ordering::SeqCst);
    }

    /// How many starts were recorded.
    pub(crate) fn starts(&self) -> u32 {
        self.0.started.load(Ordering::SeqCst)
    }

    fn write(&self) -> Result<()> {
        match self.0.full.load(Ordering::SeqCst) {
            true => Err(Error::DiskFull {
                path: "/data".into(),
                bytes: 0,
            }),
            false => Ok(()),
        }
    }

    fn read(&self) -> Result<()> {
        match self.0.unreadable.load(Ordering::SeqCst) {
            true => Err(Error::Io {
                action: "read",
                path: "/data".into(),
                source: Arc::new(std::io::Error::from_raw_os_error(5)),
            }),
            false => Ok(()),
        }
    }

    /// The store of this directory, with these faults.
    pub(crate) async fn store(&self, directory: &Path) -> Store {
        std::fs::create_dir_all(directory).unwrap();
        let blobs = FsBlobs::open(directory.join("blobs"), FsBlobsOptions::default()).unwrap();
        let engine =
            SqliteStore::open(directory.join("meta.sqlite"), SqliteOptions::default()).unwrap();
        let (blobs, engine) = (Faulty(blobs, self.clone()), Faulty(engine, self.clone()));
        Store::over(Arc::new(blobs), Arc::new(engine), Clock::system())
            .await
            .unwrap()
    }
}

struct Faulty<T>(T, Faults);

#[tonic::async_trait]
impl<T: BlobStore> BlobStore for Faulty<T> {
    async fn has_many(&self, digests: &[Digest]) -> Result<Vec<bool>> {
        self.0.has_many(digests).await
    }

    async fn put(&self, bytes: Bytes) -> Result<Digest> {
        self.1.write()?;
        self.0.put(bytes).await
    }

    async fn get(&self, digest: &Digest) -> Result<Bytes> {
        self.1.read()?;
        self.0.get(digest).await
    }

    async fn reader(&self, digest: &Digest) -> Result<Box<dyn Reader>> {
        self.1.read()?;
        self.0.reader(digest).await
    }

    async fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        self.0.size(digest).await
    }

    async fn offset(&self, digest: &Digest) -> Result<u64> {
        self.0.offset(digest).await
    }

    async fn upload(&self, digest: &Digest, size: u64) -> Result<Box<dyn Upload>> {
        self.1.write()?;
        self.0.upload(digest, size).await
    }

    async fn sweep(&self, live: &LiveSet, grace: Duration) -> Result<Swept> {
        self.0.sweep(live, grace).await
    }
}

#[tonic::async_trait]
impl<T: MetaStore> MetaStore for Faulty<T> {
    async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<Committed> {
        self.1.write()?;
        self.0.commit(guards, writes).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        self.0.get(key).await
    }

    async fn scan(&self, range: Range, limit: u32) -> Result<Page> {
        self.0.scan(range, limit).await
    }

    async fn rev(&self) -> Result<Rev> {
        self.0.rev().await
    }

    async fn compact(&self, keep: Duration) -> Result<u64> {
        self.0.compact(keep).await
    }

    fn changes(&self, prefix: Key, since: Rev) -> BoxStream<'static, Result<Change>> {
        self.0.changes(prefix, since)
    }
}

#[tonic::async_trait]
impl<T: Leases> Leases for Faulty<T> {
    async fn acquire(
        &self,
        name: &LeaseName,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Option<Epoch>> {
        self.1.write()?;
        self.0.acquire(name, node, ttl).await
    }

    async fn acquire_many(
        &self,
        names: Vec<LeaseName>,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Vec<(LeaseName, Epoch)>> {
        self.1.write()?;
        self.0.acquire_many(names, node, ttl).await
    }

    async fn renew_all(&self, node: &NodeId) -> Result<Vec<(LeaseName, Epoch)>> {
        self.1.write()?;
        self.0.renew_all(node).await
    }

    async fn release(&self, name: &LeaseName, node: &NodeId, epoch: Epoch) -> Result<bool> {
        self.1.write()?;
        self.0.release(name, node, epoch).await
    }

    async fn leases(&self) -> Result<Vec<(LeaseName, Lease)>> {
        self.0.leases().await
    }

    async fn holder(&self, name: &LeaseName) -> Result<Option<Lease>> {
        self.0.holder(name).await
    }
}

#[tonic::async_trait]
impl<T: JobStore> JobStore for Faulty<T> {
    async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<Enqueued>> {
        self.1.write()?;
        self.0.enqueue(jobs).await
    }

    async fn claim(&self, shard: Shard, epoch: Epoch, max: u32) -> Result<Vec<Claimed>> {
        self.0.claim(shard, epoch, max).await
    }

    async fn claim_in_turn(&self, turn: Turn) -> Result<Turned> {
        self.0.claim_in_turn(turn).await
    }

    async fn claim_these(
        &self,
        shard: Shard,
        epoch: Epoch,
        ids: Vec<JobId>,
    ) -> Result<Vec<Claimed>> {
        self.0.claim_these(shard, epoch, ids).await
    }

    async fn unclaim(&self, jobs: Vec<JobId>) -> Result<()> {
        self.0.unclaim(jobs).await
    }

    async fn retry(
        &self,
        id: JobId,
        attempt: Attempt,
        due_at_ms: u64,
        failure: Bytes,
    ) -> Result<Retried> {
        self.1.write()?;
        self.0.retry(id, attempt, due_at_ms, failure).await
    }

    async fn give_back(&self, id: JobId, attempt: Attempt, back: Back) -> Result<Accepted> {
        self.1.write()?;
        self.0.give_back(id, attempt, back).await
    }

    async fn keep_blobs(
        &self,
        id: JobId,
        attempt: Attempt,
        blobs: Vec<Digest>,
    ) -> Result<Accepted> {
        self.1.write()?;
        self.0.keep_blobs(id, attempt, blobs).await
    }

    async fn finish(&self, done: Vec<(JobId, Attempt, Outcome)>) -> Result<Vec<Accepted>> {
        self.1.write()?;
        self.0.finish(done).await
    }

    async fn cancel(&self, id: &JobId, reason: Bytes) -> Result<Cancelled> {
        self.1.write()?;
        self.0.cancel(id, reason).await
    }

    async fn job(&self, id: &JobId) -> Result<Option<Job>> {
        self.0.job(id).await
    }

    async fn ended(&self, ids: Vec<JobId>) -> Result<Vec<JobId>> {
        self.0.ended(ids).await
    }

    async fn result(&self, id: &JobId, wait: Duration) -> Result<Option<Outcome>> {
        self.0.result(id, wait).await
    }

    async fn depth(&self, function: &FunctionKey) -> Result<Depth> {
        self.0.depth(function).await
    }

    async fn list(&self, filter: JobFilter, limit: u32) -> Result<Vec<Job>> {
        self.0.list(filter, limit).await
    }

    async fn due_shards(&self) -> Result<Vec<Shard>> {
        self.0.due_shards().await
    }

    async fn live_blobs(&self) -> Result<Vec<Digest>> {
        self.0.live_blobs().await
    }

    async fn expire(&self) -> Result<u64> {
        self.1.write()?;
        self.0.expire().await
    }

    async fn started(&self, attempts: Vec<(JobId, Attempt)>) -> Result<Vec<Accepted>> {
        self.1.write()?;
        let panics = &self.1.0.panics;
        let left = panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        });
        assert!(left.is_err(), "a fault of the test's");
        self.1.0.started.fetch_add(1, Ordering::SeqCst);
        self.0.started(attempts).await
    }
}
