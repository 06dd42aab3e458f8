//! What carries our attributes, found before any type is looked at.

use super::each;
use super::marks::Marks;
use crate::settings::{Place, Settings, check_schedule};
use crate::types::docs;
use proc_macro2::Span;
use serde_json::{Map, Value};
use syn::{
    Error, Ident, ImplItem, ImplItemFn, Item, ItemFn, ItemImpl, ItemMod, Result, Signature, Type,
    Visibility,
};

/// Takes our attributes off the module's items, which are plain Rust then.
pub(crate) fn take(items: &mut [Item]) -> Result<Found> {
    let mut found = Found::default();
    each(items.iter_mut().collect(), |item| found.look(item))?;
    Ok(found)
}

/// What carries our attributes, before any type is looked at.
#[derive(Default)]
pub(crate) struct Found {
    pub(super) functions: Vec<RawFunction>,
    pub(super) classes: Vec<RawClass>,
}

pub(super) struct RawFunction {
    pub(super) sig: Signature,
    pub(super) docs: String,
    pub(super) settings: Map<String, Value>,
}

pub(super) struct RawClass {
    pub(super) rust: Ident,
    pub(super) span: Span,
    pub(super) settings: Map<String, Value>,
    pub(super) docs: String,
    pub(super) enter: Vec<Signature>,
    pub(super) exit: Vec<Signature>,
    pub(super) methods: Vec<(Signature, String)>,
}

const IN_FUNCTIONS: &str =
    "on a function it is `#[lydian::function]`, `endpoint`, `schedule` or `build`";

impl Found {
    fn look(&mut self, item: &mut Item) -> Result<()> {
        match item {
            Item::Fn(item) => self.function(item),
            Item::Struct(item) => {
                let marks = Marks::take(&mut item.attrs)?;
                marks.only(
                    &["class"],
                    "a struct is a `#[lydian::class]`, or plain data without attribute",
                )?;
                let Some(mark) = marks.find("class") else {
                    return Ok(());
                };
                if let Some(generic) = item.generics.params.first() {
                    let text = "a class is not generic: its one instance has one type";
                    return Err(Error::new_spanned(generic, text));
                }
                self.classes.push(RawClass {
                    rust: item.ident.clone(),
                    span: mark.span,
                    settings: Settings::parse(mark.tokens.clone(), Place::Class)?.values,
                    docs: docs(&item.attrs),
                    enter: Vec::new(),
                    exit: Vec::new(),
                    methods: Vec::new(),
                });
                Ok(())
            }
            Item::Impl(item) => self.implementation(item),
            Item::Mod(ItemMod { attrs, .. }) => Marks::take(attrs)?.only(
                &[],
                "an app is one flat module: close this one first, a crate may have several apps",
            ),
            Item::Enum(item) => Marks::take(&mut item.attrs)?
                .only(&[], "an enum is plain data and needs no attribute"),
            Item::Trait(item) => Marks::take(&mut item.attrs)?
                .only(&[], "WIT has no traits: write functions, or a class"),
            _ => Ok(()),
        }
    }

    fn function(&mut self, item: &mut ItemFn) -> Result<()> {
        let marks = Marks::take(&mut item.attrs)?;
        if marks.is_empty() {
            return Ok(());
        }
        if let Some(mark) = marks.find("local_entrypoint") {
            let text =
                "a local entrypoint runs on the caller's machine: move it out of the app's module";
            return Err(Error::new(mark.span, text));
        }
        if let Some(mark) = marks
            .find("method")
            .or(marks.find("enter"))
            .or(marks.find("exit"))
        {
            let text = format!(
                "`#[lydian::{}]` belongs in an `impl` of a `#[lydian::class]` struct; a function of its own is `#[lydian::function]`",
                mark.name
            );
            return Err(Error::new(mark.span, text));
        }
        marks.only(&["function", "endpoint", "schedule", "build"], IN_FUNCTIONS)?;
        let mut settings = Map::new();
        for mark in &marks.marks {
            let (place, under) = match mark.name.as_str() {
                "endpoint" => (Place::Endpoint, true),
                "schedule" => (Place::Schedule, true),
                "build" => (Place::Build, true),
                _ => (Place::Function, false),
            };
            let read = Settings::parse(mark.tokens.clone(), place)?;
            if place == Place::Schedule {
                check_schedule(&read, mark.span)?;
            }
            if under {
                settings.insert(mark.name.clone(), Value::Object(read.values));
            } else {
                settings.extend(read.values);
            }
        }
        if !matches!(item.vis, Visibility::Public(_)) {
            let text = format!(
                "a function of the app is public: write `pub fn {}`",
                item.sig.ident
            );
            return Err(Error::new_spanned(item.sig.fn_token, text));
        }
        self.functions.push(RawFunction {
            sig: item.sig.clone(),
            docs: docs(&item.attrs),
            settings,
        });
        Ok(())
    }

    fn implementation(&mut self, item: &mut ItemImpl) -> Result<()> {
        let of = match (&*item.self_ty, &item.trait_) {
            (Type::Path(path), None) => path.path.get_ident().cloned(),
            _ => None,
        };
        let mut class = of
            .as_ref()
            .and_then(|of| self.classes.iter_mut().find(|class| class.rust == *of));
        for member in &mut item.items {
            let ImplItem::Fn(method) = member else {
                continue;
            };
            let marks = Marks::take(&mut method.attrs)?;
            let Some(mark) = marks.marks.first() else {
                continue;
            };
            let Some(class) = class.as_deref_mut() else {
                let name = of.as_ref().map_or("it".to_owned(), |of| format!("`{of}`"));
                let text = format!(
                    "`#[lydian::{}]` in an `impl` needs a class: put `#[lydian::class]` on the struct {name}, above this `impl` and in the same module",
                    mark.name
                );
                return Err(Error::new(mark.span, text));
            };
            class.member(&marks, method)?;
        }
        Ok(())
    }
}

impl RawClass {
    fn member(&mut self, marks: &Marks, method: &mut ImplItemFn) -> Result<()> {
        marks.only(
            &["enter", "exit", "method"],
            "in a class it is `#[lydian::enter]`, `exit` or `method`",
        )?;
        for mark in &marks.marks {
            Settings::parse(mark.tokens.clone(), Place::Bare)?;
            match mark.name.as_str() {
                "enter" => self.enter.push(method.sig.clone()),
                "exit" => {
                    // Only a sandbox is left in good order; natively nobody calls it.
                    method.attrs.push(syn::parse_quote!(#[allow(dead_code)]));
                    self.exit.push(method.sig.clone());
                }
                _ => self.methods.push((method.sig.clone(), docs(&method.attrs))),
            }
        }
        Ok(())
    }
}
