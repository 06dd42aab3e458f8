//! The twins: wasmtime alone, with a pool of the same size and no limits at all.
//!
//! One is set up as wasmtime comes, with support for the component model's async; the other without it, which is as fast as
//! wasmtime goes, and what the engine does for components that use none.

use std::sync::Arc;
use wasmtime::component::{
    Component, ComponentNamedList, Func, InstancePre, Lift, Linker, Lower, Val,
};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
};

#[derive(Clone)]
pub struct Twin(Arc<Inner>);

struct Inner {
    engine: Engine,
    pre: InstancePre<()>,
    export: wasmtime::component::ComponentExportIndex,
}

impl Twin {
    /// The component's only function.
    pub fn new(sandboxes: u32, wat: &str) -> Twin {
        Twin::with(config(sandboxes), wat)
    }

    /// The same without support for async.
    pub fn lean(sandboxes: u32, wat: &str) -> Twin {
        let mut config = config(sandboxes);
        config.concurrency_support(false);
        Twin::with(config, wat)
    }

    fn with(config: Config, wat: &str) -> Twin {
        let engine = Engine::new(&config).unwrap();
        let component = Component::new(&engine, wat::parse_str(wat).unwrap()).unwrap();
        let name = component
            .component_type()
            .exports(&engine)
            .find(|(_, item)| {
                matches!(
                    item.ty,
                    wasmtime::component::types::ComponentItem::ComponentFunc(_)
                )
            })
            .map(|(name, _)| name.to_owned())
            .unwrap();
        let export = component.get_export_index(None, &name).unwrap();
        let pre = Linker::new(&engine).instantiate_pre(&component).unwrap();
        Twin(Arc::new(Inner {
            engine,
            pre,
            export,
        }))
    }

    /// A fresh instance and a typed call.
    pub async fn typed<P, R>(&self, params: P) -> R
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift + 'static,
    {
        let mut store = Store::new(&self.0.engine, ());
        let func = self.instantiate(&mut store).await;
        let func = func.typed::<P, R>(&store).unwrap();
        func.call_async(&mut store, params).await.unwrap()
    }

    /// A fresh instance and a call by dynamic values.
    pub async fn dynamic(&self, params: &[Val]) -> Val {
        let mut store = Store::new(&self.0.engine, ());
        let func = self.instantiate(&mut store).await;
        let mut results = [Val::Bool(false)];
        func.call_async(&mut store, params, &mut results)
            .await
            .unwrap();
        let [result] = results;
        result
    }

    async fn instantiate(&self, store: &mut Store<()>) -> Func {
        let instance = self.0.pre.instantiate_async(&mut *store).await.unwrap();
        instance.get_func(store, &self.0.export).unwrap()
    }
}

fn config(sandboxes: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    let scan = PoolingAllocationConfig::is_pagemap_scan_available();
    pool.total_component_instances(sandboxes)
        .total_core_instances(sandboxes * 4)
        .total_memories(sandboxes)
        .total_tables(sandboxes * 4)
        .total_stacks(sandboxes)
        .linear_memory_keep_resident(if scan { 1 << 20 } else { 0 })
        .table_keep_resident(if scan { 64 << 10 } else { 0 })
        .pagemap_scan(if scan { Enabled::Yes } else { Enabled::No });
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_init_cow(true);
    config
}
