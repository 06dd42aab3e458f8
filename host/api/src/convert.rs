//! Short constructors for the messages every client and node makes.

use crate::v1::{
    AppRef, Failure, MapRequest, MapResponse, OpenRequest, OpenResponse, Outcome, PutRequest,
    PutStart, RunEvent, SessionRequest, SessionResponse, Target, map_request, map_response,
    open_request, open_response, outcome, put_request, run_event, session_request,
    session_response, target,
};
use bytes::Bytes;

impl Target {
    /// A function of an app's current version; an empty `function` is its only one.
    pub fn app(
        environment: impl Into<String>,
        app: impl Into<String>,
        function: impl Into<String>,
    ) -> Self {
        let reference = AppRef {
            environment: environment.into(),
            app: app.into(),
            version: 0,
        };
        Self {
            code: Some(target::Code::App(reference)),
            function: function.into(),
            ..Self::default()
        }
    }

    /// A function of a component that is stored but not deployed; it runs without grants.
    pub fn component(digest: impl Into<Bytes>, function: impl Into<String>) -> Self {
        Self {
            code: Some(target::Code::Component(digest.into())),
            function: function.into(),
            ..Self::default()
        }
    }
}

impl Outcome {
    /// The result, or why there is none. An outcome without either is an empty result.
    pub fn into_result(self) -> Result<Bytes, Failure> {
        match self.result {
            Some(outcome::Result::Failure(failure)) => Err(failure),
            Some(outcome::Result::Value(value)) => Ok(value),
            None => Ok(Bytes::new()),
        }
    }
}

impl From<Result<Bytes, Failure>> for outcome::Result {
    fn from(result: Result<Bytes, Failure>) -> Self {
        match result {
            Ok(value) => Self::Value(value),
            Err(failure) => Self::Failure(failure),
        }
    }
}

/// The 32 raw bytes of a digest field; `None` when it has another length.
pub fn digest(field: &[u8]) -> Option<[u8; 32]> {
    field.try_into().ok()
}

/// Wraps the cases of a `oneof` into the message that carries it.
macro_rules! parts {
    ($($message:ident . $field:ident : $part:path;)*) => {$(
        impl From<$part> for $message {
            fn from(part: $part) -> Self {
                Self { $field: Some(part) }
            }
        }
    )*};
}

parts! {
    PutRequest.part: put_request::Part;
    RunEvent.event: run_event::Event;
    MapRequest.part: map_request::Part;
    MapResponse.part: map_response::Part;
    OpenRequest.part: open_request::Part;
    OpenResponse.part: open_response::Part;
    SessionRequest.part: session_request::Part;
    SessionResponse.part: session_response::Part;
}

impl From<PutStart> for PutRequest {
    fn from(start: PutStart) -> Self {
        put_request::Part::Start(start).into()
    }
}
