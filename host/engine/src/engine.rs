//! The engine: one per process, shared by everything that runs guests.

use crate::cache::Cache;
use crate::checks::{Check, CheckStatus};
use crate::compile::{self, Compiler};
use crate::component::Component;
use crate::descriptors::Descriptors;
use crate::error::Error;
use crate::host::{Hosts, start};
use crate::interface;
use crate::ledger::Ledger;
use crate::limits::Limits;
use crate::machine::Machine;
use crate::pool::{Pool, PoolOptions};
use crate::ticker::Ticker;
use bytes::Bytes;
use futures::future::BoxFuture;
use lydian_value::{Digest, Interface};
use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// How an engine is set up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Where compiled components are kept.
    pub data_dir: PathBuf,
    /// How many sandboxes there may be.
    pub pool: PoolOptions,
    /// What a call gets that sets no limits of its own.
    pub limits: Limits,
    /// Threads that run guests; `None`: one per processor.
    pub threads: Option<usize>,
    /// How components are compiled.
    pub compile: compile::Options,
    /// The most that any call may be given; what is not set has a ceiling of the engine's own.
    pub limits_max: Limits,
    /// Bytes of all sandboxes together, with what the host holds for them and for callers; `None`:
    /// six tenths of the machine's memory.
    pub guest_memory_bytes: Option<u64>,
    /// Of those, the results of all calls in flight; `None`: a quarter of the machine's memory.
    pub payload_bytes: Option<u64>,
    /// Sockets and connections of all guests together; `None`: a quarter of the descriptors the process may have.
    pub guest_sockets: Option<usize>,
    /// Components kept ready in memory; the ones used longest ago are mapped again when they are needed.
    pub max_components: usize,
}

/// Each takes about five mappings and one descriptor, of which a process has 65,530 and, often, 1,024 to 4,096.
const DEFAULT_MAX_COMPONENTS: usize = 1_000;

impl Options {
    /// Everything from the machine, compiled components below `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Options {
        Options {
            data_dir: data_dir.into(),
            pool: PoolOptions::default(),
            limits: Limits::default(),
            limits_max: Limits::UNSET,
            guest_memory_bytes: None,
            threads: None,
            compile: compile::Options::default(),
            payload_bytes: None,
            guest_sockets: None,
            max_components: DEFAULT_MAX_COMPONENTS,
        }
    }
}

/// Runs guests. Cheap to clone; the last clone to go stops its threads.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) hosts: Hosts,
    pub(crate) compiler: Compiler,
    pub(crate) cache: Cache,
    pub(crate) limits: Limits,
    pub(crate) limits_max: Limits,
    pub(crate) ledger: Ledger,
    pub(crate) ticker: Ticker,
    pub(crate) counters: Arc<Counters>,
    pub(crate) data_dir: PathBuf,
    machine: Machine,
    pool: Pool,
    /// `None` only while it is being shut down.
    runtime: Option<Runtime>,
}

/// What [`Engine::stats`] reads.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) live: AtomicUsize,
    pub(crate) calls: AtomicU64,
}

/// A look at the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Sandboxes alive now.
    pub sandboxes_live: usize,
    /// Sandboxes there may be; those of concurrent components have a smaller pool beside it.
    pub sandboxes_max: usize,
    /// Sandboxes of concurrent components there may be.
    pub concurrent_max: usize,
    /// Stacks that those may take together.
    pub stacks_max: usize,
    /// Calls that got a sandbox, since the start.
    pub calls_total: u64,
    /// Components ready in memory.
    pub components: usize,
}

/// What guests and callers may take of the machine's memory; the rest is for native code, compilers
/// and the system.
const GUEST_MEMORY_TENTHS: u64 = 6;

thread_local! {
    static SANDBOX_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs guests.
pub(crate) fn on_sandbox_thread() -> bool {
    SANDBOX_THREAD.get()
}

impl Engine {
    /// Reserves the pool and starts the threads.
    ///
    /// # Errors
    /// [`Error::Start`] when the machine does not give the address space, threads or directory; there is no fallback that
    /// is slower.
    pub fn new(options: Options) -> Result<Engine, Error> {
        let machine = Machine::read();
        let descriptors = options.guest_sockets.map_or_else(
            || Descriptors::of_process(machine.open_files),
            Descriptors::limited,
        );
        let ticker = Ticker::start()
            .map_err(|error| start("its clock thread", "allow more threads", error))?;
        let (hosts, pool) = Hosts::reserve(&options.pool, &machine, &ticker, descriptors)?;
        let compiler = Compiler::new(&options.data_dir, hosts.plain(), options.compile)?;
        let guest_memory = options
            .guest_memory_bytes
            .unwrap_or(machine.memory_bytes / 10 * GUEST_MEMORY_TENTHS);
        let payload = options.payload_bytes.unwrap_or(machine.memory_bytes / 4);
        let runtime = sandbox_runtime(options.threads)
            .map_err(|error| start("its threads", "allow more threads", error))?;
        Ok(Engine(Arc::new(Inner {
            hosts,
            compiler,
            cache: Cache::new(options.max_components),
            limits: options.limits,
            limits_max: options.limits_max.or(&Limits::ceiling(guest_memory)),
            ledger: Ledger::new(guest_memory, payload),
            ticker,
            counters: Arc::default(),
            data_dir: options.data_dir,
            machine,
            pool,
            runtime: Some(runtime),
        })))
    }

    /// Makes a component ready to run: from memory, else from its artifact on disk, else compiled.
    ///
    /// `source` is asked for the component's bytes only when they are needed. Ask for each call anew: it is a look into a map,
    /// and [`Component::prepared`] then says truly how the call found it.
    ///
    /// # Errors
    /// [`Error`]; the same one for all who wait for the same component.
    pub async fn prepare<E>(
        &self,
        component: Digest,
        source: impl FnOnce() -> BoxFuture<'static, Result<Bytes, E>> + Send + 'static,
    ) -> Result<Arc<Component>, Error>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        self.prepare_for(String::new, component, source).await
    }

    /// As [`Engine::prepare`], for one of several `tenants`: those whose components must be compiled take turns.
    ///
    /// # Errors
    /// As of [`Engine::prepare`]; [`compile::Error::Crowded`] when too many of the tenant's wait.
    pub async fn prepare_for<E>(
        &self,
        tenant: impl FnOnce() -> String,
        component: Digest,
        source: impl FnOnce() -> BoxFuture<'static, Result<Bytes, E>> + Send + 'static,
    ) -> Result<Arc<Component>, Error>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        match self.0.cache.get(&component) {
            Some(ready) => Ok(ready),
            None => Component::prepare(self, tenant().into(), component, source).await,
        }
    }

    /// What a component exports and imports, where that is known without its bytes. May read a small file.
    pub fn interface(&self, component: &Digest) -> Option<Interface> {
        match self.0.cache.peek(component) {
            Some(ready) => Some(ready.interface().clone()),
            None => interface::kept(&self.0.data_dir, component),
        }
    }

    /// The same for one whose bytes may have to be looked at, in a process that can reach nothing.
    ///
    /// # Errors
    /// [`Error`]: as of [`Engine::prepare`], without what only linking finds.
    pub async fn describe<E>(
        &self,
        tenant: &str,
        component: Digest,
        source: impl Future<Output = Result<Bytes, E>>,
    ) -> Result<Interface, Error>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        match self.0.cache.peek(&component) {
            Some(ready) => Ok(ready.interface().clone()),
            None => Ok(self.0.compiler.describe(tenant, component, source).await?),
        }
    }

    /// Runs a future on the threads that run guests. Calls made from it start without changing threads.
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Option<JoinHandle<T>> {
        self.0.runtime.as_ref().map(|runtime| runtime.spawn(future))
    }

    /// Lets this thread use the timers and sockets of the threads that run guests.
    pub(crate) fn enter(&self) -> Option<tokio::runtime::EnterGuard<'_>> {
        self.0.runtime.as_ref().map(Runtime::enter)
    }

    /// What runs now, and how much has.
    pub fn stats(&self) -> Stats {
        Stats {
            sandboxes_live: self.0.counters.live.load(Ordering::Relaxed),
            sandboxes_max: self.0.pool.sandboxes as usize,
            concurrent_max: self.0.hosts.concurrent_places(),
            stacks_max: self.0.hosts.concurrent_stacks(),
            calls_total: self.0.counters.calls.load(Ordering::Relaxed),
            components: self.0.cache.len(),
        }
    }

    /// What the machine offers, for `lydian doctor`. Blocks while a compile worker is started.
    pub fn checks(&self) -> Vec<Check> {
        let mut checks = self.0.pool.checks(&self.0.machine);
        checks.push(self.memory_check());
        checks.push(self.0.hosts.descriptors().check());
        checks.push(self.0.compiler.check());
        checks
    }

    fn memory_check(&self) -> Check {
        let (used, limit) = (self.0.ledger.used(), self.0.ledger.limit());
        let tight = used > limit / 10 * 9;
        Check {
            name: "guest-memory",
            status: if tight {
                CheckStatus::Warn
            } else {
                CheckStatus::Ok
            },
            detail: format!("{} of {} MiB in use", used >> 20, limit >> 20),
            fix: if tight {
                "run fewer or smaller functions at once, or raise `--guest-memory`".into()
            } else {
                String::new()
            },
        }
    }

    /// The limits of calls that set none.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// The most that any call is given.
    pub fn limits_max(&self) -> &Limits {
        &self.0.limits_max
    }

    /// The bytes of all sandboxes, and of what the host holds for them and for callers.
    pub fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Dropping it in place would wait for its threads, which an asynchronous caller must not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Guests have threads of their own, so that a node full of spinning guests still answers.
fn sandbox_runtime(threads: Option<usize>) -> std::io::Result<Runtime> {
    /// Timers and sockets are looked at after this many turns of guests. Tokio's 61 would be 61 ms late when all spin.
    const EVENT_INTERVAL: u32 = 13;
    let next = AtomicUsize::new(0);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(
            threads
                .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
                .max(1),
        )
        .thread_name_fn(move || format!("lydian-sandbox-{}", next.fetch_add(1, Ordering::Relaxed)))
        .on_thread_start(|| SANDBOX_THREAD.set(true))
        .event_interval(EVENT_INTERVAL)
        .enable_all();
    builder.build()
}

/// A task that ends with its owner.
pub(crate) struct AbortOnDrop(pub(crate) Option<tokio::task::AbortHandle>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
