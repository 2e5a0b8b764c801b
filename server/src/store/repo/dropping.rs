//! Dropping what no ref named for long: what the store does of it. What is kept is decided in `ops/dropping`.
//!
//! It is one logical step for the whole log, since what is stored counts as there: an object that stays while something that
//! it names goes would let a push pass that names it. So the places that go are noted in one short transaction, at a moment
//! at which no snapshot is open, and their bytes go later, pack by pack, as packs are rolled.
//!
//! What is below the end of a prefix that another repository is pinned to stays as it is, garbage included: a fork may have
//! been pushed something that only leans on that.

use std::collections::HashSet;

use cairn_protocol::object::ObjectId;
use cairn_protocol::source::{Base, ObjRef, ObjectSource};
use roaring::RoaringBitmap;
use rusqlite::Connection;

use super::Repo;
use super::drops::{self, Drops, Mark};
use super::file::{PackMeta, Packs, RepoFile};
use super::index::read_row;
use super::limits::{DROP_MARKS_PER_TIME, LOOKUP_BATCH, RECORDS_PER_ROW};
use super::record::{RawRecord, record_bytes};
use super::refs::id_at;
use super::schema::{LAYOUT_DROPPED, Section, int, row_id};
use super::snapshot::Snapshot;
use crate::store::StoreError;

pub use super::drops::Hush;

/// How far the entries of a log are old enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aged {
    /// The last entry of the longest prefix that is; 0 where none is.
    pub floor: u64,
    /// In how many milliseconds more of it may be; `None` where all of it is.
    pub next_ms: Option<u64>,
}

/// How old entries must be, and what time it is.
#[derive(Clone, Copy, Debug)]
pub struct Ages {
    /// Milliseconds of the clock that only counts time in which the data was looked after.
    pub steady_ms: u64,
    /// Milliseconds since 1970.
    pub now_ms: i64,
    /// What nothing named for so many milliseconds may go.
    pub keep_ms: u64,
}

/// What is to be dropped. Good as long as the log has no further entry and nothing in it is pinned further up.
pub struct DropPlan {
    head: u64,
    floor: u64,
    /// Everything below is kept.
    low: u32,
    /// Ordinals that go.
    places: RoaringBitmap,
    /// Bytes of them in packs.
    pub bytes: u64,
}

impl DropPlan {
    /// How many objects go, copies included.
    pub fn objects(&self) -> u64 {
        self.places.len()
    }
}

/// What was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Objects, copies included.
    pub objects: u64,
    /// Their bytes in packs, which go as packs are rolled.
    pub bytes: u64,
}

impl Repo {
    /// How far the own log is old enough. Notes where it ends now, so that later it can be told.
    ///
    /// An entry is old once both clocks say so: the time that it carries, and the steady time since it was first seen here. So
    /// a clock that was wrong for a while, ahead or behind, makes nothing old.
    pub fn age(&self, ages: &Ages) -> Result<Aged, StoreError> {
        let Some(file) = self.files.get(self.id(), self.algo)? else {
            return Ok(Aged { floor: 0, next_ms: None });
        };
        let head = file.packs().head;
        let cutoff = ages.now_ms.saturating_sub(i64::try_from(ages.keep_ms).unwrap_or(i64::MAX));
        let (mut marks, old, floor) = file.read(|conn| {
            let marks = Mark::load(conn, self.id())?;
            let is_old = |mark: &&Mark| mark.at_ms.saturating_add(ages.keep_ms) <= ages.steady_ms;
            let old = marks.iter().filter(is_old).map(|mark| mark.seq.min(head)).max().unwrap_or(0);
            Ok((marks, old, drops::last_before(conn, old, cutoff)?))
        })?;
        let before = marks.clone();
        // Of the old ones only the last tells something; one of the future is of another clock.
        marks.retain(|mark| mark.seq >= old && mark.at_ms <= ages.steady_ms);
        let pause = ages.keep_ms / DROP_MARKS_PER_TIME;
        let last = marks.last().copied();
        let is_due = |mark: Mark| mark.seq < head && mark.at_ms.saturating_add(pause) <= ages.steady_ms;
        if head > 0 && last.is_none_or(is_due) {
            marks.push(Mark { at_ms: ages.steady_ms, seq: head });
        }
        if marks != before {
            file.write(super::file::Flush::Later, |conn| Mark::save(conn, self.id(), &marks), |(), _| ())?;
        }
        if ages.keep_ms == 0 {
            // What has just been seen is old.
            let floor = file.read(|conn| drops::last_before(conn, head, cutoff))?;
            return Ok(Aged { floor, next_ms: (floor < head).then_some(0) });
        }
        let next =
            marks.iter().find(|mark| mark.seq > old).map(|mark| mark.at_ms.saturating_add(ages.keep_ms));
        let next = next.or(last.map(|mark| mark.at_ms.saturating_add(pause))).unwrap_or(ages.steady_ms);
        Ok(Aged { floor, next_ms: (floor < head).then(|| next.saturating_sub(ages.steady_ms)) })
    }

    /// Every value, old and new, of the refs that entries after `seq` changed; an error where there are more than `max`.
    pub fn values_after(&self, seq: u64, max: usize) -> Result<HashSet<ObjectId>, StoreError> {
        let mut ids = HashSet::new();
        let Some(file) = self.files.get(self.id(), self.algo)? else { return Ok(ids) };
        file.read(|conn| {
            let mut select = conn.prepare_cached("SELECT old, new, peeled FROM ref_change WHERE seq > ?1")?;
            let mut rows = select.query([int(seq)])?;
            while let Some(row) = rows.next()? {
                for column in 0..3 {
                    ids.extend(id_at(self.algo, row, column)?);
                }
                if ids.len() > max {
                    let (seen, max) = (ids.len() as u64, max as u64);
                    return Err(StoreError::TooLarge { what: "number of values of refs", seen, max });
                }
            }
            Ok(())
        })?;
        Ok(ids)
    }

    /// What goes where `kept` (of the own log) stays as of the end of `snapshot`, which is that of the whole log, and
    /// everything up to the entry `pinned`.
    ///
    /// `kept` must hold all that its members name and lean on: see `leaned_on`.
    pub fn plan_drop(
        &self,
        snapshot: &Snapshot,
        floor: u64,
        pinned: u64,
        kept: &RoaringBitmap,
    ) -> Result<DropPlan, StoreError> {
        let (head, limit) = (snapshot.seq(), snapshot.own_limit());
        let mut plan = DropPlan { head, floor, low: 0, places: RoaringBitmap::new(), bytes: 0 };
        let Some(file) = snapshot.views().first().and_then(|view| view.file.clone()) else { return Ok(plan) };
        let (list, known) = {
            let packs = file.packs();
            plan.low = packs.limit_at(pinned.min(head));
            (packs.list.clone(), packs.drops.places.clone())
        };
        let low = plan.low;
        let is_kept = |at: ObjRef| at.source > 0 || at.ordinal < low || kept.contains(at.ordinal);
        for pack in list.iter().filter(|pack| pack.base_ordinal < limit && pack.end() > low) {
            let mut copies = Vec::new();
            let mut check = |copies: &mut Vec<(ObjectId, u32, u64)>| -> Result<(), StoreError> {
                let ids: Vec<ObjectId> = copies.iter().map(|(id, ..)| *id).collect();
                for ((_, ordinal, bytes), at) in copies.drain(..).zip(snapshot.lookup_many(&ids)?) {
                    if !at.is_some_and(is_kept) {
                        plan.places.insert(ordinal);
                        plan.bytes += bytes;
                    }
                }
                Ok(())
            };
            each_raw(&file, snapshot, pack, &mut |ordinal, raw| {
                if ordinal < low || ordinal >= limit || known.contains(ordinal) || kept.contains(ordinal) {
                    return Ok(());
                }
                copies.push((raw.id, ordinal, u64::from(raw.entry_bytes)));
                if copies.len() < LOOKUP_BATCH { Ok(()) } else { check(&mut copies) }
            })?;
            check(&mut copies)?;
        }
        Ok(plan)
    }

    /// Whether nobody reads the own log now, here or in another process.
    pub fn hush(&self) -> Result<Option<Hush>, StoreError> {
        Ok(self.files.get(self.id(), self.algo)?.and_then(|file| file.hush()))
    }

    /// Drops what was planned; `None`, and nothing is done, where that is no longer right: there is a further entry, somebody
    /// reads, or a repository is pinned further up. `pinned` must have been asked for while `hush` was held. What was kept of
    /// sets under the keys `stale` is forgotten.
    pub fn publish_drop(
        &self,
        plan: DropPlan,
        hush: Hush,
        pinned: u64,
        stale: &[&[u8]],
    ) -> Result<Option<Dropped>, StoreError> {
        let Some(file) = self.files.get(self.id(), self.algo)? else { return Ok(None) };
        if plan.places.is_empty() {
            // What costs nobody anything is not noted.
            return Ok(Some(Dropped::default()));
        }
        // Rolling reads without a lock: it would bring back what it read before.
        let _turn = super::file::locked(&file.rolling);
        let work = |conn: &Connection, packs: &Packs| {
            let holds = packs.head == plan.head && packs.limit_at(pinned.min(packs.head)) <= plan.low;
            if !holds || packs.list.iter().any(|pack| pack.seq > plan.head) {
                return Ok(None);
            }
            let mut drops = Drops::clone(&packs.drops);
            drops.add(plan.floor, &plan.places);
            drops.save(conn)?;
            conn.execute("UPDATE meta SET value = max(value, ?1) WHERE key = 'layout'", [LAYOUT_DROPPED])?;
            for key in stale {
                conn.execute("DELETE FROM reach WHERE key = ?1", [key])?;
            }
            Ok(Some(drops))
        };
        let done = file.write_alone(hush, work, |drops, packs| packs.set_drops(drops.clone()))?;
        Ok(done.map(|_| Dropped { objects: plan.objects(), bytes: plan.bytes }))
    }

    /// The first entry as of which everything of the own log is there; 0 where nothing was dropped.
    pub fn floor(&self) -> Result<u64, StoreError> {
        Ok(self.files.get(self.id(), self.algo)?.map_or(0, |file| file.packs().drops.floor()))
    }
}

/// The objects of the own log outside of `kept` that its members lean on as deltas, at any depth.
pub fn leaned_on(snapshot: &Snapshot, kept: &RoaringBitmap) -> Result<Vec<ObjRef>, StoreError> {
    let mut found = RoaringBitmap::new();
    let mut missing = Vec::new();
    snapshot.records(0, 0..snapshot.own_limit(), &mut |ordinal, record| {
        if let Base::Ofs(base) | Base::Ref(base) = record.base
            && kept.contains(ordinal)
            && base.source == 0
            && !kept.contains(base.ordinal)
            && found.insert(base.ordinal)
        {
            missing.push(base);
        }
    })?;
    let mut at = 0;
    while let Some(now) = missing.get(at).copied() {
        at += 1;
        if let Base::Ofs(base) | Base::Ref(base) = snapshot.record(now)?.base
            && base.source == 0
            && !kept.contains(base.ordinal)
            && found.insert(base.ordinal)
        {
            missing.push(base);
        }
    }
    Ok(missing)
}

/// Bytes that a pack still holds of what was dropped of it.
pub(crate) fn dead_bytes(file: &RepoFile, snapshot: &Snapshot, pack: &PackMeta) -> Result<u64, StoreError> {
    let drops = std::sync::Arc::clone(&file.packs().drops);
    if drops.places.range_cardinality(pack.base_ordinal..pack.end()) == 0 {
        return Ok(0);
    }
    let mut bytes = 0;
    each_raw(file, snapshot, pack, &mut |ordinal, raw| {
        bytes += if drops.places.contains(ordinal) { u64::from(raw.entry_bytes) } else { 0 };
        Ok(())
    })?;
    Ok(bytes)
}

/// The records of a pack as they are stored, copies and dropped ones included.
fn each_raw(
    file: &RepoFile,
    snapshot: &Snapshot,
    pack: &PackMeta,
    each: &mut dyn FnMut(u32, RawRecord) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let (bytes, mut row) = (record_bytes(file.algo), Vec::new());
    for n in 0..pack.object_count.div_ceil(RECORDS_PER_ROW) {
        snapshot.stop().check()?;
        file.read(|conn| read_row(conn, row_id(pack.id, Section::Records, n), &mut row))?;
        for (ordinal, raw) in (pack.base_ordinal + n * RECORDS_PER_ROW..).zip(row.chunks_exact(bytes)) {
            each(ordinal, RawRecord::decode(file.algo, raw)?)?;
        }
    }
    Ok(())
}
