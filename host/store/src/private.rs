//! Files and directories that are their user's alone: what others run, and its results, are nobody's to read.
//!
//! What is made here is closed to everybody else from its first moment. What is found open, because an earlier release or a
//! person made it, is closed; a directory that is everybody's by purpose, such as `/tmp`, is refused.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use parking_lot::Mutex;

use crate::{Error, Result};

const DIRECTORY: u32 = 0o700;
const FILE: u32 = 0o600;
/// What group and others may do.
const OTHERS: u32 = 0o077;
/// On a directory: whoever may write to it removes only what is theirs.
const STICKY: u32 = 0o1000;

/// Makes a directory, and those above it that are missing, without flushing their names; fine if it exists.
pub(crate) fn create_dir(path: &Path) -> Result<()> {
    let made = DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY)
        .create(path);
    made.map_err(|error| Error::write(path, 0, "create", error))
}

/// How files are created.
pub(crate) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE);
    options
}

/// Makes sure that nobody else enters a directory.
///
/// # Errors
/// [`Error::Shared`] when it is meant for everybody, or another user's.
pub(crate) fn close_dir(path: &Path) -> Result<()> {
    let mode = mode_of(path)?;
    if mode & OTHERS == 0 {
        return Ok(());
    }
    if mode & STICKY != 0 {
        return Err(Error::Shared { path: path.into() });
    }
    close(path, DIRECTORY)
}

/// Makes sure that a file is there and nobody else opens it.
///
/// One that exists is not opened: closing a descriptor drops every lock that this process has on the file, and another part
/// of it may be using the file as a database.
pub(crate) fn close_file(path: &Path) -> Result<()> {
    // Nor may anybody open the new one before its first descriptor is closed.
    static MAKING: Mutex<()> = Mutex::new(());
    let making = MAKING.lock();
    match options().write(true).create_new(true).open(path) {
        Ok(file) => drop(file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::write(path, 0, "create", error)),
    }
    drop(making);
    match mode_of(path)? & OTHERS {
        0 => Ok(()),
        _ => close(path, FILE),
    }
}

fn mode_of(path: &Path) -> Result<u32> {
    let metadata = fs::metadata(path).map_err(|error| Error::io("look at", path, error))?;
    Ok(metadata.mode())
}

fn close(path: &Path, mode: u32) -> Result<()> {
    match fs::set_permissions(path, Permissions::from_mode(mode)) {
        Ok(()) => {
            tracing::warn!(path = %path.display(), "closed to other users");
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(Error::Shared { path: path.into() })
        }
        Err(error) => Err(Error::io("close to other users", path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        mode_of(path).expect("a mode") & 0o777
    }

    #[test]
    fn what_is_made_is_closed_from_the_start() {
        let directory = tempfile::tempdir().expect("a directory");
        let made = directory.path().join("a/b");
        create_dir(&made).expect("made");
        assert_eq!(
            (mode(&made), mode(&directory.path().join("a"))),
            (0o700, 0o700)
        );
        close_file(&made.join("file")).expect("made");
        assert_eq!(mode(&made.join("file")), 0o600);
    }

    #[test]
    fn what_was_open_is_closed() {
        let directory = tempfile::tempdir().expect("a directory");
        let open = directory.path().join("open");
        fs::create_dir(&open).expect("made");
        fs::set_permissions(&open, Permissions::from_mode(0o755)).expect("opened");
        close_dir(&open).expect("closed");
        assert_eq!(mode(&open), 0o700);
        let file = open.join("file");
        fs::write(&file, b"kept").expect("made");
        fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("opened");
        close_file(&file).expect("closed");
        assert_eq!(mode(&file), 0o600);
        assert_eq!(fs::read(&file).expect("read"), b"kept");
    }

    /// Closing `/tmp` would take it from everybody else.
    #[test]
    fn a_directory_for_everybody_is_refused_and_left_as_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let everybodys = Permissions::from_mode(0o1777);
        fs::set_permissions(directory.path(), everybodys).expect("opened");
        let refused = close_dir(directory.path()).expect_err("refused");
        assert!(matches!(refused, Error::Shared { .. }), "{refused}");
        assert!(refused.hint().is_some());
        assert_eq!(mode_of(directory.path()).expect("a mode") & 0o7777, 0o1777);
    }
}
