//! The client of a world, and the modules of its interfaces.

use super::functions::{Signature, is_plain};
use super::items::{doc, item};
use super::load::Loaded;
use super::resources;
use super::types::{Names, Refusal, Scope};
use crate::names::{ident, pascal};
use proc_macro2::{Ident, TokenStream};
use quote::quote;
use wit_parser::{InterfaceId, WorldItem};

pub(super) fn generate(loaded: &Loaded) -> Result<TokenStream, Refusal> {
    let resolve = &loaded.resolve;
    let world = &resolve.worlds[loaded.world];
    let names = Names::new(resolve, world);

    let mut items = rebuild_on_change(loaded);
    let mut functions = Vec::new();
    let mut exported = Vec::new();
    for (key, export) in &world.exports {
        match export {
            WorldItem::Function(function) if is_plain(&names, function) => {
                functions.push(Signature::of(&names, function, None, Scope::World)?);
            }
            WorldItem::Function(function) => {
                return Err(format!(
                    "function `{}`: put functions of resources into an interface",
                    function.name
                ));
            }
            WorldItem::Interface { id, .. } => exported.push((*id, resolve.name_world_key(key))),
            WorldItem::Type { .. } => {}
        }
    }
    // Types of the world itself are among its imports, whoever uses them.
    let types = world.imports.values().chain(world.exports.values());
    for id in types.filter_map(|item| match item {
        WorldItem::Type { id, .. } => Some(*id),
        _ => None,
    }) {
        items.extend(item(&names, id, Scope::World)?);
    }

    let mut clients = Vec::new();
    for (module, id) in names.interfaces() {
        let target = exported.iter().find(|(other, _)| *other == id);
        let target = target.map(|(_, target)| target.as_str());
        let (interface, has_client) = interface(&names, id, target)?;
        let docs = doc(&resolve.interfaces[id].docs);
        let module = ident(module);
        items.extend(quote!(#docs pub mod #module { #interface }));
        if has_client {
            clients.push((module, client_name(&names, id)));
        }
    }
    items.extend(world_client(
        &pascal(&world.name),
        &doc(&world.docs),
        &functions,
        &clients,
    ));
    Ok(items)
}

/// The compiler looks at these files again when they change.
fn rebuild_on_change(loaded: &Loaded) -> TokenStream {
    let files = loaded.files.iter().filter_map(|file| file.to_str());
    quote!(#(const _: &[u8] = ::std::include_bytes!(#files);)*)
}

fn client_name(names: &Names<'_>, id: InterfaceId) -> Ident {
    let interface = &names.resolve.interfaces[id];
    let name = pascal(interface.name.as_deref().unwrap_or_default());
    // A type of the interface may have its name.
    let taken = |name: &str| interface.types.keys().any(|ty| pascal(ty) == *name);
    ident(&if taken(&name) {
        format!("{name}Client")
    } else {
        name
    })
}

/// The inside of an interface's module, and whether it has a client.
fn interface(
    names: &Names<'_>,
    id: InterfaceId,
    target: Option<&str>,
) -> Result<(TokenStream, bool), Refusal> {
    let scope = Scope::Interface(id);
    let module = &names.resolve.interfaces[id];
    let mut items = TokenStream::new();
    for ty in module.types.values() {
        items.extend(item(names, *ty, scope)?);
    }
    // An interface that is not exported is here for its types only; its resources cannot be reached.
    let Some(target) = target else {
        return Ok((items, false));
    };
    items.extend(resources::generate(names, id, target)?);
    let plain = module.functions.values().filter(|f| is_plain(names, f));
    let functions = plain
        .map(|function| Signature::of(names, function, Some(target), scope))
        .collect::<Result<Vec<_>, _>>()?;
    if functions.is_empty() {
        return Ok((items, false));
    }
    let name = client_name(names, id);
    let docs = format!(" The functions of `{target}`.");
    items.extend(client(
        &name,
        &quote!(#[doc = #docs]),
        &functions,
        &[],
        false,
    ));
    Ok((items, true))
}

fn world_client(
    name: &str,
    docs: &TokenStream,
    functions: &[Signature],
    clients: &[(Ident, Ident)],
) -> TokenStream {
    // An interface's module is in another namespace, so only a type of the world could be in the way;
    // wit-parser has made sure that none is called as the world.
    client(&ident(name), docs, functions, clients, true)
}

/// A struct with a field per function, and one per interface.
fn client(
    name: &Ident,
    docs: &TokenStream,
    functions: &[Signature],
    clients: &[(Ident, Ident)],
    is_world: bool,
) -> TokenStream {
    let fields: Vec<_> = functions.iter().map(Signature::field).collect();
    let binds = functions.iter().map(Signature::bind);
    let methods = functions.iter().map(Signature::methods);
    let wide_args = functions.iter().map(Signature::wide_args);
    let modules: Vec<_> = clients.iter().map(|(module, _)| module).collect();
    let names: Vec<_> = clients.iter().map(|(_, name)| name).collect();
    let open = is_world.then(constructors);
    let origin_field = is_world.then(|| quote!(origin: ::lydian_client::__private::Origin,));
    let origin_value = is_world.then(|| quote!(origin: origin.clone(),));
    let limits_origin = is_world.then(|| quote!(origin: self.origin.clone(),));
    let bind_visibility = if is_world {
        quote!()
    } else {
        quote!(pub(super))
    };
    quote! {
        #(#wide_args)*

        #docs
        #[derive(Debug, Clone)]
        pub struct #name {
            #origin_field
            #(#fields: ::lydian_client::Function,)*
            #(
                #[doc = concat!(" The functions of `", stringify!(#modules), "`.")]
                pub #modules: #modules::#names,
            )*
        }

        impl #name {
            #open

            #bind_visibility async fn bind(
                origin: &::lydian_client::__private::Origin,
            ) -> ::lydian_client::Result<Self> {
                ::std::result::Result::Ok(Self {
                    #origin_value
                    #(#binds,)*
                    #(#modules: #modules::#names::bind(origin).await?,)*
                })
            }

            /// The same functions with lower limits for their calls.
            #[must_use]
            pub fn with_limits(&self, limits: &::lydian_client::Limits) -> Self {
                Self {
                    #limits_origin
                    #(#fields: self.#fields.with_limits(limits.clone()),)*
                    #(#modules: self.#modules.with_limits(limits),)*
                }
            }

            #(#methods)*
        }
    }
}

fn constructors() -> TokenStream {
    quote! {
        /// Binds to the current version of an app, and follows it.
        ///
        /// # Errors
        /// There is no such app, or a function of it is of another type than here.
        pub async fn of_app(
            client: &::lydian_client::Client,
            app: &str,
        ) -> ::lydian_client::Result<Self> {
            Self::bind(&::lydian_client::__private::Origin::app(client, app)).await
        }

        /// Binds to a component that is on the node but not deployed.
        ///
        /// # Errors
        /// There is no such component, or a function of it is of another type than here.
        pub async fn of_component(
            client: &::lydian_client::Client,
            component: ::lydian_client::Digest,
        ) -> ::lydian_client::Result<Self> {
            Self::bind(&::lydian_client::__private::Origin::component(client, component)).await
        }

        /// Opens a session, in which resources live.
        ///
        /// # Errors
        /// As of `Client::session`.
        pub async fn session(&self) -> ::lydian_client::Result<::lydian_client::Session> {
            self.origin.session().await
        }
    }
}
