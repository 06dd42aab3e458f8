//! What stands in the place of clients when an app is refused.
//!
//! Callers name `app::square::remote`, and would be told that there is no such thing, for every call, beside the one sentence
//! that says what is wrong. So the names are there, and take and give a type that the compiler knows to be a mistake already: it
//! says nothing about what is made of it.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, Ident};

/// A function or method that callers may name.
#[derive(Debug, Clone)]
pub(crate) struct Stub {
    pub(crate) rust: Ident,
    /// The module that callers find a class's methods in.
    pub(crate) class: Option<Ident>,
    pub(crate) params: usize,
}

/// The items of a refused module: its first mistake, as a type, and what callers name.
pub(crate) fn stubs(mistake: &Error, stubs: &[Stub], has_app: bool) -> TokenStream {
    let mistake = mistake.to_compile_error();
    let mut classes: Vec<&Ident> = Vec::new();
    for class in stubs.iter().filter_map(|stub| stub.class.as_ref()) {
        let is_function = stubs
            .iter()
            .any(|stub| stub.class.is_none() && stub.rust == *class);
        if !is_function && !classes.contains(&class) {
            classes.push(class);
        }
    }
    let of = |class: Option<&Ident>| -> Vec<TokenStream> {
        let own = stubs.iter().filter(|stub| stub.class.as_ref() == class);
        own.map(stub).collect()
    };
    let functions = of(None);
    let classes = classes.into_iter().map(|class| {
        let methods = of(Some(class));
        quote! {
            #[allow(dead_code, non_snake_case)]
            pub mod #class {
                use super::__Refused;
                #(#methods)*
            }
        }
    });
    let app = (!has_app).then(|| {
        quote! {
            #[allow(dead_code)]
            pub const APP: __Refused = ();
        }
    });
    quote! {
        #[doc(hidden)]
        pub type __Refused = [(); #mistake];
        #(#functions)*
        #(#classes)*
        #app
    }
}

fn stub(stub: &Stub) -> TokenStream {
    let rust = &stub.rust;
    let calls = [
        "local",
        "remote",
        "remote_blocking",
        "spawn",
        "spawn_blocking",
    ]
    .map(|name| {
        let name = Ident::new(name, rust.span());
        let params = (0..stub.params).map(|_| quote!(_: __Refused));
        quote!(pub fn #name(#(#params),*) -> __Refused { loop {} })
    });
    let maps = ["map", "starmap", "for_each", "for_each_blocking"].map(|name| {
        let name = Ident::new(name, rust.span());
        quote!(pub fn #name(_: __Refused) -> __Refused { loop {} })
    });
    quote! {
        #[allow(non_camel_case_types)]
        pub enum #rust {}
        #[allow(dead_code, clippy::too_many_arguments, clippy::empty_loop)]
        impl #rust {
            #(#calls)*
            #(#maps)*
        }
    }
}
