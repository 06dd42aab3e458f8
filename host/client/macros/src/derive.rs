//! `#[derive(Wit)]`: the wire encoding of a struct or enum, field by field.

use crate::names::{is_wit_name, kebab};
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DataEnum, DeriveInput, Error, Field, Fields, Ident, LitStr, Result, Variant,
    parse_quote,
};

/// Where the generated code finds everything.
fn krate() -> TokenStream {
    quote!(::lydian_client::__private)
}

/// What `#[wit(…)]` says.
#[derive(Default)]
struct Options {
    name: Option<LitStr>,
    flags: Option<Span>,
}

impl Options {
    fn of(attributes: &[Attribute]) -> Result<Self> {
        let mut options = Self::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident("wit")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") {
                    let name: LitStr = meta.value()?.parse()?;
                    if !is_wit_name(&name.value()) {
                        let text = format!(
                            "`{}` is not a WIT name: write words of letters and digits, joined by `-`",
                            name.value()
                        );
                        return Err(Error::new(name.span(), text));
                    }
                    options.name = Some(name);
                    Ok(())
                } else if meta.path.is_ident("flags") {
                    options.flags = Some(meta.path.span());
                    Ok(())
                } else {
                    Err(meta.error("unknown option: there are `name = \"…\"` and `flags`"))
                }
            })?;
        }
        Ok(options)
    }

    /// The given name, else the Rust one in kebab-case.
    fn wit_name(&self, rust: &Ident) -> Result<String> {
        if let Some(name) = &self.name {
            return Ok(name.value());
        }
        let name = kebab(&rust.to_string());
        if is_wit_name(&name) {
            return Ok(name);
        }
        let text = format!("`{rust}` has no WIT name: set one with `#[wit(name = \"…\")]`");
        Err(Error::new(rust.span(), text))
    }
}

/// The three bodies of the implementation.
struct Bodies {
    ty: TokenStream,
    encode: TokenStream,
    decode: TokenStream,
}

pub(crate) fn expand(item: &DeriveInput) -> Result<TokenStream> {
    if let Some(lifetime) = item.generics.lifetimes().next() {
        let text = "a value that is read from a call owns its data: use `String` or `Vec` instead of a borrow";
        return Err(Error::new(lifetime.span(), text));
    }
    let options = Options::of(&item.attrs)?;
    let name = options.wit_name(&item.ident)?;
    refuse_recursion(item)?;
    let bodies = match &item.data {
        Data::Struct(data) => {
            let fields = named_fields(item, &data.fields)?;
            match options.flags {
                Some(_) => flags(&name, &fields)?,
                None => record(&name, &fields)?,
            }
        }
        Data::Enum(data) => {
            if let Some(span) = options.flags {
                let text = "`flags` is for a struct of `bool` fields, of which any may be set";
                return Err(Error::new(span, text));
            }
            cases(item, &name, data)?
        }
        Data::Union(data) => {
            let text = "WIT has no unions: use an enum";
            return Err(Error::new(data.union_token.span(), text));
        }
    };
    Ok(implementation(item, bodies))
}

fn implementation(item: &DeriveInput, bodies: Bodies) -> TokenStream {
    let krate = krate();
    let mut generics = item.generics.clone();
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(#krate::Wit));
    }
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let rust = &item.ident;
    let Bodies { ty, encode, decode } = bodies;
    quote! {
        #[automatically_derived]
        impl #impl_generics #krate::Wit for #rust #type_generics #where_clause {
            fn ty() -> #krate::Type {
                #ty
            }

            fn encode(&self, __out: &mut ::std::vec::Vec<u8>) {
                #encode
            }

            fn decode(
                __reader: &mut #krate::Reader<'_>,
            ) -> ::std::result::Result<Self, #krate::Error> {
                #decode
            }
        }
    }
}

/// A type that holds itself would have a type description without end.
fn refuse_recursion(item: &DeriveInput) -> Result<()> {
    let fields: Vec<&Field> = match &item.data {
        Data::Struct(data) => data.fields.iter().collect(),
        Data::Enum(data) => data.variants.iter().flat_map(|v| v.fields.iter()).collect(),
        Data::Union(_) => Vec::new(),
    };
    for field in fields {
        let mut finder = Finder {
            name: &item.ident,
            found: None,
        };
        syn::visit_mut::VisitMut::visit_type_mut(&mut finder, &mut field.ty.clone());
        if let Some(span) = finder.found {
            let text =
                "WIT has no recursive types: keep the items in a list and refer to them by index";
            return Err(Error::new(span, text));
        }
    }
    Ok(())
}

struct Finder<'a> {
    name: &'a Ident,
    found: Option<Span>,
}

impl syn::visit_mut::VisitMut for Finder<'_> {
    fn visit_type_path_mut(&mut self, path: &mut syn::TypePath) {
        if path.path.is_ident(self.name) || path.path.is_ident("Self") {
            self.found = Some(path.span());
        }
        syn::visit_mut::visit_type_path_mut(self, path);
    }
}

/// A field's Rust name, WIT name and type.
struct Named<'a> {
    rust: &'a Ident,
    wit: String,
    ty: &'a syn::Type,
}

fn named_fields<'a>(item: &DeriveInput, fields: &'a Fields) -> Result<Vec<Named<'a>>> {
    let Fields::Named(named) = fields else {
        let text = "a WIT record has named fields: write `struct Name { field: Type }`";
        return Err(Error::new(item.ident.span(), text));
    };
    if named.named.is_empty() {
        let text = "a WIT record has at least one field";
        return Err(Error::new(item.ident.span(), text));
    }
    let mut fields = Vec::with_capacity(named.named.len());
    for field in &named.named {
        let Some(rust) = &field.ident else { continue };
        let options = Options::of(&field.attrs)?;
        if let Some(span) = options.flags {
            return Err(Error::new(span, "`flags` belongs on the struct"));
        }
        let wit = options.wit_name(rust)?;
        let ty = &field.ty;
        fields.push(Named { rust, wit, ty });
    }
    unique(
        fields
            .iter()
            .map(|field| (field.wit.as_str(), field.rust.span())),
    )?;
    Ok(fields)
}

/// Two names may become one: `HTTPError` and `HttpError`.
fn unique<'a>(names: impl Iterator<Item = (&'a str, Span)>) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for (name, span) in names {
        if !seen.insert(name) {
            let text =
                format!("the WIT name `{name}` is taken: set another with `#[wit(name = \"…\")]`");
            return Err(Error::new(span, text));
        }
    }
    Ok(())
}

fn record(name: &str, fields: &[Named<'_>]) -> Result<Bodies> {
    let krate = krate();
    let rust: Vec<_> = fields.iter().map(|field| field.rust).collect();
    let wit: Vec<_> = fields.iter().map(|field| &field.wit).collect();
    // Spanned at the field's type, so that a type that is not `Wit` is pointed at.
    let types = fields.iter().map(|field| {
        let ty = field.ty;
        quote_spanned!(ty.span()=> <#ty as #krate::Wit>::ty())
    });
    Ok(Bodies {
        ty: quote!(#krate::Type::record(#name, [#((#wit, #types)),*])),
        encode: quote!(#(#krate::Wit::encode(&self.#rust, __out);)*),
        decode: quote! {
            __reader.nested(|__reader| {
                ::std::result::Result::Ok(Self { #(#rust: __reader.field(#wit)?),* })
            })
        },
    })
}

fn flags(name: &str, fields: &[Named<'_>]) -> Result<Bodies> {
    let krate = krate();
    for field in fields {
        if !matches!(field.ty, syn::Type::Path(path) if path.path.is_ident("bool")) {
            return Err(Error::new(field.ty.span(), "a flag is a `bool`"));
        }
    }
    let wit = fields.iter().map(|field| &field.wit);
    let count = fields.len();
    let bits = fields.iter().enumerate().map(|(index, field)| {
        let (rust, byte, bit) = (field.rust, index / 8, index % 8);
        quote!(__bytes[#byte] |= u8::from(self.#rust) << #bit;)
    });
    let reads = fields.iter().enumerate().map(|(index, field)| {
        let (rust, byte, bit) = (field.rust, index / 8, index % 8);
        quote!(#rust: __bytes[#byte] >> #bit & 1 == 1)
    });
    let bytes = count.div_ceil(8);
    Ok(Bodies {
        ty: quote!(#krate::Type::flags(#name, [#(#wit),*])),
        encode: quote! {
            let mut __bytes = [0u8; #bytes];
            #(#bits)*
            __out.extend_from_slice(&__bytes);
        },
        decode: quote! {
            let __bytes = __reader.flags(#count)?;
            ::std::result::Result::Ok(Self { #(#reads),* })
        },
    })
}

/// One case: its index, names and payload types.
struct Case<'a> {
    rust: &'a Ident,
    wit: String,
    payload: Vec<&'a syn::Type>,
}

impl Case<'_> {
    /// The payload as one type; several are a tuple.
    fn payload_type(&self) -> Option<TokenStream> {
        let types = &self.payload;
        match types.as_slice() {
            [] => None,
            [one] => Some(quote!(#one)),
            _ => Some(quote!((#(#types,)*))),
        }
    }
}

fn cases(item: &DeriveInput, name: &str, data: &DataEnum) -> Result<Bodies> {
    if data.variants.is_empty() {
        let text = "a WIT enum has at least one case";
        return Err(Error::new(item.ident.span(), text));
    }
    let cases: Vec<Case<'_>> = data.variants.iter().map(case).collect::<Result<_>>()?;
    unique(
        cases
            .iter()
            .map(|case| (case.wit.as_str(), case.rust.span())),
    )?;
    let krate = krate();
    let ty = if cases.iter().all(|case| case.payload.is_empty()) {
        let wit = cases.iter().map(|case| &case.wit);
        quote!(#krate::Type::enumeration(#name, [#(#wit),*]))
    } else {
        let cases = cases.iter().map(|case| {
            let wit = &case.wit;
            match case.payload_type() {
                Some(ty) => {
                    let span = case
                        .payload
                        .first()
                        .map_or(case.rust.span(), |ty| ty.span());
                    let ty = quote_spanned!(span=> <#ty as #krate::Wit>::ty());
                    quote!((#wit, ::std::option::Option::Some(#ty)))
                }
                None => quote!((#wit, ::std::option::Option::None)),
            }
        });
        quote!(#krate::Type::variant(#name, [#(#cases),*]))
    };
    let encode = cases
        .iter()
        .enumerate()
        .map(|(index, case)| encode_case(index, case));
    Ok(Bodies {
        ty,
        encode: quote!(match self { #(#encode)* }),
        decode: decode_cases(&cases),
    })
}

fn case(variant: &Variant) -> Result<Case<'_>> {
    let options = Options::of(&variant.attrs)?;
    if let Some(span) = options.flags {
        return Err(Error::new(span, "`flags` is for a struct of `bool` fields"));
    }
    let payload = match &variant.fields {
        Fields::Unit => Vec::new(),
        Fields::Unnamed(fields) => fields.unnamed.iter().map(|field| &field.ty).collect(),
        Fields::Named(fields) => {
            let text =
                "a WIT case has one payload without field names: make it a struct of its own";
            return Err(Error::new(fields.span(), text));
        }
    };
    if matches!(&variant.fields, Fields::Unnamed(_)) && payload.is_empty() {
        let text = "a case without payload is written without parentheses";
        return Err(Error::new(variant.span(), text));
    }
    Ok(Case {
        rust: &variant.ident,
        wit: options.wit_name(&variant.ident)?,
        payload,
    })
}

fn payload_names(case: &Case<'_>) -> Vec<Ident> {
    (0..case.payload.len())
        .map(|index| format_ident!("__payload{index}"))
        .collect()
}

fn encode_case(index: usize, case: &Case<'_>) -> TokenStream {
    let krate = krate();
    let rust = case.rust;
    let names = payload_names(case);
    let pattern = match names.as_slice() {
        [] => quote!(Self::#rust),
        names => quote!(Self::#rust(#(#names),*)),
    };
    quote! {
        #pattern => {
            #krate::len_prefix(#index, __out);
            #(#krate::Wit::encode(#names, __out);)*
        }
    }
}

fn decode_cases(cases: &[Case<'_>]) -> TokenStream {
    let count = cases.len();
    let arms = cases.iter().enumerate().map(|(index, case)| {
        let (rust, wit) = (case.rust, &case.wit);
        let names = payload_names(case);
        let value = match (names.as_slice(), case.payload_type()) {
            ([], _) | (_, None) => quote!(Self::#rust),
            ([_], _) => quote!(Self::#rust(__reader.payload_of(#wit)?)),
            (names, Some(ty)) => quote!({
                let (#(#names,)*): #ty = __reader.payload_of(#wit)?;
                Self::#rust(#(#names),*)
            }),
        };
        // The reader has checked the index, so the last arm takes what is left.
        let last = index + 1 == count;
        let pattern = if last { quote!(_) } else { quote!(#index) };
        quote!(#pattern => #value,)
    });
    quote!(::std::result::Result::Ok(match __reader.case(#count)? { #(#arms)* }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(item: DeriveInput) -> String {
        expand(&item).expect_err("must be refused").to_string()
    }

    /// Each refusal says what to write instead; the spans are in the golden files of `lydian-client`.
    #[test]
    fn what_wit_cannot_say_is_refused_with_a_way_out() {
        let cases: [(DeriveInput, &str); 8] = [
            (
                parse_quote!(
                    struct A(u32);
                ),
                "named fields",
            ),
            (
                parse_quote!(
                    struct A {}
                ),
                "at least one field",
            ),
            (
                parse_quote!(
                    enum A {}
                ),
                "at least one case",
            ),
            (
                parse_quote!(
                    enum A {
                        B { c: u32 },
                    }
                ),
                "struct of its own",
            ),
            (
                parse_quote!(
                    struct A<'a> {
                        b: &'a str,
                    }
                ),
                "owns its data",
            ),
            (
                parse_quote!(
                    struct A {
                        next: Option<Box<A>>,
                    }
                ),
                "recursive",
            ),
            (
                parse_quote!(
                    struct A {
                        b: u32,
                        #[wit(name = "b")]
                        c: u32,
                    }
                ),
                "taken",
            ),
            (parse_quote!(union A { b: u32 }), "use an enum"),
        ];
        for (item, part) in cases {
            let text = refusal(item);
            assert!(text.contains(part), "{text}");
        }
    }
}
