//! A type in a signature or a field: what it is in WIT.

use super::refuse::{borrowed, no, object, outcome, text, unknown};
use super::{Item, MAX_TUPLE, Ty, Types};
use syn::{Attribute, Expr, GenericArgument, Ident, Lit, Path, PathArguments, Result, Type};

impl<'a> Types<'a> {
    /// Knows the types of a module; `classes` are structs that are no values.
    pub(crate) fn new(items: &'a [syn::Item], classes: &[Ident]) -> Self {
        let mut types = Self::default();
        for item in items {
            let (name, item) = match item {
                syn::Item::Struct(item) => (&item.ident, Item::Struct(item)),
                syn::Item::Enum(item) => (&item.ident, Item::Enum(item)),
                syn::Item::Type(item) => (&item.ident, Item::Alias(item)),
                _ => continue,
            };
            types.items.insert(name.to_string(), item);
        }
        for class in classes {
            types.items.insert(class.to_string(), Item::Class);
        }
        types
    }

    /// The type of a parameter, a field or a payload.
    pub(crate) fn of(&mut self, ty: &Type) -> Result<Ty> {
        match ty {
            Type::Path(path) if path.qself.is_none() => self.of_path(ty, &path.path),
            Type::Paren(inner) => self.of(&inner.elem),
            Type::Group(inner) => self.of(&inner.elem),
            Type::Tuple(tuple) => match tuple.elems.len() {
                0 => no(ty, "`()` carries nothing: leave it out"),
                len if len > MAX_TUPLE => no(
                    ty,
                    format!(
                        "a tuple has at most {MAX_TUPLE} items: use a struct with named fields"
                    ),
                ),
                _ => Ok(Ty::Tuple(
                    tuple
                        .elems
                        .iter()
                        .map(|item| self.of(item))
                        .collect::<Result<_>>()?,
                )),
            },
            Type::Array(array) => {
                let Some(len) = literal(&array.len) else {
                    return no(
                        &array.len,
                        "the length of an array must be a number from 1 here; use `Vec` for any length",
                    );
                };
                Ok(Ty::Fixed(Box::new(self.of(&array.elem)?), len))
            }
            Type::Reference(reference) => no(ty, borrowed(&reference.elem)),
            Type::BareFn(_) => no(
                ty,
                "a function cannot leave its sandbox: pass data, and choose the function by an enum",
            ),
            Type::TraitObject(_) => no(ty, object(ty)),
            Type::ImplTrait(_) => no(
                ty,
                "`impl Trait` has no WIT type: write the type itself; a result may be `impl Stream<Item = T>` or `impl Iterator<Item = T>`",
            ),
            Type::Ptr(_) => no(
                ty,
                "a pointer means nothing outside its sandbox: pass the data, as `Vec<T>` or a struct",
            ),
            Type::Slice(slice) => no(
                ty,
                format!("a slice is borrowed: use `Vec<{}>`", text(&slice.elem)),
            ),
            Type::Never(_) => no(
                ty,
                "a function that never returns has no result: leave it out",
            ),
            Type::Infer(_) => no(
                ty,
                "a signature names its types: the WIT is derived from it",
            ),
            _ => no(
                ty,
                format!(
                    "`{}` has no WIT type: use a struct, an enum or a standard type",
                    text(ty)
                ),
            ),
        }
    }

    fn of_path(&mut self, ty: &Type, path: &Path) -> Result<Ty> {
        let Some(last) = path.segments.last() else {
            return no(ty, "this names no type");
        };
        let name = last.ident.to_string();
        let is_own = path.segments.len() == 1 || path.segments[0].ident == "self";
        let is_known = self.items.contains_key(&name) || self.open.contains(&name);
        if is_own && is_known {
            if !matches!(last.arguments, PathArguments::None) {
                return no(ty, self.generic(&name, &arguments(&last.arguments)));
            }
            return self.named(ty, &name);
        }
        if let Some(plain) = plain(&name) {
            return Ok(Ty::Plain(plain));
        }
        let arguments = arguments(&last.arguments);
        let mut parts = |count: usize| -> Result<Vec<Ty>> {
            if arguments.len() != count {
                return no(
                    ty,
                    format!(
                        "`{name}` takes {count} type{} here",
                        if count == 1 { "" } else { "s" }
                    ),
                );
            }
            arguments.iter().map(|ty| self.of(ty)).collect()
        };
        let boxed = |ty: Ty| Box::new(ty);
        Ok(match name.as_str() {
            "String" => Ty::String,
            "Vec" => Ty::List(boxed(parts(1)?.remove(0))),
            "Option" => Ty::Option(boxed(parts(1)?.remove(0))),
            "HashMap" | "BTreeMap" => {
                let mut both = parts(2)?;
                let value = both.remove(1);
                Ty::Map(boxed(both.remove(0)), boxed(value))
            }
            "Result" => return self.result(ty, &arguments),
            // What is inside may be the greater mistake.
            "Box" | "Rc" | "Arc" | "Pin" => {
                parts(1)?;
                return no(ty, unknown(&name, &arguments));
            }
            _ => return no(ty, unknown(&name, &arguments)),
        })
    }

    /// What to write instead of a generic type of the module.
    fn generic(&self, name: &str, arguments: &[&Type]) -> String {
        match (self.items.get(name), arguments) {
            (Some(Item::Alias(_)), [ok]) if name == "Result" => hidden_error(ok),
            (Some(Item::Alias(_)), _) => {
                format!("the alias `{name}` is generic: write out what it stands for")
            }
            _ => format!(
                "`{name}` is generic, which WIT is not: write a struct for each type it is used with"
            ),
        }
    }

    fn result(&mut self, ty: &Type, arguments: &[&Type]) -> Result<Ty> {
        let [ok, err] = arguments else {
            return match arguments {
                [ok] => no(ty, hidden_error(ok)),
                _ => no(
                    ty,
                    "this `Result` hides its types: write both, such as `Result<T, String>`",
                ),
            };
        };
        outcome(ok, err)?;
        let mut payload = |ty: &Type| -> Result<Option<Box<Ty>>> {
            if is_unit(ty) {
                Ok(None)
            } else {
                self.of(ty).map(Box::new).map(Some)
            }
        };
        Ok(Ty::Result(payload(ok)?, payload(err)?))
    }
}

/// What is said of a `Result` with one type.
fn hidden_error(ok: &Type) -> String {
    let ok = text(ok);
    format!("this `Result` hides its error: write both types, such as `Result<{ok}, String>`")
}

/// The WIT name of a number, `bool` or `char`.
pub(crate) fn plain(rust: &str) -> Option<&'static str> {
    Some(match rust {
        "bool" => "bool",
        "char" => "char",
        "u8" => "u8",
        "u16" => "u16",
        "u32" => "u32",
        "u64" => "u64",
        "i8" => "s8",
        "i16" => "s16",
        "i32" => "s32",
        "i64" => "s64",
        "f32" => "f32",
        "f64" => "f64",
        _ => return None,
    })
}

fn arguments(arguments: &PathArguments) -> Vec<&Type> {
    let PathArguments::AngleBracketed(arguments) = arguments else {
        return Vec::new();
    };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    types.collect()
}

pub(crate) fn is_unit(ty: &Type) -> bool {
    matches!(ty, Type::Tuple(tuple) if tuple.elems.is_empty())
}

/// A length that is written as a number, from 1.
fn literal(len: &Expr) -> Option<usize> {
    let Expr::Lit(literal) = len else { return None };
    let Lit::Int(int) = &literal.lit else {
        return None;
    };
    int.base10_parse().ok().filter(|len| *len > 0)
}

/// The text of doc comments, one line per line.
pub(crate) fn docs(attributes: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes.iter().filter(|it| it.path().is_ident("doc")) {
        if let syn::Meta::NameValue(meta) = &attribute.meta
            && let Expr::Lit(literal) = &meta.value
            && let Lit::Str(line) = &literal.lit
        {
            let line = line.value();
            lines.push(
                line.strip_prefix(' ')
                    .unwrap_or(&line)
                    .trim_end()
                    .to_owned(),
            );
        }
    }
    lines.join("\n").trim().to_owned()
}
