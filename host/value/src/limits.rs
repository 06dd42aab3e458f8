//! How much one value may take: the bounds every encoder and decoder keeps.

/// Bounds on one value (all arguments of a call together count as one).
///
/// # Source
/// DESIGN section 6: payload 64 MiB each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How deep values may nest; the arguments themselves are at depth 1. At most [`Limits::MAX_DEPTH`] counts.
    pub depth: u32,
    /// Wire bytes, and the length of lists whose items take no bytes.
    pub bytes: usize,
    /// How many [`Value`](crate::Value)s one decoded value may consist of. A packed list or a string counts as one, so only
    /// trees of small values come near; wire bytes that are checked, printed or read as Rust types are not bound by it.
    pub values: usize,
}

impl Limits {
    /// Decoders recurse once per level, so a larger [`Limits::depth`] is taken as this: it fits any thread's stack.
    pub const MAX_DEPTH: u32 = 256;

    /// How long a value's text may be. Numbers and escapes take up to six times their wire bytes; a
    /// case or a field, a byte on the wire or none, takes its name.
    pub(crate) fn text_bytes(&self) -> usize {
        const PER_BYTE: usize = 8;
        const LEAST: usize = 1 << 20;
        self.bytes.saturating_mul(PER_BYTE).max(LEAST)
    }

    pub(crate) fn max_depth(&self) -> u32 {
        self.depth.min(Self::MAX_DEPTH)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // WIT has no recursive types; real interfaces stay under 20.
            depth: 64,
            bytes: 64 << 20,
            // 40 bytes each: 160 MiB for the largest tree.
            values: 4 << 20,
        }
    }
}
