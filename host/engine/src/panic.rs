//! A guest's panic, in its own words.
//!
//! Rust tells of a panic on stderr and then traps, so the trap itself says only that something was
//! unreachable. What was told is found in what the guest wrote last.

/// What is kept of the guest's stderr: a panic's message is near its end.
const KEPT_BYTES: usize = 8 << 10;

/// The newest of what a guest wrote to stderr, made safe to show.
#[derive(Debug, Default)]
pub(crate) struct LastWords(String);

impl LastWords {
    pub(crate) fn hear(&mut self, text: &str) {
        self.0.push_str(&text[before_the_end(text)..]);
        // Seldom, so that many short writes do not each move the rest.
        if self.0.len() > 2 * KEPT_BYTES {
            self.0.drain(..before_the_end(&self.0));
        }
    }

    /// What was written before belongs to another call.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }

    /// `at src/lib.rs:4:5: index out of bounds`, when the guest panicked.
    pub(crate) fn panic(&self) -> Option<String> {
        let (before, told) = self.0.rsplit_once(" panicked at ")?;
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

/// Where what is kept of a text begins: a long write must not leave its memory here.
fn before_the_end(text: &str) -> usize {
    text.ceil_char_boundary(text.len().saturating_sub(KEPT_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panic(text: &str) -> Option<String> {
        let mut words = LastWords::default();
        text.split_inclusive(' ').for_each(|part| words.hear(part));
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
    fn little_is_kept_of_much() {
        let mut words = LastWords::default();
        words.hear(&"ß\n".repeat(1 << 20));
        for _ in 0..10_000 {
            words.hear("some more\n");
        }
        assert!(
            words.0.capacity() < 8 * KEPT_BYTES,
            "{}",
            words.0.capacity()
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
    }

    /// However much was written before; and nothing of another call's.
    #[test]
    fn only_the_newest_is_kept() {
        let mut words = LastWords::default();
        for _ in 0..100_000 {
            words.hear("ö x");
        }
        assert!(words.0.len() <= 3 * KEPT_BYTES);
        words.hear("\nthread 'main' panicked at a.rs:1:1:\nno\n");
        assert_eq!(words.panic().as_deref(), Some("at a.rs:1:1: no"));
        words.forget();
        assert_eq!(words.panic(), None);
    }
}
