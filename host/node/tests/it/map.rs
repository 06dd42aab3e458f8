//! Many inputs over one stream.

use crate::guests::{MATH, SLEEP};
use crate::harness::{TestNode, patiently, refusal, u64_of};
use bytes::Bytes;
use futures::StreamExt;
use lydian_api::v1::call_info::State;
use lydian_api::v1::failure::Kind;
use lydian_api::v1::map_response::Part;
use lydian_api::v1::{self, MapInputs, MapOpen, MapRequest, Target, map_request, map_result};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

fn open(app: &str, function: &str) -> MapOpen {
    MapOpen {
        target: Some(Target::app("", app, function)),
        ordered: true,
        ..Default::default()
    }
}

/// One map as a client drives it: inputs go out within the credit.
struct Map {
    inputs: Option<mpsc::Sender<MapRequest>>,
    answers: Streaming<v1::MapResponse>,
    credit: u64,
    sent: u64,
    largest_credit: u64,
}

#[derive(Debug, Default)]
struct Ended {
    results: Vec<(u64, Result<Bytes, v1::Failure>)>,
    done: Option<v1::MapDone>,
}

impl Map {
    async fn start(node: &TestNode, open: MapOpen) -> Result<Self, Status> {
        let (inputs, requests) = mpsc::channel(4);
        inputs
            .send(map_request::Part::Open(open).into())
            .await
            .expect("room");
        let answers = node
            .calls()
            .map(ReceiverStream::new(requests))
            .await?
            .into_inner();
        Ok(Self {
            inputs: Some(inputs),
            answers,
            credit: 0,
            sent: 0,
            largest_credit: 0,
        })
    }

    async fn send(&mut self, args: Vec<Bytes>) {
        let count = args.len() as u64;
        let inputs = MapInputs {
            first_index: self.sent,
            args,
        };
        let sender = self.inputs.as_ref().expect("open");
        sender
            .send(map_request::Part::Inputs(inputs).into())
            .await
            .expect("the node reads");
        self.sent += count;
    }

    /// Sends all of `args` within the credit, then reads to the end.
    async fn run(mut self, args: impl Iterator<Item = u64>) -> Result<Ended, Status> {
        let mut args = args
            .map(|arg| Bytes::copy_from_slice(&arg.to_le_bytes()))
            .peekable();
        let mut ended = Ended::default();
        loop {
            while self.inputs.is_some() && (self.credit > 0 || args.peek().is_none()) {
                let batch: Vec<_> = args.by_ref().take(self.credit.min(500) as usize).collect();
                if batch.is_empty() {
                    self.inputs = None;
                } else {
                    self.credit -= batch.len() as u64;
                    self.send(batch).await;
                }
            }
            let Some(answer) = self.answers.next().await else {
                return Ok(ended);
            };
            match answer?.part.expect("a part") {
                Part::Credit(credit) => {
                    self.credit += credit.inputs;
                    self.largest_credit = self.largest_credit.max(self.credit);
                }
                Part::Results(results) => {
                    ended
                        .results
                        .extend(results.results.into_iter().map(|result| {
                            match result.result.expect("a result") {
                                map_result::Result::Value(value) => (result.index, Ok(value)),
                                map_result::Result::Failure(failure) => {
                                    (result.index, Err(failure))
                                }
                            }
                        }))
                }
                Part::Done(done) => ended.done = Some(done),
                Part::Opened(_) | Part::Log(_) => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ordered_results_come_in_input_order() {
    let node = TestNode::start().await;
    node.deploy("math", MATH).await;
    let map = Map::start(&node, open("math", "square")).await.unwrap();
    let ended = map.run(0..20_000).await.unwrap();
    assert_eq!(ended.results.len(), 20_000);
    for (n, (index, value)) in ended.results.iter().enumerate() {
        assert_eq!(
            (*index, u64_of(value.as_ref().unwrap())),
            (n as u64, (n * n) as u64)
        );
    }
    let done = ended.done.unwrap();
    assert_eq!((done.succeeded, done.failed), (20_000, 0));
    assert_eq!(done.total.unwrap().bytes_in, 160_000);
    node.is_idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unordered_results_come_as_they_finish() {
    let node = TestNode::start().await;
    node.deploy("sleep", SLEEP).await;
    let open = MapOpen {
        ordered: false,
        max_parallel: 2,
        ..open("sleep", "sleep")
    };
    let map = Map::start(&node, open).await.unwrap();
    let ended = map.run([500_000_000, 1_000_000].into_iter()).await.unwrap();
    let order: Vec<_> = ended.results.iter().map(|(index, _)| *index).collect();
    assert_eq!(order, [1, 0]);
}

#[tokio::test]
async fn the_empty_map_returns_at_once() {
    let node = TestNode::start().await;
    node.deploy("math", MATH).await;
    let map = Map::start(&node, open("math", "square")).await.unwrap();
    let ended = map.run(std::iter::empty()).await.unwrap();
    assert!(ended.results.is_empty());
    assert_eq!(ended.done.unwrap().succeeded, 0);
}

#[tokio::test]
async fn the_first_failure_ends_the_map() {
    let node = TestNode::start().await;
    node.deploy("math", MATH).await;
    let map = Map::start(&node, open("math", "trap-at")).await.unwrap();
    let ended = map.run(0..5_000).await.unwrap();
    assert_eq!(ended.results.len(), 8);
    assert_eq!(ended.results[7].1.as_ref().unwrap_err().kind(), Kind::Trap);
    assert_eq!(ended.done.unwrap().failed, 1);
    node.is_idle().await;
}

#[tokio::test]
async fn returned_errors_leave_the_other_results_alone() {
    let node = TestNode::start().await;
    node.deploy("math", MATH).await;
    let open = MapOpen {
        return_errors: true,
        ..open("math", "trap-at")
    };
    let ended = Map::start(&node, open)
        .await
        .unwrap()
        .run(0..100)
        .await
        .unwrap();
    let failed: Vec<_> = ended
        .results
        .iter()
        .filter(|(_, result)| result.is_err())
        .map(|(index, _)| *index)
        .collect();
    assert_eq!((ended.results.len(), failed), (100, vec![7]));
}

/// One wrong input is told by its number, as an error of that input.
#[tokio::test]
async fn a_wrong_input_is_named_by_its_index() {
    let node = TestNode::start().await;
    node.deploy("math", MATH).await;
    let open = MapOpen {
        return_errors: true,
        ..open("math", "square")
    };
    let mut map = Map::start(&node, open).await.unwrap();
    let inputs = vec![
        Bytes::copy_from_slice(&2u64.to_le_bytes()),
        Bytes::from_static(b"abc"),
    ];
    map.credit = 0;
    // The first credit is granted before anything is read.
    while map.credit == 0 {
        if let Some(Part::Credit(credit)) = map.answers.next().await.unwrap().unwrap().part {
            map.credit += credit.inputs;
        }
    }
    map.send(inputs).await;
    map.credit = 0;
    let ended = map.run(std::iter::empty()).await.unwrap();
    let failure = ended.results[1].1.as_ref().unwrap_err();
    assert_eq!(failure.kind(), Kind::Arguments);
    assert!(
        failure.message.contains("input 1") && failure.message.contains('x'),
        "{failure:?}"
    );
    assert!(ended.results[0].1.is_ok());
}

/// A client that ignores its credit could fill the node's memory.
#[tokio::test]
async fn inputs_beyond_the_credit_end_the_map() {
    let node = TestNode::start().await;
    node.deploy("sleep", SLEEP).await;
    let mut map = Map::start(&node, open("sleep", "sleep")).await.unwrap();
    let minute = Bytes::copy_from_slice(&60_000_000_000u64.to_le_bytes());
    for _ in 0..3 {
        map.send(vec![minute.clone(); 5_000]).await;
    }
    let error = map.run(std::iter::empty()).await.unwrap_err();
    assert!(refusal(&error).2.contains("credit"), "{error:?}");
    node.is_idle().await;
}

/// Memory is flat: what is granted and not answered stays within the window, however many inputs there are.
#[tokio::test]
async fn credit_is_bounded_while_nothing_is_answered() {
    let node = TestNode::start().await;
    node.deploy("sleep", SLEEP).await;
    let mut map = Map::start(&node, open("sleep", "sleep")).await.unwrap();
    let minute = Bytes::copy_from_slice(&60_000_000_000u64.to_le_bytes());
    let mut granted = 0;
    loop {
        // All of it, however long it takes; then no more of it.
        let wait = match granted < 8_192 {
            true => crate::harness::PATIENCE,
            false => Duration::from_millis(500),
        };
        match tokio::time::timeout(wait, map.answers.next()).await {
            Ok(Some(Ok(v1::MapResponse {
                part: Some(Part::Credit(credit)),
            }))) => {
                granted += credit.inputs;
                map.send(vec![minute.clone(); credit.inputs as usize]).await;
            }
            Ok(Some(Ok(_))) => {}
            _ => break,
        }
    }
    assert_eq!(granted, 8_192);
    drop(map);
    node.is_idle().await;
}

#[tokio::test]
async fn a_map_runs_as_many_sandboxes_as_it_may() {
    let node = TestNode::start().await;
    node.deploy("sleep", SLEEP).await;
    let open = MapOpen {
        max_parallel: 5,
        ..open("sleep", "sleep")
    };
    let map = Map::start(&node, open).await.unwrap();
    let running = tokio::spawn(map.run(std::iter::repeat_n(60_000_000_000, 100)));
    let live = async || {
        let info = node.nodes().info(v1::InfoRequest {}).await;
        info.unwrap().into_inner().sandboxes_live
    };
    patiently("five inputs did not run at once", async || {
        live().await == 5
    })
    .await;
    for _ in 0..50 {
        assert_eq!(live().await, 5);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.abort();
    node.is_idle().await;
}

#[tokio::test]
async fn a_cancelled_map_ends_with_a_cancelled_input() {
    let node = TestNode::start().await;
    node.deploy("sleep", SLEEP).await;
    let open = MapOpen {
        return_errors: true,
        max_parallel: 2,
        ..open("sleep", "sleep")
    };
    let map = Map::start(&node, open).await.unwrap();
    let running = tokio::spawn(map.run(std::iter::repeat_n(60_000_000_000, 50)));
    let call = node.wait_for(1, State::Running).await[0].call.clone();
    assert!(
        node.calls()
            .cancel(v1::CancelRequest { call })
            .await
            .unwrap()
            .into_inner()
            .was_running
    );
    let ended = running.await.unwrap().unwrap();
    assert!(ended.results.len() < 50);
    assert!(
        ended
            .results
            .iter()
            .all(|(_, result)| result.as_ref().unwrap_err().kind() == Kind::Cancelled)
    );
    assert!(ended.done.is_some());
    node.is_idle().await;
}
