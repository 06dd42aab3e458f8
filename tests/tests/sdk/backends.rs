//! The back ends, each with the test apps.

use std::net::SocketAddr;
use std::sync::LazyLock;

use lydian::{Backend, with_backend};
use lydian_client::{Client, Deploy, Options as Embedded};
use lydian_node::{Node, Options};
use lydian_tests::{Guest, guests};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// The components that are deployed, under the names their attributes have.
const APPS: [Guest; 5] = [
    guests::SDK,
    guests::SDK_CALLS,
    guests::SDK_CLASSES,
    guests::SDK_MODULES,
    guests::SDK_NAMES,
];

/// Enough for all tests at once; two pools for the whole machine do not find the address space.
const SANDBOXES: u32 = 128;

/// One for all tests: nodes outlive the test that starts them, and each has a pool of sandboxes.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Runs one test.
pub(crate) fn block_on<T>(test: impl Future<Output = lydian::Result<T>>) -> T {
    RUNTIME.block_on(test).unwrap()
}

/// Threads of this process.
pub(crate) async fn threads<T>(work: impl Future<Output = T>) -> T {
    let backend = Backend::native()
        .with_app(crate::sdk::app::APP)
        .with_app(crate::sdk_calls::app::APP)
        .with_app(crate::sdk_classes::app::APP)
        .with_app(crate::sdk_modules::left::APP)
        .with_app(crate::sdk_modules::right::APP)
        .with_app(crate::sdk_names::app::APP);
    with_backend(backend, work).await
}

/// A node inside this process.
pub(crate) async fn embedded<T>(work: impl Future<Output = T>) -> T {
    with_backend(embedded_backend().await.clone(), work).await
}

/// The same node, for what the SDK has no words for.
pub(crate) async fn client() -> Client {
    embedded_backend().await.as_client().unwrap().clone()
}

async fn embedded_backend() -> &'static Backend {
    static BACKEND: OnceCell<Backend> = OnceCell::const_new();
    let backend = BACKEND.get_or_init(async || {
        let options = Embedded::memory().configure(|node| node.max_sandboxes = Some(SANDBOXES));
        let backend = Backend::embedded(options).await.unwrap();
        deploy(backend.as_client().unwrap()).await;
        backend
    });
    backend.await
}

/// A node over a socket.
pub(crate) async fn node<T>(work: impl Future<Output = T>) -> T {
    static BACKEND: OnceCell<Backend> = OnceCell::const_new();
    let backend = BACKEND.get_or_init(async || {
        let mut options = Options::memory();
        options.max_sandboxes = Some(SANDBOXES);
        options.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let node = Node::start(options).await.unwrap();
        let url = format!("http://{}", node.local_addr().unwrap());
        tokio::spawn(async move { node.serve().await });
        let backend = Backend::connect(&url).await.unwrap();
        deploy(backend.as_client().unwrap()).await;
        backend
    });
    with_backend(backend.await.clone(), work).await
}

async fn deploy(client: &Client) {
    for app in APPS {
        client
            .deploy(Deploy::new(app.name.replace('_', "-"), app.bytes()))
            .await
            .unwrap();
    }
}

/// One test per back end for each function named.
macro_rules! on_each_backend {
    ($($name:ident),* $(,)?) => {
        mod threads {
            $(#[test] fn $name() { crate::backends::block_on(crate::backends::threads(super::$name())); })*
        }
        mod embedded {
            $(#[test] fn $name() { crate::backends::block_on(crate::backends::embedded(super::$name())); })*
        }
        mod node {
            $(#[test] fn $name() { crate::backends::block_on(crate::backends::node(super::$name())); })*
        }
    };
}

pub(crate) use on_each_backend;
