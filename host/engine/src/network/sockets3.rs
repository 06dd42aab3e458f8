//! `wasi:sockets@0.3`, where sockets are made and where their streams are taken.
//!
//! Five functions in the place of wasmtime's, which they call: they count the descriptor ([`crate::descriptors`]), and let each
//! stream share it until its result is told, because a guest may drop the socket and go on reading.

use super::full;
use crate::descriptors::{Exhausted, Open};
use crate::sandbox::Ctx;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use wasmtime::component::{
    Access, FutureConsumer, FutureReader, HasData, Linker, Resource, Source, StreamReader,
};
use wasmtime::{AsContextMut, Result, StoreContextMut};
use wasmtime_wasi::p3::bindings::sockets::types::{
    ErrorCode, HostTcpSocket, HostTcpSocketWithStore, HostUdpSocket, IpAddressFamily,
};
use wasmtime_wasi::p3::sockets::SocketResult;
use wasmtime_wasi::sockets::{TcpSocket, UdpSocket, WasiSockets, WasiSocketsView};

/// As wasmtime registers it.
pub(super) const TYPES: &str = "wasi:sockets/types@0.3.0";

type Done = Result<(), ErrorCode>;

/// Replaces wasmtime's own; the linker must allow that.
pub(super) fn link(linker: &mut Linker<Ctx>) -> Result<()> {
    let mut types = linker.instance(TYPES)?;
    types.func_wrap("[static]tcp-socket.create", |store, (family,)| {
        Ok((create_tcp(store, family)?,))
    })?;
    types.func_wrap_async("[static]udp-socket.create", |store, (family,)| {
        Box::new(async move { Ok((create_udp(store, family).await?,)) })
    })?;
    types.func_wrap("[method]tcp-socket.send", |store, (socket, data)| {
        Ok((send(store, socket, data)?,))
    })?;
    types.func_wrap("[method]tcp-socket.receive", |store, (socket,)| {
        Ok((receive(store, socket)?,))
    })
}

fn create_tcp(
    mut store: StoreContextMut<'_, Ctx>,
    family: IpAddressFamily,
) -> Result<Result<Resource<TcpSocket>, ErrorCode>> {
    let ctx = store.data_mut();
    let open = match room(ctx)? {
        Ok(open) => open,
        Err(code) => return Ok(Err(code)),
    };
    let made = HostTcpSocket::create(&mut ctx.sockets(), family);
    made_with(ctx, open, made)
}

async fn create_udp(
    mut store: StoreContextMut<'_, Ctx>,
    family: IpAddressFamily,
) -> Result<Result<Resource<UdpSocket>, ErrorCode>> {
    let ctx = store.data_mut();
    let open = match room(ctx)? {
        Ok(open) => open,
        Err(code) => return Ok(Err(code)),
    };
    let made = HostUdpSocket::create(&mut ctx.sockets(), family).await;
    made_with(ctx, open, made)
}

/// A descriptor, or what the guest is told when the node has none left.
fn room(ctx: &Ctx) -> Result<Result<Open, ErrorCode>> {
    match ctx.egress.files.open() {
        Ok(open) => Ok(Ok(open)),
        Err(Exhausted::Sandbox) => Err(full()),
        Err(Exhausted::Node) => Ok(Err(ErrorCode::Other(Some(
            "the node has no descriptor left for guests".into(),
        )))),
    }
}

fn made_with<T: 'static>(
    ctx: &Ctx,
    open: Open,
    made: SocketResult<Resource<T>>,
) -> Result<Result<Resource<T>, ErrorCode>> {
    match made {
        Ok(socket) => {
            ctx.egress.files.keep_socket(socket.rep(), open);
            Ok(Ok(socket))
        }
        Err(error) => error.downcast().map(Err),
    }
}

fn send(
    mut store: StoreContextMut<'_, Ctx>,
    socket: Resource<TcpSocket>,
    data: StreamReader<u8>,
) -> Result<FutureReader<Done>> {
    let open = store.data().egress.files.share_socket(socket.rep());
    let done = WasiSockets::send(access(&mut store), socket, data)?;
    until_done(store, done, open)
}

fn receive(
    mut store: StoreContextMut<'_, Ctx>,
    socket: Resource<TcpSocket>,
) -> Result<(StreamReader<u8>, FutureReader<Done>)> {
    let open = store.data().egress.files.share_socket(socket.rep());
    let (data, done) = WasiSockets::receive(access(&mut store), socket)?;
    Ok((data, until_done(store, done, open)?))
}

fn access<'a>(store: &'a mut StoreContextMut<'_, Ctx>) -> Access<'a, Ctx, WasiSockets> {
    access_to::<WasiSockets>(store, Ctx::sockets)
}

/// Generic, because only so the compiler sees that `WasiSockets`' data is what the view is.
fn access_to<'a, D: HasData>(
    store: &'a mut StoreContextMut<'_, Ctx>,
    view: fn(&mut Ctx) -> D::Data<'_>,
) -> Access<'a, Ctx, D> {
    Access::new(store.as_context_mut(), view)
}

/// The same future, which holds a share in the descriptor until wasmtime has let go of the stream.
fn until_done(
    mut store: StoreContextMut<'_, Ctx>,
    done: FutureReader<Done>,
    open: Option<Arc<Open>>,
) -> Result<FutureReader<Done>> {
    let Some(open) = open else {
        return Ok(done);
    };
    let (sender, told) = oneshot::channel();
    let holding = Holding(Some((sender, open)));
    done.pipe(&mut store, holding)?;
    FutureReader::new(&mut store, told)
}

struct Holding(Option<(oneshot::Sender<Done>, Arc<Open>)>);

impl FutureConsumer<Ctx> for Holding {
    type Item = Done;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, Ctx>,
        mut source: Source<'_, Done>,
        _: bool,
    ) -> Poll<Result<()>> {
        let mut done = None;
        source.read(store, &mut done)?;
        if let Some((done, (sender, _open))) = done.zip(self.0.take()) {
            // The guest may not care.
            let _ = sender.send(done);
        }
        Poll::Ready(Ok(()))
    }
}
