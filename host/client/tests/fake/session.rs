//! Sessions: counters that live as long as the conversation.

use super::{Fake, outcome_of};
use bytes::Bytes;
use lydian_api::v1::{self, session_request, session_response};
use std::collections::HashMap;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tonic::{Status, Streaming};

impl Fake {
    /// Counters by handle; the handle 99 ends the session.
    pub(super) async fn run_session(
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
