//! What the lock guards: the overlay with its journal, the inodes that the kernel knows, and open files.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::hash::Hasher;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use cairn_protocol::object::ObjectId;
use rustix::io::Errno;
use siphasher::sip::SipHasher13;

use super::changes::ChangeLog;
use super::data::Handle;
use super::lately::Lately;
use super::live::{BaseAt, Live, give_back_room};
use super::{DotGit, Options, Res, stamp};
use crate::limits::{CACHE_TOUCH_AFTER, DOOMED_BYTES_MAX, DOOMED_FILES_MAX, FOLD_WAITING_MAX};
use crate::limits::{NAME_BYTES_MAX, UPPERS_OPEN_MAX};
use crate::overlay::journal::Journal;
use crate::overlay::{DOTGIT, Facts, Ino, Kind, LOCAL_FIRST, Op, Overlay, ROOT, Slot, Stamp};
use crate::tree::{Entry, EntryKind, Trees};

/// An inode's open files.
#[derive(Default)]
pub(super) struct Open {
    pub handles: u32,
    pub writers: u32,
    /// Those that the kernel reads itself, and those it reads through us: it allows no mix.
    pub passthrough: u32,
    /// The file in the state directory.
    pub file: Option<Arc<File>>,
}

pub(super) struct State {
    pub overlay: Overlay,
    pub journal: Journal,
    pub trees: Arc<Trees>,
    pub live: HashMap<Ino, Live>,
    /// Those of them that have no record.
    unchanged: u64,
    /// How many there were at most since their room was given back.
    live_most: usize,
    pub handles: HashMap<u64, Arc<Handle>>,
    pub changes: ChangeLog,
    /// Being copied into the state directory.
    pub copying: HashSet<Ino>,
    /// Files whose data must be durable before the journal is: a name was moved to them.
    pub publish: HashSet<Ino>,
    /// Files of removed inodes. They go once the removal is durable: until then a crash may bring their names back.
    pub doomed: Vec<Ino>,
    /// Bytes in them.
    pub doomed_bytes: u64,
    /// Written files that may be what the base has: since when they were not written, `None` for those that were closed.
    pub settled: HashMap<Ino, Option<Instant>>,
    /// Files of the state directory that were used lately, of inodes that nobody has opened as far as is known.
    pub uppers: Lately<Ino, Arc<File>>,
    /// Being compared with the base, and not written since that began.
    pub folding: Option<Ino>,
    dir: PathBuf,
    options: Options,
    next_ino: Ino,
    next_handle: u64,
}

pub(super) fn upper_path(dir: &Path, ino: Ino) -> PathBuf {
    dir.join("upper").join(format!("{:02x}", ino & 0xff)).join(format!("{ino:016x}"))
}

pub(super) fn dir_facts(options: &Options, at: Stamp, base: Option<ObjectId>) -> Facts {
    facts(options, at, Kind::Dir(base), 0o755)
}

fn facts(options: &Options, at: Stamp, kind: Kind, mode: u32) -> Facts {
    let (uid, gid) = (options.uid, options.gid);
    Facts { kind, mode, uid, gid, atime: at, mtime: at, ctime: at, xattrs: Default::default() }
}

impl State {
    /// Puts in order what a crash may have left: inodes without a name, files without an inode, times of files that
    /// were being written.
    pub(super) fn recover(
        dir: &Path,
        journal: Journal,
        mut overlay: Overlay,
        trees: Trees,
        options: &Options,
    ) -> io::Result<Self> {
        overlay.inodes.retain(|ino, inode| *ino == ROOT || !inode.links.is_empty());
        for (ino, inode) in overlay.inodes.iter_mut().filter(|(_, inode)| inode.facts.kind == Kind::Upper) {
            let path = upper_path(dir, *ino);
            match fs::metadata(&path) {
                Ok(meta) if inode.dirty => {
                    let written = meta.modified().map_or(stamp(UNIX_EPOCH), stamp);
                    inode.facts.mtime = inode.facts.mtime.max(written);
                    inode.facts.ctime = inode.facts.ctime.max(written);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    log::warn!(
                        "{}: the content of a changed file is missing; it is empty now",
                        path.display()
                    );
                    File::create(&path)?;
                }
                Err(error) => return Err(error),
            }
        }
        sweep(dir, &overlay)?;
        let last = overlay.inodes.keys().copied().max().unwrap_or(0);
        let uppers = overlay.inodes.iter().filter(|(_, inode)| inode.facts.kind == Kind::Upper);
        let settled = uppers.map(|(ino, _)| (*ino, None)).take(FOLD_WAITING_MAX).collect();
        Ok(Self {
            overlay,
            journal,
            trees: Arc::new(trees),
            live: HashMap::new(),
            unchanged: 0,
            live_most: 0,
            handles: HashMap::new(),
            changes: ChangeLog::take(dir)?,
            copying: HashSet::new(),
            publish: HashSet::new(),
            doomed: Vec::new(),
            doomed_bytes: 0,
            settled,
            uppers: Lately::new(UPPERS_OPEN_MAX, CACHE_TOUCH_AFTER),
            folding: None,
            dir: dir.to_owned(),
            options: options.clone(),
            next_ino: last.max(LOCAL_FIRST) + 1,
            next_handle: 1,
        })
    }

    pub(super) fn inode_count(&self) -> u64 {
        self.overlay.inodes.len() as u64 + self.unchanged
    }

    /// The kernel refers to an inode once more.
    pub(super) fn refer(&mut self, ino: Ino) {
        self.live.entry(ino).or_default().refer();
    }

    pub(super) fn next_ino(&mut self) -> Ino {
        self.next_ino += 1;
        self.next_ino
    }

    pub(super) fn next_handle(&mut self) -> u64 {
        self.next_handle += 1;
        self.next_handle
    }

    pub(super) fn commit_time(&self) -> Stamp {
        self.journal.meta().commit_time
    }

    /// The record of an inode, or what its place in the base says.
    pub(super) fn facts(&self, ino: Ino) -> Res<Facts> {
        if let Some(inode) = self.overlay.inodes.get(&ino) {
            return Ok(inode.facts.clone());
        }
        if ino == DOTGIT {
            let mode = if matches!(self.options.dotgit, DotGit::Symlink(_)) { 0o777 } else { 0o644 };
            let kind = match &self.options.dotgit {
                DotGit::Symlink(to) => Kind::Link(to.as_os_str().as_encoded_bytes().into()),
                DotGit::File(_) => Kind::Upper,
            };
            return Ok(facts(&self.options, self.commit_time(), kind, mode));
        }
        let base = self.live.get(&ino).and_then(|live| live.base.as_ref()).ok_or(Errno::STALE)?;
        Ok(self.base_facts(base.kind(), base.id()))
    }

    pub(super) fn base_facts(&self, kind: EntryKind, id: ObjectId) -> Facts {
        let (kind, mode) = match kind {
            EntryKind::File => (Kind::Base(id), 0o644),
            EntryKind::Exec => (Kind::Base(id), 0o755),
            EntryKind::Link => (Kind::BaseLink(id), 0o777),
            EntryKind::Dir => (Kind::Dir(Some(id)), 0o755),
            EntryKind::Gitlink => (Kind::Dir(None), 0o755),
        };
        facts(&self.options, self.commit_time(), kind, mode)
    }

    pub(super) fn dir_base(&self, ino: Ino) -> Res<Option<ObjectId>> {
        match self.facts(ino)?.kind {
            Kind::Dir(base) => Ok(base),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    /// The number of an unchanged inode: the same in each mount, since it is made of its directory's number and its name.
    pub(super) fn base_ino(&self, parent: Ino, name: &[u8]) -> Ino {
        let key = self.journal.meta().key;
        let mut hasher = SipHasher13::new_with_keys(key[0], key[1]);
        hasher.write(&parent.to_le_bytes());
        hasher.write(name);
        (hasher.finish() >> 1).max(16)
    }

    /// The inode that a name means.
    pub(super) fn child(&mut self, parent: Ino, name: &[u8]) -> Res<Ino> {
        let base = self.dir_base(parent)?;
        if name.len() > NAME_BYTES_MAX {
            return Err(Errno::NAMETOOLONG.into());
        }
        if parent == ROOT && name == b".git" {
            return Ok(DOTGIT);
        }
        match self.overlay.inodes.get(&parent).and_then(|dir| dir.entries.get(name)) {
            Some(Slot::White) => return Err(Errno::NOENT.into()),
            Some(Slot::Node(ino)) => return Ok(*ino),
            None => {}
        }
        let tree = self.trees.get(base)?;
        let entry = tree.get(name).ok_or(Errno::NOENT)?;
        Ok(self.intern(parent, &entry))
    }

    fn intern(&mut self, parent: Ino, entry: &Entry<'_>) -> Ino {
        let mut ino = self.base_ino(parent, entry.name);
        loop {
            match self.live.get(&ino) {
                Some(Live { base: Some(at), .. }) if at.parent() == parent && at.name() == entry.name => {
                    return ino;
                }
                None if !self.overlay.inodes.contains_key(&ino) => break,
                // Two paths of one number: one in 2^63 for each pair.
                _ => ino += 1,
            }
        }
        self.live.insert(ino, Live::unchanged(BaseAt::new(parent, entry)));
        self.unchanged += 1;
        self.live.entry(parent).or_default().kids += 1;
        ino
    }

    /// Adds the steps that give an inode and all directories above it a record.
    pub(super) fn make_explicit(&self, ino: Ino, ops: &mut Vec<Op>) -> Res<()> {
        let planned = ops.iter().any(|op| matches!(op, Op::Put(known, _) if *known == ino));
        if planned || self.overlay.inodes.contains_key(&ino) {
            return Ok(());
        }
        let base = self.live.get(&ino).and_then(|live| live.base.as_ref()).ok_or(Errno::STALE)?;
        self.make_explicit(base.parent(), ops)?;
        ops.push(Op::Put(ino, self.base_facts(base.kind(), base.id())));
        ops.push(Op::Link { parent: base.parent(), name: base.name().into(), ino, at: None });
        Ok(())
    }

    /// Makes a change: first in the journal, then here.
    pub(super) fn commit(&mut self, ops: &[Op]) -> Res<()> {
        self.journal.append(ops)?;
        for op in ops {
            let done = self.overlay.apply(op);
            debug_assert!(done, "a change names what is not there: {op:?}");
        }
        for op in ops {
            if let Op::Put(ino, _) = op {
                self.forget_base(*ino);
            }
        }
        if self.journal.wants_checkpoint() {
            // The log goes on growing where this fails: nothing is lost.
            if let Err(error) = self.journal.checkpoint(&self.overlay) {
                log::warn!("cannot write a checkpoint of the local changes: {error}");
            }
        }
        Ok(())
    }

    /// Changes a record. What has no name any more is changed in memory alone.
    pub(super) fn put(&mut self, ino: Ino, facts: Facts) -> Res<()> {
        let nameless =
            ino != ROOT && self.overlay.inodes.get(&ino).is_some_and(|inode| inode.links.is_empty());
        if nameless {
            self.overlay.apply(&Op::Put(ino, facts));
            return Ok(());
        }
        let mut ops = Vec::new();
        self.make_explicit(ino, &mut ops)?;
        ops.push(Op::Put(ino, facts));
        self.commit(&ops)
    }

    fn forget_base(&mut self, ino: Ino) {
        if let Some(base) = self.live.get_mut(&ino).and_then(|live| live.base.take()) {
            self.unchanged -= 1;
            self.drop_kid(base.parent());
        }
    }

    fn drop_kid(&mut self, parent: Ino) {
        if let Some(live) = self.live.get_mut(&parent) {
            live.kids = live.kids.saturating_sub(1);
        }
        self.evict(parent);
    }

    /// Drops what is known of an inode once nobody refers to it, and its content where it has no name.
    pub(super) fn evict(&mut self, ino: Ino) {
        if ino == ROOT || self.live.get(&ino).is_some_and(Live::is_used) {
            return;
        }
        let base = self.live.remove(&ino).and_then(|live| live.base);
        give_back_room(&mut self.live, &mut self.live_most);
        if self.overlay.inodes.get(&ino).is_some_and(|inode| inode.links.is_empty()) {
            let gone = self.overlay.inodes.remove(&ino);
            if gone.is_some_and(|inode| inode.facts.kind == Kind::Upper) {
                self.publish.remove(&ino);
                self.settled.remove(&ino);
                self.uppers.remove(&ino);
                self.doomed.push(ino);
                self.doomed_bytes += fs::metadata(upper_path(&self.dir, ino)).map_or(0, |meta| meta.len());
            }
        }
        if let Some(base) = base {
            self.unchanged -= 1;
            self.drop_kid(base.parent());
        }
    }

    /// Whether enough files wait for their removal to be durable.
    pub(super) fn wants_reaping(&self) -> bool {
        self.doomed.len() >= DOOMED_FILES_MAX || self.doomed_bytes >= DOOMED_BYTES_MAX
    }

    pub(super) fn open_mut(&mut self, ino: Ino) -> &mut Open {
        self.live.entry(ino).or_default().open.get_or_insert_default()
    }

    pub(super) fn open(&self, ino: Ino) -> Option<&Open> {
        self.live.get(&ino)?.open.as_deref()
    }

    /// The file in the state directory, open for reading and writing.
    pub(super) fn upper(&mut self, ino: Ino) -> io::Result<Arc<File>> {
        if let Some(file) = self.open(ino).and_then(|open| open.file.as_ref()) {
            return Ok(Arc::clone(file));
        }
        if let Some(file) = self.uppers.get(&ino) {
            return Ok(file);
        }
        let path = upper_path(&self.dir, ino);
        let file = Arc::new(File::options().read(true).write(true).open(path)?);
        match self.live.get_mut(&ino).and_then(|live| live.open.as_mut()) {
            Some(open) => open.file = Some(Arc::clone(&file)),
            None => self.uppers.put(ino, Arc::clone(&file)),
        }
        Ok(file)
    }

    /// Where an inode stands: its directory and its name.
    pub(super) fn place(&self, ino: Ino) -> Option<(Ino, &[u8])> {
        if let Some(inode) = self.overlay.inodes.get(&ino) {
            let (parent, name) = inode.links.first()?;
            return Some((*parent, name));
        }
        let base = self.live.get(&ino)?.base.as_ref()?;
        Some((base.parent(), base.name()))
    }

    /// The path of an inode from the root; empty for the root, `None` for what has no name any more.
    pub(super) fn path(&self, mut ino: Ino) -> Option<Vec<u8>> {
        let mut names = Vec::new();
        while ino != ROOT {
            let (parent, name) = self.place(ino)?;
            names.push(name);
            ino = parent;
        }
        names.reverse();
        Some(names.join(&b'/'))
    }

    pub(super) fn path_of_child(&self, parent: Ino, name: &[u8]) -> Option<Vec<u8>> {
        let mut path = self.path(parent)?;
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        Some(path)
    }

    /// Notes that an inode changed, under each of its names.
    pub(super) fn record(&mut self, ino: Ino) {
        let links = match self.overlay.inodes.get(&ino) {
            Some(inode) => inode.links.clone(),
            None => self.place(ino).map(|(parent, name)| (parent, name.into())).into_iter().collect(),
        };
        links.iter().for_each(|(parent, name)| self.record_name(*parent, name, false));
    }

    /// Notes that a name changed; `whole` where all below it did.
    pub(super) fn record_name(&mut self, parent: Ino, name: &[u8], whole: bool) {
        if let Some(mut path) = self.path_of_child(parent, name) {
            if whole {
                path.push(b'/');
            }
            self.changes.record(path);
        }
    }

    pub(super) fn record_open_for_write(&mut self) {
        // Not by inodes: each `git status` would walk a million of them.
        let written = self.handles.values().filter(|handle| handle.write);
        let written: HashSet<Ino> = written.map(|handle| handle.ino).collect();
        written.into_iter().for_each(|ino| self.record(ino));
    }
}

/// Removes files of the state directory that no inode owns.
fn sweep(dir: &Path, overlay: &Overlay) -> io::Result<()> {
    for shelf in fs::read_dir(dir.join("upper"))? {
        for entry in fs::read_dir(shelf?.path())? {
            let entry = entry?;
            let name = entry.file_name();
            let ino = name.to_str().and_then(|name| Ino::from_str_radix(name, 16).ok());
            let owner = ino.and_then(|ino| overlay.inodes.get(&ino));
            if !owner.is_some_and(|inode| inode.facts.kind == Kind::Upper) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}
