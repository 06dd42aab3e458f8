//! What an artifact is filed under, and the secret that tells this installation's artifacts from all others.

use std::fmt;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use lydian_value::Digest;

use super::Error;

/// Separates this use of BLAKE3 from every other; changed when the file format changes.
const KEY_CONTEXT: &str = "lydian 2026-11 artifact key";
const MAC_CONTEXT: &str = "lydian 2026-11 artifact mac";
const KEY_FILE: &str = "mac-key";
const KEY_BYTES: usize = 32;

/// Everything about an engine that its native code depends on: wasmtime's version, code generation, CPU features.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Configuration([u8; 32]);

impl Configuration {
    pub(crate) fn of(engine: &wasmtime::Engine) -> Self {
        let mut hasher = Transcript(blake3::Hasher::new_derive_key(KEY_CONTEXT));
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self(*hasher.0.finalize().as_bytes())
    }

    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Hashes what wasmtime feeds to a `Hasher` with 256 bits instead of 64: a collision would map wrong native code.
struct Transcript(blake3::Hasher);

impl Hasher for Transcript {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.finalize();
        digest
            .as_bytes()
            .iter()
            .take(8)
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}

/// One component under one configuration.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 32]);

impl Key {
    pub(crate) fn new(component: &Digest, configuration: &Configuration) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(KEY_CONTEXT);
        hasher.update(component.as_bytes());
        hasher.update(&configuration.0);
        Self(*hasher.finalize().as_bytes())
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The installation's secret, never printed.
pub(crate) struct MacKey([u8; KEY_BYTES]);

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey")
    }
}

impl MacKey {
    /// Reads the key from `directory`, making one where there is none.
    ///
    /// A key that others could read or that has the wrong length is replaced: who knows it can write artifacts that would be
    /// run. The price is that everything compiles again.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(KEY_FILE);
        for _ in 0..2 {
            match Self::read(&path) {
                Ok(Ok(key)) => return Ok(key),
                Ok(Err(flaw)) => {
                    tracing::warn!(path = %path.display(), "replaced the key of compiled components: it {flaw}");
                    fs::remove_file(&path).map_err(|error| Error::io("replace", &path, error))?;
                    Self::create(directory, &path)?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Self::create(directory, &path)?
                }
                Err(error) => return Err(Error::io("read", &path, error)),
            }
        }
        // Read again rather than used as made: of two processes that start at once, the first one's key stands.
        match Self::read(&path) {
            Ok(Ok(key)) => Ok(key),
            Ok(Err(flaw)) => Err(Error::io("use", &path, io::Error::other(flaw))),
            Err(error) => Err(Error::io("read", &path, error)),
        }
    }

    /// The inner error says what is wrong with the key itself.
    fn read(path: &Path) -> io::Result<Result<Self, &'static str>> {
        let mut file = File::options()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            return Ok(Err("could be read by other users"));
        }
        let mut secret = [0; KEY_BYTES];
        // An error of the disk says nothing about the key, without which every artifact would be
        // lost.
        let whole = match file.read_exact(&mut secret) {
            Ok(()) => file.read(&mut [0])? == 0,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
            Err(error) => return Err(error),
        };
        Ok(if whole {
            Ok(Self::derive(&secret))
        } else {
            Err("has the wrong length")
        })
    }

    /// Makes a key that is there whole or not at all, and never over another one: a hard link fails where a rename replaces.
    fn create(directory: &Path, path: &Path) -> Result<(), Error> {
        let mut secret = [0; KEY_BYTES];
        getrandom::fill(&mut secret).map_err(|error| Error::Random(error.to_string()))?;
        let temporary = super::temporary(directory, KEY_FILE);
        let made = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(&secret).and_then(|()| file.sync_all()))
            .and_then(|()| match fs::hard_link(&temporary, path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                linked => linked,
            });
        let _ = fs::remove_file(&temporary);
        made.map_err(|error| Error::write(directory, error))
    }

    /// The key of the MAC is derived, so that the installation's secret can serve other ends without harm.
    fn derive(secret: &[u8; KEY_BYTES]) -> Self {
        Self(blake3::derive_key(MAC_CONTEXT, secret))
    }

    pub(super) fn hasher(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(&self.0)
    }
}
