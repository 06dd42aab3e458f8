//! The disk itself: what it keeps and what it loses. If this is wrong, no power-cut test means anything.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends this way"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use lossyfs::{Disk, Loss};
use tempfile::TempDir;

/// Does `work` on the mounted disk.
fn on(disk: &Disk, work: impl FnOnce(&Path) -> io::Result<()>) {
    let at = TempDir::new().unwrap();
    let mounted = disk.mount(at.path()).unwrap();
    work(at.path()).unwrap();
    mounted.unmount().unwrap();
}

fn write(path: &Path, bytes: &[u8], flush: bool) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    if flush { file.sync_all() } else { Ok(()) }
}

fn flush(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

macro_rules! needs_a_disk {
    () => {
        if !lossyfs::available() {
            return;
        }
    };
}

#[test]
fn without_a_cut_nothing_is_lost() {
    needs_a_disk!();
    let disk = Disk::new();
    on(&disk, |dir| {
        fs::create_dir(dir.join("d"))?;
        write(&dir.join("d/a"), b"bytes", false)
    });
    on(&disk, |dir| {
        assert_eq!(fs::read(dir.join("d/a"))?, b"bytes");
        assert_eq!(fs::read_dir(dir)?.count(), 1);
        Ok(())
    });
}

#[test]
fn a_cut_takes_bytes_and_names_that_were_not_flushed() {
    needs_a_disk!();
    let disk = Disk::new();
    on(&disk, |dir| {
        write(&dir.join("kept"), b"flushed", true)?;
        write(&dir.join("empty"), b"not flushed", false)?;
        flush(dir)?;
        write(&dir.join("gone"), b"flushed, its name not", true)?;
        let mut file = OpenOptions::new().append(true).open(dir.join("kept"))?;
        file.write_all(b" and more")
    });
    disk.cut(Loss::Everything);
    on(&disk, |dir| {
        assert_eq!(fs::read(dir.join("kept"))?, b"flushed");
        assert_eq!(fs::read(dir.join("empty"))?, b"");
        assert!(!dir.join("gone").exists());
        Ok(())
    });
}

#[test]
fn a_rename_counts_when_its_directory_is_flushed() {
    needs_a_disk!();
    let disk = Disk::new();
    on(&disk, |dir| {
        for name in ["a", "b"] {
            write(&dir.join(name), name.as_bytes(), true)?;
        }
        flush(dir)?;
        fs::rename(dir.join("a"), dir.join("a2"))?;
        flush(dir)?;
        fs::rename(dir.join("b"), dir.join("b2"))
    });
    disk.cut(Loss::Everything);
    on(&disk, |dir| {
        let mut names: Vec<_> = fs::read_dir(dir)?
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["a2", "b"]);
        Ok(())
    });
}

/// Some of it survives, some does not, and the same seed says which.
#[test]
fn a_random_cut_takes_some_blocks() {
    needs_a_disk!();
    let survivors = |seed| {
        let disk = Disk::new();
        on(&disk, |dir| {
            write(&dir.join("file"), &[1; 64 * 4096], true)?;
            flush(dir)?;
            let mut file = OpenOptions::new().write(true).open(dir.join("file"))?;
            file.write_all(&[2; 64 * 4096])
        });
        disk.cut(Loss::Random(seed));
        let mut blocks = Vec::new();
        on(&disk, |dir| {
            blocks = fs::read(dir.join("file"))?
                .chunks(4096)
                .map(|block| block[0] == 2)
                .collect();
            Ok(())
        });
        blocks
    };
    let blocks = survivors(7);
    assert!(blocks.contains(&true) && blocks.contains(&false));
    assert_eq!(blocks, survivors(7));
    assert_ne!(blocks, survivors(8));
}

#[test]
fn a_full_disk_refuses_and_keeps_what_it_has() {
    needs_a_disk!();
    let disk = Disk::with_capacity(10_000);
    on(&disk, |dir| {
        write(&dir.join("a"), &[1; 8_000], true)?;
        let full = write(&dir.join("b"), &[2; 8_000], true).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(dir.join("a"))?, [1; 8_000]);
        fs::remove_file(dir.join("a"))?;
        write(&dir.join("b"), &[2; 8_000], true)
    });
    assert_eq!(disk.used(), 8_000);
}
