//! The clock of CPU time: one thread that advances the epoch of the engines, and sleeps while no guest runs.

use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

/// Length of one epoch. A guest gives way, and its limits are looked at, once per tick: finer costs wake-ups, coarser makes
/// other calls wait behind a guest that spins.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// The thread goes to sleep after this many ticks without a guest, so that calls in a row do not each wake it.
const IDLE_TICKS: u32 = 100;

/// Handle of the thread.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

/// Locked by the thread once per tick, and by whoever adds an engine.
type Engines = Mutex<Vec<wasmtime::EngineWeak>>;

#[derive(Default)]
struct Shared {
    guests: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
    engines: Engines,
}

/// A guest that may run; the clock ticks while there is one.
pub(crate) struct Running(Arc<Shared>);

impl Ticker {
    pub(crate) fn start() -> io::Result<Ticker> {
        let shared = Arc::new(Shared::default());
        let ticks = shared.clone();
        let thread = thread::Builder::new()
            .name("lydian-ticker".to_owned())
            .spawn(move || run(&ticks))?;
        Ok(Ticker {
            shared,
            thread: thread.thread().clone(),
        })
    }

    /// Advances the epoch of this engine as well, for as long as it lives.
    pub(crate) fn tick(&self, engine: &wasmtime::Engine) {
        self.shared.engines.lock().push(engine.weak());
    }

    /// Keeps the clock ticking until the answer is dropped.
    pub(crate) fn running(&self) -> Running {
        self.shared.guests.fetch_add(1, Ordering::SeqCst);
        // The thread says that it sleeps before it looks at `guests` for the last time, so one of us sees the other.
        if self.shared.asleep.load(Ordering::SeqCst)
            && self.shared.asleep.swap(false, Ordering::SeqCst)
        {
            self.thread.unpark();
        }
        Running(self.shared.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.guests.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

fn run(shared: &Shared) {
    let mut idle = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        thread::sleep(TICK);
        for engine in shared.engines.lock().iter() {
            if let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
            }
        }
        idle = if shared.guests.load(Ordering::SeqCst) == 0 {
            idle + 1
        } else {
            0
        };
        if idle >= IDLE_TICKS {
            idle = 0;
            sleep(shared);
        }
    }
}

fn sleep(shared: &Shared) {
    shared.asleep.store(true, Ordering::SeqCst);
    while shared.asleep.load(Ordering::SeqCst)
        && shared.guests.load(Ordering::SeqCst) == 0
        && !shared.stop.load(Ordering::SeqCst)
    {
        thread::park();
    }
    shared.asleep.store(false, Ordering::SeqCst);
}
