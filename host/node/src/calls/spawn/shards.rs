//! The shards this node holds: acquired, renewed, shared with the nodes beside it.
//!
//! A node that runs whatever is due is a member for as long as it renews its member's lease; each
//! member holds its part of the shards, and gives up what is more when another joins. A lease of
//! another node has lapsed when it was not renewed for its whole time while this node watched and
//! could write: clocks are not compared, and a disk that nobody could write to is nobody's silence.
//!
//! Renewal is a task of its own and ends after the last job was recorded: neither a drain nor a
//! slow look for work loses a shard.

use super::hand::Hand;
use crate::core::Core;
use lydian_store::{Epoch, Error, Lease, LeaseName, SHARDS, Shard};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long a shard stays with a node that is silent.
const LEASE: Duration = Duration::from_secs(15);
/// How often leases are renewed: two may fail before one lapses.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// Pause after a renewal failed.
const RENEW_AGAIN: Duration = Duration::from_millis(500);
/// Leases of members.
const MEMBER: &str = "node/";

/// What this node holds; shared by those who use it and the task that renews it.
pub(super) struct Shards {
    held: Mutex<HashMap<Shard, Epoch>>,
    /// Taken to change what is held in the store and here together.
    changing: tokio::sync::Mutex<()>,
    /// A renewal failed since others were last looked at.
    failed: AtomicBool,
    watched: Mutex<HashMap<LeaseName, Watched>>,
    /// Held, and to be given up when nothing of them is in hand.
    leaving: Mutex<HashSet<Shard>>,
}

/// Another node's lease as it was when it last changed.
struct Watched {
    lease: Lease,
    since: Instant,
}

impl Shards {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            held: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            failed: AtomicBool::new(false),
            watched: Mutex::default(),
            leaving: Mutex::default(),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.lock().is_empty()
    }

    pub(super) fn epoch(&self, shard: Shard) -> Option<Epoch> {
        self.held.lock().get(&shard).copied()
    }

    /// Those to claim from.
    pub(super) fn open(&self) -> Vec<(Shard, Epoch)> {
        let (held, leaving) = (self.held.lock(), self.leaving.lock());
        let open = held.iter().filter(|(shard, _)| !leaving.contains(shard));
        open.map(|(shard, epoch)| (*shard, *epoch)).collect()
    }

    /// Notes that another node has the shard.
    pub(super) fn lost(&self, shard: Shard) {
        self.held.lock().remove(&shard);
    }

    /// Acquires one shard, if it is free.
    pub(super) async fn acquire(&self, core: &Core, shard: Shard) -> Result<Option<Epoch>, Error> {
        let _changing = self.changing.lock().await;
        if let Some(epoch) = self.epoch(shard) {
            return Ok(Some(epoch));
        }
        let node = &core.spawner.identity.node;
        let epoch = core
            .store
            .leases()
            .acquire(&shard.lease(), node, LEASE)
            .await?;
        if let Some(epoch) = epoch {
            self.held.lock().insert(shard, epoch);
        }
        Ok(epoch)
    }

    /// Takes or gives up shards until this node has its part.
    pub(super) async fn balance(&self, core: &Core, hand: &Hand) -> Result<(), Error> {
        let _changing = self.changing.lock().await;
        let (leases, node) = (core.store.leases(), &core.spawner.identity.node);
        let all = leases.leases().await?;
        self.watch(core, &all);
        let member: LeaseName = format!("{MEMBER}{node}").into();
        if !all
            .iter()
            .any(|(name, lease)| *name == member && lease.node == *node)
        {
            leases.acquire(&member, node, LEASE).await?;
        }
        let others = all.iter().filter(|(name, lease)| {
            name.as_str().starts_with(MEMBER) && lease.node != *node && !self.is_silent(name)
        });
        let part = SHARDS.div_ceil(1 + others.count());
        self.bury(core, &all).await?;
        let taken: HashMap<Shard, bool> = all
            .iter()
            .filter_map(|(name, lease)| {
                let free = lease.node == *node || self.is_silent(name);
                Some((Shard::of_lease(name)?, free))
            })
            .collect();
        let is_free = |shard: &Shard| taken.get(shard).copied().unwrap_or(true);
        let shared: Vec<Shard> = {
            let held = self.held.lock();
            held.keys()
                .copied()
                .filter(|shard| !shard.is_own())
                .collect()
        };
        let mut wanted: Vec<LeaseName> = Vec::new();
        let staying: Vec<Shard> = {
            let leaving = self.leaving.lock();
            shared
                .iter()
                .copied()
                .filter(|shard| !leaving.contains(shard))
                .collect()
        };
        if shared.len() <= part {
            self.leaving.lock().retain(|shard| shard.is_own());
            let free =
                from_somewhere(core).filter(|shard| is_free(shard) && !shared.contains(shard));
            wanted.extend(free.take(part - shared.len()).map(Shard::lease));
        } else if staying.len() > part {
            self.leave(staying, part, hand);
        }
        // Of programs that are gone and left something to do.
        let due = core.store.jobs().due_shards().await?;
        let left = due.iter().filter(|shard| shard.is_own() && is_free(shard));
        wanted.extend(
            left.filter(|shard| self.epoch(**shard).is_none())
                .map(|shard| shard.lease()),
        );
        self.leave_unused(&due, hand);
        if !wanted.is_empty() {
            let taken = leases.acquire_many(wanted, node, LEASE).await?;
            let taken = taken
                .iter()
                .filter_map(|(name, epoch)| Some((Shard::of_lease(name)?, *epoch)));
            self.held.lock().extend(taken);
        }
        Ok(())
    }

    /// Takes the leases of members that are gone, so that no later node takes them for one.
    async fn bury(&self, core: &Core, all: &[(LeaseName, Lease)]) -> Result<(), Error> {
        let (leases, node) = (core.store.leases(), &core.spawner.identity.node);
        let member = |name: &LeaseName| name.as_str().starts_with(MEMBER) && self.is_silent(name);
        let gone = all.iter().map(|(name, _)| name).filter(|name| member(name));
        let gone: Vec<LeaseName> = gone.cloned().collect();
        if gone.is_empty() {
            return Ok(());
        }
        for (name, epoch) in leases.acquire_many(gone, node, LEASE).await? {
            leases.release(&name, node, epoch).await?;
        }
        Ok(())
    }

    /// Gives up what is more than this node's part, whatever it is: what only waits in those shards
    /// is the other node's work as well.
    fn leave(&self, mut staying: Vec<Shard>, part: usize, hand: &Hand) {
        staying.truncate(staying.len() - part);
        self.leaving.lock().extend(&staying);
        for shard in staying {
            hand.jobs_of(shard).iter().for_each(|id| hand.let_go(id));
        }
    }

    fn leave_unused(&self, due: &[Shard], hand: &Hand) {
        let (held, mut leaving) = (self.held.lock(), self.leaving.lock());
        let own = held.keys().filter(|shard| shard.is_own());
        let unused = own.filter(|shard| !due.contains(shard) && !hand.has_of(**shard));
        leaving.extend(unused);
    }

    /// Gives up those that are to be left, or all, as soon as nothing of them is in hand.
    pub(super) async fn give_up(&self, core: &Core, hand: &Hand, all: bool) {
        let unused = |shard: Shard| {
            let leaves = all || self.leaving.lock().contains(&shard);
            leaves && !hand.has_of(shard)
        };
        self.release(core, unused).await;
    }

    /// Gives up the shards of which it is true.
    pub(super) async fn release(&self, core: &Core, unused: impl Fn(Shard) -> bool) {
        let shards: Vec<Shard> = self.held.lock().keys().copied().collect();
        let unused: Vec<Shard> = shards.into_iter().filter(|shard| unused(*shard)).collect();
        if unused.is_empty() {
            return;
        }
        let _changing = self.changing.lock().await;
        let (leases, node) = (core.store.leases(), &core.spawner.identity.node);
        let mut given_up = Vec::new();
        for shard in unused {
            self.leaving.lock().remove(&shard);
            let epoch = self.held.lock().remove(&shard);
            given_up.extend(epoch.map(|epoch| (shard.lease(), epoch)));
        }
        // At once, so that the store can write them together.
        let releases = given_up
            .iter()
            .map(|(name, epoch)| leases.release(name, node, *epoch));
        for released in futures::future::join_all(releases).await {
            if let Err(error) = released {
                tracing::debug!(%error, "a lease was not given up; it lapses by itself");
            }
        }
    }

    /// Tells the other nodes that this one takes no more work.
    pub(super) async fn resign(&self, core: &Core) {
        let _changing = self.changing.lock().await;
        let (leases, node) = (core.store.leases(), &core.spawner.identity.node);
        let member: LeaseName = format!("{MEMBER}{node}").into();
        if let Ok(Some(lease)) = leases.holder(&member).await {
            let _ = leases.release(&member, node, lease.epoch).await;
        }
    }

    /// Renews what is held until `done`, and lets go of what another node has taken.
    pub(super) async fn renew(
        self: Arc<Self>,
        core: Arc<Core>,
        hand: Hand,
        done: CancellationToken,
    ) {
        let mut pause = RENEW_EVERY;
        loop {
            tokio::select! {
                () = done.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let changing = self.changing.lock().await;
            if !core.spawner.all && self.is_empty() {
                continue;
            }
            let renewed = core
                .store
                .leases()
                .renew_all(&core.spawner.identity.node)
                .await;
            pause = match renewed {
                Ok(renewed) => {
                    self.keep_only(&core, &renewed, &hand);
                    RENEW_EVERY
                }
                Err(error) => {
                    self.failed.store(true, Ordering::Relaxed);
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot renew leases"
                    );
                    RENEW_AGAIN
                }
            };
            drop(changing);
        }
    }

    fn keep_only(&self, core: &Core, renewed: &[(LeaseName, Epoch)], hand: &Hand) {
        let renewed: HashMap<&str, Epoch> = renewed
            .iter()
            .map(|(name, epoch)| (name.as_str(), *epoch))
            .collect();
        let lost: Vec<Shard> = {
            let mut held = self.held.lock();
            let lost =
                held.extract_if(|shard, epoch| renewed.get(shard.lease().as_str()) != Some(epoch));
            lost.map(|(shard, _)| shard).collect()
        };
        for id in lost.into_iter().flat_map(|shard| hand.jobs_of(shard)) {
            tracing::warn!(%id, "another node has taken a call over");
            core.stop_job(&id);
        }
    }

    fn watch(&self, core: &Core, all: &[(LeaseName, Lease)]) {
        let mut watched = self.watched.lock();
        if self.failed.swap(false, Ordering::Relaxed) {
            watched.clear();
        }
        let node = &core.spawner.identity.node;
        let others: HashMap<&LeaseName, &Lease> = all
            .iter()
            .filter(|(_, lease)| lease.node != *node)
            .map(|(name, lease)| (name, lease))
            .collect();
        watched.retain(|name, seen| others.get(name) == Some(&&seen.lease));
        for (name, lease) in others {
            watched.entry(name.clone()).or_insert_with(|| Watched {
                lease: lease.clone(),
                since: Instant::now(),
            });
        }
    }

    /// Whether another node's lease was not renewed for its whole time.
    fn is_silent(&self, name: &LeaseName) -> bool {
        let watched = self.watched.lock();
        watched
            .get(name)
            .is_some_and(|seen| seen.since.elapsed() >= LEASE)
    }
}

/// The shards that nodes share, from another place on for each node: two that start together take
/// others.
fn from_somewhere(core: &Core) -> impl Iterator<Item = Shard> {
    let node = core.spawner.identity.node.as_str();
    let first = Shard::of(&node.into()).0 as usize;
    Shard::shared()
        .skip(first)
        .chain(Shard::shared().take(first))
}
