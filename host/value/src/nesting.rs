//! How deep the types of a component's section are nested, found without recursion.
//!
//! A component or instance type holds declarations, which may be types again, at three bytes a level. `wasmparser` reads them
//! recursively before any validation, so a few megabytes of them overflow the stack of whoever reads the section, and with it
//! end the process. This walk goes down by hand and gives the leaves, which cannot nest, to `wasmparser`. Whoever has untrusted
//! bytes asks here first.

use wasmparser::{BinaryReader, BinaryReaderError, ComponentType, ComponentTypeDeclaration};

/// Leading bytes of the component model's binary format (`Binary.md`, "Type Definitions").
const COMPONENT_TYPE: u8 = 0x41;
const INSTANCE_TYPE: u8 = 0x42;
const DECLARED_TYPE: u8 = 0x01;

/// What [`type_nesting`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeNesting {
    /// All is within the cap; so many types there are, in all levels.
    Within { types: u64 },
    /// Some type lies deeper than the cap.
    TooDeep { depth: u64 },
    /// The bytes make no sense at `offset`.
    Malformed { offset: usize, message: String },
}

/// Walks the contents of a component type section; `offset` is where they lie in the component.
///
/// Time is linear in the bytes, memory in `cap`.
#[must_use]
pub fn type_nesting(section: &[u8], offset: usize, cap: u64) -> TypeNesting {
    walk(section, offset, cap).unwrap_or_else(|error| TypeNesting::Malformed {
        offset: error.offset(),
        message: error.message().to_owned(),
    })
}

fn walk(section: &[u8], offset: usize, cap: u64) -> Result<TypeNesting, BinaryReaderError> {
    let mut reader = BinaryReader::new(section, offset);
    // How many declarations are still to come, at each level that is open.
    let mut open = vec![reader.read_var_u32()?];
    let mut types = 0;
    while let Some(left) = open.last_mut() {
        if *left == 0 {
            open.pop();
            continue;
        }
        *left -= 1;
        if open.len() > 1 && !take(&mut reader, &[DECLARED_TYPE])? {
            reader.read::<ComponentTypeDeclaration<'_>>()?;
            continue;
        }
        types += 1;
        if take(&mut reader, &[COMPONENT_TYPE, INSTANCE_TYPE])? {
            open.push(reader.read_var_u32()?);
        } else {
            reader.read::<ComponentType<'_>>()?;
        }
        let depth = open.len() as u64;
        if depth > cap {
            return Ok(TypeNesting::TooDeep { depth });
        }
    }
    Ok(TypeNesting::Within { types })
}

/// Steps over the next byte if it is one of `expected`.
fn take(reader: &mut BinaryReader<'_>, expected: &[u8]) -> Result<bool, BinaryReaderError> {
    let mut ahead = reader.clone();
    let found = expected.contains(&ahead.read_u8()?);
    if found {
        *reader = ahead;
    }
    Ok(found)
}
