//! What stands beside each function under its own name: `local`, `remote`, `map`, `spawn` and their relatives.
//!
//! It is a type without values rather than a module, so that the names in a signature mean what they mean in the user's
//! module; one writes `app::square::remote(4)` either way.

use crate::exports::{output_type, slot};
use crate::model::{App, Callable, Class, Output, Stream, StreamForm};
use crate::names::snake;
use proc_macro2::{Ident, TokenStream};
use quote::quote;

/// The functions' types, the classes' modules, and the table of all of them.
pub(crate) fn clients(app: &App<'_>, name: &str) -> TokenStream {
    let functions = app.functions.iter().map(|function| {
        let rust = &function.call.rust;
        let names = names(&function.call);
        client(
            name,
            &function.call.wit,
            &function.call,
            &plain_call(rust, &names),
        )
    });
    let classes = app.classes.iter().map(|class| class_clients(name, class));
    let table = table(app, name);
    quote! {
        #(#functions)*
        #(#classes)*
        #table
    }
}

pub(crate) fn names(call: &Callable) -> Vec<&Ident> {
    call.params.iter().map(|param| &param.rust).collect()
}

/// A plain call, by a path: a parameter may have the function's name.
pub(crate) fn plain_call(rust: &Ident, names: &[&Ident]) -> TokenStream {
    quote!(self::#rust(#(#names),*))
}

fn class_clients(app: &str, class: &Class) -> TokenStream {
    let (rust, slot) = (&class.rust, slot(&class.rust));
    let module = snake(&class.wit, class.rust.span());
    let enter = enter(class);
    let methods = class.methods.iter().map(|method| {
        let (name, names) = (&method.rust, names(method));
        let run = if method.is_async {
            quote!(async move {
                let mut __class = #slot.enter_async().await;
                let __class: &mut #rust = &mut __class;
                __class.#name(#(#names),*).await
            })
        } else {
            quote!(#slot.with(|__class: &mut #rust| __class.#name(#(#names),*)))
        };
        client(app, &format!("{}#{}", class.wit, method.wit), method, &run)
    });
    let docs = format!("The methods of [`{rust}`], called from outside.");
    quote! {
        #enter
        #[doc = #docs]
        #[allow(non_snake_case)]
        pub mod #module {
            #[allow(unused_imports)]
            use super::*;
            #(#methods)*
        }
    }
}

/// The static the class lives in, and how it gets there.
fn enter(class: &Class) -> TokenStream {
    let (rust, slot, function) = (&class.rust, slot(&class.rust), &class.enter.rust);
    let awaited = class.enter.is_async.then(|| quote!(.await));
    let made = quote!(#rust::#function() #awaited);
    let entered = if class.enter.is_fallible {
        quote!(#made.map_err(|error| ::std::string::ToString::to_string(&error)))
    } else {
        quote!(::std::result::Result::Ok(#made))
    };
    quote! {
        #[doc(hidden)]
        static #slot: ::lydian::__rt::Class<#rust> = {
            fn enter() -> ::lydian::__rt::Entering<#rust> {
                ::std::boxed::Box::pin(async move { #entered })
            }
            ::lydian::__rt::Class::new(enter)
        };
    }
}

/// `fn(A) -> R` that runs the plain function; an async one is waited for.
fn plain(call: &Callable, run: &TokenStream) -> TokenStream {
    let names = names(call);
    let run = if call.is_async {
        quote!(::lydian::__rt::wait(#run))
    } else {
        run.clone()
    };
    let run = match &call.output {
        Output::Stream(stream) => streamed(stream, &run),
        _ => run,
    };
    quote!(|(#(#names,)*)| #run)
}

fn streamed(stream: &Stream, run: &TokenStream) -> TokenStream {
    match stream.form {
        StreamForm::Ours => run.clone(),
        StreamForm::ImplStream => quote!(::lydian::Stream::new(#run)),
        StreamForm::ImplIterator => quote!(::lydian::Stream::from_iter(#run)),
    }
}

fn client(app: &str, target: &str, call: &Callable, run: &TokenStream) -> TokenStream {
    let rust = &call.rust;
    let (names, types): (Vec<_>, Vec<_>) = call
        .params
        .iter()
        .map(|param| (&param.rust, &param.syn))
        .unzip();
    let params = quote!(#(#names: #types),*);
    let output = output_type(&call.output);
    let plain = plain(call, run);
    let local = local(call, run, &params, &output);
    let docs = if call.docs.is_empty() {
        format!("The function `{target}`, called from outside.")
    } else {
        format!(
            "{}\n\nThe function `{target}`, called from outside.",
            call.docs
        )
    };
    let methods = match &call.output {
        Output::Stream(stream) => {
            let item = &stream.syn;
            quote! {
                /// Calls it where the back end says; the items come as they are made.
                #[cfg(not(target_family = "wasm"))]
                pub async fn remote(#params) -> ::lydian::Result<::lydian::Stream<::lydian::Result<#item>>> {
                    const NAME: ::lydian::__rt::Name = ::lydian::__rt::name(#app, #target);
                    ::lydian::__rt::stream(&NAME, #plain, (#(#names,)*)).await
                }
                /// Refused where it is used: a function cannot read what another streams.
                #[cfg(target_family = "wasm")]
                pub fn remote(
                    #(_: #types),*
                ) -> ::std::future::Ready<::lydian::Result<::lydian::Stream<::lydian::Result<#item>>>>
                where
                    for<'a> &'a (): ::lydian::__rt::StreamsInside,
                {
                    <&() as ::lydian::__rt::StreamsInside>::read()
                }
            }
        }
        _ => calls(app, target, call, &params, &output, &plain),
    };
    quote! {
        #[doc = #docs]
        #[allow(non_camel_case_types)]
        #[derive(Debug, Clone, Copy)]
        pub enum #rust {}
        #[allow(dead_code, clippy::too_many_arguments)]
        impl #rust {
            #local
            #methods
        }
    }
}

fn local(
    call: &Callable,
    run: &TokenStream,
    params: &TokenStream,
    output: &TokenStream,
) -> TokenStream {
    let (asynchronous, awaited) = if call.is_async {
        (quote!(async), quote!(.await))
    } else {
        Default::default()
    };
    let run = quote!(#run #awaited);
    let run = match &call.output {
        Output::Stream(stream) => streamed(stream, &run),
        _ => run,
    };
    quote! {
        /// A plain call, here and now.
        pub #asynchronous fn local(#params) -> #output {
            #run
        }
    }
}

fn calls(
    app: &str,
    target: &str,
    call: &Callable,
    params: &TokenStream,
    output: &TokenStream,
    plain: &TokenStream,
) -> TokenStream {
    let (names, types): (Vec<_>, Vec<_>) = call
        .params
        .iter()
        .map(|param| (&param.rust, &param.syn))
        .unzip();
    let forms = forms(&names, &types, params, output, &quote!(Self::__FUNCTION));
    quote! {
        #[doc(hidden)]
        const __FUNCTION: ::lydian::__rt::Target<(#(#types,)*), #output> =
            ::lydian::__rt::Target::new(#app, #target, #plain);
        #forms
    }
}

/// Every way to call what `callee` stands for.
pub(crate) fn forms(
    names: &[&Ident],
    types: &[&syn::Type],
    params: &TokenStream,
    output: &TokenStream,
    callee: &TokenStream,
) -> TokenStream {
    let (args, tuple) = (quote!((#(#names,)*)), quote!((#(#types,)*)));
    // One parameter needs no tuple around it.
    let (item, wrap) = match types {
        [one] => (quote!(#one), quote!(.map(|input| (input,)))),
        _ => (tuple.clone(), TokenStream::new()),
    };
    quote! {
        /// Calls it where the back end says, and waits for the result.
        pub async fn remote(#params) -> ::lydian::Result<#output> {
            #callee.remote(#args).await
        }
        /// As `remote`, without `async`.
        pub fn remote_blocking(#params) -> ::lydian::Result<#output> {
            ::lydian::__rt::block_on(Self::remote(#(#names),*))
        }
        /// Records a call and returns what finds it again; it runs whether or not this program lives.
        pub async fn spawn(#params) -> ::lydian::Result<::lydian::Call<#output>> {
            #callee.spawn(#args).await
        }
        /// As `spawn`, without `async`.
        pub fn spawn_blocking(#params) -> ::lydian::Result<::lydian::Call<#output>> {
            ::lydian::__rt::block_on(Self::spawn(#(#names),*))
        }
        /// A call per input, each in a sandbox of its own.
        pub fn map<'a, I>(inputs: I) -> ::lydian::Map<'a, #tuple, #output>
        where
            I: ::std::iter::IntoIterator<Item = #item>,
            I::IntoIter: ::std::marker::Send + 'a,
        {
            #callee.map(::std::iter::IntoIterator::into_iter(inputs)#wrap)
        }
        /// As `map`, over tuples of the parameters.
        pub fn starmap<'a, I>(inputs: I) -> ::lydian::Map<'a, #tuple, #output>
        where
            I: ::std::iter::IntoIterator<Item = #tuple>,
            I::IntoIter: ::std::marker::Send + 'a,
        {
            #callee.map(::std::iter::IntoIterator::into_iter(inputs))
        }
        /// A call per input, for what it does rather than what it returns; answers how many there were.
        pub async fn for_each<'a, I>(inputs: I) -> ::lydian::Result<u64>
        where
            I: ::std::iter::IntoIterator<Item = #item>,
            I::IntoIter: ::std::marker::Send + 'a,
        {
            Self::map(inputs).unordered().drain().await
        }
        /// As `for_each`, without `async`.
        pub fn for_each_blocking<'a, I>(inputs: I) -> ::lydian::Result<u64>
        where
            I: ::std::iter::IntoIterator<Item = #item>,
            I::IntoIter: ::std::marker::Send + 'a,
        {
            ::lydian::__rt::block_on(Self::map(inputs).unordered().drain())
        }
    }
}

/// The app for back ends on threads, where nobody else knows its functions.
fn table(app: &App<'_>, name: &str) -> TokenStream {
    let functions = app.functions.iter().map(|function| {
        let (rust, call) = (&function.call.rust, &function.call);
        let names = names(call);
        entry(&call.wit, call, &plain_call(rust, &names))
    });
    let methods = app.classes.iter().flat_map(|class| {
        let (rust, slot) = (&class.rust, slot(&class.rust));
        class.methods.iter().map(move |method| {
            let (name, names) = (&method.rust, names(method));
            let run = if method.is_async {
                quote!(async move { #slot.enter_async().await.#name(#(#names),*).await })
            } else {
                quote!(#slot.with(|__class: &mut #rust| __class.#name(#(#names),*)))
            };
            entry(&format!("{}#{}", class.wit, method.wit), method, &run)
        })
    });
    quote! {
        /// This app, for `lydian::Backend::native().with_app(…)`.
        #[cfg(not(target_family = "wasm"))]
        #[allow(dead_code)]
        pub const APP: ::lydian::App = ::lydian::App::new(#name, &[#(#functions)* #(#methods)*]);
    }
}

fn entry(target: &str, call: &Callable, run: &TokenStream) -> TokenStream {
    if matches!(call.output, Output::Stream(_)) {
        return TokenStream::new();
    }
    let types = call.params.iter().map(|param| &param.syn);
    let (output, plain) = (output_type(&call.output), plain(call, run));
    quote!((#target, |args| ::lydian::__rt::erased::<(#(#types,)*), #output>(#plain, args)),)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without it, a guest that calls `remote` would be told that there is none.
    #[test]
    fn a_stream_that_a_guest_cannot_read_is_refused_in_words() {
        let items = quote!(
            #[lydian::function]
            pub fn count(n: u32) -> impl Iterator<Item = u32> {
                0..n
            }
        );
        let mut items = syn::parse2::<syn::File>(items).expect("is Rust").items;
        let (found, _) = crate::model::take(&mut items);
        let app = crate::model::read(found, &items).expect("is an app");
        let code = clients(&app, "app").to_string();
        let refused = quote! {
            #[cfg(target_family = "wasm")]
            pub fn remote(
                _: u32
            ) -> ::std::future::Ready<::lydian::Result<::lydian::Stream<::lydian::Result<u32>>>>
            where
                for<'a> &'a (): ::lydian::__rt::StreamsInside,
        };
        assert!(code.contains(&refused.to_string()), "{code}");
    }
}
