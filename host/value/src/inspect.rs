//! The interface of a component, read from its bytes without running or compiling it.
//!
//! The bytes are untrusted. The parser underneath bounds types (depth 100, a million nodes when
//! shared ones are written out); this adds bounds on names, on types and on what is written out,
//! because every function carries its types in full, and every use of a type its name.

use std::collections::HashMap;
use std::sync::Arc;

use wasmparser::{ComponentExternalKind, Parser, Payload};
use wit_component::{Output, OutputToString, WitPrinter};
use wit_parser::decoding::{DecodedWasm, decode};
use wit_parser::{
    Docs, Function, FunctionKind, Handle, InterfaceId, PackageId, Resolve, Type as WitType,
    TypeDefKind, TypeId, World, WorldId, WorldItem,
};

use crate::{
    Case, Enum, ExportPath, Field, Flags, FuncType, Interface, Label, Param, Record, Type,
    TypeNesting, Variant, measure, type_nesting,
};

/// The parser's own limit, `MAX_WASM_COMPONENT_TYPE_DEPTH`.
const MAX_TYPE_DEPTH: u64 = 100;

/// Types of all functions together, counting a shared type each time it is used. Real interfaces have hundreds.
const MAX_TYPE_NODES: usize = 100_000;

/// Names, comments and types of all functions together, and the printed WIT: each may take this
/// much. Real ones take some hundred kilobytes, and both travel in one message.
const MAX_TEXT_BYTES: usize = 4 << 20;

/// One name. The longest real ones, an interface with its package and version, stay under 200
/// bytes; the parser takes 100 kB.
pub(crate) const MAX_NAME_BYTES: usize = 1 << 10;

/// Packages of the platform, not of the component: importing them is listed, printing them would bury its own.
const FOREIGN_NAMESPACES: [&str; 2] = ["wasi", "lydian"];

/// The bytes are not a component whose functions can be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    #[error("not WebAssembly: it does not begin with `\\0asm`")]
    NotWasm,
    #[error("a core module, not a component")]
    CoreModule,
    #[error("an encoded WIT package, not a component")]
    WitPackage,
    /// Valid, and beyond what WIT can say.
    #[error(
        "the component exports {what} at its root, where WIT has functions and interfaces only"
    )]
    Export { what: String },
    #[error("malformed component: {reason}")]
    Malformed { reason: String },
    #[error("the functions' types have more than {MAX_TYPE_NODES} parts")]
    TooManyTypes,
    #[error("a name is {bytes} bytes long, more than the limit of {MAX_NAME_BYTES} bytes")]
    NameTooLong { bytes: usize },
    #[error("the interface is too large to be written out")]
    TooLarge,
    #[error(
        "fixed-length lists hold more than {} elements",
        Type::MAX_FIXED_ELEMENTS
    )]
    FixedListTooLong,
}

impl InspectError {
    /// What to do about it, each a line of its own.
    pub fn hints(&self) -> Vec<String> {
        let hint = match self {
            InspectError::CoreModule => {
                "build for `wasm32-wasip2`, or make a component of it with `wasm-tools component new`"
            }
            InspectError::WitPackage => {
                "this is a description of an interface: give the component that implements it"
            }
            InspectError::NotWasm => "give a `.wasm` component",
            InspectError::Export { .. } => {
                "export it from an interface instead, beside the functions that use it"
            }
            InspectError::Malformed { .. } => {
                "build it again, or look at it with `wasm-tools validate`"
            }
            InspectError::TooManyTypes => "export fewer functions or smaller types",
            InspectError::NameTooLong { .. } => "give it a shorter name",
            InspectError::TooLarge => {
                "export fewer functions, with smaller types and shorter names"
            }
            InspectError::FixedListTooLong => "use lists without a fixed length",
        };
        vec![hint.to_owned()]
    }
}

/// Every exported function of a component, what it imports, and its WIT.
///
/// # Errors
/// The bytes are no component, or a malformed one. Core functions are not validated: that is the compiler's part.
pub fn inspect(component: &[u8]) -> Result<Interface, InspectError> {
    match component.first_chunk::<8>() {
        Some([b'\0', b'a', b's', b'm', _, _, 0, 0]) => return Err(InspectError::CoreModule),
        Some([b'\0', b'a', b's', b'm', ..]) => {}
        _ => return Err(InspectError::NotWasm),
    }
    bounded(component)?;
    if let Some(what) = other_export(component) {
        return Err(InspectError::Export { what });
    }
    // The parser asserts what it believes of valid components; a hostile one that proves it wrong costs this call only.
    std::panic::catch_unwind(|| read_interface(component)).unwrap_or_else(|_| {
        Err(InspectError::Malformed {
            reason: "its types contradict each other".to_owned(),
        })
    })
}

/// The functions that the worlds of a WIT package export, with their comments, which a component does not carry. `path`
/// is a `wit` directory, with what it depends on under `deps`, or one file. A function that several worlds export is
/// there once for each.
///
/// # Errors
/// The path cannot be read or is not WIT; one text for the user.
pub fn wit_functions(path: &std::path::Path) -> Result<Vec<FuncType>, String> {
    let mut resolve = Resolve {
        all_features: true,
        ..Resolve::default()
    };
    let (package, _) = resolve
        .push_path(path)
        .map_err(|error| format!("{error:#}"))?;
    let mut functions = Vec::new();
    for world in resolve.packages[package].worlds.values() {
        let found = Functions::new(&resolve).of_world(&resolve.worlds[*world]);
        functions.extend(found.map_err(|error| error.to_string())?);
    }
    Ok(functions)
}

/// An export of the component itself that is neither a function nor an instance. One that has
/// nothing but components and types is a WIT package, which is told of otherwise.
fn other_export(component: &[u8]) -> Option<String> {
    let mut depth = 0usize;
    let (mut other, mut is_package) = (None, true);
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        match payload {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section.into_iter().map_while(Result::ok) {
                    let kind = match export.kind {
                        ComponentExternalKind::Type => "the type",
                        ComponentExternalKind::Module => "the core module",
                        ComponentExternalKind::Component => "the component",
                        ComponentExternalKind::Value => "the value",
                        _ => {
                            is_package = false;
                            continue;
                        }
                    };
                    other.get_or_insert_with(|| format!("{kind} `{}`", export.name.name));
                }
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => is_package = false,
            _ => {}
        }
    }
    other.filter(|_| !is_package)
}

/// Types nested deeper than the parser's own limit end the process before it checks that limit. Whatever else is wrong here
/// is found again, and named, by the parser.
fn bounded(component: &[u8]) -> Result<(), InspectError> {
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        let Payload::ComponentTypeSection(section) = payload else {
            continue;
        };
        let range = section.range();
        let contents = component.get(range.clone()).unwrap_or_default();
        let found = type_nesting(contents, range.start, MAX_TYPE_DEPTH);
        if let TypeNesting::TooDeep { .. } = found {
            return Err(InspectError::Malformed {
                reason: format!("types are nested deeper than {MAX_TYPE_DEPTH}"),
            });
        }
    }
    Ok(())
}

fn read_interface(component: &[u8]) -> Result<Interface, InspectError> {
    measure::measure(component)?;
    let malformed = |error| InspectError::Malformed {
        reason: format!("{error:#}"),
    };
    let (resolve, world) = match decode(component).map_err(malformed)? {
        DecodedWasm::Component(resolve, world) => (resolve, world),
        DecodedWasm::WitPackage(..) => return Err(InspectError::WitPackage),
    };
    let imports = resolve.worlds[world]
        .imports
        .keys()
        .map(|key| resolve.name_world_key(key))
        .collect();
    let functions = Functions::new(&resolve).of_world(&resolve.worlds[world])?;
    let wit = print_wit(&resolve, world)?;
    Ok(Interface {
        functions,
        imports,
        wit,
    })
}

fn print_wit(resolve: &Resolve, world: WorldId) -> Result<String, InspectError> {
    let Some(main) = resolve.worlds[world].package else {
        return Ok(String::new());
    };
    let own: Vec<PackageId> = resolve
        .packages
        .iter()
        .filter(|(id, package)| {
            *id != main && !FOREIGN_NAMESPACES.contains(&package.name.namespace.as_str())
        })
        .map(|(id, _)| id)
        .collect();
    let mut printer = WitPrinter::new(Bounded::default());
    let printed = printer.print(resolve, main, &own);
    printed.map_err(|error| InspectError::Malformed {
        reason: format!("{error:#}"),
    })?;
    match printer.output.written > MAX_TEXT_BYTES {
        true => Err(InspectError::TooLarge),
        false => Ok(without_foreign(&String::from(printer.output.text))),
    }
}

/// An import of a package that is not printed is a comment, or the text would be no WIT by itself.
fn without_foreign(wit: &str) -> String {
    let is_foreign = |line: &str| {
        let import = line.trim_start().strip_prefix("import ");
        let namespace = import.and_then(|import| Some(import.split_once(':')?.0));
        namespace.is_some_and(|namespace| FOREIGN_NAMESPACES.contains(&namespace))
    };
    let lines = wit.lines().map(|line| match is_foreign(line) {
        true => {
            let indent = line.len() - line.trim_start().len();
            format!("{}// {}\n", &line[..indent], line.trim_start())
        }
        false => format!("{line}\n"),
    });
    lines.collect()
}

/// Keeps what is printed up to [`MAX_TEXT_BYTES`], and counts the rest: the printer cannot be
/// stopped from here.
#[derive(Default)]
struct Bounded {
    text: OutputToString,
    written: usize,
    level: usize,
}

impl Bounded {
    fn room_for(&mut self, bytes: usize) -> bool {
        self.written = self.written.saturating_add(bytes);
        self.written <= MAX_TEXT_BYTES
    }
}

impl Output for Bounded {
    fn push_str(&mut self, text: &str) {
        if self.room_for(text.len()) {
            self.text.push_str(text);
        }
    }

    fn indent_if_needed(&mut self) -> bool {
        self.text.indent_if_needed()
    }

    fn indent_start(&mut self) {
        self.level += 1;
        if self.room_for(2) {
            self.text.indent_start();
        }
    }

    fn indent_end(&mut self) {
        self.level = self.level.saturating_sub(1);
        if self.room_for(2 + 2 * self.level) {
            self.text.indent_end();
        }
    }

    fn newline(&mut self) {
        // With the next line's indentation.
        if self.room_for(1 + 2 * self.level) {
            self.text.newline();
        }
    }
}

/// Turns the parser's functions into ours, each type once.
struct Functions<'a> {
    resolve: &'a Resolve,
    /// A named or composite type and how large it is.
    types: HashMap<TypeId, (Type, Size)>,
    nodes_left: usize,
    bytes_left: usize,
}

/// How large a type is when written out.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    /// Types in it, itself included, a shared one each time it is used.
    nodes: usize,
    /// Bytes of the names and comments in it.
    bytes: usize,
    /// Values that one of it consists of, those in lists of no fixed length left out.
    elements: u64,
}

impl Size {
    const ONE: Self = Self {
        nodes: 1,
        bytes: 0,
        elements: 1,
    };

    fn add(&mut self, part: Self) {
        self.nodes = self.nodes.saturating_add(part.nodes);
        self.bytes = self.bytes.saturating_add(part.bytes);
        self.elements = self.elements.saturating_add(part.elements);
    }

    /// A type whose parts together have this size.
    fn of(ty: &Type, parts: Self) -> Self {
        let labels = |labels: &[Label]| -> usize {
            let texts = labels
                .iter()
                .map(|label| label.name.len() + label.docs.len());
            texts.sum()
        };
        let own = match ty {
            Type::Record(record) => {
                let fields = record.fields.iter();
                let fields: usize = fields.map(|it| it.name.len() + it.docs.len()).sum();
                record.docs.len() + fields
            }
            Type::Variant(variant) => {
                let cases = variant.cases.iter();
                let cases: usize = cases.map(|it| it.name.len() + it.docs.len()).sum();
                variant.docs.len() + cases
            }
            Type::Enum(cases) => cases.docs.len() + labels(&cases.cases),
            Type::Flags(flags) => flags.docs.len() + labels(&flags.flags),
            Type::Own(name) | Type::Borrow(name) => name.len(),
            _ => 0,
        };
        Self {
            nodes: parts.nodes.saturating_add(1),
            bytes: parts
                .bytes
                .saturating_add(own + ty.name().map_or(0, str::len)),
            elements: ty.elements(parts.elements),
        }
    }
}

impl<'a> Functions<'a> {
    fn new(resolve: &'a Resolve) -> Self {
        Self {
            resolve,
            types: HashMap::new(),
            nodes_left: MAX_TYPE_NODES,
            bytes_left: MAX_TEXT_BYTES,
        }
    }

    fn of_world(mut self, world: &World) -> Result<Vec<FuncType>, InspectError> {
        let mut functions = Vec::new();
        for (key, item) in &world.exports {
            match item {
                WorldItem::Function(function) => functions.push(self.function(None, function)?),
                WorldItem::Interface { id, .. } => {
                    let name = self.resolve.name_world_key(key);
                    self.of_interface(&name, *id, &mut functions)?;
                }
                WorldItem::Type { .. } => {}
            }
        }
        Ok(functions)
    }

    fn of_interface(
        &mut self,
        name: &str,
        id: InterfaceId,
        functions: &mut Vec<FuncType>,
    ) -> Result<(), InspectError> {
        let resolve = self.resolve;
        resolve.interfaces[id]
            .functions
            .values()
            .try_for_each(|function| {
                functions.push(self.function(Some(name), function)?);
                Ok(())
            })
    }

    fn function(
        &mut self,
        interface: Option<&str>,
        function: &Function,
    ) -> Result<FuncType, InspectError> {
        let local = self.local_name(function);
        let name = interface
            .map(|interface| format!("{interface}#{local}"))
            .unwrap_or(local);
        let docs = text(&function.docs);
        self.take_text(&[&name, interface.unwrap_or_default(), &function.name, &docs])?;
        let mut params = Vec::with_capacity(function.params.len());
        for param in &function.params {
            self.take_text(&[&param.name])?;
            params.push(Param {
                name: param.name.clone(),
                ty: self.counted(&param.ty)?,
            });
        }
        let result = function
            .result
            .as_ref()
            .map(|ty| self.counted(ty))
            .transpose()?;
        let export = ExportPath {
            interface: interface.map(str::to_owned),
            raw: function.name.clone(),
        };
        Ok(FuncType {
            name,
            params,
            result,
            is_async: function.kind.is_async(),
            docs,
            export,
        })
    }

    /// `image.scale` for `[method]image.scale`, `image.new` for `[constructor]image`.
    fn local_name(&self, function: &Function) -> String {
        let resource = function
            .kind
            .resource()
            .and_then(|id| self.resolve.types[id].name.as_deref());
        match (&function.kind, resource) {
            (FunctionKind::Constructor(_), Some(resource)) => format!("{resource}.new"),
            (_, Some(resource)) => format!("{resource}.{}", function.item_name()),
            (_, None) => function.name.clone(),
        }
    }

    fn counted(&mut self, ty: &WitType) -> Result<Type, InspectError> {
        let (ty, size) = self.ty(ty);
        if size.elements > Type::MAX_FIXED_ELEMENTS {
            return Err(InspectError::FixedListTooLong);
        }
        self.nodes_left = self
            .nodes_left
            .checked_sub(size.nodes)
            .ok_or(InspectError::TooManyTypes)?;
        self.take_bytes(size.bytes)?;
        Ok(ty)
    }

    fn take_text(&mut self, texts: &[&str]) -> Result<(), InspectError> {
        self.take_bytes(texts.iter().map(|text| text.len()).sum())
    }

    fn take_bytes(&mut self, bytes: usize) -> Result<(), InspectError> {
        let left = self.bytes_left.checked_sub(bytes);
        self.bytes_left = left.ok_or(InspectError::TooLarge)?;
        Ok(())
    }

    /// The type, and how large it is when written out. Recursion is bounded by the parser's depth
    /// limit.
    fn ty(&mut self, ty: &WitType) -> (Type, Size) {
        let primitive = match ty {
            WitType::Bool => Type::Bool,
            WitType::U8 => Type::U8,
            WitType::U16 => Type::U16,
            WitType::U32 => Type::U32,
            WitType::U64 => Type::U64,
            WitType::S8 => Type::S8,
            WitType::S16 => Type::S16,
            WitType::S32 => Type::S32,
            WitType::S64 => Type::S64,
            WitType::F32 => Type::F32,
            WitType::F64 => Type::F64,
            WitType::Char => Type::Char,
            WitType::String => Type::String,
            WitType::ErrorContext => Type::ErrorContext,
            WitType::Id(id) => return self.defined(*id),
        };
        (primitive, Size::ONE)
    }

    fn defined(&mut self, id: TypeId) -> (Type, Size) {
        if let Some(known) = self.types.get(&id) {
            return known.clone();
        }
        let mut parts = Size::default();
        let ty = self.convert(id, &mut parts);
        let size = match self.resolve.types[id].kind {
            TypeDefKind::Type(_) => parts,
            _ => Size::of(&ty, parts),
        };
        self.types.insert(id, (ty.clone(), size));
        (ty, size)
    }

    fn convert(&mut self, id: TypeId, parts: &mut Size) -> Type {
        let resolve = self.resolve;
        let def = &resolve.types[id];
        let name = def.name.clone();
        let docs = text(&def.docs);
        let mut part = |ty: &WitType| {
            let (ty, more) = self.ty(ty);
            parts.add(more);
            ty
        };
        match &def.kind {
            TypeDefKind::Type(alias) => part(alias),
            TypeDefKind::List(item) => Type::list(part(item)),
            TypeDefKind::FixedLengthList(item, len) => Type::fixed_list(part(item), *len),
            TypeDefKind::Map(key, value) => Type::map(part(key), part(value)),
            TypeDefKind::Tuple(tuple) => Type::tuple(tuple.types.iter().map(part)),
            TypeDefKind::Option(payload) => Type::option(part(payload)),
            TypeDefKind::Result(result) => Type::result(
                result.ok.as_ref().map(&mut part),
                result.err.as_ref().map(&mut part),
            ),
            TypeDefKind::Stream(item) => Type::Stream(item.as_ref().map(part).map(Arc::new)),
            TypeDefKind::Future(value) => Type::Future(value.as_ref().map(part).map(Arc::new)),
            TypeDefKind::Record(record) => {
                let field = |field: &wit_parser::Field| Field {
                    name: field.name.clone(),
                    docs: text(&field.docs),
                    ty: part(&field.ty),
                };
                Type::Record(Arc::new(Record {
                    name,
                    docs,
                    fields: record.fields.iter().map(field).collect(),
                }))
            }
            TypeDefKind::Variant(variant) => {
                let case = |case: &wit_parser::Case| Case {
                    name: case.name.clone(),
                    docs: text(&case.docs),
                    ty: case.ty.as_ref().map(&mut part),
                };
                Type::Variant(Arc::new(Variant {
                    name,
                    docs,
                    cases: variant.cases.iter().map(case).collect(),
                }))
            }
            TypeDefKind::Enum(cases) => {
                let cases = cases
                    .cases
                    .iter()
                    .map(|case| label(&case.name, &case.docs))
                    .collect();
                Type::Enum(Arc::new(Enum { name, docs, cases }))
            }
            TypeDefKind::Flags(flags) => {
                let flags = flags
                    .flags
                    .iter()
                    .map(|flag| label(&flag.name, &flag.docs))
                    .collect();
                Type::Flags(Arc::new(Flags { name, docs, flags }))
            }
            TypeDefKind::Handle(Handle::Own(resource)) => Type::Own(self.resource_name(*resource)),
            TypeDefKind::Handle(Handle::Borrow(resource)) => {
                Type::Borrow(self.resource_name(*resource))
            }
            // A bare resource is not a value's type, and nothing of a decoded component is unknown.
            TypeDefKind::Resource | TypeDefKind::Unknown => {
                Type::Own(name.unwrap_or_default().into())
            }
        }
    }

    fn resource_name(&self, id: TypeId) -> Arc<str> {
        self.resolve.types[id]
            .name
            .as_deref()
            .unwrap_or_default()
            .into()
    }
}

fn label(name: &str, docs: &Docs) -> Label {
    Label {
        name: name.to_owned(),
        docs: text(docs),
    }
}

fn text(docs: &Docs) -> String {
    docs.contents.clone().unwrap_or_default()
}
