//! Records, variants, enums, flags and aliases as Rust items.

use super::types::{Names, Refusal, Scope};
use crate::names::{ident, pascal, snake};
use proc_macro2::TokenStream;
use quote::quote;
use wit_parser::{Docs, Type, TypeDef, TypeDefKind, TypeId};

/// The item of a named type; nothing for what has none.
pub(super) fn item(names: &Names<'_>, id: TypeId, scope: Scope) -> Result<TokenStream, Refusal> {
    let def = &names.resolve.types[id];
    let Some(wit) = def.name.as_deref() else {
        return Ok(TokenStream::new());
    };
    let docs = doc(&def.docs);
    let rust = ident(&pascal(wit));
    let what = format!("type `{wit}`");
    let wit_name = quote!(#[wit(name = #wit)]);
    let derive = quote!(#[derive(Debug, Clone, PartialEq, ::lydian_client::Wit)]);
    Ok(match &def.kind {
        TypeDefKind::Record(record) => {
            let fields = record.fields.iter().map(|field| {
                let (docs, wit) = (doc(&field.docs), &field.name);
                let rust = ident(&snake(wit));
                let ty = names.ty(&field.ty, scope, &format!("{what}, field `{wit}`"))?;
                Ok(quote!(#docs #[wit(name = #wit)] pub #rust: #ty))
            });
            let fields = fields.collect::<Result<Vec<_>, Refusal>>()?;
            quote!(#docs #derive #wit_name pub struct #rust { #(#fields),* })
        }
        TypeDefKind::Flags(flags) => {
            let fields = flags.flags.iter().map(|flag| {
                let (docs, wit) = (doc(&flag.docs), &flag.name);
                let rust = ident(&snake(wit));
                quote!(#docs #[wit(name = #wit)] pub #rust: bool)
            });
            quote! {
                #docs
                #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, ::lydian_client::Wit)]
                #[wit(flags, name = #wit)]
                pub struct #rust { #(#fields),* }
            }
        }
        TypeDefKind::Variant(variant) => {
            let cases = variant.cases.iter().map(|case| {
                let (docs, wit) = (doc(&case.docs), &case.name);
                let rust = ident(&pascal(wit));
                let payload = match &case.ty {
                    Some(ty) => {
                        let ty = names.ty(ty, scope, &format!("{what}, case `{wit}`"))?;
                        quote!((#ty))
                    }
                    None => TokenStream::new(),
                };
                Ok(quote!(#docs #[wit(name = #wit)] #rust #payload))
            });
            let cases = cases.collect::<Result<Vec<_>, Refusal>>()?;
            quote!(#docs #derive #wit_name pub enum #rust { #(#cases),* })
        }
        TypeDefKind::Enum(cases) => {
            let cases = cases.cases.iter().map(|case| {
                let (docs, wit) = (doc(&case.docs), &case.name);
                let rust = ident(&pascal(wit));
                quote!(#docs #[wit(name = #wit)] #rust)
            });
            quote! {
                #docs
                #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ::lydian_client::Wit)]
                #wit_name
                pub enum #rust { #(#cases),* }
            }
        }
        // Resources are made with their methods.
        TypeDefKind::Resource => TokenStream::new(),
        _ => alias(names, id, def, scope, &what)?,
    })
}

/// `type bytes = list<u8>;`, or a type used from elsewhere.
fn alias(
    names: &Names<'_>,
    id: TypeId,
    def: &TypeDef,
    scope: Scope,
    what: &str,
) -> Result<TokenStream, Refusal> {
    let rust = ident(&pascal(def.name.as_deref().unwrap_or_default()));
    let docs = doc(&def.docs);
    if let TypeDefKind::Type(Type::Id(original)) = &def.kind {
        let original_def = &names.resolve.types[*original];
        if matches!(original_def.kind, TypeDefKind::Resource) {
            let path = names.path(*original, scope);
            return Ok(quote!(#docs pub use #path as #rust;));
        }
    }
    // A stream or future by name is nothing that Rust code could hold.
    if names.stream_item(&Type::Id(id)).is_some() {
        return Ok(TokenStream::new());
    }
    let ty = match &def.kind {
        TypeDefKind::Type(ty) => names.ty(ty, scope, what)?,
        _ => names.ty(&Type::Id(id), scope, what)?,
    };
    Ok(quote!(#docs pub type #rust = #ty;))
}

/// WIT docs as Rust docs. Code in them is not Rust, so rustdoc must not compile it.
pub(super) fn doc(docs: &Docs) -> TokenStream {
    let Some(text) = &docs.contents else {
        return TokenStream::new();
    };
    let mut in_code = false;
    let lines = text.trim().lines().map(|line| {
        let bare = line.trim();
        if bare.starts_with("```") {
            in_code = !in_code;
            if in_code && bare == "```" {
                return " ```text".to_owned();
            }
        }
        // Four spaces would make a code block.
        format!(" {}", if in_code { line } else { bare })
    });
    let lines = lines.collect::<Vec<_>>();
    quote!(#(#[doc = #lines])*)
}
