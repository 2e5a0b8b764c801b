//! Repositories whose history is cut: imports with a depth, and imports of remotes that are cut themselves.
//!
//! The commits at the cut are kept as if they had no parents, so that every walk ends there; their ids are saved beside
//! the log, so that every clone is told where history ends, as stock git tells it. What they say of themselves stays: objects
//! are never rewritten.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use cairn_protocol::object::{HashAlgo, Kind, ObjectId};
use cairn_protocol::pack::IndexedPack;
use cairn_protocol::source::{ObjRef, ObjectSource};
use cairn_protocol::walk::{ObjSet, Reader, Selection, Tips, WalkRequest, ancestors};

use super::{OpError, Served};
use crate::store::repo::Snapshot;
use crate::store::repo::facts::{CommitLinks, Entry, PackFacts};

/// Key of the ids of the commits at the cut, raw, one behind the other.
const CUT: &[u8] = b"cut";

/// Where a repository's history ends, of what the snapshot shows; empty for most.
pub fn cut_of(snapshot: &Snapshot) -> Result<Vec<(ObjRef, ObjectId)>, OpError> {
    let algo = snapshot.algo();
    let mut cut = Vec::new();
    for source in 0..snapshot.limits().len() as u16 {
        let Some(saved) = snapshot.saved_set(source, CUT)? else { continue };
        let ids: Vec<ObjectId> =
            saved.chunks_exact(algo.bytes()).filter_map(|raw| ObjectId::from_bytes(algo, raw)).collect();
        // A snapshot of before the import shows none of them.
        let places = snapshot.lookup_many(&ids)?;
        cut.extend(places.into_iter().zip(ids).filter_map(|(at, id)| Some((at?, id))));
    }
    Ok(cut)
}

/// Saves where history ends. Must be done before the entry that brings those commits, of which there is one for a log.
pub fn save_cut(served: &Served, cut: &[ObjectId]) -> Result<(), OpError> {
    served.repo.ensure_file()?;
    let raw: Vec<u8> = cut.iter().flat_map(|id| id.as_bytes()).copied().collect();
    Ok(served.repo.save_set(0, CUT, &raw)?)
}

/// Adds to a selection what the client has to know of our own cut: commits without parents that it may come across, and
/// that it cannot have more of. git's rules (`send_shallow`, `get_shallow_commits`).
pub fn tell_cut(
    snapshot: &Snapshot,
    reader: &mut Reader<'_>,
    walk: &WalkRequest,
    cut: &[(ObjRef, ObjectId)],
    selection: &mut Selection,
) -> Result<(), OpError> {
    let ours: HashSet<ObjRef> = cut.iter().map(|(at, _)| *at).collect();
    selection.unshallow.retain(|at| !ours.contains(at));
    let theirs: HashSet<ObjRef> = walk.client_shallow.iter().copied().collect();
    let gone: HashSet<ObjRef> = selection.unshallow.iter().copied().collect();
    let ends = selection.shallow.iter().chain(theirs.difference(&gone)).copied().collect();
    let tips = Tips::peel(reader, &walk.wants)?.commits;
    let seen = ancestors(snapshot, &tips, &ends, &ObjSet::new())?;
    let told: HashSet<ObjRef> = selection.shallow.iter().copied().collect();
    let is_news = |at: &ObjRef| seen.contains(*at) && !theirs.contains(at) && !told.contains(at);
    selection.shallow.extend(cut.iter().map(|(at, _)| *at).filter(is_news));
    Ok(())
}

/// What a pack names and nobody has, while its links are checked: parents behind the cut, if all is well.
#[derive(Default)]
pub struct Beyond {
    is_open: AtomicBool,
    ids: Mutex<HashSet<ObjectId>>,
}

impl Beyond {
    /// From now on, what is missing is taken for a commit behind the cut. Before, it might be a delta's base.
    pub fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    /// The answer for an object that the repository does not have.
    pub fn take(&self, id: &ObjectId) -> Option<Kind> {
        if !self.is_open.load(Ordering::Acquire) {
            return None;
        }
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(*id);
        Some(Kind::Commit)
    }
}

/// A pack with its commits at the cut.
pub struct CutPack<'a> {
    pack: &'a IndexedPack,
    /// By their place in the pack.
    cut: HashSet<u32>,
}

impl<'a> CutPack<'a> {
    /// Takes `cut` where the pack holds it, and refuses a pack in which anything but a commit of it names what nobody has.
    pub fn new(pack: &'a IndexedPack, cut: &[ObjectId], beyond: Beyond) -> Result<Self, String> {
        let missing = beyond.ids.into_inner().unwrap_or_else(PoisonError::into_inner);
        if cut.is_empty() && missing.is_empty() {
            return Ok(Self { pack, cut: HashSet::new() });
        }
        let is_commit = |at: &u32| pack.entry(*at).kind == Kind::Commit;
        let cut: HashSet<u32> = cut.iter().filter_map(|id| pack.find(id)).filter(is_commit).collect();
        for commit in pack.commits().iter().filter(|commit| !cut.contains(&commit.index)) {
            if let Some(parent) = commit.parents().find(|parent| missing.contains(parent)) {
                let id = pack.entry(commit.index).id;
                return Err(format!("commit {parent}, a parent of {id}, is missing"));
            }
        }
        match pack.tags().iter().find(|tag| missing.contains(&tag.target)) {
            Some(tag) => Err(format!("commit {}, the target of a tag, is missing", tag.target)),
            None => Ok(Self { pack, cut }),
        }
    }

    /// The commits at the cut.
    pub fn ids(&self) -> Vec<ObjectId> {
        let mut ids: Vec<_> = self.cut.iter().map(|at| self.pack.entry(*at).id).collect();
        ids.sort_unstable();
        ids
    }
}

impl PackFacts for CutPack<'_> {
    fn algo(&self) -> HashAlgo {
        self.pack.algo()
    }

    fn len(&self) -> u32 {
        self.pack.len()
    }

    fn pack_bytes(&self) -> u64 {
        self.pack.pack_bytes()
    }

    fn entry(&self, index: u32) -> Entry {
        self.pack.entry(index)
    }

    fn find(&self, id: &ObjectId) -> Option<u32> {
        self.pack.find(id)
    }

    fn sorted(&self) -> &[u32] {
        self.pack.sorted()
    }

    fn commits(&self) -> Box<dyn Iterator<Item = CommitLinks> + '_> {
        let commits = PackFacts::commits(self.pack);
        Box::new(commits.map(|commit| match self.cut.contains(&commit.index) {
            true => CommitLinks { parents: Vec::new(), ..commit },
            false => commit,
        }))
    }
}
