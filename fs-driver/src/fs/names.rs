//! Names: looking up, making, removing and moving.

use std::fs::File;

use cairn_protocol::object::ObjectId;
use rustix::io::Errno;

use super::state::State;
use super::{Attr, Fs, Res, later_than};
use crate::limits::{LINK_TARGET_BYTES_MAX, NAME_BYTES_MAX};
use crate::overlay::{DOTGIT, Facts, Ino, Kind, Op, Slot, Stamp};

/// How `Fs::rename` treats a target that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rename {
    /// It is replaced.
    Replace,
    /// It is an error (`RENAME_NOREPLACE`).
    NoReplace,
    /// The two change places (`RENAME_EXCHANGE`).
    Exchange,
}

/// What to make.
#[derive(Clone, Debug)]
pub enum New<'a> {
    /// An empty file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link(&'a [u8]),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A block device of a number.
    Block(u32),
    /// A character device of a number.
    Char(u32),
}

/// Permission bits that an inode may have: never set-user-id or set-group-id.
pub(super) const MODE_MASK: u32 = 0o1777;

impl Fs {
    /// The inode that a name means, counted as referred to until [`Fs::forget`].
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> Res<Attr> {
        let mut state = self.lock();
        let ino = state.child(parent, name)?;
        let attr = self.attr(&mut state, ino);
        match &attr {
            Ok(_) => state.refer(ino),
            Err(_) => state.evict(ino),
        }
        attr
    }

    /// As `lookup`, for a listing: the second value tells whether the size is known.
    pub fn lookup_listed(&self, parent: Ino, name: &[u8]) -> Res<(Attr, bool)> {
        let mut state = self.lock();
        let ino = state.child(parent, name)?;
        let attr = self.attr_with_any_size(&mut state, ino)?;
        state.refer(ino);
        Ok(attr)
    }

    /// Takes back `count` references.
    pub fn forget(&self, ino: Ino, count: u64) {
        let mut state = self.lock();
        if let Some(live) = state.live.get_mut(&ino) {
            live.unrefer(count);
        }
        state.evict(ino);
        self.reap(state);
    }

    /// Makes something new; it is an error if the name is taken.
    pub fn make(&self, parent: Ino, name: &[u8], new: New<'_>, mode: u32, owner: (u32, u32)) -> Res<Attr> {
        self.writable()?;
        let mut state = self.lock();
        let at = free_name(&mut state, parent, name)?;
        let kind = match new {
            New::File => Kind::Upper,
            New::Dir => Kind::Dir(None),
            New::Link(to) if to.len() > LINK_TARGET_BYTES_MAX => return Err(Errno::NAMETOOLONG.into()),
            New::Link(to) => Kind::Link(to.into()),
            New::Fifo => Kind::Fifo,
            New::Socket => Kind::Socket,
            New::Block(device) => Kind::Block(device),
            New::Char(device) => Kind::Char(device),
        };
        let mode = if matches!(kind, Kind::Link(_)) { 0o777 } else { mode & MODE_MASK };
        let ino = state.next_ino();
        if kind == Kind::Upper {
            File::create_new(self.upper_path(ino))?;
        }
        let (uid, gid) = owner;
        let facts =
            Facts { kind, mode, uid, gid, atime: at, mtime: at, ctime: at, xattrs: Default::default() };
        let mut ops = Vec::new();
        state.make_explicit(parent, &mut ops)?;
        ops.push(Op::Put(ino, facts));
        ops.push(Op::Link { parent, name: name.into(), ino, at: Some(at) });
        if let Err(error) = state.commit(&ops) {
            // Nothing names it; where it stays, the next mount sweeps it.
            let _ = std::fs::remove_file(self.upper_path(ino));
            return Err(error);
        }
        state.record_name(parent, name, false);
        state.refer(ino);
        self.attr(&mut state, ino)
    }

    /// Gives an inode one more name.
    pub fn link(&self, ino: Ino, parent: Ino, name: &[u8]) -> Res<Attr> {
        self.writable()?;
        let mut state = self.lock();
        let nameless = state.overlay.inodes.get(&ino).is_some_and(|inode| inode.links.is_empty());
        if ino == DOTGIT || state.facts(ino)?.kind.is_dir() {
            return Err(Errno::PERM.into());
        }
        if nameless {
            return Err(Errno::NOENT.into());
        }
        let at = free_name(&mut state, parent, name)?.max(later_than(state.facts(ino)?.ctime));
        // The size must be known before anything is changed: the whole call is tried again.
        self.attr(&mut state, ino)?;
        let mut ops = Vec::new();
        state.make_explicit(ino, &mut ops)?;
        state.make_explicit(parent, &mut ops)?;
        ops.push(Op::Link { parent, name: name.into(), ino, at: Some(at) });
        state.commit(&ops)?;
        state.record_name(parent, name, false);
        state.refer(ino);
        self.attr(&mut state, ino)
    }

    /// Removes a name of something that is no directory. Gives the inode where it has other names.
    pub fn unlink(&self, parent: Ino, name: &[u8]) -> Res<Option<Ino>> {
        self.remove(parent, name, false)
    }

    /// Removes an empty directory.
    pub fn rmdir(&self, parent: Ino, name: &[u8]) -> Res<()> {
        self.remove(parent, name, true).map(drop)
    }

    fn remove(&self, parent: Ino, name: &[u8], dir: bool) -> Res<Option<Ino>> {
        self.writable()?;
        let mut state = self.lock();
        let ino = state.child(parent, name)?;
        if ino == DOTGIT {
            return Err(Errno::PERM.into());
        }
        let facts = state.facts(ino)?;
        match (facts.kind.is_dir(), dir) {
            (true, false) => return Err(Errno::ISDIR.into()),
            (false, true) => return Err(Errno::NOTDIR.into()),
            (true, true) if !is_empty(&state, ino)? => return Err(Errno::NOTEMPTY.into()),
            _ => {}
        }
        let at = later_than(state.facts(parent)?.mtime.max(facts.ctime));
        let mut ops = Vec::new();
        // It gets a record first: whoever has it open goes on reading it, and sees that it has no name.
        state.make_explicit(ino, &mut ops)?;
        state.make_explicit(parent, &mut ops)?;
        ops.push(unlink_op(&state, parent, name, at)?);
        state.record_name(parent, name, facts.kind.is_dir());
        state.commit(&ops)?;
        state.evict(ino);
        let left = with_names(&state, ino);
        self.reap(state);
        self.tell_diverged(&facts);
        Ok(left)
    }

    /// Moves a name. A directory moves as one record: nothing below it is looked at.
    /// Gives the inode that was replaced where it has other names.
    pub fn rename(&self, from: (Ino, &[u8]), to: (Ino, &[u8]), how: Rename) -> Res<Option<Ino>> {
        self.writable()?;
        let mut state = self.lock();
        let source = state.child(from.0, from.1)?;
        let target = match state.child(to.0, to.1) {
            Ok(ino) => Some(ino),
            Err(super::Fail::Io(error)) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => None,
            Err(error) => return Err(error),
        };
        if source == DOTGIT || target == Some(DOTGIT) {
            return Err(Errno::PERM.into());
        }
        match (target, how) {
            (Some(_), Rename::NoReplace) => return Err(Errno::EXIST.into()),
            (None, Rename::Exchange) => return Err(Errno::NOENT.into()),
            // Two names of one inode: nothing is done, says POSIX.
            (Some(target), _) if target == source => return Ok(None),
            _ => {}
        }
        if is_below(&state, to.0, source) {
            return Err(Errno::INVAL.into());
        }
        if let Some(target) = target {
            check_target(&state, source, target, from.0, how)?;
        }
        let moved = state.facts(source)?;
        let replaced = target.map(|ino| state.facts(ino)).transpose()?;
        let parents = state.facts(from.0)?.mtime.max(state.facts(to.0)?.mtime);
        let ctimes = replaced.as_ref().map_or(moved.ctime, |facts| facts.ctime.max(moved.ctime));
        let at = later_than(parents.max(ctimes));
        let mut ops = Vec::new();
        for ino in [Some(source), target, Some(from.0), Some(to.0)].into_iter().flatten() {
            state.make_explicit(ino, &mut ops)?;
        }
        ops.push(Op::Link { parent: to.0, name: to.1.into(), ino: source, at: Some(at) });
        match (how, target) {
            (Rename::Exchange, Some(target)) => {
                ops.push(Op::Link { parent: from.0, name: from.1.into(), ino: target, at: Some(at) });
            }
            _ => ops.push(unlink_op(&state, from.0, from.1, at)?),
        }
        let whole = moved.kind.is_dir() || replaced.as_ref().is_some_and(|facts| facts.kind.is_dir());
        for (parent, name) in [from, to] {
            state.record_name(parent, name, whole);
        }
        state.commit(&ops)?;
        if moved.kind == Kind::Upper {
            state.publish.insert(source);
        }
        if how != Rename::Exchange {
            target.into_iter().for_each(|ino| state.evict(ino));
        }
        let left = target.and_then(|ino| with_names(&state, ino));
        self.reap(state);
        replaced.iter().chain([&moved]).for_each(|facts| self.tell_diverged(facts));
        Ok(left)
    }

    pub(super) fn tell_diverged(&self, facts: &Facts) {
        if let Kind::Base(id) | Kind::BaseLink(id) = facts.kind {
            self.objects.diverges(id);
        }
    }

    /// Gives the name of an inode that the kernel reads by itself a new inode with the same content, which can be
    /// written: who has the old one open goes on reading the old bytes.
    pub(super) fn divorce(&self, state: &mut State, ino: Ino) -> Res<()> {
        let mut ops = Vec::new();
        state.make_explicit(ino, &mut ops)?;
        let facts = state.facts(ino)?;
        let links = match state.overlay.inodes.get(&ino) {
            Some(inode) => inode.links.clone(),
            None => state.place(ino).map(|(parent, name)| (parent, name.into())).into_iter().collect(),
        };
        let fresh = state.next_ino();
        ops.push(Op::Put(fresh, facts));
        ops.extend(links.into_iter().map(|(parent, name)| Op::Link { parent, name, ino: fresh, at: None }));
        state.commit(&ops)
    }
}

/// Checks that a name can be made and gives the time of its making.
fn free_name(state: &mut State, parent: Ino, name: &[u8]) -> Res<Stamp> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Errno::NAMETOOLONG.into());
    }
    let nameless = |dir: &crate::overlay::Inode| parent != crate::overlay::ROOT && dir.links.is_empty();
    if state.overlay.inodes.get(&parent).is_some_and(nameless) {
        return Err(Errno::NOENT.into());
    }
    match state.child(parent, name) {
        Ok(found) => {
            state.evict(found);
            Err(Errno::EXIST.into())
        }
        Err(super::Fail::Io(error)) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {
            Ok(later_than(state.facts(parent)?.mtime))
        }
        Err(error) => Err(error),
    }
}

fn unlink_op(state: &State, parent: Ino, name: &[u8], at: Stamp) -> Res<Op> {
    let base: Option<ObjectId> = state.dir_base(parent)?;
    let white = state.trees.get(base)?.get(name).is_some();
    Ok(Op::Unlink { parent, name: name.into(), white, at: Some(at) })
}

fn with_names(state: &State, ino: Ino) -> Option<Ino> {
    state.overlay.inodes.get(&ino).is_some_and(|inode| !inode.links.is_empty()).then_some(ino)
}

fn is_empty(state: &State, ino: Ino) -> Res<bool> {
    let tree = state.trees.get(state.dir_base(ino)?)?;
    let Some(dir) = state.overlay.inodes.get(&ino) else { return Ok(tree.is_empty()) };
    if dir.entries.values().any(|slot| matches!(slot, Slot::Node(_))) {
        return Ok(false);
    }
    Ok(tree.iter().all(|entry| dir.entries.contains_key(entry.name)))
}

/// Whether `ino` is `dir` or stands below it.
fn is_below(state: &State, mut ino: Ino, dir: Ino) -> bool {
    loop {
        if ino == dir {
            return true;
        }
        match state.place(ino) {
            Some((parent, _)) => ino = parent,
            None => return false,
        }
    }
}

fn check_target(state: &State, source: Ino, target: Ino, from: Ino, how: Rename) -> Res<()> {
    if how == Rename::Exchange {
        let loops = is_below(state, from, target);
        return if loops { Err(Errno::INVAL.into()) } else { Ok(()) };
    }
    match (state.facts(source)?.kind.is_dir(), state.facts(target)?.kind.is_dir()) {
        (true, false) => Err(Errno::NOTDIR.into()),
        (false, true) => Err(Errno::ISDIR.into()),
        (true, true) if !is_empty(state, target)? => Err(Errno::NOTEMPTY.into()),
        _ => Ok(()),
    }
}
