//! The disk: inodes as they are and as they would be found after a power cut.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

use fuser::Errno;

use crate::Loss;

pub(crate) const ROOT: u64 = 1;
const BLOCK: usize = 4096;

type Names = BTreeMap<OsString, u64>;

pub(crate) struct State {
    pub(crate) inodes: HashMap<u64, Inode>,
    pub(crate) capacity: u64,
    next: u64,
}

pub(crate) struct Inode {
    pub(crate) node: Node,
    pub(crate) mode: u16,
    pub(crate) modified: SystemTime,
}

pub(crate) enum Node {
    Dir { names: Names, flushed: Names },
    File(File),
}

#[derive(Default)]
pub(crate) struct File {
    pub(crate) bytes: Vec<u8>,
    flushed: Vec<u8>,
    /// Blocks in which the two may differ.
    dirty: BTreeSet<usize>,
}

impl State {
    pub(crate) fn new(capacity: u64) -> Self {
        let mut state = Self {
            inodes: HashMap::new(),
            capacity,
            next: ROOT,
        };
        state.add(
            Node::Dir {
                names: Names::new(),
                flushed: Names::new(),
            },
            0o755,
        );
        state
    }

    fn add(&mut self, node: Node, mode: u16) -> u64 {
        let ino = self.next;
        self.next += 1;
        self.inodes.insert(
            ino,
            Inode {
                node,
                mode,
                modified: SystemTime::now(),
            },
        );
        ino
    }

    pub(crate) fn inode(&mut self, ino: u64) -> Result<&mut Inode, Errno> {
        self.inodes.get_mut(&ino).ok_or(Errno::ENOENT)
    }

    pub(crate) fn file(&mut self, ino: u64) -> Result<&mut File, Errno> {
        match &mut self.inode(ino)?.node {
            Node::File(file) => Ok(file),
            Node::Dir { .. } => Err(Errno::EISDIR),
        }
    }

    pub(crate) fn names(&mut self, ino: u64) -> Result<&mut Names, Errno> {
        match &mut self.inode(ino)?.node {
            Node::Dir { names, .. } => Ok(names),
            Node::File(_) => Err(Errno::ENOTDIR),
        }
    }

    pub(crate) fn lookup(&mut self, dir: u64, name: &OsStr) -> Result<u64, Errno> {
        self.names(dir)?.get(name).copied().ok_or(Errno::ENOENT)
    }

    pub(crate) fn make(
        &mut self,
        dir: u64,
        name: &OsStr,
        node: Node,
        mode: u16,
    ) -> Result<u64, Errno> {
        if self.names(dir)?.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let ino = self.add(node, mode);
        self.names(dir)?.insert(name.into(), ino);
        Ok(ino)
    }

    pub(crate) fn remove(&mut self, dir: u64, name: &OsStr) -> Result<(), Errno> {
        let ino = self.lookup(dir, name)?;
        if let Node::Dir { names, .. } = &self.inode(ino)?.node
            && !names.is_empty()
        {
            return Err(Errno::ENOTEMPTY);
        }
        self.names(dir)?.remove(name);
        Ok(())
    }

    pub(crate) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Result<(), Errno> {
        let ino = self.lookup(from.0, from.1)?;
        self.names(from.0)?.remove(from.1);
        self.names(to.0)?.insert(to.1.into(), ino);
        Ok(())
    }

    pub(crate) fn write(&mut self, ino: u64, offset: usize, data: &[u8]) -> Result<(), Errno> {
        let (len, end) = (self.file(ino)?.bytes.len(), offset + data.len());
        let grown = end.saturating_sub(len) as u64;
        if grown > 0 && self.capacity < u64::MAX && self.used() + grown > self.capacity {
            return Err(Errno::ENOSPC);
        }
        let inode = self.inode(ino)?;
        inode.modified = SystemTime::now();
        let Node::File(file) = &mut inode.node else {
            return Err(Errno::EISDIR);
        };
        if grown > 0 {
            file.resize(end);
        }
        file.bytes[offset..end].copy_from_slice(data);
        file.soil(offset, end);
        Ok(())
    }

    pub(crate) fn fsync(&mut self, ino: u64) -> Result<(), Errno> {
        match &mut self.inode(ino)?.node {
            Node::Dir { names, flushed } => flushed.clone_from(names),
            Node::File(file) => file.fsync(),
        }
        Ok(())
    }

    pub(crate) fn used(&self) -> u64 {
        let named: BTreeSet<u64> = self.inodes.values().flat_map(Inode::children).collect();
        named
            .iter()
            .filter_map(|ino| self.inodes.get(ino))
            .map(Inode::len)
            .sum()
    }

    pub(crate) fn cut(&mut self, loss: Loss) {
        let mut coin = Coin(loss);
        let mut inos: Vec<u64> = self.inodes.keys().copied().collect();
        // The coin falls in the same order each time.
        inos.sort_unstable();
        for ino in &inos {
            match self.inodes.get_mut(ino).map(|inode| &mut inode.node) {
                Some(Node::Dir { names, flushed }) => cut_names(names, flushed, &mut coin),
                Some(Node::File(file)) => file.cut(&mut coin),
                None => {}
            }
        }
        // What no directory names any more is gone.
        let mut reached = BTreeSet::new();
        let mut next = vec![ROOT];
        while let Some(ino) = next.pop() {
            if reached.insert(ino) {
                next.extend(
                    self.inodes
                        .get(&ino)
                        .map(Inode::children)
                        .unwrap_or_default(),
                );
            }
        }
        self.inodes.retain(|ino, _| reached.contains(ino));
    }
}

impl Inode {
    pub(crate) fn len(&self) -> u64 {
        match &self.node {
            Node::File(file) => file.bytes.len() as u64,
            Node::Dir { .. } => 0,
        }
    }

    fn children(&self) -> Vec<u64> {
        match &self.node {
            Node::Dir { names, .. } => names.values().copied().collect(),
            Node::File(_) => Vec::new(),
        }
    }
}

impl File {
    pub(crate) fn resize(&mut self, len: usize) {
        let (low, high) = (len.min(self.bytes.len()), len.max(self.bytes.len()));
        self.bytes.resize(len, 0);
        self.soil(low, high);
    }

    fn soil(&mut self, from: usize, to: usize) {
        self.dirty.extend(from / BLOCK..to.div_ceil(BLOCK));
    }

    fn fsync(&mut self) {
        self.flushed.resize(self.bytes.len(), 0);
        for block in std::mem::take(&mut self.dirty) {
            copy(&self.bytes, &mut self.flushed, block);
        }
    }

    fn cut(&mut self, coin: &mut Coin) {
        if !self.dirty.is_empty() && coin.survives() {
            self.flushed.resize(self.bytes.len(), 0);
        }
        for block in std::mem::take(&mut self.dirty) {
            if coin.survives() {
                copy(&self.bytes, &mut self.flushed, block);
            }
        }
        self.bytes.clone_from(&self.flushed);
    }
}

/// Copies as much of a block as both have.
fn copy(from: &[u8], to: &mut [u8], block: usize) {
    let end = ((block + 1) * BLOCK).min(from.len()).min(to.len());
    let start = (block * BLOCK).min(end);
    to[start..end].copy_from_slice(&from[start..end]);
}

fn cut_names(names: &mut Names, flushed: &mut Names, coin: &mut Coin) {
    let changed: BTreeSet<OsString> = names.keys().chain(flushed.keys()).cloned().collect();
    for name in changed {
        if names.get(&name) != flushed.get(&name) && coin.survives() {
            match names.get(&name) {
                Some(ino) => flushed.insert(name, *ino),
                None => flushed.remove(&name),
            };
        }
    }
    names.clone_from(flushed);
}

/// Decides what survives.
struct Coin(Loss);

impl Coin {
    fn survives(&mut self) -> bool {
        match &mut self.0 {
            Loss::Everything => false,
            Loss::Random(state) => {
                // splitmix64
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = *state;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                (z ^ (z >> 31)) & 1 == 1
            }
        }
    }
}
