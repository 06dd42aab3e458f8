//! The part of `wasi:filesystem` that is ours: opening files, each of which counts ([`crate::descriptors`]).
//!
//! Directories come from [`Grants::mounts`](crate::Grants) and are read-only; the rest is wasmtime's.

use crate::config::Concurrency;
use crate::descriptors::{Exhausted, Open};
use crate::limit::LimitHit;
use crate::sandbox::Ctx;
use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::filesystem::types as p2;
use wasmtime_wasi::p3::bindings::filesystem::types as p3;

/// The interfaces as wasmtime registers them.
const P2: &str = "wasi:filesystem/types@0.2.12";
const P3: &str = "wasi:filesystem/types@0.3.0";
const OPEN_AT: &str = "[method]descriptor.open-at";

type Asked2 = (
    Resource<Descriptor>,
    p2::PathFlags,
    String,
    p2::OpenFlags,
    p2::DescriptorFlags,
);
type Asked3 = (
    Resource<Descriptor>,
    p3::PathFlags,
    String,
    p3::OpenFlags,
    p3::DescriptorFlags,
);
type Opened<E> = std::result::Result<Resource<Descriptor>, E>;

/// Replaces wasmtime's own; the linker must allow that.
pub(crate) fn link(linker: &mut Linker<Ctx>, concurrency: Concurrency) -> Result<()> {
    linker
        .instance(P2)?
        .func_wrap_async(OPEN_AT, |store, asked| Box::new(open_at_2(store, asked)))?;
    if concurrency == Concurrency::On {
        linker
            .instance(P3)?
            .func_wrap_concurrent(OPEN_AT, |store, asked| Box::pin(open_at_3(store, asked)))?;
    }
    Ok(())
}

async fn open_at_2(
    mut store: StoreContextMut<'_, Ctx>,
    (directory, path_flags, path, open_flags, flags): Asked2,
) -> Result<(Opened<p2::ErrorCode>,)> {
    let ctx = store.data_mut();
    let Some(open) = room(ctx)? else {
        return Ok((Err(p2::ErrorCode::Busy),));
    };
    let mut view = ctx.filesystem();
    let opened =
        p2::HostDescriptor::open_at(&mut view, directory, path_flags, path, open_flags, flags);
    match opened.await {
        Ok(file) => {
            ctx.egress.keep_socket(file.rep(), open);
            Ok((Ok(file),))
        }
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

async fn open_at_3(
    store: &Accessor<Ctx>,
    (directory, path_flags, path, open_flags, flags): Asked3,
) -> Result<(Opened<p3::ErrorCode>,)> {
    let Some(open) = store.with(|mut access| room(access.data_mut()))? else {
        return Ok((Err(p3::ErrorCode::Busy),));
    };
    let files = store.with_getter::<WasiFilesystem>(|ctx: &mut Ctx| ctx.filesystem());
    let opened = <WasiFilesystem as p3::HostDescriptorWithStore<Ctx>>::open_at(
        &files, directory, path_flags, path, open_flags, flags,
    );
    match opened.await {
        Ok(file) => {
            store.with(|mut access| access.data_mut().egress.keep_socket(file.rep(), open));
            Ok((Ok(file),))
        }
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

/// A descriptor for a file that is about to be opened; none while the node has none left.
fn room(ctx: &mut Ctx) -> Result<Option<Open>> {
    match ctx.egress.clone().room_for_socket(&ctx.table) {
        Ok(open) => Ok(Some(open)),
        Err(Exhausted::Sandbox) => Err(LimitHit::OpenFiles.into()),
        Err(Exhausted::Node) => Ok(None),
    }
}
