//! wasmtime, set up twice: for components that use the component model's async, and for those that do not.
//!
//! Most do not, and pay nothing for it: wasmtime's bookkeeping of tasks and threads is half of what a small sandbox costs.
//! Each host has a pool and slots of its own. The concurrent one is made when the first component needs it.

use crate::config::{Concurrency, wasmtime_config};
use crate::descriptors::Descriptors;
use crate::error::Error;
use crate::machine::Machine;
use crate::pool::{Pool, PoolOptions};
use crate::sandbox::Ctx;
use crate::ticker::Ticker;
use crate::wasi;
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// One engine of wasmtime, and what is the same for all sandboxes in it.
pub(crate) struct Host {
    pub(crate) wasmtime: wasmtime::Engine,
    pub(crate) linker: wasmtime::component::Linker<Ctx>,
    /// Free places of the pool.
    pub(crate) slots: Arc<Semaphore>,
    /// All of them.
    pub(crate) places: u32,
    /// Free stacks, where a sandbox may take several; each takes the one of its place elsewhere.
    pub(crate) stacks: Option<Arc<Semaphore>>,
    /// Stacks that one sandbox may take.
    pub(crate) stacks_max: u32,
    /// The node's, of all hosts together.
    pub(crate) descriptors: Descriptors,
}

impl Host {
    fn new(
        wasmtime: wasmtime::Engine,
        pool: &Pool,
        concurrency: Concurrency,
        descriptors: Descriptors,
    ) -> Result<Host, Error> {
        let linker = wasi::link(&wasmtime, concurrency)
            .map_err(|error| start("its host functions", "report this", error))?;
        Ok(Host {
            linker,
            slots: Arc::new(Semaphore::new(pool.sandboxes as usize)),
            places: pool.sandboxes,
            stacks: (concurrency == Concurrency::On)
                .then(|| Arc::new(Semaphore::new(pool.stacks as usize))),
            stacks_max: pool.stacks,
            descriptors,
            wasmtime,
        })
    }
}

/// Both hosts of an engine. The concurrent one's failure to start is kept: the machine will not have changed.
pub(crate) struct Hosts {
    plain: Arc<Host>,
    concurrent: OnceLock<Result<Arc<Host>, Error>>,
    concurrent_pool: Pool,
}

impl Hosts {
    /// Reserves the first pool and answers its size.
    pub(crate) fn reserve(
        options: &PoolOptions,
        machine: &Machine,
        ticker: &Ticker,
        descriptors: Descriptors,
    ) -> Result<(Hosts, Pool), Error> {
        let (wasmtime, pool) = reserve(options, machine)?;
        ticker.tick(&wasmtime);
        let hosts = Hosts {
            plain: Arc::new(Host::new(wasmtime, &pool, Concurrency::Off, descriptors)?),
            concurrent: OnceLock::new(),
            concurrent_pool: pool.concurrent(options),
        };
        Ok((hosts, pool))
    }

    /// What guests have open.
    pub(crate) fn descriptors(&self) -> &Descriptors {
        &self.plain.descriptors
    }

    /// The engine of components without async.
    pub(crate) fn plain(&self) -> &wasmtime::Engine {
        &self.plain.wasmtime
    }

    /// Sandboxes of concurrent components, whether or not there has been one.
    pub(crate) fn concurrent_places(&self) -> usize {
        self.concurrent_pool.sandboxes as usize
    }

    pub(crate) fn concurrent_stacks(&self) -> usize {
        self.concurrent_pool.stacks as usize
    }

    pub(crate) fn is_concurrent(&self, host: &Arc<Host>) -> bool {
        !Arc::ptr_eq(host, &self.plain)
    }

    pub(crate) fn get(
        &self,
        concurrency: Concurrency,
        ticker: &Ticker,
    ) -> Result<Arc<Host>, Error> {
        match concurrency {
            Concurrency::Off => Ok(self.plain.clone()),
            Concurrency::On => self
                .concurrent
                .get_or_init(|| self.make_concurrent(ticker))
                .clone(),
        }
    }

    fn make_concurrent(&self, ticker: &Ticker) -> Result<Arc<Host>, Error> {
        let pool = &self.concurrent_pool;
        let wasmtime = wasmtime::Engine::new(&wasmtime_config(Concurrency::On, Some(pool)))
            .map_err(|error| no_pool(pool, error))?;
        ticker.tick(&wasmtime);
        Host::new(wasmtime, pool, Concurrency::On, self.descriptors().clone()).map(Arc::new)
    }
}

/// Builds the wasmtime engine over the largest pool that the machine gives, if no size was asked for.
fn reserve(asked: &PoolOptions, machine: &Machine) -> Result<(wasmtime::Engine, Pool), Error> {
    let mut options = asked.clone();
    let fixed = asked.max_sandboxes.is_some();
    loop {
        let pool = Pool::new(&options, machine);
        match wasmtime::Engine::new(&wasmtime_config(Concurrency::Off, Some(&pool))) {
            Ok(engine) if fixed || has_room_for(&pool.concurrent(asked)) => {
                return Ok((engine, pool));
            }
            Ok(_) | Err(_) if !fixed && pool.sandboxes > Pool::FEWEST => {
                options.max_sandboxes = Some((pool.sandboxes / 2).max(Pool::FEWEST));
            }
            Ok(engine) => return Ok((engine, pool)),
            Err(error) => return Err(no_pool(&pool, error)),
        }
    }
}

/// Whether the address space that the second pool will want is there: the first one must not take all of it, as it would
/// where a process runs several engines.
fn has_room_for(pool: &Pool) -> bool {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
    let bytes = usize::try_from(pool.address_space_bytes()).unwrap_or(usize::MAX);
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice, which nothing can reach and which is gone again at once.
    unsafe {
        match mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::empty(), flags) {
            Ok(place) => munmap(place, bytes).is_ok(),
            Err(_) => false,
        }
    }
}

fn no_pool(pool: &Pool, error: wasmtime::Error) -> Error {
    let what = format!(
        "a pool of {} sandboxes ({} GiB of address space)",
        pool.sandboxes,
        pool.address_space_gib()
    );
    start(
        &what,
        "raise `ulimit -v` and `vm.max_map_count`, or ask for fewer sandboxes",
        error,
    )
}

/// The engine cannot start.
pub(crate) fn start(
    what: &str,
    hint: &str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::Start {
        what: what.to_owned(),
        hint: hint.to_owned(),
        source: error.into().into(),
    }
}
