//! The one door: appending an entry.
//!
//! Judged in one IMMEDIATE transaction: every update against the refs that are visible then, those of the
//! bases included; then the pack, the entry and the ref changes are written together.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_protocol::object::ObjectId;
use roaring::RoaringBitmap;
use rusqlite::Connection;

use super::Repo;
use super::file::{Flush, PackMeta, RepoFile};
use super::graph::Serial;
use super::index::{Finder, LastShard, find_sharded, read_row};
use super::limits::{RECORDS_PER_ROW, ROLL_TIER_PACKS};
use super::record::{RawRecord, bitmap_bytes, record_bytes};
use super::refs::{self, Level};
use super::schema::{Section, int, row_id};
use super::stage::{Body, Staged, next_pack};
use crate::store::StoreError;

/// What made an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A git push.
    Push,
    /// A commit through REST.
    Commit,
    /// An import from another server.
    Import,
    /// A merge on the server.
    Merge,
    /// The start of a fork that differs from its base: its default branch stands at the commit that was asked for.
    Fork,
    /// Refs made, moved or deleted through REST.
    Refs,
    /// The server's own upkeep.
    Maintenance,
}

impl EntryKind {
    /// The word that the log keeps.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Commit => "commit",
            Self::Import => "import",
            Self::Merge => "merge",
            Self::Fork => "fork",
            Self::Refs => "refs",
            Self::Maintenance => "maintenance",
        }
    }
}

/// What a ref must be for an update to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Not there.
    Absent,
    /// Pointing at exactly this.
    Exactly(ObjectId),
    /// Anything, or not there.
    Any,
}

/// One wanted ref change.
#[derive(Clone, Debug)]
pub struct RefUpdate {
    /// Full name; the caller has checked its form.
    pub name: Vec<u8>,
    /// What it must be now.
    pub expected: Expected,
    /// What it shall point at; `None` deletes it.
    pub new: Option<ObjectId>,
    /// What `new` finally points at where it is an annotated tag.
    pub peeled: Option<ObjectId>,
}

/// An entry to append.
pub struct NewEntry {
    /// What made it.
    pub kind: EntryKind,
    /// Who, in the words of the caller.
    pub actor: String,
    /// When, in milliseconds since 1970.
    pub time_ms: i64,
    /// Random: tells whose entry it is where an answer was lost.
    pub nonce: [u8; 16],
    /// The objects that it brings.
    pub staged: Option<Staged>,
    /// The ref changes.
    pub updates: Vec<RefUpdate>,
    /// Whether all updates must succeed for any to.
    pub atomic: bool,
}

/// What became of one update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateResult {
    /// It applies. In an atomic entry that failed this means that it would have.
    Ok,
    /// The ref is not what was expected.
    Stale {
        /// What it is.
        now: Option<ObjectId>,
    },
    /// Another ref is in the way: a name cannot be a ref and a folder of refs, and an entry changes a ref
    /// once.
    Conflict {
        /// Its name.
        with: Vec<u8>,
    },
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its number; `None` where nothing was written.
    pub seq: Option<u64>,
    /// One for each update, in their order.
    pub results: Vec<UpdateResult>,
}

pub(crate) fn commit_entry(repo: &Repo, mut entry: NewEntry) -> Result<Committed, StoreError> {
    // Never dropped inside the transaction: giving up a stage takes the writer's turn.
    let mut staged = entry.staged.take();
    if staged.as_ref().is_some_and(|staged| staged.repo != repo.id()) {
        return Err(StoreError::Misuse("the pack is staged in another repository"));
    }
    let snapshot = repo.snapshot(None)?;
    let bases: Vec<Level<'_>> = snapshot.views().iter().skip(1).filter_map(|view| view.level()).collect();
    if repo.files.get(repo.id(), repo.algo)?.is_none() {
        // What cannot succeed makes no file.
        let verdict = judge(&bases, &entry)?;
        if !verdict.is_worth_an_entry(&entry, staged.is_some()) {
            return Ok(Committed { seq: None, results: verdict.results });
        }
    }
    let file = repo.files.get_or_create(repo.id(), repo.algo)?;
    let (committed, _) =
        file.write(
            Flush::Now,
            |conn| {
                let mut levels = vec![Level::Held(conn, repo.algo)];
                levels.extend(&bases);
                let verdict = judge(&levels, &entry)?;
                if !verdict.is_worth_an_entry(&entry, staged.is_some()) {
                    return Ok((Committed { seq: None, results: verdict.results }, None));
                }
                let seq = file.packs().head + 1;
                let all_ok = verdict.results.iter().all(|result| *result == UpdateResult::Ok);
                let pack = staged
                    .as_mut()
                    .map(|staged| {
                        // What only a refused update would have reached is reached by nothing.
                        staged.whole &= all_ok;
                        publish_pack(&file, conn, staged, seq)
                    })
                    .transpose()?;
                let has = |id: &ObjectId| {
                    Ok(staged.as_ref().is_some_and(|staged| staged.may_hold(id))
                        || snapshot.find_from(1, id)?.is_some())
                };
                check_kept(&file, conn, &verdict.changes, has)?;
                let pack_id = pack.as_ref().map(|pack| pack.id);
                conn.prepare_cached(
                "INSERT INTO entry (seq, time_ms, actor, kind, nonce, pack) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((int(seq), entry.time_ms, &entry.actor, entry.kind.name(), entry.nonce, pack_id))?;
                write_refs(conn, &bases, seq, &verdict.changes)?;
                let pack = std::sync::Mutex::new(pack);
                Ok((Committed { seq: Some(seq), results: verdict.results }, Some(pack)))
            },
            |(committed, pack), packs| {
                let Some(seq) = committed.seq else { return };
                packs.head = seq;
                // The lock only moves the value out of a shared reference.
                if let Some(pack) = pack.as_ref().and_then(|pack| pack.lock().ok()?.take()) {
                    packs.push(pack);
                }
            },
        )?;
    if let Some(staged) = staged.as_mut().filter(|_| committed.seq.is_some()) {
        staged.body = Body::Live;
    }
    if file.packs().loose >= ROLL_TIER_PACKS {
        repo.files.note_due(repo.id());
    }
    Ok(committed)
}

/// In a log of which something was dropped: whether what refs are to name is there. It is, since whoever judged them holds a
/// snapshot; a ref to nothing would be worse than an error.
fn check_kept(
    file: &RepoFile,
    conn: &Connection,
    changes: &[Change],
    has: impl Fn(&ObjectId) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    if file.packs().drops.places.is_empty() {
        return Ok(());
    }
    let mut finder = Finder::new(file, conn, file.packs().limit());
    for id in changes.iter().filter_map(|change| change.new) {
        if !has(&id)? && finder.find(&id)?.is_none() {
            return Err(StoreError::MissingObject { id });
        }
    }
    Ok(())
}

/// A ref change that applies.
struct Change {
    name: Vec<u8>,
    old: Option<ObjectId>,
    new: Option<ObjectId>,
    peeled: Option<ObjectId>,
}

struct Verdict {
    results: Vec<UpdateResult>,
    /// Those that change something.
    changes: Vec<Change>,
}

impl Verdict {
    fn is_worth_an_entry(&self, entry: &NewEntry, brings_pack: bool) -> bool {
        if entry.updates.is_empty() {
            return brings_pack;
        }
        let all_ok = self.results.iter().all(|result| *result == UpdateResult::Ok);
        !self.changes.is_empty() && (all_ok || !entry.atomic)
    }
}

fn judge(levels: &[Level<'_>], entry: &NewEntry) -> Result<Verdict, StoreError> {
    // What this entry makes of each name: deletions first, since they free names for the others.
    let mut pending: BTreeMap<&[u8], Option<ObjectId>> = BTreeMap::new();
    let mut results: Vec<Option<UpdateResult>> = vec![None; entry.updates.len()];
    let mut changes = Vec::new();
    for deletes in [true, false] {
        for (update, result) in entry.updates.iter().zip(&mut results) {
            if update.new.is_none() != deletes {
                continue;
            }
            let now = refs::get(levels, &update.name)?.map(|row| row.id);
            let verdict = judge_one(levels, &pending, update, now)?;
            if verdict == UpdateResult::Ok {
                pending.insert(&update.name, update.new);
                if now != update.new {
                    let (name, new, peeled) = (update.name.clone(), update.new, update.peeled);
                    changes.push(Change { name, old: now, new, peeled });
                }
            }
            *result = Some(verdict);
        }
    }
    Ok(Verdict { results: results.into_iter().flatten().collect(), changes })
}

fn judge_one(
    levels: &[Level<'_>],
    pending: &BTreeMap<&[u8], Option<ObjectId>>,
    update: &RefUpdate,
    now: Option<ObjectId>,
) -> Result<UpdateResult, StoreError> {
    let name = update.name.as_slice();
    if pending.contains_key(name) {
        return Ok(UpdateResult::Conflict { with: name.to_vec() });
    }
    let is_as_expected = match update.expected {
        Expected::Absent => now.is_none(),
        Expected::Exactly(id) => now == Some(id),
        Expected::Any => true,
    };
    if !is_as_expected {
        return Ok(UpdateResult::Stale { now });
    }
    if now.is_some() || update.new.is_none() {
        return Ok(UpdateResult::Ok);
    }
    Ok(match in_the_way(levels, pending, name)? {
        Some(with) => UpdateResult::Conflict { with },
        None => UpdateResult::Ok,
    })
}

/// A ref that is a folder of `name`, or that `name` would be a folder of.
fn in_the_way(
    levels: &[Level<'_>],
    pending: &BTreeMap<&[u8], Option<ObjectId>>,
    name: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    for (at, _) in name.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
        let Some(folder) = name.get(..at) else { continue };
        let exists = match pending.get(folder) {
            Some(new) => new.is_some(),
            None => refs::get(levels, folder)?.is_some(),
        };
        if exists {
            return Ok(Some(folder.to_vec()));
        }
    }
    let mut prefix = name.to_vec();
    prefix.push(b'/');
    let new_below = pending.range(prefix.as_slice()..).take_while(|(below, _)| below.starts_with(&prefix));
    if let Some((below, _)) = new_below.into_iter().find(|(_, new)| new.is_some()) {
        return Ok(Some(below.to_vec()));
    }
    let mut found = None;
    // Few rows a statement: nearly always there is none.
    refs::scan(levels, (&prefix, b""), 8, &mut |row| {
        if pending.get(row.name.as_slice()) != Some(&None) {
            found = Some(row.name);
        }
        found.is_none()
    })?;
    Ok(found)
}

fn write_refs(
    conn: &Connection,
    bases: &[Level<'_>],
    seq: u64,
    changes: &[Change],
) -> Result<(), StoreError> {
    let bytes = |id: &Option<ObjectId>| id.as_ref().map(|id| id.as_bytes().to_vec());
    for change in changes {
        let (old, new, peeled) = (bytes(&change.old), bytes(&change.new), bytes(&change.peeled));
        conn.prepare_cached(
            "INSERT INTO ref_change (name, seq, old, new, peeled) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((&change.name, int(seq), old, &new, &peeled))?;
        if new.is_none() && refs::get(bases, &change.name)?.is_none() {
            conn.prepare_cached("DELETE FROM ref WHERE name = ?1")?.execute([&change.name])?;
        } else {
            conn.prepare_cached("INSERT OR REPLACE INTO ref (name, id, peeled) VALUES (?1, ?2, ?3)")?
                .execute((&change.name, &new, &peeled))?;
        }
    }
    Ok(())
}

/// Makes a staged pack part of entry `seq`.
fn publish_pack(
    file: &RepoFile,
    conn: &Connection,
    staged: &mut Staged,
    seq: u64,
) -> Result<PackMeta, StoreError> {
    let base_ordinal = file.packs().limit();
    if base_ordinal.checked_add(staged.object_count).is_none() {
        let (seen, max) = (u64::from(base_ordinal) + u64::from(staged.object_count), u64::from(u32::MAX));
        return Err(StoreError::TooLarge { what: "number of objects", seen, max });
    }
    let pack = match &staged.body {
        Body::Disk { pack, .. } => *pack,
        Body::Memory(rows) => {
            let pack = next_pack(conn)?;
            staged.insert_pack(conn, pack)?;
            rows.iter().try_for_each(|row| row.insert(conn, pack))?;
            pack
        }
        Body::Live => return Err(StoreError::Misuse("the pack is part of an entry already")),
    };
    let mut dups = staged.dups.clone();
    add_new_dups(file, conn, staged, pack, &mut dups)?;
    if staged.fanout.is_empty() {
        let drops = Arc::clone(&file.packs().drops);
        let mut insert = conn.prepare_cached("INSERT INTO object (id, ordinal) VALUES (?1, ?2)")?;
        for (id, index) in staged.ids.iter().filter(|(_, index)| !dups.contains(*index)) {
            drops.forget_row(conn, id)?;
            insert.execute((id.as_bytes(), base_ordinal + index))?;
        }
    }
    let changed = conn
        .prepare_cached(
            "UPDATE pack SET live = 1, base_ordinal = ?2, seq = ?3, dups = ?4, whole = ?5
             WHERE id = ?1 AND live = 0",
        )?
        .execute((pack, base_ordinal, int(seq), bitmap_bytes(&mut dups)?, staged.whole))?;
    if changed != 1 {
        return Err(StoreError::corrupt(format!("staged pack {pack} is gone")));
    }
    Ok(PackMeta {
        id: pack,
        base_ordinal,
        object_count: staged.object_count,
        bytes: staged.bytes,
        whole: staged.whole,
        seq,
        dups,
        fanout: staged.fanout.clone(),
        serial: Serial::next(),
        cuts: Vec::new(),
    })
}

/// Marks objects that became visible after the pack was staged.
fn add_new_dups(
    file: &RepoFile,
    conn: &Connection,
    staged: &Staged,
    pack: u32,
    dups: &mut RoaringBitmap,
) -> Result<(), StoreError> {
    let limit = file.packs().limit();
    if limit == staged.seen_limit {
        return Ok(());
    }
    if !staged.ids.is_empty() {
        let mut finder = Finder::new(file, conn, limit);
        for (id, index) in &staged.ids {
            if !dups.contains(*index) && finder.find(id)?.is_some() {
                dups.insert(*index);
            }
        }
        return Ok(());
    }
    let drops = Arc::clone(&file.packs().drops);
    let came: Vec<(u32, u32, u32)> = {
        let packs = file.packs();
        // A pack that was rolled meanwhile may hold what was seen and what came.
        let came = packs.list.iter().filter(|other| other.end() > staged.seen_limit);
        came.map(|other| (other.id, other.base_ordinal, other.object_count)).collect()
    };
    let (mut row, mut last) = (Vec::new(), LastShard::default());
    for (other, first, object_count) in came {
        for n in 0..object_count.div_ceil(RECORDS_PER_ROW) {
            read_row(conn, row_id(other, Section::Records, n), &mut row)?;
            let places = (first + n * RECORDS_PER_ROW..).zip(row.chunks_exact(record_bytes(file.algo)));
            // What was dropped and comes again is new.
            for (_, raw) in places.filter(|(ordinal, _)| !drops.places.contains(*ordinal)) {
                let id = RawRecord::decode(file.algo, raw)?.id;
                let fresh = |index: u32| !dups.contains(index);
                if let Some(index) =
                    find_sharded(conn, file.algo, (pack, &staged.fanout), &id, &mut last, fresh)?
                {
                    dups.insert(index);
                }
            }
        }
    }
    Ok(())
}
