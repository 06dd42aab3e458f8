//! Claims due jobs of the shards this node leases, and has them run.
//!
//! One task looks for work when poked and now and then; each job it claims is a task (see
//! [`super::job`]). The number of jobs in hand is bounded, so a queue of a million costs the memory
//! of a few hundred, and shared between groups, so a long queue of one app keeps no other waiting.
//! Jobs that functions wait for have a bound of their own at each depth (see [`super::wanted`]):
//! those at the bottom wait for nobody, so all come to an end.

use super::hand::Hand;
use super::job;
use super::shards::Shards;
use crate::core::Core;
use lydian_store::{Claimed, Conflict, Epoch, Shard, Turn};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often it is looked for jobs that nobody poked about: those other processes recorded.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often the part of the shards that this node holds is looked at.
const BALANCE_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether jobs in hand were ended by another process.
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// Pause after the store failed.
const STORE_PAUSE: Duration = Duration::from_millis(200);

pub(super) struct Runner {
    core: Arc<Core>,
    shards: Arc<Shards>,
    hand: Hand,
    balanced: Option<Instant>,
    in_hand: JoinSet<()>,
    /// The group after which to go on.
    after: String,
}

impl Runner {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self {
            hand: core.spawner.hand.clone(),
            shards: Shards::new(),
            core,
            balanced: None,
            in_hand: JoinSet::new(),
            after: String::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let core = self.core.clone();
        let spawner = &core.spawner;
        let done = CancellationToken::new();
        let renewing = self
            .shards
            .clone()
            .renew(core.clone(), self.hand.clone(), done.clone());
        let renewing = tokio::spawn(renewing);
        let watching = tokio::spawn(watch(core.clone(), self.hand.clone(), done.clone()));
        // Nothing was poked about yet, and there may be something to do.
        spawner.poke.notify_one();
        loop {
            tokio::select! {
                () = spawner.stopping.cancelled() => break,
                () = spawner.poke.notified() => {}
                Some(_) = self.in_hand.join_next() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            while self.in_hand.try_join_next().is_some() {}
            if let Err(error) = self.look().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot look for durable calls"
                );
                tokio::time::sleep(STORE_PAUSE).await;
            }
        }
        // Others take up what is not in hand, while this node keeps what is until it has ended.
        if spawner.all {
            self.shards.resign(&core).await;
        }
        self.shards.give_up(&core, &self.hand, true).await;
        while self.in_hand.join_next().await.is_some() {
            while self.in_hand.try_join_next().is_some() {}
            self.shards.give_up(&core, &self.hand, true).await;
        }
        self.shards.give_up(&core, &self.hand, true).await;
        done.cancel();
        let _ = tokio::join!(renewing, watching);
        spawner.stopped.cancel();
    }

    async fn look(&mut self) -> Result<(), lydian_store::Error> {
        match self.core.spawner.all {
            true => self.look_for_all().await,
            false => self.look_for_own().await,
        }
    }

    /// A node runs whatever is due in its part of the shards.
    async fn look_for_all(&mut self) -> Result<(), lydian_store::Error> {
        let core = self.core.clone();
        if self.balanced.is_none_or(|at| at.elapsed() >= BALANCE_EVERY) {
            self.shards.balance(&core, &self.hand).await?;
            self.balanced = Some(Instant::now());
        }
        self.shards.give_up(&core, &self.hand, false).await;
        self.look_for_awaited().await?;
        let (max, in_turn) = (core.options.max_spawned_in_hand, self.hand.in_turn());
        let (skip, one_of) = self.hand.paused();
        let turn = Turn {
            held: self.shards.open(),
            room: max.saturating_sub(in_turn),
            beyond: (2 * max).saturating_sub(in_turn),
            in_hand: self.hand.by_group(),
            skip,
            one_of,
            after: std::mem::take(&mut self.after),
        };
        let turned = core.store.jobs().claim_in_turn(turn).await?;
        self.after = turned.after;
        for claimed in turned.claimed {
            self.take(claimed, None);
        }
        if turned.more {
            core.spawner.poke.notify_one();
        }
        Ok(())
    }

    /// A program that embeds a node runs what it recorded itself.
    async fn look_for_own(&mut self) -> Result<(), lydian_store::Error> {
        self.look_for_awaited().await?;
        let core = self.core.clone();
        let spawner = &core.spawner;
        let (any, mark) = spawner.wanted.own_now();
        if !any && self.shards.is_empty() {
            return Ok(());
        }
        let shards = core.store.jobs().due_shards().await?;
        for shard in spawner.wanted.own_of(shards, mark) {
            let room = core
                .options
                .max_spawned_in_hand
                .saturating_sub(self.hand.in_turn());
            if room == 0 {
                break;
            }
            let Some(epoch) = self.epoch(shard).await? else {
                continue;
            };
            let room = u32::try_from(room).unwrap_or(u32::MAX);
            let claimed = core.store.jobs().claim(shard, epoch, room).await;
            for claimed in self.claimed(shard, claimed)? {
                self.take(claimed, None);
            }
        }
        let unused = |shard| !spawner.wanted.has_own(shard) && !self.hand.has_of(shard);
        self.shards.release(&core, unused).await;
        Ok(())
    }

    /// Claims what functions wait for, however much else is in hand.
    async fn look_for_awaited(&mut self) -> Result<(), lydian_store::Error> {
        let core = self.core.clone();
        let max = core.options.max_spawned_in_hand;
        let mut in_hand = self.hand.awaited();
        let awaited = core.spawner.wanted.take_awaited(|depth| {
            let count = in_hand.entry(depth).or_default();
            *count += 1;
            *count <= max
        });
        for (shard, depths) in awaited {
            let Some(epoch) = self.epoch(shard).await? else {
                continue;
            };
            let ids = depths.keys().cloned().collect();
            let claimed = core.store.jobs().claim_these(shard, epoch, ids).await;
            for claimed in self.claimed(shard, claimed)? {
                let depth = depths.get(&claimed.job.id).copied();
                self.take(claimed, depth);
            }
        }
        Ok(())
    }

    /// What was claimed of a shard; nothing when it is not this node's any more.
    fn claimed(
        &mut self,
        shard: Shard,
        claimed: Result<Vec<Claimed>, lydian_store::Error>,
    ) -> Result<Vec<Claimed>, lydian_store::Error> {
        match claimed {
            Err(lydian_store::Error::Conflict(Conflict::Epoch { .. })) => {
                self.shards.lost(shard);
                Ok(Vec::new())
            }
            claimed => claimed,
        }
    }

    fn take(&mut self, claimed: Claimed, awaited_at: Option<u32>) {
        let job = &claimed.job;
        let in_hand = self
            .hand
            .take(&job.id, job.shard, &claimed.group, awaited_at);
        self.in_hand
            .spawn(job::carry_through(self.core.clone(), claimed, in_hand));
    }

    /// The epoch in which a shard is held. What nodes share is acquired as part of a whole, what is
    /// a program's own when it is needed.
    async fn epoch(&mut self, shard: Shard) -> Result<Option<Epoch>, lydian_store::Error> {
        match self.core.spawner.all {
            true => Ok(self.shards.epoch(shard)),
            false => self.shards.acquire(&self.core, shard).await,
        }
    }
}

/// Stops jobs in hand that another process has ended, as a cancellation does there.
async fn watch(core: Arc<Core>, hand: Hand, done: CancellationToken) {
    loop {
        tokio::select! {
            () = done.cancelled() => return,
            () = tokio::time::sleep(WATCH_EVERY) => {}
        }
        let jobs = hand.jobs(WATCH_EVERY);
        if jobs.is_empty() {
            continue;
        }
        match core.store.jobs().ended(jobs).await {
            Ok(ended) => ended.iter().for_each(|id| core.stop_job(id)),
            Err(error) => tracing::debug!(%error, "cannot look at the calls in hand"),
        }
    }
}
