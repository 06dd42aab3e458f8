//! Items of a stream or future of any type.
//!
//! wasmtime reads a stream item by item, each at an offset that it computes from the Rust type's size. The size here is
//! only known at run time, so [`Item`] claims to have none: every item is then announced at the start of the guest's
//! buffer, and the first one reads them all.

use super::lift::Lifting;
use super::plan::Node;
use super::wire::push_len;
use crate::current;
use crate::sandbox::Ctx;
use bytes::Bytes;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::oneshot;
use tokio_util::sync::PollSender;
use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext};
use wasmtime::component::{
    ComponentType, FutureConsumer, Lift, ReadBuffer, Source, StreamConsumer, StreamResult,
    WriteBuffer,
};
use wasmtime::{Result, StoreContextMut, ValRaw, bail};

/// One item; its value has gone into the batch that is being read.
pub(crate) struct Item;

// SAFETY: a size of zero makes wasmtime check and offset nothing on our behalf: `Lifting` checks the whole batch against
// memory. `Lower` is never used, as nothing is lowered and nothing of a stream is passed flat.
unsafe impl ComponentType for Item {
    type Lower = [ValRaw; 0];
    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::ZERO;

    /// The type was laid out from the stream's own payload.
    fn typecheck(_: &InterfaceType, _: &InstanceType<'_>) -> Result<()> {
        Ok(())
    }
}

// SAFETY: nothing is assumed of the bytes given, of which there are none; only where they are is used.
unsafe impl Lift for Item {
    fn linear_lift_from_flat(
        _: &mut LiftContext<'_>,
        _: InterfaceType,
        _: &[ValRaw; 0],
    ) -> Result<Item> {
        bail!("items are read from memory");
    }

    fn linear_lift_from_memory(
        cx: &mut LiftContext<'_>,
        _: InterfaceType,
        bytes: &[u8],
    ) -> Result<Item> {
        if let Some((node, count)) = current::start_batch() {
            let offset = (bytes.as_ptr() as usize).wrapping_sub(cx.memory().as_ptr() as usize);
            let mut lifting = Lifting::new(cx, current::payload_limit());
            lifting.items(&node, offset, count)?;
            current::finish_batch(lifting.finish());
        }
        Ok(Item)
    }
}

/// Takes as many items as there are, and keeps none: their values are in the batch.
struct Count(usize);

impl<T: 'static> ReadBuffer<T> for Count {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        self.0 = self.0.saturating_sub(items.into_iter().count());
    }

    fn remaining_capacity(&self) -> usize {
        self.0
    }

    fn move_from(&mut self, input: &mut dyn WriteBuffer<T>, count: usize) {
        input.skip(count);
        self.0 = self.0.saturating_sub(count);
    }
}

/// Items that were written together: the wire encoding of `list<T>`.
pub(crate) type Batch = Bytes;

/// About what is taken from a guest at once: little enough that many stalled streams hold little,
/// and that no copy keeps a thread for long; much enough that the way to the reader does not count.
const BATCH_BYTES: usize = 256 << 10;

/// Items taken before their size is known.
const FIRST_ITEMS: usize = 256;

/// Bytes of a length on the wire, at most.
const MAX_LEN_BYTES: usize = 5;

/// The host's end of a stream or future: one batch per write of the guest, which waits until there is room for it.
///
/// `T` is [`Item`], or `()` for a stream that carries nothing but its rhythm.
pub(crate) struct StreamEnd<T> {
    /// `None` for a stream of nothing.
    item: Option<Arc<Node>>,
    batches: PollSender<Batch>,
    /// Items that are taken at once; follows their size, see [`BATCH_BYTES`].
    most: usize,
    /// Dropped with this end, which tells the sandbox that the stream is over.
    _over: oneshot::Sender<()>,
    _items: PhantomData<fn() -> T>,
}

impl<T: Lift + 'static> StreamEnd<T> {
    pub(crate) fn new(
        item: Option<Arc<Node>>,
        batches: PollSender<Batch>,
        over: oneshot::Sender<()>,
    ) -> StreamEnd<T> {
        StreamEnd {
            item,
            batches,
            most: FIRST_ITEMS,
            _over: over,
            _items: PhantomData,
        }
    }

    /// Takes what the guest has written, at most a batch of it.
    fn take(
        &mut self,
        mut store: StoreContextMut<'_, Ctx>,
        mut source: Source<'_, T>,
    ) -> Result<()> {
        let count = source.remaining(&mut store).min(self.most);
        if let Some(item) = &self.item {
            current::expect_batch(item.clone(), count);
        }
        source.read(&mut store, &mut Count(count))?;
        let items = current::take_batch();
        let bytes_each = items.len() / count.max(1);
        self.most = (BATCH_BYTES / bytes_each.max(1)).max(1);
        send(&mut self.batches, store.data(), count, &items)
    }
}

/// Waits for room; `false` when nobody reads any more.
fn poll_room(batches: &mut PollSender<Batch>, cx: &mut Context<'_>) -> Poll<bool> {
    Poll::Ready(ready!(batches.poll_reserve(cx)).is_ok())
}

/// Sends `count` items, on the sandbox's account until the reader has done with them.
fn send(batches: &mut PollSender<Batch>, ctx: &Ctx, count: usize, items: &[u8]) -> Result<()> {
    let charge = ctx.charge(items.len() + MAX_LEN_BYTES)?;
    let mut batch = Vec::with_capacity(items.len() + MAX_LEN_BYTES);
    push_len(&mut batch, count as u32);
    batch.extend_from_slice(items);
    current::count_out(batch.len());
    // The slot was reserved, so this fails only when the reader has gone, which the next
    // reservation finds out.
    let _ = batches.send_item(charge.hold(batch));
    Ok(())
}

impl<T: Lift + 'static> StreamConsumer<Ctx> for StreamEnd<T> {
    type Item = T;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'_, Ctx>,
        source: Source<'_, T>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        match poll_room(&mut self.batches, cx) {
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
            Poll::Ready(false) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Ready(true) => {}
        }
        if source.remaining(&mut store) > 0 {
            self.take(store, source)?;
        }
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

impl<T: Lift + 'static> FutureConsumer<Ctx> for StreamEnd<T> {
    type Item = T;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, Ctx>,
        source: Source<'_, T>,
        finish: bool,
    ) -> Poll<Result<()>> {
        match poll_room(&mut self.batches, cx) {
            Poll::Pending if finish => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
            Poll::Ready(false) => Poll::Ready(Ok(())),
            Poll::Ready(true) => Poll::Ready(self.take(store, source)),
        }
    }
}

/// The same for `stream<u8>`, read where the guest, or a host function, has written it.
pub(crate) struct ByteEnd {
    batches: PollSender<Batch>,
    /// Dropped with this end, which tells the sandbox that the stream is over.
    _over: oneshot::Sender<()>,
}

impl ByteEnd {
    pub(crate) fn new(batches: PollSender<Batch>, over: oneshot::Sender<()>) -> ByteEnd {
        ByteEnd {
            batches,
            _over: over,
        }
    }
}

impl StreamConsumer<Ctx> for ByteEnd {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'_, Ctx>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        match poll_room(&mut self.batches, cx) {
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
            Poll::Ready(false) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Ready(true) => {}
        }
        let count = source.remaining(&mut store).min(BATCH_BYTES);
        if count > 0 {
            let charge = store.data().charge(count + MAX_LEN_BYTES)?;
            let mut source = source.as_direct(store);
            let mut batch = Vec::with_capacity(count + MAX_LEN_BYTES);
            push_len(&mut batch, count as u32);
            batch.extend_from_slice(&source.remaining()[..count]);
            source.mark_read(count);
            current::count_out(batch.len());
            // As in `send`.
            let _ = self.batches.send_item(charge.hold(batch));
        }
        Poll::Ready(Ok(StreamResult::Completed))
    }
}
