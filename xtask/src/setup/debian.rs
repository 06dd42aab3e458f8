//! The targets without rustup: the standard library's source and wasi-libc, as Debian packs them, compiled here.
//!
//! The packages come through apt in a root of its own under the cache folder, so that apt checks the signature
//! of the suite's index and the packages' hashes, and the system learns of no foreign suite. They are unpacked,
//! never installed. An empty crate built with `build-std` then gives the libraries, which are copied to where
//! rustup would have put them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::sysroot::Sysroot;
use crate::run::{cargo, program, quiet, read, say};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where a source package of some rustc may be: the archive, the suite, the package. The second pair, of
/// bookworm, is a whole compiler that Debian keeps up for its browsers.
const PLACES: [Place; 4] = [
    Place {
        security: false,
        suite: "trixie-backports",
        package: "rust-src",
    },
    Place {
        security: false,
        suite: "trixie",
        package: "rust-src",
    },
    Place {
        security: false,
        suite: "sid",
        package: "rust-src",
    },
    Place {
        security: true,
        suite: "bookworm-security",
        package: "rust-web-src",
    },
];

/// The suites that may hold wasi-libc when the source's own does not.
const LIBC_SUITE: &str = "trixie";

/// What the linker asks for by name in `self-contained`.
const LIBC_FILES: [&str; 3] = ["crt1-command.o", "crt1-reactor.o", "libc.a"];

#[derive(Clone, Copy)]
struct Place {
    security: bool,
    suite: &'static str,
    package: &'static str,
}

/// Makes `targets` for the rustc of `sysroot`.
pub(super) fn build(sysroot: &Sysroot, targets: &[&str]) -> Result<()> {
    for tool in ["apt-get", "dpkg-deb"] {
        quiet(program(tool)?.arg("--version"))
            .with_context(|| format!("this way needs Debian's `{tool}`"))?;
    }
    let work = tempfile::tempdir().context("cannot make a folder for the packages")?;
    let unpacked = fetch(&sysroot.release, work.path())?;
    install_source(sysroot, &unpacked)?;
    say(&format!(
        "wasm targets: compiling std for {}",
        targets.join(", ")
    ));
    let built = compile_std(work.path(), targets)?;
    for target in targets {
        install_target(
            sysroot,
            target,
            &built.join(target).join("release/deps"),
            &unpacked,
        )?;
    }
    Ok(())
}

/// Downloads and unpacks the source of `release` and wasi-libc; returns the folder that holds both.
fn fetch(release: &str, work: &Path) -> Result<PathBuf> {
    let mirrors = Mirrors::find()?;
    let mut found = Vec::new();
    for place in PLACES {
        let Some(site) = mirrors.site(place.security) else {
            continue;
        };
        let apt = Apt::with_suite(
            &work.join(place.suite),
            &[(site, place.suite), (&mirrors.main, LIBC_SUITE)],
        )?;
        let Ok(()) = apt.update() else {
            found.push(format!("{}: no index", place.suite));
            continue;
        };
        match apt.version(place.package, release)? {
            Some(version) => {
                say(&format!(
                    "wasm targets: {} {version} from Debian {}",
                    place.package, place.suite
                ));
                return apt.unpack(&[&format!("{}={version}", place.package), "wasi-libc"]);
            }
            None => found.push(format!(
                "{}: {}",
                place.suite,
                apt.versions(place.package)?.join(" ")
            )),
        }
    }
    bail!(
        "no source of the standard library of rustc {release} in Debian ({})\n\
         hint: a rustc of one of these releases would do; bookworm's `rustc-web`, `cargo-web` and `rust-web-src` are one",
        found.join("; "),
    )
}

/// The mirrors that apt on this machine uses.
struct Mirrors {
    main: String,
    security: Option<String>,
}

impl Mirrors {
    fn find() -> Result<Self> {
        let listed = read(program("apt-get")?.args([
            "indextargets",
            "--format",
            "$(SITE)",
            "Created-By: Packages",
        ]))?;
        let site = |ending: &str| {
            listed
                .lines()
                .find(|site| site.trim_end_matches('/').ends_with(ending))
        };
        Ok(Self {
            main: site("/debian")
                .context("apt is set up with no mirror of Debian")?
                .to_owned(),
            security: site("debian-security").map(str::to_owned),
        })
    }

    fn site(&self, security: bool) -> Option<&str> {
        if security {
            self.security.as_deref()
        } else {
            Some(&self.main)
        }
    }
}

/// apt with a root of its own. The system's configuration of proxies and certificates still holds.
struct Apt {
    root: PathBuf,
}

impl Apt {
    fn with_suite(root: &Path, suites: &[(&str, &str)]) -> Result<Self> {
        for folder in [
            "etc/apt/preferences.d",
            "etc/apt/trusted.gpg.d",
            "lists/partial",
            "cache/archives/partial",
            "unpacked",
        ] {
            fs::create_dir_all(root.join(folder))?;
        }
        fs::write(root.join("status"), "")?;
        let mut sources = String::new();
        for (site, suite) in suites {
            sources.push_str(&format!("deb [signed-by={KEYRING}] {site} {suite} main\n"));
        }
        fs::write(root.join("etc/apt/sources.list"), sources)?;
        Ok(Self { root: root.into() })
    }

    fn command(&self, tool: &str) -> Result<Command> {
        let mut command = program(tool)?;
        let option = |name: &str, path: &str| format!("{name}={}", self.root.join(path).display());
        for (name, path) in [
            ("Dir::Etc", "etc/apt"),
            ("Dir::State::Lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
        ] {
            command.args(["-o", &option(name, path)]);
        }
        // The sandbox user of apt cannot write into our folder; the root is ours alone.
        command.args([
            "-o",
            "APT::Sandbox::User=",
            "-o",
            "Acquire::Languages=none",
            "-o",
            "Debug::NoLocking=1",
        ]);
        command.current_dir(self.root.join("unpacked"));
        Ok(command)
    }

    fn update(&self) -> Result<()> {
        quiet(self.command("apt-get")?.args(["update", "--error-on=any"]))
    }

    fn versions(&self, package: &str) -> Result<Vec<String>> {
        let table = read(self.command("apt-cache")?.args(["madison", package]))?;
        Ok(table
            .lines()
            .filter_map(|line| line.split('|').nth(1))
            .map(|version| version.trim().to_owned())
            .collect())
    }

    /// The package's version whose upstream part is `release`.
    fn version(&self, package: &str, release: &str) -> Result<Option<String>> {
        let is_release = |version: &String| {
            version
                .strip_prefix(release)
                .is_some_and(|rest| rest.starts_with(['+', '-', '~']))
        };
        Ok(self.versions(package)?.into_iter().find(is_release))
    }

    fn unpack(&self, packages: &[&str]) -> Result<PathBuf> {
        quiet(self.command("apt-get")?.arg("download").args(packages))?;
        let unpacked = self.root.join("unpacked");
        for entry in fs::read_dir(&unpacked)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                quiet(program("dpkg-deb")?.arg("-x").arg(&path).arg(&unpacked))?;
            }
        }
        Ok(unpacked)
    }
}

fn install_source(sysroot: &Sysroot, unpacked: &Path) -> Result<()> {
    let to = sysroot.library_source();
    if to.join("std/Cargo.toml").is_file() {
        return Ok(());
    }
    let from = find(unpacked, &|path| path.ends_with("library/std/Cargo.toml"))?;
    let library = from
        .parent()
        .and_then(Path::parent)
        .context("the source has no `library` folder")?;
    fs::create_dir_all(&to).with_context(|| {
        format!(
            "rustc's folder {} cannot be written to",
            sysroot.path.display()
        )
    })?;
    quiet(program("cp")?.arg("-rL").arg(library.join(".")).arg(&to))
}

/// Builds an empty crate with a standard library of its own, for all targets at once; returns the build folder.
fn compile_std(work: &Path, targets: &[&str]) -> Result<PathBuf> {
    let empty = work.join("empty");
    fs::create_dir_all(empty.join("src"))?;
    fs::write(
        empty.join("Cargo.toml"),
        "[workspace]\n[package]\nname = \"empty\"\nedition = \"2024\"\n",
    )?;
    fs::write(empty.join("src/lib.rs"), "")?;
    let target_dir = work.join("std");
    let mut cargo = cargo()?;
    cargo
        .args([
            "build",
            "--release",
            "-Z",
            "build-std=std,panic_abort",
            "--target-dir",
        ])
        .arg(&target_dir)
        .current_dir(&empty)
        // `build-std` is not stable; the bitcode is what lets guests be built with `lto = true`.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Cembed-bitcode=yes");
    for target in targets {
        cargo.args(["--target", target]);
    }
    quiet(&mut cargo)?;
    Ok(target_dir)
}

fn install_target(sysroot: &Sysroot, target: &str, built: &Path, unpacked: &Path) -> Result<()> {
    // Filled beside its place and moved there whole: a half-copied target would pass for an installed one.
    let to = sysroot.libraries(target);
    let parent = to.parent().context("a target's folder has a parent")?;
    let partial = parent.join("lib.partial");
    let self_contained = partial.join("self-contained");
    fs::create_dir_all(&self_contained).with_context(|| {
        format!(
            "rustc's folder {} cannot be written to",
            sysroot.path.display()
        )
    })?;
    let mut copied = 0;
    for entry in fs::read_dir(built)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libempty-") {
            fs::copy(&path, partial.join(&name))?;
            copied += 1;
        }
    }
    ensure!(
        copied > 0,
        "the build of std for {target} left no libraries"
    );
    if target.contains("wasi") {
        for file in LIBC_FILES {
            let from = find(unpacked, &|path| {
                path.ends_with(Path::new("wasm32-wasi").join(file))
            })?;
            fs::copy(from, self_contained.join(file))?;
        }
    }
    fs::rename(&partial, &to)
        .with_context(|| format!("cannot move the libraries to {}", to.display()))
}

/// The first file below `folder` that `wanted` accepts.
fn find(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if wanted(&path) {
                return Ok(path);
            }
        }
    }
    bail!(
        "a file that Debian's packages should hold is not in {}",
        folder.display()
    )
}
