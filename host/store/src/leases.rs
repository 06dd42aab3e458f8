//! `Leases`: who owns what, for how long, under which epoch.
//!
//! Each acquisition raises the lease's epoch, so whatever an earlier owner still does can be told from
//! what the present one does. Epochs, not clocks, keep writes apart; the time to live only decides when
//! another node may take over.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::Result;

/// How often a lease was acquired. The first owner has 1.
pub type Epoch = u64;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<T: Into<Arc<str>>> From<T> for $name {
            fn from(text: T) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "`{}`", self.0)
            }
        }
    };
}
pub(crate) use name;

name!(
    /// What is leased: `shard/017`, `scheduler`.
    LeaseName
);
name!(
    /// One node of the installation.
    NodeId
);

/// A lease somebody holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub node: NodeId,
    pub epoch: Epoch,
    /// Another node may take it from here on (milliseconds since 1970).
    pub until_ms: u64,
}

/// Ownership with epochs.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Takes the lease when it is free, has lapsed, or was this node's own (a restart): a new
    /// epoch. One that runs longer than it can was taken before a step of the clock, and has lapsed
    /// for all that is known: a caller that wants to be sure watches [`Leases::leases`] for one
    /// that is not renewed. None: another node holds it.
    async fn acquire(
        &self,
        name: &LeaseName,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Option<Epoch>>;

    /// As [`Leases::acquire`] of each of `names`, in one transaction; what is not free is left out.
    async fn acquire_many(
        &self,
        names: Vec<LeaseName>,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Vec<(LeaseName, Epoch)>>;

    /// Extends all leases of the node by their own time to live. Returns what it holds; a lease that
    /// another node took is missing from the answer, one that lapsed unnoticed is held again.
    async fn renew_all(&self, node: &NodeId) -> Result<Vec<(LeaseName, Epoch)>>;

    /// Gives the lease up, if the node still holds it in this epoch.
    async fn release(&self, name: &LeaseName, node: &NodeId, epoch: Epoch) -> Result<bool>;

    /// All that somebody holds, lapsed or not.
    async fn leases(&self) -> Result<Vec<(LeaseName, Lease)>>;

    /// Who holds it, lapsed or not; none when it was never taken or was given up.
    async fn holder(&self, name: &LeaseName) -> Result<Option<Lease>>;
}
