//! Which files changed, told soon after they were saved.
//!
//! One thread waits on the kernel (inotify) and tells of a change when nothing more was written for
//! [`QUIET`]: an editor's save is several events, and half a file must not be built. New directories are
//! watched as they appear. What builds write (`target`), hidden files and editors' scratch files say nothing.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
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
/// Deeper than any source tree; a loop of links ends here.
const MAX_DEPTH: usize = 32;

/// Files were saved.
#[derive(Debug)]
pub(crate) struct Change {
    /// When the first of them was.
    pub(crate) at: Instant,
    pub(crate) paths: Vec<PathBuf>,
}

/// The changes, one after another.
pub(crate) type Changes = mpsc::Receiver<Change>;

/// What is watched. Clones share it; it ends with the process.
#[derive(Debug, Clone)]
pub(crate) struct Watch(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kernel: OwnedFd,
    /// Directories by the kernel's number for them.
    dirs: Mutex<HashMap<i32, Dir>>,
}

#[derive(Debug, Clone)]
struct Dir {
    path: PathBuf,
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
        }));
        let (sender, changes) = mpsc::channel(1);
        let shared = watch.clone();
        std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || shared.tell(&sender))?;
        Ok((watch, changes))
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
        self.add(dir, None, &only)
    }

    fn add(&self, path: &Path, depth: Option<usize>, only: &[OsString]) -> io::Result<()> {
        let saved = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::CREATE
            | WatchFlags::ONLYDIR;
        let number = inotify::add_watch(&self.0.kernel, path, saved)?;
        let dir = Dir {
            path: path.to_owned(),
            depth,
            only: only.to_vec(),
        };
        let mut dirs = self.0.dirs.lock().unwrap_or_else(PoisonError::into_inner);
        // Watched as part of a tree, a directory stays that.
        let known = dirs.entry(number).or_insert_with(|| dir.clone());
        if known.depth.is_none() {
            *known = dir;
        }
        drop(dirs);
        let Some(depth) = depth.filter(|depth| *depth < MAX_DEPTH) else {
            return Ok(());
        };
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() && counts(&entry.file_name()) {
                self.add(&entry.path(), Some(depth + 1), &[])?;
            }
        }
        Ok(())
    }

    fn tell(&self, changes: &mpsc::Sender<Change>) {
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
            if !paths.is_empty() && changes.blocking_send(Change { at, paths }).is_err() {
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
            let dirs = self.0.dirs.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(dir) = dirs.get(&event.wd()).cloned() else {
                continue;
            };
            drop(dirs);
            let chosen = dir.only.is_empty() || dir.only.iter().any(|only| only == name);
            if !counts(name) || !chosen {
                continue;
            }
            let path = dir.path.join(name);
            if event.events().contains(ReadFlags::ISDIR) {
                if let Some(depth) = dir.depth {
                    // Files may have come with it, before it was watched: it counts as one of them.
                    let _ = self.add(&path, Some(depth + 1), &[]);
                    paths.push(path);
                }
            } else if !event.events().contains(ReadFlags::CREATE) {
                // A new file is told of when it is written and closed.
                paths.push(path);
            }
        }
    }
}

/// Whether a name is one that a person saves under.
fn counts(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    // `4913` is how vim tries whether it may write.
    let scratch = name.starts_with('.') || name.ends_with('~') || name == "4913";
    // Cargo writes its lock file in the very build that a change caused.
    !scratch && name != "target" && name != "Cargo.lock"
}

/// The directories of the files an artifact was made of, as cargo notes them beside it: those of path
/// dependencies are among them. Empty when there is no such note.
pub(crate) fn sources(artifact: &Path) -> Vec<PathBuf> {
    let note = std::fs::read_to_string(artifact.with_extension("d")).unwrap_or_default();
    let mut dirs: Vec<PathBuf> = parse_note(&note)
        .iter()
        .filter_map(|file| file.parent().map(Path::to_owned))
        .collect();
    dirs.sort_unstable();
    dirs.dedup();
    dirs
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
