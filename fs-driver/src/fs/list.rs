//! Listings: of a directory, of the base, and what git's index wants to know of a path.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use cairn_protocol::object::ObjectId;
use rustix::io::Errno;

use super::state::State;
use super::{Attr, DotGit, Fail, FileKind, Fs, Res};
use crate::limits::LISTINGS_KEPT_MAX;
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
    /// Where a listing goes on behind it: the same for as long as the name stands in the directory, and larger than
    /// that of all names before it. Those up to [`PLACE_RESERVED_MAX`] are left to `.` and `..`.
    pub place: u64,
}

/// The last place that no name of a listing has.
pub const PLACE_RESERVED_MAX: u64 = 2;
/// The place of `.git`; behind it are the names of the base in their order.
const PLACE_DOTGIT: u64 = PLACE_RESERVED_MAX + 1;
/// Where the places of names begin that the base does not have: 62 bits of a keyed hash of the name follow.
const PLACE_LOCAL_FIRST: u64 = 1 << 62;

/// What is left of a listing.
pub struct ListedFrom {
    all: Arc<Vec<Listed>>,
    first: usize,
}

impl std::ops::Deref for ListedFrom {
    type Target = [Listed];

    fn deref(&self) -> &[Listed] {
        &self.all[self.first..]
    }
}

/// Listings that were begun last, so that a long one is not made again for each part that is read of it.
#[derive(Default)]
pub(super) struct Listings(Mutex<VecDeque<(Ino, Arc<Vec<Listed>>)>>);

impl Listings {
    fn get(&self, ino: Ino) -> Option<Arc<Vec<Listed>>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(of, _)| *of == ino).map(|(_, all)| Arc::clone(all))
    }

    fn put(&self, ino: Ino, all: Option<&Arc<Vec<Listed>>>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(of, _)| *of != ino);
        if let Some(all) = all {
            kept.truncate(LISTINGS_KEPT_MAX - 1);
            kept.push_front((ino, Arc::clone(all)));
        }
    }
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
    /// The names of a directory from behind a place, without `.` and `..`. Nothing is kept for who reads: places stay
    /// the same, so that what others make or remove meanwhile neither hides nor doubles any other name.
    pub fn list_from(&self, ino: Ino, place: u64) -> Res<ListedFrom> {
        // Who begins sees all that was made before.
        let known = if place < PLACE_DOTGIT { None } else { self.listings.get(ino) };
        let all = match known {
            Some(all) => all,
            None => Arc::new(self.list(ino)?),
        };
        let first = all.partition_point(|listed| listed.place <= place);
        self.listings.put(ino, (first < all.len()).then_some(&all));
        Ok(ListedFrom { all, first })
    }

    /// The names of a directory, without `.` and `..`, in the order of their places.
    pub fn list(&self, ino: Ino) -> Res<Vec<Listed>> {
        let state = self.lock();
        let tree = state.trees.get(state.dir_base(ino)?)?;
        let dir = state.overlay.inodes.get(&ino);
        let mut all = Vec::with_capacity(tree.len() + 1);
        if ino == ROOT {
            let kind = match self.options.dotgit {
                DotGit::Symlink(_) => FileKind::Link,
                DotGit::File(_) => FileKind::File,
            };
            all.push(Listed { name: (*b".git").into(), ino: DOTGIT, kind, place: PLACE_DOTGIT });
        }
        for (entry, place) in tree.iter().zip(PLACE_DOTGIT + 1..) {
            let (ino, kind) = match dir.and_then(|dir| dir.entries.get(entry.name)) {
                Some(Slot::White) => continue,
                Some(Slot::Node(node)) => (*node, FileKind::from(&state.facts(*node)?.kind)),
                None => (state.base_ino(ino, entry.name), entry.kind.into()),
            };
            all.push(Listed { name: entry.name.into(), ino, kind, place });
        }
        let locals = all.len();
        for (name, slot) in dir.iter().flat_map(|dir| &dir.entries) {
            if let Slot::Node(node) = slot
                && tree.get(name).is_none()
            {
                let kind = FileKind::from(&state.facts(*node)?.kind);
                let place = PLACE_LOCAL_FIRST | (state.base_ino(ino, name) >> 1);
                all.push(Listed { name: name.clone(), ino: *node, kind, place });
            }
        }
        all[locals..].sort_unstable_by_key(|listed| listed.place);
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
