//! A node made of mirrors: answers as one would, and remembers what it was asked.
//!
//! One app, `math`, whose functions are computed here. What a real node does only under stress or by
//! accident is asked for through [`Script`].

#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "a helper that several tests share, each in part"
)]

use bytes::Bytes;
use lydian_api::error::status;
use lydian_api::v1::apps_server::{Apps, AppsServer};
use lydian_api::v1::blobs_server::{Blobs, BlobsServer};
use lydian_api::v1::calls_server::{Calls, CallsServer};
use lydian_api::v1::{self, ErrorDetail, map_request, map_response, map_result, outcome};
use lydian_api::v1::{put_request, session_request, session_response};
use lydian_client::{Client, FuncType, Type};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};

type Answer<T> = Result<Response<T>, Status>;
type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the node shall do, and what it was asked.
#[derive(Default)]
pub struct Script {
    /// Bytes after which uploads break, one entry per attempt.
    pub break_uploads_after: Mutex<Vec<usize>>,
    /// Nothing is kept of uploads that break.
    pub forget_uploads: AtomicBool,
    /// What is held of an upload is being sent by somebody else.
    pub others_upload: AtomicBool,
    /// The version of `math`; version 2 has other types.
    pub version: AtomicU64,
    /// Inputs a map may have in flight.
    pub map_window: AtomicU64,
    /// Questions for a call's result that are answered "not yet", by call.
    pub not_yet: Mutex<HashMap<String, u64>>,
    pub asked: Asked,
}

/// What happened.
#[derive(Default)]
pub struct Asked {
    pub describes: AtomicU64,
    pub puts: AtomicU64,
    pub put_bytes: AtomicU64,
    pub maps: AtomicU64,
    pub map_inputs: AtomicU64,
    /// Inputs sent beyond the credit.
    pub overdrawn: AtomicU64,
    pub maps_dropped: AtomicU64,
    pub invokes: Mutex<Vec<v1::InvokeRequest>>,
    pub tokens: Mutex<Vec<Option<String>>>,
    pub spawns: Mutex<Vec<v1::SpawnRequest>>,
    pub gets: AtomicU64,
    pub handles_dropped: Mutex<Vec<u32>>,
}

#[derive(Clone, Default)]
pub struct Fake {
    pub script: Arc<Script>,
    blobs: Arc<Mutex<HashMap<Bytes, Vec<u8>>>>,
    partial: Arc<Mutex<HashMap<Bytes, Vec<u8>>>>,
}

impl Fake {
    pub fn new() -> Self {
        let fake = Self::default();
        fake.script.version.store(1, SeqCst);
        fake.script.map_window.store(64, SeqCst);
        fake
    }

    pub fn routes(&self) -> Routes {
        Routes::new(AppsServer::new(self.clone()))
            .add_service(BlobsServer::new(self.clone()))
            .add_service(CallsServer::new(self.clone()))
    }

    pub fn client(&self) -> Client {
        Client::from_service(self.routes())
    }

    pub fn asked(&self) -> &Asked {
        &self.script.asked
    }

    /// Holds the beginning of an upload.
    pub fn hold(&self, bytes: &[u8], length: usize) {
        let digest = Bytes::copy_from_slice(lydian_client::Digest::of(bytes).as_bytes());
        let mut partial = self.partial.lock().unwrap();
        partial.insert(digest, bytes[..length].to_vec());
    }

    pub fn blob(&self, digest: &lydian_client::Digest) -> Option<Vec<u8>> {
        self.blobs
            .lock()
            .unwrap()
            .get(&digest.as_bytes()[..])
            .cloned()
    }
}

/// The functions of `math`.
fn functions(version: u64) -> Vec<FuncType> {
    let number = if version == 1 { Type::U64 } else { Type::S64 };
    let config = Type::record("config", [("depth", Type::U32), ("rate", Type::F64)]);
    let counter = || Type::Own("counter".into());
    vec![
        FuncType::new("square", [("x", number.clone())], Some(number)),
        FuncType::new("train", [("config", config)], Some(Type::F64)),
        FuncType::new("nothing", std::iter::empty::<(&str, Type)>(), None),
        FuncType::new(
            "count",
            [("n", Type::U32)],
            Some(Type::Stream(Some(Arc::new(Type::U32)))),
        ),
        FuncType::new("a:b/c#counter.new", [("start", Type::U32)], Some(counter())),
        FuncType::new(
            "a:b/c#counter.add",
            [("self", Type::Borrow("counter".into())), ("by", Type::U32)],
            Some(Type::U32),
        ),
    ]
}

fn describe(function: &FuncType) -> v1::Function {
    v1::Function {
        name: function.name.clone(),
        signature: function.signature(),
        type_json: serde_json::to_vec(function).unwrap().into(),
        ..v1::Function::default()
    }
}

/// Odd numbers trap, the rest are squared.
fn square(args: &[u8]) -> Result<Bytes, v1::Failure> {
    let x = u64::from_le_bytes(args.try_into().unwrap());
    if x % 2 == 1 {
        return Err(v1::Failure {
            kind: v1::failure::Kind::Trap.into(),
            message: format!("function `square` trapped at {x}"),
            ..v1::Failure::default()
        });
    }
    Ok((x * x).to_le_bytes().to_vec().into())
}

fn outcome_of(result: Result<Bytes, v1::Failure>) -> v1::Outcome {
    v1::Outcome {
        result: Some(outcome::Result::from(result)),
        usage: Some(v1::Usage::default()),
    }
}

#[tonic::async_trait]
impl Apps for Fake {
    async fn deploy(&self, _: Request<v1::DeployRequest>) -> Answer<v1::DeployResponse> {
        let version = self.script.version.fetch_add(1, SeqCst) + 1;
        Ok(Response::new(v1::DeployResponse {
            version,
            ..v1::DeployResponse::default()
        }))
    }

    async fn list(&self, _: Request<v1::ListAppsRequest>) -> Answer<v1::ListAppsResponse> {
        Ok(Response::new(v1::ListAppsResponse::default()))
    }

    async fn describe(
        &self,
        request: Request<v1::DescribeRequest>,
    ) -> Answer<v1::DescribeResponse> {
        self.asked().describes.fetch_add(1, SeqCst);
        let token = request.metadata().get("authorization");
        let token = token.map(|token| token.to_str().unwrap().to_owned());
        self.asked().tokens.lock().unwrap().push(token);
        let Some(v1::describe_request::Of::App(app)) = request.into_inner().of else {
            return Err(Status::invalid_argument("no app"));
        };
        if app.app != "math" {
            let detail = ErrorDetail::new("app-not-found", &app.app).hint("deploy it first");
            let text = format!("no app `{}` in environment `{}`", app.app, app.environment);
            return Err(status(Code::NotFound, text, &detail));
        }
        let current = self.script.version.load(SeqCst);
        let version = if app.version == 0 {
            current
        } else {
            app.version
        };
        Ok(Response::new(v1::DescribeResponse {
            app: Some(v1::App {
                name: app.app,
                environment: app.environment,
                version,
                component: vec![0; 32].into(),
                ..v1::App::default()
            }),
            functions: functions(version).iter().map(describe).collect(),
            ..v1::DescribeResponse::default()
        }))
    }

    async fn history(&self, _: Request<v1::HistoryRequest>) -> Answer<v1::HistoryResponse> {
        Ok(Response::new(v1::HistoryResponse::default()))
    }

    async fn rollback(&self, _: Request<v1::RollbackRequest>) -> Answer<v1::DeployResponse> {
        Err(Status::unimplemented("not here"))
    }

    async fn stop(&self, _: Request<v1::StopRequest>) -> Answer<v1::StopResponse> {
        Ok(Response::new(v1::StopResponse::default()))
    }

    type OpenStream = Events<v1::OpenResponse>;

    async fn open(&self, _: Request<Streaming<v1::OpenRequest>>) -> Answer<Self::OpenStream> {
        Err(Status::unimplemented("not here"))
    }

    type LogsStream = Events<v1::LogChunk>;

    async fn logs(&self, _: Request<v1::AppLogsRequest>) -> Answer<Self::LogsStream> {
        Ok(Response::new(Box::pin(tokio_stream::empty())))
    }

    async fn environments(
        &self,
        _: Request<v1::EnvironmentsRequest>,
    ) -> Answer<v1::EnvironmentsResponse> {
        Ok(Response::new(v1::EnvironmentsResponse {
            environments: vec!["main".into()],
        }))
    }
}

#[tonic::async_trait]
impl Blobs for Fake {
    async fn missing(&self, request: Request<v1::MissingRequest>) -> Answer<v1::MissingResponse> {
        let blobs = self.blobs.lock().unwrap();
        let digests = request.into_inner().digests;
        let missing = digests.into_iter().filter(|d| !blobs.contains_key(d));
        Ok(Response::new(v1::MissingResponse {
            digests: missing.collect(),
        }))
    }

    async fn offset(&self, request: Request<v1::OffsetRequest>) -> Answer<v1::OffsetResponse> {
        let partial = self.partial.lock().unwrap();
        let held = partial
            .get(&request.into_inner().digest)
            .map_or(0, Vec::len);
        Ok(Response::new(v1::OffsetResponse {
            offset_bytes: held as u64,
        }))
    }

    async fn put(&self, request: Request<Streaming<v1::PutRequest>>) -> Answer<v1::PutResponse> {
        self.asked().puts.fetch_add(1, SeqCst);
        let breaks_after = self.script.break_uploads_after.lock().unwrap().pop();
        let mut parts = request.into_inner();
        let Some(put_request::Part::Start(start)) = parts.next().await.unwrap()?.part else {
            return Err(Status::invalid_argument("no start"));
        };
        let busy = self.script.others_upload.load(SeqCst);
        if busy && start.offset_bytes > 0 {
            let detail = ErrorDetail {
                code: "invalid-request".to_owned(),
                subject: "start.offset_bytes".to_owned(),
                hints: Vec::new(),
            };
            let (code, text) = (Code::InvalidArgument, "only 0 bytes are there");
            return Err(status(code, text, &detail));
        }
        let held = match busy {
            true => None,
            false => self.partial.lock().unwrap().remove(&start.digest),
        };
        let mut bytes = held.unwrap_or_default();
        assert_eq!(bytes.len() as u64, start.offset_bytes, "resumed elsewhere");
        let mut taken = 0;
        while let Some(part) = parts.next().await {
            let Some(put_request::Part::Data(data)) = part?.part else {
                return Err(Status::invalid_argument("no data"));
            };
            taken += data.len();
            self.asked().put_bytes.fetch_add(data.len() as u64, SeqCst);
            bytes.extend_from_slice(&data);
            if breaks_after.is_some_and(|bound| taken >= bound) {
                if !self.script.forget_uploads.load(SeqCst) {
                    self.partial.lock().unwrap().insert(start.digest, bytes);
                }
                // As the generated client reports a connection that is gone.
                return Err(Status::unknown("Service was not ready: connection reset"));
            }
        }
        assert_eq!(bytes.len() as u64, start.size_bytes);
        self.blobs.lock().unwrap().insert(start.digest, bytes);
        Ok(Response::new(v1::PutResponse::default()))
    }

    type GetStream = Events<v1::GetResponse>;

    async fn get(&self, _: Request<v1::GetRequest>) -> Answer<Self::GetStream> {
        Err(Status::unimplemented("not here"))
    }
}

/// Counts maps whose answer nobody reads any more before it is complete.
struct Abandoned<S> {
    stream: S,
    fake: Fake,
    done: bool,
}

impl<S: Stream + Unpin> Stream for Abandoned<S> {
    type Item = S::Item;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        let next = Pin::new(&mut self.stream).poll_next(cx);
        self.done |= matches!(next, std::task::Poll::Ready(None));
        next
    }
}

impl<S> Drop for Abandoned<S> {
    fn drop(&mut self) {
        if !self.done {
            self.fake.asked().maps_dropped.fetch_add(1, SeqCst);
        }
    }
}

impl Fake {
    /// One input at a time, credit for the window; gives up when nobody reads.
    async fn run_map(
        self,
        mut parts: Streaming<v1::MapRequest>,
        answers: mpsc::Sender<Result<v1::MapResponse, Status>>,
    ) -> Option<()> {
        let say = async |part: map_response::Part| answers.send(Ok(part.into())).await.ok();
        let window = self.script.map_window.load(SeqCst);
        let Some(map_request::Part::Open(open)) = parts.next().await?.ok()?.part else {
            return None;
        };
        let call = "c-map".into();
        say(map_response::Part::Opened(v1::MapOpened { call })).await?;
        let bytes = 1 << 20;
        say(map_response::Part::Credit(v1::MapCredit {
            inputs: window,
            bytes,
        }))
        .await?;
        let (mut granted, mut received) = (window, 0);
        let mut done = v1::MapDone::default();
        while let Some(part) = parts.next().await {
            let Some(map_request::Part::Inputs(inputs)) = part.ok()?.part else {
                return None;
            };
            assert_eq!(inputs.first_index, received, "an index was left out");
            received += inputs.args.len() as u64;
            self.asked()
                .map_inputs
                .fetch_add(inputs.args.len() as u64, SeqCst);
            self.asked()
                .overdrawn
                .fetch_add(received.saturating_sub(granted), SeqCst);
            let mut results = Vec::new();
            for (index, args) in (inputs.first_index..).zip(&inputs.args) {
                let result = square(args);
                let failed = result.is_err();
                done.succeeded += u64::from(!failed);
                done.failed += u64::from(failed);
                results.push(v1::MapResult {
                    index,
                    result: Some(match result {
                        Ok(value) => map_result::Result::Value(value),
                        Err(failure) => map_result::Result::Failure(failure),
                    }),
                });
                if failed && !open.return_errors {
                    break;
                }
            }
            if !open.ordered {
                results.reverse();
            }
            let credit = v1::MapCredit {
                inputs: inputs.args.len() as u64,
                bytes: inputs.args.iter().map(|args| args.len() as u64).sum(),
            };
            say(map_response::Part::Results(v1::MapResults { results })).await?;
            if done.failed > 0 && !open.return_errors {
                break;
            }
            granted += credit.inputs;
            say(map_response::Part::Credit(credit)).await?;
        }
        say(map_response::Part::Done(done)).await
    }

    /// Counters by handle; the handle 99 ends the session.
    async fn run_session(
        self,
        mut parts: Streaming<v1::SessionRequest>,
        answers: mpsc::Sender<Result<v1::SessionResponse, Status>>,
    ) -> Option<()> {
        let mut counters = HashMap::new();
        while let Some(Ok(request)) = parts.next().await {
            let (id, result) = match request.part? {
                session_request::Part::Open(_) => {
                    let call = "c-session".into();
                    let opened = session_response::Part::Opened(v1::SessionOpened { call });
                    answers.send(Ok(opened.into())).await.ok()?;
                    continue;
                }
                session_request::Part::Drop(drop) => {
                    self.asked()
                        .handles_dropped
                        .lock()
                        .unwrap()
                        .push(drop.handle);
                    (drop.id, Bytes::new())
                }
                session_request::Part::Call(call) if call.function.ends_with(".new") => {
                    let start = u32::from_le_bytes(call.args[..].try_into().unwrap());
                    if start == 99 {
                        let status = Status::aborted("the session was idle");
                        answers.send(Err(status)).await.ok()?;
                        return None;
                    }
                    let handle = counters.len() as u32 + 1;
                    counters.insert(handle, start);
                    (call.id, handle.to_le_bytes().to_vec().into())
                }
                session_request::Part::Call(call) => {
                    let handle = u32::from_le_bytes(call.args[..4].try_into().unwrap());
                    let by = u32::from_le_bytes(call.args[4..].try_into().unwrap());
                    let counter = counters.get_mut(&handle)?;
                    *counter += by;
                    (call.id, counter.to_le_bytes().to_vec().into())
                }
            };
            let result = v1::SessionResult {
                id,
                outcome: Some(outcome_of(Ok(result))),
            };
            let result = session_response::Part::Result(result);
            answers.send(Ok(result.into())).await.ok()?;
        }
        Some(())
    }
}

#[tonic::async_trait]
impl Calls for Fake {
    async fn invoke(&self, request: Request<v1::InvokeRequest>) -> Answer<v1::InvokeResponse> {
        let request = request.into_inner();
        let target = request.target.clone().unwrap();
        self.asked().invokes.lock().unwrap().push(request.clone());
        let outcome = match target.function.as_str() {
            "square" => square(&request.args),
            _ => Ok(Bytes::new()),
        };
        Ok(Response::new(v1::InvokeResponse {
            call: "c-1".into(),
            outcome: Some(outcome_of(outcome)),
            stdout: "hello".into(),
            ..v1::InvokeResponse::default()
        }))
    }

    type RunStream = Events<v1::RunEvent>;

    /// `count`: a stream of numbers in two parts, broken at the end when there are 13.
    async fn run(&self, request: Request<v1::InvokeRequest>) -> Answer<Self::RunStream> {
        use v1::run_event::Event;
        let n = u32::from_le_bytes(request.into_inner().args[..].try_into().unwrap());
        let items = |range: std::ops::Range<u32>, end| {
            let numbers: Vec<u32> = range.collect();
            let items = lydian_value::to_wire(&numbers, &lydian_value::Limits::default());
            let failure = (end && n == 13).then(|| v1::Failure {
                message: "function `count` trapped".into(),
                ..v1::Failure::default()
            });
            Event::Items(v1::StreamItems {
                stream: 0,
                items: items.unwrap(),
                end,
                failure,
            })
        };
        let started = v1::Started {
            call: "c-run".into(),
            start: 1,
        };
        let returned = outcome_of(Ok(0u32.to_le_bytes().to_vec().into()));
        let log = v1::LogChunk {
            data: "counting\n".into(),
            source: 1,
            ..v1::LogChunk::default()
        };
        let events = [
            Event::Started(started),
            Event::Log(log),
            Event::Outcome(returned),
            items(0..n / 2, false),
            items(n / 2..n, true),
        ];
        let events = events.map(|event| Ok(v1::RunEvent { event: Some(event) }));
        Ok(Response::new(Box::pin(tokio_stream::iter(events))))
    }

    type MapStream = Events<v1::MapResponse>;

    async fn map(&self, request: Request<Streaming<v1::MapRequest>>) -> Answer<Self::MapStream> {
        self.asked().maps.fetch_add(1, SeqCst);
        let (answers, stream) = mpsc::channel(1);
        tokio::spawn(self.clone().run_map(request.into_inner(), answers));
        let stream = ReceiverStream::new(stream);
        let stream = Abandoned {
            stream,
            fake: self.clone(),
            done: false,
        };
        Ok(Response::new(Box::pin(stream)))
    }

    type SessionStream = Events<v1::SessionResponse>;

    async fn session(
        &self,
        request: Request<Streaming<v1::SessionRequest>>,
    ) -> Answer<Self::SessionStream> {
        let (answers, stream) = mpsc::channel(1);
        tokio::spawn(self.clone().run_session(request.into_inner(), answers));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn spawn(&self, request: Request<v1::SpawnRequest>) -> Answer<v1::SpawnResponse> {
        let request = request.into_inner();
        let mut spawns = self.asked().spawns.lock().unwrap();
        let key = &request.idempotency_key;
        let duplicate = !key.is_empty() && spawns.iter().any(|s| s.idempotency_key == *key);
        spawns.push(request);
        Ok(Response::new(v1::SpawnResponse {
            call: "c-4".into(),
            duplicate,
        }))
    }

    /// The call `c-N` squares N, once it was asked for often enough; `c-gone` is unknown.
    async fn get(&self, request: Request<v1::GetCallRequest>) -> Answer<v1::GetCallResponse> {
        self.asked().gets.fetch_add(1, SeqCst);
        let call = request.into_inner().call;
        let Ok(x) = call[2..].parse::<u64>() else {
            return Err(Status::not_found(format!("no call `{call}`")));
        };
        let info = v1::CallInfo {
            call: call.clone(),
            result_type_json: serde_json::to_vec(&Type::U64).unwrap().into(),
            ..v1::CallInfo::default()
        };
        let mut not_yet = self.script.not_yet.lock().unwrap();
        let left = not_yet.entry(call).or_default();
        let done = *left == 0;
        *left = left.saturating_sub(1);
        Ok(Response::new(v1::GetCallResponse {
            info: Some(info),
            outcome: done.then(|| outcome_of(square(&x.to_le_bytes()))),
        }))
    }

    async fn cancel(&self, _: Request<v1::CancelRequest>) -> Answer<v1::CancelResponse> {
        Ok(Response::new(v1::CancelResponse { was_running: true }))
    }

    async fn list(&self, _: Request<v1::ListCallsRequest>) -> Answer<v1::ListCallsResponse> {
        Ok(Response::new(v1::ListCallsResponse::default()))
    }

    type LogsStream = Events<v1::LogChunk>;

    async fn logs(&self, _: Request<v1::CallLogsRequest>) -> Answer<Self::LogsStream> {
        Ok(Response::new(Box::pin(tokio_stream::empty())))
    }

    async fn explain(&self, _: Request<v1::ExplainRequest>) -> Answer<v1::ExplainResponse> {
        Ok(Response::new(v1::ExplainResponse::default()))
    }
}
