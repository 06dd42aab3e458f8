//! Streams that a program cannot take: their `remote` is there, and its use is told why.
//!
//! The bound on it holds for nothing. `for<'a>` puts the question off until the function is used.

/// The bound on an imported function that streams.
///
/// ```compile_fail,E0277
/// lydian::import! {
///     mod other { app = "other", wit = "package a:b; world w { export count: async func(n: u32) -> stream<u32>; }" }
/// }
///
/// async fn read() -> lydian::Result<()> {
///     let mut items: lydian::Stream<lydian::Result<u32>> = other::count::remote(3).await?;
///     items.next().await;
///     Ok(())
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "an imported function that streams has no typed client",
    label = "it cannot be called from here",
    note = "let it return a `Vec`, or read it with `Function::stream` of the crate `lydian-client`"
)]
pub trait ImportedStreams {
    /// Its items.
    fn read<T>() -> T;
}

/// The bound on an app's own function that streams, inside a guest.
#[diagnostic::on_unimplemented(
    message = "a function cannot read what another function streams",
    label = "it can only be called from outside, or as a plain call with `local`",
    note = "let it return a `Vec`, or leave out `remote` and call the Rust function itself"
)]
pub trait StreamsInside {
    /// Its items.
    fn read<T>() -> T;
}
