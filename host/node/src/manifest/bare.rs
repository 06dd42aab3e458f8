//! What of a component's own manifest holds where nobody deployed it: its classes.
//!
//! A component called by its digest has the node's limits and no grants, whatever it says about itself, for nobody agreed
//! to that. That a method needs an instance which was entered is no wish but how it is called, so its classes are classes.

use super::{Class, Error, Manifest, Settings, refused, tables};
use lydian_value::Interface;
use serde_json::Value;

/// Whether a component looks as if it had classes: it exports what the SDK has the platform enter them by. Without it, its
/// bytes need not be read.
pub(crate) fn has_classes(interface: &Interface) -> bool {
    let mut names = interface.functions.iter().map(|function| &function.name);
    names.any(|name| {
        name.rsplit_once('#')
            .is_some_and(|(_, name)| name == super::classes::ENTER)
    })
}

impl Manifest {
    /// Of a bare component that says this about itself.
    ///
    /// # Errors
    /// [`Error::Manifest`] as when it is deployed: a class that this node cannot keep is not called as if it were none.
    pub(crate) fn of_bare(own: Option<Value>, interface: &Interface) -> Result<Self, Error> {
        let mut own = match own {
            None => return Ok(Self::default()),
            Some(Value::Object(own)) => own,
            Some(_) => return Err(refused("", "inside the component is not a table")),
        };
        let class = |(name, table): (String, _)| {
            let mut class = Class::parse(&name, table)?;
            class.check(interface)?;
            class.settings = Settings {
                docs: class.settings.docs,
                ..Settings::default()
            };
            Ok(class)
        };
        let classes = tables(&mut own, "classes")?.into_iter().map(class);
        Ok(Self {
            classes: classes.collect::<Result<_, Error>>()?,
            ..Self::default()
        })
    }
}
