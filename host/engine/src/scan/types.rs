//! How deep the types of a section are nested, found without recursion.
//!
//! A component or instance type holds declarations, which may be types again, at three bytes a level. `wasmparser` reads them
//! recursively before any validation, so 100 MiB of them would overflow the stack of whoever reads the section. This walk goes
//! down by hand and gives the leaves, which cannot nest, to `wasmparser`.

use wasmparser::{BinaryReader, BinaryReaderError, ComponentType, ComponentTypeDeclaration};

/// Leading bytes of the component model's binary format (`Binary.md`, "Type Definitions").
const COMPONENT_TYPE: u8 = 0x41;
const INSTANCE_TYPE: u8 = 0x42;
const DECLARED_TYPE: u8 = 0x01;

/// What the walk found.
pub(super) enum Depth {
    /// The types it holds, in all levels.
    Within { types: u64 },
    /// Some type lies deeper than the cap.
    TooDeep { depth: u64 },
}

/// Walks the contents of a component type section; `offset` is where they lie in the component.
pub(super) fn depth(section: &[u8], offset: usize, cap: u64) -> Result<Depth, BinaryReaderError> {
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
            return Ok(Depth::TooDeep { depth });
        }
    }
    Ok(Depth::Within { types })
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
