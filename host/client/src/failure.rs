//! How a function that was started can fail, and what its call cost.

use lydian_api::v1;
use std::fmt;
use std::time::Duration;

/// A call that was started and gave no result.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// What stopped it.
    pub kind: FailureKind,
    /// One line that names the function and the limit.
    pub message: String,
    /// What to do next.
    pub hints: Vec<String>,
    /// The guest's frames, innermost first, names where known; may be empty.
    pub backtrace: String,
    /// Which input of a map it was, counted from zero.
    pub input: Option<u64>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.input {
            Some(index) => write!(f, "input {index}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl From<v1::Failure> for Failure {
    fn from(failure: v1::Failure) -> Self {
        Self {
            kind: FailureKind::from(failure.kind()),
            message: failure.message,
            hints: failure.hints,
            backtrace: failure.backtrace,
            input: None,
        }
    }
}

/// What stopped a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// It trapped or panicked.
    Trap,
    /// Its wall time was over.
    Timeout,
    /// Its CPU time was over.
    Cpu,
    /// It wanted more memory than its limit.
    Memory,
    /// Its arguments or its result were larger than the limit.
    Payload,
    /// It wrote more to stdout and stderr than the limit.
    Output,
    /// It held more handles than the limit.
    Handles,
    /// One host call would have copied more bytes than the limit.
    HostCall,
    /// Somebody cancelled it.
    Cancelled,
    /// A host function broke; the node retired the sandbox.
    HostPanic,
    /// The node stopped or died under it.
    Interrupted,
    /// It called `exit` with a status other than zero.
    Exited,
    /// Its stack was exhausted.
    Stack,
    /// Calls were nested deeper than the limit.
    Depth,
    /// One input of a map, or one call of a session, was not of the function's type.
    Arguments,
    /// The node had no memory left beside other calls; the same call may succeed later.
    NodeFull,
    /// A kind this client is too old to know.
    Unknown,
}

impl FailureKind {
    /// A stable, kebab-case code: `trap`, `host-call`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Payload => "payload",
            Self::Output => "output",
            Self::Handles => "handles",
            Self::HostCall => "host-call",
            Self::Cancelled => "cancelled",
            Self::HostPanic => "host-panic",
            Self::Interrupted => "interrupted",
            Self::Exited => "exited",
            Self::Stack => "stack",
            Self::Depth => "depth",
            Self::Arguments => "arguments",
            Self::NodeFull => "node-full",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the function was stopped at one of its limits, as opposed to failing by itself.
    pub fn is_limit(self) -> bool {
        matches!(
            self,
            Self::Timeout
                | Self::Cpu
                | Self::Memory
                | Self::Payload
                | Self::Output
                | Self::Handles
                | Self::HostCall
                | Self::Stack
                | Self::Depth
        )
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl From<v1::failure::Kind> for FailureKind {
    fn from(kind: v1::failure::Kind) -> Self {
        use v1::failure::Kind;
        match kind {
            Kind::Trap => Self::Trap,
            Kind::Timeout => Self::Timeout,
            Kind::Cpu => Self::Cpu,
            Kind::Memory => Self::Memory,
            Kind::Payload => Self::Payload,
            Kind::Output => Self::Output,
            Kind::Handles => Self::Handles,
            Kind::HostCall => Self::HostCall,
            Kind::Cancelled => Self::Cancelled,
            Kind::HostPanic => Self::HostPanic,
            Kind::Interrupted => Self::Interrupted,
            Kind::Exited => Self::Exited,
            Kind::Stack => Self::Stack,
            Kind::Depth => Self::Depth,
            Kind::Arguments => Self::Arguments,
            Kind::NodeFull => Self::NodeFull,
            Kind::Unspecified => Self::Unknown,
        }
    }
}

/// Where the time and the bytes of one call went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Usage {
    /// Waiting for a sandbox.
    pub queue: Duration,
    /// Fetching and mapping the artifact; zero when it was ready.
    pub load: Duration,
    /// Compiling; zero when there was an artifact.
    pub compile: Duration,
    /// Making the sandbox.
    pub instantiate: Duration,
    /// Inside the call, host functions included.
    pub run: Duration,
    /// CPU time of the call.
    pub cpu: Duration,
    /// Memories, tables and host bytes together at their highest.
    pub peak_memory_bytes: u64,
    /// Size of the arguments.
    pub bytes_in: u64,
    /// Size of the result.
    pub bytes_out: u64,
    /// Written to stdout and stderr.
    pub output_bytes: u64,
    /// Where the sandbox came from.
    pub start: Start,
    /// Calls that the function made of others, theirs not included.
    pub nested_calls: u64,
}

impl From<v1::Usage> for Usage {
    fn from(usage: v1::Usage) -> Self {
        Self {
            queue: Duration::from_micros(usage.queue_micros),
            load: Duration::from_micros(usage.load_micros),
            compile: Duration::from_micros(usage.compile_micros),
            instantiate: finer(usage.instantiate_nanos, usage.instantiate_micros),
            run: finer(usage.run_nanos, usage.run_micros),
            cpu: Duration::from_micros(usage.cpu_micros),
            peak_memory_bytes: usage.peak_memory_bytes,
            bytes_in: usage.bytes_in,
            bytes_out: usage.bytes_out,
            output_bytes: usage.output_bytes,
            start: Start::from(usage.start()),
            nested_calls: usage.nested_calls,
        }
    }
}

/// A node that measures in microseconds only leaves the finer field at zero.
fn finer(nanos: u64, micros: u64) -> Duration {
    if nanos == 0 {
        Duration::from_micros(micros)
    } else {
        Duration::from_nanos(nanos)
    }
}

/// Where a sandbox came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Start {
    /// The node did not say.
    #[default]
    Unknown,
    /// A new one; the artifact was in memory.
    Fresh,
    /// One that had served before.
    Warm,
    /// A new one; the artifact was mapped from disk first.
    ColdLoad,
    /// A new one; the component was compiled first.
    ColdCompile,
}

impl From<v1::usage::Start> for Start {
    fn from(start: v1::usage::Start) -> Self {
        use v1::usage::Start;
        match start {
            Start::Unspecified => Self::Unknown,
            Start::Fresh => Self::Fresh,
            Start::Warm => Self::Warm,
            Start::ColdLoad => Self::ColdLoad,
            Start::ColdCompile => Self::ColdCompile,
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Fresh => "fresh",
            Self::Warm => "warm",
            Self::ColdLoad => "cold-load",
            Self::ColdCompile => "cold-compile",
        })
    }
}
