//! A guest's panic, in its own words.
//!
//! Rust tells of a panic on stderr and then traps, so the trap itself says only that something was
//! unreachable. What was told is found in what the guest wrote last.

/// What is kept of the guest's stderr: a panic's message is near its end.
const KEPT_BYTES: usize = 8 << 10;

/// The newest of what a guest wrote to stderr.
#[derive(Debug, Default)]
pub(crate) struct LastWords(Vec<u8>);

impl LastWords {
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let over = self.0.len().saturating_sub(KEPT_BYTES);
        self.0.drain(..over);
    }

    /// `at src/lib.rs:4:5: index out of bounds`, when the guest panicked.
    pub(crate) fn panic(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.0);
        let (before, told) = text.rsplit_once(" panicked at ")?;
        // The whole line is `thread 'main' panicked at FILE:LINE:COLUMN:`, since Rust 1.88 with a number in it.
        if !before.lines().next_back()?.starts_with("thread '") {
            return None;
        }
        let (place, rest) = told.split_once(":\n")?;
        let end = rest.find("\nnote: ").unwrap_or(rest.len());
        let message = rest[..end].trim_end();
        (!place.contains('\n') && !message.is_empty()).then(|| format!("at {place}: {message}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panic(text: &str) -> Option<String> {
        let mut words = LastWords::default();
        text.as_bytes().chunks(7).for_each(|part| words.hear(part));
        words.panic()
    }

    #[test]
    fn a_panic_is_told_with_its_place() {
        let text = "before\n\nthread '<unnamed>' (1) panicked at src/lib.rs:4:5:\nleft: 1\nright: 2\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n";
        assert_eq!(
            panic(text).as_deref(),
            Some("at src/lib.rs:4:5: left: 1\nright: 2")
        );
    }

    #[test]
    fn other_words_are_no_panic() {
        for text in [
            "",
            "it panicked at noon:\nwell\n",
            "thread 'a' panicked at x",
        ] {
            assert_eq!(panic(text), None, "{text}");
        }
        assert_eq!(panic(&"x".repeat(100_000)), None);
    }
}
