//! The forms arguments and results can take: Rust types, values, JSON, WAVE, wire bytes.
//!
//! Every call is generic over an [`Input`] and an [`Output`]. A tuple of types that are
//! [`Wit`](lydian_value::Wit) is an input, and one such type an output; both are compared with the
//! function's type once, then cost nothing more than writing the bytes. The other forms are wrappers, and
//! carry what is known only when the program runs:
//!
//! | form | as arguments | as result |
//! | --- | --- | --- |
//! | [`Values`] | one [`Value`] per parameter | none or one |
//! | [`Json`] | an array in order, or an object by name | the result, or `null` |
//! | [`Wave`] | one text per parameter | none or one |
//! | [`Wire`] | wire bytes of all parameters | wire bytes of the result |
//!
//! ```no_run
//! # async fn example(square: lydian_client::Function) -> lydian_client::Result<()> {
//! use lydian_client::{Json, Value, Values, Wave};
//!
//! let typed: u64 = square.call((4u64,)).await?;
//! let Values(values) = square.call(Values(vec![Value::U64(4)])).await?;
//! let Json(json) = square.call(Json(serde_json::json!([4]))).await?;
//! let Wave(wave) = square.call(Wave(vec!["4".into()])).await?;
//! let mixed: u64 = square.call(Wave(vec!["4".into()])).await?;
//! # Ok(())
//! # }
//! ```

use crate::error::{Error, Refusal, Result};
use bytes::Bytes;
use lydian_value::{Args, FuncType, Limits, Param, Type, Value, Wit, json, wave};

/// Arguments of a call, in any form. Implemented for tuples of [`Wit`] types and the wrappers here.
pub trait Input: Send + Sized + 'static {
    /// Whether the form fits the function at all; asked once per function.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`], naming the path: `config.rate: expected f64, found string`.
    fn check(ty: &FuncType) -> Result<()> {
        let _ = ty;
        Ok(())
    }

    /// The arguments in the wire encoding.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`], naming the path; also when they are larger than the limits.
    fn encode(self, ty: &FuncType, limits: &Limits) -> Result<Bytes>;
}

/// The result of a call, in any form. Implemented for [`Wit`] types and the wrappers here; `()` stands
/// for no result.
pub trait Output: Send + Sized + 'static {
    /// Whether the form fits the result at all; asked once per function.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`], naming the path in the result.
    fn check(ty: Option<&Type>) -> Result<()> {
        let _ = ty;
        Ok(())
    }

    /// The result these wire bytes encode.
    ///
    /// # Errors
    /// [`Error::Internal`]: the bytes are not of this type.
    fn decode(ty: Option<&Type>, bytes: Bytes, limits: &Limits) -> Result<Self>;

    /// The items of a `list<ty>`.
    ///
    /// # Errors
    /// [`Error::Internal`]: the bytes are not such a list.
    fn decode_list(ty: &Type, bytes: Bytes, limits: &Limits) -> Result<Vec<Self>> {
        let items = list_items(ty, &bytes, limits)?;
        items
            .into_iter()
            .map(|item| {
                let bytes = ty.encode(&item, limits).map_err(not_of_its_type)?;
                Self::decode(Some(ty), bytes, limits)
            })
            .collect()
    }
}

impl<A: Args + Send + 'static> Input for A {
    fn check(ty: &FuncType) -> Result<()> {
        Ok(A::matches(ty)?)
    }

    fn encode(self, _: &FuncType, limits: &Limits) -> Result<Bytes> {
        Ok(self.to_wire(limits)?)
    }
}

impl<T: Wit + Send + 'static> Output for T {
    fn check(ty: Option<&Type>) -> Result<()> {
        let function = FuncType::new("", std::iter::empty::<(&str, Type)>(), ty.cloned());
        function.returns::<T>().map_err(|error| {
            let refusal = Refusal::new("wrong-result-type", error.to_string());
            Error::InvalidArgument(refusal.about(error.path()))
        })
    }

    fn decode(_: Option<&Type>, bytes: Bytes, limits: &Limits) -> Result<Self> {
        lydian_value::from_wire(&bytes, limits).map_err(not_of_its_type)
    }

    fn decode_list(_: &Type, bytes: Bytes, limits: &Limits) -> Result<Vec<Self>> {
        lydian_value::from_wire(&bytes, limits).map_err(not_of_its_type)
    }
}

/// Values as data: one per parameter; as result none or one.
#[derive(Debug, Clone, PartialEq)]
pub struct Values(pub Vec<Value>);

impl Input for Values {
    fn encode(self, ty: &FuncType, limits: &Limits) -> Result<Bytes> {
        Ok(ty.encode_args(&self.0, limits)?)
    }
}

impl Output for Values {
    fn decode(ty: Option<&Type>, bytes: Bytes, limits: &Limits) -> Result<Self> {
        let value = ty.map(|ty| ty.decode(&bytes, limits)).transpose();
        let value = value.map_err(not_of_its_type)?;
        Ok(Self(value.into_iter().collect()))
    }
}

/// JSON: an array of the arguments in order or an object by parameter name; the result, or `null`.
#[derive(Debug, Clone, PartialEq)]
pub struct Json(pub serde_json::Value);

impl Input for Json {
    fn encode(self, ty: &FuncType, limits: &Limits) -> Result<Bytes> {
        let values = ty.args_from_json(&self.0.to_string(), limits)?;
        Ok(ty.encode_args(&values, limits)?)
    }
}

impl Output for Json {
    fn decode(ty: Option<&Type>, bytes: Bytes, limits: &Limits) -> Result<Self> {
        let Some(ty) = ty else {
            return Ok(Self(serde_json::Value::Null));
        };
        json::to_json(ty, &bytes, limits)
            .map(Self)
            .map_err(not_of_its_type)
    }
}

/// WAVE, the text form of WIT values: one text per parameter; as result none or one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave(pub Vec<String>);

impl Input for Wave {
    fn encode(self, ty: &FuncType, limits: &Limits) -> Result<Bytes> {
        let values = ty.args_from_wave(&self.0, limits)?;
        Ok(ty.encode_args(&values, limits)?)
    }
}

impl Output for Wave {
    fn decode(ty: Option<&Type>, bytes: Bytes, limits: &Limits) -> Result<Self> {
        let text = ty.map(|ty| wave::to_string(ty, &bytes, limits)).transpose();
        let text = text.map_err(not_of_its_type)?;
        Ok(Self(text.into_iter().collect()))
    }
}

/// Bytes in the wire encoding, passed on as they are; the node checks arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire(pub Bytes);

impl Input for Wire {
    fn encode(self, _: &FuncType, limits: &Limits) -> Result<Bytes> {
        if self.0.len() > limits.bytes {
            let kind = lydian_value::ErrorKind::TooManyBytes {
                limit: limits.bytes,
            };
            return Err(lydian_value::Error::new(kind).into());
        }
        Ok(self.0)
    }
}

impl Output for Wire {
    fn decode(_: Option<&Type>, bytes: Bytes, _: &Limits) -> Result<Self> {
        Ok(Self(bytes))
    }
}

fn list_items(item: &Type, bytes: &[u8], limits: &Limits) -> Result<Vec<Value>> {
    let list = Type::list(item.clone()).decode(bytes, limits);
    Ok(items_of(list.map_err(not_of_its_type)?))
}

/// The items of a list value, whichever way it holds them.
fn items_of(list: Value) -> Vec<Value> {
    fn all<T>(items: Vec<T>, make: fn(T) -> Value) -> Vec<Value> {
        items.into_iter().map(make).collect()
    }
    match list {
        Value::List(items) => items,
        Value::Bytes(items) => all(items.to_vec(), Value::U8),
        Value::S8s(items) => all(items, Value::S8),
        Value::S16s(items) => all(items, Value::S16),
        Value::U16s(items) => all(items, Value::U16),
        Value::S32s(items) => all(items, Value::S32),
        Value::U32s(items) => all(items, Value::U32),
        Value::S64s(items) => all(items, Value::S64),
        Value::U64s(items) => all(items, Value::U64),
        Value::F32s(items) => all(items, Value::F32),
        Value::F64s(items) => all(items, Value::F64),
        other => vec![other],
    }
}

/// The node checks what it sends, so this is its mistake or this client's, not the caller's.
fn not_of_its_type(error: lydian_value::Error) -> Error {
    Error::Internal(Refusal::new(
        "bad-answer",
        format!("the node's answer is not of the type it told: {error}"),
    ))
}

/// The function without its first parameter: how a method looks to one who holds the resource.
pub(crate) fn without_self(ty: &FuncType) -> FuncType {
    let params: &[Param] = ty.params.get(1..).unwrap_or_default();
    FuncType {
        params: params.to_vec(),
        ..ty.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square() -> FuncType {
        FuncType::new("square", [("x", Type::U64)], Some(Type::U64))
    }

    /// Equal arguments are equal bytes, whichever way they were written.
    #[test]
    fn all_forms_of_one_argument_are_the_same_bytes() {
        let (ty, limits) = (square(), Limits::default());
        let typed = (4u64,).encode(&ty, &limits).expect("typed");
        let values = Values(vec![Value::U64(4)]).encode(&ty, &limits);
        let list = Json(serde_json::json!([4])).encode(&ty, &limits);
        let object = Json(serde_json::json!({"x": 4})).encode(&ty, &limits);
        let wave = Wave(vec!["4".into()]).encode(&ty, &limits);
        for (form, bytes) in [values, list, object, wave].into_iter().enumerate() {
            assert_eq!(bytes.expect("encodes"), typed, "form {form}");
        }
    }

    /// A wrong Rust type is found before anything is sent, and the error says where.
    #[test]
    fn a_wrong_rust_type_names_its_path() {
        let config = Type::record("config", [("depth", Type::U32), ("rate", Type::F64)]);
        let ty = FuncType::new("train", [("config", config)], None);
        #[derive(Debug)]
        struct Wrong;
        impl Wit for Wrong {
            fn ty() -> Type {
                Type::record("config", [("depth", Type::U32), ("rate", Type::String)])
            }
            fn encode(&self, _: &mut Vec<u8>) {}
            fn decode(_: &mut lydian_value::Reader<'_>) -> Result<Self, lydian_value::Error> {
                Ok(Self)
            }
        }
        let error = <(Wrong,) as Input>::check(&ty).expect_err("wrong type");
        assert_eq!(error.code(), "wrong-argument-type");
        assert_eq!(error.to_string(), "config.rate: expected f64, found string");
        assert_eq!(error.subject(), Some("config.rate"));
    }

    /// `()` is the result of a function that has none, and nothing else is.
    #[test]
    fn no_result_is_unit() {
        assert!(<() as Output>::check(None).is_ok());
        assert!(<u64 as Output>::check(None).is_err());
        assert!(<() as Output>::check(Some(&Type::U64)).is_err());
        let null = Json::decode(None, Bytes::new(), &Limits::default());
        assert_eq!(null.ok(), Some(Json(serde_json::Value::Null)));
    }

    /// Stream items come packed; every form must take them apart alike.
    #[test]
    fn list_items_come_apart_in_every_form() {
        let limits = Limits::default();
        let bytes = lydian_value::to_wire(&vec![7u64, 8], &limits).expect("encodes");
        let typed = u64::decode_list(&Type::U64, bytes.clone(), &limits);
        assert_eq!(typed.ok(), Some(vec![7, 8]));
        let wave = Wave::decode_list(&Type::U64, bytes.clone(), &limits).expect("decodes");
        assert_eq!(wave, [Wave(vec!["7".into()]), Wave(vec!["8".into()])]);
        let wire = Wire::decode_list(&Type::U64, bytes, &limits).expect("decodes");
        assert_eq!(wire[1].0, 8u64.to_le_bytes().to_vec());
    }
}
