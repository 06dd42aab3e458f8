//! Content: sends bytes to the node once, and goes on where a broken upload stopped.

use crate::client::Client;
use crate::error::{Error, Result};
use bytes::Bytes;
use futures::stream;
use lydian_api::size::BLOB_CHUNK_BYTES;
use lydian_api::v1::{MissingRequest, OffsetRequest, PutRequest, PutStart, put_request};
use lydian_value::Digest;
use std::time::Duration;

/// Attempts that bring not one byte further before an upload is given up.
const FRUITLESS_ATTEMPTS: u32 = 5;
/// Pause before the second attempt; each further one waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

impl Client {
    /// Stores bytes on the node and answers their digest. Sends nothing when the node has them, and
    /// only what is missing after an upload that broke off, in this process or an earlier one.
    ///
    /// # Errors
    /// - [`Error::Unreachable`]: the connection broke, and trying again brought no progress.
    /// - [`Error::Unavailable`]: the node's disk is full.
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let digest = client.put(std::fs::read("math.wasm")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn put(&self, bytes: impl Into<Bytes>) -> Result<Digest> {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        if self.missing(&[digest]).await?.is_empty() {
            return Ok(digest);
        }
        let mut reached = 0;
        let mut fruitless = 0;
        let mut resumes = true;
        loop {
            let offset = match resumes {
                true => self.upload_offset(digest).await?.min(bytes.len() as u64),
                false => 0,
            };
            let error = match self.upload(digest, bytes.clone(), offset).await {
                Ok(()) => return Ok(digest),
                Err(error @ Error::Unreachable(_)) => error,
                // What is there is another's, who sends the same at this moment: all of it is sent here too.
                Err(error) if offset > 0 && is_about_offset(&error) => {
                    resumes = false;
                    continue;
                }
                Err(error) => return Err(error),
            };
            fruitless = if offset > reached { 1 } else { fruitless + 1 };
            reached = reached.max(offset);
            if fruitless >= FRUITLESS_ATTEMPTS {
                return Err(error);
            }
            tokio::time::sleep(FIRST_PAUSE * 2u32.pow(fruitless - 1)).await;
        }
    }

    /// Which of these digests the node does not have.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client, digest: lydian_client::Digest) -> lydian_client::Result<()> {
    /// let needs_upload = !client.missing(&[digest]).await?.is_empty();
    /// # Ok(())
    /// # }
    /// ```
    pub async fn missing(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        let request = MissingRequest {
            digests: digests.iter().map(to_bytes).collect(),
        };
        let response = self
            .read(|| {
                let mut blobs = self.blobs();
                let request = request.clone();
                async move { blobs.missing(request).await }
            })
            .await?;
        response.digests.iter().map(|raw| to_digest(raw)).collect()
    }

    async fn upload_offset(&self, digest: Digest) -> Result<u64> {
        let request = OffsetRequest {
            digest: to_bytes(&digest),
        };
        let response = self
            .read(|| {
                let mut blobs = self.blobs();
                let request = request.clone();
                async move { blobs.offset(request).await }
            })
            .await?;
        Ok(response.offset_bytes)
    }

    /// One attempt, from `offset` on. The chunks are views of `bytes`: nothing is copied here.
    async fn upload(&self, digest: Digest, bytes: Bytes, offset: u64) -> Result<()> {
        let start = PutStart {
            digest: to_bytes(&digest),
            size_bytes: bytes.len() as u64,
            offset_bytes: offset,
        };
        let mut rest = bytes;
        let sent = usize::try_from(offset)
            .unwrap_or(rest.len())
            .min(rest.len());
        drop(rest.split_to(sent));
        let chunks = std::iter::from_fn(move || {
            let size = rest.len().min(BLOB_CHUNK_BYTES);
            (size > 0).then(|| rest.split_to(size))
        });
        let parts = std::iter::once(put_request::Part::Start(start))
            .chain(chunks.map(put_request::Part::Data))
            .map(|part| PutRequest { part: Some(part) });
        let mut blobs = self.blobs();
        self.once(blobs.put(stream::iter(parts))).await?;
        Ok(())
    }
}

/// Whether an upload was refused because of where it would go on.
fn is_about_offset(error: &Error) -> bool {
    matches!(error, Error::InvalidArgument(refusal) if refusal.subject == "start.offset_bytes")
}

pub(crate) fn to_bytes(digest: &Digest) -> Bytes {
    Bytes::copy_from_slice(digest.as_bytes())
}

pub(crate) fn to_digest(raw: &[u8]) -> Result<Digest> {
    Digest::try_from(raw).map_err(|error| Error::broken(format!("the node's answer: {error}")))
}
