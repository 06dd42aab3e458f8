//! From a component's bytes to native code, once per component and installation.
//!
//! [`Compiler::artifact`] goes down these steps until one answers:
//!
//! 1. somebody else waits for the same component already: wait with them;
//! 2. the artifact is on disk, and this installation's ([`crate::artifact`]): hand it out;
//! 3. the component failed a moment ago by its own fault: the same answer again;
//! 4. fetch its bytes, check their digest, [`scan`] them;
//! 5. wait in line for one of the [`Options::workers`], each tenant in its own ([`line`]);
//! 6. compile and describe, for the engine that fits it ([`Concurrency`]), in a process of its own ([`worker`]), locked in ([`jail`]), killed at its limits ([`process`]);
//! 7. store the artifact. A full disk costs the next start its time, not this one.
//!
//! [`Compiler::describe`] does as much for a component whose description alone is missing.
//!
//! Always true: hostile bytes are validated, described and compiled in a worker only; a worker that
//! nobody waits for is killed; at most [`Options::workers`] run at once, the tenants in turn. Not
//! done here: mapping artifacts and keeping components ([`crate::component`]).

mod error;
mod flight;
mod jail;
mod line;
mod process;
mod protocol;
mod worker;

pub use error::Error;

use std::fs::File;
use std::io::PipeWriter;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use lydian_value::{Digest, Interface};
use tokio::sync::oneshot;

use crate::artifact::{self, Configuration, Key, Store, Stored};
use crate::checks::{Check, CheckStatus};
use crate::config::{Concurrency, wasmtime_config};
use crate::interface;
use crate::machine;
use crate::scan::{Caps, scan};
use flight::Flights;
use line::{Line, Turn};
use process::{Done, Job, Stopped, Worker};
use protocol::Task;

/// Long enough for the largest components (40 MiB: some 20 s on two cores), short enough that a line of hostile ones moves on.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
/// The largest components take 2 GiB on many cores; twice that is left where the machine has it.
const MOST_MEMORY_BYTES: u64 = 4 << 30;
/// Components of a few MiB compile in this.
const LEAST_MEMORY_BYTES: u64 = 512 << 20;
/// A thousand components of 1 MiB come to some 4 GiB of native code.
const DEFAULT_CACHE_BYTES: u64 = 10 << 30;
/// Somebody waits for every compilation, and others for the calls that run: beside guests on every
/// core a worker gets a quarter of one (weights 335 and 1,024), and all of it when they leave time.
const DEFAULT_NICENESS: u8 = 5;
/// Native code is three to four times as large as the component; ten times is none.
const GROWTH: u64 = 10;
/// What a component of no size may come to: memories whose data lies apart are written out, 16 MiB
/// each.
const BASE_ARTIFACT_BYTES: u64 = 64 << 20;
/// Below the data directory.
const CACHE_DIRECTORY: &str = "artifacts";
/// Hashing this much takes about as long as starting a thread for it.
const INLINE_BYTES: u64 = 1 << 20;
/// A worker that does not greet within this is not coming.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// How components are compiled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Wall time of one compilation.
    pub timeout: Duration,
    /// Memory of one worker.
    pub memory_bytes: u64,
    /// Workers at once.
    pub workers: usize,
    /// Threads of one worker.
    pub threads: usize,
    /// How far workers stand back for everything else, as `nice` counts: 0, not at all, up to 19.
    pub niceness: u8,
    /// Bytes of artifacts kept on disk.
    pub cache_bytes: u64,
    /// What a component may hold.
    pub caps: Caps,
}

impl Default for Options {
    fn default() -> Self {
        // Threads are as many as cores: one component alone is done soonest, several share, and the kernel keeps guests in
        // front ([`jail`] lowers the workers' priority).
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let (workers, memory_bytes) = share(machine::memory_bytes(), cores);
        Self {
            timeout: DEFAULT_TIMEOUT,
            memory_bytes,
            workers,
            threads: cores,
            niceness: DEFAULT_NICENESS,
            cache_bytes: DEFAULT_CACHE_BYTES,
            caps: Caps::default(),
        }
    }
}

/// How many workers a machine has, and the memory of each: half of the machine's all together.
///
/// As many as cores and two at least, so that one slow component does not hold up all others; fewer where they would have
/// less than [`LEAST_MEMORY_BYTES`], which the last one gets whatever the machine.
fn share(memory_bytes: u64, cores: usize) -> (usize, u64) {
    let half = memory_bytes / 2;
    let fitting = usize::try_from(half / LEAST_MEMORY_BYTES).unwrap_or(usize::MAX);
    let workers = cores.max(2).min(fitting).max(1);
    let each = (half / workers as u64).clamp(LEAST_MEMORY_BYTES, MOST_MEMORY_BYTES);
    (workers, each)
}

/// Native code ready to be mapped.
#[derive(Debug)]
pub(crate) struct Artifact {
    file: File,
    /// What compiling took; zero when it was on disk.
    pub(crate) compile_time: Duration,
    /// Whether it was on disk.
    pub(crate) cached: bool,
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// The engine it is for.
    pub(crate) concurrency: Concurrency,
    /// What it exports and imports, when it was compiled.
    pub(crate) interface: Option<Interface>,
}

impl Artifact {
    /// Maps the native code.
    pub(crate) fn load(
        &self,
        engine: &wasmtime::Engine,
    ) -> wasmtime::Result<wasmtime::component::Component> {
        use std::os::fd::AsRawFd;
        // wasmtime opens components by path only; this path leads to the very file that was checked.
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        // SAFETY: the file holds what `Engine::precompile_component` returned in a worker of this program: an `Artifact` is
        // made from a worker's answer or from a file with this installation's MAC over it, never from an upload. Nobody
        // writes to it: it lies in a directory only this user may enter, or in sealed memory.
        unsafe { wasmtime::component::Component::deserialize_file(engine, path) }
    }
}

/// Compiles components and keeps the results. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Compiler(Arc<Inner>);

struct Inner {
    options: Options,
    plain: Configuration,
    /// Known when the first component needs it.
    concurrent: OnceLock<Result<Configuration, Error>>,
    store: Store,
    data_dir: PathBuf,
    line: Line,
    flights: Flights,
    /// Whether it was logged that workers run without filtered system calls.
    warned: Once,
}

/// One answer, for all who wait for it.
type Answer = Result<Arc<Ready>, Error>;

struct Ready {
    stored: Stored,
    compile_time: Duration,
    cached: bool,
    concurrency: Concurrency,
    interface: Option<Interface>,
}

/// What a component is compiled for.
#[derive(Clone, Copy)]
struct Target {
    concurrency: Concurrency,
    configuration: Configuration,
}

impl Compiler {
    /// Opens the artifacts below `data_dir`. `engine` is the one for components without async.
    ///
    /// # Errors
    /// [`Error::Store`] when the directory cannot be used.
    pub(crate) fn new(
        data_dir: &Path,
        engine: &wasmtime::Engine,
        options: Options,
    ) -> Result<Self, Error> {
        debug_assert!(worker::is_linked());
        Ok(Self(Arc::new(Inner {
            plain: Configuration::of(engine),
            concurrent: OnceLock::new(),
            store: Store::open(&data_dir.join(CACHE_DIRECTORY), options.cache_bytes)?,
            data_dir: data_dir.to_owned(),
            line: Line::new(options.workers),
            flights: Flights::default(),
            warned: Once::new(),
            options,
        })))
    }

    /// The artifact of a component; `source` is asked for its bytes only when it must be compiled.
    ///
    /// Dropping the future gives the wait up; when all who wait have, the worker is killed.
    ///
    /// # Errors
    /// [`Error`]; the same one for everybody who waited together.
    pub(crate) async fn artifact<E>(
        &self,
        tenant: Arc<str>,
        component: Digest,
        source: impl FnOnce() -> BoxFuture<'static, Result<Bytes, E>> + Send + 'static,
    ) -> Result<Artifact, Error>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let make = || self.clone().make(tenant, component, source).boxed();
        let ready = self.0.flights.join(component, make).await?;
        Ok(Artifact {
            file: ready.stored.file.try_clone().map_err(not_started)?,
            compile_time: ready.compile_time,
            cached: ready.cached,
            bytes: ready.stored.bytes,
            concurrency: ready.concurrency,
            interface: ready.interface.clone(),
        })
    }

    /// What a component exports and imports, from where it was written down or from its bytes,
    /// which are only then asked for.
    ///
    /// # Errors
    /// As of [`Compiler::artifact`].
    pub(crate) async fn describe<E>(
        &self,
        tenant: &str,
        component: Digest,
        source: impl Future<Output = Result<Bytes, E>>,
    ) -> Result<Interface, Error>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        if let Some(interface) = interface::kept(&self.0.data_dir, &component) {
            return Ok(interface);
        }
        if let Some(error) = self.0.flights.recent_failure(component) {
            return Err(error);
        }
        let bytes = source.await.map_err(|error| Error::Source {
            component,
            source: Arc::new(error),
        })?;
        let answer = self.describe_bytes(tenant, component, bytes).await;
        if let Err(error) = &answer
            && error.is_components_fault()
        {
            self.0.flights.remember(component, error.clone());
        }
        answer
    }

    async fn describe_bytes(
        &self,
        tenant: &str,
        component: Digest,
        bytes: Bytes,
    ) -> Result<Interface, Error> {
        let (bytes, concurrency) = self.checked(component, bytes).await?;
        let target = self.0.target(concurrency)?;
        let turn = self.turn(tenant, component).await?;
        let (answer, receiver) = oneshot::channel();
        let describe = move |inner: &Inner, done: Result<Done, Error>| {
            let described = done.and_then(|done| {
                let interface = inner.described(&component, &done.interface)?;
                Ok((interface, done.worker))
            });
            let (interface, worker) = described.map_or_else(
                |error| (Err(error), None),
                |(interface, worker)| (Ok(interface), Some(worker)),
            );
            // Whoever waited may have left by now.
            let _ = answer.send(interface);
            worker
        };
        let cancel = self.start(Task::Describe, target, component, bytes, turn, describe)?;
        let answer = receiver.await.map_err(|_| not_started(ended_early()))?;
        drop(cancel);
        answer
    }

    /// Another tenant waits for a component that is being made ready: it need not wait for the first one's turn.
    pub(crate) fn join(&self, tenant: &str, component: &Digest) {
        self.0.line.join(tenant, component);
    }

    async fn make<E>(
        self,
        tenant: Arc<str>,
        component: Digest,
        source: impl FnOnce() -> BoxFuture<'static, Result<Bytes, E>>,
    ) -> Answer
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        for concurrency in [Concurrency::Off, Concurrency::On] {
            let target = self.0.target(concurrency)?;
            let key = Key::new(&component, &target.configuration);
            if let Some(stored) = self.load(key).await? {
                return Ok(Arc::new(Ready {
                    stored,
                    compile_time: Duration::ZERO,
                    cached: true,
                    concurrency,
                    interface: None,
                }));
            }
        }
        if let Some(error) = self.0.flights.recent_failure(component) {
            return Err(error);
        }
        let bytes = source().await.map_err(|error| Error::Source {
            component,
            source: Arc::new(error),
        })?;
        let answer = self.compile(&tenant, component, bytes).await;
        if let Err(error) = &answer
            && error.is_components_fault()
        {
            self.0.flights.remember(component, error.clone());
        }
        answer
    }

    async fn load(&self, key: Key) -> Result<Option<Stored>, Error> {
        let Some(bytes) = self.0.store.size(&key) else {
            return Ok(None);
        };
        let inner = Arc::clone(&self.0);
        let loaded = off_thread_if_large(bytes, move || inner.store.load(&key)).await?;
        Ok(loaded?)
    }

    /// The bytes, if they are worth a worker's time, and for which engine.
    async fn checked(
        &self,
        component: Digest,
        bytes: Bytes,
    ) -> Result<(Bytes, Concurrency), Error> {
        let inner = Arc::clone(&self.0);
        let size = bytes.len() as u64;
        off_thread_if_large(size, move || inner.check(component, bytes)).await?
    }

    async fn turn(&self, tenant: &str, component: Digest) -> Result<Turn, Error> {
        let turn = self.0.line.turn(tenant, component).await;
        turn.map_err(|_| Error::Crowded {
            waiting: line::MAX_WAITING,
        })
    }

    async fn compile(&self, tenant: &str, component: Digest, bytes: Bytes) -> Answer {
        let (bytes, concurrency) = self.checked(component, bytes).await?;
        let answer = self
            .compile_for(tenant, concurrency, component, &bytes)
            .await;
        match answer {
            // The scan does not look into types; validation does, before anything is compiled.
            Err(error) if concurrency == Concurrency::Off && error.asks_for_async() => {
                self.compile_for(tenant, Concurrency::On, component, &bytes)
                    .await
            }
            answer => answer,
        }
    }

    async fn compile_for(
        &self,
        tenant: &str,
        concurrency: Concurrency,
        component: Digest,
        bytes: &Bytes,
    ) -> Answer {
        let target = self.0.target(concurrency)?;
        let turn = self.turn(tenant, component).await?;
        let (answer, receiver) = oneshot::channel();
        let started = Instant::now();
        let keep = move |inner: &Inner, done: Result<Done, Error>| match done {
            Ok(done) => {
                let ready = inner.keep(target, &component, &done, started);
                // Whoever waited may have left by now.
                let _ = answer.send(ready.clone());
                if let Ok(ready) = ready {
                    let key = Key::new(&component, &target.configuration);
                    inner.store.sync(&key, &ready.stored);
                }
                Some(done.worker)
            }
            Err(error) => {
                let _ = answer.send(Err(error));
                None
            }
        };
        let bytes = bytes.clone();
        let cancel = self.start(Task::Compile, target, component, bytes, turn, keep)?;
        let answer = receiver.await.map_err(|_| not_started(ended_early()))?;
        drop(cancel);
        answer
    }

    /// Starts a worker on a thread of its own, which gives what it answers to `done`. Closing the
    /// pipe kills it.
    fn start(
        &self,
        task: Task,
        target: Target,
        component: Digest,
        bytes: Bytes,
        turn: Turn,
        done: impl FnOnce(&Inner, Result<Done, Error>) -> Option<Worker> + Send + 'static,
    ) -> Result<PipeWriter, Error> {
        let (cancelled, cancel) = std::io::pipe().map_err(not_started)?;
        let inner = Arc::clone(&self.0);
        let run = move || {
            let job = inner.job(task, target, component, &bytes, &cancelled);
            let worker = match process::run(&job) {
                Ok(answer) => {
                    inner.warn_once(&answer.unfiltered);
                    done(&inner, Ok(answer))
                }
                Err(Stopped::Failed(error)) => done(&inner, Err(error)),
                Err(Stopped::Cancelled) => None,
            };
            // The next one's turn comes when the worker's memory is free.
            drop(worker);
            drop(turn);
        };
        thread::Builder::new()
            .name("lydian-compile".to_owned())
            .spawn(run)
            .map_err(not_started)?;
        Ok(cancel)
    }

    /// Whether this machine can lock compile workers in, for `lydian doctor`. Blocks for as long as a worker takes to start.
    pub(crate) fn check(&self) -> Check {
        let inner = &self.0;
        let target = Target {
            concurrency: Concurrency::Off,
            configuration: inner.plain,
        };
        let heard = std::io::pipe()
            .map_err(|error| Stopped::Failed(not_started(error)))
            .and_then(|(cancelled, _open)| {
                let job = Job {
                    timeout: GREETING_TIMEOUT,
                    ..inner.job(Task::Compile, target, Digest::of(&[]), &[], &cancelled)
                };
                process::greet(&job)
            });
        let (status, detail, fix) = match heard {
            Ok(unfiltered) if unfiltered.is_empty() => (
                CheckStatus::Ok,
                "components are compiled in a process that can reach nothing".to_owned(),
                "",
            ),
            Ok(unfiltered) => (
                CheckStatus::Warn,
                format!("system calls of the compiler are not filtered: {unfiltered}"),
                "run on a kernel with seccomp filters (CONFIG_SECCOMP_FILTER), outside of sandboxes that forbid them",
            ),
            Err(Stopped::Failed(error)) => {
                let fix = error.hint().unwrap_or_default();
                (CheckStatus::Fail, error.to_string(), fix)
            }
            Err(Stopped::Cancelled) => (
                CheckStatus::Fail,
                "the compile worker was not heard".to_owned(),
                "",
            ),
        };
        Check {
            name: "compile-jail",
            status,
            detail,
            fix: fix.to_owned(),
        }
    }
}

impl Inner {
    fn target(&self, concurrency: Concurrency) -> Result<Target, Error> {
        let configuration = match concurrency {
            Concurrency::Off => self.plain,
            Concurrency::On => self.concurrent.get_or_init(concurrent).clone()?,
        };
        Ok(Target {
            concurrency,
            configuration,
        })
    }

    fn job<'a>(
        &self,
        task: Task,
        target: Target,
        component: Digest,
        payload: &'a [u8],
        cancelled: &'a std::io::PipeReader,
    ) -> Job<'a> {
        Job {
            task,
            payload,
            component,
            configuration: target.configuration,
            concurrency: target.concurrency,
            memory_bytes: self.options.memory_bytes,
            artifact_bytes: BASE_ARTIFACT_BYTES
                .saturating_add((payload.len() as u64).saturating_mul(GROWTH)),
            timeout: self.options.timeout,
            threads: self.options.threads.max(1),
            niceness: self.options.niceness,
            cancelled,
        }
    }

    fn warn_once(&self, unfiltered: &str) {
        if !unfiltered.is_empty() {
            self.warned.call_once(|| {
                tracing::warn!(unfiltered, "the compiler's system calls are not filtered")
            });
        }
    }

    /// The bytes, if they are worth compiling, and for which engine.
    fn check(&self, component: Digest, bytes: Bytes) -> Result<(Bytes, Concurrency), Error> {
        let found = Digest::of(&bytes);
        if found != component {
            return Err(Error::WrongDigest {
                expected: component,
                found,
            });
        }
        let concurrency = match scan(&bytes, &self.options.caps)?.concurrent {
            true => Concurrency::On,
            false => Concurrency::Off,
        };
        Ok((bytes, concurrency))
    }

    /// Keeps what a worker made of a component.
    fn keep(&self, target: Target, component: &Digest, done: &Done, started: Instant) -> Answer {
        let interface = self.described(component, &done.interface)?;
        let key = Key::new(component, &target.configuration);
        Ok(Arc::new(Ready {
            stored: self.store(&key, &done.artifact)?,
            compile_time: started.elapsed(),
            cached: false,
            concurrency: target.concurrency,
            interface: Some(interface),
        }))
    }

    /// What a worker says of a component, checked and written down.
    fn described(&self, component: &Digest, json: &str) -> Result<Interface, Error> {
        let interface = interface::check(json).ok_or_else(|| Error::Crashed {
            how: "it described the component in a way that makes no sense".to_owned(),
        })?;
        interface::keep(&self.data_dir, component, json);
        Ok(interface)
    }

    /// Stores an artifact, or keeps it in memory for this process when the disk does not take it.
    fn store(&self, key: &Key, artifact: &[u8]) -> Result<Stored, Error> {
        match self.store.save(key, artifact) {
            Ok(stored) => Ok(stored),
            Err(error) => {
                let hint = error.hint().unwrap_or_default();
                tracing::warn!(%error, hint, "a compiled component is kept in memory only");
                Ok(artifact::in_memory(artifact)?)
            }
        }
    }
}

/// The configuration of concurrent components. Their engine is the larger half of a start, so this one has no pool.
fn concurrent() -> Result<Configuration, Error> {
    let config = wasmtime_config(Concurrency::On, None);
    wasmtime::Engine::new(&config)
        .map(|engine| Configuration::of(&engine))
        .map_err(|error| not_started(std::io::Error::other(error)))
}

/// Runs work that takes time in proportion to some bytes: here when they are few, since a first call waits for it; else on a
/// thread of its own, which works on any executor.
async fn off_thread_if_large<T: Send + 'static>(
    bytes: u64,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    if bytes <= INLINE_BYTES {
        return Ok(work());
    }
    let (sender, receiver) = oneshot::channel();
    let run = move || {
        // Whoever waited may have left by now.
        let _ = sender.send(work());
    };
    thread::Builder::new()
        .name("lydian-artifact".to_owned())
        .spawn(run)
        .map_err(not_started)?;
    receiver.await.map_err(|_| not_started(ended_early()))
}

fn not_started(error: std::io::Error) -> Error {
    Error::Start {
        source: Arc::new(error),
    }
}

fn ended_early() -> std::io::Error {
    std::io::Error::other("its thread ended early")
}

#[cfg(test)]
mod selftest;
#[cfg(test)]
mod tests;
