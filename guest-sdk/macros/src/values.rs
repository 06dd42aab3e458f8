//! What the module's structs and enums need to cross a call: the wire encoding everywhere, the component's own layout in
//! guests.

use crate::types::{Body, Case, Def, Field, Payload};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};

/// The implementations for one type.
pub(crate) fn implement(def: &Def) -> TokenStream {
    let (wit, abi) = match &def.body {
        Body::Record(fields) => (record_wit(def, fields), record_abi(def, fields)),
        Body::Enum(cases) | Body::Variant(cases) => (cases_wit(def, cases), cases_abi(def, cases)),
    };
    quote! {
        #wit
        #[cfg(target_family = "wasm")]
        #abi
    }
}

/// The wire encoding alone, for what never crosses the component's own boundary.
pub(crate) fn implement_wire(def: &Def) -> TokenStream {
    match &def.body {
        Body::Record(fields) => record_wit(def, fields),
        Body::Enum(cases) | Body::Variant(cases) => cases_wit(def, cases),
    }
}

fn rt() -> TokenStream {
    quote!(::lydian::__rt)
}

fn wit_impl(
    def: &Def,
    ty: &TokenStream,
    encode: &TokenStream,
    decode: &TokenStream,
) -> TokenStream {
    let rt = rt();
    let rust = &def.rust;
    quote! {
        #[automatically_derived]
        impl #rt::Wit for #rust {
            fn ty() -> #rt::Type {
                #ty
            }
            fn encode(&self, __out: &mut ::std::vec::Vec<u8>) {
                #encode
            }
            fn decode(__reader: &mut #rt::Reader<'_>) -> ::std::result::Result<Self, #rt::ValueError> {
                #decode
            }
        }
    }
}

/// `record("name", [("field", …)])` as a type.
fn record_type(name: &str, fields: &[Field]) -> TokenStream {
    let rt = rt();
    let (wit, types) = (
        fields.iter().map(|field| &field.wit),
        fields.iter().map(|field| &field.syn),
    );
    quote!(#rt::Type::record(#name, [#((#wit, <#types as #rt::Wit>::ty())),*]))
}

fn record_wit(def: &Def, fields: &[Field]) -> TokenStream {
    let rt = rt();
    let rust: Vec<_> = fields.iter().map(|field| &field.rust).collect();
    let wit = fields.iter().map(|field| &field.wit);
    wit_impl(
        def,
        &record_type(&def.wit, fields),
        &quote!(#(#rt::Wit::encode(&self.#rust, __out);)*),
        &quote! {
            __reader.nested(|__reader| ::std::result::Result::Ok(Self { #(#rust: __reader.field(#wit)?),* }))
        },
    )
}

fn record_abi(def: &Def, fields: &[Field]) -> TokenStream {
    let rust: Vec<_> = fields.iter().map(|field| &field.rust).collect();
    let types: Vec<_> = fields.iter().map(|field| &field.syn).collect();
    let name = &def.rust;
    quote!(::lydian::__rt::record_abi!(#name { #(#rust: #types),* });)
}

/// The names a case's payload is bound to.
fn bound(case: &Case) -> Vec<syn::Ident> {
    match &case.payload {
        Payload::None => Vec::new(),
        Payload::One(..) => vec![format_ident!("__payload0")],
        Payload::Several(types) => (0..types.len())
            .map(|index| format_ident!("__payload{index}"))
            .collect(),
        Payload::Fields(_, fields) => fields.iter().map(|field| field.rust.clone()).collect(),
    }
}

/// A case as pattern and as expression, which look the same.
fn pattern(case: &Case) -> TokenStream {
    let (rust, names) = (&case.rust, bound(case));
    match &case.payload {
        Payload::None => quote!(Self::#rust),
        Payload::One(..) | Payload::Several(_) => quote!(Self::#rust(#(#names),*)),
        Payload::Fields(..) => quote!(Self::#rust { #(#names),* }),
    }
}

/// The Rust types of what a case carries.
fn carried(case: &Case) -> Vec<&syn::Type> {
    match &case.payload {
        Payload::None => Vec::new(),
        Payload::One(_, ty) => vec![ty],
        Payload::Several(types) => types.iter().map(|(_, ty)| ty).collect(),
        Payload::Fields(_, fields) => fields.iter().map(|field| &field.syn).collect(),
    }
}

fn cases_wit(def: &Def, cases: &[Case]) -> TokenStream {
    let rt = rt();
    let name = &def.wit;
    let ty = if matches!(def.body, Body::Enum(_)) {
        let names = cases.iter().map(|case| &case.wit);
        quote!(#rt::Type::enumeration(#name, [#(#names),*]))
    } else {
        let cases = cases.iter().map(|case| {
            let wit = &case.wit;
            let types = carried(case);
            let payload = match &case.payload {
                Payload::None => return quote!((#wit, ::std::option::Option::None)),
                Payload::One(..) => quote!(#(<#types as #rt::Wit>::ty())*),
                Payload::Several(_) => quote!(#rt::Type::tuple([#(<#types as #rt::Wit>::ty()),*])),
                Payload::Fields(name, fields) => record_type(name, fields),
            };
            quote!((#wit, ::std::option::Option::Some(#payload)))
        });
        quote!(#rt::Type::variant(#name, [#(#cases),*]))
    };
    let encode = cases.iter().enumerate().map(|(index, case)| {
        let (pattern, names) = (pattern(case), bound(case));
        quote! {
            #pattern => {
                #rt::len_prefix(#index, __out);
                #(#rt::Wit::encode(#names, __out);)*
            }
        }
    });
    wit_impl(
        def,
        &ty,
        &quote!(match self { #(#encode)* }),
        &decode_cases(cases),
    )
}

fn decode_cases(cases: &[Case]) -> TokenStream {
    let rt = rt();
    let count = cases.len();
    let arms = cases.iter().enumerate().map(|(index, case)| {
        let (value, names, wit) = (pattern(case), bound(case), &case.wit);
        let types = carried(case);
        let value = match &case.payload {
            Payload::None => value,
            Payload::One(..) => quote!({
                #(let #names = __reader.payload_of(#wit)?;)*
                #value
            }),
            Payload::Several(_) => quote!({
                let (#(#names,)*): (#(#types,)*) = __reader.payload_of(#wit)?;
                #value
            }),
            // As the record it is: one level deeper, and again for its fields.
            Payload::Fields(_, fields) => {
                let fields = fields.iter().map(|field| &field.wit);
                quote! {
                    __reader.nested(|__reader| __reader.nested(|__reader| {
                        #(let #names: #types = __reader.field(#fields)?;)*
                        ::std::result::Result::Ok::<Self, #rt::ValueError>(#value)
                    })).map_err(|error| error.in_field(#wit))?
                }
            }
        };
        // The reader has checked the index, so the last arm takes what is left.
        let pattern = if index + 1 == count {
            quote!(_)
        } else {
            quote!(#index)
        };
        quote!(#pattern => #value,)
    });
    quote!(::std::result::Result::Ok(match __reader.case(#count)? { #(#arms)* }))
}

fn cases_abi(def: &Def, cases: &[Case]) -> TokenStream {
    let name = &def.rust;
    let cases = cases.iter().enumerate().map(|(index, case)| {
        let (pattern, names, types) = (pattern(case), bound(case), carried(case));
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        quote!(#index, (#pattern), (#(#names),*), (#(#types),*);)
    });
    quote!(::lydian::__rt::variant_abi!(#name { #(#cases)* });)
}
