//! What has a name in a shell: results, and the resources they hand over.
//!
//! A resource lives as long as a name stands for it. A function that takes it for good takes the name, too.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lydian_client::{Resource, Session};
use lydian_value::{FuncType, Handle, Type, Value};

use crate::output::result;

/// The name of the last result.
pub(super) const LAST: &str = "_";

/// Values by name.
#[derive(Default)]
pub(super) struct Values {
    named: BTreeMap<String, Kept>,
    /// The resources that names stand for; dropping one drops the guest's.
    resources: HashMap<u32, Resource>,
}

/// A value that has a name.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) ty: Type,
    /// In WAVE.
    pub(super) text: String,
    /// The resources in it.
    handles: Vec<(u32, Arc<str>)>,
    /// The interface of the function that gave it.
    pub(super) interface: Option<String>,
}

impl Kept {
    /// The result of `function`.
    pub(super) fn new(function: &FuncType, ty: &Type, value: &Value, text: String) -> Self {
        Self {
            handles: result::owned(ty, value),
            interface: function
                .name
                .split_once('#')
                .map(|(path, _)| path.to_owned()),
            ty: ty.clone(),
            text,
        }
    }

    /// The name of the resource it is; none when it is another value.
    pub(super) fn resource(&self) -> Option<&str> {
        match &self.ty {
            Type::Own(name) => Some(name),
            _ => None,
        }
    }
}

impl Values {
    pub(super) fn get(&self, name: &str) -> Option<&Kept> {
        self.named.get(name)
    }

    /// All, by name.
    pub(super) fn named(&self) -> impl Iterator<Item = (&str, &Kept)> {
        self.named.iter().map(|(name, kept)| (name.as_str(), kept))
    }

    /// Gives a value its name, and the name of the last result as well. `session` is where its resources live.
    pub(super) fn keep(&mut self, name: Option<&str>, kept: Kept, session: Option<&Session>) {
        if let Some(session) = session {
            for (handle, resource) in &kept.handles {
                let interface = kept.interface.as_deref();
                let adopted = || session.adopt(Handle(*handle), interface, resource);
                self.resources.entry(*handle).or_insert_with(adopted);
            }
        }
        if let Some(name) = name {
            self.named.insert(name.to_owned(), kept.clone());
        }
        self.named.insert(LAST.to_owned(), kept);
        self.drop_nameless();
    }

    /// After a call with these arguments: what it took for good is its own now.
    pub(super) fn give(&mut self, function: &FuncType, args: &[Value]) {
        let types = function.params.iter().map(|param| &param.ty);
        for (handle, _) in types
            .zip(args)
            .flat_map(|(ty, value)| result::owned(ty, value))
        {
            if let Some(resource) = self.resources.remove(&handle) {
                // Nothing is dropped here: the guest has it.
                let _ = resource.into_handle();
            }
            self.named
                .retain(|_, kept| kept.handles.iter().all(|(held, _)| *held != handle));
        }
    }

    /// Takes the names of all resources, whose sandbox is gone; answers them.
    pub(super) fn forget_resources(&mut self) -> Vec<String> {
        for (_, resource) in self.resources.drain() {
            let _ = resource.into_handle();
        }
        let holds = |kept: &Kept| !kept.handles.is_empty();
        let lost = self
            .named
            .iter()
            .filter(|(name, kept)| *name != LAST && holds(kept));
        let lost = lost.map(|(name, _)| name.clone()).collect();
        self.named.retain(|_, kept| !holds(kept));
        lost
    }

    fn drop_nameless(&mut self) {
        let named: Vec<u32> = self
            .named
            .values()
            .flat_map(|kept| kept.handles.iter().map(|(handle, _)| *handle))
            .collect();
        self.resources.retain(|handle, _| named.contains(handle));
    }
}
