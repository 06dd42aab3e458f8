//! What runs on the sandbox's thread, under the watch: an instance is made and called, its streams are read.

use super::Call;
use crate::codec::{self, Args, Batch};
use crate::component::Function;
use crate::current::{self, Current};
use crate::outcome::{Outcome, Usage};
use crate::sandbox::{self, Ctx};
use crate::streams;
use bytes::Bytes;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use wasmtime::component::Func;
use wasmtime::{AsContextMut, Store};

/// When a sandbox's parts began. Clocks are dear beside a sandbox, so there is one reading for the end of one part and the
/// beginning of the next.
pub(super) struct Times {
    started: Instant,
    /// When the instance was there.
    pub(super) entered: Option<Instant>,
}

impl Times {
    pub(super) fn new(started: Instant) -> Times {
        Times {
            started,
            entered: None,
        }
    }

    pub(super) fn total(&self, current: Option<&Current>) -> Duration {
        let end = current.and_then(Current::left).unwrap_or_else(Instant::now);
        end.saturating_duration_since(self.started)
    }

    pub(super) fn write(&self, current: Option<&Current>, usage: &mut Usage) {
        if let Some(entered) = self.entered {
            usage.instantiate = entered.saturating_duration_since(self.started);
            usage.run = self.total(current).saturating_sub(usage.instantiate);
        }
    }
}

/// What runs under the watch.
pub(super) async fn body(
    store: &mut Store<Ctx>,
    call: &Call,
    times: &mut Times,
) -> wasmtime::Result<Bytes> {
    let export = call.invocation.function.export();
    let func = enter(store, call, times).await?;
    let args = Args::charged(store.data(), call.invocation.args.clone())?;
    let result = codec::call(store, func, export.flats(), args).await;
    finish(store, &call.invocation.function, result).await
}

/// What follows a call whose streams nobody reads: they are closed, and what the function still
/// does is done. A trap in that is the call's.
pub(crate) async fn finish(
    store: &mut Store<Ctx>,
    function: &Function,
    result: wasmtime::Result<Bytes>,
) -> wasmtime::Result<Bytes> {
    let named = current::take_streams();
    if !named.is_empty() {
        streams::close(store.as_context_mut(), named)?;
    }
    let result = result?;
    if function.is_concurrent() {
        codec::run_out(store).await?;
    }
    Ok(result)
}

/// A call's result and the streams it names.
pub(super) type Answer = (Outcome, Vec<(u32, mpsc::Receiver<Batch>)>);

/// What runs under the watch of a call whose streams are read: until the last of them ends.
pub(super) async fn streaming_body(
    store: &mut Store<Ctx>,
    call: &Call,
    times: &mut Times,
    answer: &mut Option<oneshot::Sender<Answer>>,
) -> wasmtime::Result<()> {
    let flats = call.invocation.function.export().flats();
    let func = enter(store, call, times).await?;
    let args = Args::charged(store.data(), call.invocation.args.clone())?;
    store
        .run_concurrent(async |at| {
            let bytes = codec::call_concurrent(at, func, flats, args).await?;
            let pipes = at.with(|access| streams::pipe(access, current::take_streams()))?;
            if let Some(answer) = answer.take() {
                let mut so_far = Usage {
                    bytes_out: bytes.len() as u64,
                    ..call.usage
                };
                times.write(None, &mut so_far);
                current::count_out(bytes.len());
                let _ = answer.send((
                    Outcome {
                        result: Ok(bytes),
                        usage: so_far,
                    },
                    pipes.readers,
                ));
            }
            for over in pipes.over {
                // An error is what tells of the end: the other side is never used, only dropped.
                let _ = over.await;
            }
            codec::tasks_over(at).await;
            wasmtime::Result::Ok(())
        })
        .await?
}

/// A fresh instance, about to be called.
async fn enter(store: &mut Store<Ctx>, call: &Call, times: &mut Times) -> wasmtime::Result<Func> {
    let function = &call.invocation.function;
    let export = function.export();
    let instance = sandbox::instantiate(store, &function.loaded().pre).await?;
    let taken = store.data().account().used();
    function.loaded().note_initial_bytes(taken);
    times.entered = Some(Instant::now());
    current::begin(export.plan.clone(), export.is_async());
    sandbox::export(&instance, store, export)
}
