//! Arguments of any function, as wasmtime's typed calls want them.

use super::lower::Lowering;
use crate::current;
use crate::ledger::Charge;
use crate::limit::LimitHit;
use crate::sandbox::Ctx;
use bytes::Bytes;
use std::mem::MaybeUninit;
use wasmtime::component::__internal::{
    CanonicalAbiInfo, InstanceType, InterfaceType, LowerContext,
};
use wasmtime::component::{ComponentNamedList, ComponentType, Lower};
use wasmtime::{Result, ValRaw};

/// Core values a function takes at most; what has more goes through memory.
const MAX_FLAT: usize = 16;

/// The encoded arguments of one call, on its sandbox's account until they are dropped.
pub(crate) struct Args(Bytes, #[expect(dead_code, reason = "held")] Option<Charge>);

impl Args {
    pub(crate) fn charged(ctx: &Ctx, bytes: Bytes) -> Result<Args, LimitHit> {
        let charge = match bytes.is_empty() {
            true => None,
            false => Some(ctx.charge(bytes.len())?),
        };
        Ok(Args(bytes, charge))
    }
}

// SAFETY: `Lower` is sixteen `ValRaw`, so `flatten_count` is 16, the most that wasmtime passes flat: it always calls
// `linear_lower_to_flat`, with room for sixteen, and never uses `ABI` or the memory form. All sixteen are initialised
// there. The function is made with `TypedFunc::new_unchecked`, so `typecheck` is not what safety rests on: the values
// written follow the function's own type, which wasmtime hands to `linear_lower_to_flat`.
unsafe impl ComponentType for Args {
    type Lower = [ValRaw; MAX_FLAT];
    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::ZERO;

    fn typecheck(_: &InterfaceType, _: &InstanceType<'_>) -> Result<()> {
        Ok(())
    }
}

// SAFETY: as above; `Args` stands for the whole list of parameters.
unsafe impl ComponentNamedList for Args {}

// SAFETY: `linear_lower_to_flat` initialises all of `dst` before it returns `Ok`, with values that fit the type given.
unsafe impl Lower for Args {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<[ValRaw; MAX_FLAT]>,
    ) -> Result<()> {
        let flat = dst.write([ValRaw::u64(0); MAX_FLAT]);
        current::expect_abi(cx.options().async_)?;
        let plan = current::plan()?;
        let params = plan.params(cx.types, ty)?;
        let mut lowering = Lowering::new(cx, &self.0);
        match params.flat {
            Some(_) => lowering.flatten(params, flat)?,
            None => flat[0] = ValRaw::i64(lowering.indirect(params)?.into()),
        }
        lowering.finish()
    }

    fn linear_lower_to_memory<T>(
        &self,
        _: &mut LowerContext<'_, T>,
        _: InterfaceType,
        _: usize,
    ) -> Result<()> {
        wasmtime::bail!("a list of parameters is passed flat");
    }
}
