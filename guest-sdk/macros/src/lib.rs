//! The attributes of the guest SDK; what they mean is written in the crate `lydian`, which is what programs use.

mod app;
mod clients;
mod entrypoint;
mod exports;
mod manifest;
mod model;
mod names;
mod settings;
mod types;
mod values;
mod wit;

use proc_macro::TokenStream;

type Expansion =
    fn(proc_macro2::TokenStream, proc_macro2::TokenStream) -> syn::Result<proc_macro2::TokenStream>;

fn run(attribute: TokenStream, item: TokenStream, expand: Expansion) -> TokenStream {
    expand(attribute.into(), item.into())
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}

/// An app: a module whose functions are called from outside.
#[proc_macro_attribute]
pub fn app(attribute: TokenStream, item: TokenStream) -> TokenStream {
    run(attribute, item, app::expand)
}

/// A `main` for the caller's machine.
#[proc_macro_attribute]
pub fn local_entrypoint(attribute: TokenStream, item: TokenStream) -> TokenStream {
    run(attribute, item, entrypoint::expand)
}

/// An attribute that an app takes off its own items; whoever expands it stands elsewhere.
fn misplaced(name: &str, item: TokenStream) -> TokenStream {
    let text = format!(
        "`#[lydian::{name}]` belongs inside a module with `#[lydian::app]`, written in full with `lydian::`"
    );
    let mistake = syn::Error::new(proc_macro2::Span::call_site(), text).into_compile_error();
    let mut all = item;
    all.extend(TokenStream::from(mistake));
    all
}

macro_rules! inside {
    ($($(#[$docs:meta])* $name:ident;)*) => {$(
        $(#[$docs])*
        #[proc_macro_attribute]
        pub fn $name(_: TokenStream, item: TokenStream) -> TokenStream {
            misplaced(stringify!($name), item)
        }
    )*};
}

inside! {
    /// A function of the app.
    function;
    /// A struct that is made once for many calls.
    class;
    /// What makes a class's instance.
    enter;
    /// What is done before the instance goes.
    exit;
    /// A function of a class.
    method;
    /// A function behind a web address.
    endpoint;
    /// A function that runs by itself.
    schedule;
    /// A step that makes files when the app is deployed.
    build;
}
