//! What the bytes of a job hold: Protocol Buffers, so that a later release reads what this one wrote.

use crate::calls::nested::lineage::Lineage;
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
    #[prost(uint32, tag = "10")]
    pub(crate) depth: u32,
    /// The call whose function spawned it; empty: a client did.
    #[prost(string, tag = "11")]
    pub(crate) parent: String,
    /// The first call of its tree, and what that had left to call; empty: it is the first.
    #[prost(string, tag = "12")]
    pub(crate) root: String,
    #[prost(uint64, tag = "13")]
    pub(crate) root_left: u64,
    /// Of an app that is in memory only, and may be gone when the job runs.
    #[prost(bytes = "bytes", tag = "14")]
    pub(crate) manifest: Bytes,
    /// Whether `manifest` is what it says: that of an app may be empty.
    #[prost(bool, tag = "15")]
    pub(crate) whole: bool,
}

impl Payload {
    /// Everything but the arguments.
    pub(crate) fn new(target: &Resolved, limits: Option<v1::Limits>, lineage: &Lineage) -> Self {
        let root = lineage.root.as_ref();
        Self {
            environment: environment(target, lineage).to_owned(),
            app: target.place.app.clone(),
            version: target.place.version,
            component: Bytes::copy_from_slice(target.digest.as_bytes()),
            function: target.name().to_owned(),
            args: Bytes::new(),
            args_blob: Bytes::new(),
            limits,
            traceparent: lineage.traceparent.clone(),
            depth: lineage.depth,
            parent: lineage.parent.map_or_else(String::new, |id| id.to_string()),
            root: root.map_or_else(String::new, |root| root.id().to_string()),
            root_left: root.map_or(0, |root| root.left()),
            manifest: Bytes::new(),
            whole: false,
        }
    }
}

/// The environment a job belongs to: of a bare component, the one it is called in.
pub(crate) fn environment<'a>(target: &'a Resolved, lineage: &'a Lineage) -> &'a str {
    match target.place.app.as_str() {
        "" => &lineage.environment,
        _ => &target.place.environment,
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
    #[prost(string, tag = "5")]
    pub(crate) parent: String,
    #[prost(uint32, tag = "6")]
    pub(crate) depth: u32,
    /// See [`lydian_store::NewJob::group`].
    #[prost(string, tag = "7")]
    pub(crate) group: String,
}

impl Details {
    pub(crate) fn of(target: &Resolved, lineage: &Lineage, group: String) -> Self {
        let (result_signature, result_type_json) = result_type(target);
        Self {
            version: target.place.version,
            function: target.name().to_owned(),
            result_signature,
            result_type_json,
            parent: lineage.parent.map_or_else(String::new, |id| id.to_string()),
            depth: lineage.depth,
            group,
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
    /// The digest of the result when it is not in `outcome`.
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) value_blob: Bytes,
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
            ..Self::default()
        }
    }
}
