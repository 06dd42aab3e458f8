//! A function's types, laid out: what the canonical ABI puts where. Built once, from wasmtime's own figures.

use std::sync::{Arc, OnceLock};
use wasmtime::component::__internal::wasmtime_environ::component::{TypeMapIndex, VariantInfo};
use wasmtime::component::__internal::{ComponentTypes, InterfaceType};
use wasmtime::{Result, bail};

/// Types nest at most this deep, so that a walk over a plan never needs much stack.
pub(crate) const MAX_DEPTH: usize = 64;

/// Bytes of one value in memory, without what it points to: the wire encoding's own bound.
/// Fixed-length lists alone come near it. Far below 4 GiB, where the canonical ABI's own arithmetic
/// would wrap.
pub(crate) const MAX_VALUE_BYTES: u64 = 64 << 20;

/// The layout of a function's parameters and result; filled in by its first call, which is the first to see its types.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    params: OnceLock<Node>,
    result: OnceLock<Node>,
}

impl Plan {
    /// The parameters as one record.
    pub(super) fn params(&self, types: &ComponentTypes, tuple: InterfaceType) -> Result<&Node> {
        build_once(&self.params, types, tuple)
    }

    /// The result as a record of one field, or none.
    pub(super) fn result(&self, types: &ComponentTypes, tuple: InterfaceType) -> Result<&Node> {
        build_once(&self.result, types, tuple)
    }
}

fn build_once<'a>(
    slot: &'a OnceLock<Node>,
    types: &ComponentTypes,
    ty: InterfaceType,
) -> Result<&'a Node> {
    if let Some(node) = slot.get() {
        return Ok(node);
    }
    let node = Node::build(types, ty)?;
    Ok(slot.get_or_init(|| node))
}

/// One type, laid out.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(super) kind: Kind,
    /// Bytes in memory.
    pub(super) size: usize,
    pub(super) align: u32,
    /// Core values when passed flat; `None` when more than 16.
    pub(super) flat: Option<usize>,
    /// Fewest wire bytes of one value.
    pub(super) min_wire: usize,
    /// Neither allocates nor names a handle: bytes in, bytes out.
    pub(super) plain: bool,
    /// The bytes in memory are the bytes on the wire, whatever they are.
    pub(super) packed: bool,
    /// The scalars of a plain type that has no cases, in order: a loop over them takes the place of a walk over the type.
    pub(super) scalars: Option<Box<[Scalar]>>,
}

/// One scalar of a plain type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scalar {
    /// Where it lies, from the beginning of the value.
    pub(super) at: usize,
    pub(super) kind: ScalarKind,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum ScalarKind {
    One,
    Two,
    Four,
    Eight,
    F32,
    F64,
    Bool,
    Char,
}

/// Types with more scalars than this are walked.
const MAX_SCALARS: usize = 64;

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Bool,
    /// An integer; the bytes are the same on both sides. `signed` matters only when it is passed flat.
    Int {
        signed: bool,
    },
    F32,
    F64,
    Char,
    String,
    List(Box<Node>),
    /// A list of pairs, which is put in order when it is read.
    Map(Box<Node>),
    FixedList(Box<Node>, u32),
    /// Records, tuples, parameters.
    Record(Box<[Field]>),
    Variant(Box<Variant>),
    /// How many flags.
    Flags(u32),
    /// `own` or `borrow`.
    Handle(InterfaceType),
    /// What it carries is shared with every stream of the type that is open.
    Stream(InterfaceType, Option<Arc<Node>>),
    Future(InterfaceType, Option<Arc<Node>>),
    ErrorContext,
}

#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) offset: usize,
    pub(super) node: Node,
}

/// Variants, enums, options and results.
#[derive(Debug, Clone)]
pub(super) struct Variant {
    /// Bytes of the case number in memory.
    pub(super) tag: u8,
    pub(super) payload_offset: usize,
    pub(super) cases: Box<[Option<Node>]>,
}

impl Node {
    /// Whether this is `u8`, whose streams wasmtime lets the host read in place.
    pub(super) fn is_byte(&self) -> bool {
        self.size == 1 && matches!(self.kind, Kind::Int { signed: false })
    }

    /// Lays out `ty`.
    pub(crate) fn build(types: &ComponentTypes, ty: InterfaceType) -> Result<Node> {
        Builder { types }.node(ty, 0)
    }
}

struct Builder<'a> {
    types: &'a ComponentTypes,
}

impl Builder<'_> {
    fn node(&self, ty: InterfaceType, depth: usize) -> Result<Node> {
        if depth > MAX_DEPTH {
            bail!("a type nests deeper than {MAX_DEPTH}");
        }
        let kind = self.kind(ty, depth + 1)?;
        check_size(&kind)?;
        let abi = self.types.canonical_abi(&ty);
        let size = abi.size32 as usize;
        Ok(Node {
            size,
            align: abi.align32,
            flat: abi.flat_count(16),
            min_wire: min_wire(&kind, size),
            plain: is_plain(&kind),
            packed: is_packed(&kind, size),
            scalars: scalars(&kind, size),
            kind,
        })
    }

    fn boxed(&self, ty: InterfaceType, depth: usize) -> Result<Box<Node>> {
        self.node(ty, depth).map(Box::new)
    }

    fn kind(&self, ty: InterfaceType, depth: usize) -> Result<Kind> {
        Ok(match ty {
            InterfaceType::Bool => Kind::Bool,
            InterfaceType::U8 | InterfaceType::U16 | InterfaceType::U32 | InterfaceType::U64 => {
                Kind::Int { signed: false }
            }
            InterfaceType::S8 | InterfaceType::S16 | InterfaceType::S32 | InterfaceType::S64 => {
                Kind::Int { signed: true }
            }
            InterfaceType::Float32 => Kind::F32,
            InterfaceType::Float64 => Kind::F64,
            InterfaceType::Char => Kind::Char,
            InterfaceType::String => Kind::String,
            InterfaceType::List(i) => Kind::List(self.boxed(self.types[i].element, depth)?),
            InterfaceType::Map(i) => Kind::Map(Box::new(self.map_entry(i, depth)?)),
            InterfaceType::FixedLengthList(i) => Kind::FixedList(
                self.boxed(self.types[i].element, depth)?,
                self.types[i].size,
            ),
            InterfaceType::Record(i) => {
                self.record(self.types[i].fields.iter().map(|field| field.ty), depth)?
            }
            InterfaceType::Tuple(i) => self.record(self.types[i].types.iter().copied(), depth)?,
            InterfaceType::Variant(i) => self.variant(
                &self.types[i].info,
                self.types[i].cases.values().copied(),
                depth,
            )?,
            InterfaceType::Enum(i) => self.variant(
                &self.types[i].info,
                self.types[i].names.iter().map(|_| None),
                depth,
            )?,
            InterfaceType::Option(i) => {
                self.variant(&self.types[i].info, [None, Some(self.types[i].ty)], depth)?
            }
            InterfaceType::Result(i) => self.variant(
                &self.types[i].info,
                [self.types[i].ok, self.types[i].err],
                depth,
            )?,
            InterfaceType::Flags(i) => Kind::Flags(self.types[i].names.len() as u32),
            InterfaceType::Own(_) | InterfaceType::Borrow(_) => Kind::Handle(ty),
            InterfaceType::Stream(i) => Kind::Stream(
                ty,
                self.payload(self.types[self.types[i].ty].payload, depth)?,
            ),
            InterfaceType::Future(i) => Kind::Future(
                ty,
                self.payload(self.types[self.types[i].ty].payload, depth)?,
            ),
            InterfaceType::ErrorContext(_) => Kind::ErrorContext,
        })
    }

    fn payload(&self, ty: Option<InterfaceType>, depth: usize) -> Result<Option<Arc<Node>>> {
        ty.map(|ty| self.node(ty, depth).map(Arc::new)).transpose()
    }

    fn record(&self, fields: impl Iterator<Item = InterfaceType>, depth: usize) -> Result<Kind> {
        let mut end = 0_u64;
        let fields = fields.map(|ty| {
            let node = self.node(ty, depth)?;
            // No node is larger than the limit, and the sum stops there, so none of this can
            // overflow.
            let offset = end.next_multiple_of(u64::from(node.align));
            end = offset + node.size as u64;
            check_bytes(end)?;
            Ok(Field {
                offset: offset as usize,
                node,
            })
        });
        Ok(Kind::Record(fields.collect::<Result<_>>()?))
    }

    fn variant(
        &self,
        info: &VariantInfo,
        cases: impl IntoIterator<Item = Option<InterfaceType>>,
        depth: usize,
    ) -> Result<Kind> {
        let cases = cases
            .into_iter()
            .map(|case| case.map(|ty| self.node(ty, depth)).transpose());
        Ok(Kind::Variant(Box::new(Variant {
            tag: usize::from(info.size) as u8,
            payload_offset: info.payload_offset32 as usize,
            cases: cases.collect::<Result<_>>()?,
        })))
    }

    /// A pair whose layout is the map's own, which wasmtime keeps beside the map.
    fn map_entry(&self, map: TypeMapIndex, depth: usize) -> Result<Node> {
        let map = &self.types[map];
        let key = Field {
            offset: 0,
            node: self.node(map.key, depth)?,
        };
        let value = Field {
            offset: map.value_offset32 as usize,
            node: self.node(map.value, depth)?,
        };
        let kind = Kind::Record(Box::new([key, value]));
        check_size(&kind)?;
        let size = map.entry_abi.size32 as usize;
        Ok(Node {
            size,
            align: map.entry_abi.align32,
            flat: map.entry_abi.flat_count(16),
            min_wire: min_wire(&kind, size),
            plain: is_plain(&kind),
            packed: is_packed(&kind, size),
            scalars: scalars(&kind, size),
            kind,
        })
    }
}

/// Refuses a type whose size wasmtime's figures may have wrapped for. The parts of `kind` have
/// passed.
fn check_size(kind: &Kind) -> Result<()> {
    check_bytes(match kind {
        Kind::FixedList(item, len) => item.size as u64 * u64::from(*len),
        Kind::Record(fields) => fields
            .iter()
            .map(|field| field.offset as u64 + field.node.size as u64)
            .max()
            .unwrap_or(0),
        Kind::Variant(variant) => {
            let payloads = variant.cases.iter().flatten();
            let largest = payloads.map(|payload| payload.size as u64).max();
            variant.payload_offset as u64 + largest.unwrap_or(0)
        }
        _ => 0,
    })
}

fn check_bytes(bytes: u64) -> Result<()> {
    if bytes > MAX_VALUE_BYTES {
        bail!("a value of the type has {bytes} bytes, more than {MAX_VALUE_BYTES}");
    }
    Ok(())
}

fn scalars(kind: &Kind, size: usize) -> Option<Box<[Scalar]>> {
    let one = |kind| Some([Scalar { at: 0, kind }].into());
    match (kind, size) {
        (Kind::Int { .. }, 1) => one(ScalarKind::One),
        (Kind::Int { .. }, 2) => one(ScalarKind::Two),
        (Kind::Int { .. }, 4) => one(ScalarKind::Four),
        (Kind::Int { .. }, _) => one(ScalarKind::Eight),
        (Kind::F32, _) => one(ScalarKind::F32),
        (Kind::F64, _) => one(ScalarKind::F64),
        (Kind::Bool, _) => one(ScalarKind::Bool),
        (Kind::Char, _) => one(ScalarKind::Char),
        (Kind::Record(fields), _) => {
            let mut all = Vec::new();
            for field in fields {
                let inner = field.node.scalars.iter().flatten();
                all.extend(inner.map(|scalar| Scalar {
                    at: field.offset + scalar.at,
                    kind: scalar.kind,
                }));
                if field.node.scalars.is_none() || all.len() > MAX_SCALARS {
                    return None;
                }
            }
            Some(all.into())
        }
        _ => None,
    }
}

fn min_wire(kind: &Kind, size: usize) -> usize {
    match kind {
        Kind::Bool | Kind::Int { .. } | Kind::F32 | Kind::F64 | Kind::Char => size,
        Kind::String | Kind::List(_) | Kind::Map(_) => 1,
        Kind::FixedList(item, len) => item.min_wire * *len as usize,
        Kind::Record(fields) => fields.iter().map(|field| field.node.min_wire).sum(),
        Kind::Variant(_) => 1,
        Kind::Flags(count) => count.div_ceil(8) as usize,
        Kind::Handle(_) | Kind::Stream(..) | Kind::Future(..) | Kind::ErrorContext => 4,
    }
}

fn is_plain(kind: &Kind) -> bool {
    match kind {
        Kind::Bool | Kind::Int { .. } | Kind::F32 | Kind::F64 | Kind::Char | Kind::Flags(_) => true,
        Kind::FixedList(item, _) => item.plain,
        Kind::Record(fields) => fields.iter().all(|field| field.node.plain),
        Kind::Variant(variant) => variant.cases.iter().flatten().all(|case| case.plain),
        Kind::String
        | Kind::List(_)
        | Kind::Map(_)
        | Kind::Handle(_)
        | Kind::Stream(..)
        | Kind::Future(..)
        | Kind::ErrorContext => false,
    }
}

/// Integers, and records of them without gaps. Not floats: a NaN has one spelling on the wire.
fn is_packed(kind: &Kind, size: usize) -> bool {
    match kind {
        Kind::Int { .. } => true,
        Kind::FixedList(item, _) => item.packed,
        Kind::Record(fields) => {
            let all = fields.iter().all(|field| field.node.packed);
            all && fields.iter().map(|field| field.node.size).sum::<usize>() == size
        }
        _ => false,
    }
}
