//! Listings: of a directory, of the base, and what git's index wants to know of a path.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};

use cairn_protocol::object::ObjectId;
use rustix::io::Errno;

use super::data::Handle;
use super::state::State;
use super::{Attr, DotGit, Fail, FileKind, Fs, Res};
use crate::overlay::{DOTGIT, Ino, Kind, Name, ROOT, Slot, Stamp};
use crate::tree::{EntryKind, Tree};

/// Told a path, git's mode and an object; may break off.
pub type WhilePath<'a> = dyn FnMut(&[u8], u32, ObjectId) -> ControlFlow<()> + 'a;

/// One name of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub name: Name,
    /// Its inode.
    pub ino: Ino,
    /// What it is.
    pub kind: FileKind,
}

/// What git's index holds of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InodeFacts {
    /// The inode's number.
    pub ino: Ino,
    /// Last change of the content.
    pub mtime: Stamp,
    /// Last change of the inode.
    pub ctime: Stamp,
    /// Bytes, where they are known.
    pub size: Option<u64>,
    /// Permission bits and the bits of the kind, as `stat` gives them.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Fs {
    /// Opens a directory.
    pub fn open_dir(&self, ino: Ino) -> Res<u64> {
        let mut state = self.lock();
        state.dir_base(ino)?;
        state.open_mut(ino).handles += 1;
        let id = state.next_handle();
        state.handles.insert(id, Arc::new(Handle::new(ino, false)));
        Ok(id)
    }

    /// The names of an open directory, without `.` and `..`. They stay as they were until a read from the start asks
    /// for them `anew`.
    pub fn list_open(&self, handle: u64, anew: bool) -> Res<Arc<Vec<Listed>>> {
        let handle = self.lock().handle(handle)?;
        let mut listing = handle.listing.lock().unwrap_or_else(PoisonError::into_inner);
        match &*listing {
            Some(known) if !anew => Ok(Arc::clone(known)),
            _ => Ok(Arc::clone(listing.insert(Arc::new(self.list(handle.ino)?)))),
        }
    }

    /// The names of a directory, without `.` and `..`.
    pub fn list(&self, ino: Ino) -> Res<Vec<Listed>> {
        let state = self.lock();
        let tree = state.trees.get(state.dir_base(ino)?)?;
        let dir = state.overlay.inodes.get(&ino);
        let slot = |name: &[u8]| dir.and_then(|dir| dir.entries.get(name));
        let mut all = Vec::with_capacity(tree.len() + 1);
        if ino == ROOT {
            let kind = match self.options.dotgit {
                DotGit::Symlink(_) => FileKind::Link,
                DotGit::File(_) => FileKind::File,
            };
            all.push(Listed { name: (*b".git").into(), ino: DOTGIT, kind });
        }
        for entry in tree.iter().filter(|entry| slot(entry.name).is_none()) {
            let kind = match entry.kind {
                EntryKind::File | EntryKind::Exec => FileKind::File,
                EntryKind::Link => FileKind::Link,
                EntryKind::Dir | EntryKind::Gitlink => FileKind::Dir,
            };
            all.push(Listed { name: entry.name.into(), ino: state.base_ino(ino, entry.name), kind });
        }
        let none = BTreeMap::new();
        for (name, slot) in dir.map_or(&none, |dir| &dir.entries) {
            if let Slot::Node(ino) = slot {
                let kind = FileKind::from(&state.facts(*ino)?.kind);
                all.push(Listed { name: name.clone(), ino: *ino, kind });
            }
        }
        Ok(all)
    }

    /// The directory that holds `ino`; the root is its own.
    pub fn parent(&self, ino: Ino) -> Ino {
        self.lock().place(ino).map_or(ROOT, |(parent, _)| parent)
    }

    /// Calls `each` with the path, git's mode and the object of every file, link and submodule of the first tree, in
    /// the order of git's index. Directories are decoded as they are met.
    pub fn walk_base(&self, each: &mut dyn FnMut(&[u8], u32, ObjectId)) -> io::Result<()> {
        self.walk_base_while(&mut |path, mode, id| {
            each(path, mode, id);
            ControlFlow::Continue(())
        })
    }

    /// As [`Fs::walk_base`], until `each` breaks off: a hostile tree has more paths than anyone can visit.
    pub fn walk_base_while(&self, each: &mut WhilePath<'_>) -> io::Result<()> {
        let (root, trees) = {
            let state = self.lock();
            (state.journal.meta().root, Arc::clone(&state.trees))
        };
        // Each level: its tree, the next entry, and how long the path to it is.
        let mut levels: Vec<(Arc<Tree>, usize, usize)> = vec![(trees.get(Some(root))?, 0, 0)];
        let mut path = Vec::new();
        while let Some((tree, at, len)) = levels.last_mut() {
            path.truncate(*len);
            let Some(entry) = tree.at(*at) else {
                levels.pop();
                continue;
            };
            *at += 1;
            path.extend_from_slice(entry.name);
            if entry.kind == EntryKind::Dir {
                path.push(b'/');
                let below = trees.get(Some(entry.id))?;
                levels.push((below, 0, path.len()));
            } else if each(&path, entry.kind.git_mode(), entry.id).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// What the index holds of a path. Asks nobody for a size and remembers nothing.
    pub fn inode_facts(&self, path: &[u8]) -> io::Result<InodeFacts> {
        let mut state = self.lock();
        let (ino, facts) = match self.resolve(&state, path) {
            Ok(found) => found,
            Err(Fail::Io(error)) => return Err(error),
            Err(Fail::Need(_)) => return Err(Errno::IO.into()),
        };
        let (size, kind_bits) = match &facts.kind {
            Kind::Base(id) => (self.objects.size(id), 0o100_000),
            Kind::BaseLink(id) => (self.objects.size(id), 0o120_000),
            Kind::Upper => match self.attr(&mut state, ino) {
                Ok(Attr { size, .. }) => (Some(size), 0o100_000),
                Err(_) => (None, 0o100_000),
            },
            Kind::Link(target) => (Some(target.len() as u64), 0o120_000),
            Kind::Dir(_) => (Some(0), 0o040_000),
            Kind::Fifo => (Some(0), 0o010_000),
            Kind::Socket => (Some(0), 0o140_000),
            Kind::Block(_) => (Some(0), 0o060_000),
            Kind::Char(_) => (Some(0), 0o020_000),
        };
        Ok(InodeFacts {
            ino,
            mtime: facts.mtime,
            ctime: facts.ctime,
            size,
            mode: facts.mode | kind_bits,
            uid: facts.uid,
            gid: facts.gid,
        })
    }

    fn resolve(&self, state: &State, path: &[u8]) -> Res<(Ino, crate::overlay::Facts)> {
        let (mut ino, mut facts) = (ROOT, state.facts(ROOT)?);
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let Kind::Dir(base) = facts.kind else { return Err(Errno::NOTDIR.into()) };
            let slot = state.overlay.inodes.get(&ino).and_then(|dir| dir.entries.get(name));
            (ino, facts) = match slot {
                Some(Slot::White) => return Err(Errno::NOENT.into()),
                Some(Slot::Node(child)) => (*child, state.facts(*child)?),
                None => {
                    let tree = state.trees.get(base)?;
                    let entry = tree.get(name).ok_or(Errno::NOENT)?;
                    (state.base_ino(ino, name), state.base_facts(entry.kind, entry.id))
                }
            };
        }
        Ok((ino, facts))
    }
}
