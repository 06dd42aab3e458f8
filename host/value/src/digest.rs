//! The name of a blob: the BLAKE3 hash of its bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A BLAKE3 hash, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A text or byte string that is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 hex digits (32 bytes), found {found} {unit}")]
pub struct DigestError {
    found: usize,
    unit: &'static str,
}

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The digest whose raw form these bytes are.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw form.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 12 hex digits: enough for a person to tell blobs apart.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(12);
        text
    }
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl TryFrom<&[u8]> for Digest {
    type Error = DigestError;

    fn try_from(bytes: &[u8]) -> Result<Self, DigestError> {
        match bytes.try_into() {
            Ok(raw) => Ok(Self(raw)),
            Err(_) => Err(DigestError {
                found: bytes.len(),
                unit: "bytes",
            }),
        }
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match blake3::Hash::from_hex(text) {
            Ok(hash) => Ok(hash.into()),
            Err(_) if text.len() == 64 => Err(DigestError {
                found: 64,
                unit: "other characters",
            }),
            Err(_) => Err(DigestError {
                found: text.len(),
                unit: "characters",
            }),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text form is what people paste, so it must come back as the same digest.
    #[test]
    fn text_reads_back_as_the_same_digest() {
        let digest = Digest::of(b"lydian");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(Digest::try_from(&digest.as_bytes()[..]), Ok(digest));
        assert!(digest.to_string().starts_with(&digest.short()));
        assert_eq!(digest.short().len(), 12);
    }

    /// A wrong digest says what a right one looks like.
    #[test]
    fn other_texts_are_refused_with_what_was_expected() {
        let error = "abc".parse::<Digest>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "a digest is 64 hex digits (32 bytes), found 3 characters"
        );
        assert!("g".repeat(64).parse::<Digest>().is_err());
        assert!(Digest::try_from(&[0u8; 31][..]).is_err());
    }
}
