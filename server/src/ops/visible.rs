//! Which objects a repository's refs reach: what may be wanted, and what a full clone sends.
//!
//! As long as no ref was deleted or forced and every pack was reachable as a whole, the answer is "all of them" and
//! costs nothing. A log that is no longer so is marked *unclean* before the entry that makes it so is committed; from
//! then on the set is walked from the refs when it is first needed, and kept.

use std::collections::HashSet;
use std::sync::Arc;

use cairn_protocol::object::{Kind, ObjectId};
use cairn_protocol::source::{ObjRef, ObjectSource};
use cairn_protocol::walk::{ObjSet, Reader, is_ancestor, reach};

use super::{OpError, Served};
use crate::store::repo::Snapshot;

/// Key of the first seq (u64, little endian) from which on some stored objects may be unreachable.
const UNCLEAN: &[u8] = b"unclean";
/// Key of the last walked visible set: seq, then the set.
const VISIBLE: &[u8] = b"visible";
/// Key of what a narrowed fork showed before its first entry: seq 0, then the set. Kept beside the last walked one.
const START: &[u8] = b"start";
/// Key of the last walked set of the default branch: raw id of its tip, then the set.
const BRANCH: &[u8] = b"branch";

/// What names places of objects that may be dropped.
pub const STALE: [&[u8]; 3] = [VISIBLE, BRANCH, START];

/// Marks the log as unclean from the next entry on. Must be called before that entry is committed: a mark too much
/// costs a walk, a mark too few would show objects that no ref reaches.
pub fn mark_unclean(served: &Served, snapshot: &Snapshot) -> Result<(), OpError> {
    if unclean_from(snapshot, 0)?.is_none() {
        served.repo.ensure_file()?;
        served.repo.save_set(0, UNCLEAN, &(snapshot.seq() + 1).to_le_bytes())?;
    }
    Ok(())
}

/// Whether the own log may hold something that no ref reaches.
pub fn may_hide(snapshot: &Snapshot) -> Result<bool, OpError> {
    let is_unclean = unclean_from(snapshot, 0)?.is_some_and(|from| from <= snapshot.seq());
    Ok(is_unclean || snapshot.packs(0)?.iter().any(|pack| !pack.whole))
}

fn unclean_from(snapshot: &Snapshot, source: u16) -> Result<Option<u64>, OpError> {
    let saved = snapshot.saved_set(source, UNCLEAN)?;
    Ok(saved.and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes))
}

/// Everything reachable from the refs of the snapshot.
pub fn visible_set(served: &Served, snapshot: &Snapshot) -> Result<Arc<ObjSet>, OpError> {
    let key = snapshot.fingerprint();
    if let Some(found) = served.visible.get(&key) {
        return Ok(found);
    }
    let set = Arc::new(match all_objects(snapshot)? {
        Some(all) => all,
        None => walked(served, snapshot)?,
    });
    served.visible.put(key, &set);
    Ok(set)
}

/// All stored objects, if every one of them is reachable.
fn all_objects(snapshot: &Snapshot) -> Result<Option<ObjSet>, OpError> {
    if snapshot.is_narrowed() {
        return Ok(None);
    }
    let mut sets = Vec::new();
    for source in 0..snapshot.limits().len() as u16 {
        let seq = snapshot.source_seq(source);
        if unclean_from(snapshot, source)?.is_some_and(|from| from <= seq) {
            return Ok(None);
        }
        if snapshot.packs(source)?.iter().any(|pack| !pack.whole) {
            return Ok(None);
        }
        sets.push(snapshot.canonical(source)?);
    }
    Ok(Some(ObjSet::from_sources(sets)))
}

fn walked(served: &Served, snapshot: &Snapshot) -> Result<ObjSet, OpError> {
    let seq = snapshot.seq().to_le_bytes();
    let key = if snapshot.seq() == 0 { START } else { VISIBLE };
    if let Some(saved) = snapshot.saved_set(0, key)?
        && let Some(bytes) = saved.strip_prefix(&seq)
        && let Some(set) = ObjSet::from_bytes(bytes)
    {
        return Ok(set);
    }
    let mut tips = Vec::new();
    for id in tip_ids(snapshot)? {
        tips.extend(snapshot.lookup(&id)?);
    }
    let known = start_of_narrowed(served, snapshot, &tips)?.unwrap_or_default();
    let set = reach(&mut served.reader(snapshot), &tips, known)?;
    served.repo.save_set(0, key, &[&seq[..], &set.to_bytes()].concat())?;
    Ok(set)
}

/// What a narrowed fork showed before its first own entry, if its tips still reach all of that: all forks of that base
/// at that entry share the set, and what each adds is walked alone.
fn start_of_narrowed(
    served: &Served,
    snapshot: &Snapshot,
    tips: &[ObjRef],
) -> Result<Option<ObjSet>, OpError> {
    if snapshot.seq() == 0 || !snapshot.is_narrowed() {
        return Ok(None);
    }
    let is_commit = |at: ObjRef| Ok::<_, OpError>(snapshot.record(at)?.kind == Kind::Commit);
    let mut commits = Vec::new();
    for at in tips {
        if is_commit(*at)? {
            commits.push(*at);
        }
    }
    let start = served.repo.snapshot(Some(0))?;
    for id in tip_ids(&start)? {
        let Some(old) = snapshot.lookup(&id)? else { return Ok(None) };
        let is_kept = |new: &ObjRef| is_ancestor(snapshot, old, *new).unwrap_or(false);
        if !is_commit(old)? || !commits.iter().any(is_kept) {
            return Ok(None);
        }
    }
    Ok(Some((*visible_set(served, &start)?).clone()))
}

fn tip_ids(snapshot: &Snapshot) -> Result<HashSet<ObjectId>, OpError> {
    let mut ids = HashSet::new();
    snapshot.refs(b"", &mut |row| {
        ids.insert(row.id);
        true
    })?;
    Ok(ids)
}

/// Everything that `wants` reach: the visible set where they cover all refs, else a walk from the last saved set of
/// the default branch.
pub fn full_set(
    served: &Served,
    snapshot: &Snapshot,
    reader: &mut Reader<'_>,
    wants: &[ObjRef],
) -> Result<ObjSet, OpError> {
    let wanted: HashSet<ObjRef> = wants.iter().copied().collect();
    let mut tips = HashSet::new();
    // Fewer wants than refs can still cover them: many refs may share a tip.
    let ids: Vec<ObjectId> = tip_ids(snapshot)?.into_iter().collect();
    tips.extend(snapshot.lookup_many(&ids)?.into_iter().flatten());
    if tips.is_subset(&wanted) {
        return Ok((*visible_set(served, snapshot)?).clone());
    }
    let mut commits = Vec::new();
    for at in wants {
        if snapshot.record(*at)?.kind == Kind::Commit {
            commits.push(*at);
        }
    }
    let known = saved_branch(served, snapshot, &commits)?.unwrap_or_default();
    let set = reach(reader, wants, known)?;
    let head = snapshot.reference(served.head().as_bytes())?;
    if let Some(head) = head
        && snapshot.lookup(&head.id)?.is_some_and(|at| wants == [at])
    {
        served.repo.save_set(0, BRANCH, &[head.id.as_bytes(), &set.to_bytes()].concat())?;
    }
    Ok(set)
}

/// What the default branch reached when it was last walked, if one of `commits` reaches all of that.
fn saved_branch(served: &Served, snapshot: &Snapshot, commits: &[ObjRef]) -> Result<Option<ObjSet>, OpError> {
    let Some(saved) = snapshot.saved_set(0, BRANCH)? else { return Ok(None) };
    let Some((id, bytes)) = saved.split_at_checked(served.algo.bytes()) else { return Ok(None) };
    let Some(id) = ObjectId::from_bytes(served.algo, id) else { return Ok(None) };
    let Some(tip) = snapshot.lookup(&id)? else { return Ok(None) };
    for at in commits {
        if is_ancestor(snapshot, tip, *at)? {
            return Ok(ObjSet::from_bytes(bytes));
        }
    }
    Ok(None)
}
