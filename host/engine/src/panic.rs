//! A guest's panic, in its own words.
//!
//! Rust tells of a panic on stderr and then traps, so the trap itself says only that something unreachable was reached.
//! What was told is found in what the guest wrote last, and every caller learns it from the failure: who made one call as
//! well as who mapped, spawned or holds a session, and a guest that called this one.

/// What is kept of the guest's stderr: a panic's message is near its end.
const KEPT_BYTES: usize = 8 << 10;

/// The newest of what a guest wrote to stderr. Takes no memory until it writes.
#[derive(Debug, Default)]
pub(crate) struct LastWords(String);

impl LastWords {
    /// `text` is safe to show, as it goes to the sink.
    pub(crate) fn hear(&mut self, text: &str) {
        self.0.push_str(end(text));
        // Not with each write: moving what is kept costs more than keeping twice as much.
        if self.0.len() > 2 * KEPT_BYTES {
            self.0.drain(..self.0.len() - end(&self.0).len());
        }
    }

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

/// The last of a text that is kept.
fn end(text: &str) -> &str {
    let mut from = text.len().saturating_sub(KEPT_BYTES);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panic(text: &str) -> Option<String> {
        let mut words = LastWords::default();
        text.split_inclusive(['\n', '\''])
            .for_each(|part| words.hear(part));
        words.panic()
    }

    #[test]
    fn a_panic_is_told_with_its_place() {
        let text = "before\n\nthread '<unnamed>' (1) panicked at src/lib.rs:4:5:\nleft: 1\nright: 2\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n";
        assert_eq!(
            panic(text).as_deref(),
            Some("at src/lib.rs:4:5: left: 1\nright: 2")
        );
        let long = "ß\n".repeat(20_000);
        assert_eq!(panic(&format!("{long}{text}")), panic(text));
        assert_eq!(panic(&format!("{text}{long}")), None);
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
