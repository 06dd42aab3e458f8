//! `bindgen!`: from WIT to Rust types and a typed client.
//!
//! [`load`] reads the WIT, [`types`] turns its types into Rust ones, [`items`] writes them down,
//! [`functions`] makes the methods, [`resources`] the resources, and [`world`] puts it together: a module
//! per interface, the world's own at the place of the macro.

mod functions;
mod items;
mod load;
mod resources;
mod types;
mod world;

use proc_macro2::{Span, TokenStream};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Ident, LitStr, Result, Token, braced};

/// What is in the parentheses.
pub(crate) struct Options {
    path: Option<LitStr>,
    inline: Option<LitStr>,
    world: Option<LitStr>,
    span: Span,
}

impl Options {
    /// Where an error of the WIT is shown.
    fn source_span(&self) -> Span {
        let source = self.inline.as_ref().or(self.path.as_ref());
        source.map_or(self.span, LitStr::span)
    }
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self {
            path: None,
            inline: None,
            world: None,
            span: Span::call_site(),
        };
        if input.peek(LitStr) {
            options.path = Some(input.parse()?);
            return Ok(options);
        }
        let content;
        braced!(content in input);
        for entry in Punctuated::<Entry, Token![,]>::parse_terminated(&content)? {
            let slot = match entry.key.to_string().as_str() {
                "path" => &mut options.path,
                "inline" => &mut options.inline,
                "world" => &mut options.world,
                other => {
                    let text =
                        format!("no option `{other}`: there are `path`, `inline` and `world`");
                    return Err(Error::new(entry.key.span(), text));
                }
            };
            if slot.replace(entry.value).is_some() {
                let text = format!("`{}` is given twice", entry.key);
                return Err(Error::new(entry.key.span(), text));
            }
        }
        if options.path.is_none() && options.inline.is_none() {
            let text = "where is the WIT? give `path: \"wit\"` or `inline: \"package …\"`";
            return Err(Error::new(options.span, text));
        }
        Ok(options)
    }
}

/// `key: "value"`
struct Entry {
    key: Ident,
    value: LitStr,
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let key = input.parse()?;
        input.parse::<Token![:]>()?;
        let value = input.parse()?;
        Ok(Self { key, value })
    }
}

pub(crate) fn expand(options: &Options) -> Result<TokenStream> {
    let loaded = load::load(options)?;
    world::generate(&loaded).map_err(|text| Error::new(options.source_span(), text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    fn generated(wit: &str) -> std::result::Result<String, String> {
        let options = syn::parse2::<Options>(quote!({ inline: #wit })).expect("options");
        let tokens = expand(&options).map_err(|error| error.to_string())?;
        // What is made must at least be Rust; that it is right Rust is tested where it is used.
        syn::parse2::<syn::File>(tokens.clone()).expect("items");
        Ok(tokens.to_string())
    }

    /// Names that are keywords, and modules of one name, must not make the client unusable.
    #[test]
    fn awkward_names_make_valid_rust() {
        let wit = "
            package a:b;
            world %type { export self: func(match: u32) -> u32; export types; export c:d/types; }
            interface types { record fn { in: u32 } move: func(%as: fn); }
            package c:d { interface types { enum e { crate, super } get: func() -> e; } }
        ";
        let rust = generated(wit).expect("generates");
        assert!(rust.contains("pub struct Type"), "{rust}");
    }

    /// What the typed client cannot do is said with the function's name and a way out.
    #[test]
    fn what_has_no_typed_form_is_refused() {
        let refused = |wit: &str| generated(wit).expect_err(wit);
        let nested = "package a:b; world w { export f: func() -> option<stream<u8>>; }";
        assert!(
            refused(nested).contains("function `f`"),
            "{}",
            refused(nested)
        );
        let taken = "package a:b; world w { export f: func(s: stream<u8>); }";
        assert!(refused(taken).contains("argument"), "{}", refused(taken));
        let broken = "package a:b; world w { export f: fnc(); }";
        assert!(refused(broken).contains("expected"), "{}", refused(broken));
        let two = "package a:b; world v {} world w {}";
        assert!(refused(two).contains("world"), "{}", refused(two));
    }
}
