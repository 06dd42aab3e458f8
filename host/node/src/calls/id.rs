//! Call ids: `c` and 26 characters, sortable by time, and the way back to the call's slot.
//!
//! 128 bits: Unix milliseconds (48), the number of the call on this node (40), and bits that make ids of
//! different nodes and restarts differ (40). The number lets [`super::recent::Recent`] find a call without
//! a map.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Crockford's base 32: no `i`, `l`, `o`, `u`, so an id survives being read aloud.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const DIGITS: usize = 26;
const BITS: u64 = (1 << 40) - 1;

/// The id of a call; outlives the caller.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CallId(u128);

impl CallId {
    /// The number of the call on the node that made it.
    pub(crate) fn number(self) -> u64 {
        (self.0 >> 40) as u64 & BITS
    }

    /// When the call was made, in Unix milliseconds.
    #[cfg(test)]
    fn made_at_ms(self) -> u64 {
        (self.0 >> 80) as u64
    }
}

/// Makes ids that no other source of this or another node makes.
pub(crate) struct CallIds {
    next: AtomicU64,
    seed: u64,
}

impl CallIds {
    /// # Errors
    /// The machine gives no random bytes.
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed)?;
        Ok(Self {
            next: AtomicU64::new(0),
            seed: u64::from_le_bytes(seed),
        })
    }

    pub(crate) fn next(&self, now_ms: u64) -> CallId {
        let number = self.next.fetch_add(1, Ordering::Relaxed) & BITS;
        let salt = mix(self.seed ^ number) & BITS;
        CallId(u128::from(now_ms) << 80 | u128::from(number) << 40 | u128::from(salt))
    }

    /// How many ids were made.
    pub(crate) fn made(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }
}

/// The finaliser of splitmix64: spreads a counter over all bits.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'c'; DIGITS + 1];
        let mut rest = self.0;
        for place in text.iter_mut().skip(1).rev() {
            *place = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
        f.write_str(str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a call id.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidCallId;

impl FromStr for CallId {
    type Err = InvalidCallId;

    fn from_str(text: &str) -> Result<Self, InvalidCallId> {
        let digits = text.strip_prefix('c').ok_or(InvalidCallId)?.as_bytes();
        // 26 digits hold 130 bits; the first may only carry three.
        if digits.len() != DIGITS || digits[0] > b'7' {
            return Err(InvalidCallId);
        }
        let mut value = 0u128;
        for digit in digits {
            let place = ALPHABET
                .iter()
                .position(|known| known == digit)
                .ok_or(InvalidCallId)?;
            value = value << 5 | place as u128;
        }
        Ok(Self(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids are copied from terminals and sorted in listings.
    #[test]
    fn ids_read_back_and_sort_by_time() {
        let ids = CallIds::new().unwrap();
        let (first, second) = (ids.next(1_700_000_000_000), ids.next(1_700_000_000_001));
        assert_eq!(first.to_string().parse(), Ok(first));
        assert_eq!(first.made_at_ms(), 1_700_000_000_000);
        assert_eq!((first.number(), second.number()), (0, 1));
        assert!(first.to_string() < second.to_string());
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in [
            "",
            "c",
            "x0000000000000000000000000",
            "cu000000000000000000000000u",
            "c8zzzzzzzzzzzzzzzzzzzzzzzzz",
        ] {
            assert_eq!(text.parse::<CallId>(), Err(InvalidCallId), "{text}");
        }
    }
}
