//! One repository: a log in one SQLite file, above the prefixes of other logs that it is forked from.
//!
//! What happens goes in through `Repo::commit_entry` and nowhere else. What is read is read through a
//! `Snapshot`.

pub(crate) mod commit;
pub mod copy;
mod cuts;
pub mod dropping;
mod drops;
pub mod facts;
pub(crate) mod file;
pub mod fsck;
pub(crate) mod graph;
mod index;
mod kinds;
pub mod limits;
mod log;
mod pick;
mod record;
mod refs;
mod roll;
pub(crate) mod schema;
mod snapshot;
mod stage;
#[cfg(test)]
mod tests;
mod window;

use std::sync::Arc;

use cairn_protocol::object::HashAlgo;

pub use commit::{Committed, EntryKind, Expected, NewEntry, RefUpdate, UpdateResult};
pub use log::{EntryRow, MovedRef, RefChange};
pub use pick::Want;
pub use refs::RefRow;
pub use roll::Rolled;
pub use snapshot::{PackRow, Shown, Snapshot};
pub use stage::Staged;

use super::StoreError;
use super::files::{Files, Pin, RepoId};
use crate::stop::Stop;
use facts::{PackBytes, PackFacts};
use file::Flush;

/// A repository. Cheap to make and to clone; holds no file open.
#[derive(Clone)]
pub struct Repo {
    files: Files,
    algo: HashAlgo,
    chain: Arc<[Pin]>,
}

impl Repo {
    pub(crate) fn new(files: Files, algo: HashAlgo, chain: Arc<[Pin]>) -> Self {
        Self { files, algo, chain }
    }

    /// The repository's id: that of its own log.
    pub fn id(&self) -> RepoId {
        self.chain.first().expect("a chain starts with the own log").id
    }

    /// The hash that names the objects.
    pub fn algo(&self) -> HashAlgo {
        self.algo
    }

    /// The repository as of an entry of its own log; as of the last one where `at` is `None`.
    ///
    /// 0 is the repository before its first entry: a fork shows its bases then.
    pub fn snapshot(&self, at: Option<u64>) -> Result<Snapshot, StoreError> {
        Snapshot::open(&self.files, self.algo, &self.chain, at)
    }

    /// Stores a checked pack, invisible until `commit_entry` takes it. Dropping it deletes it.
    ///
    /// `whole`: every object of the pack will be reachable from the refs of its entry.
    pub fn stage(
        &self,
        pack: &dyn PackFacts,
        bytes: &dyn PackBytes,
        whole: bool,
    ) -> Result<Staged, StoreError> {
        let file = || self.files.get_or_create(self.id(), self.algo);
        stage::stage(self.id(), &self.snapshot(None)?, file, (pack, bytes, whole))
    }

    /// Appends an entry: its pack and its ref changes become visible and durable together, or nothing does.
    ///
    /// Updates are judged one by one against the refs at this moment; where none succeeds, and where one
    /// fails in an atomic entry, nothing is written.
    pub fn commit_entry(&self, entry: NewEntry) -> Result<Committed, StoreError> {
        let stop = Stop::current();
        stop.begin_entry()?;
        let done = commit::commit_entry(self, entry)?;
        if done.seq.is_some() {
            stop.made_entry();
        }
        Ok(done)
    }

    /// Rolls runs of at least `packs_min` small packs of the own log into larger ones, beside whatever else goes on.
    pub fn roll(&self, packs_min: usize) -> Result<Rolled, StoreError> {
        let mut all = Rolled::default();
        while let Some(step) = self.roll_step(Want::Runs(packs_min))? {
            all.add(step);
        }
        self.delete_retired()?;
        Ok(all)
    }

    /// Rolls the first run of packs that is worth it; `None` where there is none. Bounded in memory and in what it writes.
    pub fn roll_step(&self, want: Want) -> Result<Option<Rolled>, StoreError> {
        roll::step(self, want)
    }

    /// Rolls packs in which something leans on an object of `avoid`, ordinals of the own log, so that it leans on that no
    /// longer, where it is not too large.
    pub fn loosen(&self, avoid: &roaring::RoaringBitmap) -> Result<Rolled, StoreError> {
        roll::loosen(self, avoid)
    }

    /// Deletes what was rolled away and is no longer read. True where nothing of it is left.
    pub fn delete_retired(&self) -> Result<bool, StoreError> {
        match self.files.get(self.id(), self.algo)? {
            Some(file) => file.delete_retired(),
            None => Ok(true),
        }
    }

    /// Small packs of the own log that were not rolled yet.
    pub fn loose_packs(&self) -> Result<usize, StoreError> {
        Ok(self.files.get(self.id(), self.algo)?.map_or(0, |file| file.packs().loose))
    }

    /// Bytes of the own file once its log is in it; 0 where there is none.
    pub fn file_bytes(&self) -> Result<u64, StoreError> {
        let Some(file) = self.files.get(self.id(), self.algo)? else { return Ok(0) };
        file.read(|conn| {
            let number = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            Ok((number("page_count")? * number("page_size")?) as u64)
        })
    }

    /// Gives the free pages of the own file back to the file system where more than one in `free_share` is free, by
    /// rewriting it: pushes wait meanwhile. True where it did.
    pub fn compact(&self, free_share: u64) -> Result<bool, StoreError> {
        match self.files.get(self.id(), self.algo)? {
            Some(file) => file.compact(free_share),
            None => Ok(false),
        }
    }

    /// For a request that may turn out to change nothing, before it looks: a commit that failed shows by now, or never
    /// will. Without it, one whose flush failed may show after a crash. `commit_entry` does it by itself.
    pub fn settle(&self) -> Result<(), StoreError> {
        self.files.get(self.id(), self.algo)?.map_or(Ok(()), |file| file.settle())
    }

    /// Makes the file of the own log where there is none yet, so that `save_set` keeps what it is given.
    pub fn ensure_file(&self) -> Result<(), StoreError> {
        self.files.get_or_create(self.id(), self.algo).map(|_| ())
    }

    /// Keeps a set that was computed from the objects of a source, under a key of the caller's making.
    ///
    /// It must be a fact for ever, whatever is committed or forked later: what a commit reaches in the
    /// source, say. Best effort: a repository without a file keeps nothing.
    pub fn save_set(&self, source: u16, key: &[u8], set: &[u8]) -> Result<(), StoreError> {
        let Some(file) = self.files.get(self.id(), self.algo)? else {
            return Ok(());
        };
        file.write(
            Flush::Later,
            |conn| {
                conn.prepare_cached("INSERT OR REPLACE INTO reach (source, key, data) VALUES (?1, ?2, ?3)")?
                    .execute((source, key, set))?;
                Ok(())
            },
            |(), _| (),
        )
    }
}
