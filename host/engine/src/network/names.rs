//! `wasi:sockets/ip-name-lookup@0.2`: the addresses of a name, one after the other.
//!
//! The resource is ours, as wasmtime's own looks names up on the threads that read files, as many
//! at once as a guest asks for.

use crate::egress::Egress;
use crate::sandbox::Ctx;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::io;
use std::net::{IpAddr, SocketAddr};
use wasmtime::Result;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, Network};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

/// As wasmtime registers it.
const INTERFACE: &str = "wasi:sockets/ip-name-lookup@0.2.12";

type Answer<T> = std::result::Result<T, ErrorCode>;

/// Replaces wasmtime's own; the linker must allow that.
pub(super) fn link(linker: &mut Linker<Ctx>) -> Result<()> {
    let mut names = linker.instance(INTERFACE)?;
    let ty = ResourceType::host::<Lookup>();
    names.resource("resolve-address-stream", ty, |mut store, lookup| {
        let lookup = Resource::<Lookup>::new_own(lookup);
        store.data_mut().table.delete(lookup)?;
        Ok(())
    })?;
    names.func_wrap("resolve-addresses", |mut store, (network, name)| {
        Ok((start(store.data_mut(), &network, name)?,))
    })?;
    names.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut store, (lookup,): (Resource<Lookup>,)| {
            Ok((store.data_mut().table.get_mut(&lookup)?.next(),))
        },
    )?;
    names.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store, (lookup,): (Resource<Lookup>,)| -> Result<(Resource<DynPollable>,)> {
            Ok((subscribe(&mut store.data_mut().table, lookup)?,))
        },
    )
}

/// A name being looked up, or what was found.
struct Lookup {
    name: String,
    egress: Egress,
    found: Found,
}

enum Found {
    Waiting(BoxFuture<'static, io::Result<Vec<SocketAddr>>>),
    Addresses(std::vec::IntoIter<SocketAddr>),
    Nothing,
}

fn start(
    ctx: &mut Ctx,
    network: &Resource<Network>,
    name: String,
) -> Result<Answer<Resource<Lookup>>> {
    // Having it is the right to use this function.
    ctx.table.get(network)?;
    // A lookup is a message to the name's servers, so names that are not granted are not looked up.
    if !ctx.egress.may_look_up(&name) {
        return Ok(Err(ErrorCode::AccessDenied));
    }
    let (egress, asked) = (ctx.egress.clone(), name.clone());
    let mut lookup = Lookup {
        name,
        egress: ctx.egress.clone(),
        found: Found::Waiting(async move { egress.look_up(&asked, 0).await }.boxed()),
    };
    lookup.look();
    Ok(Ok(ctx.table.push(lookup)?))
}

impl Lookup {
    /// Sees whether there is an answer; the first time, asks.
    fn look(&mut self) {
        if let Found::Waiting(answer) = &mut self.found
            && let Some(answer) = answer.now_or_never()
        {
            self.found = Found::of(answer);
        }
    }

    fn next(&mut self) -> Answer<Option<IpAddress>> {
        self.look();
        match &mut self.found {
            Found::Waiting(_) => Err(ErrorCode::WouldBlock),
            Found::Nothing => Err(ErrorCode::NameUnresolvable),
            Found::Addresses(addresses) => {
                let mut addresses = addresses.map(|address| address.ip().to_canonical());
                let usable = addresses.find(|address| self.egress.note(&self.name, *address));
                Ok(usable.map(listed))
            }
        }
    }
}

impl Found {
    fn of(answer: io::Result<Vec<SocketAddr>>) -> Found {
        answer.map_or(Found::Nothing, |addresses| {
            Found::Addresses(addresses.into_iter())
        })
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Lookup {
    async fn ready(&mut self) {
        if let Found::Waiting(answer) = &mut self.found {
            self.found = Found::of(answer.await);
        }
    }
}

fn listed(address: IpAddr) -> IpAddress {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            IpAddress::Ipv4((a, b, c, d))
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h] = address.segments();
            IpAddress::Ipv6((a, b, c, d, e, f, g, h))
        }
    }
}
