//! The one wasmtime configuration of the platform.
//!
//! Used twice: by the engines that run guests, over their pools, and by the compile worker, without one. What
//! decides whether an artifact fits (features, tunables, CPU flags) is set in [`shared`], so the two agree.
//!
//! It comes in two forms, [`Concurrency`]: most components never use the component model's async, and without the
//! machinery for it (a task, a thread and a worker fiber per call) a sandbox costs half.
//!
//! Off, because no guest needs it or because it widens what a guest can reach: threads and shared
//! memory, 64-bit memories, garbage collection and exceptions, stack switching, core dumps, Winch;
//! error contexts, whose messages the host would keep without a bound on their bytes. What wasmtime
//! was built without needs no line here.

use crate::pool::Pool;
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    WasmBacktraceDetails,
};

/// Stack of a guest. Interpreters recurse deeply; 512 KiB, wasmtime's default, is short for them.
const GUEST_STACK_BYTES: usize = 1 << 20;
/// Stack of a fiber: the guest's, and as much again for host functions called from its far end.
const FIBER_STACK_BYTES: usize = 2 << 20;
/// Address space per linear memory. 4 GiB let the compiler leave out bounds checks.
const MEMORY_RESERVATION_BYTES: u64 = 4 << 30;
/// Unmapped space behind each memory, which catches `base + constant offset`. wasmtime's default.
const MEMORY_GUARD_BYTES: u64 = 32 << 20;
/// Frames of a guest backtrace that are kept; deep recursion repeats itself anyway.
const BACKTRACE_FRAMES: usize = 64;

/// Linear memories of one component instance, at most.
pub(crate) const MEMORIES_PER_COMPONENT: u32 = 16;
/// Tables of one component instance, at most.
pub(crate) const TABLES_PER_COMPONENT: u32 = 64;
/// Core instances of one component instance, at most.
pub(crate) const CORE_INSTANCES_PER_COMPONENT: u32 = 128;
/// Elements of one table, at most; CPython's component needs 20,000.
pub(crate) const TABLE_ELEMENTS: usize = 100_000;
/// Bookkeeping of one component instance and its core instances, at most.
const INSTANCE_BYTES: usize = 4 << 20;

/// Whether a component may use the component model's async: async functions, streams, futures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Concurrency {
    Off,
    On,
}

/// The configuration of an engine that runs guests (`Some`), or of the compile worker (`None`), which needs no pool.
pub(crate) fn wasmtime_config(concurrency: Concurrency, pool: Option<&Pool>) -> Config {
    let mut config = shared(concurrency == Concurrency::On);
    if let Some(pool) = pool {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(pool)));
    }
    config
}

/// Everything that an artifact depends on.
fn shared(concurrent: bool) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_component_model_async(concurrent)
        .wasm_component_model_map(true)
        .wasm_component_model_fixed_length_lists(true)
        .wasm_memory64(false)
        .shared_memory(false)
        .concurrency_support(concurrent)
        .epoch_interruption(true)
        .consume_fuel(false)
        .cranelift_opt_level(OptLevel::Speed)
        .memory_init_cow(true)
        .memory_reservation(MEMORY_RESERVATION_BYTES)
        .memory_guard_size(MEMORY_GUARD_BYTES)
        .memory_may_move(false)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .async_stack_zeroing(true)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(BACKTRACE_FRAMES))
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config
}

fn pooling(pool: &Pool) -> PoolingAllocationConfig {
    let mut config = PoolingAllocationConfig::new();
    config
        .total_component_instances(pool.sandboxes * pool.instances_per_sandbox)
        .total_core_instances(pool.sandboxes * CORE_INSTANCES_PER_COMPONENT)
        .total_memories(pool.memories)
        .total_tables(pool.tables)
        .total_stacks(pool.stacks)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_memories_per_module(MEMORIES_PER_COMPONENT)
        .max_tables_per_module(TABLES_PER_COMPONENT)
        .max_core_instance_size(INSTANCE_BYTES)
        .max_component_instance_size(INSTANCE_BYTES)
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(MEMORY_RESERVATION_BYTES as usize)
        .max_unused_warm_slots(pool.warm_slots)
        .linear_memory_keep_resident(pool.keep_resident_bytes)
        .table_keep_resident(pool.table_keep_resident_bytes)
        .async_stack_keep_resident(pool.stack_keep_resident_bytes)
        .pagemap_scan(if pool.pagemap_scan {
            Enabled::Yes
        } else {
            Enabled::No
        });
    config
}
