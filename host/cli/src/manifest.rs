//! What a component and the `lydian.toml` beside it say about themselves, as far as this side must know.
//!
//! What the keys mean is the node's to decide. Here they are only brought together, and read where the
//! command has a part of its own: names, directories to ship, programs to run here.

use std::io;
use std::path::Path;

use serde_json::{Map, Value as Json};
use wasmparser::{Parser, Payload};

use crate::output::error::CliError;

/// The file a user writes beside a component or in a crate.
pub(crate) const FILE: &str = "lydian.toml";
/// The section the SDK writes; in the component, or in a core module inside it.
const SECTION: &str = "lydian:manifest";
/// The package through which a function calls others.
const CALLS: &str = "lydian:calls/";

/// Reads `lydian.toml` as the JSON the node takes; none when there is no such file.
///
/// # Errors
/// Exit 2: not TOML. Otherwise the file cannot be read.
pub(crate) fn read_file(path: &Path) -> Result<Option<Json>, CliError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(CliError::read(path, &error)),
    };
    parse(&text).map(Some).map_err(|message| {
        CliError::usage(
            "bad-manifest",
            format!("`{}` is not a manifest: {message}", path.display()),
        )
    })
}

/// Not there, be it because a part of its path is a file: whoever reads that one will tell what it is.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn parse(text: &str) -> Result<Json, String> {
    // The whole error shows the line and a caret.
    toml::from_str(text).map_err(|error: toml::de::Error| error.to_string().trim_end().to_owned())
}

/// What stands in a component, without what the file beside it says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Inside {
    /// What the SDK wrote; none when the component was made without it.
    pub(crate) manifest: Option<Json>,
    /// It calls other functions.
    pub(crate) calls: bool,
}

impl Inside {
    /// Looks into a component. One that is broken says nothing: what is wrong with it is told when it is
    /// deployed. The same goes for a section that is not JSON.
    pub(crate) fn of(component: &[u8]) -> Self {
        // Nearly all components have neither, and looking for the words is faster than parsing.
        let mentions = |word: &str| memchr::memmem::find(component, word.as_bytes()).is_some();
        Self {
            manifest: mentions(SECTION).then(|| section(component)).flatten(),
            calls: mentions(CALLS),
        }
    }
}

fn section(component: &[u8]) -> Option<Json> {
    let mut found = None;
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        let Payload::CustomSection(section) = payload else {
            continue;
        };
        if section.name() != SECTION {
            continue;
        }
        // A linker puts sections of one name in a row, so there may be several texts in one.
        for part in serde_json::Deserializer::from_slice(section.data()).into_iter::<Json>() {
            found = Some(laid_over(part.ok()?, found.unwrap_or_else(empty)));
        }
    }
    found
}

/// A manifest that says nothing.
pub(crate) fn empty() -> Json {
    Json::Object(Map::new())
}

/// `over` where it speaks, else `under`, table by table.
pub(crate) fn laid_over(over: Json, under: Json) -> Json {
    match (over, under) {
        (Json::Object(mut over), Json::Object(under)) => {
            for (key, value) in under {
                let value = match over.remove(&key) {
                    Some(own) => laid_over(own, value),
                    None => value,
                };
                over.insert(key, value);
            }
            Json::Object(over)
        }
        (over, _) => over,
    }
}

/// A program of a crate that runs on its caller's machine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entrypoint {
    /// As a target names it.
    pub(crate) name: String,
    pub(crate) docs: String,
    /// Names and types of its arguments, in order.
    pub(crate) args: Vec<(String, String)>,
    /// The program it is in.
    pub(crate) program: String,
}

/// The entrypoints that the manifest in `program` tells of.
pub(crate) fn entrypoints(manifest: &Json, program: &str) -> Vec<Entrypoint> {
    let text = |json: &Json, key: &str| json[key].as_str().unwrap_or_default().to_owned();
    let table = manifest.get("entrypoints").and_then(Json::as_object);
    let entries = table.into_iter().flatten().map(|(name, entry)| {
        let args = entry["args"].as_array().into_iter().flatten();
        Entrypoint {
            name: name.clone(),
            docs: text(entry, "docs"),
            args: args
                .map(|arg| (text(arg, "name"), text(arg, "type")))
                .collect(),
            program: program.to_owned(),
        }
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A component with these sections in a row; the empty name is an import-like mention.
    fn component(sections: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        for (name, data) in sections {
            let mut section = vec![name.len() as u8];
            section.extend(name.as_bytes());
            section.extend(data.as_bytes());
            bytes.push(0);
            // LEB128 in two bytes.
            bytes.push((section.len() & 0x7f) as u8 | 0x80);
            bytes.push((section.len() >> 7) as u8);
            bytes.extend(section);
        }
        bytes
    }

    #[test]
    fn manifests_become_json() {
        let json = parse("name = \"math\"\n[functions.square]\ntimeout = \"5s\"\n").unwrap();
        assert_eq!(
            json,
            json!({ "name": "math", "functions": { "square": { "timeout": "5s" } } })
        );
        assert!(parse("name = ").is_err());
    }

    /// The linker joins the sections of several modules.
    #[test]
    fn texts_in_a_row_are_one_manifest() {
        let two = r#"{"functions":{"a":{}},"mounts":{"/x":{"from":"./x"}}}{"functions":{"b":{}}}"#;
        let inside = Inside::of(&component(&[("name", "x"), ("lydian:manifest", two)]));
        let manifest = inside.manifest.unwrap();
        assert_eq!(manifest["functions"], json!({ "a": {}, "b": {} }));
        assert_eq!(manifest["mounts"]["/x"]["from"], "./x");
        assert!(!inside.calls);
    }

    #[test]
    fn programs_are_told_with_their_arguments() {
        let manifest = json!({ "entrypoints": {
            "main": { "docs": "Sweeps.", "args": [{ "name": "n", "type": "u64" }] },
        } });
        let expected = Entrypoint {
            name: "main".to_owned(),
            docs: "Sweeps.".to_owned(),
            args: vec![("n".to_owned(), "u64".to_owned())],
            program: "sweep".to_owned(),
        };
        assert_eq!(entrypoints(&manifest, "sweep"), [expected]);
        assert!(entrypoints(&json!({}), "sweep").is_empty());
    }

    #[test]
    fn a_component_of_another_tool_has_nothing_inside() {
        assert_eq!(Inside::of(&component(&[("name", "x")])), Inside::default());
        assert_eq!(Inside::of(b"\0as"), Inside::default());
        assert!(Inside::of(&component(&[("name", "lydian:calls/invoke")])).calls);
    }

    #[test]
    fn what_lies_over_wins_table_by_table() {
        let file = json!({ "timeout": "5s", "functions": { "a": { "docs": "mine" } } });
        let docs = json!({ "functions": { "a": { "docs": "theirs" }, "b": { "docs": "theirs" } } });
        let expected = json!({
            "timeout": "5s",
            "functions": { "a": { "docs": "mine" }, "b": { "docs": "theirs" } },
        });
        assert_eq!(laid_over(file, docs), expected);
    }
}
