//! The token that callers over the network must show.

use std::fmt;
use subtle::ConstantTimeEq;

/// Shorter ones are guessed.
const MIN_CHARS: usize = 16;

/// A token, of which only the digest is kept.
#[derive(Clone)]
pub struct Token(blake3::Hash);

/// Why a text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadToken {
    #[error("it has {chars} characters, {MIN_CHARS} are the least")]
    Short { chars: usize },
    #[error("it is not one line of printable ASCII without spaces")]
    Characters,
}

impl Token {
    /// Takes a secret of at least 16 printable ASCII characters.
    ///
    /// # Errors
    /// [`BadToken`].
    pub fn new(secret: &str) -> Result<Self, BadToken> {
        if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadToken::Characters);
        }
        match secret.len() {
            chars if chars < MIN_CHARS => Err(BadToken::Short { chars }),
            _ => Ok(Self(blake3::hash(secret.as_bytes()))),
        }
    }

    /// Whether this is the token, in a time that says nothing about it.
    pub(crate) fn is(&self, given: &[u8]) -> bool {
        let given = blake3::hash(given);
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_and_nothing_else() {
        let token = Token::new("0123456789abcdef").expect("a token");
        assert!(token.is(b"0123456789abcdef"));
        for other in [
            "0123456789abcdeF",
            "0123456789abcde",
            "0123456789abcdef0",
            "",
        ] {
            assert!(!token.is(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn what_is_guessed_or_cannot_be_sent_is_refused() {
        assert_eq!(Token::new("").err(), Some(BadToken::Short { chars: 0 }));
        assert_eq!(
            Token::new("short").err(),
            Some(BadToken::Short { chars: 5 })
        );
        assert_eq!(
            Token::new("0123456789abcdef\n").err(),
            Some(BadToken::Characters)
        );
    }

    /// Options are logged with `{:?}` sooner or later.
    #[test]
    fn a_token_is_not_printed() {
        let token = Token::new("0123456789abcdef").expect("a token");
        assert_eq!(format!("{token:?}"), "Token(..)");
    }
}
