//! Puts the templates of `lydian new` into the program: every folder of `guest-sdk/templates`, file by file.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Where templates lie, from this crate.
const TEMPLATES: &str = "../../guest-sdk/templates";

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join(TEMPLATES);
    println!("cargo::rerun-if-changed={}", root.display());
    let mut text = String::from("&[\n");
    for template in sorted(&root)? {
        let name = file_name(&template);
        writeln!(text, "    Template {{ name: {name:?}, files: &[")?;
        let mut files = Vec::new();
        collect(&template, &mut files)?;
        for file in files {
            let shown = file.strip_prefix(&template)?.display().to_string();
            writeln!(
                text,
                "        ({shown:?}, include_str!({:?})),",
                file.display().to_string()
            )?;
        }
        writeln!(text, "    ] }},")?;
    }
    text += "]";
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("templates.rs");
    fs::write(out, text)?;
    Ok(())
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for path in sorted(dir)? {
        if !path.is_dir() {
            files.push(path);
        } else if file_name(&path) != "target" {
            collect(&path, files)?;
        }
    }
    Ok(())
}

/// What a folder holds, in an order that does not depend on the machine.
fn sorted(dir: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", dir.display());
    let entries = fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = entries.collect::<Result<Vec<_>, _>>()?;
    paths.retain(|path| file_name(path) != "Cargo.lock");
    paths.sort_unstable();
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
