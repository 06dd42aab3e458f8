//! What stands in the parentheses of an attribute: `timeout = "10s", volumes = { "/data" = "digits:ro" }`.
//!
//! Every key is known by name and kind, so that a mistake is found where it stands, at compile time, and by the rules
//! the node has, too.

use lydian_spelling::units;
use serde_json::{Map, Value};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Ident, Lit, LitStr, Result, Token, braced, bracketed};

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Duration,
    Size,
    Count,
    Text,
    Flag,
    Texts,
    Table,
    /// Whatever it is; its runtime comes with a later release, which will say more.
    Any,
}

/// A key, what it takes, and how it is written.
type Key = (&'static str, Kind);

/// Of every function and class, and of the app for all of them.
const LIMITS: &[Key] = &[
    ("timeout", Kind::Duration),
    ("cpu", Kind::Duration),
    ("memory", Kind::Size),
    ("payload", Kind::Size),
    ("host_call_bytes", Kind::Size),
    ("output", Kind::Size),
    ("output_rate", Kind::Size),
    ("handles", Kind::Count),
    ("open_files", Kind::Count),
    ("fan_out", Kind::Count),
    ("network", Kind::Texts),
    ("env", Kind::Table),
    ("args", Kind::Texts),
    ("volumes", Kind::Table),
    ("secrets", Kind::Texts),
    ("gpu", Kind::Any),
    ("retries", Kind::Any),
    ("scaling", Kind::Table),
];
const OF_FUNCTIONS: &[Key] = &[("cache", Kind::Flag)];
const OF_CLASSES: &[Key] = &[
    ("max_idle", Kind::Duration),
    ("max_calls", Kind::Count),
    ("max_age", Kind::Duration),
    ("snapshot", Kind::Flag),
    ("parameters", Kind::Texts),
];
const OF_APPS: &[Key] = &[("name", Kind::Text), ("mounts", Kind::Table)];
const OF_ENDPOINTS: &[Key] = &[("method", Kind::Text), ("path", Kind::Text)];
const OF_SCHEDULES: &[Key] = &[
    ("cron", Kind::Text),
    ("period", Kind::Duration),
    ("tz", Kind::Text),
    ("missed", Kind::Text),
    ("overlap", Kind::Text),
];

/// Whose attribute it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    App,
    Function,
    Class,
    Endpoint,
    Schedule,
    Build,
    /// `enter`, `exit`, `method`, `local_entrypoint`: nothing can be set.
    Bare,
}

impl Place {
    /// Those whose keys are looked through when a key stands in the wrong one, and their attributes.
    const WITH_KEYS: [(Self, &str); 5] = [
        (Self::Function, "function"),
        (Self::Class, "class"),
        (Self::App, "app"),
        (Self::Endpoint, "endpoint"),
        (Self::Schedule, "schedule"),
    ];

    fn keys(self) -> Vec<Key> {
        let tables: &[&[Key]] = match self {
            Self::App => &[OF_APPS, LIMITS],
            Self::Function | Self::Build => &[LIMITS, OF_FUNCTIONS],
            Self::Class => &[OF_CLASSES, LIMITS],
            Self::Endpoint => &[OF_ENDPOINTS],
            Self::Schedule => &[OF_SCHEDULES],
            Self::Bare => &[],
        };
        tables.concat()
    }
}

/// `key = value` pairs, checked, with their keys in kebab-case as the manifest has them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Settings {
    pub(crate) values: Map<String, Value>,
}

impl Settings {
    /// Reads an attribute's tokens.
    pub(crate) fn parse(tokens: proc_macro2::TokenStream, place: Place) -> Result<Self> {
        let pairs =
            syn::parse::Parser::parse2(Punctuated::<Pair, Token![,]>::parse_terminated, tokens)?;
        let keys = place.keys();
        let mut values = Map::new();
        for Pair { key, value } in pairs {
            let name = key.to_string();
            let Some((_, kind)) = keys.iter().find(|(known, _)| *known == name) else {
                return Err(unknown(&key, &keys));
            };
            if let Err(text) = value.fits(*kind) {
                return Err(Error::new(value.span, format!("`{name}` {text}")));
            }
            let kebab = name.replace('_', "-");
            if values.insert(kebab, value.json).is_some() {
                return Err(Error::new(key.span(), format!("`{name}` is set twice")));
            }
        }
        Ok(Self { values })
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).and_then(Value::as_str)
    }
}

fn unknown(key: &Ident, keys: &[Key]) -> Error {
    let name = key.to_string();
    let near = keys
        .iter()
        .map(|(known, _)| (strsim::damerau_levenshtein(known, &name), known))
        .filter(|(distance, known)| *distance <= 2 || known.starts_with(&name))
        .min();
    let elsewhere = Place::WITH_KEYS
        .into_iter()
        .find(|(place, _)| place.keys().iter().any(|(known, _)| *known == name));
    let text = match (elsewhere, near) {
        _ if keys.is_empty() => format!("nothing can be set here: remove `{name}`"),
        (Some((_, attribute)), _) => {
            format!("`{name}` is not a key here: it belongs in `#[lydian::{attribute}(…)]`")
        }
        (None, Some((_, known))) => format!("`{name}` is not a key here: did you mean `{known}`?"),
        (None, None) => {
            let all: Vec<String> = keys.iter().map(|(known, _)| format!("`{known}`")).collect();
            format!("`{name}` is not a key here: there are {}", all.join(", "))
        }
    };
    Error::new(key.span(), text)
}

struct Pair {
    key: Ident,
    value: Setting,
}

impl Parse for Pair {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if !input.peek(Ident::peek_any) {
            return Err(input.error("write `key = value` here, such as `timeout = \"5s\"`"));
        }
        let key: Ident = input.call(Ident::parse_any)?;
        // A flag may stand alone.
        if input.is_empty() || input.peek(Token![,]) {
            let span = key.span();
            let json = Value::Bool(true);
            return Ok(Self {
                key,
                value: Setting { json, span },
            });
        }
        if !input.peek(Token![=]) {
            return Err(input.error(format!("write `{key} = …` here")));
        }
        input.parse::<Token![=]>()?;
        Ok(Self {
            key,
            value: input.parse()?,
        })
    }
}

/// A literal, a list or a table.
struct Setting {
    json: Value,
    span: proc_macro2::Span,
}

impl Parse for Setting {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let span = input.span();
        if input.peek(syn::token::Bracket) {
            let content;
            let bracket = bracketed!(content in input);
            let items = Punctuated::<Setting, Token![,]>::parse_terminated(&content)?;
            let json = items.into_iter().map(|item| item.json).collect();
            return Ok(Self {
                json,
                span: bracket.span.join(),
            });
        }
        if input.peek(syn::token::Brace) {
            let content;
            let brace = braced!(content in input);
            let mut table = Map::new();
            for (key, value) in Punctuated::<Entry, Token![,]>::parse_terminated(&content)?
                .into_iter()
                .map(|Entry(key, value)| (key, value))
            {
                if table.insert(key.value(), value.json).is_some() {
                    return Err(Error::new(
                        key.span(),
                        format!("`{}` is there twice", key.value()),
                    ));
                }
            }
            return Ok(Self {
                json: Value::Object(table),
                span: brace.span.join(),
            });
        }
        let literal: Lit = input.parse().map_err(|_| {
            Error::new(
                span,
                "expected a literal, a list `[…]` or a table `{ \"key\" = value }`",
            )
        })?;
        let json = match &literal {
            Lit::Str(text) => Value::String(text.value()),
            Lit::Bool(flag) => Value::Bool(flag.value),
            Lit::Int(int) => Value::from(int.base10_parse::<u64>()?),
            Lit::Float(float) => Value::from(float.base10_parse::<f64>()?),
            other => {
                return Err(Error::new(
                    other.span(),
                    "expected a text, a number or a bool",
                ));
            }
        };
        Ok(Self {
            json,
            span: literal.span(),
        })
    }
}

/// `"key" = value` of a table.
struct Entry(LitStr, Setting);

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let key = if input.peek(Ident) {
            let ident: Ident = input.parse()?;
            LitStr::new(&ident.to_string(), ident.span())
        } else {
            input.parse()?
        };
        input.parse::<Token![=]>()?;
        Ok(Self(key, input.parse()?))
    }
}

impl Setting {
    /// What is wrong with it, as the end of a sentence.
    fn fits(&self, kind: Kind) -> std::result::Result<(), String> {
        let fits = match kind {
            Kind::Duration => match &self.json {
                Value::String(text) => return duration(text),
                _ => return Err(NOT_A_DURATION.into()),
            },
            Kind::Size => match &self.json {
                Value::String(text) => return size(text),
                Value::Number(number) => number.as_u64().is_some_and(|bytes| bytes > 0),
                _ => return Err(NOT_A_SIZE.into()),
            },
            Kind::Count => self
                .json
                .as_u64()
                .is_some_and(|count| count > 0 && count <= u64::from(u32::MAX)),
            Kind::Text => self.json.is_string(),
            Kind::Flag => self.json.is_boolean(),
            Kind::Texts => self
                .json
                .as_array()
                .is_some_and(|items| items.iter().all(Value::is_string)),
            Kind::Table => self.json.is_object(),
            Kind::Any => true,
        };
        if fits {
            Ok(())
        } else {
            Err(kind.wanted().into())
        }
    }
}

const NOT_A_DURATION: &str = "is not a duration: write \"500ms\", \"5s\" or \"1m30s\"";
const NOT_A_SIZE: &str = "is not a size: write \"512MiB\", \"64KiB\" or \"1GB\"";

impl Kind {
    fn wanted(self) -> &'static str {
        match self {
            Self::Duration => NOT_A_DURATION,
            Self::Size => NOT_A_SIZE,
            Self::Count => "is not a whole number from 1",
            Self::Text => "is not a text in quotes",
            Self::Flag => "is `true` or `false`",
            Self::Texts => "is not a list of texts: write [\"one\", \"two\"]",
            Self::Table => "is not a table: write { \"key\" = \"value\" }",
            Self::Any => "cannot be that",
        }
    }
}

/// As the node reads it.
fn duration(text: &str) -> std::result::Result<(), String> {
    units::duration(text)
        .map(|_| ())
        .map_err(|why| told(text, &why, NOT_A_DURATION))
}

fn size(text: &str) -> std::result::Result<(), String> {
    units::bytes(text)
        .map(|_| ())
        .map_err(|why| told(text, &why, NOT_A_SIZE))
}

/// What is wrong with a quantity, as the end of a sentence; `wrong` when it is none at all.
fn told(text: &str, why: &str, wrong: &str) -> String {
    match why.strip_prefix(&format!("`{text}` ")) {
        Some(why) if why.starts_with("is not a ") => wrong.to_owned(),
        Some(why) => format!("is \"{text}\", which {}", why.replace('`', "\"")),
        None => format!("is \"{text}\": {why}"),
    }
}

/// What a schedule needs besides its keys being known.
pub(crate) fn check_schedule(settings: &Settings, span: proc_macro2::Span) -> Result<()> {
    let has = |key: &str| settings.values.contains_key(key);
    match (settings.text("cron"), has("period")) {
        (Some(_), true) => Err(Error::new(
            span,
            "a schedule has either `cron` or `period`, not both",
        )),
        (None, false) => Err(Error::new(
            span,
            "a schedule needs `cron = \"0 6 * * *\"` or `period = \"1h\"`",
        )),
        (Some(cron), false) if cron.split_whitespace().count() != 5 => Err(Error::new(
            span,
            format!("`{cron}` is not five fields: minute, hour, day of month, month, day of week"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    #[test]
    fn every_kind_of_value_is_read() {
        let settings = Settings::parse(
            quote!(
                timeout = "10s",
                retries = 3,
                volumes = { "/data" = "digits:ro" },
                secrets = ["hub"],
                cache
            ),
            Place::Function,
        )
        .expect("is read");
        assert_eq!(
            Value::Object(settings.values),
            serde_json::json!({
                "timeout": "10s", "retries": 3, "volumes": {"/data": "digits:ro"}, "secrets": ["hub"], "cache": true
            })
        );
    }

    /// The keys of Rust are identifiers, those of a manifest are kebab-case.
    #[test]
    fn keys_become_kebab_case() {
        let settings = Settings::parse(quote!(max_idle = "60s"), Place::Class).expect("is read");
        assert_eq!(settings.text("max-idle"), Some("60s"));
    }

    #[test]
    fn durations_and_sizes_are_the_nodes() {
        for good in ["500ms", "5s", "1m30s", "1.5h", "2d"] {
            assert_eq!(duration(good), Ok(()), "{good}");
        }
        for bad in ["", "5", "s", "0s", "10x", "5s!"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for good in ["512MiB", "64KiB", "1GB", "1B", "0.5GiB"] {
            assert_eq!(size(good), Ok(()), "{good}");
        }
        for bad in ["", "MiB", "0B", "5s", "1MiB2"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
