//! From what stopped a sandbox to the [`Failure`] a caller reads.
//!
//! Limits stop a guest by an error that travels through wasmtime as any host error does; [`failure`] finds it again and
//! says it in the function's own terms. What the guest did wrong by itself stays a trap, with its frames.

use crate::backtrace;
use crate::codec::Malformed;
use crate::limits::Limits;
use crate::outcome::{Failure, FailureKind};
use wasmtime::component::ResourceTableError;
use wasmtime::{Error, Trap};
use wasmtime_wasi::I32Exit;

/// A limit was reached. Carried inside [`wasmtime::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LimitHit {
    #[error("wall time")]
    Timeout,
    #[error("CPU time")]
    Cpu,
    #[error("memory")]
    Memory,
    #[error("size of the arguments")]
    Arguments,
    #[error("size of the result")]
    Result,
    #[error("bytes of all calls in flight")]
    NodePayload,
    #[error("memory of the node")]
    NodeMemory,
    #[error("places of the node")]
    NodePlaces,
    #[error("open handles")]
    Handles,
    #[error("open files")]
    OpenFiles,
    #[error("printed bytes")]
    Output,
    #[error("bytes copied by one host call")]
    HostCall,
}

/// What happened besides the error itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Circumstances {
    /// Why a memory, a table or a buffer was refused to grow.
    pub(crate) memory_refused: Option<LimitHit>,
    /// Output was refused, so a broken pipe may be what the guest died of.
    pub(crate) output_refused: bool,
    /// What the guest told of a panic.
    pub(crate) panic: Option<String>,
}

/// Says why `function` gave no result.
pub(crate) fn failure(
    function: &str,
    limits: &Limits,
    error: &Error,
    seen: Circumstances,
) -> Failure {
    let mut failure = match found(error, &seen) {
        Some(hit) => at_limit(function, limits, hit),
        None => by_itself(function, error, seen.panic.as_deref()),
    };
    failure.backtrace = backtrace::render(error);
    failure
}

/// The limit behind an error, if there is one.
fn found(error: &Error, seen: &Circumstances) -> Option<LimitHit> {
    if let Some(hit) = error.downcast_ref::<LimitHit>() {
        return Some(*hit);
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        return Some(LimitHit::Handles);
    }
    // A guest that is told so mostly gives up by trapping; then this is why.
    if seen.output_refused {
        return Some(LimitHit::Output);
    }
    if seen.memory_refused.is_some() {
        return seen.memory_refused;
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return Some(LimitHit::NodePlaces);
    }
    // wasmtime keeps these two errors' types to itself.
    let text = error.root_cause().to_string();
    if text.contains("fuel allocated for hostcalls") || text.starts_with("requested len") {
        return Some(LimitHit::HostCall);
    }
    text.contains("store handle limit exceeded")
        .then_some(LimitHit::Handles)
}

/// The failure of reaching one limit.
pub(crate) fn at_limit(function: &str, limits: &Limits, hit: LimitHit) -> Failure {
    let name = format!("function `{function}`");
    match hit {
        // CPU time that was not limited apart is limited by wall time, and that is what its reader has set.
        LimitHit::Cpu if limits.cpu >= limits.timeout => {
            at_limit(function, limits, LimitHit::Timeout)
        }
        LimitHit::Timeout => Failure::new(
            FailureKind::Timeout,
            format!("{name} ran past its limit of {:?}", limits.timeout),
        )
        .hint("give it more time with `timeout`"),
        LimitHit::Cpu => Failure::new(
            FailureKind::Cpu,
            format!(
                "{name} used more CPU time than its limit of {:?}",
                limits.cpu
            ),
        )
        .hint("give it more with `cpu`"),
        LimitHit::Memory => {
            let limit = bytes(limits.memory_bytes);
            Failure::new(
                FailureKind::Memory,
                format!("{name} needs more memory than its limit of {limit}"),
            )
            .hint("give it more with `memory`")
        }
        LimitHit::Arguments => {
            let limit = bytes(limits.payload_bytes);
            Failure::new(
                FailureKind::Payload,
                format!("the arguments of {name} are larger than its limit of {limit}"),
            )
            .hint("raise `payload`, or pass large data by reference")
        }
        LimitHit::Result => {
            let limit = bytes(limits.payload_bytes);
            Failure::new(
                FailureKind::Payload,
                format!("the result of {name} is larger than its limit of {limit}"),
            )
            .hint("raise `payload`, or return a stream")
        }
        LimitHit::NodePayload => Failure::new(
            FailureKind::NodeFull,
            format!("the node is full: it has no room for the result of {name} beside those of other calls"),
        )
        .hint("try again, with fewer large calls at once"),
        LimitHit::NodePlaces => Failure::new(
            FailureKind::NodeFull,
            format!("the node is full: it has no memory, table or stack of its pool left for {name}"),
        )
        .hint("try again later, or start the node with a larger `--max-sandboxes`"),
        LimitHit::NodeMemory => Failure::new(
            FailureKind::NodeFull,
            format!("the node is full: it has no memory left for {name}"),
        )
        .hint("try again later, lower the `memory` of other functions, or give the node more with `--guest-memory`"),
        LimitHit::Handles => Failure::new(
            FailureKind::Handles,
            format!(
                "{name} holds more handles than its limit of {}",
                limits.handles
            ),
        )
        .hint("drop what is no longer used, or raise `handles`"),
        LimitHit::OpenFiles => Failure::new(
            FailureKind::Handles,
            format!(
                "{name} has more open files and sockets than its limit of {}",
                limits.open_files
            ),
        )
        .hint("close what is no longer used, or raise `open-files`"),
        LimitHit::Output => {
            let limit = bytes(limits.output_bytes);
            Failure::new(
                FailureKind::Output,
                format!("{name} printed more than its limit of {limit}"),
            )
            .hint("print less, or raise `output`")
        }
        LimitHit::HostCall => {
            let limit = bytes(limits.host_call_bytes);
            let message =
                format!("a host call of {name} moved more bytes than its limit of {limit}");
            Failure::new(FailureKind::HostCall, message)
                .hint("read and write in smaller pieces, or raise `host-call-bytes`")
        }
    }
}

/// Whether a guest left by its own exit, with success.
pub(crate) fn exited_well(error: &Error) -> bool {
    matches!(error.downcast_ref::<I32Exit>(), Some(I32Exit(0)))
}

/// What the guest did by itself.
fn by_itself(function: &str, error: &Error, panic: Option<&str>) -> Failure {
    let name = format!("function `{function}`");
    if let Some(malformed) = error.downcast_ref::<Malformed>() {
        return Failure::new(
            FailureKind::Arguments,
            format!("cannot call {name}: {malformed}"),
        );
    }
    if let Some(I32Exit(0)) = error.downcast_ref::<I32Exit>() {
        let text = format!("{name} exited with status 0 without returning its result");
        return Failure::new(FailureKind::Exited, text);
    }
    if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
        return Failure::new(
            FailureKind::Exited,
            format!("{name} exited with status {status}"),
        );
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) if let Some(panic) = panic => {
            Failure::new(FailureKind::Trap, format!("{name} panicked {panic}"))
        }
        Some(Trap::StackOverflow) => {
            Failure::new(FailureKind::Stack, format!("{name} overflowed its stack"))
                .hint("it recurses too deeply; the stack of a guest is 1 MiB")
        }
        Some(trap) => Failure::new(
            FailureKind::Trap,
            format!("{name} trapped: {}", trap_text(*trap)),
        ),
        None => Failure::new(
            FailureKind::Trap,
            format!("{name} trapped: {}", error.root_cause()),
        ),
    }
}

/// wasmtime's own words, without its prefix.
fn trap_text(trap: Trap) -> String {
    let text = trap.to_string();
    text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned()
}

/// A size as a person writes it.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        count if count >= 1 << 30 && count.is_multiple_of(1 << 30) => {
            format!("{} GiB", count >> 30)
        }
        count if count >= 1 << 20 && count.is_multiple_of(1 << 20) => {
            format!("{} MiB", count >> 20)
        }
        count if count >= 1 << 10 && count.is_multiple_of(1 << 10) => {
            format!("{} KiB", count >> 10)
        }
        count => format!("{count} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message without the function and the limit leaves its reader guessing.
    #[test]
    fn every_limit_names_the_function_and_the_limit() {
        let limits = Limits {
            cpu: std::time::Duration::from_secs(7),
            ..Limits::default()
        };
        for (hit, kind, limit) in [
            (LimitHit::Timeout, FailureKind::Timeout, "300s"),
            (LimitHit::Cpu, FailureKind::Cpu, "7s"),
            (LimitHit::Memory, FailureKind::Memory, "256 MiB"),
            (LimitHit::Arguments, FailureKind::Payload, "64 MiB"),
            (LimitHit::Result, FailureKind::Payload, "64 MiB"),
            (LimitHit::Handles, FailureKind::Handles, "4096"),
            (LimitHit::OpenFiles, FailureKind::Handles, "256"),
            (LimitHit::Output, FailureKind::Output, "16 MiB"),
            (LimitHit::HostCall, FailureKind::HostCall, "16 MiB"),
        ] {
            let failure = at_limit("f", &limits, hit);
            assert_eq!(failure.kind, kind);
            assert!(
                failure.message.contains("`f`") && failure.message.contains(limit),
                "{}",
                failure.message
            );
            assert_eq!(failure.hints.len(), 1);
        }
    }
}
