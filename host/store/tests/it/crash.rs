//! kill -9: a program that writes is killed at random moments, several times on one directory.

use tempfile::TempDir;

use crate::workload::{Acks, child, random};

/// The program itself; see [`Acks::run_and_kill`]. Does nothing when run as a test.
#[test]
fn program() {
    child();
}

/// Acknowledged means on the disk, or at least with the kernel: a process that dies loses nothing.
#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let dir = TempDir::new().unwrap();
    let mut acks = Acks::default();
    for _ in 0..6 {
        acks.run_and_kill("crash::program", dir.path(), 20 + random(600) as usize);
        acks.verify(dir.path());
    }
    println!("{} acknowledged operations, none lost", acks.count());
}
