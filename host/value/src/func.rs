//! Functions: what a call takes and gives, and its arguments and result as wire bytes.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::wire::{self, Side};
use crate::{Error, Limits, Type, Value};

/// An exported function.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FuncType {
    /// As a target names it: `square`, `acme:img/resize#thumbnail`, `acme:img/resize#image.scale` (method),
    /// `…#image.new` (constructor), `…#image.make` (static).
    pub name: String,
    /// A method's first parameter is its resource, named `self`.
    pub params: Vec<Param>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Type>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_async: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub docs: String,
    pub export: ExportPath,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// A parameter of a function.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Param {
    pub name: String,
    #[serde(rename = "type")]
    pub ty: Type,
}

/// Where a component exports a function.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExportPath {
    /// The exported instance, `acme:img/resize@1.0.0`; none for a function of the world itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The name within it, `[method]image.scale`.
    pub raw: String,
}

impl FuncType {
    /// A plain exported function.
    pub fn new<'a>(
        name: &str,
        params: impl IntoIterator<Item = (&'a str, Type)>,
        result: Option<Type>,
    ) -> Self {
        let params = params
            .into_iter()
            .map(|(name, ty)| Param {
                name: name.to_owned(),
                ty,
            })
            .collect();
        let export = ExportPath {
            interface: None,
            raw: name.to_owned(),
        };
        Self {
            name: name.to_owned(),
            params,
            result,
            is_async: false,
            docs: String::new(),
            export,
        }
    }

    /// The wire encoding of these arguments.
    pub fn encode_args(&self, args: &[Value], limits: &Limits) -> Result<Bytes, Error> {
        self.expect_count(args.len())?;
        let mut encoder = wire::Encoder::new(limits, Side::Arguments);
        for (param, arg) in self.params.iter().zip(args) {
            encoder
                .nested(&param.ty, arg)
                .map_err(|error| error.in_field(&param.name))?;
        }
        Ok(encoder.finish())
    }

    /// The arguments these bytes encode.
    pub fn decode_args(&self, bytes: &[u8], limits: &Limits) -> Result<Vec<Value>, Error> {
        let mut reader = wire::Reader::new(bytes, limits)?.for_arguments();
        let mut args = Vec::with_capacity(self.params.len());
        for param in &self.params {
            args.push(
                reader
                    .nested(|r| r.value(&param.ty))
                    .map_err(|error| error.in_field(&param.name))?,
            );
        }
        reader.finish()?;
        Ok(args)
    }

    /// Whether these bytes encode arguments of the function, without building them. Takes no time for lists of integers.
    pub fn check_args(&self, bytes: &[u8], limits: &Limits) -> Result<(), Error> {
        let mut reader = wire::Reader::new(bytes, limits)?.for_arguments();
        for param in &self.params {
            reader
                .nested(|r| r.skip(&param.ty))
                .map_err(|error| error.in_field(&param.name))?;
        }
        reader.finish()
    }

    /// The wire encoding of this result; nothing when the function has none.
    pub fn encode_result(&self, result: Option<&Value>, limits: &Limits) -> Result<Bytes, Error> {
        match (&self.result, result) {
            (Some(ty), Some(value)) => ty.encode(value, limits),
            (None, None) => Ok(Bytes::new()),
            (Some(ty), None) => Err(Error::wrong_type(ty, "no result")),
            (None, Some(value)) => Err(Error::wrong_type("no result", value.kind())),
        }
    }

    /// The result these bytes encode.
    pub fn decode_result(&self, bytes: &[u8], limits: &Limits) -> Result<Option<Value>, Error> {
        match &self.result {
            Some(ty) => ty.decode(bytes, limits).map(Some),
            None => wire::Reader::new(bytes, limits)?.finish().map(|()| None),
        }
    }

    /// Whether these bytes encode the function's result.
    pub fn check_result(&self, bytes: &[u8], limits: &Limits) -> Result<(), Error> {
        match &self.result {
            Some(ty) => ty.check(bytes, limits),
            None => wire::Reader::new(bytes, limits)?.finish(),
        }
    }

    pub(crate) fn expect_count(&self, found: usize) -> Result<(), Error> {
        let expected = self.params.len();
        if found == expected {
            return Ok(());
        }
        Err(crate::ErrorKind::ArgumentCount {
            expected,
            found,
            signature: self.signature(),
        }
        .into())
    }
}
