//! Which node this process is to the store.
//!
//! Jobs belong to shards, shards to the node that leases them. A node that comes back after a crash takes its
//! own leases at once if it has the same name, so the name is kept in the data directory; a lock on that
//! file tells whether another process has the directory open, for whom a second one must be another node.

use crate::node::StartError;
use crate::options::Data;
use lydian_store::NodeId;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;

const FILE: &str = "node";

pub(crate) struct Identity {
    pub(crate) node: NodeId,
    // The lock lasts as long as the file is open.
    _lock: Option<File>,
}

impl Identity {
    pub(crate) fn of(data: &Data) -> Result<Self, StartError> {
        match data {
            Data::Memory => Ok(Self {
                node: random()?,
                _lock: None,
            }),
            Data::Directory(directory) => Self::kept(&directory.join(FILE)),
        }
    }

    fn kept(path: &Path) -> Result<Self, StartError> {
        let failed = |source| StartError::Directory {
            path: path.to_owned(),
            source,
        };
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        // Whatever keeps the lock from being had, being another node is safe.
        if file.try_lock().is_err() {
            return Ok(Self {
                node: random()?,
                _lock: None,
            });
        }
        let mut name = String::new();
        file.read_to_string(&mut name).map_err(failed)?;
        let name = match name.trim() {
            "" => {
                let name = random()?;
                file.rewind()
                    .and_then(|()| writeln!(file, "{name}"))
                    .map_err(failed)?;
                name
            }
            kept => kept.to_owned().into(),
        };
        Ok(Self {
            node: name,
            _lock: Some(file),
        })
    }
}

fn random() -> Result<NodeId, StartError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| StartError::Random)?;
    Ok(format!("node-{:016x}", u64::from_le_bytes(bytes)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After a crash the leases must be had at once; two processes must never share them.
    #[test]
    fn a_directory_has_one_name_and_a_second_process_another() {
        let directory = tempfile::tempdir().unwrap();
        let data = Data::Directory(directory.path().to_owned());
        let first = Identity::of(&data).unwrap();
        let beside = Identity::of(&data).unwrap();
        assert_ne!(first.node, beside.node);
        let name = first.node.clone();
        drop(first);
        assert_eq!(Identity::of(&data).unwrap().node, name);
    }
}
