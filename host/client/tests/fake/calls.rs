//! Calls, and what is asked about them.

use super::map::Abandoned;
use super::{Answer, Events, Fake, outcome_of, square};
use bytes::Bytes;
use lydian_api::v1;
use lydian_api::v1::calls_server::Calls;
use lydian_client::Type;
use std::sync::atomic::Ordering::SeqCst;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

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
        drop(spawns);
        let lose = &self.script.lose_spawns;
        if lose
            .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
            .is_ok()
        {
            return Err(Status::unavailable("the connection broke"));
        }
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
