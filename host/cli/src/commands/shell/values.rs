//! What has a name in a shell: results, and the resources they hand over.
//!
//! A resource lives as long as a name stands for it. A function that takes it for good takes the name, too.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lydian_client::{Resource, Session};
use lydian_value::{FuncType, Handle, Type, Value};

use crate::output::{result, signature};

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
    value: Value,
    /// In WAVE.
    pub(super) text: String,
    /// The resources in it.
    handles: Vec<(u32, Arc<str>)>,
    /// The interface of the function that gave it.
    pub(super) interface: Option<String>,
}

impl Kept {
    /// The result of `function`.
    pub(super) fn new(function: &FuncType, ty: &Type, value: Value, text: String) -> Self {
        Self {
            handles: result::owned(ty, &value),
            interface: function
                .name
                .split_once('#')
                .map(|(path, _)| path.to_owned()),
            ty: ty.clone(),
            value,
            text,
        }
    }

    /// A part of it.
    fn with(&self, ty: &Type, value: &Value) -> Self {
        Self {
            handles: result::owned(ty, value),
            interface: self.interface.clone(),
            ty: ty.clone(),
            value: value.clone(),
            text: result::printed(ty, value).unwrap_or_default(),
        }
    }

    /// What is left without the `ok(…)` and `some(…)` around it; none for an `err` or a `none`.
    pub(super) fn unwrapped(&self) -> Option<Self> {
        let inner = match (&self.ty, &self.value) {
            (Type::Option(ty), Value::Option(Some(value))) => self.with(ty, value),
            (Type::Result(result), Value::Result(Ok(Some(value)))) => {
                self.with(result.ok.as_ref()?, value)
            }
            (Type::Option(_), _) | (Type::Result(_), Value::Result(Err(_))) => return None,
            _ => return Some(self.clone()),
        };
        inner.unwrapped()
    }

    /// As [`Kept::unwrapped`], where there is a resource to come to. What has none keeps its shape.
    pub(super) fn bound(self) -> Option<Self> {
        match signature::has_resource(&self.ty) {
            true => self.unwrapped(),
            false => Some(self),
        }
    }

    /// The name of the resource it is; none when it is another value.
    pub(super) fn resource(&self) -> Option<&str> {
        match &self.ty {
            Type::Own(name) => Some(name),
            _ => None,
        }
    }

    /// As a person reads it: resources by their names.
    pub(super) fn shown(&self) -> String {
        result::with_names(&self.ty, &self.value).unwrap_or_else(|| self.text.clone())
    }

    /// An item of a list or tuple, or a field of a record.
    fn part(&self, step: &str) -> Option<Self> {
        let whole = self.unwrapped()?;
        let number = step.parse::<usize>().ok();
        match (&whole.ty, &whole.value) {
            (Type::List(ty) | Type::FixedList(ty, _), list) => {
                let item = result::unpacked(list.clone()).into_iter().nth(number?)?;
                Some(whole.with(ty, &item))
            }
            (Type::Tuple(types), Value::Tuple(values)) => {
                Some(whole.with(types.get(number?)?, values.get(number?)?))
            }
            (Type::Record(record), Value::Record(values)) => {
                let at = record.fields.iter().position(|field| field.name == step)?;
                Some(whole.with(&record.fields[at].ty, values.get(at)?))
            }
            _ => None,
        }
    }
}

impl Values {
    /// What a name stands for, or a part of it: `c`, `pair.1`, `found[0].image`.
    pub(super) fn get(&self, path: &str) -> Option<Kept> {
        let end = path.find(['.', '[']).unwrap_or(path.len());
        let (name, mut rest) = path.split_at(end);
        let mut kept = self.named.get(name)?.clone();
        while !rest.is_empty() {
            let step = if let Some(item) = rest.strip_prefix('[') {
                let (item, after) = item.split_once(']')?;
                rest = after;
                item.trim()
            } else {
                let field = rest.strip_prefix('.')?;
                let end = field.find(['.', '[']).unwrap_or(field.len());
                rest = &field[end..];
                &field[..end]
            };
            kept = kept.part(step)?;
        }
        Some(kept)
    }

    /// Whether the name in front of a path stands for anything.
    pub(super) fn knows(&self, path: &str) -> bool {
        let end = path.find(['.', '[']).unwrap_or(path.len());
        self.named.contains_key(&path[..end])
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
            self.named.retain(|_, kept| {
                let held = kept.handles.len();
                kept.handles.retain(|(other, _)| *other != handle);
                // A list of resources keeps its name as long as any of them is there.
                !kept.handles.is_empty() || held == 0
            });
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
