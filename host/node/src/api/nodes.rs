//! `Nodes`: the node itself.

use crate::convert;
use crate::core::Core;
use crate::options::Data;
use lydian_api::v1::nodes_server::Nodes;
use lydian_api::v1::{InfoRequest, InfoResponse};
use std::net::SocketAddr;
use std::sync::Arc;
use tonic::{Request, Response, Status};

pub(crate) struct NodesService(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl Nodes for NodesService {
    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        // A caller in this process has no address and may know everything.
        let peer = request
            .extensions()
            .get::<crate::serve::Peer>()
            .map(|peer| peer.0);
        let local = peer.is_none_or(|peer: SocketAddr| peer.ip().is_loopback());
        let core = self.0.clone();
        let stats = core.engine.stats();
        Ok(Response::new(InfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            engine: format!("wasmtime {}", lydian_engine::WASMTIME_VERSION),
            started_at_ms: core.started_at_ms,
            sandboxes_live: count(stats.sandboxes_live),
            sandboxes_max: count(stats.sandboxes_max),
            calls_total: core.ids.made(),
            checks: core
                .checks()
                .await
                .into_iter()
                .map(convert::check)
                .collect(),
            draining: core.admission.draining(),
            data_dir: match &core.options.data {
                Data::Directory(path) if local => path.display().to_string(),
                _ => String::new(),
            },
        }))
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
