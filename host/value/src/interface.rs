//! The interface of a component: its functions by name, and what it needs.

use serde::{Deserialize, Serialize};

use crate::error::{excerpt, nearest};
use crate::{Error, FuncType, names, ty_json};

/// What a component offers and needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// In the order of the component's exports.
    pub functions: Vec<FuncType>,
    /// Imported interfaces and functions: `wasi:filesystem/types@0.2.6`.
    pub imports: Vec<String>,
    /// The component's world and own interfaces as WIT text.
    pub wit: String,
}

/// No function, or more than one, goes by that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct NoFunction {
    /// As asked for; empty for "the only one".
    pub name: String,
    /// The functions there are, or those the name could mean: name and signature.
    pub candidates: Vec<(String, String)>,
    ambiguous: bool,
}

impl Interface {
    /// The interface that [`Interface::to_json`] wrote.
    ///
    /// # Errors
    /// As [`FuncType::from_json`].
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let interface: Self = ty_json::parse(text)?;
        for function in &interface.functions {
            let valid = function.validate();
            valid.map_err(|error| error.in_field(&function.name))?;
        }
        Ok(interface)
    }

    /// The JSON form.
    pub fn to_json(&self) -> String {
        // Maps with string keys and strings only: nothing serde_json refuses.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The function of this name, or, for the empty name, the only one.
    ///
    /// The full name always works; a part works while it is unambiguous: without the version
    /// (`acme:img/resize#thumbnail` for `acme:img/resize@1.0.0#thumbnail`), or without the
    /// interface (`thumbnail`). A name may be spelled as in the source, `train_all` or `trainAll`
    /// for `train-all` ([`names::kebab`]).
    ///
    /// # Errors
    /// [`NoFunction`] lists what there is to choose from.
    pub fn function(&self, name: &str) -> Result<&FuncType, NoFunction> {
        if let Some(exact) = self.functions.iter().find(|function| function.name == name) {
            return Ok(exact);
        }
        let matching: Vec<&FuncType> = self
            .functions
            .iter()
            .filter(|function| answers_to(function, name))
            .collect();
        match matching[..] {
            [one] => Ok(one),
            [] => {
                let asked = in_wit(name);
                let meant = self.functions.iter().filter(|function| {
                    let name = in_wit(&function.name);
                    let unversioned = unversioned(&name);
                    let local = name.split_once('#').map(|(_, local)| local);
                    name == asked || unversioned == asked || local == Some(&*asked)
                });
                match meant.collect::<Vec<_>>()[..] {
                    [one] => Ok(one),
                    [] => Err(NoFunction::among(name, self.functions.iter(), false)),
                    ref several => Err(NoFunction::among(name, several.iter().copied(), true)),
                }
            }
            _ => Err(NoFunction::among(name, matching.into_iter(), true)),
        }
    }
}

/// A function's name as WIT has it, whatever source it was taken from; the version of an interface
/// stays.
fn in_wit(name: &str) -> String {
    let local = |name: &str| {
        let parts: Vec<String> = name.split('.').map(names::kebab).collect();
        parts.join(".")
    };
    // `r#match` is no interface with a function.
    match name.split_once('#').filter(|(path, _)| *path != "r") {
        Some((path, function)) => format!("{}#{}", path.replace('_', "-"), local(function)),
        None => local(name),
    }
}

fn unversioned(name: &str) -> String {
    match name.split_once('#') {
        Some((path, local)) => {
            let path = path.split_once('@').map_or(path, |(path, _)| path);
            format!("{path}#{local}")
        }
        None => name.to_owned(),
    }
}

/// Whether `name` is the function's without its version or interface; the empty name is anyone's.
fn answers_to(function: &FuncType, name: &str) -> bool {
    let Some((interface, local)) = function.name.split_once('#') else {
        return name.is_empty();
    };
    let unversioned = interface
        .split_once('@')
        .map_or(interface, |(path, _)| path);
    name.is_empty() || name == local || name.split_once('#') == Some((unversioned, local))
}

impl NoFunction {
    fn among<'a>(
        name: &str,
        functions: impl Iterator<Item = &'a FuncType>,
        ambiguous: bool,
    ) -> Self {
        let candidates = functions
            .map(|function| (function.name.clone(), function.signature()))
            .collect();
        Self {
            name: name.to_owned(),
            candidates,
            ambiguous,
        }
    }

    fn text(&self) -> String {
        let name = excerpt(&self.name);
        match (self.name.is_empty(), self.candidates.len()) {
            (_, 0) => "the component exports no functions".to_owned(),
            (true, count) => format!("the component exports {count} functions: name one"),
            (false, count) if self.ambiguous => {
                format!("`{name}` could be any of {count} functions")
            }
            (false, _) => format!("no function `{name}`"),
        }
    }

    /// What to do about it, each a line of its own.
    pub fn hints(&self) -> Vec<String> {
        let names = self
            .candidates
            .iter()
            .flat_map(|(name, _)| [name.as_str(), local_name(name)]);
        let near = nearest(&self.name, names).filter(|_| !self.ambiguous);
        let meant = near.map(|name| format!("did you mean `{name}`?"));
        let list = self
            .candidates
            .iter()
            .map(|(name, signature)| format!("{name}: {signature}"));
        meant.into_iter().chain(list).collect()
    }
}

fn local_name(name: &str) -> &str {
    name.split_once('#').map_or(name, |(_, local)| local)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Type;

    fn interface(names: &[&str]) -> Interface {
        let functions = names
            .iter()
            .map(|name| FuncType::new(name, [("x", Type::U64)], None))
            .collect();
        Interface {
            functions,
            ..Interface::default()
        }
    }

    /// People name as little as tells functions apart.
    #[test]
    fn a_function_answers_to_any_unambiguous_part_of_its_name() {
        let interface = interface(&[
            "acme:img/resize@1.0.0#thumbnail",
            "acme:img/crop#crop",
            "crop",
        ]);
        let name = |asked: &str| {
            interface
                .function(asked)
                .map(|function| function.name.as_str())
        };
        assert_eq!(name("thumbnail"), Ok("acme:img/resize@1.0.0#thumbnail"));
        assert_eq!(
            name("acme:img/resize#thumbnail"),
            Ok("acme:img/resize@1.0.0#thumbnail")
        );
        assert_eq!(name("crop"), Ok("crop"), "the exact name wins");
    }

    /// Who wrote `fn train_all` asks for `train_all`.
    #[test]
    fn a_function_answers_to_its_name_in_the_source() {
        let interface = interface(&[
            "train-all",
            "acme:img/resize@1.0.0#make-small",
            "to-base64",
            "sha256",
            "parse-xml",
            "match",
            "counter.get-value",
        ]);
        let name = |asked: &str| {
            let found = interface.function(asked);
            found.map(|function| function.name.as_str())
        };
        assert_eq!(name("train_all"), Ok("train-all"));
        for asked in [
            "make_small",
            "acme:img/resize#make_small",
            "acme:img/resize@1.0.0#makeSmall",
        ] {
            assert_eq!(name(asked), Ok("acme:img/resize@1.0.0#make-small"));
        }
        for (asked, wit) in [
            ("trainAll", "train-all"),
            ("to_base64", "to-base64"),
            ("sha_256", "sha256"),
            ("parse_XML", "parse-xml"),
            ("r#match", "match"),
            ("Counter.get_value", "counter.get-value"),
        ] {
            assert_eq!(name(asked), Ok(wit));
        }
        let error = name("train_al").unwrap_err();
        assert_eq!(error.to_string(), "no function `train_al`");
        assert_eq!(error.hints()[0], "did you mean `train-all`?");
    }

    /// The empty name is for components with one function.
    #[test]
    fn the_empty_name_is_the_only_function() {
        assert_eq!(
            interface(&["square"])
                .function("")
                .map(|function| function.name.as_str()),
            Ok("square")
        );
        let error = interface(&["square", "cube"]).function("").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the component exports 2 functions: name one"
        );
        assert_eq!(
            error.hints(),
            ["square: func(x: u64)", "cube: func(x: u64)"]
        );
        assert_eq!(
            interface(&[]).function("").unwrap_err().to_string(),
            "the component exports no functions"
        );
    }

    /// A typing error should cost one look.
    #[test]
    fn a_mistyped_name_brings_the_nearest() {
        let error = interface(&["square", "cube"])
            .function("sqare")
            .unwrap_err();
        assert_eq!(error.to_string(), "no function `sqare`");
        assert_eq!(error.hints()[0], "did you mean `square`?");
    }

    /// Choosing silently would call the wrong one.
    #[test]
    fn an_ambiguous_name_lists_what_it_could_mean() {
        let error = interface(&["a:b/c#run", "a:b/d#run", "other"])
            .function("run")
            .unwrap_err();
        assert_eq!(error.to_string(), "`run` could be any of 2 functions");
        assert_eq!(
            error.hints(),
            ["a:b/c#run: func(x: u64)", "a:b/d#run: func(x: u64)"]
        );
    }
}
