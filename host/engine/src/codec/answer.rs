//! The result of any function, as wasmtime's typed calls give it.

use super::args::Args;
use super::lift::Lifting;
use crate::current;
use crate::limit::LimitHit;
use crate::sandbox::Ctx;
use bytes::Bytes;
use std::any::type_name;
use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext};
use wasmtime::component::{Accessor, ComponentNamedList, ComponentType, Func, Lift, TypedFunc};
use wasmtime::{Result, Store, ValRaw};

/// Core values a function lifted synchronously returns; what has more goes through memory.
const MAX_FLAT_SYNC: usize = 1;
/// The same for a function lifted asynchronously.
pub(crate) const MAX_FLAT_ASYNC: usize = 16;

/// What a turn on a borrowed thread may read: more is read where the thread's other tasks have been
/// moved to another.
const SHORT_BYTES: usize = 64 << 10;

/// An encoded result that arrives in `N` core values.
///
/// wasmtime gives a function lifted synchronously one, used or not, and one lifted asynchronously exactly as many as its
/// type flattens to, or one, the pointer, where those are more than sixteen.
pub(crate) struct Answer<const N: usize>(Bytes);

// SAFETY: `Lower` is `N` `ValRaw`. wasmtime checks that it has at least as many before it gives them as `src`. Lifting
// reads them by the function's own type, which wasmtime hands to `linear_lift_from_flat`; reading one that the guest
// left out is a panic of the index, not a wild read. `ABI` is not used, as `N` is never above sixteen.
unsafe impl<const N: usize> ComponentType for Answer<N> {
    type Lower = [ValRaw; N];
    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::ZERO;

    fn typecheck(_: &InterfaceType, _: &InstanceType<'_>) -> Result<()> {
        Ok(())
    }
}

// SAFETY: as above; `Answer` stands for the whole list of results.
unsafe impl<const N: usize> ComponentNamedList for Answer<N> {}

// SAFETY: nothing is assumed of `src` but that it holds `N` values; offsets in them are checked against memory.
unsafe impl<const N: usize> Lift for Answer<N> {
    fn linear_lift_from_flat(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        src: &[ValRaw; N],
    ) -> Result<Answer<N>> {
        let max = if cx.options().async_ {
            MAX_FLAT_ASYNC
        } else {
            MAX_FLAT_SYNC
        };
        let plan = current::plan()?;
        let result = plan.result(cx.types, ty)?;
        let flat = result.flat.is_some_and(|flat| flat <= max);
        let mut read = |limit| {
            let mut lifting = Lifting::new(cx, limit);
            match flat {
                true => lifting.unflatten(result, src)?,
                false => lifting.indirect(result, src[0].get_u32())?,
            }
            lifting.charged()
        };
        let limit = current::payload_limit();
        if limit <= SHORT_BYTES || !current::must_be_short() {
            return read(limit).map(Answer);
        }
        match read(SHORT_BYTES) {
            // Reading has no effect but what it returns, so it may begin again where it is allowed
            // to take its time.
            Err(error) if matches!(error.downcast_ref(), Some(LimitHit::Result)) => {
                tokio::task::block_in_place(|| read(limit)).map(Answer)
            }
            short => short.map(Answer),
        }
    }

    fn linear_lift_from_memory(
        _: &mut LiftContext<'_>,
        _: InterfaceType,
        _: &[u8],
    ) -> Result<Answer<N>> {
        wasmtime::bail!("{} is returned flat", type_name::<Self>());
    }
}

/// Runs `$call` with `$n` bound to how many core values the result has.
macro_rules! by_count {
    ($count:expr, $call:ident, $at:expr, $func:expr, $args:expr) => {
        by_count!(@arms $count, $call, $at, $func, $args, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
    };
    (@arms $count:expr, $call:ident, $at:expr, $func:expr, $args:expr, $($n:literal)*) => {
        match ($count, $at, $func, $args) {
            $(($n, at, func, args) => $call::<$n>(at, func, args).await,)*
            (other, ..) => wasmtime::bail!("a result of {other} core values"),
        }
    };
}

/// Calls `func` and answers its encoded result. `flats` is 1 for a function lifted synchronously.
pub(crate) async fn call(
    store: &mut Store<Ctx>,
    func: Func,
    flats: usize,
    args: Args,
) -> Result<Bytes> {
    by_count!(flats, call_exclusive, store, func, args)
}

/// The same from within `run_concurrent`, which keeps the guest running once it has answered.
pub(crate) async fn call_concurrent(
    at: &Accessor<Ctx>,
    func: Func,
    flats: usize,
    args: Args,
) -> Result<Bytes> {
    by_count!(flats, call_shared, at, func, args)
}

/// Runs what functions of the store still do after they have returned: an async function may go on
/// working.
pub(crate) async fn run_out(store: &mut Store<Ctx>) -> Result<()> {
    store.run_concurrent(async |at| tasks_over(at).await).await
}

/// Ends when no function of the store is at work any more.
pub(crate) async fn tasks_over(at: &Accessor<Ctx>) {
    std::future::poll_fn(|cx| at.poll_no_interesting_tasks(cx)).await;
}

async fn call_exclusive<const N: usize>(
    store: &mut Store<Ctx>,
    func: Func,
    args: Args,
) -> Result<Bytes> {
    // SAFETY: `Args` and `Answer` follow the type of whichever function they are given.
    let func = unsafe { TypedFunc::<Args, Answer<N>>::new_unchecked(func) };
    Ok(func.call_async(store, args).await?.0)
}

async fn call_shared<const N: usize>(at: &Accessor<Ctx>, func: Func, args: Args) -> Result<Bytes> {
    // SAFETY: `Args` and `Answer` follow the type of whichever function they are given.
    let func = unsafe { TypedFunc::<Args, Answer<N>>::new_unchecked(func) };
    Ok(func.call_concurrent(at, args).await?.0)
}
