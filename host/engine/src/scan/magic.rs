//! What kind of file the first bytes announce.

use super::Error;

/// `\0asm`, then the version and the layer as two little-endian `u16` (component model, `Binary.md`).
const WASM_MAGIC: &[u8] = b"\0asm";
const CORE_MODULE: (u16, u16) = (1, 0);
const COMPONENT: (u16, u16) = (13, 1);

/// Formats people upload by mistake, by their first bytes.
const OTHERS: &[(&[u8], &str)] = &[
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"#!", "a script"),
    (b"!<arch>", "a static library"),
];

const NATIVE: &[(&[u8], &str)] = &[
    (b"\x7fELF", "ELF, as in `.cwasm` files and Linux programs"),
    (b"\xcf\xfa\xed\xfe", "Mach-O"),
    (b"\xca\xfe\xba\xbe", "Mach-O"),
    (b"MZ", "a Windows program"),
];

/// Accepts the header of a component and nothing else.
pub(super) fn component(bytes: &[u8]) -> Result<(), Error> {
    if bytes.is_empty() {
        return Err(Error::Empty);
    }
    if let Some(format) = find(NATIVE, bytes) {
        return Err(Error::NativeCode { format });
    }
    if !bytes.starts_with(WASM_MAGIC) {
        return Err(not_wasm(bytes));
    }
    let Some(header) = bytes.get(4..8) else {
        return Err(Error::Truncated { size: bytes.len() });
    };
    let version = u16::from_le_bytes([header[0], header[1]]);
    let layer = u16::from_le_bytes([header[2], header[3]]);
    match (version, layer) {
        COMPONENT => Ok(()),
        CORE_MODULE => Err(Error::CoreModule),
        _ => Err(Error::UnknownVersion { version, layer }),
    }
}

fn not_wasm(bytes: &[u8]) -> Error {
    if WASM_MAGIC.starts_with(bytes) {
        return Error::Truncated { size: bytes.len() };
    }
    if let Some(found) = find(OTHERS, bytes) {
        return Error::NotWasm { found };
    }
    if is_text_format(bytes) {
        return Error::Text;
    }
    Error::NotWasm {
        found: "some other kind of file",
    }
}

fn find(table: &[(&[u8], &'static str)], bytes: &[u8]) -> Option<&'static str> {
    table
        .iter()
        .find(|(magic, _)| bytes.starts_with(magic))
        .map(|(_, name)| *name)
}

/// The text format starts with `(`, after space and comments: `;; …` to the end of the line, `(; … ;)` which nest. A block
/// comment starts with `(` too, so only line comments are stepped over.
fn is_text_format(bytes: &[u8]) -> bool {
    let mut rest = bytes.trim_ascii_start();
    while rest.starts_with(b";;") {
        let line = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(rest.len());
        rest = rest[line..].trim_ascii_start();
    }
    rest.starts_with(b"(")
}
