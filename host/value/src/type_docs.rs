//! What is said of types, put back into the types of a function: a component has no comments.

use std::cell::Cell;
use std::sync::Arc;

use crate::{FuncType, Type};

impl FuncType {
    /// The function with what `docs` says of its types, fields and cases, by the names [`with_docs`](crate::with_docs) knows
    /// them by. What is said already stays.
    #[must_use]
    pub fn with_type_docs<'a>(&self, docs: impl Fn(&str) -> Option<&'a str>) -> Self {
        let interface = self.export.interface.as_deref();
        let prefix = interface.map_or_else(String::new, |interface| format!("{interface}#"));
        let told = Told {
            prefix,
            bytes_left: Cell::new(MAX_DOCS_BYTES),
            docs: &docs,
        };
        let mut function = self.clone();
        for param in &mut function.params {
            param.ty = told.ty(&param.ty);
        }
        function.result = function.result.as_ref().map(|ty| told.ty(ty));
        function
    }
}

/// What comments may add to the types of one function: each use of a type repeats what is said of
/// it.
const MAX_DOCS_BYTES: usize = 256 << 10;

/// What is said, and what stands before the names in it.
struct Told<'f, 'a> {
    prefix: String,
    /// Beyond it, comments are left out.
    bytes_left: Cell<usize>,
    docs: &'f dyn Fn(&str) -> Option<&'a str>,
}

impl Told<'_, '_> {
    /// Puts in what is said of `name`, or of a part of it.
    fn say(&self, docs: &mut String, name: Option<&String>, part: &str) {
        let Some(name) = name.filter(|_| docs.is_empty()) else {
            return;
        };
        let dot = if part.is_empty() { "" } else { "." };
        let said = (self.docs)(&format!("{}{name}{dot}{part}", self.prefix)).unwrap_or_default();
        if let Some(left) = self.bytes_left.get().checked_sub(said.len()) {
            self.bytes_left.set(left);
            *docs = said.to_owned();
        }
    }

    fn arc(&self, ty: &Arc<Type>) -> Arc<Type> {
        Arc::new(self.ty(ty))
    }

    fn ty(&self, ty: &Type) -> Type {
        match ty {
            Type::List(item) => Type::List(self.arc(item)),
            Type::FixedList(item, len) => Type::FixedList(self.arc(item), *len),
            Type::Map(key, value) => Type::Map(self.arc(key), self.arc(value)),
            Type::Option(item) => Type::Option(self.arc(item)),
            Type::Tuple(items) => Type::Tuple(items.iter().map(|item| self.ty(item)).collect()),
            Type::Stream(item) => Type::Stream(item.as_ref().map(|item| self.arc(item))),
            Type::Future(item) => Type::Future(item.as_ref().map(|item| self.arc(item))),
            Type::Result(it) => Type::result(
                it.ok.as_ref().map(|ty| self.ty(ty)),
                it.err.as_ref().map(|ty| self.ty(ty)),
            ),
            Type::Record(_) | Type::Variant(_) | Type::Enum(_) | Type::Flags(_) => self.named(ty),
            other => other.clone(),
        }
    }

    fn named(&self, ty: &Type) -> Type {
        match ty.clone() {
            Type::Record(mut shared) => {
                let it = Arc::make_mut(&mut shared);
                self.say(&mut it.docs, it.name.as_ref(), "");
                for field in &mut it.fields {
                    field.ty = self.ty(&field.ty);
                    self.say(&mut field.docs, it.name.as_ref(), &field.name);
                }
                Type::Record(shared)
            }
            Type::Variant(mut shared) => {
                let it = Arc::make_mut(&mut shared);
                self.say(&mut it.docs, it.name.as_ref(), "");
                for case in &mut it.cases {
                    case.ty = case.ty.as_ref().map(|ty| self.ty(ty));
                    self.say(&mut case.docs, it.name.as_ref(), &case.name);
                }
                Type::Variant(shared)
            }
            Type::Enum(mut shared) => {
                let it = Arc::make_mut(&mut shared);
                self.say(&mut it.docs, it.name.as_ref(), "");
                for case in &mut it.cases {
                    self.say(&mut case.docs, it.name.as_ref(), &case.name);
                }
                Type::Enum(shared)
            }
            Type::Flags(mut shared) => {
                let it = Arc::make_mut(&mut shared);
                self.say(&mut it.docs, it.name.as_ref(), "");
                for flag in &mut it.flags {
                    self.say(&mut flag.docs, it.name.as_ref(), &flag.name);
                }
                Type::Flags(shared)
            }
            other => other,
        }
    }
}
