//! Why a value was refused: one line that names the place in the value, and hints apart from it.

use std::fmt;

/// A value, type or text was refused.
///
/// Prints as `config.rate: expected f64, found string`: the [path](Error::path), then the [kind](Error::kind).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    /// `.config.rate[3]`; each caller on the way up puts its part in front.
    path: String,
    kind: ErrorKind,
    /// Advice beyond the kind's own.
    hints: Vec<String>,
}

/// What was wrong. [`ErrorKind::code`] is its stable name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    #[error("expected {expected}, found {found}")]
    WrongType { expected: String, found: String },
    #[error("{found} is out of range for {expected}")]
    OutOfRange { expected: String, found: String },
    #[error("missing field `{name}`")]
    MissingField { name: String },
    #[error("given twice")]
    Duplicate,
    /// A field, case, flag or argument that the type does not have.
    #[error("no {what} `{name}`")]
    UnknownName {
        what: &'static str,
        name: String,
        known: Vec<String>,
    },
    #[error("case `{case}` needs a payload of type {expected}")]
    MissingPayload { case: String, expected: String },
    #[error("case `{case}` has no payload")]
    UnexpectedPayload { case: String },
    #[error("expected {expected} items, found {found}")]
    WrongLength { expected: usize, found: usize },
    #[error("expected {expected} argument{}, found {found}", plural(*.expected))]
    ArgumentCount {
        expected: usize,
        found: usize,
        signature: String,
    },
    #[error("missing argument `{name}` of type {expected}")]
    MissingArgument { name: String, expected: String },
    #[error("{ty} cannot be an argument, only a result")]
    NotAnArgument { ty: String },
    #[error("nests deeper than {limit} levels")]
    TooDeep { limit: u32 },
    #[error("takes more than {limit} bytes")]
    TooManyBytes { limit: usize },
    #[error("takes more than {limit} bytes as text")]
    TooMuchText { limit: usize },
    #[error("consists of more than {limit} values")]
    TooManyValues { limit: usize },
    /// The wire bytes are not an encoding of the type.
    #[error("malformed encoding at byte {offset}: {reason}")]
    Malformed { offset: usize, reason: &'static str },
    /// The text is not JSON or not WAVE. `offset` counts bytes from its start.
    #[error("malformed text at byte {offset}: {reason}")]
    Syntax { offset: usize, reason: String },
    /// A type that no component can have.
    #[error("malformed type: {reason}")]
    MalformedType { reason: String },
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

impl Error {
    pub fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Inner {
            path: String::new(),
            kind,
            hints: Vec::new(),
        }))
    }

    pub(crate) fn wrong_type(expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self::new(ErrorKind::WrongType {
            expected: brief(expected),
            found: brief(found),
        })
    }

    pub(crate) fn out_of_range(expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self::new(ErrorKind::OutOfRange {
            expected: brief(expected),
            found: brief(found),
        })
    }

    pub(crate) fn unknown<'a>(
        what: &'static str,
        name: &str,
        known: impl Iterator<Item = &'a str>,
    ) -> Self {
        let known = known.map(str::to_owned).collect();
        Self::new(ErrorKind::UnknownName {
            what,
            name: excerpt(name),
            known,
        })
    }

    pub(crate) fn syntax(offset: usize, reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::Syntax {
            offset,
            reason: reason.into(),
        })
    }

    /// Puts a field, case or parameter in front of the path: the error is inside it.
    #[must_use]
    pub fn in_field(mut self, name: &str) -> Self {
        self.0.path.insert_str(0, name);
        self.0.path.insert(0, '.');
        self
    }

    /// Puts a list index in front of the path.
    #[must_use]
    pub fn in_item(mut self, index: usize) -> Self {
        self.0.path.insert_str(0, &format!("[{index}]"));
        self
    }

    /// Adds what helps whoever reads the error.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }

    /// Where in the value: `config.rate`, `points[3].x`; empty when it is the whole.
    pub fn path(&self) -> &str {
        self.0.path.strip_prefix('.').unwrap_or(&self.0.path)
    }

    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// A stable, kebab-case name of the kind.
    pub fn code(&self) -> &'static str {
        self.0.kind.code()
    }

    /// What to do about it, each a line of its own.
    pub fn hints(&self) -> Vec<String> {
        let mut hints = self.0.kind.hints();
        hints.extend(self.0.hints.iter().cloned());
        hints
    }
}

impl ErrorKind {
    /// A stable, kebab-case name.
    pub fn code(&self) -> &'static str {
        match self {
            ErrorKind::WrongType { .. } => "wrong-type",
            ErrorKind::OutOfRange { .. } => "out-of-range",
            ErrorKind::MissingField { .. } => "missing-field",
            ErrorKind::Duplicate => "duplicate",
            ErrorKind::UnknownName { .. } => "unknown-name",
            ErrorKind::MissingPayload { .. } => "missing-payload",
            ErrorKind::UnexpectedPayload { .. } => "unexpected-payload",
            ErrorKind::WrongLength { .. } => "wrong-length",
            ErrorKind::ArgumentCount { .. } => "argument-count",
            ErrorKind::MissingArgument { .. } => "missing-argument",
            ErrorKind::NotAnArgument { .. } => "not-an-argument",
            ErrorKind::TooDeep { .. } => "too-deep",
            ErrorKind::TooManyBytes { .. } => "too-many-bytes",
            ErrorKind::TooMuchText { .. } => "too-much-text",
            ErrorKind::TooManyValues { .. } => "too-many-values",
            ErrorKind::Malformed { .. } => "malformed-encoding",
            ErrorKind::Syntax { .. } => "malformed-text",
            ErrorKind::MalformedType { .. } => "malformed-type",
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            ErrorKind::WrongType { expected, found }
                if expected == "list<u8>" && found == "string" =>
            {
                vec!["bytes are written as a list of numbers, `[104, 105]`".to_owned()]
            }
            ErrorKind::UnknownName { name, known, .. } => vec![known_names(name, known)],
            ErrorKind::ArgumentCount { signature, .. } => {
                vec![format!("the function is `{signature}`")]
            }
            ErrorKind::NotAnArgument { .. } => {
                vec![
                    "let the function take a list instead: only a component can make a stream"
                        .to_owned(),
                ]
            }
            ErrorKind::TooManyValues { .. } => {
                vec![
                    "pass many small values as lists of numbers or strings, or in several calls"
                        .to_owned(),
                ]
            }
            _ => Vec::new(),
        }
    }
}

/// `did you mean `rate`?`, or the names there are.
fn known_names(name: &str, known: &[String]) -> String {
    if let Some(near) = nearest(name, known.iter().map(String::as_str)) {
        return format!("did you mean `{near}`?");
    }
    if known.is_empty() {
        return "there are none".to_owned();
    }
    let shown: Vec<String> = known
        .iter()
        .take(12)
        .map(|name| format!("`{name}`"))
        .collect();
    let more = if known.len() > shown.len() {
        ", …"
    } else {
        ""
    };
    format!(
        "there {} {}{more}",
        if known.len() == 1 { "is" } else { "are" },
        shown.join(", ")
    )
}

/// The known name most like a mistyped one, if any is like it at all.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Comparing takes the product of two lengths.
    const MAX_BYTES: usize = 256;
    known
        .filter(|candidate| candidate.len() <= MAX_BYTES)
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// A type as an error may show it: cut where it is longer than anyone reads.
pub(crate) fn brief(shown: impl fmt::Display) -> String {
    const MAX_BYTES: usize = 400;
    struct Cut(String);
    impl fmt::Write for Cut {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = MAX_BYTES.saturating_sub(self.0.len());
            match text.len() <= room {
                true => self.0.push_str(text),
                false => {
                    self.0.push_str(&text[..text.floor_char_boundary(room)]);
                    self.0.push('…');
                    // Ends the printing; the rest is not even made.
                    return Err(fmt::Error);
                }
            }
            Ok(())
        }
    }
    let mut cut = Cut(String::new());
    let _ = fmt::write(&mut cut, format_args!("{shown}"));
    cut.0
}

/// A text from the input as an error may show it: short, without control characters.
pub(crate) fn excerpt(text: &str) -> String {
    const SHOWN_CHARS: usize = 40;
    let mut shown: String = text.chars().take(SHOWN_CHARS).flat_map(escape).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

fn escape(ch: char) -> impl Iterator<Item = char> {
    let escaped = ch.is_control().then(|| ch.escape_default());
    let plain = (!ch.is_control()).then_some(ch);
    escaped.into_iter().flatten().chain(plain)
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path().is_empty() {
            write!(f, "{}: ", self.path())?;
        }
        self.0.kind.fmt(f)
    }
}

impl std::error::Error for Error {}
