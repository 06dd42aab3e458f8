//! A file system in memory that forgets, on command, what was never flushed: for tests only.
//!
//! A [`Disk`] holds each file and directory twice: as programs see it and as it would be found after a power
//! cut. `fsync` of a file carries its bytes over, `fsync` of a directory its names; [`Disk::cut`] goes back to
//! what was carried over. That is harsher than real file systems, which write things back on their own and
//! keep names in order, and it is what POSIX promises.
//!
//! ```no_run
//! # fn main() -> std::io::Result<()> {
//! let disk = lossyfs::Disk::new();
//! let mounted = disk.mount("/mnt/test".as_ref())?;
//! // … run a program on it, kill it …
//! mounted.unmount()?;
//! disk.cut(lossyfs::Loss::Everything);
//! let mounted = disk.mount("/mnt/test".as_ref())?; // … and see what it finds
//! # mounted.unmount()
//! # }
//! ```
//!
//! A disk can be given a capacity, to be full in the middle of anything. Needs `/dev/fuse` and root; see
//! [`available`].

mod disk;
mod fuse;

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fuser::{BackgroundSession, Config, MountOption};
use parking_lot::Mutex;

use disk::State;

/// What a power cut takes of what was not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All of it.
    Everything,
    /// Each block of 4 KiB, each name and each length by the toss of a coin: writes reach a real disk in
    /// any order. The same seed loses the same.
    Random(u64),
}

/// A disk; clones are the same one. It outlives its mounts.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<State>>);

impl Disk {
    pub fn new() -> Self {
        Self::with_capacity(u64::MAX)
    }

    /// One that is full after so many bytes of files.
    pub fn with_capacity(bytes: u64) -> Self {
        Self(Arc::new(Mutex::new(State::new(bytes))))
    }

    /// Changes the capacity; a disk may thereby be over it.
    pub fn set_capacity(&self, bytes: u64) {
        self.0.lock().capacity = bytes;
    }

    /// Bytes in files that have a name.
    pub fn used(&self) -> u64 {
        self.0.lock().used()
    }

    /// Cuts the power. To be called unmounted: a kernel that lives on would remember.
    pub fn cut(&self, loss: Loss) {
        self.0.lock().cut(loss);
    }

    /// Mounts it at an existing directory.
    ///
    /// # Errors
    /// Without `/dev/fuse` or the right to mount.
    pub fn mount(&self, at: &Path) -> io::Result<Mounted> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("lossyfs".into()), MountOption::NoAtime];
        let session = fuser::spawn_mount(fuse::Fuse(self.0.clone()), at, &config)?;
        Ok(Mounted {
            session: Some(session),
        })
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

/// A mounted disk; dropping it unmounts.
pub struct Mounted {
    session: Option<BackgroundSession>,
}

impl Mounted {
    /// Unmounts it, for which all its files must be closed.
    pub fn unmount(mut self) -> io::Result<()> {
        match self.session.take() {
            Some(session) => session.umount_and_join(),
            None => Ok(()),
        }
    }
}

/// How long the kernel may remember attributes: nobody else changes them.
const FOREVER: Duration = Duration::from_secs(3600);

/// Whether a test that needs a disk can run here; says aloud why not. Where the device is there and the
/// environment says `CI=true`, a mount that fails is a failed test, not a skipped one.
///
/// # Panics
/// See above.
#[expect(
    clippy::panic,
    clippy::print_stderr,
    reason = "for tests, which end this way"
)]
pub fn available() -> bool {
    if !Path::new("/dev/fuse").exists() {
        eprintln!("SKIPPED: no /dev/fuse, power cuts and full disks are not tested here");
        return false;
    }
    // Once: tests run at the same time, and their probes would be mounted on top of one another.
    static PROBE: OnceLock<io::Result<()>> = OnceLock::new();
    let probe = PROBE.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("lossyfs-probe-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        let mounted = Disk::new().mount(&dir).and_then(Mounted::unmount);
        std::fs::remove_dir(&dir).and(mounted)
    });
    match probe {
        Ok(()) => true,
        Err(error) if std::env::var("CI").is_ok_and(|ci| ci == "true") => {
            panic!("/dev/fuse is there but cannot be mounted: {error}")
        }
        Err(error) => {
            eprintln!(
                "SKIPPED: cannot mount ({error}), power cuts and full disks are not tested here"
            );
            false
        }
    }
}
