//! Engine and store types as API messages, and back.

use lydian_api::v1;
use lydian_engine::{CheckStatus, Failure, FailureKind, Limits, Outcome, Start, Usage};
use std::time::Duration;

pub(crate) fn outcome(outcome: Outcome) -> v1::Outcome {
    v1::Outcome {
        result: Some(outcome.result.map_err(failure).into()),
        usage: Some(usage(&outcome.usage)),
    }
}

pub(crate) fn failure(failure: Failure) -> v1::Failure {
    v1::Failure {
        kind: failure_kind(failure.kind).into(),
        message: failure.message,
        hints: failure.hints,
        backtrace: failure.backtrace,
    }
}

fn failure_kind(kind: FailureKind) -> v1::failure::Kind {
    use v1::failure::Kind;
    match kind {
        FailureKind::Trap => Kind::Trap,
        FailureKind::Timeout => Kind::Timeout,
        FailureKind::Cpu => Kind::Cpu,
        FailureKind::Memory => Kind::Memory,
        FailureKind::Payload => Kind::Payload,
        FailureKind::Output => Kind::Output,
        FailureKind::Handles => Kind::Handles,
        FailureKind::HostCall => Kind::HostCall,
        FailureKind::Cancelled => Kind::Cancelled,
        FailureKind::HostPanic => Kind::HostPanic,
        FailureKind::Interrupted => Kind::Interrupted,
        FailureKind::Exited => Kind::Exited,
        FailureKind::Stack => Kind::Stack,
        FailureKind::Depth => Kind::Depth,
        FailureKind::Arguments => Kind::Arguments,
        FailureKind::NodeFull => Kind::NodeFull,
    }
}

pub(crate) fn usage(usage: &Usage) -> v1::Usage {
    v1::Usage {
        queue_micros: micros(usage.queue),
        load_micros: micros(usage.load),
        compile_micros: micros(usage.compile),
        instantiate_micros: micros(usage.instantiate),
        run_micros: micros(usage.run),
        cpu_micros: micros(usage.cpu),
        peak_memory_bytes: usage.peak_memory_bytes,
        bytes_in: usage.bytes_in,
        bytes_out: usage.bytes_out,
        output_bytes: usage.output_bytes,
        start: start(usage.start).into(),
        instantiate_nanos: nanos(usage.instantiate),
        run_nanos: nanos(usage.run),
        nested_calls: usage.nested_calls,
    }
}

pub(crate) fn start(start: Start) -> v1::usage::Start {
    match start {
        Start::Fresh => v1::usage::Start::Fresh,
        Start::Warm => v1::usage::Start::Warm,
        Start::ColdLoad => v1::usage::Start::ColdLoad,
        Start::ColdCompile => v1::usage::Start::ColdCompile,
    }
}

/// Why a sandbox started the way it did.
pub(crate) fn start_reason(start: v1::usage::Start) -> &'static str {
    match start {
        v1::usage::Start::Unspecified => "it took no sandbox",
        v1::usage::Start::Fresh => "fresh: the component was ready in memory",
        v1::usage::Start::Warm => {
            "warm: the sandbox had served a call of the same session or class before"
        }
        v1::usage::Start::ColdLoad => {
            "cold: the component's artifact was mapped from disk for this call"
        }
        v1::usage::Start::ColdCompile => "cold: the component was compiled for this call",
    }
}

pub(crate) fn limits(limits: &Limits) -> v1::Limits {
    v1::Limits {
        timeout_ms: millis(limits.timeout),
        cpu_ms: millis(limits.cpu),
        memory_bytes: limits.memory_bytes,
        payload_bytes: limits.payload_bytes,
        host_call_bytes: limits.host_call_bytes,
        handles: limits.handles,
        open_files: limits.open_files,
        output_bytes: limits.output_bytes,
        output_bytes_per_second: limits.output_bytes_per_second,
    }
}

pub(crate) fn limits_from(limits: &v1::Limits) -> Limits {
    Limits {
        timeout: Duration::from_millis(limits.timeout_ms),
        cpu: Duration::from_millis(limits.cpu_ms),
        memory_bytes: limits.memory_bytes,
        payload_bytes: limits.payload_bytes,
        host_call_bytes: limits.host_call_bytes,
        handles: limits.handles,
        open_files: limits.open_files,
        output_bytes: limits.output_bytes,
        output_bytes_per_second: limits.output_bytes_per_second,
    }
}

pub(crate) fn check(check: lydian_engine::Check) -> v1::Check {
    v1::Check {
        name: check.name.to_owned(),
        status: match check.status {
            CheckStatus::Ok => v1::check::Status::Ok,
            CheckStatus::Warn => v1::check::Status::Warn,
            CheckStatus::Fail => v1::check::Status::Fail,
        }
        .into(),
        detail: check.detail,
        fix: check.fix,
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
