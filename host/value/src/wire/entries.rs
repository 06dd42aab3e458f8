//! The one order that a map's entries have: that of their keys' bytes.
//!
//! A map has no order of its own: a tree has one, a hash table another, a guest its own. Entries
//! are written as they come, and put in order afterwards, in place when they are already.

/// The entries of one map while they are written to the end of a buffer.
#[derive(Debug)]
pub struct Entries {
    start: usize,
    /// Where each entry's key ends, and where its value does, from `start`. Half as large as
    /// pointers: maps of small keys have many entries.
    written: Vec<[u32; 2]>,
    key_end: u32,
    /// More bytes than any value may have; it is refused where the whole is bounded.
    too_large: bool,
}

impl Entries {
    /// Entries that begin at `start`, the length of the buffer.
    pub fn new(start: usize) -> Self {
        Self {
            start,
            written: Vec::new(),
            key_end: 0,
            too_large: false,
        }
    }

    fn offset(&mut self, end: usize) -> u32 {
        let offset = u32::try_from(end.saturating_sub(self.start));
        self.too_large |= offset.is_err();
        offset.unwrap_or(u32::MAX)
    }

    /// A key was written; the buffer ends at `end` now.
    pub fn key_ends(&mut self, end: usize) {
        self.key_end = self.offset(end);
    }

    /// Its value was written.
    pub fn ends(&mut self, end: usize) {
        let end = self.offset(end);
        self.written.push([self.key_end, end]);
    }

    /// Puts the entries, which `out` ends with, in order. Returns the index of an entry whose key
    /// was there before, if one was.
    #[must_use]
    pub fn sort(self, out: &mut [u8]) -> Option<usize> {
        if self.too_large {
            return None;
        }
        let bytes = &mut out[self.start..];
        let entries = Spans(&self.written);
        let mut pairs = 1..self.written.len();
        if pairs.all(|index| entries.key(index - 1, bytes) < entries.key(index, bytes)) {
            return None;
        }
        let mut order: Vec<u32> = (0u32..).take(self.written.len()).collect();
        let key = |index: &u32| entries.key(*index as usize, bytes);
        // Of two equal keys the second is the one given twice.
        order.sort_unstable_by(|a, b| key(a).cmp(key(b)).then(a.cmp(b)));
        let twice = order.windows(2).find(|pair| key(&pair[0]) == key(&pair[1]));
        if let Some(pair) = twice {
            return Some(pair[1] as usize);
        }
        let mut sorted = Vec::with_capacity(bytes.len());
        for index in order {
            sorted.extend_from_slice(entries.entry(index as usize, bytes));
        }
        bytes.copy_from_slice(&sorted);
        None
    }
}

/// Where entries lie in the bytes of a map.
struct Spans<'a>(&'a [[u32; 2]]);

impl Spans<'_> {
    fn begin(&self, index: usize) -> usize {
        let before = index.checked_sub(1);
        before.map_or(0, |before| self.0[before][1] as usize)
    }

    fn key<'b>(&self, index: usize, bytes: &'b [u8]) -> &'b [u8] {
        &bytes[self.begin(index)..self.0[index][0] as usize]
    }

    fn entry<'b>(&self, index: usize, bytes: &'b [u8]) -> &'b [u8] {
        &bytes[self.begin(index)..self.0[index][1] as usize]
    }
}
