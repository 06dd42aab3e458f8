//! A file or crate on this machine, made ready to be sent: built, read, its manifest put together.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use lydian_client::Digest;
use serde_json::Value as Json;

use super::load;
use crate::build::{self, Built, Narration, Program};
use crate::docs::Documented;
use crate::manifest::{self, Entrypoint, Inside};
use crate::output::error::CliError;
use crate::output::progress::Progress;
use crate::target::Code;

/// Where code comes from: a component, or the crate that makes it.
#[derive(Debug, Clone)]
pub(super) struct Source {
    code: Code,
    /// Where `lydian.toml` is, or would be.
    pub(super) manifest: PathBuf,
}

/// What a [`Source`] came to.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub(super) file: PathBuf,
    pub(super) bytes: Bytes,
    pub(super) digest: Digest,
    /// `lydian.toml`, with what the crate's WIT says about the functions; none when neither is there.
    pub(super) manifest: Option<Json>,
    /// `lydian.toml` sets something beside a name.
    configured: bool,
    /// What the component says about itself.
    pub(super) inside: Inside,
    /// Programs of the crate.
    programs: Vec<Program>,
}

impl Source {
    /// The source of parsed code; none when it is a deployed app.
    pub(super) fn of(code: &Code) -> Option<Self> {
        let dir = match code {
            Code::Crate(dir) => dir.clone(),
            Code::File(file) => file.parent().map(Path::to_owned).unwrap_or_default(),
            Code::App { .. } => return None,
        };
        Some(Self {
            code: code.clone(),
            manifest: dir.join(manifest::FILE),
        })
    }

    /// Reads a PATH argument.
    ///
    /// # Errors
    /// Exit 3: it names an app.
    pub(super) fn find(path: &str) -> Result<Self, CliError> {
        let code = load::parse_code(path)?;
        Self::of(&code).ok_or_else(|| not_a_path(path))
    }

    /// The directory the manifest and its paths belong to.
    pub(super) fn dir(&self) -> &Path {
        let dir = self
            .manifest
            .parent()
            .filter(|dir| !dir.as_os_str().is_empty());
        dir.unwrap_or(Path::new("."))
    }

    /// The directory of the crate; none for a file.
    pub(super) fn crate_dir(&self) -> Option<&Path> {
        match &self.code {
            Code::Crate(dir) => Some(dir),
            _ => None,
        }
    }

    /// As the user wrote it.
    pub(super) fn shown(&self) -> String {
        match &self.code {
            Code::Crate(path) | Code::File(path) => path.display().to_string(),
            Code::App { name, .. } => name.clone(),
        }
    }

    /// Builds and reads it.
    ///
    /// # Errors
    /// Exit 1: the crate does not build. Exit 2: not a component, or `lydian.toml` is not TOML. Exit 3: not there.
    pub(super) fn ready(&self, progress: &Progress) -> Result<Ready, CliError> {
        // Read first: a mistake in it is told before minutes of building.
        manifest::read_file(&self.manifest)?;
        let built = self.build(Narration::OnFailure, progress)?;
        self.read(built)
    }

    /// Builds a crate; a file is there already.
    pub(super) fn build(
        &self,
        narration: Narration,
        progress: &Progress,
    ) -> Result<Built, CliError> {
        match &self.code {
            Code::Crate(dir) => build::build(dir, narration, progress),
            Code::File(path) => Ok(Built {
                component: path.clone(),
                programs: Vec::new(),
            }),
            Code::App { name, .. } => Err(not_a_path(name)),
        }
    }

    /// Reads what was built, and the manifest beside it.
    pub(super) fn read(&self, built: Built) -> Result<Ready, CliError> {
        let manifest = manifest::read_file(&self.manifest)?;
        let file = built.component;
        let bytes = load::read_component(&file)?;
        let keys = manifest.as_ref().and_then(Json::as_object);
        let configured = keys.is_some_and(|keys| keys.keys().any(|key| key != "name"));
        let manifest = match self.crate_dir() {
            Some(dir) => with_docs(manifest, dir, &bytes),
            None => manifest,
        };
        Ok(Ready {
            file,
            digest: Digest::of(&bytes),
            inside: Inside::of(&bytes),
            bytes,
            manifest,
            configured,
            programs: built.programs,
        })
    }

    /// The name an app made of it has when the user gives none: that in lydian.toml, the package's, or the file's.
    ///
    /// # Errors
    /// Exit 2: there is none of them.
    pub(super) fn default_name(&self, ready: &Ready) -> Result<String, CliError> {
        let manifests = [ready.manifest.as_ref(), ready.inside.manifest.as_ref()];
        let named = manifests
            .into_iter()
            .flatten()
            .find_map(|manifest| manifest.get("name")?.as_str());
        if let Some(name) = named {
            return Ok(name.to_owned());
        }
        let name = match &self.code {
            Code::Crate(dir) => build::read_package(dir)?.name,
            Code::File(file) => file
                .file_stem()
                .and_then(|stem| stem.to_str())
                .map(|stem| stem.replace('_', "-")),
            Code::App { .. } => None,
        };
        name.ok_or_else(|| {
            CliError::usage("no-name", "the app has no name").hint("give one with `--name`")
        })
    }
}

fn not_a_path(path: &str) -> CliError {
    let message = format!("no file or crate directory `{path}`");
    CliError::not_found("file-not-found", message)
        .hint("name a `.wasm` file or a directory with a `Cargo.toml`")
}

impl Ready {
    /// The programs of the crate that say they are to be run here.
    pub(super) fn entrypoints(&self) -> Vec<Entrypoint> {
        let mut found = Vec::new();
        for program in &self.programs {
            let read = || Some(Inside::of(&std::fs::read(&program.file).ok()?));
            let inside = if program.file == self.file {
                Some(self.inside.clone())
            } else {
                read()
            };
            let manifest = inside.and_then(|inside| inside.manifest);
            let entries = manifest
                .iter()
                .flat_map(|manifest| manifest::entrypoints(manifest, &program.name));
            found.extend(entries);
        }
        found
    }

    /// Whether it says anything that only an app has: limits, grants, classes, calls to others.
    pub(super) fn needs_app(&self) -> bool {
        self.inside.calls || self.inside.manifest.is_some() || self.configured
    }
}

/// The manifest with what the crate's WIT says about its functions, where it says nothing itself.
fn with_docs(manifest: Option<Json>, dir: &Path, component: &[u8]) -> Option<Json> {
    let documented = Documented::read(dir);
    if documented.is_empty() {
        return manifest;
    }
    let functions = lydian_value::inspect(component).map(|interface| interface.functions);
    let Some(docs) = documented.manifest(&functions.unwrap_or_default()) else {
        return manifest;
    };
    Some(manifest::laid_over(
        manifest.unwrap_or_else(manifest::empty),
        docs,
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_default_to_manifest_then_file() {
        let source = Source::find("out/my_app.wasm").unwrap();
        assert_eq!(source.manifest, Path::new("out/lydian.toml"));
        let mut ready = Ready {
            file: PathBuf::new(),
            bytes: Bytes::new(),
            digest: Digest::of(b""),
            manifest: None,
            configured: false,
            programs: Vec::new(),
            inside: Inside::default(),
        };
        assert_eq!(source.default_name(&ready).unwrap(), "my-app");
        ready.inside.manifest = Some(json!({ "name": "inner" }));
        assert_eq!(source.default_name(&ready).unwrap(), "inner");
        ready.manifest = Some(json!({ "name": "math" }));
        assert_eq!(source.default_name(&ready).unwrap(), "math");
        assert_eq!(
            Source::find("app-name").err().unwrap().code,
            "file-not-found"
        );
    }
}
