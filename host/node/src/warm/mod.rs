//! Instances of classes, kept between calls and handed to one call at a time.
//!
//! A call of a method takes one of three ways, decided in [`Core::seat`](crate::core::Core):
//!
//! - **idle**: an instance of the same version, class and limits is taken;
//! - **handed on**: none is idle, and one that comes free is given to whoever waits longest for such a one;
//! - **fresh**: there is room in the pool, so one is made and entered.
//!
//! An instance goes when it has served `max-calls`, was idle for `max-idle`, is older than `max-age`, holds much more than
//! it did when it was entered, when somebody waits for its place in the pool, or when the node stops; its exit function
//! is called before. One that trapped, hit a limit or was stopped goes without it, and serves nobody again.
//!
//! Always true: an instance never changes app, version or limits, and it serves one call at a time, because a call takes it.

mod instance;

pub(crate) use instance::{Instance, Terms};

use crate::admission::{Need, Pools};
use lydian_engine::{Engine, Limits};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use tokio_util::task::AbortOnDropHandle;

/// How long a class whose callers never pause may keep an instance while other apps wait for its place.
const TURN: Duration = Duration::from_secs(1);

/// The kept instances of a node. Clones share them.
#[derive(Clone)]
pub(crate) struct Warm(Arc<Inner>);

struct Inner {
    engine: Engine,
    pools: Pools,
    lines: Mutex<HashMap<Key, Line>>,
    /// Nothing is kept any more.
    closed: AtomicBool,
    /// Told when an instance becomes idle. Apart from the rest, for who waits for it must not keep that.
    idle: Arc<Notify>,
    sweeper: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// Calls with the same key can be served by the same instances.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Of one class of one version.
    terms: u64,
    /// Without time, which each call has for itself.
    limits: Limits,
}

/// Instances of one key, and who waits for one.
#[derive(Default)]
struct Line {
    /// The one used last at the end: it is the one whose memory is in the caches.
    idle: Vec<Instance>,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    need: Need,
    turn: oneshot::Sender<Handed>,
}

/// An instance on its way to who waits for it; put back when that one is gone.
pub(crate) struct Handed {
    instance: Option<Instance>,
    warm: Warm,
}

impl Handed {
    pub(crate) fn take(mut self) -> Option<Instance> {
        self.instance.take()
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.take() {
            self.warm.put(instance);
        }
    }
}

impl Key {
    pub(crate) fn new(terms: &Terms, limits: &Limits) -> Self {
        Self {
            terms: terms.id,
            limits: Limits {
                timeout: Duration::ZERO,
                cpu: Duration::ZERO,
                ..*limits
            },
        }
    }
}

impl Warm {
    pub(crate) fn new(engine: Engine, pools: Pools) -> Self {
        let warm = Self(Arc::new(Inner {
            engine,
            pools: pools.clone(),
            lines: Mutex::default(),
            closed: AtomicBool::new(false),
            idle: Arc::default(),
            sweeper: Mutex::new(None),
        }));
        let weak = Arc::downgrade(&warm.0);
        pools.on_wait(move |concurrent| {
            if let Some(inner) = weak.upgrade() {
                Warm(inner).give_way(concurrent);
            }
        });
        warm
    }

    /// An idle instance for a call that needs so much of the pool.
    pub(crate) fn take(&self, key: &Key, need: Need) -> Option<Instance> {
        let mut lines = self.0.lines.lock();
        let idle = &mut lines.get_mut(key)?.idle;
        // One call deeper than the last may not be admitted with what the instance holds.
        let fits = idle.last_mut()?.slot.reuse(need);
        if fits { idle.pop() } else { None }
    }

    /// The next instance of this key that comes free.
    pub(crate) fn wait(&self, key: &Key, need: Need) -> oneshot::Receiver<Handed> {
        let (turn, handed) = oneshot::channel();
        let mut lines = self.0.lines.lock();
        let line = lines.entry(key.clone()).or_default();
        line.waiting.retain(|waiting| !waiting.turn.is_closed());
        line.waiting.push_back(Waiting { need, turn });
        handed
    }

    /// Takes an instance back after a call that ended well: hands it on, keeps it, or lets it go.
    pub(crate) fn put(&self, mut instance: Instance) {
        if self.0.closed.load(Ordering::Relaxed) || instance.is_spent() {
            return self.retire(instance);
        }
        let pool = self.0.pools.of(instance.slot.need().concurrent);
        let mut lines = self.0.lines.lock();
        let line = lines.entry(instance.key.clone()).or_default();
        line.waiting.retain(|waiting| !waiting.turn.is_closed());
        let others = pool.waiting() > line.waiting.len();
        if others && (line.waiting.is_empty() || instance.turn.elapsed() > TURN) {
            drop(lines);
            return self.retire(instance);
        }
        while let Some(next) = line.waiting.pop_front() {
            if !instance.slot.reuse(next.need) {
                continue;
            }
            let handed = Handed {
                instance: Some(instance),
                warm: self.clone(),
            };
            match next.turn.send(handed) {
                Ok(()) => return,
                Err(mut back) => match back.instance.take() {
                    Some(back) => instance = back,
                    None => return,
                },
            }
        }
        instance.idle_since = Instant::now();
        instance.turn = instance.idle_since;
        line.idle.push(instance);
        drop(lines);
        // Closed meanwhile: whoever closed may have looked before this one was there.
        if self.0.closed.load(Ordering::Relaxed) {
            self.retire_idle(|_| true);
        }
        self.0.idle.notify_one();
        self.sweep();
    }

    /// Lets go of the instance that was idle longest, because somebody waits for a place in its pool.
    fn give_way(&self, concurrent: bool) {
        let mut lines = self.0.lines.lock();
        let of_pool = |instance: &Instance| instance.slot.need().concurrent == concurrent;
        let oldest = lines
            .iter()
            .flat_map(|(key, line)| line.idle.iter().map(move |instance| (key, instance)))
            .filter(|(_, instance)| of_pool(instance))
            .min_by_key(|(_, instance)| instance.idle_since)
            .map(|(key, instance)| (key.clone(), instance.idle_since));
        let Some((key, since)) = oldest else { return };
        let Some(line) = lines.get_mut(&key) else {
            return;
        };
        let place = line
            .idle
            .iter()
            .position(|instance| instance.idle_since == since);
        let instance = place.map(|place| line.idle.remove(place));
        drop(lines);
        if let Some(instance) = instance {
            self.retire(instance);
        }
    }

    /// Lets go of the idle instances of an app's versions other than `current`.
    pub(crate) fn retire_old(&self, environment: &str, app: &str, current: Option<u64>) {
        self.retire_idle(|instance| {
            let place = &instance.terms.place;
            place.environment == environment
                && place.app == app
                && current.is_none_or(|current| place.version != current)
        });
    }

    /// Keeps nothing from now on; instances that run go after their call.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
        self.retire_idle(|_| true);
    }

    fn retire_idle(&self, goes: impl Fn(&Instance) -> bool) {
        let mut going = Vec::new();
        {
            let mut lines = self.0.lines.lock();
            for line in lines.values_mut() {
                let (go, stay) = std::mem::take(&mut line.idle).into_iter().partition(&goes);
                line.idle = stay;
                let go: Vec<Instance> = go;
                going.extend(go);
            }
            lines.retain(|_, line| !line.is_unused());
        }
        going.into_iter().for_each(|instance| self.retire(instance));
    }

    /// Calls the exit function, if there is one, and drops the instance.
    fn retire(&self, instance: Instance) {
        let engine = self.0.engine.clone();
        self.0.engine.spawn(instance.exit(engine));
    }

    /// Starts to look after idle instances, once.
    fn sweep(&self) {
        let mut sweeper = self.0.sweeper.lock();
        if sweeper.is_some() {
            return;
        }
        let (inner, idle) = (Arc::downgrade(&self.0), self.0.idle.clone());
        let task = async move {
            loop {
                let Some(warm) = inner.upgrade().map(Warm) else {
                    return;
                };
                warm.retire_idle(Instance::is_stale);
                let next = warm.next_stale();
                drop(warm);
                match next {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => idle.notified().await,
                }
            }
        };
        *sweeper = self.0.engine.spawn(task).map(AbortOnDropHandle::new);
    }

    /// When the next idle instance will have been so for too long; none when none is idle.
    fn next_stale(&self) -> Option<Duration> {
        /// Looking more often costs more than an instance a moment longer.
        const AT_LEAST: Duration = Duration::from_millis(20);
        /// One that comes later and goes sooner than the one waited for is found by then.
        const AT_MOST: Duration = Duration::from_secs(1);
        let lines = self.0.lines.lock();
        let idle = lines.values().flat_map(|line| &line.idle);
        idle.map(|instance| instance.stale_in())
            .min()
            .map(|wait| wait.clamp(AT_LEAST, AT_MOST))
    }
}

impl Line {
    fn is_unused(&self) -> bool {
        self.idle.is_empty() && self.waiting.iter().all(|waiting| waiting.turn.is_closed())
    }
}
