//! Programs of the crate that run on their caller's machine.
//!
//! The node runs none of them. It keeps what the SDK wrote, so that whoever has the app can tell what may be
//! asked of its crate.

use super::{Problem, units};
use crate::error::Error;
use lydian_api::v1;
use serde_json::{Map, Value};

/// The key they stand under.
const KEY: &str = "entrypoints";

/// Reads the entrypoints of a manifest.
///
/// # Errors
/// [`Error::Manifest`] naming the key.
pub(super) fn parse(value: Option<Value>) -> Result<Vec<v1::Entrypoint>, Error> {
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let Value::Object(tables) = value else {
        return Err(Problem::new("is not a table").at(KEY.to_owned()));
    };
    let read = |(name, value): (String, Value)| {
        let path = format!("{KEY}.{name}");
        entrypoint(name, &value).map_err(|problem| problem.at(path))
    };
    tables.into_iter().map(read).collect()
}

fn entrypoint(name: String, value: &Value) -> Result<v1::Entrypoint, Problem> {
    let table = table(value, &["docs", "args"])?;
    let args = match table.get("args") {
        None => Vec::new(),
        Some(Value::Array(args)) => args.iter().map(argument).collect::<Result<_, _>>()?,
        Some(_) => return Err(Problem::new("has `args` that are not a list")),
    };
    Ok(v1::Entrypoint {
        name,
        docs: text(table, "docs")?,
        args,
    })
}

fn argument(value: &Value) -> Result<v1::EntrypointArg, Problem> {
    let table = table(value, &["name", "type"])?;
    Ok(v1::EntrypointArg {
        name: text(table, "name")?,
        r#type: text(table, "type")?,
    })
}

fn table<'a>(value: &'a Value, known: &[&str]) -> Result<&'a Map<String, Value>, Problem> {
    let table = value
        .as_object()
        .ok_or_else(|| Problem::new("is not a table"))?;
    match table.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(table),
        Some(key) => Err(Problem::new(format!(
            "has a key `{key}`, which is not one of entrypoints"
        ))),
    }
}

fn text(table: &Map<String, Value>, key: &str) -> Result<String, Problem> {
    table.get(key).map_or_else(
        || Ok(String::new()),
        |value| units::string(value).map(str::to_owned),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entrypoints_are_kept_as_written() {
        let written =
            json!({ "main": { "docs": "Sweeps.", "args": [{ "name": "n", "type": "u64" }] } });
        let read = parse(Some(written)).expect("is read");
        assert_eq!(
            (read[0].name.as_str(), read[0].docs.as_str()),
            ("main", "Sweeps.")
        );
        assert_eq!(
            (
                read[0].args[0].name.as_str(),
                read[0].args[0].r#type.as_str()
            ),
            ("n", "u64")
        );
        assert_eq!(parse(None).expect("is none"), []);
    }

    #[test]
    fn what_is_none_is_named() {
        for (written, path) in [
            (json!([]), "entrypoints"),
            (json!({ "main": 1 }), "entrypoints.main"),
            (json!({ "main": { "doc": "" } }), "entrypoints.main"),
            (
                json!({ "main": { "args": [{ "name": 1 }] } }),
                "entrypoints.main",
            ),
        ] {
            let error = parse(Some(written)).expect_err("is refused");
            assert!(error.to_string().contains(path), "{error}");
        }
    }
}
