//! The filesystem itself, without a kernel: what each operation does and what it answers.
//!
//! The working tree is a state of its own: it begins as one tree and only the operations here change it. Nothing waits
//! for the network: an operation that needs what is not local fails with [`Fail::Need`], and whoever serves the kernel
//! fetches that and asks again.
//!
//! One lock guards all state. Reading, writing, copying and syncing of contents happen without it.

mod attr;
mod by_inode;
mod changes;
mod data;
mod fold;
mod lately;
mod list;
mod live;
mod names;
mod state;
mod writes;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cairn_protocol::object::ObjectId;
use rustix::io::Errno;

use crate::limits::{
    READ_LATELY_AGE_MAX, READ_LATELY_BLOBS_MAX, STATE_LOCK_LOOK, STATE_LOCK_WAIT_MAX, WRITES_WAIT_MAX,
};
use crate::overlay::journal::Journal;
use crate::overlay::{Facts, Ino, Inode, Kind, Meta, Overlay, ROOT, Stamp};
use crate::port::{Blob, Objects};
use crate::tree::Trees;

pub use attr::{Attr, FileKind, SetAttr, XATTR_PREFIX};
pub use by_inode::Written;
pub use changes::Changes;
pub use data::{NO_HANDLE, Opened, Source};
use lately::Lately;
use list::Listings;
pub use list::{InodeFacts, Listed, ListedFrom, PLACE_RESERVED_MAX, WhilePath};
pub use names::{New, Rename};
use state::State;
use writes::Writes;
pub use writes::Writing;

/// What the entry `.git` of the root is.
#[derive(Clone, Debug)]
pub enum DotGit {
    /// A symbolic link to the git directory.
    Symlink(PathBuf),
    /// A file that names the git directory.
    File(PathBuf),
}

/// How a working tree is shown.
#[derive(Clone, Debug)]
pub struct Options {
    /// What `.git` is.
    pub dotgit: DotGit,
    /// Whether all changes are refused with `EROFS`.
    pub read_only: bool,
    /// Owner of what was never changed.
    pub uid: u32,
    /// Group of what was never changed.
    pub gid: u32,
    /// The time of what was never changed. A remount keeps that of the first mount.
    pub commit_time: SystemTime,
    /// After how long a wait for content or a size ends with `EIO`.
    pub read_deadline: Duration,
}

/// Why an operation has no result.
#[derive(Debug)]
pub enum Fail {
    /// It failed.
    Io(io::Error),
    /// It can be tried again once this is local.
    Need(Need),
}

/// What an operation needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Sizes of blobs: the one asked for first, then its neighbours; and the path of the first.
    Sizes(Vec<ObjectId>, Vec<u8>),
    /// A blob, and the path it was met at.
    Blob(ObjectId, Vec<u8>),
}

impl From<io::Error> for Fail {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for Fail {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// The result of an operation.
pub type Res<T> = Result<T, Fail>;

/// What `Fs::status` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsStatus {
    /// Files whose content is local.
    pub dirty_files: u64,
    /// Bytes of their contents.
    pub upper_bytes: u64,
    /// Inodes that the kernel knows or that are changed.
    pub inodes: u64,
    /// Open files.
    pub open_files: u64,
}

/// A working tree.
pub struct Fs {
    dir: PathBuf,
    objects: Arc<dyn Objects>,
    options: Options,
    state: Mutex<State>,
    listings: Listings,
    /// Told when a copy of a blob into the state directory ends.
    copied: Condvar,
    writes: Arc<Writes>,
    /// Blobs that were read lately without being opened: they are kept from eviction.
    read_lately: Mutex<Lately<ObjectId, Blob>>,
    /// Locked: one process at a time has a state open.
    _lock: File,
}

impl Fs {
    /// Opens the state in `state_dir`, or starts it with the tree `root_tree`. A state that exists keeps its own tree.
    pub fn open(
        state_dir: &Path,
        root_tree: ObjectId,
        objects: Arc<dyn Objects>,
        options: Options,
    ) -> io::Result<Arc<Self>> {
        make_dirs(state_dir)?;
        let lock = lock_state(state_dir)?;
        let fresh = || {
            let meta = Meta {
                generation: 1,
                root: root_tree,
                key: random_key(),
                commit_time: stamp(options.commit_time),
            };
            let mut overlay = Overlay::default();
            let facts = state::dir_facts(&options, meta.commit_time, Some(root_tree));
            let inode =
                Inode { facts, links: Vec::new(), entries: std::collections::BTreeMap::new(), dirty: false };
            overlay.inodes.insert(ROOT, inode);
            (meta, overlay)
        };
        let (journal, overlay) = Journal::open(state_dir, fresh)?;
        let trees = Trees::new(Arc::clone(&objects));
        let state = State::recover(state_dir, journal, overlay, trees, &options)?;
        let state = Mutex::new(state);
        Ok(Arc::new(Self {
            dir: state_dir.to_owned(),
            objects,
            options,
            state,
            listings: Listings::default(),
            copied: Condvar::new(),
            writes: Arc::default(),
            read_lately: Mutex::new(Lately::new(READ_LATELY_BLOBS_MAX, READ_LATELY_AGE_MAX)),
            _lock: lock,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the tree is shown.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The objects behind it.
    pub fn objects(&self) -> &Arc<dyn Objects> {
        &self.objects
    }

    /// The tree that was mounted first.
    pub fn root_tree(&self) -> ObjectId {
        self.lock().journal.meta().root
    }

    /// Counts what is held.
    pub fn status(&self) -> FsStatus {
        let (uppers, inodes, open_files) = {
            let state = self.lock();
            let is_upper = |inode: &&Inode| inode.facts.kind == Kind::Upper;
            let all = state.overlay.inodes.iter();
            let uppers: Vec<Ino> = all.filter(|(_, inode)| is_upper(inode)).map(|(ino, _)| *ino).collect();
            (uppers, state.inode_count(), state.handles.len() as u64)
        };
        let bytes = |ino: &Ino| fs::metadata(self.upper_path(*ino)).map_or(0, |meta| meta.len());
        FsStatus {
            dirty_files: uppers.len() as u64,
            upper_bytes: uppers.iter().map(bytes).sum(),
            inodes,
            open_files,
        }
    }

    /// Paths that changed after `token`, and the token for the next question. Waits for the writes that are under way, so
    /// that whoever looks at those paths sees them changed; never for the network.
    pub fn changes_since(&self, token: u64) -> Changes {
        if !self.writes.wait(WRITES_WAIT_MAX) {
            log::warn!(
                "a write takes more than {WRITES_WAIT_MAX:?}: who asks now what changed may not see it"
            );
        }
        let mut state = self.lock();
        state.record_open_for_write();
        state.changes.since(token)
    }

    /// Makes all that was done durable.
    pub fn flush(&self) -> io::Result<()> {
        self.sync_all()
    }

    /// Ends well: makes all durable, and keeps for the next mount which paths changed. Nothing may change any more.
    pub fn finish(&self) -> io::Result<()> {
        self.sync_all()?;
        let encoded = {
            let mut state = self.lock();
            state.record_open_for_write();
            state.changes.encode()
        };
        if let Err(error) = changes::keep(&self.dir, &encoded) {
            log::warn!("what changed is not kept, and git will look at everything once: {error}");
        }
        Ok(())
    }

    fn upper_path(&self, ino: Ino) -> PathBuf {
        state::upper_path(&self.dir, ino)
    }

    fn writable(&self) -> Res<()> {
        if self.options.read_only { Err(Errno::ROFS.into()) } else { Ok(()) }
    }

    fn facts(&self, ino: Ino) -> Res<Facts> {
        self.lock().facts(ino)
    }

    fn open_blob(&self, id: &ObjectId) -> Option<Blob> {
        self.objects.open(id)
    }
}

/// A time as the core counts it.
pub fn stamp(at: SystemTime) -> Stamp {
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => Stamp { secs: since.as_secs() as i64, nanos: since.subsec_nanos() },
        Err(before) => {
            let before = before.duration();
            let (secs, nanos) = (-(before.as_secs() as i64), before.subsec_nanos());
            if nanos == 0 {
                Stamp { secs, nanos }
            } else {
                Stamp { secs: secs - 1, nanos: 1_000_000_000 - nanos }
            }
        }
    }
}

/// Now, but later than `before`: whoever compares times sees each change.
fn later_than(before: Stamp) -> Stamp {
    let now = stamp(SystemTime::now());
    if now > before {
        return now;
    }
    match before.nanos {
        999_999_999 => Stamp { secs: before.secs.saturating_add(1), nanos: 0 },
        nanos => Stamp { secs: before.secs, nanos: nanos + 1 },
    }
}

fn random_key() -> [u64; 2] {
    use std::hash::{BuildHasher, Hasher, RandomState};
    [RandomState::new().build_hasher().finish(), RandomState::new().build_hasher().finish()]
}

fn lock_state(state_dir: &Path) -> io::Result<File> {
    let file = File::create(state_dir.join("lock"))?;
    let deadline = Instant::now() + STATE_LOCK_WAIT_MAX;
    loop {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            // A daemon that was unmounted may still be closing its files.
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(STATE_LOCK_LOOK),
            Err(Errno::WOULDBLOCK) => {
                let text = format!("{}: another process has this state open", state_dir.display());
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn make_dirs(state_dir: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(state_dir)?;
    // They are made in order: where the last one is, all are.
    if state_dir.join("upper/ff").is_dir() {
        return Ok(());
    }
    for first in 0..=255_u8 {
        builder.create(state_dir.join("upper").join(format!("{first:02x}")))?;
    }
    Ok(())
}
