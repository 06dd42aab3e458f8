//! The manifest: what a deployment says about its functions beyond their types.
//!
//! It is `lydian.toml` beside the component, sent as JSON, or the JSON the SDK left inside the component
//! ([`section`]); where both speak, the file wins key by key ([`merged`]).
//!
//! ```toml
//! name = "sweep"                 # read by the command line
//! timeout = "30s"                # for every function of the app
//! network = ["api.example.org:443"]
//!
//! [functions.train]              # for one
//! memory = "512MiB"
//! env = { RUST_LOG = "info" }
//! ```
//!
//! | key | means |
//! | --- | --- |
//! | `timeout`, `cpu` | wall and processor time, `500ms`, `5s`, `1m30s` |
//! | `memory`, `payload`, `host-call-bytes`, `output` | bytes, `512MiB` |
//! | `output-rate` | bytes per second, `1MiB` |
//! | `handles`, `open-files` | counts |
//! | `network`, `env`, `args` | grants: hosts and ports, environment variables, arguments |
//! | `fan-out` | calls that one call of it may lead to |
//! | `classes`, `mounts` | instances that are kept between calls; directories shipped with the app |
//! | `docs`, `kind` | written by the SDK, per function |
//! | `types` | written by the SDK: what is said of types, fields and cases, `point` and `point.x` |
//! | `sdk`, `entrypoints` | written by the SDK, per app: its version, what runs on the caller's machine |
//!
//! Always true: every key is read by something. An unknown key is refused by name, and one that a later
//! release will bring is refused with a sentence that says so: a deployment never promises what the node
//! would not do.

pub(crate) mod bare;
mod classes;
mod entrypoints;
mod later;
mod mounts;
pub(crate) mod section;
mod units;

use crate::error::Error;
pub(crate) use classes::{Class, DEFAULT_MAX_CALLS, DEFAULT_MAX_IDLE};
use lydian_api::size::MAX_PAYLOAD_BYTES;
use lydian_api::v1;
use lydian_engine::{Grants, HostPort, Limits};
use lydian_value::Interface;
pub(crate) use mounts::MountPoint;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The newest manifest version this release reads.
const VERSION: u64 = 1;

/// A manifest that was read and understood.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Manifest {
    app: Settings,
    functions: BTreeMap<String, Settings>,
    classes: Vec<Class>,
    mounts: Vec<MountPoint>,
    entrypoints: Vec<v1::Entrypoint>,
    types: BTreeMap<String, String>,
}

/// Settings of one function, or of all functions of the app. What is absent is not set.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Settings {
    limits: Limits,
    network: Option<Vec<HostPort>>,
    env: BTreeMap<String, String>,
    args: Option<Vec<String>>,
    fan_out: u32,
    docs: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::UNSET,
            network: None,
            env: BTreeMap::new(),
            args: None,
            fan_out: 0,
            docs: String::new(),
        }
    }
}

impl Manifest {
    /// Reads a manifest; an empty one sets nothing.
    ///
    /// # Errors
    /// [`Error::Manifest`] naming the key.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, Error> {
        let Value::Object(mut map) = value(json)? else {
            return Err(refused("", "is not a table"));
        };
        check_version(map.remove("version"))?;
        if map.remove("name").is_some_and(|name| !name.is_string()) {
            return Err(refused("name", "is not a string"));
        }
        // For people.
        if map.remove("sdk").is_some_and(|sdk| !sdk.is_string()) {
            return Err(refused("sdk", "is not a string"));
        }
        let entrypoints = entrypoints::parse(map.remove("entrypoints"))?;
        let mounts = mounts::parse(&mut map)?;
        let types = type_docs(map.remove("types"))?;
        let mut functions = BTreeMap::new();
        for (name, table) in tables(&mut map, "functions")? {
            let settings = Settings::parse(&format!("functions.{name}"), table)?;
            functions.insert(name, settings);
        }
        let classes = tables(&mut map, "classes")?
            .into_iter()
            .map(|(name, table)| Class::parse(&name, table))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            app: Settings::parse("", map)?,
            functions,
            classes,
            mounts,
            entrypoints,
            types,
        })
    }

    /// Refuses settings for functions the component does not export.
    pub(crate) fn check_functions(&self, interface: &Interface) -> Result<(), Error> {
        let exported = |name: &str| {
            interface
                .functions
                .iter()
                .any(|function| function.name == name)
        };
        for class in &self.classes {
            class.check(interface)?;
        }
        if let Some((name, class)) = self.misplaced_settings() {
            return Err(Error::Manifest {
                path: format!("functions.{name}"),
                reason: format!("sets limits or grants of a method of class `{class}`"),
                hint: Some(format!(
                    "one instance serves all methods: set them on `classes.{class}`"
                )),
            });
        }
        let Some(unknown) = self.functions.keys().find(|name| !exported(name)) else {
            return Ok(());
        };
        let names: Vec<&str> = interface
            .functions
            .iter()
            .map(|function| function.name.as_str())
            .collect();
        Err(Error::Manifest {
            path: format!("functions.{unknown}"),
            reason: "names a function the component does not export".into(),
            hint: Some(crate::error::known_names("it exports", unknown, &names)),
        })
    }

    /// A method with more than docs of its own, and its class.
    fn misplaced_settings(&self) -> Option<(&str, &str)> {
        self.functions.iter().find_map(|(name, own)| {
            let class = self.class_of(name)?;
            let plain = Settings {
                docs: own.docs.clone(),
                ..Settings::default()
            };
            (*own != plain).then_some((name.as_str(), class.name.as_str()))
        })
    }

    /// The classes there are.
    pub(crate) fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Directories shipped with the app.
    pub(crate) fn mounts(&self) -> &[MountPoint] {
        &self.mounts
    }

    /// The class that a function is a method of.
    pub(crate) fn class_of(&self, function: &str) -> Option<&Class> {
        self.classes.iter().find(|class| class.has_method(function))
    }

    /// Whether callers may call a function: what belongs to a class and is no method is the platform's.
    pub(crate) fn is_callable(&self, function: &str) -> bool {
        let mut classes = self.classes.iter();
        !classes.any(|class| class.is_lifecycle(function))
    }

    /// How many functions are the platform's to call.
    pub(crate) fn hidden(&self) -> u32 {
        let named =
            |class: &Class| u32::from(class.enter.is_some()) + u32::from(class.exit.is_some());
        self.classes.iter().map(named).sum()
    }

    /// Programs of the crate that run on their caller's machine.
    pub(crate) fn entrypoints(&self) -> &[v1::Entrypoint] {
        &self.entrypoints
    }

    /// What the deployment sets for a function; the rest is the node's.
    pub(crate) fn limits(&self, function: &str) -> Limits {
        self.function(function)
            .map_or(self.app.limits, |own| own.limits.or(&self.app.limits))
    }

    /// What the deployment grants a function.
    pub(crate) fn grants(&self, function: &str) -> Grants {
        let own = self.function(function);
        let mut env = self.app.env.clone();
        env.extend(own.iter().flat_map(|own| own.env.clone()));
        let network = own
            .and_then(|own| own.network.clone())
            .or_else(|| self.app.network.clone());
        let args = own
            .and_then(|own| own.args.clone())
            .or_else(|| self.app.args.clone());
        Grants {
            network: network.unwrap_or_default(),
            env: env.into_iter().collect(),
            args: args.unwrap_or_default(),
            // Where they are is known once they were made.
            mounts: Vec::new(),
        }
    }

    /// How many calls one call of a function may lead to; 0: the node decides.
    pub(crate) fn fan_out(&self, function: &str) -> u64 {
        let own = self.function(function).map_or(0, |own| own.fan_out);
        u64::from(if own > 0 { own } else { self.app.fan_out })
    }

    /// What the SDK wrote about a function; empty when it wrote nothing.
    pub(crate) fn docs(&self, function: &str) -> &str {
        self.functions.get(function).map_or("", |own| &own.docs)
    }

    /// What the SDK wrote about a type, `point`, or a field or case of one, `point.x`; or about the class that an interface,
    /// `model#`, is of.
    pub(crate) fn type_docs(&self, name: &str) -> Option<&str> {
        if let Some(interface) = name.strip_suffix('#') {
            let mut classes = self.classes.iter();
            let class = classes.find(|class| class.interface == interface)?;
            return Some(class.docs()).filter(|docs| !docs.trim().is_empty());
        }
        self.types.get(name).map(String::as_str)
    }

    /// Whether it says anything about types.
    pub(crate) fn has_type_docs(&self) -> bool {
        !self.types.is_empty()
    }

    /// What is set for a function; methods have their class's.
    fn function(&self, name: &str) -> Option<&Settings> {
        match self.class_of(name) {
            Some(class) => Some(&class.settings),
            None => self.functions.get(name),
        }
    }
}

/// The component's own manifest with `file` over it, key by key and function by function. An empty one
/// says nothing.
///
/// # Errors
/// [`Error::Manifest`] when either is not a JSON table.
pub(crate) fn merged(own: Option<Value>, file: &[u8]) -> Result<Vec<u8>, Error> {
    let Some(own) = own else {
        return if file.is_empty() {
            Ok(Vec::new())
        } else {
            Ok(value(file)?.to_string().into_bytes())
        };
    };
    let mut all = own;
    section::lay_over(&mut all, value(file)?);
    Ok(all.to_string().into_bytes())
}

fn value(json: &[u8]) -> Result<Value, Error> {
    if json.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    serde_json::from_slice(json).map_err(|error| refused("", &format!("is not JSON: {error}")))
}

fn check_version(version: Option<Value>) -> Result<(), Error> {
    match version {
        None => Ok(()),
        Some(version) => match version.as_u64() {
            Some(VERSION) => Ok(()),
            Some(newer) if newer > VERSION => Err(Error::Manifest {
                path: "version".into(),
                reason: format!("is {newer}, newer than {VERSION}, the newest this node reads"),
                hint: Some("upgrade the node, or build with an older SDK".into()),
            }),
            _ => Err(refused("version", &format!("is not {VERSION}"))),
        },
    }
}

/// What is written about types, by their names and those of their parts.
fn type_docs(value: Option<Value>) -> Result<BTreeMap<String, String>, Error> {
    let Some(value) = value else {
        return Ok(BTreeMap::new());
    };
    let Value::Object(table) = value else {
        return Err(refused("types", "is not a table"));
    };
    let read = |(name, docs): (String, Value)| match docs {
        Value::String(docs) => Ok((name, docs)),
        _ => Err(refused(&format!("types.{name}"), "is not a string")),
    };
    table.into_iter().map(read).collect()
}

impl Settings {
    fn parse(path: &str, table: Map<String, Value>) -> Result<Self, Error> {
        let mut settings = Self::default();
        for (key, value) in table {
            let place = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            settings
                .set(&key, &value, !path.is_empty())
                .map_err(|problem| problem.at(place))?;
        }
        Ok(settings)
    }

    fn set(&mut self, key: &str, value: &Value, of_function: bool) -> Result<(), Problem> {
        match key {
            "timeout" => self.limits.timeout = units::duration(value)?,
            "cpu" => self.limits.cpu = units::duration(value)?,
            "memory" => self.limits.memory_bytes = units::bytes(value)?,
            "payload" => self.limits.payload_bytes = payload(value)?,
            "host-call-bytes" => self.limits.host_call_bytes = units::bytes(value)?,
            "output" => self.limits.output_bytes = units::bytes(value)?,
            "output-rate" => self.limits.output_bytes_per_second = units::bytes(value)?,
            "handles" => self.limits.handles = units::count(value)?,
            "open-files" => self.limits.open_files = units::count(value)?,
            "network" => self.network = Some(hosts(value)?),
            "env" => self.env = variables(value)?,
            "args" => self.args = Some(units::strings(value)?),
            "fan-out" => self.fan_out = units::count(value)?,
            "docs" if of_function => self.docs = units::string(value)?.to_owned(),
            "kind" if of_function => kind(units::string(value)?)?,
            _ => return Err(unknown(key)),
        }
        Ok(())
    }
}

fn unknown(key: &str) -> Problem {
    classes::misplaced(key).unwrap_or_else(|| classes::unknown(key, KEYS))
}

/// A table below a key, and its name.
type Table = (String, Map<String, Value>);

/// The tables below a key.
fn tables(map: &mut Map<String, Value>, key: &str) -> Result<Vec<Table>, Error> {
    let tables = match map.remove(key) {
        None => return Ok(Vec::new()),
        Some(Value::Object(tables)) => tables,
        Some(_) => return Err(refused(key, "is not a table")),
    };
    let table = |(name, table)| match table {
        Value::Object(table) => Ok((name, table)),
        _ => Err(refused(&format!("{key}.{name}"), "is not a table")),
    };
    tables.into_iter().map(table).collect()
}

/// Every key of [`Settings::set`], for "did you mean".
const KEYS: &[&str] = &[
    "timeout",
    "cpu",
    "memory",
    "payload",
    "host-call-bytes",
    "output",
    "output-rate",
    "handles",
    "open-files",
    "network",
    "env",
    "args",
    "fan-out",
    "docs",
    "kind",
    "functions",
    "classes",
    "mounts",
    "name",
    "version",
    "sdk",
    "entrypoints",
    "types",
];

/// More than a message carries would be a promise that no request could make use of.
fn payload(value: &Value) -> Result<u64, Problem> {
    let bytes = units::bytes(value)?;
    if bytes > MAX_PAYLOAD_BYTES as u64 {
        let most = MAX_PAYLOAD_BYTES >> 20;
        return Err(
            Problem::new(format!("is over {most}MiB, the most one message carries"))
                .hint("pass large data as a blob, or in several calls"),
        );
    }
    Ok(bytes)
}

fn hosts(value: &Value) -> Result<Vec<HostPort>, Problem> {
    let texts = units::strings(value)?;
    texts
        .iter()
        .map(|text| {
            text.parse()
                .map_err(|error| Problem::new(format!("{error}")))
        })
        .collect()
}

fn variables(value: &Value) -> Result<BTreeMap<String, String>, Problem> {
    let table = value
        .as_object()
        .ok_or_else(|| Problem::new("is not a table of strings"))?;
    let mut variables = BTreeMap::new();
    for (name, value) in table {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(Problem::new(format!(
                "`{name}` is no name of an environment variable"
            )));
        }
        let text = value
            .as_str()
            .ok_or_else(|| Problem::new(format!("`{name}` is not a string")))?;
        variables.insert(name.clone(), text.to_owned());
    }
    Ok(variables)
}

fn kind(kind: &str) -> Result<(), Problem> {
    match kind {
        "function" | "method" => Ok(()),
        other => Err(later::kind(other)),
    }
}

/// What is wrong with a value, before it is known where it stands.
#[derive(Debug)]
pub(crate) struct Problem {
    reason: String,
    hint: Option<String>,
}

impl Problem {
    fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn at(self, path: String) -> Error {
        Error::Manifest {
            path,
            reason: self.reason,
            hint: self.hint,
        }
    }
}

fn refused(path: &str, reason: &str) -> Error {
    Problem::new(reason).at(path.to_owned())
}

#[cfg(test)]
mod tests;
