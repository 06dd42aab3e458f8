//! `Leases` in memory.

use std::time::Duration;

use async_trait::async_trait;

use super::{LeaseSlot, MemoryStore, State};
use crate::clock::millis;
use crate::{Epoch, Lease, LeaseName, Leases, NodeId, Result};

#[async_trait]
impl Leases for MemoryStore {
    async fn acquire(
        &self,
        name: &LeaseName,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Option<Epoch>> {
        let (now, ttl_ms) = (self.0.clock.now_ms(), millis(ttl));
        Ok(acquire(&mut self.0.state.lock(), name, node, ttl_ms, now))
    }

    async fn acquire_many(
        &self,
        names: Vec<LeaseName>,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Vec<(LeaseName, Epoch)>> {
        let (now, ttl_ms) = (self.0.clock.now_ms(), millis(ttl));
        let mut state = self.0.state.lock();
        let taken = names.into_iter().filter_map(|name| {
            let epoch = acquire(&mut state, &name, node, ttl_ms, now)?;
            Some((name, epoch))
        });
        Ok(taken.collect())
    }

    async fn renew_all(&self, node: &NodeId) -> Result<Vec<(LeaseName, Epoch)>> {
        let now = self.0.clock.now_ms();
        let mut state = self.0.state.lock();
        let own = state
            .leases
            .iter_mut()
            .filter(|(_, slot)| slot.node.as_ref() == Some(node));
        Ok(own
            .map(|(name, slot)| {
                slot.until_ms = now + slot.ttl_ms;
                (name.clone(), slot.epoch)
            })
            .collect())
    }

    async fn release(&self, name: &LeaseName, node: &NodeId, epoch: Epoch) -> Result<bool> {
        let mut state = self.0.state.lock();
        let own = |slot: &&mut LeaseSlot| slot.node.as_ref() == Some(node) && slot.epoch == epoch;
        let Some(slot) = state.leases.get_mut(name).filter(own) else {
            return Ok(false);
        };
        slot.node = None;
        Ok(true)
    }

    async fn leases(&self) -> Result<Vec<(LeaseName, Lease)>> {
        let state = self.0.state.lock();
        let held = state.leases.iter().filter_map(|(name, slot)| {
            let lease = Lease {
                node: slot.node.clone()?,
                epoch: slot.epoch,
                until_ms: slot.until_ms,
            };
            Some((name.clone(), lease))
        });
        Ok(held.collect())
    }

    async fn holder(&self, name: &LeaseName) -> Result<Option<Lease>> {
        let state = self.0.state.lock();
        Ok(state.leases.get(name).and_then(|slot| {
            Some(Lease {
                node: slot.node.clone()?,
                epoch: slot.epoch,
                until_ms: slot.until_ms,
            })
        }))
    }
}

fn acquire(
    state: &mut State,
    name: &LeaseName,
    node: &NodeId,
    ttl_ms: u64,
    now: u64,
) -> Option<Epoch> {
    let slot = state.leases.entry(name.clone()).or_insert(LeaseSlot {
        epoch: 0,
        node: None,
        until_ms: 0,
        ttl_ms,
    });
    let lapsed = slot.until_ms <= now || slot.until_ms > now + slot.ttl_ms;
    if slot.node.as_ref().is_some_and(|holder| holder != node) && !lapsed {
        return None;
    }
    *slot = LeaseSlot {
        epoch: slot.epoch + 1,
        node: Some(node.clone()),
        until_ms: now + ttl_ms,
        ttl_ms,
    };
    Some(slot.epoch)
}
