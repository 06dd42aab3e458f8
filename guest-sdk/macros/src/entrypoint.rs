//! `#[lydian::local_entrypoint]`: a typed `main` for the caller's machine.

use crate::manifest;
use crate::names::wit_name;
use crate::settings::{Place, Settings};
use crate::types::{Types, docs, text};
use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};
use syn::{Error, FnArg, ItemFn, Pat, Result};

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> Result<TokenStream> {
    Settings::parse(attribute, Place::Bare)?;
    let mut function: ItemFn = syn::parse2(item.clone()).map_err(|_| {
        Error::new_spanned(
            &item,
            "a local entrypoint is a function: write `async fn main() -> lydian::Result<()>`",
        )
    })?;
    if let Some(parameter) = function.sig.generics.params.first() {
        return Err(Error::new_spanned(
            parameter,
            "a local entrypoint is not generic: its arguments come from a command line",
        ));
    }
    let mut params = Vec::new();
    for input in &function.sig.inputs {
        let FnArg::Typed(input) = input else {
            return Err(Error::new_spanned(
                input,
                "a local entrypoint is a function of its own, without `self`",
            ));
        };
        let Pat::Ident(name) = &*input.pat else {
            return Err(Error::new_spanned(
                &input.pat,
                "an argument has a name, which the command line uses",
            ));
        };
        params.push((wit_name(&name.ident)?, shown(&input.ty)?, &*input.ty));
    }
    let name = function.sig.ident.clone();
    let about = docs(&function.attrs);
    let args: Vec<(String, String)> = params
        .iter()
        .map(|(name, ty, _)| (name.clone(), ty.clone()))
        .collect();
    let manifest = manifest::entrypoint(&wit_name(&name)?, &about, &args);
    let (len, manifest) = (manifest.len(), Literal::byte_string(manifest.as_bytes()));
    let names = params.iter().map(|(name, ..)| name);
    let types = params.iter().map(|(.., ty)| ty);
    let bound: Vec<_> = (0..params.len())
        .map(|index| format_ident!("__arg{index}"))
        .collect();
    let inner = format_ident!("__lydian_entrypoint");
    let awaited = function.sig.asyncness.is_some().then(|| quote!(.await));
    let (visibility, attributes) = (function.vis.clone(), std::mem::take(&mut function.attrs));
    function.vis = syn::Visibility::Inherited;
    function.sig.ident = inner.clone();
    let shown_name = name.to_string();
    Ok(quote! {
        #(#attributes)*
        #[cfg(not(target_family = "wasm"))]
        #[allow(dead_code)]
        #visibility fn #name() -> ::std::process::ExitCode {
            #function
            const ENTRY: ::lydian::__rt::Entry = ::lydian::__rt::Entry {
                name: #shown_name,
                docs: #about,
                params: &[#(#names),*],
            };
            ENTRY.run(|(#(#bound,)*): (#(#types,)*)| async move { #inner(#(#bound),*) #awaited })
        }
        /// Runs natively only: `lydian run` builds it beside the component.
        #[cfg(target_family = "wasm")]
        #[allow(dead_code)]
        #visibility fn #name() -> ::std::process::ExitCode {
            ::std::process::ExitCode::FAILURE
        }
        #[cfg(target_family = "wasm")]
        const _: () = {
            #[unsafe(link_section = "lydian:manifest")]
            static SECTION: [u8; #len] = *#manifest;
        };
    })
}

/// The WIT type of an argument. One of the program's own types is called by its name: what it is made of is not seen
/// from here, and the argument is read by the type itself.
fn shown(ty: &syn::Type) -> Result<String> {
    let mut types = Types::default();
    match types.of(ty) {
        Ok(known) => Ok(crate::wit::ty(&known).replace('%', "")),
        Err(problem) => match ty {
            syn::Type::Path(path) if is_own(path) => Ok(text(ty)
                .rsplit("::")
                .next()
                .map(crate::names::kebab)
                .unwrap_or_default()),
            _ => Err(problem),
        },
    }
}

/// Whether a path may name a type of the program: nothing that is known to have no form.
fn is_own(path: &syn::TypePath) -> bool {
    path.path.segments.last().is_some_and(|last| {
        last.arguments.is_none() && crate::types::is_unknown(&last.ident.to_string())
    })
}
