//! Why an upload was refused, and what its author can do about it.

/// The first thing found wrong with an upload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No bytes at all.
    #[error("the component is empty")]
    Empty,
    /// WebAssembly, but the inner format.
    #[error("this is a core module, not a component")]
    CoreModule,
    /// Compiled code, wasmtime's own included: it could do anything, so it is never loaded.
    #[error("this is native code ({format}), not a component")]
    NativeCode { format: &'static str },
    /// The text format.
    #[error("this is WebAssembly text, not a component")]
    Text,
    /// Something else altogether.
    #[error("this is {found}, not a component")]
    NotWasm { found: &'static str },
    /// A WebAssembly binary of a kind nobody here knows.
    #[error(
        "the WebAssembly version {version} and layer {layer} are neither a component nor a core module"
    )]
    UnknownVersion { version: u16, layer: u16 },
    /// More bytes than the node takes.
    #[error("the component has {size} bytes, more than the limit of {limit}")]
    TooLarge { size: u64, limit: u64 },
    /// The bytes stop in the middle of something.
    #[error("the component is cut off: it ends at byte {size}, in the middle of a section")]
    Truncated { size: usize },
    /// The bytes are there but make no sense.
    #[error("the component is malformed at byte {offset}: {message}")]
    Malformed { offset: usize, message: String },
    /// A cap is passed.
    #[error("the component has {found} {what}, more than the limit of {limit}")]
    TooMany {
        what: &'static str,
        found: u64,
        limit: u64,
    },
    /// A feature that no node offers.
    #[error("the component needs {feature}, which no sandbox has")]
    Unsupported { feature: &'static str },
}

impl Error {
    /// What the author can do, as one sentence; `None` where the message says it all.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Empty | Self::Truncated { .. } => {
                "build or copy the component again: the file is not whole"
            }
            Self::CoreModule => {
                "build with `cargo build --target wasm32-wasip2`, or wrap the module with `wasm-tools component new`"
            }
            Self::NativeCode { .. } => {
                "give the `.wasm` component itself: each node compiles it on its own"
            }
            Self::Text => "turn it into a binary with `wasm-tools parse file.wat -o file.wasm`",
            Self::NotWasm { .. } => {
                "give the `.wasm` file that `cargo build --target wasm32-wasip2` writes"
            }
            Self::UnknownVersion { .. } => {
                "build it with a newer toolchain, or with one that is not experimental"
            }
            Self::TooLarge { .. } => {
                "build with `--release`, strip it with `wasm-tools strip`, and move large data out of the component"
            }
            Self::TooMany { .. } => "split the component into several",
            Self::Unsupported { feature } if feature.contains("shared") => {
                "build without threads (for Rust: a target other than `wasm32-wasip1-threads`)"
            }
            Self::Unsupported { .. } => "build for 32-bit WebAssembly",
            Self::Malformed { .. } => "check it with `wasm-tools validate --features all`",
        })
    }
}
