//! WIT types as Rust types, and the modules they live in.

use crate::names::{ident, pascal, snake};
use proc_macro2::TokenStream;
use quote::quote;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use wit_parser::{
    Function, Handle, InterfaceId, PackageName, Resolve, Type, TypeDefKind, TypeId, TypeOwner,
    World, WorldItem,
};

/// Why a function has no typed form. Names what it is about.
pub(super) type Refusal = String;

/// Tuples are `Wit` up to this length.
const LONGEST_TUPLE: usize = 12;

/// All that is known while the code is written.
pub(super) struct Names<'a> {
    pub(super) resolve: &'a Resolve,
    /// The module of each interface that is used.
    modules: HashMap<InterfaceId, String>,
}

/// Where a type is named: the world's items are around the modules, so paths differ.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    World,
    Interface(InterfaceId),
}

impl<'a> Names<'a> {
    pub(super) fn new(resolve: &'a Resolve, world: &World) -> Self {
        Self {
            resolve,
            modules: name_modules(resolve, &used_interfaces(resolve, world)),
        }
    }

    pub(super) fn interfaces(&self) -> BTreeMap<&str, InterfaceId> {
        let modules = self.modules.iter();
        modules.map(|(id, name)| (name.as_str(), *id)).collect()
    }

    pub(super) fn module(&self, interface: InterfaceId) -> &str {
        self.modules.get(&interface).map_or("", String::as_str)
    }

    /// The Rust type, seen from `scope`. `what` is named when there is none.
    pub(super) fn ty(&self, ty: &Type, scope: Scope, what: &str) -> Result<TokenStream, Refusal> {
        Ok(match ty {
            Type::Bool => quote!(bool),
            Type::U8 => quote!(u8),
            Type::U16 => quote!(u16),
            Type::U32 => quote!(u32),
            Type::U64 => quote!(u64),
            Type::S8 => quote!(i8),
            Type::S16 => quote!(i16),
            Type::S32 => quote!(i32),
            Type::S64 => quote!(i64),
            Type::F32 => quote!(f32),
            Type::F64 => quote!(f64),
            Type::Char => quote!(char),
            Type::String => quote!(::std::string::String),
            Type::ErrorContext => {
                return Err(format!(
                    "{what}: an `error-context` cannot leave its sandbox"
                ));
            }
            Type::Id(id) => self.defined(*id, scope, what)?,
        })
    }

    fn defined(&self, id: TypeId, scope: Scope, what: &str) -> Result<TokenStream, Refusal> {
        let def = &self.resolve.types[id];
        let ty = |ty: &Type| self.ty(ty, scope, what);
        let payload = |payload: &Option<Type>| payload.as_ref().map_or(Ok(quote!(())), ty);
        Ok(match &def.kind {
            TypeDefKind::Record(_)
            | TypeDefKind::Flags(_)
            | TypeDefKind::Variant(_)
            | TypeDefKind::Enum(_) => self.path(id, scope),
            TypeDefKind::Type(alias) if def.name.is_none() => ty(alias)?,
            // An alias of a resource, or of a type elsewhere: what it stands for is what counts.
            TypeDefKind::Type(alias) => ty(alias)?,
            TypeDefKind::List(item) => {
                let item = ty(item)?;
                quote!(::std::vec::Vec<#item>)
            }
            TypeDefKind::FixedLengthList(item, len) => {
                let (item, len) = (ty(item)?, *len as usize);
                quote!([#item; #len])
            }
            TypeDefKind::Map(key, value) => {
                let (key, value) = (ty(key)?, ty(value)?);
                quote!(::std::collections::BTreeMap<#key, #value>)
            }
            TypeDefKind::Tuple(tuple) => {
                let types = tuple.types.iter().map(ty).collect::<Result<Vec<_>, _>>()?;
                if types.len() > LONGEST_TUPLE {
                    return Err(format!(
                        "{what}: a tuple of {} items; use a record beyond {LONGEST_TUPLE}",
                        types.len()
                    ));
                }
                quote!((#(#types,)*))
            }
            TypeDefKind::Option(payload) => {
                let payload = ty(payload)?;
                quote!(::std::option::Option<#payload>)
            }
            TypeDefKind::Result(result) => {
                let (ok, err) = (payload(&result.ok)?, payload(&result.err)?);
                quote!(::std::result::Result<#ok, #err>)
            }
            // Inside other types a handle is a number; as a whole argument or result it is its resource.
            TypeDefKind::Handle(_) | TypeDefKind::Resource => quote!(::lydian_client::Handle),
            TypeDefKind::Stream(_) | TypeDefKind::Future(_) => {
                return Err(format!(
                    "{what}: a stream or future inside another type has no typed form; call it with `Function::run`"
                ));
            }
            TypeDefKind::Unknown => return Err(format!("{what}: a type of unknown structure")),
        })
    }

    /// The path of a named type.
    pub(super) fn path(&self, id: TypeId, scope: Scope) -> TokenStream {
        let def = &self.resolve.types[id];
        let name = ident(&pascal(def.name.as_deref().unwrap_or_default()));
        match def.owner {
            TypeOwner::Interface(owner) if scope != Scope::Interface(owner) => {
                let module = ident(self.module(owner));
                match scope {
                    Scope::World => quote!(#module::#name),
                    Scope::Interface(_) => quote!(super::#module::#name),
                }
            }
            _ => quote!(#name),
        }
    }

    /// The resource behind a handle type, and whether it is owned.
    pub(super) fn handle(&self, ty: &Type) -> Option<(TypeId, bool)> {
        match self.kind(ty)? {
            TypeDefKind::Handle(Handle::Own(resource)) => Some((self.original(*resource), true)),
            TypeDefKind::Handle(Handle::Borrow(resource)) => {
                Some((self.original(*resource), false))
            }
            _ => None,
        }
    }

    /// The items of a stream, or the value of a future.
    pub(super) fn stream_item(&self, ty: &Type) -> Option<Option<Type>> {
        match self.kind(ty)? {
            TypeDefKind::Stream(item) | TypeDefKind::Future(item) => Some(*item),
            _ => None,
        }
    }

    /// The kind of a type behind its aliases.
    fn kind(&self, ty: &Type) -> Option<&'a TypeDefKind> {
        let Type::Id(id) = ty else { return None };
        match &self.resolve.types[*id].kind {
            TypeDefKind::Type(alias) => self.kind(alias),
            kind => Some(kind),
        }
    }

    /// The type that aliases of it stand for.
    fn original(&self, id: TypeId) -> TypeId {
        match &self.resolve.types[id].kind {
            TypeDefKind::Type(Type::Id(alias)) => self.original(*alias),
            _ => id,
        }
    }

    /// Whether a value of the type holds a handle anywhere.
    pub(super) fn holds_handle(&self, ty: &Type) -> bool {
        let Some(kind) = self.kind(ty) else {
            return false;
        };
        parts(kind).iter().any(|part| self.holds_handle(part))
            || matches!(kind, TypeDefKind::Handle(_) | TypeDefKind::Resource)
    }
}

/// The types a type is made of.
fn parts(kind: &TypeDefKind) -> Vec<Type> {
    match kind {
        TypeDefKind::Record(record) => record.fields.iter().map(|field| field.ty).collect(),
        TypeDefKind::Tuple(tuple) => tuple.types.clone(),
        TypeDefKind::Variant(variant) => variant.cases.iter().filter_map(|case| case.ty).collect(),
        TypeDefKind::Option(ty)
        | TypeDefKind::List(ty)
        | TypeDefKind::FixedLengthList(ty, _)
        | TypeDefKind::Type(ty) => vec![*ty],
        TypeDefKind::Map(key, value) => vec![*key, *value],
        TypeDefKind::Result(result) => result.ok.into_iter().chain(result.err).collect(),
        TypeDefKind::Future(ty) | TypeDefKind::Stream(ty) => ty.iter().copied().collect(),
        TypeDefKind::Handle(Handle::Own(id) | Handle::Borrow(id)) => vec![Type::Id(*id)],
        TypeDefKind::Resource
        | TypeDefKind::Flags(_)
        | TypeDefKind::Enum(_)
        | TypeDefKind::Unknown => Vec::new(),
    }
}

/// The interfaces a world exports, and those whose types they use.
fn used_interfaces(resolve: &Resolve, world: &World) -> BTreeSet<InterfaceId> {
    let mut used = BTreeSet::new();
    for item in world.exports.values() {
        match item {
            WorldItem::Function(function) => use_function(resolve, function, &mut used),
            WorldItem::Interface { id, .. } => use_interface(resolve, *id, &mut used),
            WorldItem::Type { id, .. } => use_type(resolve, &Type::Id(*id), &mut used),
        }
    }
    used
}

fn use_interface(resolve: &Resolve, id: InterfaceId, used: &mut BTreeSet<InterfaceId>) {
    if !used.insert(id) {
        return;
    }
    let interface = &resolve.interfaces[id];
    let mut functions = interface.functions.values();
    functions
        .by_ref()
        .for_each(|function| use_function(resolve, function, used));
    interface
        .types
        .values()
        .for_each(|ty| use_type(resolve, &Type::Id(*ty), used));
}

fn use_function(resolve: &Resolve, function: &Function, used: &mut BTreeSet<InterfaceId>) {
    let params = function.params.iter().map(|param| param.ty);
    params
        .chain(function.result)
        .for_each(|ty| use_type(resolve, &ty, used));
}

fn use_type(resolve: &Resolve, ty: &Type, used: &mut BTreeSet<InterfaceId>) {
    let Type::Id(id) = ty else { return };
    let def = &resolve.types[*id];
    if let TypeOwner::Interface(owner) = def.owner {
        use_interface(resolve, owner, used);
    }
    parts(&def.kind)
        .iter()
        .for_each(|part| use_type(resolve, part, used));
}

/// `types`, or `acme_img_types` when two interfaces are called `types`, with the version when even that
/// is taken.
fn name_modules(
    resolve: &Resolve,
    interfaces: &BTreeSet<InterfaceId>,
) -> HashMap<InterfaceId, String> {
    let package = |id: InterfaceId| -> Option<&PackageName> {
        let package = resolve.interfaces[id].package?;
        Some(&resolve.packages[package].name)
    };
    let name = |id: InterfaceId| resolve.interfaces[id].name.clone().unwrap_or_default();
    let short = |id: InterfaceId| snake(&name(id));
    let long = |id: InterfaceId| match package(id) {
        Some(package) => snake(&format!(
            "{}-{}-{}",
            package.namespace,
            package.name,
            name(id)
        )),
        None => short(id),
    };
    let longest = |id: InterfaceId| {
        let version = package(id).and_then(|package| package.version.as_ref());
        let version = version
            .map(|version| format!("_{version}"))
            .unwrap_or_default();
        let version: String = version
            .chars()
            .map(|letter| {
                if letter.is_ascii_alphanumeric() {
                    letter
                } else {
                    '_'
                }
            })
            .collect();
        format!("{}{version}", long(id))
    };
    let alone = |id: &InterfaceId, form: &dyn Fn(InterfaceId) -> String| {
        interfaces
            .iter()
            .filter(|other| form(**other) == form(*id))
            .count()
            == 1
    };
    interfaces
        .iter()
        .map(|id| {
            let module = match () {
                () if alone(id, &short) => short(*id),
                () if alone(id, &long) => long(*id),
                () => longest(*id),
            };
            (*id, module)
        })
        .collect()
}
