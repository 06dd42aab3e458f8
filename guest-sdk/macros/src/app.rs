//! `#[lydian::app]`: a module becomes a component and its client.

use crate::model::{self, App};
use crate::names::{is_wit_name, kebab};
use crate::settings::{Place, Settings};
use crate::wit::World;
use crate::{clients, exports, manifest, siblings, values};
use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, Item, Result};

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let settings = Settings::parse(attribute, Place::App)?;
    let module: Item = syn::parse2(item)?;
    let Item::Mod(mut module) = module else {
        let text = "an app is a module: write `#[lydian::app] mod app { … }` around the functions";
        return Err(Error::new_spanned(module, text));
    };
    let Some((_, items)) = &mut module.content else {
        let text = format!(
            "the WIT is derived from what stands in the module, so it must stand here: write `mod {} {{ … }}` in place of `mod {};`",
            module.ident, module.ident
        );
        return Err(Error::new_spanned(&module.ident, text));
    };
    let (found, looked) = model::take(items);
    let (stubs, has_app) = (found.stubs.clone(), found.has_app);
    let made = looked.and_then(|()| {
        let app = model::read(found, items)?;
        Made::of(&module.ident, &settings, &app)
    });
    let (extra, mistakes) = match made {
        Ok(made) => (made.code, Vec::new()),
        // The module as it is, with all that callers name, so that nothing seems to be missing because of one mistake.
        Err(error) => {
            let mut errors = error.into_iter();
            let first = errors
                .next()
                .map(|first| crate::stubs::stubs(&first, &stubs, has_app));
            (first.unwrap_or_default(), errors.collect())
        }
    };
    let parsed: syn::File = syn::parse2(extra)?;
    items.extend(parsed.items);
    let mistakes = mistakes.iter().map(Error::to_compile_error);
    Ok(quote!(#module #(#mistakes)*))
}

/// Everything that is added to a module.
struct Made {
    code: TokenStream,
}

impl Made {
    fn of(module: &syn::Ident, settings: &Settings, app: &App<'_>) -> Result<Self> {
        let krate = std::env::var("CARGO_PKG_NAME").unwrap_or_else(|_| "app".to_owned());
        let name = settings
            .text("name")
            .map_or_else(|| krate.clone(), str::to_owned);
        siblings::check(app, &name, module)?;
        let world_name = kebab(&module.to_string());
        let world_name = if is_wit_name(&world_name) {
            world_name
        } else {
            "app".to_owned()
        };
        let world = World::of(app, &krate, &world_name)?;
        let manifest = manifest::manifest(app, &settings.values);
        let exports = exports::exports(app, &world, &manifest)?;
        let clients = clients::clients(app, &name);
        let values = app.types.defs.iter().map(values::implement);
        Ok(Self {
            code: quote! { #(#values)* #clients #exports },
        })
    }
}
