//! The handles among a call's arguments, checked before the guest is entered.
//!
//! What is found wrong half-way through lowering ends a session and everything in it, and a handle
//! is the one part of an argument that its type does not vouch for.

use crate::outcome::{Failure, FailureKind};
use lydian_value::{FuncType, Type, Value};
use std::collections::HashMap;
use wasmtime::component::types::ComponentFunc;
use wasmtime::component::{ResourceType, Type as Actual};

/// Refuses handles that are not open, are of another resource than the parameter's, or are given
/// away in the same call that uses them otherwise. `open` answers what a handle is of.
pub(crate) fn check(
    function: &FuncType,
    actual: &ComponentFunc,
    args: &[Value],
    open: impl Fn(u32) -> Option<ResourceType>,
) -> Result<(), Failure> {
    let mut found = Vec::new();
    let types = function.params.iter().zip(actual.params());
    for ((param, (_, ty)), value) in types.zip(args) {
        collect(&param.ty, &ty, value, &mut found);
    }
    let mut given: HashMap<u32, bool> = HashMap::new();
    for Found {
        handle,
        name,
        ty,
        for_good,
    } in found
    {
        let Some(is) = open(handle) else {
            return Err(unknown(handle));
        };
        if is != ty {
            return Err(refused(format!(
                "handle {handle} is not of a `{name}` but of another resource"
            )));
        }
        let before = given.insert(handle, for_good);
        if before.is_some_and(|before| before || for_good) {
            return Err(refused(format!(
                "handle {handle} is given away and cannot be used twice in one call"
            )));
        }
    }
    Ok(())
}

/// A number that stands for nothing.
pub(crate) fn unknown(handle: u32) -> Failure {
    refused(format!("handle {handle} is not open in this session"))
        .hint("handles come from results of the same session, and are gone once they are dropped or given away")
}

fn refused(text: String) -> Failure {
    Failure::new(FailureKind::Arguments, text)
}

/// A handle where one is expected.
struct Found<'a> {
    handle: u32,
    /// What the parameter's type calls the resource.
    name: &'a str,
    ty: ResourceType,
    /// It is `own`: the guest keeps it.
    for_good: bool,
}

/// The types are one, seen by us and by wasmtime.
fn collect<'a>(ours: &'a Type, theirs: &Actual, value: &Value, found: &mut Vec<Found<'a>>) {
    match (ours, theirs, value) {
        (Type::Own(name), Actual::Own(ty), Value::Handle(handle)) => found.push(Found {
            handle: *handle,
            name,
            ty: *ty,
            for_good: true,
        }),
        (Type::Borrow(name), Actual::Borrow(ty), Value::Handle(handle)) => found.push(Found {
            handle: *handle,
            name,
            ty: *ty,
            for_good: false,
        }),
        (Type::List(item), Actual::List(list), Value::List(values)) => {
            each(item, &list.ty(), values, found);
        }
        (Type::FixedList(item, _), Actual::FixedLengthList(list), Value::List(values)) => {
            each(item, &list.ty(), values, found);
        }
        (Type::Map(key, item), Actual::Map(map), Value::Map(entries)) => {
            let (theirs_key, theirs_item) = (map.key(), map.value());
            for (k, v) in entries {
                collect(key, &theirs_key, k, found);
                collect(item, &theirs_item, v, found);
            }
        }
        (Type::Record(record), Actual::Record(theirs), Value::Record(values)) => {
            let fields = record.fields.iter().zip(theirs.fields()).zip(values);
            for ((ours, theirs), value) in fields {
                collect(&ours.ty, &theirs.ty, value, found);
            }
        }
        (Type::Tuple(types), Actual::Tuple(theirs), Value::Tuple(values)) => {
            for ((ours, theirs), value) in types.iter().zip(theirs.types()).zip(values) {
                collect(ours, &theirs, value, found);
            }
        }
        (Type::Variant(variant), Actual::Variant(theirs), Value::Variant(case, Some(payload))) => {
            let index = *case as usize;
            let ours = variant.cases.get(index).and_then(|case| case.ty.as_ref());
            let theirs = theirs.cases().nth(index).and_then(|case| case.ty);
            payload_of(ours, theirs.as_ref(), payload, found);
        }
        (Type::Option(ours), Actual::Option(theirs), Value::Option(Some(payload))) => {
            collect(ours, &theirs.ty(), payload, found);
        }
        (Type::Result(ours), Actual::Result(theirs), Value::Result(value)) => match value {
            Ok(Some(payload)) => {
                payload_of(ours.ok.as_ref(), theirs.ok().as_ref(), payload, found);
            }
            Err(Some(payload)) => {
                payload_of(ours.err.as_ref(), theirs.err().as_ref(), payload, found);
            }
            _ => {}
        },
        _ => {}
    }
}

fn each<'a>(ours: &'a Type, theirs: &Actual, values: &[Value], found: &mut Vec<Found<'a>>) {
    for value in values {
        collect(ours, theirs, value, found);
    }
}

fn payload_of<'a>(
    ours: Option<&'a Type>,
    theirs: Option<&Actual>,
    payload: &Value,
    found: &mut Vec<Found<'a>>,
) {
    if let (Some(ours), Some(theirs)) = (ours, theirs) {
        collect(ours, theirs, payload, found);
    }
}
