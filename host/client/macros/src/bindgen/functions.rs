//! The methods of a client: one function, three ways to call it.

use super::items::doc;
use super::types::{Names, Refusal, Scope};
use crate::names::{ident, pascal, snake};
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use wit_parser::{Function, FunctionKind};

/// A function as its methods need it.
pub(super) struct Signature {
    /// `thumbnail`, in snake case.
    pub(super) rust: String,
    /// As a target names it.
    pub(super) target: String,
    pub(super) docs: TokenStream,
    pub(super) params: Vec<Param>,
    pub(super) result: Returns,
}

/// A parameter's Rust name, WIT name and type.
pub(super) struct Param {
    rust: Ident,
    wit: String,
    ty: TokenStream,
}

/// Arguments are a tuple up to this many, a struct beyond.
const LONGEST_TUPLE: usize = 12;

/// What a function gives.
pub(super) enum Returns {
    Value(TokenStream),
    Stream(TokenStream),
}

impl Signature {
    pub(super) fn of(
        names: &Names<'_>,
        function: &Function,
        interface: Option<&str>,
        scope: Scope,
    ) -> Result<Self, Refusal> {
        let target = target(names, function, interface);
        let what = format!("function `{target}`");
        let params = function.params.iter().map(|param| {
            let what = format!("{what}, argument `{}`", param.name);
            if names.stream_item(&param.ty).is_some() {
                return Err(format!(
                    "{what}: a stream cannot be an argument, only a result"
                ));
            }
            let ty = names.ty(&param.ty, scope, &what)?;
            Ok(Param {
                rust: ident(&snake(&param.name)),
                wit: param.name.clone(),
                ty,
            })
        });
        let params = params.collect::<Result<Vec<_>, Refusal>>()?;
        let result = match &function.result {
            None => Returns::Value(quote!(())),
            Some(ty) => match names.stream_item(ty) {
                Some(Some(item)) => Returns::Stream(names.ty(&item, scope, &what)?),
                Some(None) => {
                    return Err(format!("{what}: a stream without items has no typed form"));
                }
                None => Returns::Value(names.ty(ty, scope, &what)?),
            },
        };
        Ok(Self {
            rust: snake(&local(function)),
            target,
            docs: doc(&function.docs),
            params,
            result,
        })
    }

    /// The field that holds the function.
    pub(super) fn field(&self) -> Ident {
        format_ident!("f_{}", self.rust)
    }

    fn is_wide(&self) -> bool {
        self.params.len() > LONGEST_TUPLE
    }

    /// The struct of arguments that are too many for a tuple.
    fn wide_name(&self) -> Ident {
        ident(&format!("{}Args", pascal(&self.rust.replace('_', "-"))))
    }

    /// `(u64,)`
    pub(super) fn args_type(&self) -> TokenStream {
        if self.is_wide() {
            let name = self.wide_name();
            return quote!(#name);
        }
        let types = self.params.iter().map(|param| &param.ty);
        quote!((#(#types,)*))
    }

    /// `(x,)`
    pub(super) fn args(&self) -> TokenStream {
        let names = self.params.iter().map(|param| &param.rust);
        if self.is_wide() {
            let name = self.wide_name();
            return quote!(#name { #(#names),* });
        }
        quote!((#(#names,)*))
    }

    /// `x: u64`
    pub(super) fn params(&self) -> TokenStream {
        let names = self.params.iter().map(|param| &param.rust);
        let types = self.params.iter().map(|param| &param.ty);
        quote!(#(#names: #types),*)
    }

    /// The arguments as a type of their own, when they are too many for a tuple. It encodes as the tuple
    /// would.
    pub(super) fn wide_args(&self) -> TokenStream {
        if !self.is_wide() {
            return TokenStream::new();
        }
        let name = self.wide_name();
        let docs = format!(" The arguments of `{}`.", self.target);
        let names: Vec<_> = self.params.iter().map(|param| &param.rust).collect();
        let types: Vec<_> = self.params.iter().map(|param| &param.ty).collect();
        let wits = self.params.iter().map(|param| &param.wit);
        let field_docs = self.params.iter().map(|param| format!(" `{}`", param.wit));
        quote! {
            #[doc = #docs]
            #[derive(Debug, Clone, PartialEq)]
            pub struct #name { #(#[doc = #field_docs] pub #names: #types,)* }

            impl ::lydian_client::__private::Args for #name {}

            impl ::lydian_client::Wit for #name {
                fn ty() -> ::lydian_client::__private::Type {
                    ::lydian_client::__private::Type::tuple(
                        [#(<#types as ::lydian_client::Wit>::ty()),*]
                    )
                }

                fn encode(&self, out: &mut ::std::vec::Vec<u8>) {
                    #(::lydian_client::Wit::encode(&self.#names, out);)*
                }

                fn decode(
                    reader: &mut ::lydian_client::__private::Reader<'_>,
                ) -> ::std::result::Result<Self, ::lydian_client::__private::Error> {
                    ::std::result::Result::Ok(Self { #(#names: reader.field(#wits)?,)* })
                }
            }
        }
    }

    /// As many parameters as the WIT has, which may be more than clippy likes.
    fn allow_many(&self) -> Option<TokenStream> {
        const LIKED: usize = 6;
        let many = self.params.len() > LIKED;
        many.then(|| quote!(#[allow(clippy::too_many_arguments, reason = "as in the WIT")]))
    }

    /// Finds the function and compares its type.
    pub(super) fn bind(&self) -> TokenStream {
        let (field, target, args) = (self.field(), &self.target, self.args_type());
        match &self.result {
            Returns::Value(result) => {
                quote!(#field: origin.function::<#args, #result>(#target).await?)
            }
            Returns::Stream(item) => {
                quote!(#field: origin.stream_function::<#args, #item>(#target).await?)
            }
        }
    }

    /// `thumbnail`, `map_thumbnail`, `spawn_thumbnail`, `thumbnail_function`.
    pub(super) fn methods(&self) -> TokenStream {
        let mut methods = self.call_method();
        if let Returns::Value(result) = &self.result {
            methods.extend(self.map_method(result));
            methods.extend(self.spawn_method());
        }
        let (field, target) = (self.field(), &self.target);
        let getter = format_ident!("{}_function", self.rust);
        let docs = format!(" The function `{target}` itself.");
        methods.extend(quote! {
            #[doc = #docs]
            pub fn #getter(&self) -> &::lydian_client::Function {
                &self.#field
            }
        });
        methods
    }

    fn call_method(&self) -> TokenStream {
        let (docs, name, field) = (&self.docs, ident(&self.rust), self.field());
        let (params, args, allow) = (self.params(), self.args(), self.allow_many());
        match &self.result {
            Returns::Value(result) => quote! {
                #docs
                #allow
                pub async fn #name(&self, #params) -> ::lydian_client::Result<#result> {
                    self.#field.call(#args).await
                }
            },
            Returns::Stream(item) => quote! {
                #docs
                #allow
                pub async fn #name(
                    &self,
                    #params
                ) -> ::lydian_client::Result<::lydian_client::ResultStream<#item>> {
                    self.#field.stream(#args).await
                }
            },
        }
    }

    /// Inputs of one parameter come bare, of several as tuples.
    fn map_method(&self, result: &TokenStream) -> TokenStream {
        let (field, args) = (self.field(), self.args_type());
        let name = format_ident!("map_{}", self.rust);
        let docs = format!(" `{}` for each of many inputs.", self.rust);
        let (input, inputs) = match self.params.as_slice() {
            [Param { ty, .. }] => (
                quote!(#ty),
                quote!(::std::iter::IntoIterator::into_iter(inputs).map(|input| (input,))),
            ),
            _ => (args.clone(), quote!(inputs)),
        };
        quote! {
            #[doc = #docs]
            pub fn #name<'a, I>(&self, inputs: I) -> ::lydian_client::Map<'a, #args, #result>
            where
                I: ::std::iter::IntoIterator<Item = #input>,
                I::IntoIter: ::std::marker::Send + 'a,
            {
                self.#field.map(#inputs)
            }
        }
    }

    fn spawn_method(&self) -> TokenStream {
        let (field, params, args) = (self.field(), self.params(), self.args());
        let name = format_ident!("spawn_{}", self.rust);
        let docs = format!(" `{}` as a recorded call.", self.rust);
        let allow = self.allow_many();
        quote! {
            #[doc = #docs]
            #allow
            pub async fn #name(&self, #params) -> ::lydian_client::Result<::lydian_client::Call> {
                self.#field.spawn(#args).await
            }
        }
    }
}

/// Whether the function can be called outside of a session.
pub(super) fn is_plain(names: &Names<'_>, function: &Function) -> bool {
    let params = function.params.iter().map(|param| &param.ty);
    function.kind.resource().is_none()
        && !params
            .chain(&function.result)
            .any(|ty| names.holds_handle(ty))
}

/// The name within the interface, without the resource: `scale`; a constructor is `new`.
pub(super) fn local(function: &Function) -> String {
    match function.kind {
        FunctionKind::Constructor(_) => "new".to_owned(),
        _ => function.item_name().to_owned(),
    }
}

/// `acme:img/resize@1.0.0#image.scale`
pub(super) fn target(names: &Names<'_>, function: &Function, interface: Option<&str>) -> String {
    let resource = function
        .kind
        .resource()
        .and_then(|id| names.resolve.types[id].name.as_deref());
    let local = match resource {
        Some(resource) => format!("{resource}.{}", local(function)),
        None => function.name.clone(),
    };
    match interface {
        Some(interface) => format!("{interface}#{local}"),
        None => local,
    }
}
