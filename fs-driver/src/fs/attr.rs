//! Attributes: what `stat` tells, how it is changed, extended attributes.

use std::fs;
use std::os::unix::fs::MetadataExt;

use cairn_protocol::object::ObjectId;
use rustix::io::Errno;

use super::names::MODE_MASK;
use super::state::State;
use super::{DotGit, Fs, Need, Res, later_than};
use crate::limits::{NAME_BYTES_MAX, SIZES_PER_REQUEST_MAX, XATTR_BYTES_MAX};
use crate::overlay::{DOTGIT, Facts, Ino, Inode, Kind, ROOT, Slot, Stamp};
use crate::tree::EntryKind;

/// The names of the extended attributes that there are.
pub const XATTR_PREFIX: &[u8] = b"user.";

/// What kind of thing an inode is to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A block device of this number.
    Block(u32),
    /// A character device of this number.
    Char(u32),
}

impl From<EntryKind> for FileKind {
    fn from(kind: EntryKind) -> Self {
        match kind {
            EntryKind::File | EntryKind::Exec => Self::File,
            EntryKind::Link => Self::Link,
            EntryKind::Dir | EntryKind::Gitlink => Self::Dir,
        }
    }
}

impl From<&Kind> for FileKind {
    fn from(kind: &Kind) -> Self {
        match kind {
            Kind::Base(_) | Kind::Upper => Self::File,
            Kind::BaseLink(_) | Kind::Link(_) => Self::Link,
            Kind::Dir(_) => Self::Dir,
            Kind::Fifo => Self::Fifo,
            Kind::Socket => Self::Socket,
            Kind::Block(device) => Self::Block(*device),
            Kind::Char(device) => Self::Char(*device),
        }
    }
}

/// What `stat` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attr {
    /// The inode's number.
    pub ino: Ino,
    /// What it is.
    pub kind: FileKind,
    /// Bytes.
    pub size: u64,
    /// Units of 512 bytes that it takes.
    pub blocks: u64,
    /// Permission bits.
    pub mode: u32,
    /// Names it has; a directory has one in each directory in it, too, and one in itself.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last read, as far as it was set.
    pub atime: Stamp,
    /// Last change of the content.
    pub mtime: Stamp,
    /// Last change of the inode.
    pub ctime: Stamp,
}

/// What `setattr` changes; sizes are changed by [`Fs::truncate`].
#[derive(Clone, Copy, Debug, Default)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Last read; `Some(None)` means now.
    pub atime: Option<Option<Stamp>>,
    /// Last change; `Some(None)` means now.
    pub mtime: Option<Option<Stamp>>,
}

/// What a directory says its size is.
const DIR_BYTES: u64 = 4096;

/// How many names a directory has: 2 and one in each directory in it. 1 where they cannot be counted, which says just that
/// to those who go by it.
fn dir_links(state: &State, dir: Option<&Inode>, base: Option<ObjectId>) -> u32 {
    let Ok(tree) = state.trees.get(base) else { return 1 };
    let mut folders = tree.folders();
    for (name, slot) in dir.iter().flat_map(|dir| &dir.entries) {
        let was = tree.get(name).is_some_and(|entry| entry.kind.is_dir());
        let is = match slot {
            Slot::White => false,
            Slot::Node(child) => {
                state.overlay.inodes.get(child).is_some_and(|inode| inode.facts.kind.is_dir())
            }
        };
        folders = folders.saturating_sub(u32::from(was)) + u32::from(is);
    }
    2 + folders
}

impl Fs {
    /// The attributes of an inode.
    pub fn getattr(&self, ino: Ino) -> Res<Attr> {
        self.attr(&mut self.lock(), ino)
    }

    pub(super) fn attr(&self, state: &mut State, ino: Ino) -> Res<Attr> {
        let (attr, known) = self.attr_with_any_size(state, ino)?;
        if known { Ok(attr) } else { Err(super::Fail::Need(self.sizes_around(state, ino)?)) }
    }

    /// The attributes, and whether the size in them is true.
    pub(super) fn attr_with_any_size(&self, state: &mut State, ino: Ino) -> Res<(Attr, bool)> {
        let facts = state.facts(ino)?;
        let known = match &facts.kind {
            Kind::Base(id) | Kind::BaseLink(id) => {
                self.objects.size(id).map(|size| (size, size.div_ceil(512)))
            }
            Kind::Upper if ino == DOTGIT => Some((self.dotgit_text().len() as u64, 1)),
            Kind::Upper => {
                let meta = match state.open(ino).and_then(|open| open.file.as_ref()) {
                    Some(file) => file.metadata()?,
                    None => fs::metadata(self.upper_path(ino))?,
                };
                Some((meta.len(), meta.blocks()))
            }
            Kind::Link(target) => Some((target.len() as u64, 0)),
            Kind::Dir(_) => Some((DIR_BYTES, 8)),
            Kind::Fifo | Kind::Socket | Kind::Block(_) | Kind::Char(_) => Some((0, 0)),
        };
        let (size, blocks) = known.unwrap_or_default();
        let nlink = match (state.overlay.inodes.get(&ino), &facts.kind) {
            (Some(inode), _) if inode.links.is_empty() && ino != ROOT => 0,
            (dir, Kind::Dir(base)) => dir_links(state, dir, *base),
            (Some(inode), _) => inode.links.len() as u32,
            (None, _) => 1,
        };
        let Facts { mode, uid, gid, atime, mtime, ctime, .. } = facts;
        let kind = FileKind::from(&facts.kind);
        Ok((Attr { ino, kind, size, blocks, mode, nlink, uid, gid, atime, mtime, ctime }, known.is_some()))
    }

    /// The sizes that are missing in the directory of `ino`, its own first: they are asked for together.
    fn sizes_around(&self, state: &State, ino: Ino) -> Res<Need> {
        let own = match state.facts(ino)?.kind {
            Kind::Base(id) | Kind::BaseLink(id) => id,
            _ => return Err(Errno::IO.into()),
        };
        let mut ids: Vec<ObjectId> = vec![own];
        if let Some((parent, _)) = state.place(ino) {
            let tree = state.trees.get(state.dir_base(parent)?)?;
            let blobs = tree.iter().filter(|entry| entry.kind.git_mode() & 0o170_000 != 0o040_000);
            let blobs = blobs.filter(|entry| !matches!(entry.kind, crate::tree::EntryKind::Gitlink));
            let missing =
                blobs.map(|entry| entry.id).filter(|id| *id != own && self.objects.size(id).is_none());
            ids.extend(missing.take(SIZES_PER_REQUEST_MAX - 1));
        }
        Ok(Need::Sizes(ids, state.path(ino).unwrap_or_default()))
    }

    /// Changes attributes.
    pub fn setattr(&self, ino: Ino, set: SetAttr) -> Res<Attr> {
        self.writable()?;
        let mut state = self.lock();
        if ino == DOTGIT {
            return Err(Errno::PERM.into());
        }
        let mut facts = state.facts(ino)?;
        let now = later_than(facts.ctime);
        facts.mode = set.mode.map_or(facts.mode, |mode| mode & MODE_MASK);
        facts.uid = set.uid.unwrap_or(facts.uid);
        facts.gid = set.gid.unwrap_or(facts.gid);
        facts.atime = set.atime.map_or(facts.atime, |at| at.unwrap_or(now));
        facts.mtime = set.mtime.map_or(facts.mtime, |at| at.unwrap_or(now));
        facts.ctime = now;
        state.put(ino, facts)?;
        state.record(ino);
        self.attr(&mut state, ino)
    }

    /// The value of an extended attribute.
    pub fn getxattr(&self, ino: Ino, name: &[u8]) -> Res<Vec<u8>> {
        let facts = self.facts(ino)?;
        Ok(facts.xattrs.get(name).ok_or(Errno::NODATA)?.to_vec())
    }

    /// The names of extended attributes, each ended by NUL.
    pub fn listxattr(&self, ino: Ino) -> Res<Vec<u8>> {
        let facts = self.facts(ino)?;
        Ok(facts.xattrs.keys().flat_map(|name| name.iter().copied().chain([0])).collect())
    }

    /// Sets an extended attribute of the `user` namespace; others are not supported. `create` and `replace` ask that
    /// it be new or be there.
    pub fn setxattr(&self, ino: Ino, name: &[u8], value: &[u8], create: bool, replace: bool) -> Res<()> {
        self.writable()?;
        if !name.starts_with(XATTR_PREFIX) || ino == DOTGIT {
            return Err(Errno::OPNOTSUPP.into());
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(Errno::RANGE.into());
        }
        let mut state = self.lock();
        let mut facts = state.facts(ino)?;
        match facts.xattrs.contains_key(name) {
            true if create => return Err(Errno::EXIST.into()),
            false if replace => return Err(Errno::NODATA.into()),
            _ => {}
        }
        facts.xattrs.insert(name.into(), value.into());
        let bytes: usize = facts.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > XATTR_BYTES_MAX {
            return Err(Errno::NOSPC.into());
        }
        facts.ctime = later_than(facts.ctime);
        state.put(ino, facts)
    }

    /// Removes an extended attribute.
    pub fn removexattr(&self, ino: Ino, name: &[u8]) -> Res<()> {
        self.writable()?;
        let mut state = self.lock();
        let mut facts = state.facts(ino)?;
        facts.xattrs.remove(name).ok_or(Errno::NODATA)?;
        facts.ctime = later_than(facts.ctime);
        state.put(ino, facts)
    }

    pub(super) fn dotgit_text(&self) -> Vec<u8> {
        match &self.options.dotgit {
            DotGit::Symlink(to) => to.as_os_str().as_encoded_bytes().to_vec(),
            DotGit::File(to) => [b"gitdir: ", to.as_os_str().as_encoded_bytes(), b"\n"].concat(),
        }
    }
}
