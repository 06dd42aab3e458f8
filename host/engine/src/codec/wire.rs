//! Reading wire bytes. Writing them is `Vec::extend_from_slice` and [`push_len`].

/// The bytes are not the arguments of the function. A node has checked them before; this is the last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the encoded arguments end too early")]
    Truncated,
    #[error("the encoded arguments have {0} bytes too many")]
    Trailing(usize),
    #[error("a length or case number is not in its shortest form or out of range")]
    Length,
    #[error("a string is not UTF-8")]
    Utf8,
    #[error("a value is out of range for its type")]
    Range,
    #[error("handle {0} is not open in this session")]
    Handle(u32),
    #[error("a `stream`, `future` or `error-context` cannot be an argument")]
    Stream,
}

/// What is left of the bytes.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    pub(super) fn remaining(&self) -> usize {
        self.0.len()
    }

    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(Malformed::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, tail) = self.0.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.0 = tail;
        Ok(*head)
    }

    /// A length or case number: unsigned LEB128 of a `u32` in its shortest form.
    #[inline]
    pub(super) fn len(&mut self) -> Result<u32, Malformed> {
        match self.0.split_first() {
            Some((&byte, tail)) if byte < 0x80 => {
                self.0 = tail;
                Ok(byte.into())
            }
            _ => self.long_len(),
        }
    }

    fn long_len(&mut self) -> Result<u32, Malformed> {
        let mut value = 0u64;
        for index in 0..5 {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                let shortest = index == 0 || byte != 0;
                return u32::try_from(value)
                    .ok()
                    .filter(|_| shortest)
                    .ok_or(Malformed::Length);
            }
        }
        Err(Malformed::Length)
    }

    pub(super) fn finish(&self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed::Trailing(self.0.len()))
        }
    }
}

/// Appends a length or case number.
#[inline]
pub(super) fn push_len(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_back() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u32::MAX] {
            let mut bytes = Vec::new();
            push_len(&mut bytes, value);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.len(), Ok(value));
            assert_eq!(reader.finish(), Ok(()));
        }
    }

    /// One value has one spelling, so that equal arguments have equal digests.
    #[test]
    fn longer_spellings_are_refused() {
        for bytes in [
            &[0x80, 0x00][..],
            &[0xff, 0xff, 0xff, 0xff, 0x1f],
            &[0x80; 6],
        ] {
            assert_eq!(
                Reader::new(bytes).len(),
                Err(Malformed::Length),
                "{bytes:?}"
            );
        }
        assert_eq!(Reader::new(&[0x80]).len(), Err(Malformed::Truncated));
    }
}
