//! What carries our attributes, found before any type is looked at.

use super::each;
use super::marks::Marks;
use super::signature::hides;
use crate::names::{kebab, snake};
use crate::settings::{Place, Settings, check_schedule};
use crate::stubs::Stub;
use crate::types::{docs, no_cfg};
use proc_macro2::Span;
use serde_json::{Map, Value};
use syn::{
    Error, Fields, FnArg, Ident, ImplItem, ImplItemFn, Item, ItemFn, ItemImpl, ItemMod, ItemStruct,
    Result, Signature, Type, Visibility,
};

/// Takes our attributes off the module's items, which are plain Rust then; what is wrong with some of them keeps none of the
/// others from being found.
pub(crate) fn take(items: &mut [Item]) -> (Found, Result<()>) {
    let mut found = Found::default();
    let looked = each(items.iter_mut().collect(), |item| found.look(item));
    (found, looked.map(|_| ()))
}

/// What carries our attributes, before any type is looked at.
#[derive(Default)]
pub(crate) struct Found {
    pub(super) functions: Vec<RawFunction>,
    pub(super) classes: Vec<RawClass>,
    /// What callers may name, refused or not.
    pub(crate) stubs: Vec<Stub>,
    /// The module has an item of the name that the app's own gets.
    pub(crate) has_app: bool,
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
        if let Some(name) = value_name(item)
            && name == "APP"
        {
            self.has_app = true;
            let text = "`APP` is the app itself, for `lydian::Backend::native().with_app`: use another name";
            return Err(Error::new(name.span(), text));
        }
        match item {
            Item::Fn(item) => self.function(item),
            Item::Struct(item) => self.structure(item),
            Item::Impl(item) => self.implementation(item),
            Item::Mod(item) => {
                Marks::take(&mut item.attrs)?.only(
                    &[],
                    "an app is one flat module: close this one first, a crate may have several apps",
                )?;
                nothing_within(item)
            }
            Item::Enum(item) => Marks::take(&mut item.attrs)?
                .only(&[], "an enum is plain data and needs no attribute"),
            Item::Trait(item) => Marks::take(&mut item.attrs)?
                .only(&[], "WIT has no traits: write functions, or a class"),
            _ => Ok(()),
        }
    }

    fn structure(&mut self, item: &mut ItemStruct) -> Result<()> {
        let marks = Marks::take(&mut item.attrs)?;
        marks.only(
            &["class"],
            "a struct is a `#[lydian::class]`, or plain data without attribute",
        )?;
        let Some(mark) = marks.find("class") else {
            return Ok(());
        };
        no_cfg(&item.attrs)?;
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

    /// Remembers what callers may name.
    fn stub(&mut self, class: Option<&Ident>, sig: &Signature) {
        if class.is_none() && hides(&sig.ident.to_string()) {
            return;
        }
        let is_value = |input: &&FnArg| matches!(input, FnArg::Typed(_));
        self.stubs.push(Stub {
            rust: sig.ident.clone(),
            class: class.map(|class| snake(&kebab(&class.to_string()), class.span())),
            params: sig.inputs.iter().filter(is_value).count(),
        });
    }

    fn function(&mut self, item: &mut ItemFn) -> Result<()> {
        let marks = Marks::take(&mut item.attrs)?;
        if marks.is_empty() {
            return Ok(());
        }
        self.stub(None, &item.sig);
        no_cfg(&item.attrs)?;
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
        let at = of
            .as_ref()
            .and_then(|of| self.classes.iter().position(|class| class.rust == *of));
        for member in &mut item.items {
            let ImplItem::Fn(method) = member else {
                continue;
            };
            let marks = Marks::take(&mut method.attrs)?;
            let Some(mark) = marks.marks.first() else {
                continue;
            };
            no_cfg(&item.attrs)?;
            no_cfg(&method.attrs)?;
            if mark.name == "method" {
                self.stub(of.as_ref(), &method.sig);
            }
            let Some(at) = at else {
                let name = of.as_ref().map_or("it".to_owned(), |of| format!("`{of}`"));
                let text = format!(
                    "`#[lydian::{}]` in an `impl` needs a class: put `#[lydian::class]` on the struct {name}, above this `impl` and in the same module",
                    mark.name
                );
                return Err(Error::new(mark.span, text));
            };
            self.classes[at].member(&marks, method)?;
        }
        Ok(())
    }
}

/// Refuses attributes of ours in a module within the app's; another app may stand there.
fn nothing_within(module: &mut ItemMod) -> Result<()> {
    let items = module.content.iter_mut().flat_map(|(_, items)| items);
    each(items.collect(), |item| {
        let attributes = match item {
            Item::Fn(item) => &mut item.attrs,
            Item::Struct(item) => &mut item.attrs,
            Item::Mod(item) if Marks::take(&mut item.attrs.clone())?.is_empty() => {
                return nothing_within(item);
            }
            _ => return Ok(()),
        };
        Marks::take(attributes)?.only(
            &[],
            "what is called from outside stands directly in the app's module, not in one within it",
        )
    })?;
    Ok(())
}

/// The name of an item among the module's values.
fn value_name(item: &Item) -> Option<&Ident> {
    match item {
        Item::Const(item) => Some(&item.ident),
        Item::Static(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Struct(item) if !matches!(item.fields, Fields::Named(_)) => Some(&item.ident),
        _ => None,
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
