//! The walk over a component's sections, and what it adds up.
//!
//! A component defines modules and components and instantiates them, any number of times; an instance of the outer one takes
//! what all of these take together. So each definition's totals are kept in its index space, as the binary format numbers
//! them, and added wherever the definition is instantiated. A definition that reaches its place as an import or as an export of
//! another instance is counted as nothing: no toolchain does that, and what it would smuggle past these caps meets the pool's
//! own when it is loaded, and the worker's limits when it is compiled.

use lydian_value::{TypeNesting, type_nesting};
use wasmparser::{
    BinaryReaderError, CanonicalFunction, CanonicalOption, Chunk, ComponentAlias,
    ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef, Instance,
    Parser, Payload, SectionLimited,
};

use super::{Caps, Error};

/// What one instance takes, nested ones multiplied out; sums saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Instances of core modules.
    pub core_instances: u64,
    /// Instances of components, this one left out.
    pub component_instances: u64,
    /// Linear memories that are defined, not imported.
    pub memories: u64,
    /// Tables that are defined, not imported.
    pub tables: u64,
    /// Whether something in it uses the component model's async, or asks for WASI 0.3, which is built on it.
    ///
    /// A hint that is right for what toolchains make: a component whose only async is in a type is not seen.
    pub concurrent: bool,
}

impl Totals {
    fn add(&mut self, other: Self) {
        self.core_instances = self.core_instances.saturating_add(other.core_instances);
        self.component_instances = self
            .component_instances
            .saturating_add(other.component_instances);
        self.memories = self.memories.saturating_add(other.memories);
        self.tables = self.tables.saturating_add(other.tables);
        self.concurrent |= other.concurrent;
    }
}

/// Declarations of one kind, over the whole file.
#[derive(Default)]
struct Declared {
    functions: u64,
    element_segments: u64,
    data_segments: u64,
    globals: u64,
    types: u64,
    imports: u64,
    exports: u64,
}

/// A module or component whose sections are being read.
struct Frame {
    parser: Parser,
    is_module: bool,
    totals: Totals,
    /// Index spaces: what each definition takes when it is instantiated.
    modules: Vec<Totals>,
    components: Vec<Totals>,
}

impl Frame {
    fn new(parser: Parser, is_module: bool) -> Self {
        Self {
            parser,
            is_module,
            totals: Totals::default(),
            modules: Vec::new(),
            components: Vec::new(),
        }
    }
}

pub(super) struct Walk<'a> {
    caps: &'a Caps,
    declared: Declared,
    /// The innermost frame is the last; its index is its depth.
    frames: Vec<Frame>,
    concurrent: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(caps: &'a Caps) -> Self {
        Self {
            caps,
            declared: Declared::default(),
            frames: vec![Frame::new(Parser::new(0), false)],
            concurrent: false,
        }
    }

    pub(super) fn run(mut self, bytes: &[u8]) -> Result<Totals, Error> {
        let mut rest = bytes;
        while let Some(frame) = self.frames.last_mut() {
            let (payload, consumed) = match frame.parser.parse(rest, rest.is_empty()) {
                Ok(Chunk::Parsed { payload, consumed }) => (payload, consumed),
                Ok(Chunk::NeedMoreData(_)) => return Err(Error::Truncated { size: bytes.len() }),
                Err(_) if rest.is_empty() => return Err(Error::Truncated { size: bytes.len() }),
                Err(error) => return Err(malformed(&error)),
            };
            rest = rest.get(consumed..).unwrap_or_default();
            if let Payload::End(_) = payload {
                if let Some(totals) = self.close() {
                    return Ok(Totals {
                        concurrent: self.concurrent,
                        ..totals
                    });
                }
            } else {
                self.section(bytes, payload)?;
            }
        }
        Ok(Totals::default())
    }

    /// Ends the innermost frame: its totals enter its parent's index space. The outermost one's are the answer.
    fn close(&mut self) -> Option<Totals> {
        let done = self.frames.pop()?;
        let Some(parent) = self.frames.last_mut() else {
            return Some(done.totals);
        };
        if done.is_module {
            parent.modules.push(done.totals);
        } else {
            parent.components.push(done.totals);
        }
        None
    }

    fn open(&mut self, frame: Frame, end: usize, bytes: &[u8]) -> Result<(), Error> {
        // Without this, bytes that end between two sections of the inner one would pass.
        if end > bytes.len() {
            return Err(Error::Truncated { size: bytes.len() });
        }
        let depth = self.frames.len() as u64 + 1;
        cap(
            "components inside one another",
            depth,
            self.caps.component_depth,
        )?;
        self.frames.push(frame);
        Ok(())
    }

    fn section(&mut self, bytes: &[u8], payload: Payload<'_>) -> Result<(), Error> {
        let caps = self.caps;
        let declared = &mut self.declared;
        match payload {
            Payload::ModuleSection {
                parser,
                unchecked_range,
            } => self.open(Frame::new(parser, true), unchecked_range.end, bytes),
            Payload::ComponentSection {
                parser,
                unchecked_range,
            } => self.open(Frame::new(parser, false), unchecked_range.end, bytes),
            Payload::TypeSection(section) => {
                add("types", &mut declared.types, &section, caps.types)
            }
            Payload::CoreTypeSection(section) => {
                add("types", &mut declared.types, &section, caps.types)
            }
            Payload::FunctionSection(section) => add(
                "functions",
                &mut declared.functions,
                &section,
                caps.functions,
            ),
            Payload::GlobalSection(section) => {
                add("globals", &mut declared.globals, &section, caps.globals)
            }
            Payload::ElementSection(section) => add(
                "element segments",
                &mut declared.element_segments,
                &section,
                caps.element_segments,
            ),
            Payload::DataSection(section) => add(
                "data segments",
                &mut declared.data_segments,
                &section,
                caps.data_segments,
            ),
            Payload::ImportSection(section) => {
                add("imports", &mut declared.imports, &section, caps.imports)
            }
            Payload::ExportSection(section) => {
                add("exports", &mut declared.exports, &section, caps.exports)
            }
            Payload::ComponentTypeSection(section) => self.component_types(bytes, &section),
            Payload::MemorySection(section) => self.memories(section),
            Payload::TableSection(section) => self.tables(section),
            Payload::InstanceSection(section) => self.core_instances(section),
            Payload::ComponentInstanceSection(section) => self.component_instances(section),
            Payload::ComponentAliasSection(section) => self.aliases(section),
            Payload::ComponentCanonicalSection(section) => self.canonical_functions(section),
            Payload::ComponentImportSection(section) => self.component_imports(section),
            Payload::ComponentExportSection(section) => self.component_exports(section),
            // Custom sections, code bodies and the like: their sizes were checked by the parser.
            _ => Ok(()),
        }
    }

    fn component_types(
        &mut self,
        bytes: &[u8],
        section: &SectionLimited<'_, wasmparser::ComponentType<'_>>,
    ) -> Result<(), Error> {
        let range = section.range();
        let contents = bytes.get(range.clone()).unwrap_or_default();
        match type_nesting(contents, range.start, self.caps.type_depth) {
            TypeNesting::TooDeep { depth } => {
                cap("types inside one another", depth, self.caps.type_depth)
            }
            TypeNesting::Within { types } => {
                self.declared.types = self.declared.types.saturating_add(types);
                cap("types", self.declared.types, self.caps.types)
            }
            TypeNesting::Malformed { offset, message } => Err(Error::Malformed { offset, message }),
        }
    }

    fn memories(
        &mut self,
        section: SectionLimited<'_, wasmparser::MemoryType>,
    ) -> Result<(), Error> {
        for memory in section {
            let memory = memory.map_err(|error| malformed(&error))?;
            if memory.shared {
                return Err(Error::Unsupported {
                    feature: "shared memory (threads)",
                });
            }
            if memory.memory64 {
                return Err(Error::Unsupported {
                    feature: "64-bit memory",
                });
            }
            self.add(Totals {
                memories: 1,
                ..Totals::default()
            })?;
        }
        Ok(())
    }

    fn tables(&mut self, section: SectionLimited<'_, wasmparser::Table<'_>>) -> Result<(), Error> {
        for table in section {
            let table = table.map_err(|error| malformed(&error))?;
            cap(
                "elements in one table",
                table.ty.initial,
                self.caps.table_elements,
            )?;
            self.add(Totals {
                tables: 1,
                ..Totals::default()
            })?;
        }
        Ok(())
    }

    fn core_instances(&mut self, section: SectionLimited<'_, Instance<'_>>) -> Result<(), Error> {
        for instance in section {
            if let Instance::Instantiate { module_index, .. } =
                instance.map_err(|error| malformed(&error))?
            {
                let module = self.lookup(0, |frame| &frame.modules, module_index);
                self.add(Totals {
                    core_instances: 1,
                    ..module
                })?;
            }
        }
        Ok(())
    }

    fn component_instances(
        &mut self,
        section: SectionLimited<'_, ComponentInstance<'_>>,
    ) -> Result<(), Error> {
        for instance in section {
            if let ComponentInstance::Instantiate {
                component_index, ..
            } = instance.map_err(|error| malformed(&error))?
            {
                let mut component = self.lookup(0, |frame| &frame.components, component_index);
                component.component_instances = component.component_instances.saturating_add(1);
                self.add(component)?;
            }
        }
        Ok(())
    }

    fn aliases(&mut self, section: SectionLimited<'_, ComponentAlias<'_>>) -> Result<(), Error> {
        for alias in section {
            match alias.map_err(|error| malformed(&error))? {
                ComponentAlias::Outer {
                    kind: ComponentOuterAliasKind::CoreModule,
                    count,
                    index,
                } => {
                    let totals = self.lookup(count, |frame| &frame.modules, index);
                    self.define(ComponentExternalKind::Module, totals);
                }
                ComponentAlias::Outer {
                    kind: ComponentOuterAliasKind::Component,
                    count,
                    index,
                } => {
                    let totals = self.lookup(count, |frame| &frame.components, index);
                    self.define(ComponentExternalKind::Component, totals);
                }
                ComponentAlias::InstanceExport { kind, .. } => self.define(kind, Totals::default()),
                _ => {}
            }
        }
        Ok(())
    }

    fn component_imports(
        &mut self,
        section: SectionLimited<'_, wasmparser::ComponentImport<'_>>,
    ) -> Result<(), Error> {
        add(
            "imports",
            &mut self.declared.imports,
            &section,
            self.caps.imports,
        )?;
        for import in section {
            let import = import.map_err(|error| malformed(&error))?;
            let name = import.name.name;
            self.concurrent |= name.starts_with("wasi:") && name.contains("@0.3");
            match import.ty {
                ComponentTypeRef::Module(_) => {
                    self.define(ComponentExternalKind::Module, Totals::default())
                }
                ComponentTypeRef::Component(_) => {
                    self.define(ComponentExternalKind::Component, Totals::default())
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn canonical_functions(
        &mut self,
        section: SectionLimited<'_, CanonicalFunction>,
    ) -> Result<(), Error> {
        for function in section {
            let function = function.map_err(|error| malformed(&error))?;
            self.concurrent |= match &function {
                CanonicalFunction::Lift { options, .. }
                | CanonicalFunction::Lower { options, .. } => {
                    options.contains(&CanonicalOption::Async)
                }
                CanonicalFunction::ResourceNew { .. }
                | CanonicalFunction::ResourceDrop { .. }
                | CanonicalFunction::ResourceRep { .. } => false,
                _ => true,
            };
        }
        Ok(())
    }

    /// An export gives its item a new index too.
    fn component_exports(
        &mut self,
        section: SectionLimited<'_, wasmparser::ComponentExport<'_>>,
    ) -> Result<(), Error> {
        add(
            "exports",
            &mut self.declared.exports,
            &section,
            self.caps.exports,
        )?;
        for export in section {
            let export = export.map_err(|error| malformed(&error))?;
            let totals = match export.kind {
                ComponentExternalKind::Module => {
                    self.lookup(0, |frame| &frame.modules, export.index)
                }
                _ => self.lookup(0, |frame| &frame.components, export.index),
            };
            self.define(export.kind, totals);
        }
        Ok(())
    }

    /// Gives a module or component the next index of the innermost frame; other kinds are not counted.
    fn define(&mut self, kind: ComponentExternalKind, totals: Totals) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        match kind {
            ComponentExternalKind::Module => frame.modules.push(totals),
            ComponentExternalKind::Component => frame.components.push(totals),
            _ => {}
        }
    }

    /// The totals at an index, `outward` frames from the innermost. A wrong index counts as nothing: validation refuses it.
    fn lookup(&self, outward: u32, space: impl Fn(&Frame) -> &Vec<Totals>, index: u32) -> Totals {
        let frame = self.frames.iter().rev().nth(outward as usize);
        frame
            .and_then(|frame| space(frame).get(index as usize))
            .copied()
            .unwrap_or_default()
    }

    /// Adds to the innermost frame. The caps hold for it already: what it defines is there to be instantiated.
    fn add(&mut self, more: Totals) -> Result<(), Error> {
        let Some(frame) = self.frames.last_mut() else {
            return Ok(());
        };
        frame.totals.add(more);
        let totals = frame.totals;
        cap(
            "core instances",
            totals.core_instances,
            self.caps.core_instances,
        )?;
        cap(
            "component instances",
            totals.component_instances,
            self.caps.component_instances,
        )?;
        cap("memories", totals.memories, self.caps.memories)?;
        cap("tables", totals.tables, self.caps.tables)
    }
}

fn add<T>(
    what: &'static str,
    sum: &mut u64,
    section: &SectionLimited<'_, T>,
    limit: u64,
) -> Result<(), Error> {
    *sum = sum.saturating_add(u64::from(section.count()));
    cap(what, *sum, limit)
}

fn cap(what: &'static str, found: u64, limit: u64) -> Result<(), Error> {
    if found > limit {
        Err(Error::TooMany { what, found, limit })
    } else {
        Ok(())
    }
}

fn malformed(error: &BinaryReaderError) -> Error {
    Error::Malformed {
        offset: error.offset(),
        message: error.message().to_owned(),
    }
}
