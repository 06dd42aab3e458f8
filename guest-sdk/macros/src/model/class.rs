//! A class: how it is entered and left, and its methods.

use super::found::RawClass;
use super::signature::{not_hiding, plain_signature, read_callable};
use super::{Callable, Class, Enter, Exit, Output, each};
use crate::names::{snake, wit_name};
use crate::types::{Types, is_unit};
use syn::{Error, FnArg, Ident, Result, ReturnType, Signature, Type};

impl RawClass {
    pub(super) fn read(self, types: &mut Types<'_>) -> Result<Class> {
        let name = &self.rust;
        let enter = match self.enter.as_slice() {
            [enter] => read_enter(enter, name)?,
            [] => {
                let text = format!(
                    "class `{name}` needs a function that makes it: `#[lydian::enter] fn load() -> Self`"
                );
                return Err(Error::new(self.span, text));
            }
            [_, second, ..] => {
                return Err(Error::new_spanned(
                    &second.ident,
                    "a class is entered in one way only",
                ));
            }
        };
        let exit = match self.exit.as_slice() {
            [] => None,
            [exit] => Some(read_exit(exit)?),
            [_, second, ..] => {
                return Err(Error::new_spanned(
                    &second.ident,
                    "a class is left in one way only",
                ));
            }
        };
        if self.methods.is_empty() {
            let text = format!(
                "class `{name}` has no methods: put `#[lydian::method]` on a `fn` with `&self`"
            );
            return Err(Error::new(self.span, text));
        }
        let methods = each(self.methods, |(sig, docs)| read_method(&sig, docs, types))?;
        for (index, method) in methods.iter().enumerate() {
            if let Some(other) = methods[..index]
                .iter()
                .find(|other| other.wit == method.wit)
            {
                let text = format!(
                    "`{}` and `{}` are both called `{}` from outside: rename one",
                    method.rust, other.rust, method.wit
                );
                return Err(Error::new(method.rust.span(), text));
            }
        }
        let wit = wit_name(name)?;
        not_hiding(&snake(&wit, name.span()))?;
        Ok(Class {
            wit,
            rust: self.rust,
            enter,
            exit,
            methods,
            settings: self.settings,
            docs: self.docs,
        })
    }
}

fn read_enter(sig: &Signature, class: &Ident) -> Result<Enter> {
    plain_signature(sig)?;
    if let Some(argument) = sig.inputs.first() {
        let text = "what enters a class takes nothing: read what it needs from files, variables or constants";
        return Err(Error::new_spanned(argument, text));
    }
    let is_class = |ty: &Type| matches!(ty, Type::Path(path) if path.path.is_ident("Self") || path.path.is_ident(class));
    let ReturnType::Type(_, output) = &sig.output else {
        return Err(Error::new_spanned(
            &sig.ident,
            "what enters a class makes it: write `-> Self` or `-> Result<Self, String>`",
        ));
    };
    let is_fallible = match &**output {
        ty if is_class(ty) => false,
        Type::Path(path)
            if path
                .path
                .segments
                .last()
                .is_some_and(|last| last.ident == "Result") =>
        {
            true
        }
        other => {
            return Err(Error::new_spanned(
                other,
                "what enters a class makes it: write `-> Self` or `-> Result<Self, String>`",
            ));
        }
    };
    Ok(Enter {
        rust: sig.ident.clone(),
        is_async: sig.asyncness.is_some(),
        is_fallible,
    })
}

fn read_exit(sig: &Signature) -> Result<Exit> {
    plain_signature(sig)?;
    let mut inputs = sig.inputs.iter();
    let receiver = match inputs.next() {
        Some(FnArg::Receiver(receiver)) => receiver,
        _ => {
            return Err(Error::new_spanned(
                &sig.ident,
                "what leaves a class takes it: write `self`, `&self` or `&mut self`",
            ));
        }
    };
    if let Some(argument) = inputs.next() {
        return Err(Error::new_spanned(
            argument,
            "what leaves a class takes nothing but the class",
        ));
    }
    if let ReturnType::Type(_, output) = &sig.output
        && !is_unit(output)
    {
        return Err(Error::new_spanned(
            output,
            "nobody is there for a result when a class is left: return nothing",
        ));
    }
    Ok(Exit {
        rust: sig.ident.clone(),
        is_async: sig.asyncness.is_some(),
        takes_self: receiver.reference.is_none(),
    })
}

fn read_method(sig: &Signature, docs: String, types: &mut Types<'_>) -> Result<Callable> {
    match sig.inputs.first() {
        Some(FnArg::Receiver(receiver)) if receiver.reference.is_some() => {}
        Some(FnArg::Receiver(receiver)) => {
            let text = "a method leaves the class in place: write `&self` or `&mut self`";
            return Err(Error::new_spanned(receiver, text));
        }
        _ => {
            let text = "a method has a class: write `&self` first, or move it out of the `impl` as a `#[lydian::function]`";
            return Err(Error::new_spanned(&sig.ident, text));
        }
    }
    let method = read_callable(sig, docs, types)?;
    match (&method.output, &sig.output) {
        (Output::Stream(_), ReturnType::Type(_, output)) => {
            let text = "a class answers one call after another, and a stream would keep its instance: return a `Vec`, or stream from a `#[lydian::function]`";
            Err(Error::new_spanned(output, text))
        }
        _ => Ok(method),
    }
}
