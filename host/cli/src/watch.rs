//! Which files changed, told soon after they were saved.
//!
//! One thread waits on the kernel (inotify) and tells of a change when nothing more was written for
//! [`QUIET`]: an editor's save is several events, and half a file must not be built. New
//! directories are watched as they appear, and so is what links lead to. Where builds write
//! ([`Watch::ignore`], and every directory that says it is a cache), hidden files and editors'
//! scratch files say nothing.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::sync::mpsc;

/// Silence that ends a save. Editors write, rename and set times within a millisecond or two.
const QUIET: Duration = Duration::from_millis(10);
/// A save that goes on longer, a checkout of many files, say, is told of in parts.
const LONGEST: Duration = Duration::from_millis(200);
/// Deeper than any source tree.
const MAX_DEPTH: usize = 32;
/// Links that lead to links, as the kernel follows them.
const MAX_LINKS: usize = 40;
/// What marks a directory that a program made for itself: cargo puts it into its target directory.
const CACHE_MARK: &str = "CACHEDIR.TAG";

/// Files were saved.
#[derive(Debug)]
pub(crate) struct Change {
    /// When the first of them was.
    pub(crate) at: Instant,
    pub(crate) paths: Vec<PathBuf>,
}

/// The changes, one after another.
pub(crate) type Changes = mpsc::UnboundedReceiver<Change>;

/// What is watched. Clones share it; it ends with the process.
#[derive(Debug, Clone)]
pub(crate) struct Watch(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kernel: OwnedFd,
    /// Directories by the kernel's number for them: one that several paths lead to has one number.
    dirs: Mutex<HashMap<i32, Dir>>,
    /// Where builds write, without links.
    ignored: Mutex<Vec<PathBuf>>,
}

#[derive(Debug, Clone)]
struct Dir {
    path: PathBuf,
    /// The same without links.
    real: PathBuf,
    /// How deep below what was asked for; none when directories in it are not watched.
    depth: Option<usize>,
    /// The only files that count; empty for all.
    only: Vec<OsString>,
}

impl Watch {
    /// Starts to watch; nothing yet.
    ///
    /// # Errors
    /// The kernel gives no more of these (`fs.inotify.max_user_instances`), or no thread.
    pub(crate) fn start() -> io::Result<(Self, Changes)> {
        let kernel = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let watch = Self(Arc::new(Shared {
            kernel,
            dirs: Mutex::default(),
            ignored: Mutex::default(),
        }));
        // Never waited for: when a change was told of says whether a build was under way.
        let (sender, changes) = mpsc::unbounded_channel();
        let shared = watch.clone();
        std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || shared.tell(&sender))?;
        Ok((watch, changes))
    }

    /// What is written below `path` says nothing.
    pub(crate) fn ignore(&self, path: &Path) {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut ignored = locked(&self.0.ignored);
        if !ignored.contains(&path) {
            ignored.push(path);
        }
    }

    /// Whether `path` lies where builds write.
    pub(crate) fn ignores(&self, path: &Path) -> bool {
        let ignored = locked(&self.0.ignored);
        let Some((dir, name)) = path.parent().zip(path.file_name()) else {
            return false;
        };
        // The file itself may be gone again.
        let path = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let path = path.join(name);
        ignored.iter().any(|ignored| path.starts_with(ignored))
    }

    /// Watches a directory and everything below it.
    ///
    /// # Errors
    /// It cannot be read, or the kernel watches no more (`fs.inotify.max_user_watches`).
    pub(crate) fn tree(&self, dir: &Path) -> io::Result<()> {
        self.add(dir, Some(0), &[])
    }

    /// Watches these files of a directory; all of them when none is named.
    ///
    /// # Errors
    /// As of [`Watch::tree`].
    pub(crate) fn files(&self, dir: &Path, only: &[&str]) -> io::Result<()> {
        let only: Vec<OsString> = only.iter().map(OsString::from).collect();
        for name in &only {
            self.follow(&dir.join(name), None);
        }
        self.add(dir, None, &only)
    }

    fn add(&self, path: &Path, depth: Option<usize>, only: &[OsString]) -> io::Result<()> {
        let real = path.canonicalize()?;
        if depth.is_some_and(|depth| depth > 0) && self.is_output(&real) {
            return Ok(());
        }
        let saved = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::CREATE
            | WatchFlags::ONLYDIR;
        let number = inotify::add_watch(&self.0.kernel, path, saved)?;
        let dir = Dir {
            path: path.to_owned(),
            real,
            depth,
            only: only.to_vec(),
        };
        let mut dirs = locked(&self.0.dirs);
        let is_new = match dirs.entry(number) {
            Entry::Vacant(entry) => {
                entry.insert(dir);
                true
            }
            Entry::Occupied(mut entry) => entry.get_mut().join(dir),
        };
        drop(dirs);
        // One that is watched already was reached by another way: a loop of links ends here.
        let Some(depth) = depth.filter(|depth| is_new && *depth < MAX_DEPTH) else {
            return Ok(());
        };
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            if !counts(&entry.file_name()) {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.add(&entry.path(), Some(depth + 1), &[])?;
            } else if kind.is_symlink() {
                self.follow(&entry.path(), Some(depth + 1));
            }
        }
        Ok(())
    }

    /// Watches what a link leads to, and every link on the way. What cannot be watched there is
    /// only not noticed.
    fn follow(&self, path: &Path, depth: Option<usize>) {
        let mut at = path.to_owned();
        for _ in 0..MAX_LINKS {
            let Ok(to) = std::fs::read_link(&at) else {
                break;
            };
            at = at.parent().unwrap_or(Path::new("/")).join(to);
            if let (Some(dir), Some(name)) = (at.parent(), at.file_name())
                && !self.ignores(&at)
            {
                let _ = self.add(dir, None, &[name.to_owned()]);
            }
        }
        // Under the name it has where the link stands, which people know.
        if depth.is_some() && path.is_dir() {
            let _ = self.add(path, depth, &[]);
        }
    }

    /// Whether a directory is one that a build made.
    fn is_output(&self, real: &Path) -> bool {
        // A module may be called `target`; beside a manifest it is cargo's.
        let named = real.ends_with("target")
            && real
                .parent()
                .is_some_and(|parent| parent.join("Cargo.toml").exists());
        named || self.ignores(real) || real.join(CACHE_MARK).exists()
    }

    fn tell(&self, changes: &mpsc::UnboundedSender<Change>) {
        let mut buffer = [MaybeUninit::uninit(); 8192];
        loop {
            if !self.wait(None) {
                return;
            }
            let at = Instant::now();
            let mut paths = Vec::new();
            loop {
                self.take(&mut buffer, &mut paths);
                if at.elapsed() > LONGEST || !self.wait(Some(QUIET)) {
                    break;
                }
            }
            paths.sort_unstable();
            paths.dedup();
            if !paths.is_empty() && changes.send(Change { at, paths }).is_err() {
                return;
            }
        }
    }

    /// Whether something happened within that time.
    fn wait(&self, time: Option<Duration>) -> bool {
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        let mut fds = [PollFd::new(&self.0.kernel, PollFlags::IN)];
        loop {
            match poll(&mut fds, time.as_ref()) {
                Err(Errno::INTR) => {}
                Ok(ready) => return ready > 0,
                Err(_) => return false,
            }
        }
    }

    /// Takes what happened; paths that count are added.
    fn take(&self, buffer: &mut [MaybeUninit<u8>], paths: &mut Vec<PathBuf>) {
        let mut events = Reader::new(&self.0.kernel, buffer);
        // None left: the file descriptor does not block.
        while let Ok(event) = events.next() {
            let Some(name) = event.file_name() else {
                continue;
            };
            let name = OsStr::from_bytes(name.to_bytes());
            let Some(dir) = locked(&self.0.dirs).get(&event.wd()).cloned() else {
                continue;
            };
            let chosen = dir.only.is_empty() || dir.only.iter().any(|only| only == name);
            if !counts(name) || !chosen || self.ignores(&dir.real.join(name)) {
                continue;
            }
            let path = dir.path.join(name);
            let depth = dir.depth.map(|depth| depth + 1);
            if event.events().contains(ReadFlags::ISDIR) {
                if depth.is_some() && !self.is_output(&dir.real.join(name)) {
                    // Files may have come with it, before it was watched: it counts as one of them.
                    let _ = self.add(&path, depth, &[]);
                    paths.push(path);
                }
                continue;
            }
            let is_link = path.is_symlink();
            if is_link {
                self.follow(&path, depth);
            }
            // A new file is told of when it is written and closed; a link is there at once.
            let is_there = || is_link || links(&path) > 1;
            if !event.events().contains(ReadFlags::CREATE) || is_there() {
                paths.push(path);
            }
        }
    }
}

impl Dir {
    /// Watches for both; whether directories in it are watched only now.
    fn join(&mut self, other: Self) -> bool {
        match (self.depth, other.depth) {
            (None, None) => {
                if self.only.is_empty() || other.only.is_empty() {
                    self.only.clear();
                } else {
                    self.only.extend(other.only);
                }
                false
            }
            (None, Some(_)) => {
                *self = other;
                true
            }
            // It may have been moved.
            (Some(_), Some(_)) if !self.path.exists() => {
                self.path = other.path;
                self.real = other.real;
                false
            }
            (Some(_), _) => false,
        }
    }
}

/// How many names a file has.
fn links(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).map_or(0, |metadata| metadata.nlink())
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a name is one that a person saves under.
fn counts(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    // `4913` is how vim tries whether it may write.
    let scratch = name.starts_with('.') || name.ends_with('~') || name == "4913";
    // Cargo writes its lock file in the very build that a change caused.
    !scratch && name != "Cargo.lock"
}

/// The files an artifact was made of, as cargo notes them beside it: those of path dependencies are
/// among them, and what a build script asked for. Empty when there is no such note.
pub(crate) fn sources(artifact: &Path) -> Vec<PathBuf> {
    let note = std::fs::read_to_string(artifact.with_extension("d")).unwrap_or_default();
    let mut files = parse_note(&note);
    files.sort_unstable();
    files.dedup();
    files
}

/// `artifact: file file\ with\ spaces`
fn parse_note(note: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in note.lines() {
        let Some((_, list)) = line.split_once(": ") else {
            continue;
        };
        // A space in a name is escaped, so it is not one between names.
        let list = list.replace("\\ ", "\0");
        files.extend(
            list.split_whitespace()
                .map(|file| PathBuf::from(file.replace('\0', " "))),
        );
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Watched {
        dir: tempfile::TempDir,
        changes: Changes,
        _watch: Watch,
    }

    fn watched(start: impl Fn(&Watch, &Path)) -> Watched {
        let dir = tempfile::TempDir::new().unwrap();
        std::fs::create_dir_all(dir.path().join("src/deep")).unwrap();
        std::fs::create_dir_all(dir.path().join("target")).unwrap();
        std::fs::write(dir.path().join("Cargo.toml"), "").unwrap();
        let (watch, changes) = Watch::start().unwrap();
        start(&watch, dir.path());
        Watched {
            dir,
            changes,
            _watch: watch,
        }
    }

    impl Watched {
        fn save(&self, name: &str) {
            std::fs::write(self.dir.path().join(name), "x").unwrap();
        }

        fn told(&mut self) -> Vec<String> {
            let change = self.changes.blocking_recv().unwrap();
            let paths = change.paths.iter();
            paths
                .map(|path| {
                    path.strip_prefix(self.dir.path())
                        .unwrap()
                        .display()
                        .to_string()
                })
                .collect()
        }
    }

    #[test]
    fn saves_anywhere_in_a_tree_are_told_and_scratch_is_not() {
        let mut watched = watched(|watch, dir| watch.tree(dir).unwrap());
        for scratch in [
            ".lib.rs.swp",
            "src/lib.rs~",
            "target/out",
            "Cargo.lock",
            "4913",
        ] {
            watched.save(scratch);
        }
        watched.save("src/deep/a.rs");
        assert_eq!(watched.told(), ["src/deep/a.rs"]);
        // As editors save that must never leave half a file.
        watched.save(".tmp");
        let path = |name| watched.dir.path().join(name);
        std::fs::rename(path(".tmp"), path("src/lib.rs")).unwrap();
        assert_eq!(watched.told(), ["src/lib.rs"]);
    }

    #[test]
    fn directories_that_come_later_are_watched() {
        let mut watched = watched(|watch, dir| watch.tree(dir).unwrap());
        std::fs::create_dir(watched.dir.path().join("src/new")).unwrap();
        assert_eq!(watched.told(), ["src/new"]);
        watched.save("src/new/b.rs");
        assert_eq!(watched.told(), ["src/new/b.rs"]);
    }

    #[test]
    fn files_that_are_named_are_the_only_ones() {
        let mut watched = watched(|watch, dir| watch.files(dir, &["a.wasm"]).unwrap());
        watched.save("b.wasm");
        watched.save("src/a.wasm");
        watched.save("a.wasm");
        assert_eq!(watched.told(), ["a.wasm"]);
    }

    /// Whatever it is called, and whenever it was made.
    #[test]
    fn what_builds_write_is_not_told() {
        let mut watched = watched(|watch, dir| {
            std::fs::create_dir_all(dir.join("out/deep")).unwrap();
            std::fs::create_dir_all(dir.join("cache")).unwrap();
            std::fs::write(dir.join("cache/CACHEDIR.TAG"), "").unwrap();
            watch.ignore(&dir.join("out"));
            watch.ignore(&dir.join("later"));
            watch.tree(dir).unwrap();
        });
        std::fs::create_dir_all(watched.dir.path().join("later/deep")).unwrap();
        std::fs::create_dir_all(watched.dir.path().join("src/target")).unwrap();
        assert_eq!(watched.told(), ["src/target"]);
        for output in ["out/deep/a", "out/b", "cache/c", "later/deep/d"] {
            watched.save(output);
        }
        watched.save("src/target/mod.rs");
        assert_eq!(watched.told(), ["src/target/mod.rs"]);
    }

    #[test]
    fn what_links_lead_to_is_watched() {
        let elsewhere = tempfile::TempDir::new().unwrap();
        let there = |name: &str| elsewhere.path().join(name);
        std::fs::create_dir_all(there("more/deep")).unwrap();
        for file in ["one.rs", "two.rs", "other.rs"] {
            std::fs::write(there(file), "").unwrap();
        }
        std::os::unix::fs::symlink("one.rs", there("link.rs")).unwrap();
        let mut watched = watched(|watch, dir| {
            let link = |to: &Path, name: &str| {
                std::os::unix::fs::symlink(to, dir.join(name)).unwrap();
            };
            link(&there("link.rs"), "src/one.rs");
            link(&there("more"), "src/more");
            link(Path::new(".."), "src/loop");
            link(Path::new("nowhere"), "src/dangling");
            watch.tree(dir).unwrap();
        });
        let save = |name: &str| std::fs::write(there(name), "x").unwrap();
        save("other.rs");
        save("one.rs");
        let told = watched.changes.blocking_recv().unwrap().paths;
        assert_eq!(told, [there("one.rs")]);
        save("more/deep/a.rs");
        assert_eq!(watched.told(), ["src/more/deep/a.rs"]);
        // One that comes later, and then what it leads to.
        let path = watched.dir.path().join("src/two.rs");
        std::os::unix::fs::symlink(there("two.rs"), path).unwrap();
        assert_eq!(watched.told(), ["src/two.rs"]);
        save("two.rs");
        assert_eq!(
            watched.changes.blocking_recv().unwrap().paths,
            [there("two.rs")]
        );
    }

    #[test]
    fn cargos_note_names_the_sources() {
        let note = "/t/a.wasm: /w/a/src/lib.rs /w/my\\ dep/src/lib.rs\n\n/w/a/src/lib.rs:\n";
        assert_eq!(
            parse_note(note),
            [
                Path::new("/w/a/src/lib.rs"),
                Path::new("/w/my dep/src/lib.rs")
            ]
        );
    }
}
