//! A refused request: gRPC code and text, with one [`ErrorDetail`] in the status details.
//!
//! The details use the standard envelope (`google.rpc.Status` holding an `Any`), so that generic
//! tools such as `grpcurl` show code, subject and hints through reflection.

use crate::v1::ErrorDetail;
use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};

/// The `Any` type of the detail.
const TYPE_URL: &str = "type.googleapis.com/lydian.v1.ErrorDetail";

/// `google.rpc.Status`: <https://google.aip.dev/193>.
#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// Makes the status that answers a refused request.
pub fn status(code: Code, message: impl Into<String>, detail: &ErrorDetail) -> Status {
    let message = message.into();
    let envelope = Envelope {
        code: code as i32,
        message: message.clone(),
        details: vec![Any {
            type_url: TYPE_URL.to_owned(),
            value: detail.encode_to_vec().into(),
        }],
    };
    Status::with_details(code, message, envelope.encode_to_vec().into())
}

/// The detail a status carries; `None` when it was not made by a Lydian node.
pub fn detail(status: &Status) -> Option<ErrorDetail> {
    let envelope = Envelope::decode(status.details()).ok()?;
    let any = envelope
        .details
        .into_iter()
        .find(|any| any.type_url == TYPE_URL)?;
    ErrorDetail::decode(any.value).ok()
}

/// Reads a Lydian refusal from a [`Status`].
pub trait ErrorExt {
    /// The detail; its fields are empty when there is none.
    fn lydian(&self) -> ErrorDetail;
}

impl ErrorExt for Status {
    fn lydian(&self) -> ErrorDetail {
        detail(self).unwrap_or_default()
    }
}

impl ErrorDetail {
    /// A detail with a stable kebab-case `code` about `subject`.
    pub fn new(code: impl Into<String>, subject: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            subject: subject.into(),
            hints: Vec::new(),
        }
    }

    /// Adds one piece of advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients branch on the code and print the hints; both must survive the trip.
    #[test]
    fn detail_survives_the_status() {
        let sent = ErrorDetail::new("app-not-found", "sweep").hint("deploy it first");
        let status = status(Code::NotFound, "no app `sweep`", &sent);
        assert_eq!(detail(&status), Some(sent));
        assert_eq!(status.message(), "no app `sweep`");
    }

    /// A proxy answers with statuses of its own.
    #[test]
    fn foreign_status_has_no_detail() {
        assert_eq!(detail(&Status::unavailable("no route")), None);
        let odd = Status::with_details(Code::Internal, "odd", Bytes::from_static(b"\xff\xff"));
        assert_eq!(odd.lydian(), ErrorDetail::default());
    }
}
