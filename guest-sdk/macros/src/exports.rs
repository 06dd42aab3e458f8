//! The component's side: one core function per export, with the signature the canonical ABI gives it.
//!
//! What a type does when it is lifted or lowered stands in the SDK (`guest/abi.rs`); what is made here is only what
//! cannot be generic: the names, and the core types of parameters and results.

use crate::clients::{names, plain_call};
use crate::model::{App, Callable, Class, Output, Stream, StreamForm};
use crate::wit::{ENTER, EXIT, World};
use proc_macro2::{Literal, Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Error, Ident, Result};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Function, Mangling, WorldKey};

/// Everything a guest has and a native program has not.
pub(crate) fn exports(app: &App<'_>, world: &World, manifest: &str) -> Result<TokenStream> {
    let mut code = TokenStream::new();
    for function in &app.functions {
        let rust = &function.call.rust;
        let call = plain_call(rust, &names(&function.call));
        let awaited = awaited(function.call.is_async);
        let run = quote!(#call #awaited);
        code.extend(export(app, world, None, &function.call, &run)?);
    }
    for class in &app.classes {
        code.extend(class_exports(app, world, class)?);
    }
    let types = section(
        &format!("component-type:lydian:{}", world.name),
        &world.section()?,
    );
    let manifest = section("lydian:manifest", manifest.as_bytes());
    Ok(quote! {
        #[cfg(target_family = "wasm")]
        #[allow(clippy::too_many_arguments, clippy::undocumented_unsafe_blocks)]
        const _: () = {
            #types
            #manifest
            #code
        };
    })
}

fn awaited(is_async: bool) -> TokenStream {
    if is_async {
        quote!(.await)
    } else {
        TokenStream::new()
    }
}

/// A custom section of the core module; the linker joins those of one name.
fn section(name: &str, bytes: &[u8]) -> TokenStream {
    let (len, bytes) = (bytes.len(), Literal::byte_string(bytes));
    quote! {
        const _: () = {
            #[unsafe(link_section = #name)]
            static SECTION: [u8; #len] = *#bytes;
        };
    }
}

fn class_exports(app: &App<'_>, world: &World, class: &Class) -> Result<TokenStream> {
    let slot = slot(&class.rust);
    let mut code = TokenStream::new();
    for method in &class.methods {
        let rust = &method.rust;
        let names = method.params.iter().map(|param| &param.rust);
        let (name, awaited) = (&class.rust, awaited(method.is_async));
        let run = if method.is_async_export() {
            quote!({
                let mut __class = #slot.enter_async().await;
                let __class: &mut #name = &mut __class;
                __class.#rust(#(#names),*) #awaited
            })
        } else {
            quote!(#slot.with(|__class: &mut #name| __class.#rust(#(#names),*)))
        };
        code.extend(export(app, world, Some(&class.wit), method, &run)?);
    }
    let enter = lifecycle(ENTER, class.enter.is_async, true);
    let run = if class.enter.is_async {
        quote!(#slot.try_enter_async().await)
    } else {
        quote!(#slot.try_enter())
    };
    code.extend(export(app, world, Some(&class.wit), &enter, &run)?);
    if let Some(exit) = &class.exit {
        let rust = &exit.rust;
        let awaited = awaited(exit.is_async);
        let by_value = if exit.takes_self {
            quote!(__class)
        } else {
            quote!((&mut __class))
        };
        let run = quote!({
            #[allow(unused_mut)]
            if let ::std::option::Option::Some(mut __class) = #slot.take() {
                #by_value.#rust() #awaited;
            }
        });
        code.extend(export(
            app,
            world,
            Some(&class.wit),
            &lifecycle(EXIT, exit.is_async, false),
            &run,
        )?);
    }
    Ok(code)
}

/// The static a class's instance lives in.
pub(crate) fn slot(class: &Ident) -> Ident {
    format_ident!("__LYDIAN_{}", class.to_string().to_uppercase())
}

/// A lifecycle function, as if somebody had written it.
fn lifecycle(wit: &str, is_async: bool, can_fail: bool) -> Callable {
    let result: syn::Type = syn::parse_quote!(::std::result::Result<(), ::std::string::String>);
    let ty = crate::types::Ty::Result(None, Some(Box::new(crate::types::Ty::String)));
    Callable {
        rust: Ident::new(if can_fail { "enter" } else { "exit" }, Span::call_site()),
        wit: wit.to_owned(),
        params: Vec::new(),
        output: if can_fail {
            Output::Value(ty, Box::new(result))
        } else {
            Output::None
        },
        is_async,
        docs: String::new(),
    }
}

/// One function of the component.
struct Export<'a> {
    call: &'a Callable,
    key: &'a WorldKey,
    function: &'a Function,
    class: Option<&'a str>,
    world: &'a World,
}

fn export(
    app: &App<'_>,
    world: &World,
    class: Option<&str>,
    call: &Callable,
    run: &TokenStream,
) -> Result<TokenStream> {
    let Some((key, function)) = world.function(class, &call.wit) else {
        return Err(Error::new(
            call.rust.span(),
            "this function is missing from the app's own WIT",
        ));
    };
    let export = Export {
        call,
        key,
        function,
        class,
        world,
    };
    if call.is_async_export() {
        Ok(export.asynchronous(run))
    } else {
        let owns = matches!(&call.output, Output::Value(ty, _) if ty.owns_memory(&app.types));
        Ok(export.synchronous(run, owns))
    }
}

impl Export<'_> {
    fn core_name(&self, mangling: Mangling) -> String {
        self.function
            .core_export_name(self.class, mangling)
            .into_owned()
    }

    /// The parameters of the core function, and how they become Rust values.
    fn lifted(&self, params: &[WasmType], indirect: bool) -> (TokenStream, TokenStream) {
        let args: Vec<Ident> = (0..params.len())
            .map(|index| format_ident!("__a{index}"))
            .collect();
        let types = params.iter().copied().map(core_type);
        let names = self.call.params.iter().map(|param| &param.rust);
        let rust = self.call.params.iter().map(|param| &param.syn);
        let declared = quote!(#(#args: #types),*);
        let tuple = quote!((#(#rust,)*));
        let value = if indirect {
            quote!(unsafe { ::lydian::__rt::guest::load_args::<#tuple>(__a0 as *mut u8) })
        } else {
            let slots = args.iter().zip(params).map(|(arg, ty)| to_slot(arg, *ty));
            quote!(unsafe { ::lydian::__rt::guest::lift_args::<#tuple>(&[#(#slots),*]) })
        };
        (declared, quote!(let (#(#names,)*) = #value;))
    }

    /// Under the component model's own name for it, `cm32p2||read`, never a bare `read`: an exported symbol is one for the
    /// whole program, and would take the place of libc's.
    fn synchronous(&self, run: &TokenStream, owns: bool) -> TokenStream {
        let sig = self
            .world
            .resolve
            .wasm_signature(AbiVariant::GuestExport, self.function);
        let (declared, lift) = self.lifted(&sig.params, sig.indirect_params);
        let name = self.core_name(Mangling::Standard32);
        let (result, back) = match (&self.call.output, sig.retptr, sig.results.first()) {
            (Output::Value(_, ty), true, _) => (
                quote!(-> *mut u8),
                quote! {
                    const WORDS: usize = ::lydian::__rt::guest::words::<#ty>();
                    static AREA: ::lydian::__rt::guest::Area<WORDS> = ::lydian::__rt::guest::Area::new();
                    AREA.store(__result)
                },
            ),
            (Output::Value(..), false, Some(core)) => {
                let ty = core_type(*core);
                let value = from_slot(&quote!(::lydian::__rt::guest::lower_one(__result)), *core);
                (quote!(-> #ty), value)
            }
            _ => (TokenStream::new(), quote!(let () = __result;)),
        };
        let ty = output_type(&self.call.output);
        let post = (owns && sig.retptr).then(|| {
            let name = format!("{name}_post");
            quote! {
                #[unsafe(export_name = #name)]
                unsafe extern "C" fn __post_return(__at: *mut u8) {
                    unsafe { ::lydian::__rt::guest::free::<#ty>(__at) }
                }
            }
        });
        quote! {
            const _: () = {
                #[unsafe(export_name = #name)]
                unsafe extern "C" fn __export(#declared) #result {
                    ::lydian::__rt::guest::start();
                    #lift
                    let __result: #ty = #run;
                    #back
                }
                #post
            };
        }
    }

    fn asynchronous(&self, run: &TokenStream) -> TokenStream {
        let sig = self
            .world
            .resolve
            .wasm_signature(AbiVariant::GuestExportAsync, self.function);
        let (declared, lift) = self.lifted(&sig.params, sig.indirect_params);
        // The standard's names do not reach here yet; the brackets keep these from meeting a symbol of C's.
        let plain = self.core_name(Mangling::Legacy);
        let (name, callback) = (
            format!("[async-lift]{plain}"),
            format!("[callback][async-lift]{plain}"),
        );
        let body = match &self.call.output {
            Output::Stream(stream) => self.stream(stream, run),
            _ => {
                let ty = output_type(&self.call.output);
                let (import, give) = self.task_return(&ty);
                quote! {
                    #import
                    let __cancel = ::lydian::__rt::guest::Cancel::new();
                    let __result: #ty = #run;
                    #give
                    __cancel.forget();
                }
            }
        };
        quote! {
            const _: () = {
                #[unsafe(export_name = #name)]
                unsafe extern "C" fn __export(#declared) -> i32 {
                    ::lydian::__rt::guest::start();
                    #lift
                    ::lydian::__rt::guest::start_task(async move { #body })
                }
                #[unsafe(export_name = #callback)]
                unsafe extern "C" fn __callback(__event0: u32, __event1: u32, __event2: u32) -> u32 {
                    unsafe { ::lydian::__rt::guest::callback(__event0, __event1, __event2) }
                }
            };
        }
    }

    /// The import that takes the result, and the statement that gives it `__result`.
    fn task_return(&self, ty: &TokenStream) -> (TokenStream, TokenStream) {
        let interface = self.class.map(|_| self.key);
        let (module, name, sig) =
            self.function
                .task_return_import(&self.world.resolve, interface, Mangling::Legacy);
        let types: Vec<TokenStream> = sig.params.iter().copied().map(core_type).collect();
        let import = quote! {
            #[link(wasm_import_module = #module)]
            unsafe extern "C" {
                #[link_name = #name]
                fn __task_return(#(_: #types),*);
            }
        };
        let give = if sig.indirect_params {
            quote! {
                unsafe {
                    ::lydian::__rt::guest::with_stored(__result, |__at| __task_return(__at as _));
                }
            }
        } else {
            let count = sig.params.len();
            let slots = sig
                .params
                .iter()
                .enumerate()
                .map(|(index, core)| from_slot(&quote!(__slots[#index]), *core));
            quote! {
                unsafe {
                    ::lydian::__rt::guest::with_lowered::<#ty, #count>(__result, |__slots| {
                        let _ = __slots;
                        __task_return(#(#slots),*)
                    });
                }
            }
        };
        (import, give)
    }

    /// Hands out the readable end, then feeds the other until the source or the reader ends.
    fn stream(&self, stream: &Stream, run: &TokenStream) -> TokenStream {
        let item = &stream.syn;
        // No method streams.
        let module = "[export]$root";
        let function = &self.function.name;
        let names = |what: &str| format!("[{what}-0]{function}");
        let (new, cancel_write, cancel_read) = (
            names("stream-new"),
            names("stream-cancel-write"),
            names("stream-cancel-read"),
        );
        let (drop_writable, drop_readable) =
            (names("stream-drop-writable"), names("stream-drop-readable"));
        let write = format!("[async-lower]{}", names("stream-write"));
        let read = format!("[async-lower]{}", names("stream-read"));
        let (import, give) = self.task_return(&quote!(u32));
        let source = match stream.form {
            StreamForm::Ours => quote!(#run),
            StreamForm::ImplStream => quote!(::lydian::Stream::new(#run)),
            StreamForm::ImplIterator => quote!(::lydian::Stream::from_iter(#run)),
        };
        quote! {
            #import
            mod __intrinsics {
                #[link(wasm_import_module = #module)]
                unsafe extern "C" {
                    #[link_name = #new]
                    pub(super) fn new() -> u64;
                    #[link_name = #write]
                    pub(super) fn write(stream: u32, items: *const u8, count: usize) -> u32;
                    #[link_name = #read]
                    pub(super) fn read(stream: u32, items: *mut u8, count: usize) -> u32;
                    #[link_name = #cancel_write]
                    pub(super) fn cancel_write(stream: u32) -> u32;
                    #[link_name = #cancel_read]
                    pub(super) fn cancel_read(stream: u32) -> u32;
                    #[link_name = #drop_writable]
                    pub(super) fn drop_writable(stream: u32);
                    #[link_name = #drop_readable]
                    pub(super) fn drop_readable(stream: u32);
                }
            }
            static VTABLE: ::lydian::__rt::guest::StreamVtable<#item> = ::lydian::__rt::guest::StreamVtable {
                layout: ::lydian::__rt::guest::layout::<#item>(),
                lower: ::lydian::__rt::guest::lowering::<#item>(),
                lift: ::lydian::__rt::guest::lifting::<#item>(),
                dealloc_lists: ::lydian::__rt::guest::freeing::<#item>(),
                new: __intrinsics::new,
                start_write: __intrinsics::write,
                start_read: __intrinsics::read,
                cancel_write: __intrinsics::cancel_write,
                cancel_read: __intrinsics::cancel_read,
                drop_writable: __intrinsics::drop_writable,
                drop_readable: __intrinsics::drop_readable,
            };
            let __cancel = ::lydian::__rt::guest::Cancel::new();
            let __source: ::lydian::Stream<#item> = #source;
            let (__writer, __result) = unsafe { ::lydian::__rt::guest::new_stream(&VTABLE) };
            #give
            __cancel.forget();
            ::lydian::__rt::guest::feed(__writer, __source).await;
        }
    }
}

/// The Rust type of a result, `()` for none.
pub(crate) fn output_type(output: &Output) -> TokenStream {
    match output {
        Output::None => quote!(()),
        Output::Value(_, ty) => quote!(#ty),
        Output::Stream(stream) => {
            let item = &stream.syn;
            quote!(::lydian::Stream<#item>)
        }
    }
}

fn core_type(core: WasmType) -> TokenStream {
    match core {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => quote!(i32),
        WasmType::I64 | WasmType::PointerOrI64 => quote!(i64),
        WasmType::F32 => quote!(f32),
        WasmType::F64 => quote!(f64),
    }
}

/// A core value as the 64 bits that values are lifted from.
fn to_slot(arg: &Ident, core: WasmType) -> TokenStream {
    match core {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => quote!(#arg as u32 as u64),
        WasmType::I64 | WasmType::PointerOrI64 => quote!(#arg as u64),
        WasmType::F32 => quote!(#arg.to_bits() as u64),
        WasmType::F64 => quote!(#arg.to_bits()),
    }
}

fn from_slot(slot: &TokenStream, core: WasmType) -> TokenStream {
    match core {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => quote!(#slot as u32 as i32),
        WasmType::I64 | WasmType::PointerOrI64 => quote!(#slot as i64),
        WasmType::F32 => quote!(f32::from_bits(#slot as u32)),
        WasmType::F64 => quote!(f64::from_bits(#slot)),
    }
}
