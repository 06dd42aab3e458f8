//! What the WIT of a crate says about its functions.
//!
//! Tools that make components drop the comments of the WIT they started from, so the component of a crate
//! with a `wit` directory is explained by that directory. A function of another type than the
//! component's is of another age, and not believed.

use std::path::Path;
use std::sync::Arc;

use lydian_client::FunctionInfo;
use lydian_value::FuncType;
use serde_json::{Map, Value as Json, json};

/// Functions as the WIT of a crate has them, comments included.
#[derive(Debug, Default)]
pub(crate) struct Documented(Vec<FuncType>);

impl Documented {
    /// Reads `dir/wit`. What is not there, or is no WIT, explains nothing: the build has told already.
    pub(crate) fn read(dir: &Path) -> Self {
        let wit = dir.join("wit");
        if !wit.is_dir() {
            return Self::default();
        }
        Self(lydian_value::wit_functions(&wit).unwrap_or_default())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds comments to a function that has none.
    pub(crate) fn explain(&self, function: &mut FunctionInfo) {
        let Some(documented) = self.of(&function.ty) else {
            return;
        };
        if function.docs.trim().is_empty() {
            function.docs = documented.docs.clone();
        }
        let ty = FuncType {
            docs: function.docs.clone(),
            ..documented.clone()
        };
        function.ty = Arc::new(ty);
    }

    /// A manifest that says what the WIT says about `functions`; none when that is nothing.
    pub(crate) fn manifest(&self, functions: &[FuncType]) -> Option<Json> {
        let docs = functions.iter().filter_map(|function| {
            let docs = self.of(function)?.docs.trim();
            (!docs.is_empty() && function.docs.is_empty())
                .then(|| (function.name.clone(), json!({ "docs": docs })))
        });
        let docs: Map<String, Json> = docs.collect();
        (!docs.is_empty()).then(|| json!({ "functions": docs }))
    }

    fn of(&self, function: &FuncType) -> Option<&FuncType> {
        let same = |known: &&FuncType| {
            known.name == function.name && known.signature() == function.signature()
        };
        self.0.iter().find(same)
    }
}

#[cfg(test)]
mod tests {
    use lydian_value::Type;

    use super::*;

    #[test]
    fn comments_of_the_same_function_are_taken() {
        let dir = tempfile::TempDir::new().unwrap();
        std::fs::create_dir(dir.path().join("wit")).unwrap();
        let wit = "package a:b;\nworld w {\n  /// Squares it.\n  export square: func(x: u64) -> u64;\n  /// Old.\n  export cube: func(x: u32) -> u32;\n}\n";
        std::fs::write(dir.path().join("wit/world.wit"), wit).unwrap();
        let documented = Documented::read(dir.path());
        let of_u64 = |name| FuncType::new(name, [("x", Type::U64)], Some(Type::U64));
        let functions = [of_u64("square"), of_u64("cube")];
        assert_eq!(
            documented.manifest(&functions),
            Some(json!({ "functions": { "square": { "docs": "Squares it." } } }))
        );
        assert_eq!(Documented::default().manifest(&functions), None);
    }
}
