//! Streams and futures in results: what follows once the call has answered.
//!
//! Each is piped into a channel that holds one batch, the items of one write of the guest: the guest's next write waits until
//! that batch was taken, so a slow reader slows the guest and nobody's memory grows.

use crate::codec::{Batch, ByteEnd, Item, StreamEnd};
use crate::current::OpenStream;
use crate::outcome::{Failure, Usage};
use crate::sandbox::Ctx;
use bytes::Bytes;
use std::task::{Context, Poll};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::PollSender;
use wasmtime::component::{Access, FutureReader, StreamReader};
use wasmtime::{AsContextMut, Result};

/// Batches held between guest and reader, per stream.
const BATCHES_IN_FLIGHT: usize = 1;

/// The readable end that a result has named, by what it carries.
pub(crate) enum Readable {
    Stream(StreamReader<Item>),
    Bytes(StreamReader<u8>),
    Future(FutureReader<Item>),
    UnitStream(StreamReader<()>),
    UnitFuture(FutureReader<()>),
}

/// Items of a stream, or the value of a future, that a result has named by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamItems {
    /// The number in the result.
    pub stream: u32,
    /// The wire encoding of `list<T>`; empty in the last message of a stream.
    pub items: Bytes,
    /// Nothing follows on this stream.
    pub end: bool,
    /// The sandbox failed while the stream was open.
    pub failure: Option<Failure>,
}

/// What follows a result. Dropping it stops the sandbox.
pub struct Items {
    open: Vec<(u32, mpsc::Receiver<Batch>)>,
    /// How the sandbox ended; there once every stream is over.
    finished: Option<oneshot::Receiver<Finished>>,
    result: Option<Finished>,
    /// Where polling continues, so that no stream starves another.
    next: usize,
    _task: crate::engine::AbortOnDrop,
}

/// The end of a sandbox that streamed.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    pub(crate) usage: Usage,
    pub(crate) failure: Option<Failure>,
}

/// The host's ends of a call's streams, before the caller has them.
pub(crate) struct Pipes {
    pub(crate) readers: Vec<(u32, mpsc::Receiver<Batch>)>,
    /// One per stream, cancelled when its guest is done with it.
    pub(crate) over: Vec<oneshot::Receiver<()>>,
}

/// Connects every stream of a result.
pub(crate) fn pipe(mut store: Access<'_, Ctx>, streams: Vec<OpenStream>) -> Result<Pipes> {
    let mut pipes = Pipes {
        readers: Vec::new(),
        over: Vec::new(),
    };
    for stream in streams {
        let (sender, receiver) = mpsc::channel(BATCHES_IN_FLIGHT);
        let (ended, over) = oneshot::channel();
        let sender = PollSender::new(sender);
        let store = store.as_context_mut();
        match stream.readable {
            Readable::Stream(reader) => {
                reader.pipe(store, StreamEnd::new(stream.item, sender, ended))?
            }
            Readable::Bytes(reader) => reader.pipe(store, ByteEnd::new(sender, ended))?,
            Readable::Future(reader) => {
                reader.pipe(store, StreamEnd::new(stream.item, sender, ended))?
            }
            Readable::UnitStream(reader) => {
                reader.pipe(store, StreamEnd::new(None, sender, ended))?
            }
            Readable::UnitFuture(reader) => {
                reader.pipe(store, StreamEnd::new(None, sender, ended))?
            }
        }
        pipes.readers.push((stream.number, receiver));
        pipes.over.push(over);
    }
    Ok(pipes)
}

/// Lets go of streams that nobody will read, so that the guest is told.
pub(crate) fn close(
    mut store: impl AsContextMut<Data = Ctx>,
    streams: Vec<OpenStream>,
) -> Result<()> {
    for stream in streams {
        let store = store.as_context_mut();
        match stream.readable {
            Readable::Stream(mut reader) => reader.close(store)?,
            Readable::Bytes(mut reader) => reader.close(store)?,
            Readable::Future(mut reader) => reader.close(store)?,
            Readable::UnitStream(mut reader) => reader.close(store)?,
            Readable::UnitFuture(mut reader) => reader.close(store)?,
        }
    }
    Ok(())
}

impl Items {
    pub(crate) fn new(
        open: Vec<(u32, mpsc::Receiver<Batch>)>,
        finished: oneshot::Receiver<Finished>,
        task: crate::engine::AbortOnDrop,
    ) -> Items {
        Items {
            open,
            finished: Some(finished),
            result: None,
            next: 0,
            _task: task,
        }
    }

    /// The next batch of any stream, in the order of each; `None` when all have ended.
    pub async fn next(&mut self) -> Option<StreamItems> {
        if self.open.is_empty() {
            return None;
        }
        let (index, batch) = std::future::poll_fn(|cx| self.poll_batch(cx)).await;
        let stream = self.open[index].0;
        if let Some(items) = batch {
            return Some(StreamItems {
                stream,
                items,
                end: false,
                failure: None,
            });
        }
        self.open.swap_remove(index);
        // A stream may end because its sandbox did.
        let failure = match self.open.is_empty() {
            true => self
                .finish()
                .await
                .and_then(|finished| finished.failure.clone()),
            false => None,
        };
        Some(StreamItems {
            stream,
            items: Bytes::new(),
            end: true,
            failure,
        })
    }

    /// What the whole call has used, streams included; waits for its end.
    pub async fn usage(&mut self) -> Usage {
        while self.next().await.is_some() {}
        self.finish()
            .await
            .map_or_else(Usage::default, |finished| finished.usage)
    }

    async fn finish(&mut self) -> Option<&Finished> {
        if let Some(finished) = self.finished.take() {
            self.result = finished.await.ok();
        }
        self.result.as_ref()
    }

    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<(usize, Option<Batch>)> {
        let count = self.open.len();
        for step in 0..count {
            let index = (self.next + step) % count;
            if let Poll::Ready(batch) = self.open[index].1.poll_recv(cx) {
                self.next = index + 1;
                return Poll::Ready((index, batch));
            }
        }
        Poll::Pending
    }
}
