//! Whether a Rust type fits a function's: compared once per function, so that calls need no check.

use crate::{Error, FuncType, Limits, Type, Wit};

/// All arguments of a call, as a tuple of [`Wit`] types.
pub trait Args: Wit {
    /// Fails with the argument that does not fit: `config.rate: expected f64, found string`.
    fn matches(func: &FuncType) -> Result<(), Error> {
        let given = Self::ty();
        let given: &[Type] = match &given {
            Type::Tuple(items) => items,
            other => std::slice::from_ref(other),
        };
        func.expect_count(given.len())?;
        func.params
            .iter()
            .zip(given)
            .try_for_each(|(param, given)| {
                param
                    .ty
                    .accepts(given)
                    .map_err(|error| error.in_field(&param.name))
            })
    }

    /// The wire encoding of the arguments within these limits.
    fn to_wire(&self, limits: &Limits) -> Result<bytes::Bytes, Error> {
        crate::to_wire(self, limits)
    }
}

impl FuncType {
    /// Whether the function's result can be read as this type; `()` for a function without one.
    pub fn returns<T: Wit>(&self) -> Result<(), Error> {
        match &self.result {
            Some(ty) => ty
                .accepts(&T::ty())
                .map_err(|error| error.in_field("result")),
            None if T::ty().is_empty_tuple() => Ok(()),
            None => Err(Error::wrong_type("no result", T::ty()).in_field("result")),
        }
    }
}

impl Type {
    pub(crate) fn is_empty_tuple(&self) -> bool {
        matches!(self, Type::Tuple(items) if items.is_empty())
    }

    /// Whether every value of `given` has the same wire bytes and meaning as a value of this type, and the other way round.
    ///
    /// Names of types and docs are not compared; names and order of fields, cases and flags are. A map and a list of pairs
    /// are the same, so are handles of one resource, and a [`Handle`](crate::Handle) of no named resource fits any.
    pub fn accepts(&self, given: &Type) -> Result<(), Error> {
        match (self, given) {
            (Type::List(a), Type::List(b)) => a.accepts(b),
            (Type::FixedList(a, n), Type::FixedList(b, m)) if n == m => a.accepts(b),
            (Type::Map(k, v), Type::Map(l, w)) => k.accepts(l).and_then(|()| v.accepts(w)),
            (Type::Map(k, v), Type::List(pair)) | (Type::List(pair), Type::Map(k, v)) => {
                match &**pair {
                    Type::Tuple(items) if items.len() == 2 => {
                        k.accepts(&items[0]).and_then(|()| v.accepts(&items[1]))
                    }
                    _ => Err(self.mismatch(given)),
                }
            }
            (Type::Tuple(a), Type::Tuple(b)) if a.len() == b.len() => {
                let items = a.iter().zip(b.iter()).enumerate();
                items.into_iter().try_for_each(|(index, (a, b))| {
                    a.accepts(b).map_err(|error| error.in_item(index))
                })
            }
            (Type::Option(a), Type::Option(b)) => a.accepts(b),
            (Type::Result(a), Type::Result(b)) => {
                self.payload_accepts(given, "ok", &a.ok, &b.ok)?;
                self.payload_accepts(given, "err", &a.err, &b.err)
            }
            (Type::Record(a), Type::Record(b)) => {
                a.fields
                    .iter()
                    .zip(&b.fields)
                    .try_for_each(|(a, b)| match a.name == b.name {
                        true => a.ty.accepts(&b.ty).map_err(|error| error.in_field(&a.name)),
                        false => Err(self.mismatch(given)),
                    })?;
                self.same_count(given, a.fields.len(), b.fields.len())
            }
            (Type::Variant(a), Type::Variant(b)) => {
                a.cases
                    .iter()
                    .zip(&b.cases)
                    .try_for_each(|(a, b)| match a.name == b.name {
                        true => self.payload_accepts(given, &a.name, &a.ty, &b.ty),
                        false => Err(self.mismatch(given)),
                    })?;
                self.same_count(given, a.cases.len(), b.cases.len())
            }
            (Type::Enum(a), Type::Enum(b)) => self.same_names(given, &a.cases, &b.cases),
            (Type::Flags(a), Type::Flags(b)) => self.same_names(given, &a.flags, &b.flags),
            (Type::Own(a) | Type::Borrow(a), Type::Own(b) | Type::Borrow(b)) => {
                let fits = a == b || a.is_empty() || b.is_empty();
                if fits {
                    Ok(())
                } else {
                    Err(self.mismatch(given))
                }
            }
            (Type::Stream(Some(a)), Type::Stream(Some(b)))
            | (Type::Future(Some(a)), Type::Future(Some(b))) => a.accepts(b),
            _ if self == given => Ok(()),
            _ => Err(self.mismatch(given)),
        }
    }

    fn payload_accepts(
        &self,
        given: &Type,
        case: &str,
        ours: &Option<Type>,
        theirs: &Option<Type>,
    ) -> Result<(), Error> {
        match (ours, theirs) {
            (Some(a), Some(b)) => a.accepts(b).map_err(|error| error.in_field(case)),
            (None, None) => Ok(()),
            (None, Some(ty)) | (Some(ty), None) if ty.is_empty_tuple() => Ok(()),
            _ => Err(self.mismatch(given)),
        }
    }

    fn same_names(
        &self,
        given: &Type,
        ours: &[crate::Label],
        theirs: &[crate::Label],
    ) -> Result<(), Error> {
        let same = ours
            .iter()
            .map(|label| &label.name)
            .eq(theirs.iter().map(|label| &label.name));
        if same {
            Ok(())
        } else {
            Err(self.mismatch(given))
        }
    }

    fn same_count(&self, given: &Type, ours: usize, theirs: usize) -> Result<(), Error> {
        if ours == theirs {
            Ok(())
        } else {
            Err(self.mismatch(given))
        }
    }

    /// Two types of one name differ inside, so their shapes are shown.
    fn mismatch(&self, given: &Type) -> Error {
        let (expected, found) = (self.to_string(), given.to_string());
        if expected != found {
            return Error::wrong_type(expected, found);
        }
        Error::wrong_type(self.shape(), given.shape())
    }
}
