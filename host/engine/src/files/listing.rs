//! `read-directory` of WASI 0.3.
//!
//! wasmtime's own keeps a thread and a descriptor for each listing until the guest has read it to
//! its end, and the threads are those that read all files of all guests. This one counts the
//! descriptor and takes a thread for one batch at a time, when the guest asks for more.

use super::room;
use crate::descriptors::Open;
use crate::sandbox::Ctx;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use std::fs::File;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use wasmtime::component::{
    Destination, FutureReader, Resource, StreamProducer, StreamReader, StreamResult, VecBuffer,
};
use wasmtime::{AsContextMut, Result, StoreContextMut};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p3::bindings::filesystem::types::{DescriptorType, DirectoryEntry, ErrorCode};

/// Entries of one batch. The longest names come to some 16 KiB.
const BATCH: usize = 64;

type Done = std::result::Result<(), ErrorCode>;
type Listed = (StreamReader<DirectoryEntry>, FutureReader<Done>);

pub(super) fn read_directory(
    mut store: StoreContextMut<'_, Ctx>,
    directory: Resource<Descriptor>,
) -> Result<Listed> {
    let ctx = store.data_mut();
    let directory = match ctx.table.get(&directory)? {
        Descriptor::Dir(directory) => directory.dir.clone(),
        Descriptor::File(_) => return refused(store, ErrorCode::NotDirectory),
    };
    let Some(open) = room(ctx)? else {
        return refused(store, ErrorCode::Busy);
    };
    let (told, done) = oneshot::channel();
    let listing = Listing {
        at: At::Resting(Place::Start(directory)),
        told: Some(told),
        open: Arc::new(open),
    };
    let entries = StreamReader::new(store.as_context_mut(), listing)?;
    Ok((entries, FutureReader::new(store, done)?))
}

fn refused(mut store: StoreContextMut<'_, Ctx>, code: ErrorCode) -> Result<Listed> {
    let entries = StreamReader::new(store.as_context_mut(), std::iter::empty())?;
    let done = FutureReader::new(store, async move { wasmtime::error::Ok(Err(code)) })?;
    Ok((entries, done))
}

/// A directory being read.
struct Listing {
    at: At,
    /// How it ended; told once.
    told: Option<oneshot::Sender<Done>>,
    /// Held by a read under way too, which may outlive the listing.
    open: Arc<Open>,
}

enum At {
    Resting(Place),
    Reading(JoinHandle<Batch>),
    Ended,
}

enum Place {
    Start(Arc<File>),
    Within(Dir),
    End,
}

type Batch = std::result::Result<(Vec<DirectoryEntry>, Place), ErrorCode>;

impl Listing {
    fn end(&mut self, done: Done) -> Poll<Result<StreamResult>> {
        self.at = At::Ended;
        if let Some(told) = self.told.take() {
            // The guest may not care.
            let _ = told.send(done);
        }
        Poll::Ready(Ok(StreamResult::Dropped))
    }
}

impl StreamProducer<Ctx> for Listing {
    type Item = DirectoryEntry;
    type Buffer = VecBuffer<DirectoryEntry>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, Ctx>,
        mut destination: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        if destination.remaining(&mut store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let mut task = match std::mem::replace(&mut self.at, At::Ended) {
            At::Resting(Place::End) | At::Ended => return self.end(Ok(())),
            At::Resting(place) => {
                let open = self.open.clone();
                spawn_blocking(move || {
                    let batch = read(place);
                    drop(open);
                    batch
                })
            }
            At::Reading(task) => task,
        };
        let Poll::Ready(batch) = Pin::new(&mut task).poll(cx) else {
            // What is being read is for the next one who asks.
            self.at = At::Reading(task);
            return if finish {
                Poll::Ready(Ok(StreamResult::Cancelled))
            } else {
                Poll::Pending
            };
        };
        match batch.unwrap_or(Err(ErrorCode::Io)) {
            Ok((entries, _)) if entries.is_empty() => self.end(Ok(())),
            Ok((entries, place)) => {
                self.at = At::Resting(place);
                destination.set_buffer(entries.into());
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Err(code) => self.end(Err(code)),
        }
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        if let Some(told) = self.told.take() {
            let _ = told.send(Ok(()));
        }
    }
}

/// The next batch; none at the end. Blocks.
fn read(place: Place) -> Batch {
    let mut directory = match place {
        Place::Start(directory) => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(&directory, c".", flags, Mode::empty());
            opened.and_then(Dir::new).map_err(code)?
        }
        Place::Within(directory) => directory,
        Place::End => return Ok((Vec::new(), Place::End)),
    };
    let mut entries = Vec::new();
    while entries.len() < BATCH {
        let Some(entry) = directory.next() else {
            return Ok((entries, Place::End));
        };
        let entry = entry.map_err(code)?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let ty = match entry.file_type() {
            FileType::Unknown => {
                let stat = rustix::fs::statat(
                    directory.fd().map_err(code)?,
                    name,
                    AtFlags::SYMLINK_NOFOLLOW,
                );
                FileType::from_raw_mode(stat.map_err(code)?.st_mode)
            }
            ty => ty,
        };
        let name = name.to_str().map_err(|_| ErrorCode::IllegalByteSequence)?;
        entries.push(DirectoryEntry {
            type_: described(ty),
            name: name.to_owned(),
        });
    }
    Ok((entries, Place::Within(directory)))
}

fn code(error: rustix::io::Errno) -> ErrorCode {
    std::io::Error::from(error).into()
}

fn described(ty: FileType) -> DescriptorType {
    match ty {
        FileType::RegularFile => DescriptorType::RegularFile,
        FileType::Directory => DescriptorType::Directory,
        FileType::Symlink => DescriptorType::SymbolicLink,
        FileType::BlockDevice => DescriptorType::BlockDevice,
        FileType::CharacterDevice => DescriptorType::CharacterDevice,
        FileType::Fifo => DescriptorType::Fifo,
        FileType::Socket => DescriptorType::Socket,
        FileType::Unknown => DescriptorType::Other(None),
    }
}
