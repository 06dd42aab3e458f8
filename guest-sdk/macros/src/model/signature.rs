//! What a function takes and gives, and which signatures cannot be called from outside.

use super::found::RawFunction;
use super::{Callable, Function, Output, Param, Stream, StreamForm};
use crate::names::{kebab, plain, wit_name};
use crate::types::{MAX_TUPLE, Types, is_unit, no_cfg, plain as primitive};
use syn::{
    Error, FnArg, GenericArgument, Ident, Pat, PathArguments, Result, ReturnType, Signature, Type,
    TypeParamBound,
};

impl RawFunction {
    pub(super) fn read(self, types: &mut Types<'_>) -> Result<Function> {
        if let Some(FnArg::Receiver(receiver)) = self.sig.inputs.first() {
            let text = "`self` belongs in a class: put the function in an `impl` of a `#[lydian::class]` struct, as `#[lydian::method]`";
            return Err(Error::new_spanned(receiver, text));
        }
        not_hiding(&self.sig.ident)?;
        Ok(Function {
            call: read_callable(&self.sig, self.docs, types)?,
            settings: self.settings,
        })
    }
}

/// Refuses a name that would hide a type of Rust's from the module: what callers use is a type of the function's name.
pub(super) fn not_hiding(name: &Ident) -> Result<()> {
    if !hides(&name.to_string()) {
        return Ok(());
    }
    let text = format!(
        "`{name}` is made a name for callers, which would hide Rust's own `{name}` in this module: use another name"
    );
    Err(Error::new(name.span(), text))
}

/// Whether it is the name of a type that signatures use without a path.
pub(super) fn hides(name: &str) -> bool {
    let others = [
        "str", "usize", "isize", "u128", "i128", "String", "Vec", "Option", "Result", "Box",
    ];
    primitive(name).is_some() || others.contains(&name)
}

/// What no exported function may be.
pub(super) fn plain_signature(sig: &Signature) -> Result<()> {
    if let Some(parameter) = sig.generics.params.first() {
        let text = match parameter {
            syn::GenericParam::Lifetime(_) => {
                "a value that crosses a call owns its data: use `String` or `Vec` instead of a borrow"
            }
            _ => {
                "a function called from outside is not generic: write one for each type it is used with"
            }
        };
        return Err(Error::new_spanned(parameter, text));
    }
    if let Some(token) = &sig.variadic {
        return Err(Error::new_spanned(
            token,
            "WIT has no variable arguments: take a `Vec`",
        ));
    }
    if let Some(token) = &sig.unsafety {
        return Err(Error::new_spanned(
            token,
            "whoever calls from outside cannot uphold what `unsafe` asks: make it safe",
        ));
    }
    if let Some(token) = &sig.abi {
        return Err(Error::new_spanned(
            token,
            "the calling convention is the component's: leave `extern` out",
        ));
    }
    Ok(())
}

pub(super) fn read_callable(
    sig: &Signature,
    docs: String,
    types: &mut Types<'_>,
) -> Result<Callable> {
    plain_signature(sig)?;
    let mut params: Vec<Param> = Vec::new();
    for input in &sig.inputs {
        let FnArg::Typed(input) = input else { continue };
        no_cfg(&input.attrs)?;
        let rust = match &*input.pat {
            Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => pat.ident.clone(),
            other => {
                let text =
                    "a parameter has a name, which callers use: take it apart inside the function";
                return Err(Error::new_spanned(other, text));
            }
        };
        let wit = wit_name(&rust)?;
        if let Some(other) = params.iter().find(|other| other.wit == wit) {
            let text = format!(
                "`{rust}` and `{}` are both called `{wit}` from outside: rename one",
                other.rust
            );
            return Err(Error::new(rust.span(), text));
        }
        params.push(Param {
            ty: types.of(&input.ty)?,
            syn: (*input.ty).clone(),
            wit,
            // A name that only says "unused" would be an odd one for callers' parameters.
            rust: Ident::new(
                plain(&rust.to_string()).trim_start_matches('_'),
                rust.span(),
            )
            .raw_if_needed(),
        });
    }
    if params.len() > MAX_TUPLE {
        let text = format!("a function has at most {MAX_TUPLE} parameters: put them in a struct");
        return Err(Error::new_spanned(&sig.inputs, text));
    }
    Ok(Callable {
        wit: wit_name(&sig.ident)?,
        rust: sig.ident.clone(),
        params,
        output: read_output(&sig.output, types)?,
        is_async: sig.asyncness.is_some(),
        docs,
    })
}

trait RawIfNeeded {
    fn raw_if_needed(self) -> Ident;
}

impl RawIfNeeded for Ident {
    fn raw_if_needed(self) -> Ident {
        crate::names::snake(&kebab(&self.to_string()), self.span())
    }
}

fn read_output(output: &ReturnType, types: &mut Types<'_>) -> Result<Output> {
    let ReturnType::Type(_, ty) = output else {
        return Ok(Output::None);
    };
    if is_unit(ty) {
        return Ok(Output::None);
    }
    if let Some((form, item)) = stream_item(ty) {
        return Ok(Output::Stream(Stream {
            item: types.of(item)?,
            syn: Box::new(item.clone()),
            form,
        }));
    }
    Ok(Output::Value(types.of(ty)?, ty.clone()))
}

/// The item of `lydian::Stream<T>`, `impl Stream<Item = T>` or `impl Iterator<Item = T>`.
fn stream_item(ty: &Type) -> Option<(StreamForm, &Type)> {
    match ty {
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            let PathArguments::AngleBracketed(arguments) = &last.arguments else {
                return None;
            };
            match arguments.args.first()? {
                GenericArgument::Type(item) if last.ident == "Stream" => {
                    Some((StreamForm::Ours, item))
                }
                _ => None,
            }
        }
        Type::ImplTrait(it) => it.bounds.iter().find_map(|bound| {
            let TypeParamBound::Trait(bound) = bound else {
                return None;
            };
            let last = bound.path.segments.last()?;
            let form = match last.ident.to_string().as_str() {
                "Stream" => StreamForm::ImplStream,
                "Iterator" => StreamForm::ImplIterator,
                _ => return None,
            };
            let PathArguments::AngleBracketed(arguments) = &last.arguments else {
                return None;
            };
            arguments.args.iter().find_map(|argument| match argument {
                GenericArgument::AssocType(item) if item.ident == "Item" => Some((form, &item.ty)),
                _ => None,
            })
        }),
        _ => None,
    }
}
