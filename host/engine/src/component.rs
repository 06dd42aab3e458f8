//! Components that are ready to run, and the functions they export.
//!
//! Preparing one does, once, all that a call would otherwise pay for: native code is mapped, imports are resolved, exports are
//! looked up. A call is left with taking slots from the pool.

use crate::cache::{Answer, Ready, SourceError};
use crate::codec::{MAX_FLAT_ASYNC, Plan};
use crate::compile::Artifact;
use crate::engine::Engine;
use crate::error::Error;
use crate::host::Host;
use crate::imports;
use crate::layout::{self, parts};
use crate::outcome::Start;
use crate::pace::Pace;
use crate::pool::Pool;
use crate::sandbox::Ctx;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use lydian_value::{Digest, FuncType, Interface, Type};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wasmtime::component::{ComponentExportIndex, InstancePre};

/// A component that is ready to run.
pub struct Component {
    loaded: Arc<Loaded>,
    prepared: Prepared,
}

/// How a component came to be ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// From memory, from its artifact, or compiled.
    pub start: Start,
    /// Reading and mapping the artifact.
    pub load: Duration,
    /// Compiling, if it had to be.
    pub compile: Duration,
    /// Bytes of the artifact.
    pub artifact_bytes: u64,
}

/// What all handles of one component share.
pub(crate) struct Loaded {
    pub(crate) digest: Digest,
    interface: Interface,
    exports: Vec<Export>,
    pub(crate) pre: InstancePre<Ctx>,
    pub(crate) host: Arc<Host>,
    /// Slots of the pool that one sandbox takes.
    pub(crate) slots: u32,
    /// Stacks that one sandbox may take: its own, and one for each instance that waits in a call of
    /// another.
    pub(crate) stacks: u32,
    /// Bytes that a sandbox has when it starts: what its memories declare, until the first one has
    /// shown what they take.
    initial_bytes: AtomicU64,
    /// Whether its functions can call others.
    calls: bool,
    /// Whether it runs in the pool of concurrent components.
    concurrent: bool,
}

/// What is known about an exported function beyond its type.
pub(crate) struct Export {
    pub(crate) index: ComponentExportIndex,
    pub(crate) plan: Arc<Plan>,
    /// Core values its result takes when it is lifted asynchronously.
    async_flats: usize,
    /// Whether its result names streams or futures.
    pub(crate) streams: bool,
    /// Whether its parameters name resources.
    handles: bool,
    /// Whether its result does.
    gives_handles: bool,
    lift: AtomicU8,
    pub(crate) pace: Pace,
}

/// A function of a component that is ready to run. Cheap to clone.
#[derive(Clone)]
pub struct Function {
    component: Arc<Loaded>,
    index: usize,
    prepared: Prepared,
}

impl Component {
    pub(crate) async fn prepare<E>(
        engine: &Engine,
        tenant: Arc<str>,
        digest: Digest,
        source: impl FnOnce() -> BoxFuture<'static, Result<Bytes, E>> + Send + 'static,
    ) -> Result<Arc<Component>, Error>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        engine.0.compiler.join(&tenant, &digest);
        let make = || load(engine.clone(), tenant, digest, source).boxed();
        let ready = engine.0.cache.join(digest, make).await?;
        Ok(Arc::new(Component {
            loaded: ready.loaded,
            prepared: ready.prepared,
        }))
    }

    /// The digest of its bytes.
    pub fn digest(&self) -> Digest {
        self.loaded.digest
    }

    /// What it exports and imports.
    pub fn interface(&self) -> &Interface {
        &self.loaded.interface
    }

    /// How it came to be ready for whoever prepared it.
    pub fn prepared(&self) -> Prepared {
        self.prepared
    }

    /// The function of this name, or the only one for the empty name; see [`Interface::function`].
    ///
    /// # Errors
    /// [`Error::NoFunction`], with what there is to choose from.
    pub fn function(&self, name: &str) -> Result<Function, Error> {
        let found = self.loaded.interface.function(name)?;
        Ok(Function {
            component: self.loaded.clone(),
            index: self.loaded.index_of(found),
            prepared: self.prepared,
        })
    }
}

impl Loaded {
    /// A sandbox has started, and takes so much.
    pub(crate) fn note_initial_bytes(&self, bytes: u64) {
        if self.initial_bytes.load(Ordering::Relaxed) != bytes {
            self.initial_bytes.store(bytes, Ordering::Relaxed);
        }
    }

    /// The place of a function, which is a reference into the list.
    fn index_of(&self, function: &FuncType) -> usize {
        let mut functions = self.interface.functions.iter();
        functions
            .position(|other| std::ptr::eq(other, function))
            .unwrap_or(0)
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component")
            .field("digest", &self.digest())
            .field("prepared", &self.prepared)
            .finish()
    }
}

impl Function {
    /// Its type.
    pub fn ty(&self) -> &FuncType {
        &self.component.interface.functions[self.index]
    }

    /// Its name, as a target.
    pub fn name(&self) -> &str {
        &self.ty().name
    }

    /// The component it belongs to.
    pub fn component(&self) -> Digest {
        self.component.digest
    }

    /// Whether its result names streams or futures, so that [`Engine::run`] is the way to call it.
    pub fn has_streams(&self) -> bool {
        self.export().streams
    }

    /// What its component exports and imports.
    pub fn interface(&self) -> &Interface {
        &self.component.interface
    }

    /// Whether it can call other functions: its component imports `lydian:calls`.
    pub fn makes_calls(&self) -> bool {
        self.component.calls
    }

    /// Whether it runs in the pool of concurrent components, [`Stats::concurrent_max`](crate::Stats) large.
    pub fn is_concurrent(&self) -> bool {
        self.component.concurrent
    }

    /// How many of the engine's sandboxes one call of it counts for.
    pub fn slots(&self) -> u32 {
        self.component.slots
    }

    /// Stacks that one call of it may take in the pool of concurrent components.
    pub fn stacks(&self) -> u32 {
        self.component.stacks
    }

    /// Whether a call of it may begin on the thread that asks for it. Results that name something
    /// open are not read twice.
    pub(crate) fn is_quick(&self) -> bool {
        let export = self.export();
        export.pace.is_quick() && !export.streams && !export.gives_handles
    }

    /// Bytes that one call of it needs to start.
    pub fn initial_bytes(&self) -> u64 {
        self.component.initial_bytes.load(Ordering::Relaxed)
    }

    /// Another function of the same component; see [`Component::function`].
    ///
    /// # Errors
    /// [`Error::NoFunction`], with what there is to choose from.
    pub fn sibling(&self, name: &str) -> Result<Function, Error> {
        let found = self.component.interface.function(name)?;
        Ok(Function {
            component: self.component.clone(),
            index: self.component.index_of(found),
            prepared: self.prepared,
        })
    }

    /// Whether it takes or gives resources, which mean something in one sandbox only.
    pub fn has_handles(&self) -> bool {
        self.export().handles || self.export().gives_handles
    }

    /// Any function of a component; none when it exports none.
    pub(crate) fn first(component: &Component) -> Option<Function> {
        let some = !component.loaded.exports.is_empty();
        some.then(|| Function {
            component: component.loaded.clone(),
            index: 0,
            prepared: component.prepared,
        })
    }

    /// Whether its arguments name resources.
    pub(crate) fn takes_handles(&self) -> bool {
        self.export().handles
    }

    pub(crate) fn loaded(&self) -> &Arc<Loaded> {
        &self.component
    }

    pub(crate) fn export(&self) -> &Export {
        &self.component.exports[self.index]
    }

    /// How its component came to be ready for whoever looked it up.
    pub fn prepared(&self) -> Prepared {
        self.prepared
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Function({} of {})",
            self.name(),
            self.component.digest.short()
        )
    }
}

/// What wasmtime counts memories in before they are there.
const WASM_PAGE_BYTES: u64 = 64 << 10;

const LIFT_SYNC: u8 = 0;
const LIFT_ASYNC: u8 = 1;

impl Export {
    /// Whether it is lifted asynchronously, as far as is known.
    pub(crate) fn is_async(&self) -> bool {
        self.lift.load(Ordering::Relaxed) == LIFT_ASYNC
    }

    /// A call has found out.
    pub(crate) fn learn(&self, is_async: bool) {
        self.lift.store(
            if is_async { LIFT_ASYNC } else { LIFT_SYNC },
            Ordering::Relaxed,
        );
    }

    /// Core values that wasmtime will give its result in.
    pub(crate) fn flats(&self) -> usize {
        if self.is_async() { self.async_flats } else { 1 }
    }
}

/// The work of one preparation.
async fn load<E>(
    engine: Engine,
    tenant: Arc<str>,
    digest: Digest,
    source: impl FnOnce() -> BoxFuture<'static, Result<Bytes, E>> + Send + 'static,
) -> Answer
where
    E: std::error::Error + Send + Sync + 'static,
{
    let started = Instant::now();
    // Compiling and describing may both want the bytes; they are fetched once, and only if so.
    let bytes = source()
        .map(|bytes| bytes.map_err(SourceError::new))
        .boxed()
        .shared();
    let fetch = bytes.clone();
    let compiler = &engine.0.compiler;
    let mut artifact = compiler
        .artifact(tenant.clone(), digest, move || fetch.boxed())
        .await?;
    let interface = match artifact.interface.take() {
        Some(interface) => interface,
        None => compiler.describe(&tenant, digest, bytes).await?,
    };
    let loaded = link(&engine, digest, interface, &artifact)?;
    let prepared = Prepared {
        start: if artifact.cached {
            Start::ColdLoad
        } else {
            Start::ColdCompile
        },
        load: started.elapsed().saturating_sub(artifact.compile_time),
        compile: artifact.compile_time,
        artifact_bytes: artifact.bytes,
    };
    let fresh = Arc::new(Component {
        loaded: loaded.clone(),
        prepared: Prepared {
            artifact_bytes: artifact.bytes,
            ..Prepared::default()
        },
    });
    engine.0.cache.insert(digest, fresh);
    Ok(Ready { loaded, prepared })
}

/// Maps the native code, resolves imports, looks up exports.
fn link(
    engine: &Engine,
    digest: Digest,
    interface: Interface,
    artifact: &Artifact,
) -> Result<Arc<Loaded>, Error> {
    let refused = |error: wasmtime::Error| Error::Link {
        component: digest,
        reason: format!("{error:#}"),
    };
    if let Some(reason) = layout::refusal(&interface) {
        return Err(Error::Link {
            component: digest,
            reason,
        });
    }
    let host = engine.0.hosts.get(artifact.concurrency, &engine.0.ticker)?;
    let component = artifact.load(&host.wasmtime).map_err(refused)?;
    let pre = host.linker.instantiate_pre(&component).map_err(|error| {
        imports::missing(digest, &interface.imports).unwrap_or_else(|| refused(error))
    })?;
    let exports = interface
        .functions
        .iter()
        .map(|function| export(&component, function))
        .collect::<Option<_>>();
    let exports = exports.ok_or_else(|| Error::Link {
        component: digest,
        reason: "its description names an export that it has not".to_owned(),
    })?;
    // `None` when it imports modules, which never link here.
    let needs = component.resources_required();
    let slots = needs
        .as_ref()
        .map_or(1, |needs| Pool::slots(needs.num_memories, needs.num_tables));
    let initial = needs.and_then(|needs| needs.max_initial_memory_size);
    let initial = initial.map(|pages| pages.saturating_mul(WASM_PAGE_BYTES));
    let stacks = match &host.stacks {
        Some(_) => Pool::stacks(slots),
        None => 1,
    };
    for (what, needs, has) in [
        ("places for sandboxes", slots, host.places),
        ("stacks", stacks, host.stacks_max),
    ] {
        if needs > has {
            return Err(Error::TooLarge {
                component: digest,
                what,
                needs,
                has,
            });
        }
    }
    Ok(Arc::new(Loaded {
        digest,
        calls: imports::make_calls(&interface.imports),
        concurrent: engine.0.hosts.is_concurrent(&host),
        interface,
        exports,
        pre,
        host,
        slots,
        stacks,
        initial_bytes: AtomicU64::new(initial.unwrap_or(0)),
    }))
}

fn export(component: &wasmtime::component::Component, function: &FuncType) -> Option<Export> {
    let interface = match &function.export.interface {
        Some(name) => Some(component.get_export_index(None, name)?),
        None => None,
    };
    let result = function.result.as_ref();
    Some(Export {
        index: component.get_export_index(interface.as_ref(), &function.export.raw)?,
        plan: Arc::default(),
        async_flats: result.map_or(0, |ty| {
            flats(ty)
                .filter(|count| *count <= MAX_FLAT_ASYNC)
                .unwrap_or(1)
        }),
        streams: result
            .is_some_and(|ty| any(ty, &|ty| matches!(ty, Type::Stream(_) | Type::Future(_)))),
        handles: function
            .params
            .iter()
            .any(|param| any(&param.ty, &is_handle)),
        gives_handles: result.is_some_and(|ty| any(ty, &is_handle)),
        // An `async` function is nearly always lifted so; the first call finds out.
        lift: AtomicU8::new(if function.is_async {
            LIFT_ASYNC
        } else {
            LIFT_SYNC
        }),
        pace: Pace::default(),
    })
}

fn is_handle(ty: &Type) -> bool {
    matches!(ty, Type::Own(_) | Type::Borrow(_))
}

/// Core values that a type flattens to; `None` when more than anyone passes flat.
fn flats(ty: &Type) -> Option<usize> {
    let count = match ty {
        Type::String | Type::List(_) | Type::Map(..) => 2,
        Type::FixedList(item, len) => flats(item)?.checked_mul(*len as usize)?,
        Type::Record(record) => side_by_side(record.fields.iter().map(|field| &field.ty))?,
        Type::Tuple(items) => side_by_side(items.iter())?,
        Type::Variant(variant) => {
            1 + widest(variant.cases.iter().filter_map(|case| case.ty.as_ref()))?
        }
        Type::Option(payload) => 1 + flats(payload)?,
        Type::Result(result) => 1 + widest(result.ok.iter().chain(&result.err))?,
        Type::Flags(flags) => flags.flags.len().div_ceil(32),
        _ => 1,
    };
    Some(count).filter(|count| *count <= MAX_FLAT_ASYNC)
}

fn side_by_side<'a>(mut types: impl Iterator<Item = &'a Type>) -> Option<usize> {
    types.try_fold(0, |sum, ty| Some(sum + flats(ty)?))
}

/// Cases share their core values.
fn widest<'a>(mut types: impl Iterator<Item = &'a Type>) -> Option<usize> {
    types.try_fold(0, |most, ty| Some(flats(ty)?.max(most)))
}

/// Whether `wanted` holds for a type or a part of it.
fn any(ty: &Type, wanted: &dyn Fn(&Type) -> bool) -> bool {
    wanted(ty) || parts(ty).into_iter().any(|part| any(part, wanted))
}
