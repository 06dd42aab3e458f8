//! What an upload is, told from its bytes alone, before anything is built from them.
//!
//! Three questions, in this order, each answered with an error that says what to do:
//!
//! 1. **Is it a component?** Core modules, native code, WebAssembly text and archives are named as what they are.
//!    Native code never comes near the loader: only the engine's own artifacts do ([`crate::artifact`]).
//! 2. **Is it whole?** Every section header is read, so a cut-off upload is found without compiling it.
//! 3. **Is it within the caps?** What one instance would take from the pool is counted with nested components multiplied
//!    out: a hundred lines of component can ask for a million memories.
//!
//! Always true: time and memory are linear in the bytes, and nothing here recurses, so bytes can be as deep as they like.
//! A scanned component's type declarations are nested at most [`Caps::type_depth`] deep, which makes the recursive readers
//! of `wasmparser` safe to use on it.
//! Not done here: validation, which is the compile worker's ([`crate::compile`]); limits per call ([`crate::limits`]).

mod count;
mod error;
mod magic;

pub use count::Totals;
pub use error::Error;

use count::Walk;

use crate::config;

/// What a component may hold at most. Each cap guards something that would be paid before any per-call limit applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Bytes of the component.
    pub component_bytes: u64,
    /// Components and modules inside one another.
    pub component_depth: u64,
    /// Component and instance types inside one another.
    pub type_depth: u64,
    /// Core instances of one instance of the component, nested ones multiplied out.
    pub core_instances: u64,
    /// Component instances, multiplied out likewise.
    pub component_instances: u64,
    /// Linear memories, multiplied out likewise.
    pub memories: u64,
    /// Tables, multiplied out likewise.
    pub tables: u64,
    /// Elements a table may have from the start.
    pub table_elements: u64,
    /// Functions with a body, in all modules.
    pub functions: u64,
    /// Element segments, in all modules.
    pub element_segments: u64,
    /// Data segments, in all modules.
    pub data_segments: u64,
    /// Globals, in all modules.
    pub globals: u64,
    /// Types, in all modules and components.
    pub types: u64,
    /// Imports, of all modules and components.
    pub imports: u64,
    /// Exports, of all modules and components.
    pub exports: u64,
}

/// What the pool gives to one instance, and for the rest four times what the largest interpreters packed as components take
/// today (CPython with its libraries: 40 MiB, 40,000 functions), far below what would hurt a node.
impl Default for Caps {
    fn default() -> Self {
        Self {
            component_bytes: 100 << 20,
            component_depth: 16,
            type_depth: 64,
            core_instances: config::CORE_INSTANCES_PER_COMPONENT as u64,
            component_instances: 256,
            memories: config::MEMORIES_PER_COMPONENT as u64,
            tables: config::TABLES_PER_COMPONENT as u64,
            table_elements: config::TABLE_ELEMENTS as u64,
            functions: 200_000,
            element_segments: 20_000,
            data_segments: 100_000,
            globals: 100_000,
            types: 200_000,
            imports: 100_000,
            exports: 200_000,
        }
    }
}

/// Checks an upload and counts what one instance of it would take.
///
/// # Errors
/// [`Error`], in the order of the module's three questions; the first one found.
pub fn scan(bytes: &[u8], caps: &Caps) -> Result<Totals, Error> {
    let size = bytes.len() as u64;
    if size > caps.component_bytes {
        return Err(Error::TooLarge {
            size,
            limit: caps.component_bytes,
        });
    }
    magic::component(bytes)?;
    Walk::new(caps).run(bytes)
}

#[cfg(test)]
mod tests;
