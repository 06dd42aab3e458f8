//! The macros of `lydian-client`, which re-exports and documents them.
//!
//! - [`derive@Wit`]: a Rust type as a WIT type ([`mod@derive`]);
//! - [`bindgen!`]: a typed client from WIT ([`mod@bindgen`]).
//!
//! Both refuse what WIT cannot say with a sentence at the place where it is written.

mod bindgen;
mod derive;
mod names;

use proc_macro::TokenStream;

/// Makes a struct or enum a WIT type, to be used in calls.
///
/// | Rust | WIT |
/// | --- | --- |
/// | `struct` with named fields | `record` |
/// | `struct` of `bool` fields with `#[wit(flags)]` | `flags` |
/// | `enum` without payloads | `enum` |
/// | `enum` with payloads | `variant`; several payloads of a case are a tuple |
///
/// Names become kebab-case: `max_depth` is `max-depth`, `TooLarge` is `too-large`. Another name is set
/// with `#[wit(name = "…")]` on a type, field or case. Generic types take parameters that are `Wit`.
///
/// ```ignore
/// use lydian_client::Wit;
///
/// #[derive(Wit)]
/// struct Config {
///     depth: u32,
///     rate: f64,
///     on_error: Policy,
/// }
///
/// #[derive(Wit)]
/// enum Policy {
///     Stop,
///     Retry(u32),
/// }
///
/// assert_eq!(Config::ty().shape().to_string(), "record { depth: u32, rate: f64, on-error: policy }");
/// ```
///
/// `Config` expands to the following:
///
/// ```ignore
/// # struct Config { depth: u32, rate: f64 }
/// use lydian_client::__private::{Error, Reader, Type, Wit};
///
/// impl Wit for Config {
///     fn ty() -> Type {
///         Type::record("config", [("depth", <u32 as Wit>::ty()), ("rate", <f64 as Wit>::ty())])
///     }
///     fn encode(&self, out: &mut Vec<u8>) {
///         self.depth.encode(out);
///         self.rate.encode(out);
///     }
///     fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
///         reader.nested(|r| Ok(Self { depth: r.field("depth")?, rate: r.field("rate")? }))
///     }
/// }
/// ```
#[proc_macro_derive(Wit, attributes(wit))]
pub fn derive_wit(item: TokenStream) -> TokenStream {
    let item = syn::parse_macro_input!(item as syn::DeriveInput);
    derive::expand(&item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a typed client from WIT: Rust types for the WIT types, and a struct with one async method for
/// each function that the world exports.
///
/// # Options
/// - `path: "wit"`: a WIT file, or a directory with its `deps`, relative to `Cargo.toml`;
/// - `inline: "package …"`: WIT in place of a path, or beside one whose packages it uses;
/// - `world: "resizer"`: which world; may be left out when there is one.
///
/// `bindgen!("wit")` is `bindgen!({ path: "wit" })`.
///
/// # What it makes
/// A world `resizer` becomes `struct Resizer`, bound to an app by `Resizer::of_app(&client, "img")` or to
/// a component by `of_component`. Binding compares every function's type with the WIT, so a later call
/// cannot meet another one. For each exported function `thumbnail`:
///
/// - `thumbnail(…)` calls it; a `stream<T>` result is a `ResultStream<T>`;
/// - `map_thumbnail(inputs)` calls it for many inputs: of one parameter, or tuples of several;
/// - `spawn_thumbnail(…)` records a call;
/// - `thumbnail_function()` is the untyped [`Function`], for everything else.
///
/// Each interface is a module with its types, and a struct that is a field of the world's. A resource is
/// a struct whose methods are its methods; it lives in a session, opened by `session()`.
///
/// ```ignore
/// mod math {
///     lydian_client::bindgen!({
///         inline: "
///             package demo:math;
///
///             world math {
///                 /// The square of `x`.
///                 export square: func(x: u64) -> u64;
///                 export shapes;
///             }
///
///             interface shapes {
///                 record point { x: f64, y: f64 }
///                 centre: func(of: list<point>) -> option<point>;
///             }
///         ",
///     });
/// }
///
/// # async fn example(client: lydian_client::Client) -> lydian_client::Result<()> {
/// use math::shapes::Point;
///
/// let math = math::Math::of_app(&client, "math").await?;
/// let sixteen: u64 = math.square(4).await?;
/// let squares: Vec<u64> = math.map_square(0..1000).await?;
/// let call = math.spawn_square(5).await?;
/// let centre: Option<Point> = math.shapes.centre(vec![Point { x: 1.0, y: 2.0 }]).await?;
/// # Ok(())
/// # }
/// ```
///
/// [`Function`]: https://docs.rs/lydian-client
#[proc_macro]
pub fn bindgen(options: TokenStream) -> TokenStream {
    let options = syn::parse_macro_input!(options as bindgen::Options);
    bindgen::expand(&options)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
