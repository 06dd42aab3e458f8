//! What the node says of itself.

use crate::apps::time;
use crate::client::Client;
use crate::error::Result;
use lydian_api::v1;
use std::fmt;
use std::time::SystemTime;

impl Client {
    /// Version, load and health of the node.
    ///
    /// # Errors
    /// [`Error::Unreachable`](crate::Error::Unreachable).
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> lydian_client::Result<()> {
    /// let node = client.node_info().await?;
    /// println!("{} of {} sandboxes", node.sandboxes_live, node.sandboxes_max);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn node_info(&self) -> Result<NodeInfo> {
        let response = self
            .read(|| {
                let mut nodes = self.nodes_api();
                async move { nodes.info(v1::InfoRequest {}).await }
            })
            .await?;
        Ok(NodeInfo::from(response))
    }
}

/// A node: what it is, what it does, how it fares.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Lydian's version.
    pub version: String,
    /// The engine's: `wasmtime 48.0.8`.
    pub engine: String,
    /// Since when it runs.
    pub started_at: SystemTime,
    /// Sandboxes in use.
    pub sandboxes_live: u32,
    /// Sandboxes there can be.
    pub sandboxes_max: u32,
    /// Calls since the start.
    pub calls_total: u64,
    /// What `lydian doctor` shows.
    pub checks: Vec<Check>,
    /// It takes no new calls, for it is about to stop.
    pub draining: bool,
    /// Where it keeps its data; only told on the same machine.
    pub data_dir: String,
}

impl From<v1::InfoResponse> for NodeInfo {
    fn from(info: v1::InfoResponse) -> Self {
        Self {
            version: info.version,
            engine: info.engine,
            started_at: time(info.started_at_ms),
            sandboxes_live: info.sandboxes_live,
            sandboxes_max: info.sandboxes_max,
            calls_total: info.calls_total,
            checks: info.checks.into_iter().map(Check::from).collect(),
            draining: info.draining,
            data_dir: info.data_dir,
        }
    }
}

/// One thing about the machine that matters to the node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// `pagemap-scan`.
    pub name: String,
    /// How it stands.
    pub status: CheckStatus,
    /// What was found.
    pub detail: String,
    /// How to mend it; empty when nothing is to be mended.
    pub fix: String,
}

impl From<v1::Check> for Check {
    fn from(check: v1::Check) -> Self {
        use v1::check::Status;
        Self {
            status: match check.status() {
                Status::Ok => CheckStatus::Ok,
                Status::Warn | Status::Unspecified => CheckStatus::Warn,
                Status::Fail => CheckStatus::Fail,
            },
            name: check.name,
            detail: check.detail,
            fix: check.fix,
        }
    }
}

/// How a [`Check`] stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CheckStatus {
    /// Good.
    Ok,
    /// Works, but slower or smaller than it could.
    Warn,
    /// Does not work.
    Fail,
}

impl fmt::Display for CheckStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}
