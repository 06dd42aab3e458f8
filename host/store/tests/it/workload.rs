//! A program that writes without end and says what was acknowledged, and the check of what it left behind.
//!
//! Shared by the kill -9 tests here and the power cuts in the workspace's `tests/lossyfs`. A test runs its own
//! executable again as the program ([`child`]), stops it at a moment of its choosing, and verifies
//! ([`Acks::verify`]): what was acknowledged is there, the one operation per writer that may have been under
//! way is there as a whole or not at all, and nothing else is.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use lydian_store::{
    Epoch, FunctionKey, Guard, JobId, Key, NewJob, NewVersion, Outcome, Range, Shard, Store, Write,
};
use lydian_value::Digest;

const DIR: &str = "LYDIAN_STORE_WORKLOAD_DIR";
const ROUND: &str = "LYDIAN_STORE_WORKLOAD_ROUND";

/// Writers of each kind at once: enough that commits are grouped.
const WRITERS: u64 = 4;

/// Jobs whose number it divides are claimed and never finished.
const UNFINISHED: u64 = 5;

const NODE: &str = "node";

/// The program, when the environment says that this process is it; else does nothing. Never returns then.
pub(crate) fn child() {
    let (Ok(dir), Ok(round)) = (std::env::var(DIR), std::env::var(ROUND)) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Store::open(&dir).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            tasks.spawn(write_keys(store.clone(), writer));
            tasks.spawn(deploy(store.clone(), writer));
            tasks.spawn(run_jobs(store.clone(), writer));
            tasks.spawn(store_blobs(store.clone(), format!("{round}/{writer}")));
        }
        // They go on until the process is killed; one that ends has failed.
        tasks.join_next().await.unwrap().unwrap();
    });
}

/// Said only after the store has answered; one system call, so a killed process leaves whole lines.
fn ack(kind: &str, writer: impl std::fmt::Display, number: u64) {
    let line = format!("ack {kind} {writer} {number}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

fn item(writer: u64, number: u64) -> Key {
    format!("item/{writer}/{number:06}").into()
}

/// Each commit writes an item and the count of items, in one transaction.
async fn write_keys(store: Store, writer: u64) {
    let counter = Key::from(format!("count/{writer}"));
    let mut entry = store.meta().get(&counter).await.unwrap();
    loop {
        let next = entry.as_ref().map_or(0, |entry| number(&entry.value)) + 1;
        let guard = match &entry {
            Some(entry) => Guard::RevIs(counter.clone(), entry.rev),
            None => Guard::Absent(counter.clone()),
        };
        let value = Bytes::from(next.to_string());
        let writes = vec![
            Write::Put(item(writer, next), value.clone()),
            Write::Put(counter.clone(), value.clone()),
            Write::Delete(item(writer, next.saturating_sub(50))),
        ];
        let rev = store.meta().commit(vec![guard], writes).await.unwrap().rev;
        entry = Some(lydian_store::Entry { rev, value });
        ack("key", writer, next);
    }
}

async fn deploy(store: Store, writer: u64) {
    let app = format!("app-{writer}");
    let first = store
        .catalog()
        .app("main", &app)
        .unwrap()
        .map_or(0, |app| app.current.number);
    for next in first + 1.. {
        let new = NewVersion {
            environment: "main".into(),
            app: app.clone(),
            component: Digest::of(&next.to_le_bytes()),
            manifest: Bytes::from(format!("{{\"number\": {next}}}")),
            message: String::new(),
            commit: String::new(),
            client: String::new(),
        };
        let deployed = store.catalog().deploy(new, Some(next - 1)).await.unwrap();
        assert_eq!(deployed.version.number, next);
        ack("version", writer, next);
    }
}

fn function(writer: u64) -> FunctionKey {
    FunctionKey {
        environment: "main".into(),
        app: "app".into(),
        function: format!("f{writer}"),
    }
}

fn shard(writer: u64) -> Shard {
    Shard::of(&format!("f{writer}").into())
}

fn job_id(writer: u64, number: u64) -> JobId {
    format!("job-{writer}-{number}").into()
}

async fn run_jobs(store: Store, writer: u64) {
    let function = function(writer);
    let shard = shard(writer);
    let lease = shard.lease();
    let ttl = Duration::from_secs(600);
    let epoch: Epoch = store
        .leases()
        .acquire(&lease, &NODE.into(), ttl)
        .await
        .unwrap()
        .unwrap();
    ack("epoch", writer, epoch);
    let mut next = 1;
    while store
        .jobs()
        .job(&job_id(writer, next))
        .await
        .unwrap()
        .is_some()
    {
        next += 1;
    }
    for next in next.. {
        let id = job_id(writer, next);
        let job = NewJob {
            id: id.clone(),
            function: function.clone(),
            shard: Some(shard),
            group: "app@1".into(),
            request: None,
            payload: id.to_string().into(),
            details: Bytes::new(),
            idempotency_key: Some(next.to_string()),
            due_at_ms: None,
            max_attempts: 1_000,
            blobs: Vec::new(),
        };
        store.jobs().enqueue(vec![job]).await.unwrap();
        ack("job", writer, next);
        for claimed in store.jobs().claim(shard, epoch, 10).await.unwrap() {
            let number = number(
                claimed
                    .job
                    .id
                    .as_str()
                    .rsplit('-')
                    .next()
                    .unwrap()
                    .as_bytes(),
            );
            if number.is_multiple_of(UNFINISHED) {
                continue;
            }
            let done = (
                claimed.job.id,
                claimed.attempt,
                Outcome::Succeeded(claimed.payload),
            );
            store.jobs().finish(vec![done]).await.unwrap();
            ack("finished", writer, number);
        }
    }
}

/// Bytes that depend on a name.
fn blob(name: &str, len: usize) -> Bytes {
    let block = Digest::of(name.as_bytes());
    let mut bytes: Vec<u8> = block.as_bytes().iter().copied().cycle().take(len).collect();
    // Blocks lost in the middle must show.
    for (index, chunk) in bytes.chunks_mut(4096).enumerate() {
        chunk[0] = index as u8;
    }
    bytes.into()
}

async fn store_blobs(store: Store, writer: String) {
    for next in 1.. {
        let bytes = blob(
            &format!("{writer}/{next}"),
            (next as usize * 7_919) % 200_000,
        );
        let digest = Digest::of(&bytes);
        match next % 3 {
            0 => {
                store.blobs().put(bytes).await.unwrap();
            }
            // Every third is left half done.
            kind => {
                let mut upload = store
                    .blobs()
                    .upload(&digest, bytes.len() as u64)
                    .await
                    .unwrap();
                upload.write(bytes.slice(..bytes.len() / 2)).await.unwrap();
                if kind == 1 {
                    continue;
                }
                upload.write(bytes.slice(bytes.len() / 2..)).await.unwrap();
                upload.finish().await.unwrap();
            }
        }
        ack("blob", digest, next);
    }
}

/// What the program said, over all its runs on one directory.
#[derive(Default)]
pub(crate) struct Acks {
    /// Highest number per kind and writer.
    highest: BTreeMap<(String, String), u64>,
    finished: Vec<(u64, u64)>,
    blobs: Vec<Digest>,
    rounds: u64,
}

impl Acks {
    /// Runs the program on `dir` until it has acknowledged about `enough` operations, then kills it. `test`
    /// is the name of the test that calls [`child`].
    pub(crate) fn run_and_kill(&mut self, test: &str, dir: &Path, enough: usize) {
        self.rounds += 1;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(DIR, dir)
            .env(ROUND, self.rounds.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut heard = 0;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while heard < enough {
            let line = lines.next().expect("the program ended by itself").unwrap();
            heard += usize::from(self.hear(&line));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts, too.
        for line in lines {
            self.hear(&line.unwrap());
        }
    }

    fn hear(&mut self, line: &str) -> bool {
        let Some(said) = line.find("ack ").map(|at| &line[at + 4..]) else {
            return false;
        };
        let [kind, writer, number] = said.split(' ').collect::<Vec<_>>()[..] else {
            return false;
        };
        let number: u64 = number.parse().unwrap();
        match kind {
            "blob" => self.blobs.push(writer.parse().unwrap()),
            "finished" => self.finished.push((writer.parse().unwrap(), number)),
            _ => {
                let highest = self
                    .highest
                    .entry((kind.into(), writer.into()))
                    .or_default();
                assert!(number > *highest, "{line} after {highest}");
                *highest = number;
            }
        }
        true
    }

    /// What was acknowledged as the highest, and what was found; at most one more can be.
    fn raise(&mut self, kind: &str, writer: u64, found: u64) {
        let highest = self
            .highest
            .entry((kind.into(), writer.to_string()))
            .or_default();
        let allowed = *highest..=*highest + 1;
        assert!(
            allowed.contains(&found),
            "{kind} of {writer}: acknowledged {highest}, found {found}"
        );
        *highest = found;
    }

    /// Opens the store and checks all of it.
    pub(crate) fn verify(&mut self, dir: &Path) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let store = Store::open(dir).await.unwrap();
            for writer in 0..WRITERS {
                self.verify_keys(&store, writer).await;
                self.verify_versions(&store, writer).await;
                self.verify_jobs(&store, writer).await;
            }
            self.verify_blobs(&store, &dir.join("blobs")).await;
        });
        drop(runtime);
        let database = rusqlite::Connection::open(dir.join("meta.sqlite")).unwrap();
        let check: String = database
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
    }

    async fn verify_keys(&mut self, store: &Store, writer: u64) {
        let count = store
            .meta()
            .get(&format!("count/{writer}").into())
            .await
            .unwrap();
        let count = count.map_or(0, |entry| number(&entry.value));
        self.raise("key", writer, count);
        let range = Range::prefix(&format!("item/{writer}/").into());
        let items = store.meta().scan(range, 100).await.unwrap().items;
        let found: Vec<_> = items
            .iter()
            .map(|(key, entry)| (key.clone(), number(&entry.value)))
            .collect();
        let expected: Vec<_> = (1..=count)
            .skip(count.saturating_sub(50) as usize)
            .map(|n| (item(writer, n), n))
            .collect();
        assert_eq!(found, expected);
    }

    async fn verify_versions(&mut self, store: &Store, writer: u64) {
        let app = format!("app-{writer}");
        let Some(current) = store.catalog().app("main", &app).unwrap() else {
            return self.raise("version", writer, 0);
        };
        self.raise("version", writer, current.current.number);
        let versions = store.catalog().versions("main", &app).await.unwrap();
        let numbers: Vec<_> = versions.iter().map(|version| version.number).collect();
        assert_eq!(
            numbers,
            (1..=current.current.number).rev().collect::<Vec<_>>()
        );
        assert_eq!(versions[0], current.current);
        for version in versions {
            assert_eq!(version.component, Digest::of(&version.number.to_le_bytes()));
        }
    }

    async fn verify_jobs(&mut self, store: &Store, writer: u64) {
        let lease = shard(writer).lease();
        let epoch = store
            .leases()
            .holder(&lease)
            .await
            .unwrap()
            .map_or(0, |lease| lease.epoch);
        self.raise("epoch", writer, epoch);
        let mut found = 0;
        while store
            .jobs()
            .job(&job_id(writer, found + 1))
            .await
            .unwrap()
            .is_some()
        {
            found += 1;
            let result = store
                .jobs()
                .result(&job_id(writer, found), Duration::ZERO)
                .await
                .unwrap();
            let right = Outcome::Succeeded(job_id(writer, found).to_string().into());
            match result {
                Some(outcome) => assert_eq!(outcome, right),
                None => assert!(
                    !self.finished.contains(&(writer, found)),
                    "result of {found} is lost"
                ),
            }
        }
        self.raise("job", writer, found);
        let waiting = store.jobs().depth(&function(writer)).await.unwrap().count;
        // Those never finished, and of the others the last few that were under way in each run.
        assert!(
            (found / UNFINISHED..=found / UNFINISHED + 10).contains(&waiting),
            "{waiting} of {found}"
        );
    }

    async fn verify_blobs(&self, store: &Store, dir: &Path) {
        for digest in &self.blobs {
            store.blobs().get(digest).await.unwrap();
        }
        // Whatever else is visible is whole, too.
        for fan in std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            if fan.is_dir() && fan.file_name().unwrap().len() == 2 {
                for file in std::fs::read_dir(fan).unwrap() {
                    let digest = file.unwrap().file_name().to_str().unwrap().parse().unwrap();
                    store.blobs().get(&digest).await.unwrap();
                }
            }
        }
    }

    /// Operations acknowledged so far, so that a test can say that it tested something.
    pub(crate) fn count(&self) -> u64 {
        self.highest.values().sum::<u64>() + (self.finished.len() + self.blobs.len()) as u64
    }
}

/// Some number below `end`, different each time.
pub(crate) fn random(end: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(()) % end
}
