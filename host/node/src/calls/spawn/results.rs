//! How a job's end is recorded, and read again: small results in the record, large ones as blobs.
//!
//! A blob is named by its job before the record names it, and stays as long as the job is kept.

use super::INLINE_BYTES;
use super::payload::Ended;
use crate::core::Core;
use crate::error::Error;
use bytes::Bytes;
use lydian_api::v1;
use lydian_store::{Claimed, JobId, Outcome as Recorded};
use lydian_value::Digest;
use prost::Message;
use std::time::Duration;
use v1::outcome::Result as Value;

/// The state a job ends in.
#[derive(Clone, Copy)]
pub(super) enum State {
    Succeeded,
    Failed,
    Cancelled,
}

impl Core {
    /// Records how a claimed job ended; what its attempt may not say changes nothing. May be repeated.
    pub(super) async fn record(
        &self,
        claimed: &Claimed,
        ended: &mut Ended,
        state: State,
    ) -> Result<(), lydian_store::Error> {
        let (jobs, id, attempt) = (self.store.jobs(), &claimed.job.id, claimed.attempt);
        if let Some(value) = ended.large_value() {
            let digest = self.store.blobs().put(value.clone()).await?;
            jobs.keep_blobs(id.clone(), attempt, vec![digest]).await?;
            *value = Bytes::new();
            ended.value_blob = Bytes::copy_from_slice(digest.as_bytes());
        }
        let bytes = ended.encode_to_vec().into();
        let outcome = match state {
            State::Succeeded => Recorded::Succeeded(bytes),
            State::Failed => Recorded::Failed(bytes),
            State::Cancelled => Recorded::Cancelled(bytes),
        };
        jobs.finish(vec![(id.clone(), attempt, outcome)]).await?;
        Ok(())
    }

    /// How a durable call ended, waiting up to `wait` for it. A large value is left out; see [`Core::job_outcome`].
    pub(crate) async fn job_end(&self, call: &str, wait: Duration) -> Result<Option<Ended>, Error> {
        let outcome = self.store.jobs().result(&JobId::from(call), wait).await?;
        outcome.map(Ended::read).transpose()
    }

    /// The outcome in full.
    pub(crate) async fn job_outcome(&self, ended: Ended) -> Result<Option<v1::Outcome>, Error> {
        let Some(mut outcome) = ended.outcome else {
            return Ok(None);
        };
        if !ended.value_blob.is_empty() {
            let digest = Digest::try_from(&ended.value_blob[..]).map_err(|error| {
                Error::Internal(format!("the recorded result cannot be found: {error}"))
            })?;
            outcome.result = Some(Value::Value(self.store.blobs().get(&digest).await?));
        }
        Ok(Some(outcome))
    }
}

impl Ended {
    /// The result, if it is too large for a record.
    fn large_value(&mut self) -> Option<&mut Bytes> {
        match self.outcome.as_mut()?.result.as_mut()? {
            Value::Value(value) if value.len() > INLINE_BYTES => Some(value),
            _ => None,
        }
    }
}
