//! What only this crate can make happen to a call, and what the node's API tells of it.

use super::*;
use crate::calls::record::Kind;
use lydian_api::v1::calls_client::CallsClient;
use lydian_api::v1::nodes_client::NodesClient;
use lydian_api::v1::{self, Target, failure};
use lydian_engine::{FailureKind, OutputSink};

#[path = "../../tests/it/guests.rs"]
#[allow(dead_code, reason = "other tests use the others")]
mod guests;

/// A host function that panics: here the one that takes the guest's output. It costs the call it ran in, which says so;
/// others, before, beside and after it, notice nothing, and no sandbox is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_host_function_costs_one_call() {
    let mut options = Options::memory();
    options.max_sandboxes = Some(20);
    let node = Node::start(options).await.unwrap();
    let core = &node.0.core;
    let component = guests::wasm(&guests::printing());
    let digest = core.store.blobs().put(component.into()).await.unwrap();
    let target = Target::component(digest.as_bytes().to_vec(), "hello");
    let mut calls = CallsClient::new(node.routes());
    let request = v1::InvokeRequest {
        target: Some(target.clone()),
        want_output: true,
        ..Default::default()
    };
    // More often than there are sandboxes.
    for _ in 0..25 {
        let checked = core.check(Some(&target), None).await.unwrap();
        let running = core.begin(Kind::Invoke, &checked, Default::default());
        let seat = running.seat().await.unwrap().unwrap();
        let sink = OutputSink::new(|_| panic!("the sink gives way"));
        let bad = running.run(seat, Default::default(), sink);
        let (bad, beside) = tokio::join!(bad, calls.invoke(request.clone()));
        assert_eq!(bad.result.unwrap_err().kind, FailureKind::HostPanic);
        let beside = beside.unwrap().into_inner();
        assert!(beside.outcome.unwrap().into_result().is_ok());
        assert_eq!(&beside.stdout[..], b"hello\n");
        let call = running.call.id.to_string();
        drop(running);
        let get = v1::GetCallRequest {
            call,
            timeout_ms: 0,
        };
        let told = calls.get(get).await.unwrap().into_inner();
        let failure = told.outcome.unwrap().into_result().unwrap_err();
        assert_eq!(failure.kind(), failure::Kind::HostPanic, "{failure:?}");
    }
    let mut nodes = NodesClient::new(node.routes());
    let info = nodes.info(v1::InfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.sandboxes_live, 0);
}
