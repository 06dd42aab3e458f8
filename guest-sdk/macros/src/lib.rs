//! The attributes of the guest SDK; what they mean is written in the crate `lydian`, which is what programs use.

mod app;
mod clients;
mod entrypoint;
mod exports;
mod import;
mod manifest;
mod model;
mod names;
mod settings;
mod siblings;
mod stubs;
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
///
/// ```ignore
/// #[lydian::app(timeout = "30s")]
/// mod app {
///     #[lydian::function]
///     pub fn square(x: u64) -> u64 { x * x }
/// }
/// ```
///
/// What it makes of that, beside the module as it stands:
///
/// ```ignore
/// mod app {
///     pub fn square(x: u64) -> u64 { x * x }
///
///     pub enum square {}                               // a name for the function, called from outside
///     impl square {
///         pub fn local(x: u64) -> u64 { … }
///         pub async fn remote(x: u64) -> lydian::Result<u64> { … }
///         pub fn map<I>(inputs: I) -> lydian::Map<…> { … }
///         …
///     }
///     pub const APP: lydian::App = …;                  // for `Backend::native().with_app`
///
///     #[cfg(target_family = "wasm")]
///     const _: () = { … };                             // the export, the interface, the manifest
/// }
/// ```
///
/// | key | |
/// | --- | --- |
/// | `name = "sweep"` | the app's name; else the crate's |
/// | `mounts = { "./assets" = "/assets" }` | directories of the crate that are shipped with it, read-only |
/// | any of [`function`](macro@function)'s | for all functions of the app that do not say otherwise |
///
/// A crate may have several of these modules: one app of many services. Names are unique across them.
#[proc_macro_attribute]
pub fn app(attribute: TokenStream, item: TokenStream) -> TokenStream {
    run(attribute, item, app::expand)
}

/// A `main` for the caller's machine, with typed arguments: `lydian run PATH::main 10`.
///
/// ```ignore
/// #[lydian::local_entrypoint]
/// async fn main(n: u64, greeting: Option<String>) -> lydian::Result<()> { … }
/// ```
///
/// becomes `fn main() -> ExitCode`, which reads the arguments of the process (in order, or `--greeting text`), runs the
/// body on threads of the SDK, and prints an error that comes back. Exit status: 0, 1 for an error, 2 for wrong
/// arguments; `--help` is made of the docs and the types. It may return `()` or a `Result` with any error that can be
/// shown. It is a program's `main` in `src/main.rs` or `src/bin/…`; under another name, call it from there.
#[proc_macro_attribute]
pub fn local_entrypoint(attribute: TokenStream, item: TokenStream) -> TokenStream {
    run(attribute, item, entrypoint::expand)
}

/// A typed client of another app, made from its WIT.
///
/// ```ignore
/// lydian::import! {
///     /// The app `square`.
///     pub mod squares {
///         app = "square",
///         wit = "package example:square; world square { export square: func(x: u64) -> result<u64, string>; }",
///     }
/// }
///
/// let n: Result<u64, String> = squares::square::remote(4).await?;
/// ```
///
/// In the place of `wit` stands `path = "wit/square.wit"` (a file or a directory, from the crate's `Cargo.toml` on), and
/// `world = "…"` where there are several; `lydian app wit square` prints what to put there. Each exported function gets
/// `remote`, `map`, `spawn` and their relatives, those of an interface in a module of its name; records, variants and
/// enums become structs and enums. The types are compared with the app's at the first call. Works in guests, too. A function
/// that streams is there by its name only: its use is refused, with what to do instead.
#[proc_macro]
pub fn import(input: TokenStream) -> TokenStream {
    import::expand(input.into())
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}

/// An attribute that an app takes off its own items; whoever expands it stands elsewhere.
fn misplaced(name: &str, item: TokenStream) -> TokenStream {
    let text = format!(
        "`#[lydian::{name}]` belongs directly inside a module with `#[lydian::app]`, not in a module within it, and is written in full with `lydian::`"
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
    /// A function of the app: `pub fn`, with parameters and a result that have a form in WIT.
    ///
    /// | key | |
    /// | --- | --- |
    /// | `timeout = "10s"`, `cpu = "5s"` | wall and processor time |
    /// | `memory = "512MiB"`, `payload`, `host_call_bytes`, `output`, `output_rate` | bytes |
    /// | `handles = 100`, `open_files = 10`, `fan_out = 1000` | counts: resources, files, calls one call may lead to |
    /// | `network = ["api.example.org:443"]` | addresses it may connect to |
    /// | `env = { "LEVEL" = "info" }`, `args = ["-v"]` | what it is told |
    /// | `volumes`, `secrets`, `gpu`, `retries`, `scaling`, `cache` | recorded; refused at deploy until a later release |
    ///
    /// What is not set is the node's. Durations and sizes are checked at compile time.
    function;
    /// A struct that is made once and serves many calls. Its `impl` has one [`enter`](macro@enter), any number of
    /// [`method`](macro@method)s, and perhaps an [`exit`](macro@exit).
    ///
    /// | key | |
    /// | --- | --- |
    /// | `max_idle = "60s"` | how long an instance is kept without a call |
    /// | `max_calls = 100`, `max_age = "1h"` | after how many calls, and how long, it is left |
    /// | limits and grants | as for a [`function`](macro@function), for all methods |
    /// | `snapshot`, `parameters` | recorded; refused at deploy until a later release |
    class;
    /// What makes a class's instance: `fn load() -> Self`, or `-> Result<Self, E>` with any error that can be shown;
    /// `async` or not. It runs once in each sandbox, before its first call.
    enter;
    /// What is done before an instance goes in good order: `fn leave(self)`, `&self` or `&mut self`.
    exit;
    /// A function of a class: `fn predict(&self, …)` or `&mut self`. Called from outside as `model#predict`.
    method;
    /// A function behind a web address: `method = "POST"`, `path = "/parse"`. Recorded; refused at deploy until a later
    /// release.
    endpoint;
    /// A function that runs by itself: `cron = "0 6 * * *"` or `period = "1h"`, and `tz`, `missed`, `overlap`. Recorded;
    /// refused at deploy until a later release.
    schedule;
    /// A step that makes files when the app is deployed. Recorded; refused at deploy until a later release.
    build;
}
