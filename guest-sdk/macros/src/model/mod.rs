//! An app module taken apart: its functions, classes and types, without the attributes that said so.
//!
//! [`take`] finds what carries attributes and takes them off ([`found`], [`marks`]); [`read`] makes sense of it by the types
//! that stand in the module ([`signature`], [`class`]). All mistakes of a module are told at once.

mod class;
mod found;
mod marks;
mod signature;

use found::Found;
pub(crate) use found::take;

use crate::types::{Ty, Types};
use proc_macro2::Span;
use serde_json::{Map, Value};
use syn::{Error, Ident, Item, Result, Type};

/// One parameter.
#[derive(Debug, Clone)]
pub(crate) struct Param {
    pub(crate) rust: Ident,
    pub(crate) wit: String,
    pub(crate) ty: Ty,
    pub(crate) syn: Type,
}

/// What a function gives back.
#[derive(Debug, Clone)]
pub(crate) enum Output {
    None,
    Value(Ty, Box<Type>),
    Stream(Stream),
}

/// A stream of results.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) item: Ty,
    pub(crate) syn: Box<Type>,
    /// As it is written: `lydian::Stream<T>` needs no wrapping, the others do.
    pub(crate) form: StreamForm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamForm {
    Ours,
    ImplStream,
    ImplIterator,
}

/// A function or a method, as it is called from outside.
#[derive(Debug, Clone)]
pub(crate) struct Callable {
    pub(crate) rust: Ident,
    pub(crate) wit: String,
    pub(crate) params: Vec<Param>,
    pub(crate) output: Output,
    pub(crate) is_async: bool,
    pub(crate) docs: String,
}

impl Callable {
    /// Whether its export is lifted `async`.
    pub(crate) fn is_async_export(&self) -> bool {
        self.is_async || matches!(self.output, Output::Stream(_))
    }
}

#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) call: Callable,
    pub(crate) settings: Map<String, Value>,
}

/// How a class is entered.
#[derive(Debug)]
pub(crate) struct Enter {
    pub(crate) rust: Ident,
    pub(crate) is_async: bool,
    pub(crate) is_fallible: bool,
}

/// How it is left.
#[derive(Debug)]
pub(crate) struct Exit {
    pub(crate) rust: Ident,
    pub(crate) is_async: bool,
    pub(crate) takes_self: bool,
}

#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) rust: Ident,
    pub(crate) wit: String,
    pub(crate) enter: Enter,
    pub(crate) exit: Option<Exit>,
    pub(crate) methods: Vec<Callable>,
    pub(crate) settings: Map<String, Value>,
    pub(crate) docs: String,
}

/// All of a module.
pub(crate) struct App<'a> {
    pub(crate) functions: Vec<Function>,
    pub(crate) classes: Vec<Class>,
    pub(crate) types: Types<'a>,
}

/// Makes sense of what was found, by the types that stand in the module.
pub(crate) fn read(found: Found, items: &[Item]) -> Result<App<'_>> {
    let classes: Vec<Ident> = found
        .classes
        .iter()
        .map(|class| class.rust.clone())
        .collect();
    let mut types = Types::new(items, &classes);
    let functions = each(found.functions, |raw| raw.read(&mut types))?;
    let classes = each(found.classes, |raw| raw.read(&mut types))?;
    one_of_each_name(&functions, &classes)?;
    if functions.is_empty() && classes.is_empty() {
        let text =
            "this app has no functions: put `#[lydian::function]` on a `pub fn` inside the module";
        return Err(Error::new(Span::call_site(), text));
    }
    Ok(App {
        functions,
        classes,
        types,
    })
}

/// All results, or all mistakes at once.
fn each<T, R>(items: Vec<T>, mut read: impl FnMut(T) -> Result<R>) -> Result<Vec<R>> {
    let mut all = Vec::new();
    let mut errors: Option<Error> = None;
    for item in items {
        match (read(item), &mut errors) {
            (Ok(item), _) => all.push(item),
            (Err(error), Some(errors)) => errors.combine(error),
            (Err(error), none) => *none = Some(error),
        }
    }
    errors.map_or(Ok(all), Err)
}

fn one_of_each_name(functions: &[Function], classes: &[Class]) -> Result<()> {
    let names = functions
        .iter()
        .map(|function| (&function.call.wit, &function.call.rust))
        .chain(classes.iter().map(|class| (&class.wit, &class.rust)));
    let mut seen: Vec<(&String, &Ident)> = Vec::new();
    for (wit, rust) in names {
        if let Some((_, other)) = seen.iter().find(|(seen, _)| *seen == wit) {
            let text =
                format!("`{rust}` and `{other}` are both called `{wit}` from outside: rename one");
            return Err(Error::new(rust.span(), text));
        }
        seen.push((wit, rust));
    }
    Ok(())
}
