//! The part of `wasi:filesystem` that is ours: opening files and listing directories, which count
//! ([`crate::descriptors`]).
//!
//! Directories come from [`Grants::mounts`](crate::Grants) and are read-only; the rest is wasmtime's.

mod listing;

use crate::config::Concurrency;
use crate::descriptors::{Exhausted, Open};
use crate::limit::LimitHit;
use crate::sandbox::Ctx;
use std::fs::File;
use std::sync::Arc;
use wasmtime::component::{
    Accessor, Linker, LinkerInstance, Resource, ResourceTableError, ResourceType,
};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::filesystem::types as p2;
use wasmtime_wasi::p3::bindings::filesystem::types as p3;

/// The interfaces as wasmtime registers them.
const P2: &str = "wasi:filesystem/types@0.2.12";
const P3: &str = "wasi:filesystem/types@0.3.0";
const OPEN_AT: &str = "[method]descriptor.open-at";
const READ_DIRECTORY: &str = "[method]descriptor.read-directory";

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
    let mut types = linker.instance(P2)?;
    types.func_wrap_async(OPEN_AT, |store, asked| Box::new(open_at_2(store, asked)))?;
    closing(&mut types)?;
    if concurrency == Concurrency::On {
        let mut types = linker.instance(P3)?;
        types.func_wrap_concurrent(OPEN_AT, |store, asked| Box::pin(open_at_3(store, asked)))?;
        types.func_wrap(READ_DIRECTORY, |store, (directory,)| {
            Ok((listing::read_directory(store, directory)?,))
        })?;
        closing(&mut types)?;
    }
    Ok(())
}

/// Replaces the end of a descriptor, which may be the end of its file.
fn closing(types: &mut LinkerInstance<'_, Ctx>) -> Result<()> {
    let ty = ResourceType::host::<Descriptor>();
    types.resource("descriptor", ty, |mut store, descriptor| {
        let ctx = store.data_mut();
        let descriptor = Resource::<Descriptor>::new_own(descriptor);
        let file = Arc::downgrade(file(ctx, &descriptor)?);
        ctx.table.delete(descriptor)?;
        ctx.egress.files.closed_file(&file);
        Ok(())
    })
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
        Ok(descriptor) => {
            ctx.egress.files.keep_file(file(ctx, &descriptor)?, open);
            Ok((Ok(descriptor),))
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
        Ok(descriptor) => store.with(|mut access| {
            let ctx = access.data_mut();
            ctx.egress.files.keep_file(file(ctx, &descriptor)?, open);
            Ok((Ok(descriptor),))
        }),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

/// What a descriptor shares with its streams, and with reads under way.
fn file<'a>(
    ctx: &'a Ctx,
    descriptor: &Resource<Descriptor>,
) -> std::result::Result<&'a Arc<File>, ResourceTableError> {
    Ok(match ctx.table.get(descriptor)? {
        Descriptor::File(file) => &file.file,
        Descriptor::Dir(directory) => &directory.dir,
    })
}

/// A descriptor for a file that is about to be opened; none while the node has none left.
fn room(ctx: &Ctx) -> Result<Option<Open>> {
    match ctx.egress.files.open() {
        Ok(open) => Ok(Some(open)),
        Err(Exhausted::Sandbox) => Err(LimitHit::OpenFiles.into()),
        Err(Exhausted::Node) => Ok(None),
    }
}
