//! `Leases` in memory.

use std::time::Duration;

use async_trait::async_trait;

use super::{LeaseSlot, MemoryStore};
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
        let mut state = self.0.state.lock();
        let slot = state.leases.entry(name.clone()).or_insert(LeaseSlot {
            epoch: 0,
            node: None,
            until_ms: 0,
            ttl_ms,
        });
        let others = slot.node.as_ref().is_some_and(|holder| holder != node) && slot.until_ms > now;
        if others {
            return Ok(None);
        }
        *slot = LeaseSlot {
            epoch: slot.epoch + 1,
            node: Some(node.clone()),
            until_ms: now + ttl_ms,
            ttl_ms,
        };
        Ok(Some(slot.epoch))
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
