//! What a deploy changes: functions, classes, limits, grants and mounts of the version before and the new one.

use super::callable;
use crate::manifest::{Class, DEFAULT_MAX_CALLS, DEFAULT_MAX_IDLE, Manifest, MountPoint};
use lydian_api::v1;
use lydian_engine::{Grants, Limits};
use lydian_value::{FuncType, Interface};
use std::time::Duration;

/// What a diff compares of a version.
#[derive(Default)]
pub(super) struct Described {
    functions: Vec<Function>,
    classes: Vec<Class>,
}

struct Function {
    name: String,
    signature: String,
    limits: Limits,
    grants: Grants,
}

impl Described {
    /// `node` are the limits where a manifest says nothing.
    pub(super) fn of(interface: &Interface, manifest: &Manifest, node: &Limits) -> Self {
        let one = |function: &FuncType| Function {
            name: function.name.clone(),
            signature: function.signature(),
            limits: manifest.limits(&function.name).or(node),
            grants: manifest.grants(&function.name),
        };
        Self {
            functions: callable(interface, manifest).map(one).collect(),
            classes: manifest.classes().to_vec(),
        }
    }

    fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name == name)
    }

    fn class(&self, name: &str) -> Option<&Class> {
        self.classes.iter().find(|class| class.name == name)
    }
}

/// The differences found so far.
#[derive(Default)]
pub(super) struct Changes(Vec<v1::Change>);

impl Changes {
    pub(super) fn all(self) -> Vec<v1::Change> {
        self.0
    }

    /// Tells one thing by what it was and is; empty stands for not there.
    pub(super) fn differ(&mut self, what: &str, before: &str, after: &str) {
        use v1::change::Kind;
        let kind = match (before, after) {
            _ if before == after => return,
            ("", _) => Kind::Added,
            (_, "") => Kind::Removed,
            _ => Kind::Changed,
        };
        let (before, after) = (before.to_owned(), after.to_owned());
        self.0.push(v1::Change {
            kind: kind.into(),
            what: what.to_owned(),
            before,
            after,
        });
    }

    /// Everything that two versions say of functions and classes; `node` is what a new function has by itself.
    pub(super) fn between(&mut self, old: &Described, new: &Described, node: &Limits) {
        for gone in &old.functions {
            if new.function(&gone.name).is_none() {
                self.differ(&format!("function {}", gone.name), &gone.signature, "");
            }
        }
        for function in &new.functions {
            self.function(old.function(&function.name), function, node);
        }
        for gone in &old.classes {
            if new.class(&gone.name).is_none() {
                self.differ(&format!("class {}", gone.name), &gone.interface, "");
            }
        }
        for class in &new.classes {
            self.class(old.class(&class.name), class);
        }
    }

    fn function(&mut self, before: Option<&Function>, now: &Function, node: &Limits) {
        let name = &now.name;
        let signature = before.map_or("", |before| &before.signature);
        self.differ(&format!("function {name}"), signature, &now.signature);
        let limits = limit_texts(&before.map_or(*node, |before| before.limits));
        for ((key, was), (_, is)) in limits.into_iter().zip(limit_texts(&now.limits)) {
            self.setting(&format!("limit {name}.{key}"), before.is_some(), &was, &is);
        }
        let none = Grants::default();
        self.grants(
            name,
            before.map_or(&none, |before| &before.grants),
            &now.grants,
        );
    }

    fn class(&mut self, before: Option<&Class>, now: &Class) {
        let name = &now.name;
        let interface = before.map_or("", |before| &before.interface);
        self.differ(&format!("class {name}"), interface, &now.interface);
        let terms = before.map_or_else(default_terms, terms_of);
        for ((key, was), (_, is)) in terms.into_iter().zip(terms_of(now)) {
            self.setting(&format!("class {name}.{key}"), before.is_some(), &was, &is);
        }
    }

    /// A setting of something that was there is told when it changed, of something new when it is not the default.
    fn setting(&mut self, what: &str, was_there: bool, was: &str, is: &str) {
        if was != is {
            self.differ(what, if was_there { was } else { "" }, is);
        }
    }

    pub(super) fn mounts(&mut self, before: &[MountPoint], after: &[MountPoint]) {
        let tree = |points: &[MountPoint], path: &str| {
            let found = points.iter().find(|point| point.path == path);
            found.map_or_else(String::new, |point| point.tree.short())
        };
        let gone = before
            .iter()
            .filter(|old| tree(after, &old.path).is_empty());
        for path in gone.chain(after).map(|point| &point.path) {
            let (old, new) = (tree(before, path), tree(after, path));
            self.differ(&format!("mount {path}"), &old, &new);
        }
    }

    fn grants(&mut self, function: &str, before: &Grants, after: &Grants) {
        let hosts = |grants: &Grants| {
            grants
                .network
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        };
        self.differ(
            &format!("grant {function}.network"),
            &hosts(before),
            &hosts(after),
        );
        // Values are compared but not shown.
        let names = |grants: &Grants| {
            grants
                .env
                .iter()
                .map(|(name, _)| name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        if before.env != after.env {
            let (old, mut new) = (names(before), names(after));
            if old == new {
                new.push_str(" (other values)");
            }
            self.differ(&format!("grant {function}.env"), &old, &new);
        }
        self.differ(
            &format!("grant {function}.args"),
            &before.args.join(" "),
            &after.args.join(" "),
        );
    }
}

/// How long instances are kept and what runs around them, by the keys a manifest has for it.
fn terms_of(class: &Class) -> [(&'static str, String); 5] {
    let local = |function: &Option<String>| {
        let name = function.as_deref().unwrap_or_default();
        name.rsplit('#').next().unwrap_or_default().to_owned()
    };
    [
        ("enter", local(&class.enter)),
        ("exit", local(&class.exit)),
        ("max-idle", time(class.max_idle)),
        ("max-calls", class.max_calls.to_string()),
        ("max-age", time(class.max_age.unwrap_or_default())),
    ]
}

fn default_terms() -> [(&'static str, String); 5] {
    [
        ("enter", String::new()),
        ("exit", String::new()),
        ("max-idle", time(DEFAULT_MAX_IDLE)),
        ("max-calls", DEFAULT_MAX_CALLS.to_string()),
        ("max-age", String::new()),
    ]
}

/// Limits by the keys a manifest has for them.
fn limit_texts(limits: &Limits) -> [(&'static str, String); 9] {
    [
        ("timeout", time(limits.timeout)),
        ("cpu", time(limits.cpu)),
        ("memory", size(limits.memory_bytes)),
        ("payload", size(limits.payload_bytes)),
        ("host-call-bytes", size(limits.host_call_bytes)),
        ("output", size(limits.output_bytes)),
        ("output-rate", size(limits.output_bytes_per_second)),
        ("handles", limits.handles.to_string()),
        ("open-files", limits.open_files.to_string()),
    ]
}

/// The largest binary unit that divides it.
fn size(bytes: u64) -> String {
    match bytes {
        0 => "0".into(),
        bytes if bytes % (1 << 30) == 0 => format!("{}GiB", bytes >> 30),
        bytes if bytes % (1 << 20) == 0 => format!("{}MiB", bytes >> 20),
        bytes if bytes % (1 << 10) == 0 => format!("{}KiB", bytes >> 10),
        bytes => format!("{bytes}B"),
    }
}

/// Nothing for no time.
fn time(duration: Duration) -> String {
    if duration.is_zero() {
        String::new()
    } else {
        format!("{duration:?}")
    }
}
