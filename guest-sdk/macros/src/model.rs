//! An app module taken apart: its functions, classes and types, without the attributes that said so.

use crate::names::{kebab, plain, wit_name};
use crate::settings::{Place, Settings, check_schedule};
use crate::types::{MAX_TUPLE, Ty, Types, docs, is_unit};
use proc_macro2::{Span, TokenStream};
use serde_json::{Map, Value};
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, FnArg, GenericArgument, Ident, ImplItem, ImplItemFn, Item, ItemFn, ItemImpl,
    ItemMod, Pat, PathArguments, Result, ReturnType, Signature, Type, TypeParamBound, Visibility,
};

/// One parameter.
#[derive(Debug, Clone)]
pub(crate) struct Param {
    pub(crate) rust: Ident,
    pub(crate) wit: String,
    pub(crate) ty: Ty,
    pub(crate) syn: Type,
}

/// What a function gives back.
#[derive(Debug, Clone)]
pub(crate) enum Output {
    None,
    Value(Ty, Box<Type>),
    Stream(Stream),
}

/// A stream of results.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) item: Ty,
    pub(crate) syn: Box<Type>,
    /// As it is written: `lydian::Stream<T>` needs no wrapping, the others do.
    pub(crate) form: StreamForm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamForm {
    Ours,
    ImplStream,
    ImplIterator,
}

/// A function or a method, as it is called from outside.
#[derive(Debug, Clone)]
pub(crate) struct Callable {
    pub(crate) rust: Ident,
    pub(crate) wit: String,
    pub(crate) params: Vec<Param>,
    pub(crate) output: Output,
    pub(crate) is_async: bool,
    pub(crate) docs: String,
}

impl Callable {
    /// Whether its export is lifted `async`.
    pub(crate) fn is_async_export(&self) -> bool {
        self.is_async || matches!(self.output, Output::Stream(_))
    }
}

#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) call: Callable,
    pub(crate) settings: Map<String, Value>,
}

/// How a class is entered.
#[derive(Debug)]
pub(crate) struct Enter {
    pub(crate) rust: Ident,
    pub(crate) is_async: bool,
    pub(crate) is_fallible: bool,
}

/// How it is left.
#[derive(Debug)]
pub(crate) struct Exit {
    pub(crate) rust: Ident,
    pub(crate) is_async: bool,
    pub(crate) takes_self: bool,
}

#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) rust: Ident,
    pub(crate) wit: String,
    pub(crate) enter: Enter,
    pub(crate) exit: Option<Exit>,
    pub(crate) methods: Vec<Callable>,
    pub(crate) settings: Map<String, Value>,
    pub(crate) docs: String,
}

/// All of a module.
pub(crate) struct App<'a> {
    pub(crate) functions: Vec<Function>,
    pub(crate) classes: Vec<Class>,
    pub(crate) types: Types<'a>,
}

/// The attributes of ours on one item.
#[derive(Default)]
struct Marks {
    marks: Vec<Mark>,
}

struct Mark {
    name: String,
    tokens: TokenStream,
    span: Span,
}

const NAMES: &[&str] = &[
    "function",
    "class",
    "enter",
    "exit",
    "method",
    "endpoint",
    "schedule",
    "build",
    "app",
    "local_entrypoint",
];

impl Marks {
    /// Takes our attributes off an item.
    fn take(attributes: &mut Vec<Attribute>) -> Result<Self> {
        let mut marks = Vec::new();
        let mut problem = None;
        attributes.retain(|attribute| {
            let path = attribute.path();
            let ours = path.segments.len() == 2 && path.segments[0].ident == "lydian";
            if !ours {
                return true;
            }
            let name = path.segments[1].ident.to_string();
            if !NAMES.contains(&name.as_str()) {
                return true;
            }
            let tokens = match &attribute.meta {
                syn::Meta::Path(_) => TokenStream::new(),
                syn::Meta::List(list) => list.tokens.clone(),
                syn::Meta::NameValue(_) => {
                    let text = format!("write `#[lydian::{name}(…)]`");
                    problem = Some(Error::new_spanned(attribute, text));
                    TokenStream::new()
                }
            };
            marks.push(Mark {
                name,
                tokens,
                span: attribute.span(),
            });
            false
        });
        match problem {
            Some(problem) => Err(problem),
            None => Ok(Self { marks }),
        }
    }

    fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    fn find(&self, name: &str) -> Option<&Mark> {
        self.marks.iter().find(|mark| mark.name == name)
    }

    /// Refuses any but these, with what to do instead.
    fn only(&self, names: &[&str], instead: &str) -> Result<()> {
        match self
            .marks
            .iter()
            .find(|mark| !names.contains(&mark.name.as_str()))
        {
            None => Ok(()),
            Some(mark) => {
                let text = format!("`#[lydian::{}]` cannot stand here: {instead}", mark.name);
                Err(Error::new(mark.span, text))
            }
        }
    }
}

/// Takes our attributes off the module's items, which are plain Rust then.
pub(crate) fn take(items: &mut [Item]) -> Result<Found> {
    let mut found = Found::default();
    each(items.iter_mut().collect(), |item| found.look(item))?;
    Ok(found)
}

/// Makes sense of what was found, by the types that stand in the module.
pub(crate) fn read(found: Found, items: &[Item]) -> Result<App<'_>> {
    let classes: Vec<Ident> = found
        .classes
        .iter()
        .map(|class| class.rust.clone())
        .collect();
    let mut types = Types::new(items, &classes);
    let functions = each(found.functions, |raw| raw.read(&mut types))?;
    let classes = each(found.classes, |raw| raw.read(&mut types))?;
    one_of_each_name(&functions, &classes)?;
    if functions.is_empty() && classes.is_empty() {
        let text =
            "this app has no functions: put `#[lydian::function]` on a `pub fn` inside the module";
        return Err(Error::new(Span::call_site(), text));
    }
    Ok(App {
        functions,
        classes,
        types,
    })
}

/// All results, or all mistakes at once.
fn each<T, R>(items: Vec<T>, mut read: impl FnMut(T) -> Result<R>) -> Result<Vec<R>> {
    let mut all = Vec::new();
    let mut errors: Option<Error> = None;
    for item in items {
        match (read(item), &mut errors) {
            (Ok(item), _) => all.push(item),
            (Err(error), Some(errors)) => errors.combine(error),
            (Err(error), none) => *none = Some(error),
        }
    }
    errors.map_or(Ok(all), Err)
}

fn one_of_each_name(functions: &[Function], classes: &[Class]) -> Result<()> {
    let names = functions
        .iter()
        .map(|function| (&function.call.wit, &function.call.rust))
        .chain(classes.iter().map(|class| (&class.wit, &class.rust)));
    let mut seen: Vec<(&String, &Ident)> = Vec::new();
    for (wit, rust) in names {
        if let Some((_, other)) = seen.iter().find(|(seen, _)| *seen == wit) {
            let text =
                format!("`{rust}` and `{other}` are both called `{wit}` from outside: rename one");
            return Err(Error::new(rust.span(), text));
        }
        seen.push((wit, rust));
    }
    Ok(())
}

/// What carries our attributes, before any type is looked at.
#[derive(Default)]
pub(crate) struct Found {
    functions: Vec<RawFunction>,
    classes: Vec<RawClass>,
}

struct RawFunction {
    sig: Signature,
    docs: String,
    settings: Map<String, Value>,
}

struct RawClass {
    rust: Ident,
    span: Span,
    settings: Map<String, Value>,
    docs: String,
    enter: Vec<Signature>,
    exit: Vec<Signature>,
    methods: Vec<(Signature, String)>,
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

    fn read(self, types: &mut Types<'_>) -> Result<Class> {
        let name = &self.rust;
        let enter = match self.enter.as_slice() {
            [enter] => read_enter(enter, name)?,
            [] => {
                let text = format!(
                    "class `{name}` needs a function that makes it: `#[lydian::enter] fn load() -> Self`"
                );
                return Err(Error::new(self.span, text));
            }
            [_, second, ..] => {
                return Err(Error::new_spanned(
                    &second.ident,
                    "a class is entered in one way only",
                ));
            }
        };
        let exit = match self.exit.as_slice() {
            [] => None,
            [exit] => Some(read_exit(exit)?),
            [_, second, ..] => {
                return Err(Error::new_spanned(
                    &second.ident,
                    "a class is left in one way only",
                ));
            }
        };
        if self.methods.is_empty() {
            let text = format!(
                "class `{name}` has no methods: put `#[lydian::method]` on a `fn` with `&self`"
            );
            return Err(Error::new(self.span, text));
        }
        let methods = each(self.methods, |(sig, docs)| read_method(&sig, docs, types))?;
        for (index, method) in methods.iter().enumerate() {
            if let Some(other) = methods[..index]
                .iter()
                .find(|other| other.wit == method.wit)
            {
                let text = format!(
                    "`{}` and `{}` are both called `{}` from outside: rename one",
                    method.rust, other.rust, method.wit
                );
                return Err(Error::new(method.rust.span(), text));
            }
        }
        Ok(Class {
            wit: wit_name(name)?,
            rust: self.rust,
            enter,
            exit,
            methods,
            settings: self.settings,
            docs: self.docs,
        })
    }
}

fn read_enter(sig: &Signature, class: &Ident) -> Result<Enter> {
    plain_signature(sig)?;
    if let Some(argument) = sig.inputs.first() {
        let text = "what enters a class takes nothing: read what it needs from files, variables or constants";
        return Err(Error::new_spanned(argument, text));
    }
    let is_class = |ty: &Type| matches!(ty, Type::Path(path) if path.path.is_ident("Self") || path.path.is_ident(class));
    let ReturnType::Type(_, output) = &sig.output else {
        return Err(Error::new_spanned(
            &sig.ident,
            "what enters a class makes it: write `-> Self` or `-> Result<Self, String>`",
        ));
    };
    let is_fallible = match &**output {
        ty if is_class(ty) => false,
        Type::Path(path)
            if path
                .path
                .segments
                .last()
                .is_some_and(|last| last.ident == "Result") =>
        {
            true
        }
        other => {
            return Err(Error::new_spanned(
                other,
                "what enters a class makes it: write `-> Self` or `-> Result<Self, String>`",
            ));
        }
    };
    Ok(Enter {
        rust: sig.ident.clone(),
        is_async: sig.asyncness.is_some(),
        is_fallible,
    })
}

fn read_exit(sig: &Signature) -> Result<Exit> {
    plain_signature(sig)?;
    let mut inputs = sig.inputs.iter();
    let receiver = match inputs.next() {
        Some(FnArg::Receiver(receiver)) => receiver,
        _ => {
            return Err(Error::new_spanned(
                &sig.ident,
                "what leaves a class takes it: write `self`, `&self` or `&mut self`",
            ));
        }
    };
    if let Some(argument) = inputs.next() {
        return Err(Error::new_spanned(
            argument,
            "what leaves a class takes nothing but the class",
        ));
    }
    if let ReturnType::Type(_, output) = &sig.output
        && !is_unit(output)
    {
        return Err(Error::new_spanned(
            output,
            "nobody is there for a result when a class is left: return nothing",
        ));
    }
    Ok(Exit {
        rust: sig.ident.clone(),
        is_async: sig.asyncness.is_some(),
        takes_self: receiver.reference.is_none(),
    })
}

fn read_method(sig: &Signature, docs: String, types: &mut Types<'_>) -> Result<Callable> {
    match sig.inputs.first() {
        Some(FnArg::Receiver(receiver)) if receiver.reference.is_some() => {}
        Some(FnArg::Receiver(receiver)) => {
            let text = "a method leaves the class in place: write `&self` or `&mut self`";
            return Err(Error::new_spanned(receiver, text));
        }
        _ => {
            let text = "a method has a class: write `&self` first, or move it out of the `impl` as a `#[lydian::function]`";
            return Err(Error::new_spanned(&sig.ident, text));
        }
    }
    read_callable(sig, docs, types)
}

impl RawFunction {
    fn read(self, types: &mut Types<'_>) -> Result<Function> {
        if let Some(FnArg::Receiver(receiver)) = self.sig.inputs.first() {
            let text = "`self` belongs in a class: put the function in an `impl` of a `#[lydian::class]` struct, as `#[lydian::method]`";
            return Err(Error::new_spanned(receiver, text));
        }
        Ok(Function {
            call: read_callable(&self.sig, self.docs, types)?,
            settings: self.settings,
        })
    }
}

/// What no exported function may be.
fn plain_signature(sig: &Signature) -> Result<()> {
    if let Some(parameter) = sig.generics.params.first() {
        let text = match parameter {
            syn::GenericParam::Lifetime(_) => {
                "a value that crosses a call owns its data: use `String` or `Vec` instead of a borrow"
            }
            _ => {
                "a function called from outside is not generic: write one for each type it is used with"
            }
        };
        return Err(Error::new_spanned(parameter, text));
    }
    if let Some(token) = &sig.variadic {
        return Err(Error::new_spanned(
            token,
            "WIT has no variable arguments: take a `Vec`",
        ));
    }
    if let Some(token) = &sig.unsafety {
        return Err(Error::new_spanned(
            token,
            "whoever calls from outside cannot uphold what `unsafe` asks: make it safe",
        ));
    }
    if let Some(token) = &sig.abi {
        return Err(Error::new_spanned(
            token,
            "the calling convention is the component's: leave `extern` out",
        ));
    }
    Ok(())
}

fn read_callable(sig: &Signature, docs: String, types: &mut Types<'_>) -> Result<Callable> {
    plain_signature(sig)?;
    let mut params: Vec<Param> = Vec::new();
    for input in &sig.inputs {
        let FnArg::Typed(input) = input else { continue };
        let rust = match &*input.pat {
            Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => pat.ident.clone(),
            other => {
                let text =
                    "a parameter has a name, which callers use: take it apart inside the function";
                return Err(Error::new_spanned(other, text));
            }
        };
        let wit = wit_name(&rust)?;
        if let Some(other) = params.iter().find(|other| other.wit == wit) {
            let text = format!(
                "`{rust}` and `{}` are both called `{wit}` from outside: rename one",
                other.rust
            );
            return Err(Error::new(rust.span(), text));
        }
        params.push(Param {
            ty: types.of(&input.ty)?,
            syn: (*input.ty).clone(),
            wit,
            // A name that only says "unused" would be an odd one for callers' parameters.
            rust: Ident::new(
                plain(&rust.to_string()).trim_start_matches('_'),
                rust.span(),
            )
            .raw_if_needed(),
        });
    }
    if params.len() > MAX_TUPLE {
        let text = format!("a function has at most {MAX_TUPLE} parameters: put them in a struct");
        return Err(Error::new_spanned(&sig.inputs, text));
    }
    Ok(Callable {
        wit: wit_name(&sig.ident)?,
        rust: sig.ident.clone(),
        params,
        output: read_output(&sig.output, types)?,
        is_async: sig.asyncness.is_some(),
        docs,
    })
}

trait RawIfNeeded {
    fn raw_if_needed(self) -> Ident;
}

impl RawIfNeeded for Ident {
    fn raw_if_needed(self) -> Ident {
        crate::names::snake(&kebab(&self.to_string()), self.span())
    }
}

fn read_output(output: &ReturnType, types: &mut Types<'_>) -> Result<Output> {
    let ReturnType::Type(_, ty) = output else {
        return Ok(Output::None);
    };
    if is_unit(ty) {
        return Ok(Output::None);
    }
    if let Some((form, item)) = stream_item(ty) {
        return Ok(Output::Stream(Stream {
            item: types.of(item)?,
            syn: Box::new(item.clone()),
            form,
        }));
    }
    Ok(Output::Value(types.of(ty)?, ty.clone()))
}

/// The item of `lydian::Stream<T>`, `impl Stream<Item = T>` or `impl Iterator<Item = T>`.
fn stream_item(ty: &Type) -> Option<(StreamForm, &Type)> {
    match ty {
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            let PathArguments::AngleBracketed(arguments) = &last.arguments else {
                return None;
            };
            match arguments.args.first()? {
                GenericArgument::Type(item) if last.ident == "Stream" => {
                    Some((StreamForm::Ours, item))
                }
                _ => None,
            }
        }
        Type::ImplTrait(it) => it.bounds.iter().find_map(|bound| {
            let TypeParamBound::Trait(bound) = bound else {
                return None;
            };
            let last = bound.path.segments.last()?;
            let form = match last.ident.to_string().as_str() {
                "Stream" => StreamForm::ImplStream,
                "Iterator" => StreamForm::ImplIterator,
                _ => return None,
            };
            let PathArguments::AngleBracketed(arguments) = &last.arguments else {
                return None;
            };
            arguments.args.iter().find_map(|argument| match argument {
                GenericArgument::AssocType(item) if item.ident == "Item" => Some((form, &item.ty)),
                _ => None,
            })
        }),
        _ => None,
    }
}
