//! The app modules of one crate, which make one component: a function, a class and a type of functions have one name in
//! all of it.
//!
//! An attribute sees its own module. Those that the compiler expanded before, in the same process, are remembered here, so
//! that a second meaning of a name is refused where it stands. What cannot be seen from here, as a module of another
//! crate that is linked in, the linker refuses, by the marks that [`crate::wit`] leaves.

use crate::model::App;
use crate::wit;
use std::sync::{Mutex, PoisonError};
use syn::{Error, Ident, Result};

static SEEN: Mutex<Seen> = Mutex::new(Seen(Vec::new()));

/// Refuses what another module of the same app has under the same name, and remembers this one.
pub(crate) fn check(app: &App<'_>, name: &str, module: &Ident) -> Result<()> {
    // Outside a compiler there is nothing to tell modules apart by.
    let file = proc_macro::is_available()
        .then(|| proc_macro::Span::call_site().local_file())
        .flatten();
    let Some(file) = file else { return Ok(()) };
    let place = (file.display().to_string(), module.to_string());
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    seen.admit(place, app, name)
}

struct Seen(Vec<Module>);

/// A module that was expanded.
struct Module {
    /// Its file and name. An editor expands the same module again and again.
    place: (String, String),
    /// Modules of other apps are their clients, and in other components.
    app: String,
    names: Vec<Name>,
}

/// A name that callers see.
struct Name {
    what: &'static str,
    wit: String,
    /// What a type is made of: the same type may be in two modules.
    definition: Option<String>,
}

impl Name {
    /// Types have names of their own, functions and classes share theirs.
    fn clashes(&self, other: &Self) -> bool {
        let is_type = |name: &Self| name.definition.is_some();
        let same = is_type(self) == is_type(other) && self.wit == other.wit;
        same && (self.definition.is_none() || self.definition != other.definition)
    }
}

impl Seen {
    fn admit(&mut self, place: (String, String), app: &App<'_>, name: &str) -> Result<()> {
        let (names, idents): (Vec<Name>, Vec<&Ident>) = names(app).into_iter().unzip();
        self.0.retain(|other| other.place != place);
        for other in self.0.iter().filter(|other| other.app == name) {
            let clash = names.iter().zip(&idents).find_map(|(own, at)| {
                let mut theirs = other.names.iter();
                theirs
                    .find(|theirs| theirs.clashes(own))
                    .map(|theirs| (theirs, at))
            });
            if let Some((Name { what, wit, .. }, at)) = clash {
                let text = format!(
                    "the app module `{}` of this crate has another {what} `{wit}`, and in the component of both the name has one meaning: rename one",
                    other.place.1
                );
                return Err(Error::new(at.span(), text));
            }
        }
        let app = name.to_owned();
        self.0.push(Module { place, app, names });
        Ok(())
    }
}

/// The names of a module, and where they stand.
fn names<'a>(app: &'a App<'_>) -> Vec<(Name, &'a Ident)> {
    let name = |what, wit: &str, definition| Name {
        what,
        wit: wit.to_owned(),
        definition,
    };
    let functions = app.functions.iter().map(|function| {
        let call = &function.call;
        (name("function", &call.wit, None), &call.rust)
    });
    let classes = app
        .classes
        .iter()
        .map(|class| (name("class", &class.wit, None), &class.rust));
    let types = wit::shared_types(app).map(|def| {
        let definition = wit::definition(def);
        (name("type", &def.wit, Some(definition)), &def.rust)
    });
    functions.chain(classes).chain(types).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;
    use quote::quote;

    /// The modules of a crate, one after another, by their names; the app of all but `client` is the same.
    fn admitted(modules: &[(&str, proc_macro2::TokenStream)]) -> Vec<String> {
        let mut seen = Seen(Vec::new());
        let admit = |(module, items): &(&str, proc_macro2::TokenStream)| {
            let mut items = syn::parse2::<syn::File>(items.clone())
                .expect("is Rust")
                .items;
            let (found, _) = model::take(&mut items);
            let app = model::read(found, &items).expect("is an app");
            let name = if *module == "client" { "other" } else { "app" };
            let place = ("lib.rs".to_owned(), (*module).to_owned());
            let admitted = seen.admit(place, &app, name);
            admitted.map_or_else(|error| error.to_string(), |()| "is taken".to_owned())
        };
        modules.iter().map(admit).collect()
    }

    #[test]
    fn names_mean_one_thing_in_all_modules_of_a_component() {
        let first = quote! {
            /// As wide as it is.
            pub struct Size { pub wide: u32 }
            pub struct Point { pub x: f64, pub size: Size }
            #[lydian::function] pub fn draw(point: Point) {}
            #[lydian::class] pub struct Counter {}
            impl Counter {
                #[lydian::enter] fn load() -> Self { Self {} }
                #[lydian::method] fn get(&self, point: Point) {}
            }
        };
        let same_type = quote! {
            pub struct Size { pub wide: u32 }
            #[lydian::function] pub fn grow(size: Size) {}
        };
        let other_type_in_a_class = quote! {
            pub struct Size { pub wide: f64 }
            #[lydian::class] pub struct Grid {}
            impl Grid {
                #[lydian::enter] fn load() -> Self { Self {} }
                #[lydian::method] fn get(&self, size: Size) {}
            }
        };
        let other_type = quote! {
            pub struct Size { pub wide: f64 }
            #[lydian::function] pub fn shrink(size: Vec<Size>) {}
        };
        let other_function = quote!(
            #[lydian::function]
            pub fn draw() {}
        );
        let other_class = quote! {
            #[lydian::class] pub struct Counter {}
            impl Counter {
                #[lydian::enter] fn load() -> Self { Self {} }
                #[lydian::method] fn set(&self) {}
            }
        };
        let said = admitted(&[
            ("first", first.clone()),
            ("first", first),
            ("same_type", same_type),
            ("grid", other_type_in_a_class),
            ("client", other_type.clone()),
            ("second", other_type),
            ("third", other_function),
            ("fourth", other_class),
            (
                "fifth",
                quote!(
                    #[lydian::function]
                    pub fn counter() {}
                ),
            ),
        ]);
        let clash = |what: &str| {
            format!(
                "the app module `first` of this crate has another {what}, and in the component of both the name has one meaning: rename one"
            )
        };
        assert_eq!(said[..5], ["is taken"; 5]);
        assert_eq!(
            said[5..],
            [
                "type `size`",
                "function `draw`",
                "class `counter`",
                "class `counter`"
            ]
            .map(clash)
        );
    }
}
