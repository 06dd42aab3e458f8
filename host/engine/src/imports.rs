//! Imports that nobody provides, and what would.

use crate::error::Error;
use lydian_value::Digest;

/// Packages of WASI that are provided, in the versions [`PROVIDED_VERSIONS`].
const PROVIDED: [&str; 7] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
    "wasi:http/",
];
/// By what the version begins with.
const PROVIDED_VERSIONS: [&str; 2] = ["0.2.", "0.3."];

/// What a function that calls others imports.
const CALLS: &str = "lydian:calls/";
const CALLS_VERSIONS: &str = "0.1.";

/// Whether a component's functions can call others.
pub(crate) fn make_calls(imports: &[String]) -> bool {
    imports.iter().any(|import| import.starts_with(CALLS))
}

/// The error for a component that imports what is not provided; `None` when that is not what is wrong with it.
pub(crate) fn missing(component: Digest, imports: &[String]) -> Option<Error> {
    let missing: Vec<String> = imports
        .iter()
        .filter(|import| !is_provided(import))
        .cloned()
        .collect();
    if missing.is_empty() {
        return None;
    }
    let mut hints: Vec<String> = missing.iter().map(|import| hint(import)).collect();
    hints.dedup();
    Some(Error::MissingImports {
        component,
        imports: missing,
        hints,
    })
}

fn is_provided(import: &str) -> bool {
    let version = import.rsplit_once('@').map_or("", |(_, version)| version);
    if import.starts_with(CALLS) {
        return version.starts_with(CALLS_VERSIONS);
    }
    // A release candidate has interfaces of its own, under the version it leads up to.
    PROVIDED.iter().any(|package| import.starts_with(package))
        && !version.contains('-')
        && PROVIDED_VERSIONS
            .iter()
            .any(|provided| version.starts_with(provided))
}

fn hint(import: &str) -> String {
    let (name, version) = import.rsplit_once('@').unwrap_or((import, ""));
    if PROVIDED.iter().any(|package| name.starts_with(package)) && version.contains('-') {
        return format!(
            "`{name}@{version}` is of a release candidate of WASI: build with tools of a release, for WASI 0.2 or 0.3"
        );
    }
    if PROVIDED.iter().any(|package| name.starts_with(package)) {
        return format!(
            "`{name}` is provided as of WASI 0.2 and 0.3, not {version}: build with newer tools"
        );
    }
    if name.starts_with("wasi:") {
        return format!(
            "`{name}` is not provided by this version of the platform: build without it"
        );
    }
    if name.starts_with("lydian:") {
        return format!(
            "`{import}` is not provided by this node: build with an SDK no newer than the node"
        );
    }
    format!("compose the component with one that exports `{import}`, for example with `wac plug`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(imports: &[&str]) -> Option<(Vec<String>, Vec<String>)> {
        let imports: Vec<String> = imports.iter().map(|import| (*import).to_owned()).collect();
        match missing(Digest::of(b""), &imports) {
            Some(Error::MissingImports { imports, hints, .. }) => Some((imports, hints)),
            _ => None,
        }
    }

    /// "unknown import" alone sends its reader searching; the way out belongs beside it.
    #[test]
    fn each_missing_import_comes_with_its_way_out() {
        let (imports, hints) = of(&[
            "wasi:cli/stdout@0.2.6",
            "acme:db/query@1.0.0",
            "wasi:nn/graph@0.2.0",
            "wasi:io/streams@0.1.0",
        ])
        .unwrap();
        assert_eq!(
            imports,
            [
                "acme:db/query@1.0.0",
                "wasi:nn/graph@0.2.0",
                "wasi:io/streams@0.1.0"
            ]
        );
        assert!(hints[0].contains("wac plug"), "{hints:?}");
        assert!(hints[1].contains("wasi:nn/graph"), "{hints:?}");
        assert!(hints[2].contains("WASI 0.2"), "{hints:?}");
    }

    /// The linker would say that an export of the instance is missing.
    #[test]
    fn release_candidates_of_wasi_are_told() {
        let import = "wasi:clocks/monotonic-clock@0.3.0-rc-2025-09-16";
        let (imports, hints) = of(&[import]).unwrap();
        assert_eq!(imports, [import]);
        assert!(hints[0].contains("release candidate"), "{hints:?}");
    }

    #[test]
    fn provided_imports_are_not_missing() {
        assert!(of(&["wasi:cli/stdout@0.2.6", "wasi:clocks/monotonic-clock@0.3.0"]).is_none());
        assert!(of(&["lydian:calls/invoke@0.1.0"]).is_none());
        let (_, hints) = of(&["lydian:calls/invoke@2.0.0"]).unwrap();
        assert!(hints[0].contains("no newer than the node"), "{hints:?}");
    }
}
