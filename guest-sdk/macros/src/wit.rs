//! The WIT of an app: text first, then resolved, then the section that makes a core module a component.

use crate::model::{App, Callable, Class, Output};
use crate::types::{Body, Case, Def, Field, Payload, Ty};
use proc_macro2::Span;
use std::fmt::Write as _;
use syn::{Error, Result};
use wit_component::StringEncoding;
use wit_parser::{Function, Resolve, WorldId, WorldItem, WorldKey};

/// The package a function imports when it calls others; linked only where it is used.
const CALLS: &str = include_str!("../wit/calls.wit");

/// The lifecycle functions of a class, which no user's name can meet: a user's name is one identifier.
pub(crate) const ENTER: &str = "lydian-enter";
pub(crate) const EXIT: &str = "lydian-exit";

/// An app's world, resolved.
pub(crate) struct World {
    pub(crate) resolve: Resolve,
    world: WorldId,
    /// Tells this app's section from those of the crate's other apps.
    pub(crate) name: String,
}

impl World {
    pub(crate) fn of(app: &App<'_>, krate: &str, module: &str) -> Result<Self> {
        let text = world_text(app);
        let name = format!(
            "{module}-x{:016x}",
            hash(&format!("{krate}/{module}/{text}"))
        );
        let text = format!(
            "package lydian-app:{};\n\nworld {name} {{\n{text}}}\n",
            package(krate)
        );
        let broken = |error: &dyn std::fmt::Display| {
            let text = format!("no WIT could be made of this app: {error}\n{text}");
            Error::new(Span::call_site(), text)
        };
        let mut resolve = Resolve::default();
        resolve
            .push_str("calls.wit", CALLS)
            .map_err(|error| broken(&format!("{error:#}")))?;
        let package = resolve
            .push_str("app.wit", &text)
            .map_err(|error| broken(&format!("{error:#}")))?;
        let world = resolve
            .select_world(&[package], Some(&name))
            .map_err(|error| broken(&format!("{error:#}")))?;
        Ok(Self {
            resolve,
            world,
            name,
        })
    }

    /// What the linker turns into the component's types.
    pub(crate) fn section(&self) -> Result<Vec<u8>> {
        wit_component::metadata::encode(&self.resolve, self.world, StringEncoding::UTF8, None)
            .map_err(|error| {
                Error::new(
                    Span::call_site(),
                    format!("the app's types cannot be encoded: {error:#}"),
                )
            })
    }

    /// An exported function; `class` is the interface it stands in.
    pub(crate) fn function(
        &self,
        class: Option<&str>,
        name: &str,
    ) -> Option<(&WorldKey, &Function)> {
        let world = &self.resolve.worlds[self.world];
        world
            .exports
            .iter()
            .find_map(|(key, item)| match (item, class, key) {
                (WorldItem::Function(function), None, _) if function.name == name => {
                    Some((key, function))
                }
                (WorldItem::Interface { id, .. }, Some(class), WorldKey::Name(found))
                    if found == class =>
                {
                    let function = self.resolve.interfaces[*id].functions.get(name)?;
                    Some((key, function))
                }
                _ => None,
            })
    }
}

/// A package name for any crate name.
fn package(krate: &str) -> String {
    let name = crate::names::kebab(&krate.replace('-', "_"));
    if crate::names::is_wit_name(&name) {
        format!("%{name}")
    } else {
        "app".to_owned()
    }
}

/// FNV-1a: the same in every build, which `DefaultHasher` does not promise.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn world_text(app: &App<'_>) -> String {
    let mut text = String::from("    import lydian:calls/invoke@0.1.0;\n");
    for def in shared_types(app) {
        write_def(&mut text, def, "    ");
        mark(&mut text, def);
    }
    for function in &app.functions {
        docs(&mut text, &function.call.docs, "    ");
        let _ = writeln!(
            text,
            "    export %{}: {};",
            function.call.wit,
            signature(&function.call)
        );
    }
    for class in &app.classes {
        interface(&mut text, app, class);
    }
    text
}

/// The types of functions, which are the whole component's. Those of methods are their class's.
pub(crate) fn shared_types<'a>(app: &'a App<'_>) -> impl Iterator<Item = &'a Def> {
    let mut used = Vec::new();
    for function in &app.functions {
        names(&function.call, app, &mut used);
    }
    defs(app, used)
}

/// The types of a class's methods, which are its own.
pub(crate) fn class_types<'a>(app: &'a App<'_>, class: &'a Class) -> impl Iterator<Item = &'a Def> {
    let mut used = Vec::new();
    for method in &class.methods {
        names(method, app, &mut used);
    }
    defs(app, used)
}

fn defs<'a>(app: &'a App<'_>, used: Vec<&'a str>) -> impl Iterator<Item = &'a Def> {
    let mut defs = app.types.defs.iter();
    std::iter::from_fn(move || defs.find(|def| used.iter().any(|name| def.rust == name)))
}

/// What a type is, without what is written about it.
pub(crate) fn definition(def: &Def) -> String {
    let mut text = String::new();
    write_def(&mut text, def, "");
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("///"));
    lines.collect::<Vec<_>>().join("\n")
}

/// An import that nobody calls, so that it is in no component. Where modules of one component are joined, types of the same
/// name are taken for the same without a look, and values would be read as what they are not; functions are compared.
fn mark(text: &mut String, def: &Def) {
    let _ = writeln!(
        text,
        "    import one-type-is-named-{}: func(defined-as-x{:016x}: bool);",
        def.wit,
        hash(&definition(def))
    );
}

/// An interface cannot use the world's types, so those its methods name are written in it, too.
fn interface(text: &mut String, app: &App<'_>, class: &Class) {
    docs(text, &class.docs, "    ");
    let _ = writeln!(text, "    export %{}: interface {{", class.wit);
    for def in class_types(app, class) {
        write_def(text, def, "        ");
    }
    let _ = writeln!(
        text,
        "        /// Makes the instance, once; the platform calls it."
    );
    let asynchronous = |is_async: bool| if is_async { "async " } else { "" };
    let _ = writeln!(
        text,
        "        {ENTER}: {}func() -> result<_, string>;",
        asynchronous(class.enter.is_async)
    );
    if let Some(exit) = &class.exit {
        let _ = writeln!(
            text,
            "        /// Before the instance goes; the platform calls it."
        );
        let _ = writeln!(
            text,
            "        {EXIT}: {}func();",
            asynchronous(exit.is_async)
        );
    }
    for method in &class.methods {
        docs(text, &method.docs, "        ");
        let _ = writeln!(text, "        %{}: {};", method.wit, signature(method));
    }
    text.push_str("    }\n");
}

fn names<'a>(call: &'a Callable, app: &'a App<'_>, used: &mut Vec<&'a str>) {
    let result = match &call.output {
        Output::None => None,
        Output::Value(ty, _) => Some(ty),
        Output::Stream(stream) => Some(&stream.item),
    };
    for ty in call.params.iter().map(|param| &param.ty).chain(result) {
        used.extend(ty.names(&app.types));
    }
}

/// A function's type.
pub(crate) fn signature(call: &Callable) -> String {
    let params: Vec<String> = call
        .params
        .iter()
        .map(|param| format!("%{}: {}", param.wit, ty(&param.ty)))
        .collect();
    let result = match &call.output {
        Output::None => String::new(),
        Output::Value(result, _) => format!(" -> {}", ty(result)),
        Output::Stream(stream) => format!(" -> stream<{}>", ty(&stream.item)),
    };
    let asynchronous = if call.is_async_export() { "async " } else { "" };
    format!("{asynchronous}func({}){result}", params.join(", "))
}

/// A type as WIT has it.
pub(crate) fn ty(it: &Ty) -> String {
    match it {
        Ty::Plain(name) => (*name).to_owned(),
        Ty::String => "string".to_owned(),
        Ty::List(item) => format!("list<{}>", ty(item)),
        Ty::Fixed(item, len) => format!("list<{}, {len}>", ty(item)),
        Ty::Map(key, value) => format!("list<tuple<{}, {}>>", ty(key), ty(value)),
        Ty::Option(item) => format!("option<{}>", ty(item)),
        Ty::Result(None, None) => "result".to_owned(),
        Ty::Result(Some(ok), None) => format!("result<{}>", ty(ok)),
        Ty::Result(None, Some(err)) => format!("result<_, {}>", ty(err)),
        Ty::Result(Some(ok), Some(err)) => format!("result<{}, {}>", ty(ok), ty(err)),
        Ty::Tuple(items) => {
            let items: Vec<String> = items.iter().map(ty).collect();
            format!("tuple<{}>", items.join(", "))
        }
        Ty::Named(rust) => format!("%{}", crate::names::kebab(rust)),
    }
}

fn write_def(text: &mut String, def: &Def, indent: &str) {
    let (Body::Enum(cases) | Body::Variant(cases)) = &def.body else {
        let Body::Record(fields) = &def.body else {
            return;
        };
        record(text, &def.wit, fields, &def.docs, indent);
        return;
    };
    for case in cases {
        if let Payload::Fields(name, fields) = &case.payload {
            record(text, name, fields, &case.docs, indent);
        }
    }
    docs(text, &def.docs, indent);
    let keyword = if matches!(def.body, Body::Enum(_)) {
        "enum"
    } else {
        "variant"
    };
    let _ = writeln!(text, "{indent}{keyword} %{} {{", def.wit);
    for case in cases {
        docs(text, &case.docs, &format!("{indent}    "));
        let _ = writeln!(text, "{indent}    %{}{},", case.wit, payload(case));
    }
    let _ = writeln!(text, "{indent}}}");
}

fn payload(case: &Case) -> String {
    match &case.payload {
        Payload::None => String::new(),
        Payload::One(one, _) => format!("({})", ty(one)),
        Payload::Several(types) => {
            let types: Vec<String> = types.iter().map(|(it, _)| ty(it)).collect();
            format!("(tuple<{}>)", types.join(", "))
        }
        Payload::Fields(name, _) => format!("(%{name})"),
    }
}

fn record(text: &mut String, name: &str, fields: &[Field], about: &str, indent: &str) {
    docs(text, about, indent);
    let _ = writeln!(text, "{indent}record %{name} {{");
    for field in fields {
        docs(text, &field.docs, &format!("{indent}    "));
        let _ = writeln!(text, "{indent}    %{}: {},", field.wit, ty(&field.ty));
    }
    let _ = writeln!(text, "{indent}}}");
}

fn docs(text: &mut String, docs: &str, indent: &str) {
    for line in docs.lines() {
        let _ = writeln!(text, "{indent}/// {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    /// A crate holds what it is made of, so the contract is here a second time.
    #[test]
    fn the_contract_of_calls_is_the_published_one() {
        assert_eq!(CALLS, include_str!("../../../wit/calls/calls.wit"));
    }

    fn world(function: &str, size: &str) -> World {
        let (function, size) = (
            quote::format_ident!("{function}"),
            quote::format_ident!("{size}"),
        );
        let items = quote! {
            pub struct Size { pub wide: #size }
            #[lydian::function] pub fn #function(size: Size) {}
        };
        let mut items = syn::parse2::<syn::File>(items).expect("is Rust").items;
        let (found, _) = crate::model::take(&mut items);
        let app = crate::model::read(found, &items).expect("is an app");
        World::of(&app, "krate", "app").expect("has a world")
    }

    /// Joins the worlds of two modules, as the linker does.
    fn join(first: World, second: World) -> std::result::Result<(), String> {
        let mut resolve = first.resolve;
        let merged = resolve.merge(second.resolve).expect("are of one package");
        let second = merged.worlds[second.world.index()].expect("is there");
        let joined = resolve.merge_worlds(second, first.world, &mut Default::default());
        joined.map_err(|error| format!("{error:#}"))
    }

    /// Nothing else compares them: one of two types would be read as the other.
    #[test]
    fn the_linker_refuses_two_types_of_one_name() {
        join(world("grow", "u32"), world("shrink", "u32")).expect("are the same");
        let error = join(world("grow", "u32"), world("shrink", "u64")).expect_err("are not");
        assert!(error.contains("one-type-is-named-size"), "{error}");
    }
}
