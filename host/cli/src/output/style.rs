//! Colours, or none.

use crate::env;

/// Wraps text in ANSI colours when its stream wants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    enabled: bool,
}

/// Whether this user wants colours at all (<https://no-color.org>).
pub(crate) fn wanted() -> bool {
    env::read(&env::NO_COLOR).is_none()
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

macro_rules! colours {
    ($($name:ident = $code:literal;)*) => {$(
        pub(crate) fn $name(self, text: impl std::fmt::Display) -> String {
            self.wrap($code, text)
        }
    )*};
}

impl Style {
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { enabled: false };

    pub(crate) fn new(enabled: bool) -> Self {
        Self { enabled }
    }

    colours! {
        bold = "1";
        dim = "2";
        red = "31";
        green = "32";
        yellow = "33";
        blue = "34";
        cyan = "36";
    }

    pub(crate) fn is_enabled(self) -> bool {
        self.enabled
    }

    fn wrap(self, code: &str, text: impl std::fmt::Display) -> String {
        if self.enabled {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_adds_nothing() {
        assert_eq!(Style::PLAIN.red("x"), "x");
        assert_eq!(Style::new(true).red("x"), "\x1b[31mx\x1b[0m");
    }
}
