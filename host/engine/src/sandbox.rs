//! One sandbox: a store, its limits and grants, and an instance in it.
//!
//! Everything a host function may touch on behalf of the guest is in [`Ctx`]. What most guests never use (WASI contexts:
//! random seeds, boxed clocks and streams) is made when it is first asked for, as it would cost more than the sandbox.

use crate::calls::{Calling, Calls};
use crate::component::Export;
use crate::descriptors::Descriptors;
use crate::egress::Egress;
use crate::grants::Grants;
use crate::ledger::{Account, Charge};
use crate::limit::{Circumstances, LimitHit};
use crate::limits::Limits;
use crate::output::{Output, OutputSink, OutputStream};
use crate::retained::Retained;
use crate::stdio::Printer;
use crate::wasi;
use crate::{config, current};
use std::sync::Arc;
use std::time::Instant;
use wasmtime::component::{Func, Instance, InstancePre, ResourceTable};
use wasmtime::{ResourceLimiter, Result, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// Bytes of one table element.
const TABLE_ELEMENT_BYTES: u64 = size_of::<usize>() as u64;

/// Handles that wasmtime itself takes in a store, for the tasks and threads of calls.
const RUNTIME_HANDLES: usize = 8;

/// State of one sandbox, reachable from host functions.
pub(crate) struct Ctx {
    pub(crate) table: ResourceTable,
    pub(crate) limits: Limits,
    pub(crate) grants: Arc<Grants>,
    pub(crate) output: Arc<Output>,
    pub(crate) egress: Egress,
    /// Of the call that runs now; none when it can make no calls.
    pub(crate) calling: Option<Box<Calling>>,
    account: Account,
    /// Of the account, what memories and tables take.
    memory_bytes: u64,
    /// Of the account, what `wasi:http` keeps for the guest.
    retained: Retained,
    /// The guest holds more than it may, and was not told yet.
    over: Option<LimitHit>,
    wasi: Option<Box<WasiCtx>>,
    http: WasiHttpCtx,
}

impl Ctx {
    pub(crate) fn new(
        limits: Limits,
        grants: Arc<Grants>,
        sink: OutputSink,
        descriptors: Descriptors,
        account: Account,
    ) -> Ctx {
        let mut table = ResourceTable::new();
        // What the guest holds is counted by the store; some of it takes two entries here, such as a timer and its pollable.
        table.set_max_capacity((limits.handles as usize).saturating_mul(2));
        let mut http = WasiHttpCtx::new();
        // One header block is one host call's worth at most, and never more than wasmtime's own bound.
        http.set_field_size_limit(
            (limits.host_call_bytes as usize).min(wasi::MAX_HTTP_FIELD_BYTES),
        );
        Ctx {
            table,
            egress: Egress::new(grants.clone(), limits.open_files, descriptors),
            output: Arc::new(Output::new(
                sink,
                limits.output_bytes,
                limits.output_bytes_per_second,
            )),
            account,
            memory_bytes: 0,
            retained: Retained::default(),
            over: None,
            calling: None,
            wasi: None,
            http,
            limits,
            grants,
        }
    }

    /// Counts bytes that the host holds for the guest, until the charge is dropped.
    pub(crate) fn charge(&self, bytes: usize) -> Result<Charge, LimitHit> {
        self.account.charge(bytes as u64)
    }

    /// The sandbox's bytes.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// Begins a call that may call others until `deadline`, and ends what the one before has left
    /// under way.
    pub(crate) fn may_call(&mut self, calls: Option<&Arc<dyn Calls>>, deadline: Instant) {
        let account = &self.account;
        self.calling =
            calls.map(|calls| Box::new(Calling::new(calls.clone(), deadline, account.clone())));
    }

    pub(crate) fn circumstances(&self) -> Circumstances {
        Circumstances {
            memory_refused: self.account.refused(),
            output_refused: self.output.refused(),
            panic: self.output.panic(),
        }
    }

    fn wasi(&mut self) -> (&mut WasiCtx, &mut ResourceTable) {
        let wasi = self.wasi.get_or_insert_with(|| {
            let stdout = Printer::new(self.output.clone(), OutputStream::Stdout);
            let stderr = Printer::new(self.output.clone(), OutputStream::Stderr);
            Box::new(wasi::context(
                &self.limits,
                &self.grants,
                &self.egress,
                stdout,
                stderr,
            ))
        });
        (wasi, &mut self.table)
    }
}

impl WasiView for Ctx {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (ctx, table) = self.wasi();
        WasiCtxView { ctx, table }
    }
}

impl WasiHttpView for Ctx {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.count_retained();
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.egress,
        }
    }
}

impl Ctx {
    /// Counts a memory or table that grows from `current` to `desired` bytes; `false` when there is
    /// no room.
    fn grow(&mut self, current: u64, desired: u64) -> bool {
        let more = desired.saturating_sub(current);
        let grown = self.account.grow(more).is_ok();
        if grown {
            self.memory_bytes += more;
        }
        grown
    }
}

impl Ctx {
    /// Puts what `wasi:http` keeps on the account.
    fn count_retained(&mut self) {
        let Some(bytes) = self.retained.call(&mut self.table) else {
            return;
        };
        let before = std::mem::replace(&mut self.retained.bytes, bytes);
        match bytes.checked_sub(before) {
            Some(more) => {
                if let Err(hit) = self.account.grow(more) {
                    self.retained.bytes = before;
                    self.over = Some(hit);
                }
            }
            None => self.account.shrink(before - bytes),
        }
    }
}

impl Drop for Ctx {
    fn drop(&mut self) {
        self.account.close(self.memory_bytes + self.retained.bytes);
    }
}

impl ResourceLimiter for Ctx {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        // Beyond its own maximum the guest gets the answer that it asked for, which is no limit of ours.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.grow(current as u64, desired as u64))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) || desired > config::TABLE_ELEMENTS {
            return Ok(false);
        }
        Ok(self.grow(
            current as u64 * TABLE_ELEMENT_BYTES,
            desired as u64 * TABLE_ELEMENT_BYTES,
        ))
    }

    fn instances(&self) -> usize {
        config::CORE_INSTANCES_PER_COMPONENT as usize
    }

    fn memories(&self) -> usize {
        config::MEMORIES_PER_COMPONENT as usize
    }

    fn tables(&self) -> usize {
        config::TABLES_PER_COMPONENT as usize
    }
}

/// A store with every limit armed, before any guest code has run in it.
pub(crate) fn store(engine: &wasmtime::Engine, ctx: Ctx) -> Store<Ctx> {
    let fuel = usize::try_from(ctx.limits.host_call_bytes).unwrap_or(usize::MAX);
    let handles = (ctx.limits.handles as usize).saturating_add(RUNTIME_HANDLES);
    let mut store = Store::new(engine, ctx);
    store.limiter(|ctx| ctx);
    store.set_hostcall_fuel(fuel);
    store.set_max_component_handles(handles);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| {
        if current::cpu_spent() {
            return Err(LimitHit::Cpu.into());
        }
        if let Some(hit) = store.data().over {
            return Err(hit.into());
        }
        if store.data().output.refused() {
            return Err(LimitHit::Output.into());
        }
        // Wall time and cancellation are looked at between polls, so giving way is all there is to do for them.
        Ok(UpdateDeadline::Yield(1))
    });
    store
}

/// An export of the instance.
pub(crate) fn export(instance: &Instance, store: &mut Store<Ctx>, export: &Export) -> Result<Func> {
    match instance.get_func(store, export.index) {
        Some(func) => Ok(func),
        None => wasmtime::bail!("the component has lost an export"),
    }
}

/// Instantiates: imports are resolved, memories laid out, start functions run.
pub(crate) async fn instantiate(
    store: &mut Store<Ctx>,
    pre: &InstancePre<Ctx>,
) -> Result<Instance> {
    pre.instantiate_async(store).await
}
