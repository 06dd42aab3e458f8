//! The manifest of an app: what its attributes say, as the JSON the node reads.

use crate::model::{App, Class};
use crate::types::{Body, Def, Field, Payload};
use crate::wit;
use serde_json::{Map, Value, json};

/// The version of the manifest this SDK writes.
const VERSION: u64 = 1;

/// The manifest of a module.
pub(crate) fn manifest(app: &App<'_>, settings: &Map<String, Value>) -> String {
    let mut all = settings.clone();
    // The app's name is the client's and the command line's; a component does not choose it.
    let name = all.remove("name");
    let mounts = all.remove("mounts");
    let mut functions = Map::new();
    for function in &app.functions {
        let mut table = function.settings.clone();
        table.insert("kind".into(), json!("function"));
        if !function.call.docs.is_empty() {
            table.insert("docs".into(), json!(function.call.docs));
        }
        functions.insert(function.call.wit.clone(), Value::Object(table));
    }
    for class in &app.classes {
        for method in class
            .methods
            .iter()
            .filter(|method| !method.docs.is_empty())
        {
            let name = format!("{}#{}", class.wit, method.wit);
            functions.insert(name, json!({ "docs": method.docs }));
        }
    }
    let classes: Map<String, Value> = app
        .classes
        .iter()
        .map(|class| (class.wit.clone(), of_class(class)))
        .collect();
    all.insert("version".into(), json!(VERSION));
    all.insert("sdk".into(), json!(env!("CARGO_PKG_VERSION")));
    if let Some(name) = name {
        all.insert("name".into(), name);
    }
    if let Some(Value::Object(mounts)) = mounts {
        all.insert("mounts".into(), of_mounts(mounts));
    }
    if !functions.is_empty() {
        all.insert("functions".into(), Value::Object(functions));
    }
    if !classes.is_empty() {
        all.insert("classes".into(), Value::Object(classes));
    }
    let types = type_docs(app);
    if !types.is_empty() {
        all.insert("types".into(), Value::Object(types));
    }
    Value::Object(all).to_string()
}

/// What is written about types, fields and cases, which a component does not keep: `point`, `point.x`, and
/// `model#point.x` where a class has the type.
fn type_docs(app: &App<'_>) -> Map<String, Value> {
    let mut all = Map::new();
    for def in wit::shared_types(app) {
        docs_of(def, "", &mut all);
    }
    for class in &app.classes {
        for def in wit::class_types(app, class) {
            docs_of(def, &format!("{}#", class.wit), &mut all);
        }
    }
    all
}

fn docs_of(def: &Def, prefix: &str, all: &mut Map<String, Value>) {
    let mut add = |name: String, docs: &str| {
        if !docs.is_empty() {
            all.insert(format!("{prefix}{name}"), json!(docs));
        }
    };
    add(def.wit.clone(), &def.docs);
    let mut fields = |of: &str, fields: &[Field]| {
        for field in fields {
            add(format!("{of}.{}", field.wit), &field.docs);
        }
    };
    match &def.body {
        Body::Record(own) => fields(&def.wit, own),
        Body::Enum(cases) | Body::Variant(cases) => {
            for case in cases {
                if let Payload::Fields(record, own) = &case.payload {
                    fields(record, own);
                }
            }
            for case in cases {
                add(format!("{}.{}", def.wit, case.wit), &case.docs);
            }
        }
    }
}

fn of_class(class: &Class) -> Value {
    let mut table = class.settings.clone();
    let methods: Vec<&String> = class.methods.iter().map(|method| &method.wit).collect();
    table.insert("methods".into(), json!(methods));
    table.insert("enter".into(), json!(true));
    table.insert("exit".into(), json!(class.exit.is_some()));
    if !class.docs.is_empty() {
        table.insert("docs".into(), json!(class.docs));
    }
    Value::Object(table)
}

/// `{ "./assets" = "/assets" }` as the manifest has it, by the place in the sandbox.
fn of_mounts(mounts: Map<String, Value>) -> Value {
    mounts
        .into_iter()
        .filter_map(|(from, at)| Some((at.as_str()?.to_owned(), json!({ "from": from }))))
        .collect::<Map<String, Value>>()
        .into()
}

/// The manifest of a local entrypoint: its name, what it takes, what is written about it.
pub(crate) fn entrypoint(name: &str, docs: &str, args: &[(String, String)]) -> String {
    let args: Vec<Value> = args
        .iter()
        .map(|(name, ty)| json!({"name": name, "type": ty}))
        .collect();
    json!({
        "version": VERSION,
        "sdk": env!("CARGO_PKG_VERSION"),
        "entrypoints": { name: { "docs": docs, "args": args } },
    })
    .to_string()
}
