//! What the bytes of a job hold: Protocol Buffers, so that a later release reads what this one wrote.

use crate::error::Error;
use crate::resolve::Resolved;
use bytes::Bytes;
use lydian_api::v1;
use lydian_store::Outcome;
use prost::Message;

/// What to run.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Payload {
    #[prost(string, tag = "1")]
    pub(crate) environment: String,
    #[prost(string, tag = "2")]
    pub(crate) app: String,
    #[prost(uint64, tag = "3")]
    pub(crate) version: u64,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) component: Bytes,
    #[prost(string, tag = "5")]
    pub(crate) function: String,
    #[prost(bytes = "bytes", tag = "6")]
    pub(crate) args: Bytes,
    /// The digest of the arguments when they are not in `args`.
    #[prost(bytes = "bytes", tag = "7")]
    pub(crate) args_blob: Bytes,
    #[prost(message, optional, tag = "8")]
    pub(crate) limits: Option<v1::Limits>,
    #[prost(string, tag = "9")]
    pub(crate) traceparent: String,
}

impl Payload {
    /// Everything but the arguments.
    pub(crate) fn new(target: &Resolved, request: &v1::SpawnRequest) -> Self {
        Self {
            environment: target.place.environment.clone(),
            app: target.place.app.clone(),
            version: target.place.version,
            component: Bytes::copy_from_slice(target.digest.as_bytes()),
            function: target.name().to_owned(),
            args: Bytes::new(),
            args_blob: Bytes::new(),
            limits: request.limits,
            traceparent: request.traceparent.clone(),
        }
    }
}

/// What listings show of a job.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Details {
    #[prost(uint64, tag = "1")]
    pub(crate) version: u64,
    #[prost(string, tag = "2")]
    pub(crate) function: String,
    #[prost(string, tag = "3")]
    pub(crate) result_signature: String,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) result_type_json: Bytes,
}

impl Details {
    pub(crate) fn of(target: &Resolved) -> Self {
        let (result_signature, result_type_json) = result_type(target);
        Self {
            version: target.place.version,
            function: target.name().to_owned(),
            result_signature,
            result_type_json,
        }
    }
}

/// The result's type as text and as JSON; both empty when the function has no result.
pub(crate) fn result_type(target: &Resolved) -> (String, Bytes) {
    target
        .ty()
        .result
        .as_ref()
        .map_or_else(Default::default, |ty| {
            // Types have no maps with odd keys, so this cannot fail.
            (
                ty.to_string(),
                serde_json::to_vec(ty).unwrap_or_default().into(),
            )
        })
}

/// How a job ended: its outcome, and the newest of what it printed.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Ended {
    #[prost(message, optional, tag = "1")]
    pub(crate) outcome: Option<v1::Outcome>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) log: Vec<v1::LogChunk>,
    #[prost(message, optional, tag = "3")]
    pub(crate) limits: Option<v1::Limits>,
}

impl Ended {
    pub(crate) fn read(outcome: Outcome) -> Result<Self, Error> {
        let (Outcome::Succeeded(bytes) | Outcome::Failed(bytes) | Outcome::Cancelled(bytes)) =
            outcome;
        Self::decode(bytes)
            .map_err(|_| Error::Internal("the recorded result cannot be read".into()))
    }

    /// An end without a run.
    pub(crate) fn failure(failure: v1::Failure) -> Self {
        let result = Some(v1::outcome::Result::Failure(failure));
        Self {
            outcome: Some(v1::Outcome {
                result,
                usage: None,
            }),
            log: Vec::new(),
            limits: None,
        }
    }
}
