//! The WIT of an import: a text, a file, or a directory with what it depends on.

use super::text::alone;
use std::path::{Path, PathBuf};
use wit_parser::{PackageId, Resolve, SourceMap};

/// A package that was read, and the files it was read from.
type Read = Result<(PackageId, Vec<PathBuf>), String>;

/// A package of one text.
pub(super) fn text(resolve: &mut Resolve, text: String) -> Read {
    let package = texts(resolve, vec![PathBuf::from("import.wit")], vec![text])?;
    Ok((package, Vec::new()))
}

/// A package that lies at a path.
pub(super) fn path(resolve: &mut Resolve, at: &Path) -> Read {
    let Some(files) = files(at) else {
        let (package, sources) = resolve
            .push_path(at)
            .map_err(|error| format!("{error:#}"))?;
        return Ok((package, sources.paths().map(Path::to_path_buf).collect()));
    };
    let read = |file: &PathBuf| {
        std::fs::read_to_string(file)
            .map_err(|error| format!("`{}` cannot be read: {error}", file.display()))
    };
    let contents = files.iter().map(read).collect::<Result<_, _>>()?;
    Ok((texts(resolve, files.clone(), contents)?, files))
}

/// The files of a package that holds all it needs; none of one that says itself where the rest is, or is no text.
fn files(at: &Path) -> Option<Vec<PathBuf>> {
    let is_wit = |file: &PathBuf| file.extension().is_some_and(|ending| ending == "wit");
    if !at.is_dir() {
        return Some(vec![at.to_path_buf()]).filter(|files| files.iter().all(is_wit));
    }
    if at.join("deps").exists() {
        return None;
    }
    let entries = at.read_dir().ok()?.filter_map(Result::ok);
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|file| is_wit(file) && file.is_file())
        .collect();
    files.sort();
    (!files.is_empty()).then_some(files)
}

fn texts(
    resolve: &mut Resolve,
    names: Vec<PathBuf>,
    mut texts: Vec<String>,
) -> Result<PackageId, String> {
    alone(&mut texts);
    let mut sources = SourceMap::default();
    for (name, text) in names.iter().zip(texts) {
        sources.push(name, text);
    }
    let group = sources.parse().map_err(|(_, error)| format!("{error:#}"))?;
    resolve
        .push_group(group)
        .map_err(|error| format!("{error:#}"))
}
