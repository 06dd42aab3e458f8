//! What a guest wrote, made safe for a terminal.
//!
//! A guest's bytes may hold escape sequences that rename the window, hide text or answer for the user.
//! On a terminal every control character but line feed and tab is spelt out; into a file or pipe the
//! bytes go as they are.

use std::fmt::Write as _;

/// Decodes one stream of a guest, whose chunks may end in the middle of a character.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The bytes of a character that has begun; at most 3.
    pending: Vec<u8>,
}

impl Decoder {
    /// The text of `bytes` with what the last chunk left over; invalid bytes read `\xff`.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.pending);
        all.extend_from_slice(bytes);
        let mut text = String::with_capacity(all.len());
        let mut rest = all.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    push_escaped(&mut text, valid);
                    return text;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    push_escaped(&mut text, &String::from_utf8_lossy(valid));
                    let Some(invalid) = error.error_len() else {
                        self.pending = after.to_vec();
                        return text;
                    };
                    push_bytes(&mut text, &after[..invalid]);
                    rest = &after[invalid..];
                }
            }
        }
    }

    /// What is left when the guest ends in the middle of a character.
    pub(crate) fn finish(&mut self) -> String {
        let mut text = String::new();
        push_bytes(&mut text, &std::mem::take(&mut self.pending));
        text
    }
}

/// `text` as a terminal may show it; unchanged when `terminal` is not set.
pub(crate) fn escape(text: &str, terminal: bool) -> String {
    if !terminal {
        return text.to_owned();
    }
    let mut escaped = String::with_capacity(text.len());
    push_escaped(&mut escaped, text);
    escaped
}

fn push_escaped(out: &mut String, text: &str) {
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' => out.push_str("\\r"),
            c if c.is_control() || reorders(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

fn push_bytes(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "\\x{byte:02x}");
    }
}

/// Characters that make a terminal show text in another order than it is written (CVE-2021-42574).
fn reorders(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(chunks: &[&[u8]]) -> String {
        let mut decoder = Decoder::default();
        let mut text: String = chunks.iter().map(|chunk| decoder.decode(chunk)).collect();
        text += &decoder.finish();
        text
    }

    /// A guest could otherwise retitle the terminal or hide what it printed.
    #[test]
    fn escape_sequences_are_spelt_out() {
        assert_eq!(
            decoded(&[b"\x1b]0;owned\x07\x1b[2J"]),
            "\\u{1b}]0;owned\\u{7}\\u{1b}[2J"
        );
        assert_eq!(
            decoded(&["a\u{9b}b\u{202e}c".as_bytes()]),
            "a\\u{9b}b\\u{202e}c"
        );
        assert_eq!(decoded(&[b"50%\r100%\r\ndone\n"]), "50%\\r100%\ndone\n");
    }

    #[test]
    fn characters_split_between_chunks_are_joined() {
        let euro = "€".as_bytes();
        assert_eq!(decoded(&[&euro[..1], &euro[1..2], &euro[2..]]), "€");
    }

    #[test]
    fn invalid_bytes_are_shown_and_nothing_is_lost() {
        assert_eq!(decoded(&[b"a\xffb\xe2\x82"]), "a\\xffb\\xe2\\x82");
    }
}
