//! `Mesh`: how nodes find and call one another. Here within one process; over HTTP/2 later.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::{NodeId, Shard};

/// A node others can call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub node: NodeId,
    /// Where it listens; empty when it can be reached in process only.
    pub address: String,
}

/// The nodes known to be up, in order of their ids.
pub type Members = Arc<[Member]>;

/// A request to another node; method and body are opaque here.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub body: Bytes,
}

/// The parts of an answer, as they come.
pub type ResponseStream = BoxStream<'static, Result<Bytes, MeshError>>;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MeshError {
    /// Not a member, or it left. The request was not delivered.
    #[error("node `{node}` cannot be reached")]
    Unreachable { node: NodeId },
    /// The node answered with a failure of its own.
    #[error("node `{node}` failed: {reason}")]
    Failed { node: NodeId, reason: String },
}

/// What a node does with what others send.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    async fn invoke(&self, request: Request) -> ResponseStream;

    /// There may be something to claim in this shard. A hint: may be lost, may be repeated.
    fn poke(&self, shard: Shard);
}

/// Members, calls between them, and hints.
#[async_trait]
pub trait Mesh: Send + Sync + 'static {
    fn members(&self) -> watch::Receiver<Members>;

    async fn invoke(&self, node: &NodeId, request: Request) -> Result<ResponseStream, MeshError>;

    /// Passes a hint on; to nobody when the node is not there.
    fn poke(&self, node: &NodeId, shard: Shard);
}

/// A mesh of the nodes in this process. Clones share it.
#[derive(Clone)]
pub struct LocalMesh {
    nodes: Arc<RwLock<BTreeMap<NodeId, Node>>>,
    members: Arc<watch::Sender<Members>>,
}

struct Node {
    member: Member,
    handler: Arc<dyn Handler>,
}

impl LocalMesh {
    pub fn new() -> Self {
        let (members, _) = watch::channel(Members::from([]));
        Self {
            nodes: Arc::default(),
            members: Arc::new(members),
        }
    }

    /// Makes a node reachable until the returned membership is dropped. The same id replaces.
    pub fn join(&self, member: Member, handler: Arc<dyn Handler>) -> Membership {
        let node = member.node.clone();
        let mut nodes = self.nodes.write();
        nodes.insert(
            node.clone(),
            Node {
                member,
                handler: handler.clone(),
            },
        );
        self.announce(&nodes);
        drop(nodes);
        Membership {
            mesh: self.clone(),
            node,
            handler,
        }
    }

    /// Called with the lock held, so that watchers see joins and leaves in order.
    fn announce(&self, nodes: &BTreeMap<NodeId, Node>) {
        self.members
            .send_replace(nodes.values().map(|node| node.member.clone()).collect());
    }

    fn handler(&self, node: &NodeId) -> Option<Arc<dyn Handler>> {
        self.nodes.read().get(node).map(|node| node.handler.clone())
    }
}

impl Default for LocalMesh {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Mesh for LocalMesh {
    fn members(&self) -> watch::Receiver<Members> {
        self.members.subscribe()
    }

    async fn invoke(&self, node: &NodeId, request: Request) -> Result<ResponseStream, MeshError> {
        let handler = self
            .handler(node)
            .ok_or_else(|| MeshError::Unreachable { node: node.clone() })?;
        Ok(handler.invoke(request).await)
    }

    fn poke(&self, node: &NodeId, shard: Shard) {
        if let Some(handler) = self.handler(node) {
            handler.poke(shard);
        }
    }
}

/// Being a member; dropping it leaves the mesh.
pub struct Membership {
    mesh: LocalMesh,
    node: NodeId,
    handler: Arc<dyn Handler>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut nodes = self.mesh.nodes.write();
        // A later join under the same id must not be undone by the end of the earlier one.
        let ours = nodes
            .get(&self.node)
            .is_some_and(|node| Arc::ptr_eq(&node.handler, &self.handler));
        if ours {
            nodes.remove(&self.node);
            self.mesh.announce(&nodes);
        }
    }
}
