//! `Blobs`: immutable bytes by digest.

use super::Streamed;
use crate::core::Core;
use crate::error::Error;
use crate::resolve::digest_of;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use lydian_api::size::BLOB_CHUNK_BYTES;
use lydian_api::v1::blobs_server::Blobs;
use lydian_api::v1::put_request::Part;
use lydian_api::v1::{
    GetRequest, GetResponse, MissingRequest, MissingResponse, OffsetRequest, OffsetResponse,
    PutRequest, PutResponse, PutStart,
};
use lydian_store::{Reader, Upload};
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

/// Digests in one question.
const MAX_DIGESTS: usize = 10_000;
/// What one reader of a blob makes the node hold.
const PIECE_BYTES: usize = 256 << 10;

pub(crate) struct BlobsService(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl Blobs for BlobsService {
    async fn missing(
        &self,
        request: Request<MissingRequest>,
    ) -> Result<Response<MissingResponse>, Status> {
        let raw = request.into_inner().digests;
        if raw.len() > MAX_DIGESTS {
            return Err(Error::invalid(
                "digests",
                format!("are more than {MAX_DIGESTS}: ask in parts"),
            )
            .into());
        }
        let digests = raw
            .iter()
            .map(|raw| digest_of("digests", raw))
            .collect::<Result<Vec<_>, _>>()?;
        let missing = self
            .0
            .store
            .blobs()
            .missing(&digests)
            .await
            .map_err(Error::from)?;
        let digests = missing
            .iter()
            .map(|digest| Bytes::copy_from_slice(digest.as_bytes()))
            .collect();
        Ok(Response::new(MissingResponse { digests }))
    }

    async fn offset(
        &self,
        request: Request<OffsetRequest>,
    ) -> Result<Response<OffsetResponse>, Status> {
        let digest = digest_of("digest", &request.into_inner().digest)?;
        let offset_bytes = self
            .0
            .store
            .blobs()
            .offset(&digest)
            .await
            .map_err(Error::from)?;
        Ok(Response::new(OffsetResponse { offset_bytes }))
    }

    async fn put(
        &self,
        request: Request<Streaming<PutRequest>>,
    ) -> Result<Response<PutResponse>, Status> {
        let mut parts = request.into_inner();
        let Some(PutRequest {
            part: Some(Part::Start(start)),
        }) = parts.message().await?
        else {
            return Err(
                Error::invalid("part", "is not `start`: the first message names the blob").into(),
            );
        };
        let digest = digest_of("start.digest", &start.digest)?;
        let blobs = self.0.store.blobs();
        if blobs.has_many(&[digest]).await.map_err(Error::from)? == [true] {
            return Ok(Response::new(PutResponse {
                already_there: true,
            }));
        }
        let upload = blobs
            .upload(&digest, start.size_bytes)
            .await
            .map_err(Error::from)?;
        let already_there = receive(upload, &start, &mut parts).await?;
        Ok(Response::new(PutResponse { already_there }))
    }

    type GetStream = Streamed<GetResponse>;

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Self::GetStream>, Status> {
        let request = request.into_inner();
        let digest = digest_of("digest", &request.digest)?;
        let blobs = self.0.store.blobs();
        let reader = blobs.reader(&digest).await.map_err(Error::from)?;
        let (offset, size) = (request.offset_bytes, reader.size());
        if offset > size {
            let reason = format!("is {offset}, past the blob's {size} bytes");
            return Err(Error::invalid("offset_bytes", reason).into());
        }
        Ok(Response::new(pieces(reader, offset).boxed()))
    }
}

/// The blob from `offset` on. A piece is read when the one before it was sent.
fn pieces(
    reader: Box<dyn Reader>,
    offset: u64,
) -> impl Stream<Item = Result<GetResponse, Status>> + Send {
    futures::stream::try_unfold((reader, offset), |(mut reader, offset)| async move {
        let read = reader.read_at(offset, PIECE_BYTES).await;
        let data = read.map_err(Error::from)?;
        let next = offset + data.len() as u64;
        Ok((!data.is_empty()).then(|| (GetResponse { data }, (reader, next))))
    })
}

/// Writes the parts that follow the first. An upload that ends early is kept for a later one.
async fn receive(
    mut upload: Box<dyn Upload>,
    start: &PutStart,
    parts: &mut Streaming<PutRequest>,
) -> Result<bool, Status> {
    // Another uploader of the same blob may have been faster, or what was kept is gone.
    let offset = upload.offset();
    if start.offset_bytes > offset {
        let reason = format!(
            "is {}, but only {offset} bytes are there",
            start.offset_bytes
        );
        return Err(Error::invalid("start.offset_bytes", reason).into());
    }
    let mut known = usize::try_from(offset - start.offset_bytes).unwrap_or(usize::MAX);
    while let Some(PutRequest { part }) = parts.message().await? {
        let Some(Part::Data(mut data)) = part else {
            return Err(Error::invalid("part", "is not `data`: a blob is named once").into());
        };
        if data.len() > BLOB_CHUNK_BYTES {
            return Err(Error::invalid("data", format!("is over {BLOB_CHUNK_BYTES} bytes")).into());
        }
        let skip = known.min(data.len());
        known -= skip;
        drop(data.split_to(skip));
        if !data.is_empty() {
            upload.write(data).await.map_err(Error::from)?;
        }
    }
    let new = upload.finish().await.map_err(Error::from)?;
    Ok(!new)
}
