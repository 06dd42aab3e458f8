//! Apps that live as long as their opener.

use crate::guests::{MATH, NEEDS_DATABASE, ONE, SLEEP};
use crate::harness::{TestNode, patiently, raw, refusal, request};
use futures::StreamExt;
use lydian_api::v1::call_info::State;
use lydian_api::v1::open_request::Part as Ask;
use lydian_api::v1::open_response::Part as Said;
use lydian_api::v1::{
    self, AppCode, Close, Detach, Heartbeat, OpenApp, OpenRequest, OpenResponse, OpenedApp,
};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

const SOON: Duration = Duration::from_secs(20);

/// The opener's side of one app.
struct Opener {
    ask: mpsc::Sender<OpenRequest>,
    answers: Streaming<OpenResponse>,
    name: String,
}

impl Opener {
    async fn open(node: &TestNode, text: &str, name: &str) -> Self {
        Self::try_open(node, open(code(node, text).await, name))
            .await
            .expect("the app opens")
    }

    async fn try_open(node: &TestNode, open: OpenApp) -> Result<Self, Status> {
        let (ask, questions) = mpsc::channel(8);
        ask.send(Ask::Open(open).into()).await.unwrap();
        let answers = node.apps().open(ReceiverStream::new(questions)).await?;
        let mut opener = Self {
            ask,
            answers: answers.into_inner(),
            name: String::new(),
        };
        opener.name = opener.opened().await.name;
        Ok(opener)
    }

    async fn answer(&mut self) -> Option<Result<Said, Status>> {
        let next = tokio::time::timeout(SOON, self.answers.next()).await;
        next.expect("an answer in time")
            .map(|answer| answer.map(|answer| answer.part.unwrap()))
    }

    async fn opened(&mut self) -> OpenedApp {
        match self.answer().await.unwrap().unwrap() {
            Said::Opened(opened) => opened,
            other => panic!("not opened: {other:?}"),
        }
    }

    async fn ask(&mut self, ask: Ask) -> Said {
        self.ask.send(ask.into()).await.unwrap();
        self.answer().await.unwrap().unwrap()
    }
}

async fn code(node: &TestNode, text: &str) -> AppCode {
    AppCode {
        component: raw(&node.put(text).await),
        ..Default::default()
    }
}

fn open(code: AppCode, name: &str) -> OpenApp {
    OpenApp {
        name: name.into(),
        code: Some(code),
        ..Default::default()
    }
}

/// Until the app is not known any more.
async fn gone(node: &TestNode, app: &str) {
    patiently(&format!("app `{app}` is still there"), async || {
        let asked = node.try_invoke(request(app, "", &[])).await;
        asked.is_err_and(|status| refusal(&status).1 == "app-not-found")
    })
    .await;
}

async fn listed(node: &TestNode) -> Vec<v1::App> {
    let request = v1::ListAppsRequest::default();
    node.apps().list(request).await.unwrap().into_inner().apps
}

#[tokio::test]
async fn an_ephemeral_app_is_called_and_listed_like_any_other() {
    let node = TestNode::start().await;
    let opener = Opener::open(&node, ONE, "my one.wasm").await;
    assert!(opener.name.starts_with("my-one.wasm~"), "{}", opener.name);
    assert!(node.invoke(&opener.name, "one", &[]).await.is_ok());
    let apps = listed(&node).await;
    assert_eq!(apps.len(), 1);
    assert_eq!((&apps[0].name, apps[0].version), (&opener.name, 1));
    assert!(apps[0].ephemeral && !apps[0].detached);
    let other = Opener::open(&node, ONE, "my one.wasm").await;
    assert_ne!(other.name, opener.name);
    // It is in its environment only.
    let mut elsewhere = request(&opener.name, "one", &[]);
    elsewhere.target = Some(v1::Target::app("dev", &opener.name, "one"));
    assert_eq!(
        refusal(&node.try_invoke(elsewhere).await.unwrap_err()).1,
        "app-not-found"
    );
}

/// `lydian serve` swaps under load: what runs ends where it began, what comes runs on the new one.
#[tokio::test]
async fn a_replaced_app_finishes_its_calls_on_the_old_version() {
    let node = TestNode::start().await;
    let mut opener = Opener::open(&node, SLEEP, "app").await;
    let (mut calls, nanos) = (node.calls(), 2_000_000_000u64.to_le_bytes());
    let sleep = request(&opener.name, "sleep", &nanos);
    let sleeping = tokio::spawn(async move { calls.invoke(sleep).await });
    node.wait_for(1, State::Running).await;
    let next = code(&node, ONE).await;
    let Said::Opened(opened) = opener.ask(Ask::Code(next.clone())).await else {
        panic!("not replaced");
    };
    let deployed = opened.deployed.unwrap();
    assert_eq!((deployed.version, deployed.unchanged), (2, false));
    assert!(opened.swap_micros > 0);
    assert!(
        deployed
            .changes
            .iter()
            .any(|change| change.what == "function one")
    );
    assert!(node.invoke(&opener.name, "one", &[]).await.is_ok());
    let slept = sleeping.await.unwrap().unwrap().into_inner();
    assert!(slept.outcome.unwrap().into_result().is_ok());
    // A client that does not know of the new version yet names the old one.
    let mut old = request(&opener.name, "sleep", &1u64.to_le_bytes());
    if let Some(v1::target::Code::App(app)) = old.target.as_mut().and_then(|t| t.code.as_mut()) {
        app.version = 1;
    }
    assert!(node.try_invoke(old).await.is_ok());
    // The same again is no new version.
    let Said::Opened(again) = opener.ask(Ask::Code(next)).await else {
        panic!("not answered");
    };
    assert!(again.deployed.unwrap().unchanged);
    let history = v1::HistoryRequest {
        app: opener.name.clone(),
        ..Default::default()
    };
    let history = node.apps().history(history).await.unwrap().into_inner();
    let numbers: Vec<_> = history.versions.iter().map(|one| one.version).collect();
    assert_eq!(numbers, [2, 1]);
}

/// A save that does not compile must not take down what is served.
#[tokio::test]
async fn code_that_cannot_run_leaves_the_app_as_it_is() {
    let node = TestNode::start().await;
    let mut opener = Opener::open(&node, ONE, "app").await;
    let bad = code(&node, NEEDS_DATABASE).await;
    let Said::Refused(refused) = opener.ask(Ask::Code(bad.clone())).await else {
        panic!("not refused");
    };
    assert_eq!(refused.code, Code::InvalidArgument as u32);
    assert_eq!(refused.detail.unwrap().code, "missing-import");
    assert!(node.invoke(&opener.name, "one", &[]).await.is_ok());
    let error = Opener::try_open(&node, open(bad, "bad"))
        .await
        .err()
        .unwrap();
    assert_eq!(refusal(&error).1, "missing-import");
}

#[tokio::test]
async fn a_silent_opener_loses_its_app() {
    let silence = Duration::from_secs(2);
    let node = TestNode::with(|options| options.ephemeral_silence = silence).await;
    let mut opener = Opener::open(&node, ONE, "app").await;
    // As long as it beats, the app lives.
    for _ in 0..6 {
        tokio::time::sleep(silence / 4).await;
        opener
            .ask
            .send(Ask::Heartbeat(Heartbeat {}).into())
            .await
            .unwrap();
    }
    assert!(node.invoke(&opener.name, "one", &[]).await.is_ok());
    let end = opener.answer().await.unwrap().unwrap_err();
    assert_eq!(end.code(), Code::DeadlineExceeded);
    gone(&node, &opener.name).await;
    assert!(listed(&node).await.is_empty());
}

#[tokio::test]
async fn an_app_goes_a_grace_after_its_stream() {
    let node = TestNode::with(|options| options.ephemeral_grace = Duration::from_secs(3)).await;
    let opener = Opener::open(&node, ONE, "app").await;
    let name = opener.name.clone();
    drop(opener);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(node.invoke(&name, "one", &[]).await.is_ok());
    gone(&node, &name).await;
}

#[tokio::test]
async fn a_detached_app_stays_until_it_is_stopped() {
    let node = TestNode::with(|options| options.ephemeral_grace = Duration::ZERO).await;
    let mut opener = Opener::open(&node, ONE, "app").await;
    let name = opener.name.clone();
    assert!(matches!(
        opener.ask(Ask::Detach(Detach {})).await,
        Said::Detached(_)
    ));
    drop(opener);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(node.invoke(&name, "one", &[]).await.is_ok());
    assert!(listed(&node).await[0].detached);
    let stop = v1::StopRequest {
        app: name.clone(),
        ..Default::default()
    };
    node.apps().stop(stop).await.unwrap();
    gone(&node, &name).await;
}

#[tokio::test]
async fn a_closed_app_is_gone_at_once() {
    let node = TestNode::start().await;
    let mut opener = Opener::open(&node, ONE, "app").await;
    assert!(matches!(
        opener.ask(Ask::Close(Close {})).await,
        Said::Closed(_)
    ));
    let error = node.try_invoke(request(&opener.name, "", &[])).await;
    assert_eq!(refusal(&error.unwrap_err()).1, "app-not-found");
}

/// What an opener runs is used, although no catalog knows of it.
#[tokio::test]
async fn what_ephemeral_apps_run_is_not_collected() {
    let node = TestNode::with(|options| options.blob_grace = Duration::ZERO).await;
    let mut opener = Opener::open(&node, ONE, "app").await;
    let unused = node.put(SLEEP).await;
    node.node.collect().await;
    let one = node.put(ONE).await;
    let left = v1::MissingRequest {
        digests: vec![raw(&one), raw(&unused)],
    };
    let missing = node.blobs().missing(left).await.unwrap().into_inner();
    assert_eq!(missing.digests, [raw(&unused)]);
    assert!(node.invoke(&opener.name, "one", &[]).await.is_ok());
    let math = code(&node, MATH).await;
    opener.ask(Ask::Code(math)).await;
    node.node.collect().await;
    // The version before can still be named.
    let left = v1::MissingRequest {
        digests: vec![raw(&one)],
    };
    let missing = node.blobs().missing(left).await.unwrap().into_inner();
    assert!(missing.digests.is_empty());
}

/// No deployment may take a name that only an ephemeral app has.
#[tokio::test]
async fn a_deployment_cannot_have_an_ephemeral_name() {
    let node = TestNode::start().await;
    let error = node.deploy_with("app~123456", ONE, "").await.unwrap_err();
    assert_eq!(refusal(&error).1, "invalid-name");
    let opener = Opener::open(&node, ONE, "app").await;
    let rollback = v1::RollbackRequest {
        app: opener.name.clone(),
        ..Default::default()
    };
    let error = node.apps().rollback(rollback).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

fn resume(name: &str) -> OpenApp {
    OpenApp {
        resume: name.into(),
        ..Default::default()
    }
}

/// A client may notice that its connection broke before the node does: the new stream takes the place of the old one,
/// whose end then means nothing.
#[tokio::test]
async fn an_app_goes_on_over_another_stream() {
    let node = TestNode::with(|options| options.ephemeral_grace = Duration::from_millis(50)).await;
    let mut first = Opener::open(&node, ONE, "app").await;
    let name = first.name.clone();
    let mut second = Opener::try_open(&node, resume(&name)).await.unwrap();
    assert_eq!(second.name, name);
    // The old stream ends without a word, and what it asks comes too late.
    assert!(first.answer().await.is_none());
    let _ = first.ask.send(Ask::Close(Close {}).into()).await;
    drop(first);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(node.invoke(&name, "one", &[]).await.is_ok());
    let Said::Opened(opened) = second.ask(Ask::Code(code(&node, MATH).await)).await else {
        panic!("not replaced");
    };
    assert_eq!(opened.deployed.unwrap().version, 2);
    drop(second);
    gone(&node, &name).await;
    let error = Opener::try_open(&node, resume(&name)).await.err().unwrap();
    assert_eq!(refusal(&error).1, "app-not-found");
}

/// What was detached needs no stream, also when its opener asks for it once more.
#[tokio::test]
async fn a_detached_app_that_was_resumed_stays() {
    let node = TestNode::with(|options| options.ephemeral_grace = Duration::ZERO).await;
    let mut opener = Opener::open(&node, ONE, "app").await;
    let name = opener.name.clone();
    opener.ask(Ask::Detach(Detach {})).await;
    drop(opener);
    let mut again = Opener::try_open(&node, resume(&name)).await.unwrap();
    assert!(matches!(
        again.ask(Ask::Detach(Detach {})).await,
        Said::Detached(_)
    ));
    drop(Opener::try_open(&node, resume(&name)).await.unwrap());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(node.invoke(&name, "one", &[]).await.is_ok());
}

/// Only what was opened over a stream can be gone on with, and only where it is.
#[tokio::test]
async fn only_ephemeral_apps_are_resumed() {
    let node = TestNode::start().await;
    node.deploy("deployed", ONE).await;
    let error = Opener::try_open(&node, resume("deployed")).await.err();
    let (code, _, told) = refusal(&error.unwrap());
    assert_eq!(code, Code::InvalidArgument);
    assert!(told.contains("open.resume"), "{told}");
    let opener = Opener::open(&node, ONE, "app").await;
    let elsewhere = OpenApp {
        environment: "dev".into(),
        ..resume(&opener.name)
    };
    let error = Opener::try_open(&node, elsewhere).await.err().unwrap();
    assert_eq!(refusal(&error).1, "app-not-found");
}
