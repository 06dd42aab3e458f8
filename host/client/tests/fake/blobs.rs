//! Uploads, which break where the script says so, and go on where they broke.

use super::{Answer, Events, Fake};
use lydian_api::error::status;
use lydian_api::v1::blobs_server::Blobs;
use lydian_api::v1::{self, ErrorDetail, put_request};
use std::sync::atomic::Ordering::SeqCst;
use tokio_stream::StreamExt;
use tonic::{Code, Request, Response, Status, Streaming};

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
