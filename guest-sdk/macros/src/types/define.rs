//! The module's structs, enums and aliases, as the records, variants and enums they are in WIT.

use super::read::docs;
use super::refuse::{no, no_cfg, not_generic, same};
use super::{Body, Case, Def, Field, Item, MAX_TUPLE, Payload, Ty, Types};
use crate::names::wit_name;
use syn::{Error, Fields, ItemEnum, ItemStruct, Result, Type};

impl<'a> Types<'a> {
    pub(super) fn named(&mut self, at: &Type, name: &str) -> Result<Ty> {
        if self.open.iter().any(|open| open == name) {
            return no(
                at,
                "WIT has no recursive types: keep the items in a list and refer to them by index",
            );
        }
        if self.defs.iter().any(|def| def.rust == name) {
            return Ok(Ty::Named(name.to_owned()));
        }
        let Some(item) = self.items.remove(name) else {
            return no(at, format!("`{name}` is not known"));
        };
        self.open.push(name.to_owned());
        let result = self.define(at, name, &item);
        self.open.pop();
        self.items.insert(name.to_owned(), item);
        result
    }

    fn define(&mut self, at: &Type, name: &str, item: &Item<'a>) -> Result<Ty> {
        let def = match item {
            Item::Class => {
                return no(
                    at,
                    format!(
                        "`{name}` is a class, whose state stays in its sandbox: pass a struct of its data"
                    ),
                );
            }
            Item::Alias(alias) => {
                no_cfg(&alias.attrs)?;
                not_generic(&alias.generics)?;
                return self.of(&alias.ty);
            }
            Item::Struct(item) => self.record(item)?,
            Item::Enum(item) => self.cases(item)?,
        };
        if let Some(other) = self.defs.iter().find(|other| other.wit == def.wit) {
            let text = format!(
                "`{}` and `{}` have the same name in WIT, `{}`: rename one",
                def.rust, other.rust, def.wit
            );
            return Err(Error::new(def.rust.span(), text));
        }
        self.defs.push(def);
        Ok(Ty::Named(name.to_owned()))
    }

    fn record(&mut self, item: &ItemStruct) -> Result<Def> {
        no_cfg(&item.attrs)?;
        not_generic(&item.generics)?;
        let Fields::Named(named) = &item.fields else {
            let text = match &item.fields {
                Fields::Unit => {
                    "a WIT record has at least one field: give this struct one, or leave it out of the signature"
                }
                _ => "a WIT record has named fields: write `struct Name { field: Type }`",
            };
            return no(&item.ident, text);
        };
        if named.named.is_empty() {
            return no(
                &item.ident,
                "a WIT record has at least one field: give this struct one, or leave it out of the signature",
            );
        }
        Ok(Def {
            rust: item.ident.clone(),
            wit: wit_name(&item.ident)?,
            body: Body::Record(self.fields(named.named.iter())?),
            docs: docs(&item.attrs),
        })
    }

    fn fields<'f>(&mut self, fields: impl Iterator<Item = &'f syn::Field>) -> Result<Vec<Field>> {
        let mut all: Vec<Field> = Vec::new();
        for field in fields {
            let Some(rust) = field.ident.clone() else {
                continue;
            };
            no_cfg(&field.attrs)?;
            let wit = wit_name(&rust)?;
            if let Some(other) = all.iter().find(|other| other.wit == wit) {
                return no(&rust, same(&rust, &other.rust, &wit));
            }
            all.push(Field {
                wit,
                ty: self.of(&field.ty)?,
                syn: field.ty.clone(),
                docs: docs(&field.attrs),
                rust,
            });
        }
        Ok(all)
    }

    fn cases(&mut self, item: &ItemEnum) -> Result<Def> {
        no_cfg(&item.attrs)?;
        not_generic(&item.generics)?;
        if item.variants.is_empty() {
            return no(&item.ident, "an enum in WIT has at least one case");
        }
        let wit = wit_name(&item.ident)?;
        let mut cases: Vec<Case> = Vec::new();
        for variant in &item.variants {
            no_cfg(&variant.attrs)?;
            let case = wit_name(&variant.ident)?;
            if let Some(other) = cases.iter().find(|other| other.wit == case) {
                return no(&variant.ident, same(&variant.ident, &other.rust, &case));
            }
            cases.push(Case {
                payload: self.payload(&format!("{wit}-{case}"), variant)?,
                rust: variant.ident.clone(),
                wit: case,
                docs: docs(&variant.attrs),
            });
        }
        let plain = cases
            .iter()
            .all(|case| matches!(case.payload, Payload::None));
        Ok(Def {
            rust: item.ident.clone(),
            wit,
            body: if plain {
                Body::Enum(cases)
            } else {
                Body::Variant(cases)
            },
            docs: docs(&item.attrs),
        })
    }

    fn payload(&mut self, record: &str, variant: &syn::Variant) -> Result<Payload> {
        match &variant.fields {
            Fields::Unit => Ok(Payload::None),
            Fields::Unnamed(fields) => {
                let mut types = Vec::new();
                for field in &fields.unnamed {
                    no_cfg(&field.attrs)?;
                    types.push((self.of(&field.ty)?, field.ty.clone()));
                }
                match types.len() {
                    0 => no(
                        variant,
                        "a case without payload is written without parentheses",
                    ),
                    1 => {
                        let (ty, syn) = types.remove(0);
                        Ok(Payload::One(ty, Box::new(syn)))
                    }
                    len if len > MAX_TUPLE => no(
                        variant,
                        format!(
                            "a case carries at most {MAX_TUPLE} values: name them, `{} {{ … }}`",
                            variant.ident
                        ),
                    ),
                    _ => Ok(Payload::Several(types)),
                }
            }
            Fields::Named(fields) if fields.named.is_empty() => {
                no(variant, "a case without payload is written without braces")
            }
            Fields::Named(fields) => Ok(Payload::Fields(
                record.to_owned(),
                self.fields(fields.named.iter())?,
            )),
        }
    }
}
