//! What came of a call: a value or a failure, and what it used.

use bytes::Bytes;
use std::fmt;
use std::time::Duration;

/// What came of one call. A guest's failure is a value here, never an error of the engine.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The result in the wire encoding, empty when the function has none; or why there is none.
    pub result: Result<Bytes, Failure>,
    /// What the call used, filled in whatever its result.
    pub usage: Usage,
}

/// Why a call gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What to branch on.
    pub kind: FailureKind,
    /// One sentence that names the function and the limit: ``function `spin` ran past its limit of 5s``.
    pub message: String,
    /// What to do about it.
    pub hints: Vec<String>,
    /// Guest frames, innermost first, with names where the component carries them. Empty when there are none.
    pub backtrace: String,
}

impl Failure {
    /// A failure with neither hints nor frames.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
        Failure {
            kind,
            message: message.into(),
            hints: Vec::new(),
            backtrace: String::new(),
        }
    }

    /// The same with one more hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The cases of `lydian.v1.Failure.Kind`, and [`Arguments`](FailureKind::Arguments), which a node refuses earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The guest trapped or panicked.
    Trap,
    /// Wall time.
    Timeout,
    /// CPU time.
    Cpu,
    /// Memories, tables and host bytes.
    Memory,
    /// Arguments or result too large.
    Payload,
    /// Too much printed.
    Output,
    /// Too many handles or open files.
    Handles,
    /// Too many bytes copied by one host call.
    HostCall,
    /// The caller cancelled.
    Cancelled,
    /// A host function panicked; the sandbox is gone, its neighbours did not notice.
    HostPanic,
    /// The node stopped under the call, or could not give it a sandbox.
    Interrupted,
    /// The guest called `exit` with a status that is not zero.
    Exited,
    /// The guest's stack overflowed.
    Stack,
    /// Too many nested calls. Counted by the node; the engine never answers it.
    Depth,
    /// The bytes given are not arguments of the function, or a handle among them is unknown.
    Arguments,
    /// The node had no memory left for it beside other calls; the same call may succeed later.
    NodeFull,
}

/// What one call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Waiting for a sandbox slot.
    pub queue: Duration,
    /// Fetching and mapping the artifact; zero when it was ready.
    pub load: Duration,
    /// Compiling; zero when an artifact was there.
    pub compile: Duration,
    /// New store and instance, start function included.
    pub instantiate: Duration,
    /// Inside the call, host time included.
    pub run: Duration,
    /// On a processor, start and drop included.
    pub cpu: Duration,
    /// Highest sum of memories, tables and host bytes.
    pub peak_memory_bytes: u64,
    /// Encoded arguments.
    pub bytes_in: u64,
    /// Encoded result and stream items.
    pub bytes_out: u64,
    /// Printed by the guest, before escaping.
    pub output_bytes: u64,
    /// How the sandbox came to be.
    pub start: Start,
    /// Calls that the guest made of other functions, theirs not included.
    pub nested_calls: u64,
}

/// How a sandbox came to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// From a component that was ready in memory.
    #[default]
    Fresh,
    /// A sandbox that had served before: a session's second call.
    Warm,
    /// The artifact was mapped for this call.
    ColdLoad,
    /// The component was compiled for this call.
    ColdCompile,
}
