//! The manifest inside a component: JSON in the custom section `lydian:manifest`.
//!
//! A linker joins sections of one name, so a crate with several app modules leaves several JSON texts in a
//! row; they are laid over one another. The section stands in the component or in a core module it
//! contains, because the tool that makes the component keeps the module's sections where they were.

use super::refused;
use crate::error::Error;
use serde_json::{Map, Value};
use wasmparser::{Parser, Payload};

/// The section's name.
pub(crate) const NAME: &str = "lydian:manifest";

/// No manifest is larger; checked before any of it is read.
const MAX_BYTES: usize = 1 << 20;

/// The component's own manifest; `None` when it carries none.
///
/// # Errors
/// [`Error::Manifest`] when the section is not JSON. A component that does not parse has no manifest:
/// what is wrong with it is for the compiler to say.
pub(crate) fn find(component: &[u8]) -> Result<Option<Value>, Error> {
    let mut found: Option<Value> = None;
    for payload in Parser::new(0).parse_all(component) {
        let Ok(payload) = payload else {
            return Ok(found);
        };
        let Payload::CustomSection(section) = payload else {
            continue;
        };
        if section.name() != NAME {
            continue;
        }
        if section.data().len() > MAX_BYTES {
            return Err(refused("", "inside the component is larger than 1 MiB"));
        }
        for part in serde_json::Deserializer::from_slice(section.data()).into_iter::<Value>() {
            let part = part.map_err(|error| {
                refused("", &format!("inside the component is not JSON: {error}"))
            })?;
            lay_over(found.get_or_insert_with(|| Value::Object(Map::new())), part);
        }
    }
    Ok(found)
}

/// Puts `over` on `under`: tables are merged, anything else is replaced. Lists are replaced whole, so that a
/// file can take a grant away.
pub(super) fn lay_over(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}
