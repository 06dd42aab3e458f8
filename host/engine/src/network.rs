//! The parts of `wasi:sockets` that are ours: looking up names, and making sockets.
//!
//! Every socket that is made counts ([`crate::descriptors`]). The rest is wasmtime's, which asks [`Egress`] about every
//! address that a socket is used with.

mod sockets3;

use crate::config::Concurrency;
use crate::descriptors::{Exhausted, Open};
use crate::egress::Egress;
use crate::limit::LimitHit;
use crate::sandbox::Ctx;
use std::net::IpAddr;
use wasmtime::Result;
use wasmtime::component::{Accessor, HasData, Linker, Resource};
use wasmtime_wasi::p2::bindings::sockets as p2;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::ResolveAddressStream;
use wasmtime_wasi::p2::bindings::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily, Network as P2Network,
};
use wasmtime_wasi::p2::{self as p2_crate, DynPollable, SocketResult};
use wasmtime_wasi::p3::bindings::sockets as p3;
use wasmtime_wasi::sockets::{WasiSocketsCtxView, WasiSocketsView};

/// Replaces wasmtime's own; the linker must allow that.
pub(crate) fn link(linker: &mut Linker<Ctx>, concurrency: Concurrency) -> Result<()> {
    p2::ip_name_lookup::add_to_linker::<Ctx, Network>(linker, Sockets::of)?;
    p2::tcp_create_socket::add_to_linker::<Ctx, Network>(linker, Sockets::of)?;
    p2::udp_create_socket::add_to_linker::<Ctx, Network>(linker, Sockets::of)?;
    if concurrency == Concurrency::On {
        p3::ip_name_lookup::add_to_linker::<Ctx, Network>(linker, Sockets::of)?;
        sockets3::link(linker)?;
    }
    Ok(())
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
        match self.egress.room_for_socket(self.view.table) {
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
        self.egress.keep_socket(socket.rep(), open);
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
        self.egress.keep_socket(socket.rep(), open);
        Ok(socket)
    }
}

impl p2::ip_name_lookup::Host for Sockets<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<P2Network>,
        name: String,
    ) -> SocketResult<Resource<ResolveAddressStream>> {
        // A lookup is a message to the name's servers, so names that are not granted are not looked up.
        if !self.egress.may_look_up(&name) {
            return Err(ErrorCode::AccessDenied.into());
        }
        let stream = self.view.resolve_addresses(network, name.clone())?;
        self.egress.remember_lookup(stream.rep(), name);
        Ok(stream)
    }
}

impl p2::ip_name_lookup::HostResolveAddressStream for Sockets<'_> {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> SocketResult<Option<IpAddress>> {
        let name = self.egress.looked_up(stream.rep());
        loop {
            let same = Resource::new_borrow(stream.rep());
            let Some(address) = self.view.resolve_next_address(same)? else {
                return Ok(None);
            };
            if self.egress.note(&name, ip(address)) {
                return Ok(Some(address));
            }
        }
    }

    fn subscribe(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> Result<Resource<DynPollable>> {
        p2::ip_name_lookup::HostResolveAddressStream::subscribe(&mut self.view, stream)
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> Result<()> {
        self.egress.forget_lookup(stream.rep());
        p2::ip_name_lookup::HostResolveAddressStream::drop(&mut self.view, stream)
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
        let Ok(found) = tokio::net::lookup_host((name.as_str(), 0)).await else {
            return Ok(Err(ErrorCode::NameUnresolvable));
        };
        let usable = found
            .map(|address| address.ip().to_canonical())
            .filter(|address| egress.note(&name, *address));
        Ok(Ok(usable.map(Into::into).collect()))
    }
}

fn ip(address: IpAddress) -> IpAddr {
    match address {
        IpAddress::Ipv4((a, b, c, d)) => IpAddr::from([a, b, c, d]),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => IpAddr::from([a, b, c, d, e, f, g, h]),
    }
}
