//! How large the interface of a component is when it is written out, found before anything writes
//! it.
//!
//! The binary form shares what the text repeats: a name is written once and used thousands of times
//! at a byte each, an instance type is imported under a thousand names. The parser and the printers
//! copy both at each use, so a few kilobytes could take gigabytes. Here the types are walked once
//! each, and what a use of them would take is added up.

use std::collections::HashMap;

use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentEntityType,
    ComponentFuncTypeId, ComponentInstanceTypeId, ComponentItem, ComponentTypeId, ComponentValType,
};
use wasmparser::types::Types;
use wasmparser::{Parser, Payload, ValidPayload, Validator, WasmFeatures};

use crate::InspectError;
use crate::inspect::MAX_NAME_BYTES;

/// What the parser may be made to copy. A component of the whole of WASI takes less than 1 MiB.
const MAX_BYTES: u64 = 32 << 20;

/// What each type and each use of one takes beside its name.
const NODE_BYTES: u64 = 16;

/// Refuses a component whose interface the parser could not hold in a small multiple of what real
/// ones take.
pub(crate) fn measure(component: &[u8]) -> Result<(), InspectError> {
    let malformed = |error: wasmparser::BinaryReaderError| InspectError::Malformed {
        reason: error.to_string(),
    };
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut depth = 1u32;
    let mut items = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.map_err(malformed)?;
        match validator.payload(&payload).map_err(malformed)? {
            ValidPayload::Parser(_) => depth += 1,
            ValidPayload::End(types) => {
                depth -= 1;
                if depth == 0 {
                    return Measure::new(&types).all(&items);
                }
            }
            ValidPayload::Ok | ValidPayload::Func(..) => {}
        }
        match payload {
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    items.push((import.map_err(malformed)?.name.name, Side::Import));
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    items.push((export.map_err(malformed)?.name.name, Side::Export));
                }
            }
            _ => {}
        }
    }
    // It ends early; the parser says how.
    Ok(())
}

enum Side {
    Import,
    Export,
}

/// The walk over the types of a component, each once.
struct Measure<'a> {
    types: &'a Types,
    defined: HashMap<ComponentDefinedTypeId, u64>,
    functions: HashMap<ComponentFuncTypeId, u64>,
    instances: HashMap<ComponentInstanceTypeId, u64>,
    components: HashMap<ComponentTypeId, u64>,
}

impl<'a> Measure<'a> {
    fn new(types: &'a Types) -> Self {
        Self {
            types,
            defined: HashMap::new(),
            functions: HashMap::new(),
            instances: HashMap::new(),
            components: HashMap::new(),
        }
    }

    fn all(&mut self, items: &[(&str, Side)]) -> Result<(), InspectError> {
        let types = self.types;
        let mut bytes = 0u64;
        for (name, side) in items {
            let item = match side {
                Side::Import => types.component_item_for_import(name),
                Side::Export => types.component_item_for_export(name),
            };
            bytes = bytes.saturating_add(self.item(name, item)?);
        }
        if bytes > MAX_BYTES {
            return Err(InspectError::TooLarge);
        }
        Ok(())
    }

    fn item(&mut self, name: &str, item: Option<&ComponentItem>) -> Result<u64, InspectError> {
        let mut bytes = named(name)?;
        let Some(item) = item else {
            return Ok(bytes);
        };
        let more = [&item.implements, &item.version_suffix, &item.external_id];
        for name in more.into_iter().flatten() {
            bytes = bytes.saturating_add(named(name)?);
        }
        Ok(bytes.saturating_add(self.entity(&item.ty)?))
    }

    fn entity(&mut self, entity: &ComponentEntityType) -> Result<u64, InspectError> {
        match entity {
            ComponentEntityType::Module(_) => Ok(NODE_BYTES),
            ComponentEntityType::Func(id) => self.function(*id),
            ComponentEntityType::Value(ty) => self.value(ty),
            ComponentEntityType::Type { created, .. } => match created {
                ComponentAnyTypeId::Resource(_) => Ok(NODE_BYTES),
                ComponentAnyTypeId::Defined(id) => self.defined(*id),
                ComponentAnyTypeId::Func(id) => self.function(*id),
                ComponentAnyTypeId::Instance(id) => self.instance(*id),
                ComponentAnyTypeId::Component(id) => self.component(*id),
            },
            ComponentEntityType::Instance(id) => self.instance(*id),
            ComponentEntityType::Component(id) => self.component(*id),
        }
    }

    fn instance(&mut self, id: ComponentInstanceTypeId) -> Result<u64, InspectError> {
        if let Some(known) = self.instances.get(&id) {
            return Ok(*known);
        }
        let mut bytes = NODE_BYTES;
        for (name, item) in &self.types[id].exports {
            bytes = bytes.saturating_add(self.item(name, Some(item))?);
        }
        self.instances.insert(id, bytes);
        Ok(bytes)
    }

    fn component(&mut self, id: ComponentTypeId) -> Result<u64, InspectError> {
        if let Some(known) = self.components.get(&id) {
            return Ok(*known);
        }
        let ty = &self.types[id];
        let mut bytes = NODE_BYTES;
        for (name, item) in ty.imports.iter().chain(&ty.exports) {
            bytes = bytes.saturating_add(self.item(name, Some(item))?);
        }
        self.components.insert(id, bytes);
        Ok(bytes)
    }

    fn function(&mut self, id: ComponentFuncTypeId) -> Result<u64, InspectError> {
        if let Some(known) = self.functions.get(&id) {
            return Ok(*known);
        }
        let ty = &self.types[id];
        let mut bytes = NODE_BYTES;
        for (name, ty) in &ty.params {
            bytes = bytes.saturating_add(self.part(name, Some(ty))?);
        }
        bytes = bytes.saturating_add(self.payload(ty.result.as_ref())?);
        self.functions.insert(id, bytes);
        Ok(bytes)
    }

    fn value(&mut self, ty: &ComponentValType) -> Result<u64, InspectError> {
        match ty {
            ComponentValType::Primitive(_) => Ok(NODE_BYTES),
            ComponentValType::Type(id) => self.defined(*id),
        }
    }

    fn payload(&mut self, ty: Option<&ComponentValType>) -> Result<u64, InspectError> {
        ty.map_or(Ok(0), |ty| self.value(ty))
    }

    /// A field, case or parameter.
    fn part(&mut self, name: &str, ty: Option<&ComponentValType>) -> Result<u64, InspectError> {
        Ok(named(name)?.saturating_add(self.payload(ty)?))
    }

    /// Recursion is bounded by the validator's limit on the depth of types.
    fn defined(&mut self, id: ComponentDefinedTypeId) -> Result<u64, InspectError> {
        if let Some(known) = self.defined.get(&id) {
            return Ok(*known);
        }
        let mut bytes = NODE_BYTES;
        let mut add = |more: u64| bytes = bytes.saturating_add(more);
        match &self.types[id] {
            ComponentDefinedType::Primitive(_)
            | ComponentDefinedType::Own(_)
            | ComponentDefinedType::Borrow(_) => {}
            ComponentDefinedType::Record(record) => {
                for (name, ty) in &record.fields {
                    add(self.part(name, Some(ty))?);
                }
            }
            ComponentDefinedType::Variant(variant) => {
                for (name, case) in &variant.cases {
                    add(self.part(name, case.ty.as_ref())?);
                }
            }
            ComponentDefinedType::Flags(names) | ComponentDefinedType::Enum(names) => {
                for name in names {
                    add(named(name)?);
                }
            }
            ComponentDefinedType::Tuple(tuple) => {
                for ty in &tuple.types {
                    add(self.value(ty)?);
                }
            }
            ComponentDefinedType::List { element: ty, .. }
            | ComponentDefinedType::FixedLengthList { element: ty, .. }
            | ComponentDefinedType::Option { ty, .. } => add(self.value(ty)?),
            ComponentDefinedType::Map { key, value, .. } => {
                add(self.value(key)?);
                add(self.value(value)?);
            }
            ComponentDefinedType::Result { ok, err, .. } => {
                add(self.payload(ok.as_ref())?);
                add(self.payload(err.as_ref())?);
            }
            ComponentDefinedType::Future { ty, .. } | ComponentDefinedType::Stream { ty, .. } => {
                add(self.payload(ty.as_ref())?);
            }
        }
        self.defined.insert(id, bytes);
        Ok(bytes)
    }
}

/// What a name takes, refused when it is too long.
fn named(name: &str) -> Result<u64, InspectError> {
    if name.len() > MAX_NAME_BYTES {
        return Err(InspectError::NameTooLong { bytes: name.len() });
    }
    Ok(name.len() as u64 + NODE_BYTES)
}
