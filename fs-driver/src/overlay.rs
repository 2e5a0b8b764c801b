//! Local changes: the inodes that differ from the base and the directories that lead to them.
//!
//! Every change is a list of [`Op`]s. The same [`Overlay::apply`] serves a change as it happens and its replay from the
//! journal, so that a remount finds what was seen before.

mod codec;
pub mod journal;

use std::collections::{BTreeMap, HashMap};

use cairn_protocol::object::ObjectId;

/// The number of an inode.
pub type Ino = u64;
/// A name in a directory.
pub type Name = Box<[u8]>;

/// The root directory.
pub const ROOT: Ino = 1;
/// The entry `.git` of the root.
pub const DOTGIT: Ino = 2;
/// Numbers of inodes that no base path has begin here.
pub const LOCAL_FIRST: Ino = 1 << 63;

/// A time in whole seconds since 1970 and nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Seconds since 1970; may be negative.
    pub secs: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

/// What an inode is and where its content lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file whose content is a blob.
    Base(ObjectId),
    /// A file whose content lies in the state directory.
    Upper,
    /// A symbolic link whose target is a blob.
    BaseLink(ObjectId),
    /// A symbolic link made here.
    Link(Name),
    /// A directory over a base tree, or over none.
    Dir(Option<ObjectId>),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A block device of this number. The mount is `nodev`: it is a name, and cannot be opened.
    Block(u32),
    /// The same for a character device.
    Char(u32),
}

impl Kind {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self, Self::Dir(_))
    }
}

/// What an inode's record says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What it is.
    pub kind: Kind,
    /// Permission bits and the sticky bit.
    pub mode: u32,
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
    /// Extended attributes.
    pub xattrs: BTreeMap<Name, Name>,
}

/// What an overlay says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The base's entry is gone.
    White,
    /// This inode stands there.
    Node(Ino),
}

/// An inode that has a record.
#[derive(Clone, Debug)]
pub struct Inode {
    /// Its record.
    pub facts: Facts,
    /// Where it stands; none once it is removed.
    pub links: Vec<(Ino, Name)>,
    /// A directory's names that differ from its base tree.
    pub entries: BTreeMap<Name, Slot>,
    /// Written since its record: its time of change is that of the file in the state directory.
    pub dirty: bool,
}

/// One step of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// An inode's record, new or changed.
    Put(Ino, Facts),
    /// A name now means this inode; what it meant before loses the name. `at` is set where a user did it.
    Link { parent: Ino, name: Name, ino: Ino, at: Option<Stamp> },
    /// A name is gone; `white` where the base has it.
    Unlink { parent: Ino, name: Name, white: bool, at: Option<Stamp> },
    /// The file in the state directory is about to be written.
    Dirty(Ino),
    /// What holds for all: in front of a checkpoint and of a journal.
    Meta(Meta),
    /// The end of a checkpoint.
    End,
}

/// What holds for a whole state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Counts checkpoints; the journal of the same number follows.
    pub generation: u64,
    /// The tree that was mounted first: the working tree never follows another.
    pub root: ObjectId,
    /// The key of inode numbers.
    pub key: [u64; 2],
    /// The time of all that was never changed.
    pub commit_time: Stamp,
}

/// All inodes with a record.
#[derive(Default)]
pub struct Overlay {
    /// By number.
    pub inodes: HashMap<Ino, Inode>,
}

impl Overlay {
    /// Makes one step. `false` where it names a directory that is not there: only a broken journal does.
    pub fn apply(&mut self, op: &Op) -> bool {
        match op {
            Op::Put(ino, facts) => self.put(*ino, facts),
            Op::Link { parent, name, ino, at } => return self.link(*parent, name, *ino, *at),
            Op::Unlink { parent, name, white, at } => return self.unlink(*parent, name, *white, *at),
            Op::Dirty(ino) => match self.inodes.get_mut(ino) {
                Some(inode) => inode.dirty = true,
                None => return false,
            },
            Op::Meta(_) | Op::End => {}
        }
        true
    }

    fn put(&mut self, ino: Ino, facts: &Facts) {
        match self.inodes.get_mut(&ino) {
            Some(inode) => {
                inode.facts = facts.clone();
                inode.dirty = false;
            }
            None => {
                let inode =
                    Inode { facts: facts.clone(), links: Vec::new(), entries: BTreeMap::new(), dirty: false };
                self.inodes.insert(ino, inode);
            }
        }
    }

    fn link(&mut self, parent: Ino, name: &Name, ino: Ino, at: Option<Stamp>) -> bool {
        if !self.inodes.contains_key(&ino) {
            return false;
        }
        let Some(dir) = self.inodes.get_mut(&parent) else { return false };
        let before = dir.entries.insert(name.clone(), Slot::Node(ino));
        touch_dir(dir, at);
        if let Some(Slot::Node(before)) = before {
            self.drop_link(before, parent, name, at);
        }
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.links.push((parent, name.clone()));
            if let Some(at) = at {
                inode.facts.ctime = at;
            }
        }
        true
    }

    fn unlink(&mut self, parent: Ino, name: &Name, white: bool, at: Option<Stamp>) -> bool {
        let Some(dir) = self.inodes.get_mut(&parent) else { return false };
        let before =
            if white { dir.entries.insert(name.clone(), Slot::White) } else { dir.entries.remove(name) };
        touch_dir(dir, at);
        if let Some(Slot::Node(before)) = before {
            self.drop_link(before, parent, name, at);
        }
        true
    }

    fn drop_link(&mut self, ino: Ino, parent: Ino, name: &Name, at: Option<Stamp>) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            if let Some(at) = at {
                inode.facts.ctime = at;
            }
            let place = inode.links.iter().position(|(dir, known)| *dir == parent && known == name);
            if let Some(place) = place {
                inode.links.swap_remove(place);
            }
        }
    }

    /// The steps that make this overlay from nothing. Removed inodes are left out.
    pub fn ops(&self) -> impl Iterator<Item = Op> {
        let kept = || self.inodes.iter().filter(|(ino, inode)| **ino == ROOT || !inode.links.is_empty());
        let puts = kept().map(|(ino, inode)| Op::Put(*ino, inode.facts.clone()));
        let entries = kept().flat_map(|(parent, inode)| {
            inode.entries.iter().map(move |(name, slot)| {
                let (parent, name, at) = (*parent, name.clone(), None);
                match slot {
                    Slot::White => Op::Unlink { parent, name, white: true, at },
                    Slot::Node(ino) => Op::Link { parent, name, ino: *ino, at },
                }
            })
        });
        let dirty = kept().filter(|(_, inode)| inode.dirty).map(|(ino, _)| Op::Dirty(*ino));
        puts.chain(entries).chain(dirty)
    }
}

fn touch_dir(dir: &mut Inode, at: Option<Stamp>) {
    if let Some(at) = at {
        dir.facts.mtime = at;
        dir.facts.ctime = at;
    }
}
