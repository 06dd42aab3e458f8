//! `lydian::import!`: the functions of another app, typed by its WIT.

mod read;
mod text;

use crate::clients::forms;
use crate::names::{pascal, snake};
use crate::types::{Body, Case, Def, Field, Payload, Ty};
use crate::values::implement_wire;
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, LitStr, Result, Token, Type, Visibility, braced, parse_quote};
use wit_parser::{
    Function, Resolve, Type as WitType, TypeDefKind, TypeId, TypeOwner, WorldId, WorldItem,
    WorldKey,
};

/// `pub mod name { app = "…", wit = "…" }`.
struct Input {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    name: Ident,
    app: LitStr,
    source: Source,
    world: Option<LitStr>,
}

enum Source {
    Text(LitStr),
    Path(LitStr),
}

impl Parse for Input {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        input.parse::<Token![mod]>()?;
        let name: Ident = input.parse()?;
        let content;
        braced!(content in input);
        let (mut app, mut source, mut world) = (None, None, None);
        while !content.is_empty() {
            let key: Ident = content.parse()?;
            content.parse::<Token![=]>()?;
            let value: LitStr = content.parse()?;
            match key.to_string().as_str() {
                "app" => app = Some(value),
                "wit" => source = Some(Source::Text(value)),
                "path" => source = Some(Source::Path(value)),
                "world" => world = Some(value),
                other => {
                    let text = format!(
                        "`{other}` is not a key here: there are `app`, `wit`, `path` and `world`"
                    );
                    return Err(Error::new(key.span(), text));
                }
            }
            if !content.is_empty() {
                content.parse::<Token![,]>()?;
            }
        }
        let missing = |what: &str| Error::new(name.span(), format!("this import needs {what}"));
        Ok(Self {
            app: app.ok_or_else(|| missing("the app: `app = \"square\"`"))?,
            source: source
                .ok_or_else(|| missing("its WIT: `path = \"wit/square.wit\"`, or `wit = \"…\"`"))?,
            attributes,
            visibility,
            name,
            world,
        })
    }
}

pub(crate) fn expand(input: TokenStream) -> Result<TokenStream> {
    let input: Input = syn::parse2(input)?;
    let (resolve, world, files) = input.read()?;
    let mut import = Import::new(&resolve, &input);
    let body = import.world(world)?;
    let types = import.defs.iter().map(definition);
    let (attributes, visibility, name) = (&input.attributes, &input.visibility, &input.name);
    let files = files.iter().map(|file| file.to_string_lossy().into_owned());
    Ok(quote! {
        #(#attributes)*
        #[allow(missing_docs, non_camel_case_types)]
        #visibility mod #name {
            // Built anew when the WIT changes.
            #(const _: &[u8] = include_bytes!(#files);)*
            #(#types)*
            #body
        }
    })
}

impl Input {
    fn read(&self) -> Result<(Resolve, WorldId, Vec<PathBuf>)> {
        let mut resolve = Resolve::default();
        let (literal, read) = match &self.source {
            Source::Text(text) => (text, read::text(&mut resolve, text.value())),
            Source::Path(path) => {
                let root = std::env::var_os("CARGO_MANIFEST_DIR")
                    .map(PathBuf::from)
                    .unwrap_or_default();
                let at = root.join(Path::new(&path.value()));
                (path, read::path(&mut resolve, &at))
            }
        };
        let (package, files) = read.map_err(|error| Error::new(literal.span(), error))?;
        let name = self.world.as_ref().map(LitStr::value);
        let world = resolve
            .select_world(&[package], name.as_deref())
            .map_err(|error| {
                let span = self.world.as_ref().map_or(literal.span(), LitStr::span);
                Error::new(
                    span,
                    format!("{error:#}; a `world` that exports the functions says which they are"),
                )
            })?;
        Ok((resolve, world, files))
    }
}

/// What is made of a world.
struct Import<'a> {
    resolve: &'a Resolve,
    app: String,
    span: Span,
    /// The Rust names of the WIT's types.
    names: HashMap<TypeId, String>,
    defs: Vec<Def>,
}

impl<'a> Import<'a> {
    fn new(resolve: &'a Resolve, input: &Input) -> Self {
        Self {
            resolve,
            app: input.app.value(),
            span: input.app.span(),
            names: HashMap::new(),
            defs: Vec::new(),
        }
    }

    fn no<T>(&self, what: impl std::fmt::Display) -> Result<T> {
        Err(Error::new(self.span, what))
    }

    fn world(&mut self, world: WorldId) -> Result<TokenStream> {
        let mut code = TokenStream::new();
        for (key, item) in &self.resolve.worlds[world].exports {
            match item {
                WorldItem::Function(function) => {
                    code.extend(self.function(function, &function.name)?)
                }
                WorldItem::Interface { id, .. } => {
                    let interface = self.resolve.name_world_key(key);
                    let functions = self.resolve.interfaces[*id].functions.values();
                    let mut inner = TokenStream::new();
                    for function in
                        functions.filter(|function| !function.name.starts_with("lydian-"))
                    {
                        let target = format!("{interface}#{}", function.name);
                        inner.extend(self.function(function, &target)?);
                    }
                    let name = snake(&local_name(key, &interface), self.span);
                    let docs = format!("The functions of `{interface}`.");
                    code.extend(quote! {
                        #[doc = #docs]
                        pub mod #name {
                            #[allow(unused_imports)]
                            use super::*;
                            #inner
                        }
                    });
                }
                WorldItem::Type { .. } => {}
            }
        }
        if code.is_empty() {
            return self
                .no("this world exports no functions: name one that does, with `world = \"…\"`");
        }
        Ok(code)
    }

    fn function(&mut self, function: &Function, target: &str) -> Result<TokenStream> {
        if function.kind.resource().is_some() {
            return self.no(format!("`{target}` belongs to a resource, which lives within a session: use the host SDK's `Client::session`"));
        }
        let (rust, app) = (snake(&function.name, self.span), self.app.clone());
        if self.streams(function) {
            return Ok(self.unread(&rust, function, target));
        }
        let names: Vec<Ident> = function
            .params
            .iter()
            .map(|param| snake(&param.name, self.span))
            .collect();
        let mut types = Vec::new();
        for param in &function.params {
            types.push(self.ty(&param.ty)?.1);
        }
        let output = match &function.result {
            None => parse_quote!(()),
            Some(ty) => self.ty(ty)?.1,
        };
        let docs = function.docs.contents.as_deref().unwrap_or("").trim();
        let docs = format!("{docs}\n\nThe function `{target}` of the app `{app}`.");
        let params = quote!(#(#names: #types),*);
        let (names, types): (Vec<&Ident>, Vec<&Type>) =
            (names.iter().collect(), types.iter().collect());
        let forms = forms(
            &names,
            &types,
            &params,
            &quote!(#output),
            &quote!(Self::function()),
        );
        Ok(quote! {
            #[doc = #docs]
            #[derive(Debug, Clone, Copy)]
            pub enum #rust {}
            #[allow(dead_code, clippy::too_many_arguments)]
            impl #rust {
                /// The function as it is found by name.
                pub fn function() -> &'static ::lydian::Function {
                    static FUNCTION: ::std::sync::LazyLock<::lydian::Function> =
                        ::std::sync::LazyLock::new(|| ::lydian::Function::lookup(#app, #target));
                    &FUNCTION
                }
                #forms
            }
        })
    }

    /// Whether a function takes or gives a stream or a future, wherever it stands.
    fn streams(&self, function: &Function) -> bool {
        let mut types: Vec<WitType> = function.params.iter().map(|param| param.ty).collect();
        types.extend(function.result);
        let mut seen = HashSet::new();
        while let Some(ty) = types.pop() {
            let WitType::Id(id) = ty else { continue };
            let kind = &self.resolve.types[id].kind;
            if matches!(kind, TypeDefKind::Stream(_) | TypeDefKind::Future(_)) {
                return true;
            }
            if seen.insert(id) {
                types.extend(parts(kind));
            }
        }
        false
    }

    /// A function that streams: there by its name, so that its use is told why it has no client.
    fn unread(&mut self, rust: &Ident, function: &Function, target: &str) -> TokenStream {
        let docs = format!(
            "The function `{target}` of the app `{}`, which streams: a program reads it by the host SDK's `Function::stream`.",
            self.app
        );
        let params = function.params.iter().map(|_| quote!(_: impl Sized));
        let result = match function.result.map(|ty| self.stream_item(&ty)) {
            Some(Some(item)) => quote!(::lydian::Stream<::lydian::Result<#item>>),
            _ => quote!(()),
        };
        quote! {
            #[doc = #docs]
            #[derive(Debug, Clone, Copy)]
            pub enum #rust {}
            #[allow(dead_code, clippy::too_many_arguments)]
            impl #rust {
                /// Refused where it is used: what streams has no typed client.
                pub fn remote(#(#params),*) -> ::std::future::Ready<::lydian::Result<#result>>
                where
                    for<'a> &'a (): ::lydian::__rt::ImportedStreams,
                {
                    <&() as ::lydian::__rt::ImportedStreams>::read()
                }
            }
        }
    }

    /// The Rust type of the items of a result that is a stream.
    fn stream_item(&mut self, ty: &WitType) -> Option<Type> {
        let WitType::Id(id) = ty else { return None };
        match self.resolve.types[*id].kind {
            TypeDefKind::Stream(Some(item)) => self.ty(&item).ok().map(|(_, rust)| rust),
            _ => None,
        }
    }

    /// A type, as our own description and as Rust.
    fn ty(&mut self, ty: &WitType) -> Result<(Ty, Type)> {
        let plain = |name: &'static str, rust: Type| Ok((Ty::Plain(name), rust));
        match ty {
            WitType::Bool => plain("bool", parse_quote!(bool)),
            WitType::U8 => plain("u8", parse_quote!(u8)),
            WitType::U16 => plain("u16", parse_quote!(u16)),
            WitType::U32 => plain("u32", parse_quote!(u32)),
            WitType::U64 => plain("u64", parse_quote!(u64)),
            WitType::S8 => plain("s8", parse_quote!(i8)),
            WitType::S16 => plain("s16", parse_quote!(i16)),
            WitType::S32 => plain("s32", parse_quote!(i32)),
            WitType::S64 => plain("s64", parse_quote!(i64)),
            WitType::F32 => plain("f32", parse_quote!(f32)),
            WitType::F64 => plain("f64", parse_quote!(f64)),
            WitType::Char => plain("char", parse_quote!(char)),
            WitType::String => Ok((Ty::String, parse_quote!(::std::string::String))),
            WitType::ErrorContext => self.no("an `error-context` does not leave its sandbox"),
            WitType::Id(id) => self.defined(*id),
        }
    }

    fn defined(&mut self, id: TypeId) -> Result<(Ty, Type)> {
        // The resolve outlives the import, which changes.
        let resolve = self.resolve;
        let def = &resolve.types[id];
        let name = def.name.as_deref().unwrap_or("type");
        Ok(match &def.kind {
            TypeDefKind::Type(inner) => return self.ty(inner),
            TypeDefKind::List(item) => {
                let (ty, rust) = self.ty(item)?;
                (Ty::List(Box::new(ty)), parse_quote!(::std::vec::Vec<#rust>))
            }
            TypeDefKind::FixedLengthList(item, len) => {
                let (ty, rust) = self.ty(item)?;
                let len = *len as usize;
                (Ty::Fixed(Box::new(ty), len), parse_quote!([#rust; #len]))
            }
            TypeDefKind::Map(key, value) => {
                let ((key, rust_key), (value, rust_value)) = (self.ty(key)?, self.ty(value)?);
                let rust = parse_quote!(::std::collections::BTreeMap<#rust_key, #rust_value>);
                (Ty::Map(Box::new(key), Box::new(value)), rust)
            }
            TypeDefKind::Option(item) => {
                let (ty, rust) = self.ty(item)?;
                (Ty::Option(Box::new(ty)), parse_quote!(::std::option::Option<#rust>))
            }
            TypeDefKind::Result(result) => {
                let mut payload = |ty: &Option<WitType>| match ty {
                    None => Ok((None, parse_quote!(()))),
                    Some(ty) => self.ty(ty).map(|(ty, rust)| (Some(Box::new(ty)), rust)),
                };
                let ((ok, rust_ok), (err, rust_err)): ((_, Type), (_, Type)) = (payload(&result.ok)?, payload(&result.err)?);
                (Ty::Result(ok, err), parse_quote!(::std::result::Result<#rust_ok, #rust_err>))
            }
            TypeDefKind::Tuple(tuple) => {
                let (mut types, mut rust) = (Vec::new(), Vec::new());
                for item in &tuple.types {
                    let (ty, item) = self.ty(item)?;
                    types.push(ty);
                    rust.push(item);
                }
                (Ty::Tuple(types), parse_quote!((#(#rust,)*)))
            }
            TypeDefKind::Record(_) | TypeDefKind::Enum(_) | TypeDefKind::Variant(_) => return self.named(id, name),
            TypeDefKind::Flags(_) => return self.no(format!("`{name}` is of flags, which this does not import yet: use `Function::lookup`")),
            _ => return self.no(format!("`{name}` is a resource, which lives within a session: use the host SDK's `Client::session`")),
        })
    }

    /// A record, variant or enum: defined once, called by its name, or by its interface's and its own.
    fn named(&mut self, id: TypeId, wit: &str) -> Result<(Ty, Type)> {
        if let Some(name) = self.names.get(&id) {
            let ident = Ident::new(name, self.span);
            return Ok((Ty::Named(name.clone()), parse_quote!(#ident)));
        }
        let mut rust = pascal(wit, self.span);
        if self.names.values().any(|name| rust == name)
            && let TypeOwner::Interface(interface) = self.resolve.types[id].owner
        {
            let of = self.resolve.interfaces[interface]
                .name
                .as_deref()
                .unwrap_or("other");
            rust = pascal(&format!("{of}-{wit}"), self.span);
        }
        self.names.insert(id, rust.to_string());
        let body = self.body(id)?;
        let docs = self.resolve.types[id]
            .docs
            .contents
            .clone()
            .unwrap_or_default();
        self.defs.push(Def {
            rust: rust.clone(),
            wit: wit.to_owned(),
            body,
            docs: docs.trim().to_owned(),
        });
        Ok((Ty::Named(rust.to_string()), parse_quote!(#rust)))
    }

    fn body(&mut self, id: TypeId) -> Result<Body> {
        let resolve = self.resolve;
        Ok(match &resolve.types[id].kind {
            TypeDefKind::Record(record) => {
                let mut fields = Vec::new();
                for field in &record.fields {
                    let (ty, syn) = self.ty(&field.ty)?;
                    fields.push(Field {
                        rust: snake(&field.name, self.span),
                        wit: field.name.clone(),
                        ty,
                        syn,
                        docs: field
                            .docs
                            .contents
                            .clone()
                            .unwrap_or_default()
                            .trim()
                            .to_owned(),
                    });
                }
                Body::Record(fields)
            }
            TypeDefKind::Enum(all) => Body::Enum(
                all.cases
                    .iter()
                    .map(|case| self.case(&case.name, case.docs.contents.as_deref(), Payload::None))
                    .collect(),
            ),
            TypeDefKind::Variant(variant) => {
                let mut cases = Vec::new();
                for case in &variant.cases {
                    let payload = match &case.ty {
                        None => Payload::None,
                        Some(ty) => {
                            let (ty, syn) = self.ty(ty)?;
                            Payload::One(ty, Box::new(syn))
                        }
                    };
                    cases.push(self.case(&case.name, case.docs.contents.as_deref(), payload));
                }
                Body::Variant(cases)
            }
            _ => return self.no("this type has no definition"),
        })
    }

    fn case(&self, wit: &str, docs: Option<&str>, payload: Payload) -> Case {
        Case {
            rust: pascal(wit, self.span),
            wit: wit.to_owned(),
            payload,
            docs: docs.unwrap_or_default().trim().to_owned(),
        }
    }
}

/// The types that a type is made of.
fn parts(kind: &TypeDefKind) -> Vec<WitType> {
    match kind {
        TypeDefKind::Type(inner)
        | TypeDefKind::List(inner)
        | TypeDefKind::FixedLengthList(inner, _)
        | TypeDefKind::Option(inner) => vec![*inner],
        TypeDefKind::Map(key, value) => vec![*key, *value],
        TypeDefKind::Result(result) => result.ok.into_iter().chain(result.err).collect(),
        TypeDefKind::Tuple(tuple) => tuple.types.clone(),
        TypeDefKind::Record(record) => record.fields.iter().map(|field| field.ty).collect(),
        TypeDefKind::Variant(variant) => variant.cases.iter().filter_map(|case| case.ty).collect(),
        _ => Vec::new(),
    }
}

/// The last part of an interface's name: `resize` of `acme:img/resize@1.0.0`.
fn local_name(key: &WorldKey, interface: &str) -> String {
    match key {
        WorldKey::Name(name) => name.clone(),
        WorldKey::Interface(_) => {
            let name = interface.split('@').next().unwrap_or(interface);
            name.rsplit('/').next().unwrap_or(name).to_owned()
        }
    }
}

/// The struct or enum itself, with its wire encoding.
fn definition(def: &Def) -> TokenStream {
    let (rust, docs, wire) = (&def.rust, &def.docs, implement_wire(def));
    let item = match &def.body {
        Body::Record(fields) => {
            let fields = fields.iter().map(
                |Field {
                     rust, syn, docs, ..
                 }| quote!(#[doc = #docs] pub #rust: #syn),
            );
            quote!(pub struct #rust { #(#fields),* })
        }
        Body::Enum(cases) | Body::Variant(cases) => {
            let cases = cases.iter().map(
                |Case {
                     rust,
                     payload,
                     docs,
                     ..
                 }| match payload {
                    Payload::One(_, ty) => quote!(#[doc = #docs] #rust(#ty)),
                    _ => quote!(#[doc = #docs] #rust),
                },
            );
            quote!(pub enum #rust { #(#cases),* })
        }
    };
    quote! {
        #[doc = #docs]
        #[derive(Debug, Clone, PartialEq)]
        #item
        #wire
    }
}
