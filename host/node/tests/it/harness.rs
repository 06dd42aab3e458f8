//! A node to test with: starts on port 0, ends with the test, and speaks through the generated clients.

use crate::guests;
use bytes::Bytes;
use lydian_api::ErrorExt;
use lydian_api::size::{BLOB_CHUNK_BYTES, MAX_MESSAGE_BYTES};
use lydian_api::v1::apps_client::AppsClient;
use lydian_api::v1::blobs_client::BlobsClient;
use lydian_api::v1::calls_client::CallsClient;
use lydian_api::v1::nodes_client::NodesClient;
use lydian_api::v1::{self, Target, failure};
use lydian_node::{Node, Options};
use lydian_store::Store;
use lydian_value::Digest;
use std::net::SocketAddr;
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Enough for every test; a pool for the whole machine would take address space from the others.
const SANDBOXES: u32 = 32;

/// No step of a test waits longer: what is asked for comes in milliseconds, or on a busy machine in seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct TestNode {
    pub(crate) node: Node,
    pub(crate) address: SocketAddr,
    channel: Channel,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl TestNode {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A node in memory, with other options.
    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options::memory();
        change(&mut options);
        Self::of(options).await
    }

    pub(crate) async fn of(mut options: Options) -> Self {
        options.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        options.max_sandboxes = options.max_sandboxes.or(Some(SANDBOXES));
        let node = Node::start(options).await.expect("the node starts");
        Self::around(node).await
    }

    /// A node over a store that is open.
    pub(crate) async fn over(mut options: Options, store: Store) -> Self {
        options.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        options.max_sandboxes = options.max_sandboxes.or(Some(SANDBOXES));
        let node = Node::start_over(options, store).await;
        Self::around(node.expect("the node starts")).await
    }

    async fn around(node: Node) -> Self {
        let address = node.local_addr().expect("the node listens");
        let served = tokio::spawn({
            let node = node.clone();
            async move { node.serve().await }
        });
        Self {
            node,
            address,
            channel: connect(address).await,
            served,
        }
    }

    pub(crate) fn calls(&self) -> CallsClient<Channel> {
        calls(self.channel.clone())
    }

    pub(crate) fn apps(&self) -> AppsClient<Channel> {
        AppsClient::new(self.channel.clone())
    }

    pub(crate) fn blobs(&self) -> BlobsClient<Channel> {
        BlobsClient::new(self.channel.clone())
    }

    pub(crate) fn nodes(&self) -> NodesClient<Channel> {
        NodesClient::new(self.channel.clone())
    }

    /// Whether the node lacks a blob and asks for it.
    pub(crate) async fn misses(&self, digest: &Digest) -> bool {
        let request = v1::MissingRequest {
            digests: vec![raw(digest)],
        };
        let answer = self.blobs().missing(request).await.unwrap();
        answer.into_inner().digests.len() == 1
    }

    /// Uploads a component written as text.
    pub(crate) async fn put(&self, text: &str) -> Digest {
        self.put_bytes(guests::wasm(text))
            .await
            .expect("the upload")
    }

    pub(crate) async fn put_bytes(&self, bytes: Vec<u8>) -> Result<Digest, Status> {
        let digest = Digest::of(&bytes);
        put_as(self.blobs(), digest, bytes).await.map(|_| digest)
    }

    /// Deploys a component written as text.
    pub(crate) async fn deploy(&self, app: &str, text: &str) -> v1::DeployResponse {
        self.deploy_with(app, text, "").await.expect("the deploy")
    }

    pub(crate) async fn deploy_with(
        &self,
        app: &str,
        text: &str,
        manifest: &str,
    ) -> Result<v1::DeployResponse, Status> {
        let digest = self.put(text).await;
        let request = v1::DeployRequest {
            app: app.to_owned(),
            component: raw(&digest),
            manifest: Bytes::copy_from_slice(manifest.as_bytes()),
            ..Default::default()
        };
        Ok(self.apps().deploy(request).await?.into_inner())
    }

    /// Calls a function of an app and expects it to be carried out, well or badly.
    pub(crate) async fn invoke(
        &self,
        app: &str,
        function: &str,
        args: &[u8],
    ) -> Result<Bytes, v1::Failure> {
        let response = self
            .try_invoke(request(app, function, args))
            .await
            .expect("the call is taken");
        response.outcome.expect("an outcome").into_result()
    }

    pub(crate) async fn try_invoke(
        &self,
        request: v1::InvokeRequest,
    ) -> Result<v1::InvokeResponse, Status> {
        Ok(self.calls().invoke(request).await?.into_inner())
    }

    /// Waits until this many calls are in this state.
    pub(crate) async fn wait_for(
        &self,
        count: usize,
        state: v1::call_info::State,
    ) -> Vec<v1::CallInfo> {
        let mut found = Vec::new();
        patiently(&format!("no {count} calls became {state:?}"), async || {
            let request = v1::ListCallsRequest {
                state: state.into(),
                limit: 1_000,
                ..Default::default()
            };
            let list = self.calls().list(request).await;
            found = list.expect("the list").into_inner().calls;
            found.len() == count
        })
        .await;
        found
    }

    /// The node's sandboxes come back: nothing is left behind.
    pub(crate) async fn is_idle(&self) {
        patiently("sandboxes were left behind", async || {
            let info = self.nodes().info(v1::InfoRequest {}).await;
            info.expect("the info").into_inner().sandboxes_live == 0
        })
        .await;
    }

    /// Ends the node in order.
    pub(crate) async fn shut_down(self, grace: Duration) {
        self.node.shutdown(grace).await;
        self.served
            .await
            .expect("serving ends")
            .expect("without an error");
    }
}

/// Asks until it holds; `otherwise` says what it is when it never does.
pub(crate) async fn patiently(otherwise: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let asked = tokio::time::timeout(PATIENCE, until).await;
    asked.unwrap_or_else(|_| panic!("{otherwise} within {PATIENCE:?}"));
}

pub(crate) async fn connect(address: SocketAddr) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address");
    endpoint
        .tcp_nodelay(true)
        .connect()
        .await
        .expect("the node answers")
}

pub(crate) fn calls(channel: Channel) -> CallsClient<Channel> {
    CallsClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// Uploads bytes under a digest that may be another's.
pub(crate) async fn put_as(
    mut blobs: BlobsClient<Channel>,
    digest: Digest,
    bytes: Vec<u8>,
) -> Result<v1::PutResponse, Status> {
    let start = v1::PutStart {
        digest: raw(&digest),
        size_bytes: bytes.len() as u64,
        offset_bytes: 0,
    };
    let mut parts = vec![v1::PutRequest::from(start)];
    let chunks = bytes.chunks(BLOB_CHUNK_BYTES).map(Bytes::copy_from_slice);
    parts.extend(chunks.map(|data| v1::put_request::Part::Data(data).into()));
    Ok(blobs.put(futures::stream::iter(parts)).await?.into_inner())
}

pub(crate) fn request(app: &str, function: &str, args: &[u8]) -> v1::InvokeRequest {
    v1::InvokeRequest {
        target: Some(Target::app("", app, function)),
        args: Bytes::copy_from_slice(args),
        ..Default::default()
    }
}

pub(crate) fn raw(digest: &Digest) -> Bytes {
    Bytes::copy_from_slice(digest.as_bytes())
}

pub(crate) fn u64_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

/// gRPC code, stable code, text and hints of a refusal.
pub(crate) fn refusal(status: &Status) -> (Code, String, String) {
    let detail = status.lydian();
    (
        status.code(),
        detail.code,
        format!("{} | {}", status.message(), detail.hints.join(" | ")),
    )
}

#[track_caller]
pub(crate) fn expect_kind<T: std::fmt::Debug>(
    result: Result<T, v1::Failure>,
    kind: failure::Kind,
) -> v1::Failure {
    let failure = result.expect_err("the call fails");
    assert_eq!(failure.kind(), kind, "{failure:?}");
    failure
}
