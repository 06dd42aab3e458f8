//! Conformance of `Mesh`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use lydian_store::{
    Handler, LocalMesh, Member, Mesh, MeshError, NodeId, Request, ResponseStream, Shard,
};
use parking_lot::Mutex;

/// Answers each request with its own parts, and notes pokes.
#[derive(Default)]
struct Echo {
    poked: Mutex<Vec<Shard>>,
}

#[async_trait]
impl Handler for Echo {
    async fn invoke(&self, request: Request) -> ResponseStream {
        let parts = vec![Ok(Bytes::from(request.method)), Ok(request.body)];
        stream::iter(parts).boxed()
    }

    fn poke(&self, shard: Shard) {
        self.poked.lock().push(shard);
    }
}

fn member(node: &str) -> Member {
    Member {
        node: node.into(),
        address: String::new(),
    }
}

fn names(mesh: &impl Mesh) -> Vec<String> {
    mesh.members()
        .borrow()
        .iter()
        .map(|member| member.node.to_string())
        .collect()
}

#[tokio::test]
async fn members_come_and_go() {
    let mesh = LocalMesh::new();
    let mut members = mesh.members();
    let one = mesh.join(member("n1"), Arc::new(Echo::default()));
    let _two = mesh.join(member("n2"), Arc::new(Echo::default()));
    members.changed().await.unwrap();
    assert_eq!(names(&mesh), ["n1", "n2"]);
    drop(one);
    assert_eq!(names(&mesh), ["n2"]);
}

#[tokio::test]
async fn a_request_reaches_the_node_it_names() {
    let mesh = LocalMesh::new();
    let _one = mesh.join(member("n1"), Arc::new(Echo::default()));
    let request = Request {
        method: "echo".into(),
        body: "body".into(),
    };
    let answer = mesh.invoke(&"n1".into(), request.clone()).await.unwrap();
    let parts: Vec<_> = answer.map(Result::unwrap).collect().await;
    assert_eq!(parts, ["echo", "body"]);
    let nobody: NodeId = "n2".into();
    let error = mesh.invoke(&nobody, request).await.err().unwrap();
    assert_eq!(error, MeshError::Unreachable { node: nobody });
}

/// A poke is a hint: to a node that left it is lost, without an error.
#[tokio::test]
async fn a_poke_reaches_its_node_or_nobody() {
    let (mesh, echo) = (LocalMesh::new(), Arc::new(Echo::default()));
    let one = mesh.join(member("n1"), echo.clone());
    mesh.poke(&"n1".into(), Shard(7));
    drop(one);
    mesh.poke(&"n1".into(), Shard(8));
    assert_eq!(*echo.poked.lock(), [Shard(7)]);
}

/// A node restarted under its id is not thrown out by the end of its earlier self.
#[tokio::test]
async fn leaving_late_does_not_remove_a_successor() {
    let mesh = LocalMesh::new();
    let earlier = mesh.join(member("n1"), Arc::new(Echo::default()));
    let _later = mesh.join(member("n1"), Arc::new(Echo::default()));
    drop(earlier);
    assert_eq!(names(&mesh), ["n1"]);
}
