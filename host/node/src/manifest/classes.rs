//! Classes: methods that share the state of an instance, which is kept between calls.
//!
//! ```toml
//! [classes.model]                  # the exported interface `model`; `interface = "acme:img/resize"` names another
//! methods = ["predict"]            # else all of its functions
//! enter = true                     # `lydian-enter` runs once per instance; a string names another function
//! exit = true                      # `lydian-exit` runs before a kept instance goes
//! max-idle = "60s"
//! max-calls = 1000
//! max-age = "1h"
//! memory = "512MiB"                # limits and grants as for functions, for all of its methods
//! ```

use super::{Problem, Settings, later, units};
use crate::error::{Error, known_names};
use lydian_value::{FuncType, Interface, Type};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::time::Duration;

/// What an SDK names the functions of a class that are the platform's to call.
pub(crate) const ENTER: &str = "lydian-enter";
pub(crate) const EXIT: &str = "lydian-exit";

/// Long enough for the next call of someone at work, short enough that a memory of weights does not stay for nobody.
pub(crate) const DEFAULT_MAX_IDLE: Duration = Duration::from_secs(60);
/// What leaks a little in each call must not leak for ever.
pub(crate) const DEFAULT_MAX_CALLS: u64 = 1_000;

/// What a manifest says of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Class {
    /// As it is named in the manifest.
    pub(crate) name: String,
    /// The exported interface that its functions are in.
    pub(crate) interface: String,
    /// Without the interface's name; none: all of its functions.
    methods: Option<Vec<String>>,
    /// The function that runs once per instance, with the interface's name.
    pub(crate) enter: Option<String>,
    /// The one that runs before a kept instance goes.
    pub(crate) exit: Option<String>,
    pub(crate) max_idle: Duration,
    pub(crate) max_calls: u64,
    pub(crate) max_age: Option<Duration>,
    pub(super) settings: Settings,
}

impl Class {
    pub(super) fn parse(name: &str, mut table: Map<String, Value>) -> Result<Self, Error> {
        let path = format!("classes.{name}");
        let at = |key: &str| format!("{path}.{key}");
        if table.get("kind").and_then(Value::as_str) == Some("class") {
            table.remove("kind");
        }
        let interface = match table.remove("interface") {
            Some(interface) => units::string(&interface)
                .map_err(|problem| problem.at(at("interface")))?
                .to_owned(),
            None => name.to_owned(),
        };
        let methods = match table.remove("methods") {
            Some(methods) => {
                Some(units::strings(&methods).map_err(|problem| problem.at(at("methods")))?)
            }
            None => None,
        };
        let mut lifecycle = |key: &str, default: &str| match table.remove(key) {
            None | Some(Value::Bool(false)) => Ok(None),
            Some(Value::Bool(true)) => Ok(Some(format!("{interface}#{default}"))),
            Some(Value::String(function)) => Ok(Some(format!("{interface}#{function}"))),
            Some(_) => {
                Err(Problem::new("is neither true, false nor a function's name").at(at(key)))
            }
        };
        let (enter, exit) = (lifecycle("enter", ENTER)?, lifecycle("exit", EXIT)?);
        let mut duration = |key: &str| match table.remove(key) {
            None => Ok(None),
            Some(value) => units::duration(&value)
                .map(Some)
                .map_err(|problem| problem.at(at(key))),
        };
        let (max_idle, max_age) = (duration("max-idle")?, duration("max-age")?);
        let max_calls = match table.remove("max-calls") {
            None => DEFAULT_MAX_CALLS,
            Some(value) => units::count(&value)
                .map_err(|problem| problem.at(at("max-calls")))?
                .into(),
        };
        Ok(Self {
            name: name.to_owned(),
            settings: Settings::parse(&path, table)?,
            interface,
            methods,
            enter,
            exit,
            max_idle: max_idle.unwrap_or(DEFAULT_MAX_IDLE),
            max_calls,
            max_age,
        })
    }

    /// Whether a function is one that callers may call.
    pub(crate) fn has_method(&self, function: &str) -> bool {
        let Some(name) = self.member(function) else {
            return false;
        };
        match &self.methods {
            Some(methods) => methods.iter().any(|method| method == name),
            None => !self.is_lifecycle(function),
        }
    }

    /// Whether a function is the platform's to call. The SDK's names are, whatever the manifest says.
    pub(crate) fn is_lifecycle(&self, function: &str) -> bool {
        let named = |own: &Option<String>| own.as_deref() == Some(function);
        named(&self.enter)
            || named(&self.exit)
            || self
                .member(function)
                .is_some_and(|name| name == ENTER || name == EXIT)
    }

    /// Its methods, without the interface's name.
    pub(crate) fn methods<'a>(&'a self, interface: &'a Interface) -> impl Iterator<Item = &'a str> {
        let functions = interface.functions.iter();
        let methods = functions.filter(|function| self.has_method(&function.name));
        methods.filter_map(|function| self.member(&function.name))
    }

    /// What its author wrote about it.
    pub(crate) fn docs(&self) -> &str {
        &self.settings.docs
    }

    /// The name of a function without its interface, if it is of the class's.
    pub(crate) fn member<'a>(&self, function: &'a str) -> Option<&'a str> {
        function.strip_prefix(&self.interface)?.strip_prefix('#')
    }

    /// Refuses a class that the component does not have.
    pub(super) fn check(&self, interface: &Interface) -> Result<(), Error> {
        let path = format!("classes.{}", self.name);
        let names: Vec<&str> = interface
            .functions
            .iter()
            .map(|function| function.name.as_str())
            .collect();
        let refused = |path: String, reason: &str, hint: Option<String>| Error::Manifest {
            path,
            reason: reason.to_owned(),
            hint,
        };
        if !names.iter().any(|name| self.member(name).is_some()) {
            let interfaces: BTreeSet<&str> = names
                .iter()
                .filter_map(|name| Some(name.split_once('#')?.0))
                .collect();
            let interfaces: Vec<&str> = interfaces.into_iter().collect();
            return Err(refused(
                path,
                "names an interface the component does not export",
                Some(known_names("it exports", &self.interface, &interfaces)),
            ));
        }
        let find = |name: &str| {
            let mut functions = interface.functions.iter();
            functions.find(|function| function.name == name)
        };
        for method in self.methods.iter().flatten() {
            let name = format!("{}#{method}", self.interface);
            if find(&name).is_none() {
                let reason = format!("names a function `{name}` the component does not export");
                let hint = known_names("it exports", &name, &names);
                return Err(refused(format!("{path}.methods"), &reason, Some(hint)));
            }
        }
        for (key, name) in [("enter", &self.enter), ("exit", &self.exit)] {
            let Some(name) = name else { continue };
            let at = format!("{path}.{key}");
            let Some(function) = find(name) else {
                let reason =
                    format!("needs a function `{name}`, which the component does not export");
                return Err(refused(at, &reason, None));
            };
            if !is_lifecycle_type(function) {
                let reason = format!("`{name}` is `{}`", function.signature());
                let hint = "it must be `func()` or `func() -> result<_, string>`".to_owned();
                return Err(refused(at, &reason, Some(hint)));
            }
        }
        for function in &interface.functions {
            if self.has_method(&function.name) && leaves_something(function) {
                let reason = format!(
                    "has a method `{}` that takes or gives resources or streams, which a kept instance cannot",
                    function.name
                );
                return Err(refused(
                    path,
                    &reason,
                    Some("leave it out of `methods`".into()),
                ));
            }
        }
        Ok(())
    }
}

fn is_lifecycle_type(function: &FuncType) -> bool {
    let result = match &function.result {
        None => true,
        Some(Type::Result(result)) => {
            result.ok.is_none() && matches!(result.err, None | Some(Type::String))
        }
        Some(_) => false,
    };
    result && function.params.is_empty()
}

/// Whether something of a call outlives it.
fn leaves_something(function: &FuncType) -> bool {
    let params = function.params.iter().map(|param| &param.ty);
    params.chain(&function.result).any(mentions)
}

fn mentions(ty: &Type) -> bool {
    match ty {
        Type::Own(_) | Type::Borrow(_) | Type::Stream(_) | Type::Future(_) => true,
        Type::List(item) | Type::FixedList(item, _) | Type::Option(item) => mentions(item),
        Type::Map(key, value) => mentions(key) || mentions(value),
        Type::Record(record) => record.fields.iter().any(|field| mentions(&field.ty)),
        Type::Tuple(items) => items.iter().any(mentions),
        Type::Variant(variant) => {
            let mut payloads = variant.cases.iter().filter_map(|case| case.ty.as_ref());
            payloads.any(mentions)
        }
        Type::Result(result) => result.ok.iter().chain(&result.err).any(mentions),
        _ => false,
    }
}

/// Keys that a class has besides a function's, for "did you mean".
pub(super) const KEYS: &[&str] = &[
    "interface",
    "methods",
    "enter",
    "exit",
    "max-idle",
    "max-calls",
    "max-age",
];

/// Class keys where no class is meant.
pub(super) fn misplaced(key: &str) -> Option<Problem> {
    KEYS.contains(&key).then(|| {
        Problem::new("is a key of classes")
            .hint(format!("write it below `classes.<name>`: `{key}`"))
    })
}

/// A key that is none of a class.
pub(super) fn unknown(key: &str, known: &[&str]) -> Problem {
    let all: Vec<&str> = known.iter().chain(KEYS).copied().collect();
    later::problem(key, &all)
}
