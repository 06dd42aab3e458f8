//! The compile worker: this program, started again, which never reaches `main`.
//!
//! A constructor looks for [`ENVIRONMENT`] before `main` runs, so every program that links the
//! engine can compile, with no second binary to ship or to keep in step. One worker compiles, or
//! describes, one component and ends.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::jail;
use super::protocol::{Confinement, ENVIRONMENT, Request, Tag, Task, send};
use crate::artifact::Configuration;
use crate::interface::{self, Unusable};

/// The smallest component with something to compile, `(component (core module (func)))`: compiling it starts all threads and
/// builds all tables, which is not possible any more once the worker is locked in.
const WARM_UP: &[u8] = b"\0asm\x0d\0\x01\0\
    \x01\x18\0asm\x01\0\0\0\
    \x01\x04\x01\x60\0\0\
    \x03\x02\x01\0\
    \x0a\x04\x01\x02\0\x0b";

#[ctor::ctor(unsafe)]
fn become_worker_if_asked() {
    let Some(confinement) = std::env::var_os(ENVIRONMENT) else {
        return;
    };
    let status = match main(&confinement) {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(io::stderr(), "compile worker: {error}");
            1
        }
    };
    // SAFETY: `_exit` may be called at any time; unlike `exit` it runs no destructors of a program that never began.
    unsafe { libc::_exit(status) }
}

/// Referenced by the engine, so that no linker leaves the constructor out.
pub(super) fn is_linked() -> bool {
    !WARM_UP.is_empty()
}

fn main(confinement: &OsStr) -> io::Result<()> {
    let confinement = confinement
        .to_str()
        .unwrap_or_default()
        .parse::<Confinement>()
        .map_err(io::Error::other)?;
    jail::alone(&confinement)?;
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let engine = wasmtime::Engine::new(&crate::config::wasmtime_config(
        confinement.concurrency,
        None,
    ))
    .map_err(io::Error::other)?;
    engine
        .precompile_component(WARM_UP)
        .map_err(io::Error::other)?;
    let unfiltered = jail::lock(&confinement)?.err().unwrap_or_default();
    send(&mut output, Tag::Greeting, unfiltered.as_bytes())?;
    let request = Request::read(&mut input)?;
    if Configuration::of(&engine) != request.configuration {
        return send(&mut output, Tag::Mismatch, &[]);
    }
    match request.task {
        Task::Compile => compile(&engine, &request.payload, &mut output),
        Task::Describe => {
            let (tag, payload) = described(interface::describe(&request.payload));
            send(&mut output, tag, &payload)
        }
        #[cfg(test)]
        Task::Attempt => {
            let attempted = super::selftest::attempt(&request.payload);
            send(&mut output, Tag::Artifact, &attempted)
        }
    }
}

/// Describes a component and compiles it. When it cannot be described, what is wrong with the whole
/// of it is the better answer, unless its types are what the compiler's own arithmetic cannot take.
fn compile(engine: &wasmtime::Engine, component: &[u8], output: &mut impl Write) -> io::Result<()> {
    let interface = interface::describe(component);
    let (tag, artifact) = match &interface {
        Err(unusable) if unusable.too_large => (Tag::Unusable, unusable.to_bytes()),
        _ => native_code(engine, component),
    };
    if tag != Tag::Artifact {
        return send(output, tag, &artifact);
    }
    let (tag, described) = described(interface);
    send(output, tag, &described)?;
    match tag {
        Tag::Interface => send(output, Tag::Artifact, &artifact),
        _ => Ok(()),
    }
}

fn described(interface: Result<String, Unusable>) -> (Tag, Vec<u8>) {
    match interface {
        Ok(json) => (Tag::Interface, json.into_bytes()),
        Err(unusable) => (Tag::Unusable, unusable.to_bytes()),
    }
}

fn native_code(engine: &wasmtime::Engine, component: &[u8]) -> (Tag, Vec<u8>) {
    match catch_unwind(AssertUnwindSafe(|| engine.precompile_component(component))) {
        Ok(Ok(artifact)) => (Tag::Artifact, artifact),
        Ok(Err(error)) if ran_out_of_memory(&error) => (Tag::OutOfMemory, Vec::new()),
        Ok(Err(error)) => (Tag::Invalid, format!("{error:#}").into_bytes()),
        Err(panic) => (Tag::Panicked, panic_message(&*panic).as_bytes().to_vec()),
    }
}

/// Mapping memory fails with an error; allocating it aborts, which the parent sees.
fn ran_out_of_memory(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<wasmtime::OutOfMemory>()
            || cause
                .downcast_ref::<rustix::io::Errno>()
                .is_some_and(|errno| *errno == rustix::io::Errno::NOMEM)
            || cause
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::OutOfMemory)
    })
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("panic")
}
