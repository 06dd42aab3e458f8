//! `Calls`: running functions, and asking about their calls.

use super::sending::{single, streamed};
use super::{Streamed, log_stream};
use crate::budget::Held;
use crate::calls::query::Output;
use crate::core::Core;
use crate::error::Error;
use futures::StreamExt;
use lydian_api::v1::calls_server::Calls;
use lydian_api::v1::{self, map_request, session_request};
use std::sync::Arc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

pub(crate) struct CallsService(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl Calls for CallsService {
    async fn invoke(
        &self,
        request: Request<v1::InvokeRequest>,
    ) -> Result<Response<v1::InvokeResponse>, Status> {
        Ok(single(self.0.invoke(request.into_inner()).await?))
    }

    type RunStream = Streamed<v1::RunEvent>;

    async fn run(
        &self,
        request: Request<v1::InvokeRequest>,
    ) -> Result<Response<Self::RunStream>, Status> {
        let events = self.0.run(request.into_inner()).await?;
        Ok(streamed(ReceiverStream::new(events).map(Ok)))
    }

    type MapStream = Streamed<v1::MapResponse>;

    async fn map(
        &self,
        request: Request<Streaming<v1::MapRequest>>,
    ) -> Result<Response<Self::MapStream>, Status> {
        let room = request
            .extensions()
            .get::<Held>()
            .cloned()
            .unwrap_or_default();
        let mut inputs = request.into_inner();
        let Some(v1::MapRequest {
            part: Some(map_request::Part::Open(open)),
        }) = inputs.message().await?
        else {
            return Err(
                Error::invalid("part", "is not `open`: the first message opens the map").into(),
            );
        };
        Ok(streamed(self.0.map(open, inputs, room).await?))
    }

    type SessionStream = Streamed<v1::SessionResponse>;

    async fn session(
        &self,
        request: Request<Streaming<v1::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut requests = request.into_inner();
        let Some(v1::SessionRequest {
            part: Some(session_request::Part::Open(open)),
        }) = requests.message().await?
        else {
            return Err(Error::invalid(
                "part",
                "is not `open`: the first message opens the session",
            )
            .into());
        };
        let answers = self.0.session(open, requests).await?;
        Ok(streamed(ReceiverStream::new(answers)))
    }

    async fn spawn(
        &self,
        request: Request<v1::SpawnRequest>,
    ) -> Result<Response<v1::SpawnResponse>, Status> {
        Ok(Response::new(self.0.spawn(request.into_inner()).await?))
    }

    async fn get(
        &self,
        request: Request<v1::GetCallRequest>,
    ) -> Result<Response<v1::GetCallResponse>, Status> {
        Ok(single(self.0.get_call(request.into_inner()).await?))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        Ok(Response::new(
            self.0.cancel_call(request.into_inner()).await?,
        ))
    }

    async fn list(
        &self,
        request: Request<v1::ListCallsRequest>,
    ) -> Result<Response<v1::ListCallsResponse>, Status> {
        Ok(Response::new(
            self.0.list_calls(request.into_inner()).await?,
        ))
    }

    type LogsStream = Streamed<v1::LogChunk>;

    async fn logs(
        &self,
        request: Request<v1::CallLogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        let request = request.into_inner();
        let stream = match self.0.call_output(&request).await? {
            Output::Kept(chunks) => futures::stream::iter(chunks.into_iter().map(Ok)).boxed(),
            Output::Live(log) => {
                let mut follower = log.follow();
                let first = follower.ready().unwrap_or_default();
                log_stream(request.follow.then_some(follower), first, |_| true).boxed()
            }
        };
        Ok(Response::new(stream))
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        Ok(Response::new(self.0.explain(request.into_inner()).await?))
    }
}
