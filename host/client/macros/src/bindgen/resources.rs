//! Resources: structs whose methods are calls in the session they live in.

use super::functions::{is_plain, local, target};
use super::items::doc;
use super::types::{Names, Refusal, Scope};
use crate::names::{ident, pascal, snake};
use proc_macro2::{Ident, TokenStream};
use quote::quote;
use wit_parser::{Function, FunctionKind, InterfaceId, Type, TypeDefKind, TypeId};

/// The resources of an interface, and, beside them, its functions as they are called in a session.
pub(super) fn generate(
    names: &Names<'_>,
    id: InterfaceId,
    interface: &str,
) -> Result<TokenStream, Refusal> {
    let scope = Scope::Interface(id);
    let module = &names.resolve.interfaces[id];
    let mut items = TokenStream::new();
    for (name, ty) in &module.types {
        if matches!(names.resolve.types[*ty].kind, TypeDefKind::Resource) {
            items.extend(resource(names, *ty, name, id, interface)?);
        }
    }
    // Nothing lives in a session of an interface that knows no resources.
    let has_resources = module.functions.values().any(|f| !is_plain(names, f));
    let gives_stream = |function: &Function| {
        function
            .result
            .is_some_and(|ty| names.stream_item(&ty).is_some())
    };
    for function in module.functions.values() {
        let is_free = function.kind.resource().is_none();
        if has_resources && is_free && !(is_plain(names, function) && gives_stream(function)) {
            items.extend(Method::of(names, function, interface, scope)?.free_function());
        }
    }
    Ok(items)
}

fn resource(
    names: &Names<'_>,
    ty: TypeId,
    name: &str,
    id: InterfaceId,
    interface: &str,
) -> Result<TokenStream, Refusal> {
    let scope = Scope::Interface(id);
    let docs = doc(&names.resolve.types[ty].docs);
    let rust = ident(&pascal(name));
    let mut methods = TokenStream::new();
    for function in names.resolve.interfaces[id].functions.values() {
        if function.kind.resource() == Some(ty) {
            let method = Method::of(names, function, interface, scope)?;
            methods.extend(match function.kind {
                FunctionKind::Method(_) | FunctionKind::AsyncMethod(_) => method.method(),
                _ => method.associated(),
            });
        }
    }
    Ok(quote! {
        #docs
        #[derive(Debug)]
        pub struct #rust(pub(super) ::lydian_client::Resource);

        impl #rust {
            #methods

            /// The resource without its type.
            pub fn resource(&self) -> &::lydian_client::Resource {
                &self.0
            }
        }

        impl ::std::convert::From<::lydian_client::Resource> for #rust {
            /// Takes a resource for what it is called here; a wrong one shows when it is used.
            fn from(resource: ::lydian_client::Resource) -> Self {
                Self(resource)
            }
        }
    })
}

/// A function called in a session.
struct Method {
    rust: Ident,
    /// The name behind `resource.`.
    local: String,
    target: String,
    docs: TokenStream,
    /// Without `self`.
    params: Vec<TokenStream>,
    /// What each parameter is sent as.
    args: Vec<TokenStream>,
    result: Outcome,
}

/// What the caller gets.
enum Outcome {
    Value(TokenStream),
    /// The Rust type, the resource's interface and name.
    Resource(TokenStream, String, String),
}

impl Method {
    fn of(
        names: &Names<'_>,
        function: &Function,
        interface: &str,
        scope: Scope,
    ) -> Result<Self, Refusal> {
        let target = target(names, function, Some(interface));
        let what = format!("function `{target}`");
        let has_self = matches!(
            function.kind,
            FunctionKind::Method(_) | FunctionKind::AsyncMethod(_)
        );
        let (mut params, mut args) = (Vec::new(), Vec::new());
        for param in function.params.iter().skip(usize::from(has_self)) {
            let name = ident(&snake(&param.name));
            let what = format!("{what}, argument `{}`", param.name);
            match names.handle(&param.ty) {
                Some((resource, owned)) => {
                    let ty = names.path(resource, scope);
                    params.push(if owned {
                        quote!(#name: #ty)
                    } else {
                        quote!(#name: &#ty)
                    });
                    args.push(match owned {
                        true => quote!(#name.0.into_handle()),
                        false => quote!(#name.0.handle()),
                    });
                }
                None => {
                    let ty = names.ty(&param.ty, scope, &what)?;
                    params.push(quote!(#name: #ty));
                    args.push(quote!(#name));
                }
            }
        }
        Ok(Self {
            rust: ident(&snake(&local(function))),
            local: local(function),
            target,
            docs: doc(&function.docs),
            params,
            args,
            result: Outcome::of(names, function.result.as_ref(), scope, &what)?,
        })
    }

    fn return_type(&self) -> &TokenStream {
        match &self.result {
            Outcome::Value(ty) | Outcome::Resource(ty, ..) => ty,
        }
    }

    /// Turns what `call` gives into what the caller gets.
    fn finish(&self, call: TokenStream, session: TokenStream) -> TokenStream {
        match &self.result {
            Outcome::Value(_) => call,
            Outcome::Resource(ty, interface, name) => quote! {
                let handle: ::lydian_client::Handle = #call?;
                ::std::result::Result::Ok(#ty(#session.adopt(handle, ::std::option::Option::Some(#interface), #name)))
            },
        }
    }

    fn method(&self) -> TokenStream {
        let Self {
            rust,
            local,
            docs,
            params,
            args,
            ..
        } = self;
        let result = self.return_type();
        let call = quote!(self.0.call(#local, (#(#args,)*)).await);
        let body = self.finish(call, quote!(self.0.session()));
        quote! {
            #docs
            pub async fn #rust(&self, #(#params),*) -> ::lydian_client::Result<#result> {
                #body
            }
        }
    }

    fn associated(&self) -> TokenStream {
        let Self {
            rust,
            target,
            docs,
            params,
            args,
            ..
        } = self;
        let result = self.return_type();
        let call = quote!(session.call(#target, (#(#args,)*)).await);
        let body = self.finish(call, quote!(session));
        quote! {
            #docs
            pub async fn #rust(
                session: &::lydian_client::Session,
                #(#params),*
            ) -> ::lydian_client::Result<#result> {
                #body
            }
        }
    }

    /// As an associated function, but of the interface.
    fn free_function(&self) -> TokenStream {
        self.associated()
    }
}

impl Outcome {
    fn of(
        names: &Names<'_>,
        result: Option<&Type>,
        scope: Scope,
        what: &str,
    ) -> Result<Self, Refusal> {
        let Some(ty) = result else {
            return Ok(Self::Value(quote!(())));
        };
        let Some((resource, _)) = names.handle(ty) else {
            if names.stream_item(ty).is_some() {
                return Err(format!("{what}: a stream of a session has no typed form"));
            }
            return Ok(Self::Value(names.ty(ty, scope, what)?));
        };
        let def = &names.resolve.types[resource];
        let interface = match def.owner {
            wit_parser::TypeOwner::Interface(owner) => names.resolve.id_of(owner),
            _ => None,
        };
        Ok(Self::Resource(
            names.path(resource, scope),
            interface.unwrap_or_default(),
            def.name.clone().unwrap_or_default(),
        ))
    }
}
