//! What the embedded engines do per second, each operation durable when it is answered.
//! Covered: from the call to its answer, over SQLite and the blob directory in the temporary directory.
//! Not covered: gRPC, sandboxes. The twins `baseline_*` do the least a durable write can do on the same disk.
//! `cargo bench -p lydian-store` (set `TMPDIR` to the disk in question; `BENCH_SECONDS` per cell, default 3)

#![allow(clippy::unwrap_used, reason = "a measurement that fails ends this way")]

use std::fs::File;
use std::future::Future;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lydian_store::{FunctionKey, NewJob, NewVersion, Outcome, Shard, Store, Write};
use lydian_value::Digest;
use tempfile::TempDir;

fn main() {
    // `cargo test` runs benches too, to see that they work.
    let measured = std::env::args().any(|arg| arg == "--bench");
    let seconds = std::env::var("BENCH_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(3.0);
    let time = Duration::from_secs_f64(if measured { seconds } else { 0.02 });
    println!(
        "{:<44} {:>10} {:>9} {:>9}",
        "operation/variant/at once", "per second", "p50 µs", "p99 µs"
    );
    baselines(time);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        commits(time).await;
        jobs(time).await;
        reads(time).await;
        blobs(time).await;
        catalog(if measured { 10_000 } else { 10 }).await;
    });
}

fn report(name: &str, operations: usize, took: Duration, mut each: Vec<Duration>) {
    each.sort_unstable();
    let micros = |part: usize| {
        let took = each.get((each.len() * part / 100).min(each.len().saturating_sub(1)));
        took.map_or("-".into(), |took| {
            format!("{:.1}", took.as_secs_f64() * 1e6)
        })
    };
    let rate = operations as f64 / took.as_secs_f64();
    println!(
        "{name:<44} {rate:>10.0} {:>9} {:>9}",
        micros(50),
        micros(99)
    );
}

/// Repeats `step` in `workers` tasks; each step answers how many operations it did.
async fn measure<F>(
    name: &str,
    time: Duration,
    workers: usize,
    step: impl Fn(usize, usize) -> F + Send + Sync + 'static,
) where
    F: Future<Output = usize> + Send,
{
    let (step, start) = (Arc::new(step), Instant::now());
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..workers {
        let step = step.clone();
        tasks.spawn(async move {
            let (mut done, mut each) = (0, Vec::new());
            while start.elapsed() < time {
                let before = Instant::now();
                done += step(worker, each.len()).await;
                each.push(before.elapsed());
            }
            (done, each)
        });
    }
    let (mut done, mut each) = (0, Vec::new());
    for (did, took) in tasks.join_all().await {
        done += did;
        each.extend(took);
    }
    report(&format!("{name}/{workers}"), done, start.elapsed(), each);
}

fn repeat(name: &str, time: Duration, mut step: impl FnMut()) {
    let (start, mut each) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        let before = Instant::now();
        step();
        each.push(before.elapsed());
    }
    report(name, each.len(), start.elapsed(), each);
}

fn baselines(time: Duration) {
    let dir = TempDir::new().unwrap();
    let mut file = File::create(dir.path().join("file")).unwrap();
    repeat("baseline_append_and_flush/256 B/1", time, || {
        file.write_all(&[7; 256]).unwrap();
        file.sync_data().unwrap();
    });
    let raw = rusqlite::Connection::open(dir.path().join("raw.sqlite")).unwrap();
    raw.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (k INTEGER PRIMARY KEY, v)")
        .unwrap();
    let mut insert = raw.prepare("INSERT INTO t (v) VALUES (?1)").unwrap();
    repeat("baseline_sqlite_insert/256 B/1", time, || {
        insert.execute([&[7; 256][..]]).unwrap();
    });
}

async fn commits(time: Duration) {
    for workers in [1, 16, 64, 256] {
        let dir = TempDir::new().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        measure("commit/256 B", time, workers, move |worker, n| {
            let store = store.clone();
            async move {
                let write = Write::Put(format!("k/{worker}/{n}").into(), vec![7; 256].into());
                store.meta().commit(vec![], vec![write]).await.unwrap();
                1
            }
        })
        .await;
    }
}

fn new_job(worker: usize, n: usize) -> NewJob {
    NewJob {
        id: format!("{worker}-{n}").into(),
        function: FunctionKey {
            environment: "main".into(),
            app: "a".into(),
            function: "f".into(),
        },
        shard: Some(Shard::of(&"f".into())),
        group: "a@1".into(),
        payload: vec![7; 256].into(),
        details: Bytes::new(),
        idempotency_key: None,
        request: None,
        due_at_ms: None,
        max_attempts: 1,
        blobs: Vec::new(),
    }
}

async fn jobs(time: Duration) {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let enqueuer = store.clone();
    measure("enqueue/256 B", time, 64, move |worker, n| {
        let store = enqueuer.clone();
        async move {
            store
                .jobs()
                .enqueue(vec![new_job(worker, n)])
                .await
                .unwrap();
            1
        }
    })
    .await;
    let shard = Shard::of(&"f".into());
    let epoch = store
        .leases()
        .acquire(&shard.lease(), &"n".into(), time * 9)
        .await
        .unwrap()
        .unwrap();
    measure("claim_and_finish/50 in a batch", time, 1, move |_, _| {
        let store = store.clone();
        async move {
            let claimed = store.jobs().claim(shard, epoch, 50).await.unwrap();
            let done = claimed.into_iter().map(|claimed| {
                (
                    claimed.job.id,
                    claimed.attempt,
                    Outcome::Succeeded(claimed.payload),
                )
            });
            store.jobs().finish(done.collect()).await.unwrap().len()
        }
    })
    .await;
}

async fn reads(time: Duration) {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let writes = (0..10_000).map(|n| Write::Put(format!("k/{n}").into(), vec![7; 256].into()));
    store.meta().commit(vec![], writes.collect()).await.unwrap();
    for workers in [1, 64] {
        let store = store.clone();
        measure("get/256 B", time, workers, move |worker, n| {
            let store = store.clone();
            async move {
                let key = format!("k/{}", (worker * 7_919 + n * 31) % 10_000).into();
                usize::from(store.meta().get(&key).await.unwrap().is_some())
            }
        })
        .await;
    }
}

async fn blobs(time: Duration) {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let putter = store.clone();
    measure("blob_put/64 KiB", time, 4, move |worker, n| {
        let store = putter.clone();
        async move {
            let mut bytes = vec![7; 64 << 10];
            bytes[..16].copy_from_slice(&[worker.to_le_bytes(), n.to_le_bytes()].concat());
            store.blobs().put(bytes.into()).await.unwrap();
            1
        }
    })
    .await;
    let digest = store.blobs().put(vec![9; 1 << 20].into()).await.unwrap();
    measure("blob_get_verified/1 MiB", time, 1, move |_, _| {
        let store = store.clone();
        async move { usize::from(store.blobs().get(&digest).await.is_ok()) }
    })
    .await;
}

async fn catalog(apps: usize) {
    let dir = TempDir::new().unwrap();
    repeat("open_and_close/empty/1", Duration::from_millis(200), || {
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current()
                .block_on(async { drop(Store::open(dir.path()).await.unwrap()) });
        });
    });
    let store = Store::open(dir.path()).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..64 {
        let store = store.clone();
        tasks.spawn(async move {
            for n in (worker..apps).step_by(64) {
                let new = NewVersion {
                    environment: "main".into(),
                    app: format!("app-{n}"),
                    component: Digest::of(&n.to_le_bytes()),
                    manifest: vec![b' '; 1_000].into_iter().chain(*b"{}").collect(),
                    message: String::new(),
                    commit: String::new(),
                    client: String::new(),
                };
                store.catalog().deploy(new, None).await.unwrap();
            }
        });
    }
    let start = Instant::now();
    tasks.join_all().await;
    report(
        &format!("deploy/{apps} apps/64"),
        apps,
        start.elapsed(),
        Vec::new(),
    );
    let time = Duration::from_millis(300);
    let catalog = store.catalog();
    repeat(&format!("list/{apps} apps/1"), time, || {
        assert_eq!(catalog.apps(None).len(), apps)
    });
    let name = format!("app-{}", apps / 2);
    repeat(&format!("look_up/one of {apps}/1"), time, || {
        assert!(catalog.app("main", &name).unwrap().is_some());
    });
    drop(store);
    repeat(&format!("open_and_close/{apps} apps/1"), time, || {
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current()
                .block_on(async { drop(Store::open(dir.path()).await.unwrap()) });
        });
    });
}
