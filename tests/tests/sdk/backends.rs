//! The back ends, each with the test apps.

use std::net::SocketAddr;

use lydian::{Backend, with_backend};
use lydian_client::{Client, Deploy, Options as Embedded};
use lydian_node::{Node, Options};
use lydian_tests::{Guest, guests};

/// The components that are deployed, under the names their attributes have.
const APPS: [Guest; 3] = [guests::SDK, guests::SDK_CALLS, guests::SDK_CLASSES];

/// Threads of this process.
pub(crate) async fn threads<T>(work: impl Future<Output = T>) -> T {
    let backend = Backend::native()
        .with_app(crate::sdk::app::APP)
        .with_app(crate::sdk_calls::app::APP)
        .with_app(crate::sdk_classes::app::APP);
    with_backend(backend, work).await
}

/// A node inside this process.
pub(crate) async fn embedded<T>(work: impl Future<Output = T>) -> T {
    let backend = Backend::embedded(Embedded::memory()).await.unwrap();
    deploy(backend.as_client().unwrap()).await;
    with_backend(backend, work).await
}

/// A node over a socket.
pub(crate) async fn node<T>(work: impl Future<Output = T>) -> T {
    let data = tempfile::TempDir::new().unwrap();
    let mut options = Options::new(data.path());
    options.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let node = Node::start(options).await.unwrap();
    let url = format!("http://{}", node.local_addr().unwrap());
    let serving = node.clone();
    tokio::spawn(async move { serving.serve().await });
    let backend = Backend::connect(&url).await.unwrap();
    deploy(backend.as_client().unwrap()).await;
    with_backend(backend, work).await
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
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { crate::backends::threads(super::$name()).await.unwrap(); })*
        }
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { crate::backends::embedded(super::$name()).await.unwrap(); })*
        }
        mod node {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { crate::backends::node(super::$name()).await.unwrap(); })*
        }
    };
}

pub(crate) use on_each_backend;
