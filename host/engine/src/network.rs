//! The parts of `wasi:sockets` that are ours: looking up names, and making sockets.
//!
//! Every socket that is made counts ([`crate::descriptors`]). The rest is wasmtime's, which asks [`Egress`] about every
//! address that a socket is used with.

pub(crate) mod lookup;
mod names;
mod sockets3;

use crate::config::Concurrency;
use crate::descriptors::{Exhausted, Open};
use crate::egress::Egress;
use crate::limit::LimitHit;
use crate::sandbox::Ctx;
use wasmtime::Result;
use wasmtime::component::{Accessor, HasData, Linker, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets as p2;
use wasmtime_wasi::p2::bindings::sockets::network::{
    ErrorCode, IpAddressFamily, Network as P2Network,
};
use wasmtime_wasi::p2::{self as p2_crate, SocketResult};
use wasmtime_wasi::p3::bindings::sockets as p3;
use wasmtime_wasi::sockets::{TcpSocket, UdpSocket, WasiSocketsCtxView, WasiSocketsView};

/// Replaces wasmtime's own; the linker must allow that.
pub(crate) fn link(linker: &mut Linker<Ctx>, concurrency: Concurrency) -> Result<()> {
    names::link(linker)?;
    p2::tcp_create_socket::add_to_linker::<Ctx, Network>(linker, Sockets::of)?;
    p2::udp_create_socket::add_to_linker::<Ctx, Network>(linker, Sockets::of)?;
    closing::<p2_crate::TcpSocket>(linker, "wasi:sockets/tcp@0.2.12", "tcp-socket")?;
    closing::<p2_crate::UdpSocket>(linker, "wasi:sockets/udp@0.2.12", "udp-socket")?;
    if concurrency == Concurrency::On {
        p3::ip_name_lookup::add_to_linker::<Ctx, Network>(linker, Sockets::of)?;
        sockets3::link(linker)?;
        closing::<TcpSocket>(linker, sockets3::TYPES, "tcp-socket")?;
        closing::<UdpSocket>(linker, sockets3::TYPES, "udp-socket")?;
    }
    Ok(())
}

/// Replaces the end of a socket's resource, which gives its descriptor back.
fn closing<T: Send + 'static>(
    linker: &mut Linker<Ctx>,
    interface: &str,
    resource: &str,
) -> Result<()> {
    let ty = ResourceType::host::<T>();
    let mut interface = linker.instance(interface)?;
    interface.resource(resource, ty, |mut store, socket| {
        let ctx = store.data_mut();
        // Fails while streams of WASI 0.2 are left, and then the socket is left too.
        ctx.table.delete(Resource::<T>::new_own(socket))?;
        ctx.egress.files.closed_socket(socket);
        Ok(())
    })
}

struct Network;

impl HasData for Network {
    type Data<'a> = Sockets<'a>;
}

/// What the functions here borrow from the sandbox.
struct Sockets<'a> {
    view: WasiSocketsCtxView<'a>,
    egress: Egress,
}

impl Sockets<'_> {
    fn of(ctx: &mut Ctx) -> Sockets<'_> {
        let egress = ctx.egress.clone();
        Sockets {
            view: ctx.sockets(),
            egress,
        }
    }

    /// Room for one more socket.
    fn room(&mut self) -> SocketResult<Open> {
        match self.egress.files.open() {
            Ok(open) => Ok(open),
            Err(Exhausted::Sandbox) => Err(p2_crate::SocketError::trap(full())),
            // Through no fault of this guest, which may try again.
            Err(Exhausted::Node) => Err(ErrorCode::NewSocketLimit.into()),
        }
    }
}

/// A guest at its own limit is stopped, as at every other.
fn full() -> wasmtime::Error {
    LimitHit::OpenFiles.into()
}

impl p2::network::Host for Sockets<'_> {
    fn convert_error_code(&mut self, error: p2_crate::SocketError) -> Result<ErrorCode> {
        self.view.convert_error_code(error)
    }

    fn network_error_code(
        &mut self,
        error: Resource<p2_crate::IoError>,
    ) -> Result<Option<ErrorCode>> {
        self.view.network_error_code(error)
    }
}

impl p2::network::HostNetwork for Sockets<'_> {
    fn drop(&mut self, network: Resource<P2Network>) -> Result<()> {
        p2::network::HostNetwork::drop(&mut self.view, network)
    }
}

impl p2::tcp_create_socket::Host for Sockets<'_> {
    fn create_tcp_socket(
        &mut self,
        family: IpAddressFamily,
    ) -> SocketResult<Resource<wasmtime_wasi::p2::TcpSocket>> {
        let open = self.room()?;
        let socket = self.view.create_tcp_socket(family)?;
        self.egress.files.keep_socket(socket.rep(), open);
        Ok(socket)
    }
}

impl p2::udp_create_socket::Host for Sockets<'_> {
    async fn create_udp_socket(
        &mut self,
        family: IpAddressFamily,
    ) -> SocketResult<Resource<wasmtime_wasi::p2::UdpSocket>> {
        let open = self.room()?;
        let socket = self.view.create_udp_socket(family).await?;
        self.egress.files.keep_socket(socket.rep(), open);
        Ok(socket)
    }
}

impl p3::ip_name_lookup::Host for Sockets<'_> {}

impl p3::ip_name_lookup::HostWithStore<Ctx> for Network {
    async fn resolve_addresses(
        store: &Accessor<Ctx, Self>,
        name: String,
    ) -> Result<Result<Vec<p3::types::IpAddress>, p3::ip_name_lookup::ErrorCode>> {
        use p3::ip_name_lookup::ErrorCode;
        let egress = store.with(|mut sockets| sockets.get().egress.clone());
        if !egress.may_look_up(&name) {
            return Ok(Err(ErrorCode::AccessDenied));
        }
        let Ok(found) = egress.look_up(&name, 0).await else {
            return Ok(Err(ErrorCode::NameUnresolvable));
        };
        let usable = found
            .into_iter()
            .map(|address| address.ip().to_canonical())
            .filter(|address| egress.note(&name, *address));
        Ok(Ok(usable.map(Into::into).collect()))
    }
}
