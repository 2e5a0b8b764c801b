//! The open repository files: a bounded cache, so that an idle repository costs no memory and no descriptor.
//!
//! Only a file that nothing holds (no snapshot, stage or commit) is closed to make room; while more files
//! than allowed are busy, the cache is larger than allowed. Lock order: `slots`, then one `Slot`.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use cairn_protocol::object::HashAlgo;
use prometheus_client::metrics::histogram::Histogram;

use super::StoreError;
use super::disk::{Disk, System, beside};
pub use super::id::{Pin, RepoId};
use super::outside;
use super::repo::Repo;
use super::repo::file::{Access, RepoFile};
use super::repo::graph::Graphs;
use super::repo::limits::{COMMIT_GRAPH_BYTES, DUE_REPOS_MAX, SOURCES_MAX};
use super::repo::schema;

/// All repository files under one data folder.
#[derive(Clone)]
pub struct Files(Arc<Inner>);

struct Inner {
    disk: Arc<dyn Disk>,
    data_dir: PathBuf,
    open_max: usize,
    access: Access,
    commit_seconds: Histogram,
    clock: AtomicU64,
    /// Asked for and open; asked for and opened.
    asks: [AtomicU64; 2],
    /// The commits that are kept in memory.
    graphs: Arc<Graphs>,
    slots: Mutex<HashMap<RepoId, Arc<Slot>>>,
    /// Repositories that got many small packs. Leaf lock.
    due: Mutex<BTreeSet<RepoId>>,
    /// Keeps the process that serves from deleting what this one reads.
    _reading: Option<File>,
    templates: [OnceLock<Vec<u8>>; 2],
}

#[derive(Default)]
struct Slot {
    used_at: AtomicU64,
    file: Mutex<Option<Arc<RepoFile>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The path of a repository's file below a data folder.
pub(super) fn path_in(data_dir: &Path, id: RepoId) -> PathBuf {
    let text = id.as_str();
    let (first, rest) = text.split_at(2);
    let (second, _) = rest.split_at(2);
    data_dir.join("repos").join(first).join(second).join(format!("{text}.sqlite"))
}

impl Files {
    /// The files under `data_dir`, of which about `open_max` stay open. This process is their only writer.
    pub fn open(data_dir: &Path, open_max: usize) -> Self {
        Self::timed(data_dir, open_max, Histogram::new([]))
    }

    /// The same, noting how many seconds commits take.
    pub fn timed(data_dir: &Path, open_max: usize, commit_seconds: Histogram) -> Self {
        Self::on(System::shared(), data_dir, open_max, commit_seconds)
    }

    /// The same on a disk of the caller's.
    pub fn on(disk: Arc<dyn Disk>, data_dir: &Path, open_max: usize, commit_seconds: Histogram) -> Self {
        Self::with_access(disk, data_dir, open_max, Access::Write, commit_seconds)
    }

    /// For `fsck` and `backup` beside a serving process: changes and sweeps nothing.
    pub fn open_read_only(data_dir: &Path, open_max: usize) -> Self {
        Self::with_access(System::shared(), data_dir, open_max, Access::ReadOnly, Histogram::new([]))
    }

    fn with_access(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
        open_max: usize,
        access: Access,
        commit_seconds: Histogram,
    ) -> Self {
        Self(Arc::new(Inner {
            disk,
            data_dir: data_dir.to_owned(),
            open_max,
            access,
            commit_seconds,
            clock: AtomicU64::new(0),
            asks: Default::default(),
            graphs: Arc::new(Graphs::new(COMMIT_GRAPH_BYTES)),
            slots: Mutex::default(),
            due: Mutex::default(),
            _reading: (access == Access::ReadOnly).then(|| outside::hold(data_dir)).flatten(),
            templates: [OnceLock::new(), OnceLock::new()],
        }))
    }

    /// A repository that sees `chain`: its own log first, then the prefixes that it is forked from. Opens
    /// nothing.
    pub fn repo(&self, algo: HashAlgo, chain: &[Pin]) -> Result<Repo, StoreError> {
        let [own, bases @ ..] = chain else {
            return Err(StoreError::Misuse("a chain starts with the own log"));
        };
        if own.seq.is_some() || bases.iter().any(|pin| pin.seq.is_none()) {
            return Err(StoreError::Misuse("the own log is not pinned, and every other source is"));
        }
        if chain.len() > SOURCES_MAX {
            let (seen, max) = (chain.len() as u64, SOURCES_MAX as u64);
            return Err(StoreError::TooLarge { what: "number of sources", seen, max });
        }
        Ok(Repo::new(self.clone(), algo, chain.into()))
    }

    /// Where a repository's file is, whether it exists or not.
    pub fn path(&self, id: RepoId) -> PathBuf {
        path_in(&self.0.data_dir, id)
    }

    /// How often a file was asked for that was open, and one that had to be opened.
    pub fn asks(&self) -> [u64; 2] {
        self.0.asks.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// How many files are open.
    pub fn open_count(&self) -> usize {
        locked(&self.0.slots).len()
    }

    /// Bytes of the commits that are kept in memory, and how many packs' were dropped to make room.
    pub fn graphs(&self) -> (u64, u64) {
        self.0.graphs.counts()
    }

    /// Notes that a repository has many small packs. One that does not fit is noted by its next push.
    pub(crate) fn note_due(&self, id: RepoId) {
        let mut due = locked(&self.0.due);
        if due.len() < DUE_REPOS_MAX {
            due.insert(id);
        }
    }

    /// The repositories that got many small packs since they were asked for last.
    pub fn take_due(&self) -> BTreeSet<RepoId> {
        std::mem::take(&mut *locked(&self.0.due))
    }

    /// Deletes the file of a repository that nothing pins or names any more. False where it is in use: ask
    /// again later.
    pub fn delete(&self, id: RepoId) -> Result<bool, StoreError> {
        let slot = self.slot(id);
        let mut file = locked(&slot.file);
        if file.as_ref().is_some_and(|open| Arc::strong_count(open) > 1) {
            return Ok(false);
        }
        *file = None;
        let path = self.path(id);
        for ending in ["", "-wal", "-shm"] {
            match self.0.disk.remove(&beside(&path, ending)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        drop(file);
        self.forget_if_empty(id);
        Ok(true)
    }

    /// The open file of a repository; `None` where it has none yet.
    pub(crate) fn get(&self, id: RepoId, algo: HashAlgo) -> Result<Option<Arc<RepoFile>>, StoreError> {
        self.enter(id, algo, false)
    }

    /// The open file of a repository, made where there is none.
    pub(crate) fn get_or_create(&self, id: RepoId, algo: HashAlgo) -> Result<Arc<RepoFile>, StoreError> {
        self.enter(id, algo, true)?.ok_or(StoreError::MissingFile { repo: id })
    }

    fn enter(&self, id: RepoId, algo: HashAlgo, create: bool) -> Result<Option<Arc<RepoFile>>, StoreError> {
        let slot = self.slot(id);
        let mut file = locked(&slot.file);
        if let Some(open) = &*file {
            open.expect_algo(algo)?;
            self.0.asks[0].fetch_add(1, Ordering::Relaxed);
            return Ok(Some(Arc::clone(open)));
        }
        let path = self.path(id);
        if !self.0.disk.exists(&path)? {
            if !create || self.0.access == Access::ReadOnly {
                drop(file);
                self.forget_if_empty(id);
                return Ok(None);
            }
            schema::create_file(&*self.0.disk, &path, self.template(algo)?)?;
        }
        let open = Arc::new(RepoFile::open(
            (&self.0.disk, &self.0.data_dir),
            &path,
            algo,
            (self.0.access, &self.0.commit_seconds, &self.0.graphs),
        )?);
        *file = Some(Arc::clone(&open));
        self.0.asks[1].fetch_add(1, Ordering::Relaxed);
        Ok(Some(open))
    }

    fn slot(&self, id: RepoId) -> Arc<Slot> {
        let now = self.0.clock.fetch_add(1, Ordering::Relaxed);
        let mut slots = locked(&self.0.slots);
        if !slots.contains_key(&id) && slots.len() >= self.0.open_max {
            let closed = evict(&mut slots, self.0.open_max);
            // Closing checkpoints: not under the lock of all files. SQLite's own locks keep a re-opening in
            // order.
            drop(slots);
            drop(closed);
            slots = locked(&self.0.slots);
        }
        let slot = Arc::clone(slots.entry(id).or_default());
        slot.used_at.store(now, Ordering::Relaxed);
        slot
    }

    /// Slots of repositories without a file would push out open ones.
    fn forget_if_empty(&self, id: RepoId) {
        let mut slots = locked(&self.0.slots);
        let is_empty = |slot: &mut Arc<Slot>| locked(&slot.file).is_none();
        // Two: the map's and our caller's own.
        if slots.get_mut(&id).is_some_and(|slot| Arc::strong_count(slot) <= 2 && is_empty(slot)) {
            slots.remove(&id);
        }
    }

    fn template(&self, algo: HashAlgo) -> Result<&[u8], StoreError> {
        let cell = match algo {
            HashAlgo::Sha1 => &self.0.templates[0],
            HashAlgo::Sha256 => &self.0.templates[1],
        };
        if let Some(bytes) = cell.get() {
            return Ok(bytes);
        }
        let bytes = schema::template(algo)?;
        Ok(cell.get_or_init(|| bytes))
    }
}

/// Takes out the idle files that were used longest ago, down to one below the limit.
///
/// A slot that only the map holds cannot be entered while the map is locked, and a file that only its slot
/// holds is used by nobody.
fn evict(slots: &mut HashMap<RepoId, Arc<Slot>>, open_max: usize) -> Vec<Arc<Slot>> {
    let is_idle = |slot: &Arc<Slot>| {
        Arc::strong_count(slot) == 1
            && locked(&slot.file).as_ref().is_none_or(|file| Arc::strong_count(file) == 1)
    };
    let mut idle: Vec<(u64, RepoId)> = slots
        .iter()
        .filter(|(_, slot)| is_idle(slot))
        .map(|(id, slot)| (slot.used_at.load(Ordering::Relaxed), *id))
        .collect();
    idle.sort_unstable();
    let surplus = (slots.len() + 1).saturating_sub(open_max);
    idle.iter().take(surplus).filter_map(|(_, id)| slots.remove(id)).collect()
}
