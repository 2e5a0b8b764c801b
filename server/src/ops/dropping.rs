//! Which stored objects may be dropped: those that no ref named since the floor of the log.
//!
//! The floor is the last entry of the longest prefix that is old enough. Kept is what the refs reached as of the floor and
//! everything that an entry since then named, before or after; what that leans on as deltas; and all that was stored up to
//! the last entry that another repository is pinned to.

use cairn_protocol::source::{ObjRef, ObjectSource};
use cairn_protocol::walk::{ObjSet, Reader, WalkError, reach};
use roaring::RoaringBitmap;

use super::OpError;
use super::visible::may_hide;
use crate::limits::{DROP_OBJECT_BYTES_MAX, DROP_TIPS_MAX};
use crate::store::StoreError;
use crate::store::repo::dropping::{DropPlan, leaned_on};
use crate::store::repo::{Repo, Snapshot};

/// Whether the own log may hold something that no ref reaches. Costs nothing where it holds nothing else.
pub fn may_drop(repo: &Repo) -> Result<bool, OpError> {
    // A commit whose flush failed counts as done or not from here on.
    repo.settle()?;
    may_hide(&repo.snapshot(None)?)
}

/// What may be dropped of the own log, if its entries up to `floor` are old and it is pinned up to `pinned`. Blocks.
///
/// Where that only serves as a base of deltas, the packs of those are rolled first, so that it need not stay for them.
pub fn plan(repo: &Repo, floor: u64, pinned: u64) -> Result<DropPlan, OpError> {
    let first = Kept::of(repo, &repo.snapshot(None)?, floor, pinned)?;
    if !first.leaned_on.is_empty() {
        let mut avoid = first.all;
        avoid -= &first.reached;
        repo.loosen(&avoid)?;
    }
    let snapshot = repo.snapshot(None)?;
    let kept = Kept::of(repo, &snapshot, floor, pinned)?;
    Ok(repo.plan_drop(&snapshot, floor, pinned, &kept.closed)?)
}

/// Ordinals of the own log.
struct Kept {
    /// Everything that is there.
    all: RoaringBitmap,
    /// What is named.
    reached: RoaringBitmap,
    /// The same, with what it leans on, and what that names and leans on.
    closed: RoaringBitmap,
    /// What of that is not named.
    leaned_on: RoaringBitmap,
}

impl Kept {
    fn of(repo: &Repo, snapshot: &Snapshot, floor: u64, pinned: u64) -> Result<Self, OpError> {
        // What was stored up to an entry is closed: it names and leans on nothing that came later. Bases only show such.
        let all = snapshot.canonical(0)?;
        let mut pinned_set = all.clone();
        pinned_set.remove_range(snapshot.limit_at(pinned)..);
        let mut sources = vec![pinned_set];
        for source in 1..snapshot.limits().len() as u16 {
            sources.push(snapshot.canonical(source)?);
        }
        let tips = tips(repo, snapshot, floor)?;
        let mut reader = Reader::new(snapshot, repo.algo()).limited(DROP_OBJECT_BYTES_MAX);
        let mut set = reach(&mut reader, &tips, ObjSet::from_sources(sources))?;
        let reached = of_own(&set);
        loop {
            let more = leaned_on(snapshot, &of_own(&set))?;
            if more.is_empty() {
                break;
            }
            set = reach(&mut reader, &more, set)?;
        }
        let closed = of_own(&set);
        let leaned_on = &closed - &reached;
        Ok(Self { all, reached, closed, leaned_on })
    }
}

fn of_own(set: &ObjSet) -> RoaringBitmap {
    set.source(0).cloned().unwrap_or_default()
}

/// What refs named as of the floor and in each entry since. Each must be there: where one is not, nothing is dropped.
fn tips(repo: &Repo, snapshot: &Snapshot, floor: u64) -> Result<Vec<ObjRef>, OpError> {
    let mut ids = repo.values_after(floor, DROP_TIPS_MAX)?;
    let mut is_all = true;
    repo.snapshot(Some(floor))?.refs(b"", &mut |row| {
        ids.insert(row.id);
        ids.extend(row.peeled);
        is_all = ids.len() <= DROP_TIPS_MAX;
        is_all
    })?;
    if !is_all {
        let (seen, max) = (ids.len() as u64, DROP_TIPS_MAX as u64);
        return Err(StoreError::TooLarge { what: "number of values of refs", seen, max }.into());
    }
    let ids: Vec<_> = ids.into_iter().collect();
    let places = snapshot.lookup_many(&ids)?;
    let place = |(id, at): (_, Option<ObjRef>)| at.ok_or(OpError::Walk(WalkError::Missing(id)));
    ids.into_iter().zip(places).map(place).collect()
}
