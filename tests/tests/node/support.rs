//! A node on a free port with an empty data folder, and short ways to call guests on it.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lydian_client::{Client, Deploy, Error, FailureKind, Function, Input, Limits, Wave};
use lydian_node::{Data, Node, Options};
use lydian_tests::{Guest, guests};
use tempfile::TempDir;

/// Long enough for a guest that is stopped by something else to be stopped by it.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// Between two calls of the function that serves beside others.
const PAUSE: Duration = Duration::from_millis(1);

/// Enough for every test. A pool for the whole machine takes a share of the address space, and of the mappings that
/// Linux allows a process, that tests at once do not all find.
const SANDBOXES: u32 = 64;

/// No step of a test waits longer; a node that hangs fails the test instead of holding it.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct TestNode {
    node: Node,
    pub(crate) client: Client,
    data: PathBuf,
    /// Removed when the node is.
    _data: TempDir,
}

/// How a call ended, as tests compare it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With this result, in WAVE; empty when the function has none.
    Value(String),
    Failed(FailureKind, String),
    /// Before a sandbox was taken: the error's code.
    Refused(String),
}

impl Ended {
    pub(crate) fn kind(&self) -> Option<FailureKind> {
        match self {
            Self::Failed(kind, _) => Some(*kind),
            _ => None,
        }
    }
}

impl TestNode {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A node on a directory that outlives it.
    pub(crate) async fn on(data: &Path) -> Self {
        Self::with(|options| options.data = Data::Directory(data.to_owned())).await
    }

    /// The files of native code that the node has.
    pub(crate) fn artifacts(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.data.join("artifacts")).unwrap();
        let files = files.map(|file| file.unwrap().path());
        files
            .filter(|path| path.extension().is_some_and(|end| end == "artifact"))
            .collect()
    }

    /// A node with other options.
    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let data = TempDir::new().unwrap();
        let mut options = Options::new(data.path());
        options.max_sandboxes = Some(SANDBOXES);
        change(&mut options);
        let Data::Directory(directory) = options.data.clone() else {
            panic!("these tests keep what they have on the disk")
        };
        options.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let node = Node::start(options).await.unwrap();
        let address = node
            .local_addr()
            .expect("a node that listens has an address");
        let serving = node.clone();
        tokio::spawn(async move { serving.serve().await });
        let client = Client::connect(&format!("http://{address}")).await.unwrap();
        Self {
            node,
            client,
            data: directory,
            _data: data,
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.node.local_addr().expect("it listens")
    }

    /// Removes what nothing uses.
    pub(crate) async fn collect(&self) {
        self.node.collect().await;
    }

    /// Directories that are there for guests.
    pub(crate) fn trees(&self) -> usize {
        let nodes = std::fs::read_dir(self._data.path().join("trees")).unwrap();
        let trees = nodes.flatten().map(|node| {
            let entries = std::fs::read_dir(node.path()).unwrap().flatten();
            entries.filter(|entry| entry.path().is_dir()).count()
        });
        trees.sum()
    }

    /// Stops the node in order. Without its port it still answers what is known, in process.
    pub(crate) async fn shut_down(self) -> Self {
        self.node.shutdown(PATIENCE).await;
        Self {
            client: Client::from_service(self.node.routes()),
            ..self
        }
    }

    /// Deploys a guest with a manifest.
    pub(crate) async fn deploy(&self, app: &str, guest: Guest, manifest: serde_json::Value) {
        let deploy = Deploy::new(app, guest.bytes()).manifest(&manifest);
        let deployed = self.client.deploy(deploy).await;
        deployed.unwrap_or_else(|error| panic!("{app}: {error}"));
    }

    /// Calls a deployed function whose result is a string.
    pub(crate) async fn text<A: Input>(&self, app: &str, function: &str, args: A) -> String {
        let function = self.client.function(app, function).await.unwrap();
        patiently("a call gave no answer", function.call(args))
            .await
            .unwrap_or_else(|error| panic!("{app}: {error}"))
    }

    pub(crate) async fn function(&self, guest: Guest, name: &str) -> Function {
        self.bytes(guest.bytes(), name)
            .await
            .unwrap_or_else(|error| panic!("{}::{name}: {error}", guest.name))
    }

    /// A function of a component that is not deployed.
    pub(crate) async fn bytes(&self, component: Vec<u8>, name: &str) -> Result<Function, Error> {
        let digest = self.client.put(component).await?;
        self.client.component_function(digest, name).await
    }

    /// Calls a guest's function with arguments in WAVE.
    pub(crate) async fn call(
        &self,
        guest: Guest,
        name: &str,
        arguments: &[&str],
        limits: Limits,
    ) -> Ended {
        let function = self.function(guest, name).await.with_limits(limits);
        call(&function, arguments).await
    }

    /// Waits until no sandbox is left: whatever a guest did, its slot comes back.
    pub(crate) async fn is_empty(&self) {
        patiently("sandboxes are left behind", async {
            while self.client.node_info().await.unwrap().sandboxes_live > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    /// Runs `bad` while another function serves all along; each of its answers must be right, and at least one must
    /// come while `bad` runs.
    pub(crate) async fn beside_others<T>(&self, bad: impl Future<Output = T>) -> T {
        let square = self.function(guests::MATH, "square").await;
        let over = AtomicBool::new(false);
        let neighbour = async {
            let mut answers = 0u64;
            while !over.load(Ordering::Relaxed) || answers == 0 {
                answers += 1;
                assert_eq!(
                    square.call::<_, u64>((answers,)).await.unwrap(),
                    answers * answers
                );
                // Compilers have the lowest priority: several tests that take all there is keep them waiting for minutes.
                tokio::time::sleep(PAUSE).await;
            }
        };
        let bad = async {
            let outcome = patiently("the bad guest was never stopped", bad).await;
            over.store(true, Ordering::Relaxed);
            outcome
        };
        let (outcome, ()) = tokio::join!(bad, neighbour);
        self.is_empty().await;
        outcome
    }
}

pub(crate) async fn call(function: &Function, arguments: &[&str]) -> Ended {
    let arguments = Wave(
        arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect(),
    );
    match patiently("a call gave no answer", function.call::<_, Wave>(arguments)).await {
        Ok(Wave(values)) => Ended::Value(values.join(" ")),
        Err(Error::Failed(failure)) => Ended::Failed(failure.kind, failure.message.clone()),
        Err(error) => Ended::Refused(error.code().to_owned()),
    }
}

pub(crate) async fn patiently<T>(what: &str, action: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, action)
        .await
        .unwrap_or_else(|_| panic!("{what} after {PATIENCE:?}"))
}

/// Waits for what another thread does; give it to [`patiently`].
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A limit on wall time alone.
pub(crate) fn timeout(limit: Duration) -> Limits {
    Limits::new().timeout(limit)
}
