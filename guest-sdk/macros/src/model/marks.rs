//! The attributes of ours on an item, taken off it.

use proc_macro2::{Span, TokenStream};
use syn::spanned::Spanned;
use syn::{Attribute, Error, Result};

/// The attributes of ours on one item.
#[derive(Default)]
pub(super) struct Marks {
    pub(super) marks: Vec<Mark>,
}

pub(super) struct Mark {
    pub(super) name: String,
    pub(super) tokens: TokenStream,
    pub(super) span: Span,
}

const NAMES: &[&str] = &[
    "function",
    "class",
    "enter",
    "exit",
    "method",
    "endpoint",
    "schedule",
    "build",
    "app",
    "local_entrypoint",
];

impl Marks {
    /// Takes our attributes off an item.
    pub(super) fn take(attributes: &mut Vec<Attribute>) -> Result<Self> {
        let mut marks = Vec::new();
        let mut problem = None;
        attributes.retain(|attribute| {
            let path = attribute.path();
            let ours = path.segments.len() == 2 && path.segments[0].ident == "lydian";
            if !ours {
                return true;
            }
            let name = path.segments[1].ident.to_string();
            if !NAMES.contains(&name.as_str()) {
                return true;
            }
            let tokens = match &attribute.meta {
                syn::Meta::Path(_) => TokenStream::new(),
                syn::Meta::List(list) => list.tokens.clone(),
                syn::Meta::NameValue(_) => {
                    let text = format!("write `#[lydian::{name}(…)]`");
                    problem = Some(Error::new_spanned(attribute, text));
                    TokenStream::new()
                }
            };
            marks.push(Mark {
                name,
                tokens,
                span: attribute.span(),
            });
            false
        });
        match problem {
            Some(problem) => Err(problem),
            None => Ok(Self { marks }),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    pub(super) fn find(&self, name: &str) -> Option<&Mark> {
        self.marks.iter().find(|mark| mark.name == name)
    }

    /// Refuses any but these, with what to do instead.
    pub(super) fn only(&self, names: &[&str], instead: &str) -> Result<()> {
        match self
            .marks
            .iter()
            .find(|mark| !names.contains(&mark.name.as_str()))
        {
            None => Ok(()),
            Some(mark) => {
                let text = format!("`#[lydian::{}]` cannot stand here: {instead}", mark.name);
                Err(Error::new(mark.span, text))
            }
        }
    }
}
