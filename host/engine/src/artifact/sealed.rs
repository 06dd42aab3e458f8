//! The trailer that makes a file of native code one of ours.
//!
//! ```text
//! artifact (ELF, from byte 0 so that it can be mapped as it is)
//! magic    8 bytes   format and its version
//! key      32 bytes  what the artifact was compiled from and for
//! length   8 bytes   of the artifact, little-endian
//! mac      32 bytes  BLAKE3, keyed with the installation's key, over magic, key, length, artifact
//! ```
//!
//! A trailer and not a header: wasmtime maps a file from its start, and code must lie on page boundaries.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::Unusable;
use super::key::{Key, MacKey};

const MAGIC: &[u8; 8] = b"LYDART01";
/// Magic, key and length: what the MAC covers beside the artifact.
const SIGNED_BYTES: usize = 48;
const TRAILER_BYTES: usize = SIGNED_BYTES + 32;

/// Begins what a note's MAC covers, and nothing that a trailer's does.
const NOTE_MAGIC: &[u8; 8] = b"LYDNOTE1";
pub(super) const NOTE_BYTES: usize = 32;

/// Fits into the L2 cache, so that the bytes are still there when they are hashed.
const READ_BYTES: usize = 256 << 10;

/// The trailer of an artifact.
pub(super) fn trailer(key: &Key, artifact: &[u8], mac_key: &MacKey) -> [u8; TRAILER_BYTES] {
    let signed = signed(key, artifact.len() as u64);
    let mut mac = mac_key.hasher();
    mac.update(&signed).update(artifact);
    let mut trailer = [0; TRAILER_BYTES];
    trailer[..SIGNED_BYTES].copy_from_slice(&signed);
    trailer[SIGNED_BYTES..].copy_from_slice(mac.finalize().as_bytes());
    trailer
}

/// Checks that a file of `size` bytes is the artifact that this installation wrote under `key`.
pub(super) fn check(file: &File, size: u64, key: &Key, mac_key: &MacKey) -> Result<(), Unusable> {
    let length = size
        .checked_sub(TRAILER_BYTES as u64)
        .ok_or_else(|| wrong("it is cut off"))?;
    let mut trailer = [0; TRAILER_BYTES];
    read_at(file, &mut trailer, length)?;
    let (found, found_mac) = trailer.split_at(SIGNED_BYTES);
    let expected = signed(key, length);
    if found != expected {
        return Err(wrong("it is cut off, or was compiled for something else"));
    }
    let mut mac = mac_key.hasher();
    mac.update(&expected);
    hash_bytes(file, length, &mut mac)?;
    // `Hash` compares in constant time.
    if mac.finalize() == blake3::Hash::from_slice(found_mac).map_err(|_| wrong("it is cut off"))? {
        Ok(())
    } else {
        Err(wrong(
            "it is damaged, or was not written by this installation",
        ))
    }
}

/// What says that the file with this identity was checked.
pub(super) fn note(key: &Key, identity: &[u8], mac_key: &MacKey) -> blake3::Hash {
    let mut mac = mac_key.hasher();
    mac.update(NOTE_MAGIC).update(key.as_bytes());
    mac.update(identity).finalize()
}

fn signed(key: &Key, length: u64) -> [u8; SIGNED_BYTES] {
    let mut signed = [0; SIGNED_BYTES];
    signed[..8].copy_from_slice(MAGIC);
    signed[8..40].copy_from_slice(key.as_bytes());
    signed[40..].copy_from_slice(&length.to_le_bytes());
    signed
}

/// Hashes the first `length` bytes. They are read, not mapped: another process that cuts the file short meanwhile must be an
/// error and not a `SIGBUS`.
fn hash_bytes(file: &File, length: u64, mac: &mut blake3::Hasher) -> Result<(), Unusable> {
    let mut buffer = vec![0; READ_BYTES.min(usize::try_from(length).unwrap_or(READ_BYTES))];
    let mut offset = 0;
    while offset < length {
        let want = buffer
            .len()
            .min(usize::try_from(length - offset).unwrap_or(buffer.len()));
        read_at(file, &mut buffer[..want], offset)?;
        mac.update(&buffer[..want]);
        offset += want as u64;
    }
    Ok(())
}

/// A file that ends too early was cut off since its size was read.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> Result<(), Unusable> {
    match file.read_exact_at(buffer, offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(wrong("it is cut off")),
        read => Ok(read?),
    }
}

fn wrong(reason: &'static str) -> Unusable {
    Unusable::Wrong(reason)
}
