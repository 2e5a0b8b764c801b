//! Taking in a pack: durable first, visible only with its entry.
//!
//! A large pack is written in transactions of bounded size as a pack that is not live; no lock is held
//! between them. A small one waits in memory, so that a tiny push is one transaction and one flush.

use std::collections::HashMap;
use std::sync::Arc;

use cairn_protocol::object::{Kind, ObjectId};
use cairn_protocol::source::ObjRef;
use roaring::RoaringBitmap;
use rusqlite::Connection;

use super::cuts::Lease;
use super::facts::{CommitLinks, EntryBase, PackBytes, PackFacts, RefBase};
use super::file::{Flush, RepoFile};
use super::graph::RawCommit;
use super::index::{encode_shard_entry, prefix_of, shard_cuts};
use super::limits::{
    CHUNK_BYTES, COMMIT_ROW_BYTES, LOOKUP_BATCH, PACK_BYTES_MAX, RECORDS_PER_ROW, SHARDED_OBJECTS_MIN,
    SMALL_PACK_BYTES_MAX, SMALL_PACK_OBJECTS_MAX, STAGE_TRANSACTION_BYTES,
};
use super::record::{Place, RawBase, RawRecord, bitmap_bytes, record_bytes};
use super::schema::{self, Section, int, row_id};
use super::snapshot::Snapshot;
use crate::store::StoreError;
use crate::store::files::RepoId;

/// A pack that is stored, or ready to be stored, and that no reader can see.
#[must_use = "staged objects are garbage until their entry is committed"]
pub struct Staged {
    pub(crate) repo: RepoId,
    pub(crate) key: [u8; 16],
    pub(crate) bytes: u64,
    pub(crate) object_count: u32,
    pub(crate) whole: bool,
    /// Commits, trees and tags.
    pub(crate) kinds: [Vec<u8>; 3],
    /// Places of objects that were visible when the pack was staged; the commit adds those that came since.
    pub(crate) dups: RoaringBitmap,
    pub(crate) fanout: Vec<u64>,
    /// All ids with their places, in the order of ids; none for a pack that is found by its shards alone.
    pub(crate) ids: Vec<(ObjectId, u32)>,
    /// Ordinals of the own log that `dups` knows of.
    pub(crate) seen_limit: u32,
    /// Of the snapshot that it leans on: nothing of that is dropped before the entry is there.
    pub(crate) _leases: Vec<Lease>,
    pub(crate) body: Body,
}

pub(crate) enum Body {
    Memory(Vec<PartRow>),
    /// Written as a pack that is not live. Holding the file keeps it open: what is opened anew is swept.
    Disk {
        file: Arc<RepoFile>,
        pack: u32,
    },
    /// Part of an entry.
    Live,
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Body::Disk { file, pack } = &self.body {
            // What cannot be deleted now is swept when the file is opened next.
            let _ = file.write(Flush::Later, |conn| schema::delete_staged(conn, *pack), |(), _| ());
        }
    }
}

impl Staged {
    /// How many objects, those included that the repository had already.
    pub fn object_count(&self) -> u32 {
        self.object_count
    }

    /// Whether it holds an object; true where it has too many ids to tell.
    pub(crate) fn may_hold(&self, id: &ObjectId) -> bool {
        self.ids.is_empty() || self.ids.binary_search_by_key(id, |(id, _)| *id).is_ok()
    }

    /// Writes the row of the pack.
    pub(crate) fn insert_pack(&self, conn: &Connection, pack: u32) -> Result<(), StoreError> {
        let fanout: Vec<u8> = self.fanout.iter().flat_map(|first| first.to_le_bytes()).collect();
        let [commits, trees, tags] = &self.kinds;
        conn.prepare_cached(
            "INSERT INTO pack (id, key, live, bytes, object_count, whole, commits, trees, tags, dups, fanout)
             VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7, ?8, x'', ?9)",
        )?
        .execute((
            pack,
            self.key,
            int(self.bytes),
            self.object_count,
            self.whole,
            commits,
            trees,
            tags,
            fanout,
        ))?;
        Ok(())
    }
}

/// A row of `chunk`, whose pack has no number yet.
pub(crate) struct PartRow {
    section: Section,
    n: u32,
    data: Vec<u8>,
}

impl PartRow {
    pub(crate) fn insert(&self, conn: &Connection, pack: u32) -> Result<(), StoreError> {
        let row = row_id(pack, self.section, self.n);
        conn.prepare_cached("INSERT INTO chunk (id, data) VALUES (?1, ?2)")?.execute((row, &self.data))?;
        Ok(())
    }
}

/// The number for a new pack.
pub(crate) fn next_pack(conn: &Connection) -> Result<u32, StoreError> {
    Ok(conn.query_row("SELECT ifnull(max(id), 0) + 1 FROM pack", [], |row| row.get(0))?)
}

/// Everything about a pack that is not simply copied.
struct Plan<'a> {
    facts: &'a dyn PackFacts,
    bytes: &'a dyn PackBytes,
    bases: HashMap<ObjectId, ObjRef>,
    commits: Vec<Vec<u8>>,
    cuts: Vec<usize>,
}

/// Stages a pack into the repository that `snapshot` shows. `file` opens or makes its file.
pub(crate) fn stage(
    repo: RepoId,
    snapshot: &Snapshot,
    file: impl FnOnce() -> Result<Arc<RepoFile>, StoreError>,
    (facts, bytes, whole): (&dyn PackFacts, &dyn PackBytes, bool),
) -> Result<Staged, StoreError> {
    check(snapshot, facts, bytes)?;
    let object_count = facts.len();
    let sharded = object_count >= SHARDED_OBJECTS_MIN;
    let id_at = |at: usize| facts.sorted().get(at).map(|index| facts.entry(*index).id);
    let prefix_at = |at: usize| id_at(at).map_or(0, |id| prefix_of(&id));
    let cuts = if sharded { shard_cuts(object_count as usize, prefix_at) } else { Vec::new() };
    let fanout = cuts.iter().map(|cut| prefix_at(*cut)).collect();
    let plan =
        Plan { facts, bytes, bases: bases(snapshot, facts)?, commits: commit_rows(snapshot, facts)?, cuts };
    let ids = if object_count <= SMALL_PACK_OBJECTS_MAX {
        facts.sorted().iter().map(|index| (facts.entry(*index).id, *index)).collect()
    } else {
        Vec::new()
    };
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| StoreError::Io(std::io::Error::other(error.to_string())))?;
    let mut staged = Staged {
        repo,
        key,
        bytes: facts.pack_bytes(),
        object_count,
        whole,
        kinds: kind_sets(facts)?,
        dups: dups(snapshot, facts)?,
        fanout,
        ids,
        seen_limit: snapshot.own_limit(),
        _leases: snapshot.leases(),
        body: Body::Live,
    };
    let rows = plan.rows().map(|row| {
        snapshot.stop().check()?;
        row
    });
    if staged.bytes <= SMALL_PACK_BYTES_MAX && object_count <= SMALL_PACK_OBJECTS_MAX {
        staged.body = Body::Memory(rows.collect::<Result<_, _>>()?);
    } else {
        write(&mut staged, file()?, rows)?;
    }
    Ok(staged)
}

fn check(snapshot: &Snapshot, facts: &dyn PackFacts, bytes: &dyn PackBytes) -> Result<(), StoreError> {
    if facts.algo() != snapshot.algo() {
        return Err(StoreError::Misuse("the pack is of another object format"));
    }
    if facts.pack_bytes() != bytes.len() {
        return Err(StoreError::Misuse("the index is of another pack"));
    }
    if facts.pack_bytes() > PACK_BYTES_MAX {
        let (seen, max) = (facts.pack_bytes(), PACK_BYTES_MAX);
        return Err(StoreError::TooLarge { what: "bytes of a pack", seen, max });
    }
    Ok(())
}

/// Writes a large pack, a bounded transaction at a time.
fn write(
    staged: &mut Staged,
    file: Arc<RepoFile>,
    mut rows: impl Iterator<Item = Result<PartRow, StoreError>>,
) -> Result<(), StoreError> {
    let pack = file.write(
        Flush::Later,
        |conn| {
            let pack = next_pack(conn)?;
            staged.insert_pack(conn, pack)?;
            Ok(pack)
        },
        |_, _| (),
    )?;
    staged.body = Body::Disk { file: Arc::clone(&file), pack };
    let mut is_done = false;
    while !is_done {
        // Gathered before the writer's turn: reading a spool must not hold up other pushes.
        let (mut batch, mut batch_bytes) = (Vec::new(), 0);
        while !is_done && batch_bytes < STAGE_TRANSACTION_BYTES {
            match rows.next().transpose()? {
                Some(row) => {
                    batch_bytes += row.data.len();
                    batch.push(row);
                }
                None => is_done = true,
            }
        }
        file.write(Flush::Later, |conn| batch.iter().try_for_each(|row| row.insert(conn, pack)), |(), _| ())?;
    }
    Ok(())
}

/// Where the ref-deltas' bases outside the pack are. A base that only the pack itself holds is left out.
fn bases(snapshot: &Snapshot, facts: &dyn PackFacts) -> Result<HashMap<ObjectId, ObjRef>, StoreError> {
    let mut bases = HashMap::new();
    for index in 0..facts.len() {
        if let EntryBase::Ref(RefBase::External(id)) = facts.entry(index).base
            && !bases.contains_key(&id)
        {
            match snapshot.find_from(0, &id)? {
                Some(at) => drop(bases.insert(id, at)),
                None if facts.find(&id).is_some() => {}
                None => return Err(StoreError::MissingObject { id }),
            }
        }
    }
    Ok(bases)
}

fn visible(snapshot: &Snapshot, id: &ObjectId) -> Result<ObjRef, StoreError> {
    snapshot.find_from(0, id)?.ok_or(StoreError::MissingObject { id: *id })
}

/// Places whose object is visible already, or came earlier in the same pack.
fn dups(snapshot: &Snapshot, facts: &dyn PackFacts) -> Result<RoaringBitmap, StoreError> {
    let mut dups = RoaringBitmap::new();
    let mut before: Option<(ObjectId, u32, bool)> = None;
    // In the order of ids, which is the order of what is looked up; in batches, to keep memory bounded.
    for batch in facts.sorted().chunks(LOOKUP_BATCH) {
        let ids: Vec<ObjectId> = batch.iter().map(|index| facts.entry(*index).id).collect();
        let mut shown = vec![false; ids.len()];
        snapshot.mark_visible(&ids, &mut shown)?;
        for ((index, id), is_shown) in batch.iter().zip(ids).zip(shown) {
            let first = match before.filter(|(same, ..)| *same == id) {
                Some((_, first, false)) => {
                    dups.insert(first.max(*index));
                    first.min(*index)
                }
                _ => *index,
            };
            if is_shown {
                dups.insert(*index);
            }
            before = Some((id, first, is_shown));
        }
    }
    Ok(dups)
}

fn kind_sets(facts: &dyn PackFacts) -> Result<[Vec<u8>; 3], StoreError> {
    let mut sets: [RoaringBitmap; 3] = Default::default();
    let [commits, trees, tags] = &mut sets;
    for index in 0..facts.len() {
        match facts.entry(index).kind {
            Kind::Commit => commits.insert(index),
            Kind::Tree => trees.insert(index),
            Kind::Tag => tags.insert(index),
            Kind::Blob => continue,
        };
    }
    Ok([bitmap_bytes(commits)?, bitmap_bytes(trees)?, bitmap_bytes(tags)?])
}

/// The commit links of a pack as rows, generations included.
fn commit_rows(snapshot: &Snapshot, facts: &dyn PackFacts) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut links: Vec<CommitLinks> = facts.commits().collect();
    links.sort_unstable_by_key(|commit| commit.index);
    let place = |id: &ObjectId| match facts.find(id) {
        Some(index) => Ok(Place::InPack(index)),
        None => visible(snapshot, id).map(Place::Chain),
    };
    let mut commits = Vec::with_capacity(links.len());
    for commit in links {
        commits.push(RawCommit {
            index: commit.index,
            generation: 0,
            time: commit.time,
            tree: place(&commit.tree)?,
            parents: commit.parents.iter().map(place).collect::<Result<_, _>>()?,
        });
    }
    number_generations(snapshot, &mut commits)?;
    let mut rows: Vec<Vec<u8>> = Vec::new();
    for commit in &commits {
        match rows.last_mut().filter(|row| row.len() < COMMIT_ROW_BYTES) {
            Some(row) => commit.encode(row),
            None => {
                let mut row = Vec::new();
                commit.encode(&mut row);
                rows.push(row);
            }
        }
    }
    Ok(rows)
}

/// Sets each commit's generation, parents first, without recursion.
fn number_generations(snapshot: &Snapshot, commits: &mut [RawCommit]) -> Result<(), StoreError> {
    let at: HashMap<u32, usize> = commits.iter().enumerate().map(|(at, commit)| (commit.index, at)).collect();
    // Each commit waits for each of its parents at most once.
    let waiting_max = commits.iter().map(|commit| commit.parents.len()).sum::<usize>() + 1;
    for start in 0..commits.len() {
        let mut waiting = vec![start];
        while let Some(now) = waiting.last().copied() {
            let Some(commit) = commits.get(now) else { break };
            let (mut generation, mut is_ready) = (0, true);
            if commit.generation == 0 {
                for parent in &commit.parents {
                    let of_parent = match parent {
                        Place::Chain(at) => snapshot.commit_node(*at)?.generation,
                        Place::InPack(index) => {
                            let parent = at.get(index).copied();
                            let parent =
                                parent.ok_or_else(|| StoreError::corrupt("a parent is not a commit"))?;
                            let generation = commits.get(parent).map_or(0, |parent| parent.generation);
                            if generation == 0 {
                                is_ready = false;
                                waiting.push(parent);
                            }
                            generation
                        }
                    };
                    generation = generation.max(of_parent);
                }
                if waiting.len() > waiting_max {
                    return Err(StoreError::corrupt("commits name each other in a circle"));
                }
            }
            if is_ready {
                waiting.pop();
                if let Some(commit) = commits.get_mut(now).filter(|commit| commit.generation == 0) {
                    commit.generation = generation + 1;
                }
            }
        }
    }
    Ok(())
}

impl<'a> Plan<'a> {
    /// All rows of the pack, made one at a time.
    fn rows(&'a self) -> impl Iterator<Item = Result<PartRow, StoreError>> + 'a {
        let chunks = self.bytes.len().div_ceil(CHUNK_BYTES as u64) as u32;
        let records = self.facts.len().div_ceil(RECORDS_PER_ROW);
        let part = |section, n, data: Result<Vec<u8>, StoreError>| Ok(PartRow { section, n, data: data? });
        let bytes = (0..chunks).map(move |n| part(Section::Bytes, n, self.chunk(n)));
        let records = (0..records).map(move |n| part(Section::Records, n, self.records(n)));
        let commits =
            (0..).zip(&self.commits).map(move |(n, row)| part(Section::Commits, n, Ok(row.clone())));
        let shards = (0..self.cuts.len()).map(move |n| part(Section::Index, n as u32, Ok(self.shard(n))));
        bytes.chain(records).chain(commits).chain(shards)
    }

    fn chunk(&self, n: u32) -> Result<Vec<u8>, StoreError> {
        let at = u64::from(n) * CHUNK_BYTES as u64;
        let mut data = vec![0; (self.bytes.len() - at).min(CHUNK_BYTES as u64) as usize];
        self.bytes.read_at(at, &mut data)?;
        Ok(data)
    }

    fn records(&self, n: u32) -> Result<Vec<u8>, StoreError> {
        let first = n * RECORDS_PER_ROW;
        let end = first.saturating_add(RECORDS_PER_ROW).min(self.facts.len());
        let mut data = Vec::with_capacity((end - first) as usize * record_bytes(self.facts.algo()));
        for index in first..end {
            let entry = self.facts.entry(index);
            let base = match entry.base {
                EntryBase::Whole => RawBase::None,
                EntryBase::Ofs(index) => RawBase::Ofs(Place::InPack(index)),
                EntryBase::Ref(RefBase::InPack(index)) => RawBase::Ref(Place::InPack(index)),
                EntryBase::Ref(RefBase::External(id)) => {
                    let known = self.bases.get(&id).map(|at| Place::Chain(*at));
                    let place = known.or_else(|| self.facts.find(&id).map(Place::InPack));
                    RawBase::Ref(place.ok_or(StoreError::MissingObject { id })?)
                }
            };
            let entry_bytes = u32::try_from(entry.entry_bytes).map_err(|_| StoreError::TooLarge {
                what: "bytes of a pack entry",
                seen: entry.entry_bytes,
                max: u64::from(u32::MAX),
            })?;
            let (id, kind, size, offset) = (entry.id, entry.kind, entry.size, entry.offset);
            RawRecord { id, kind, size, offset, entry_bytes, base }.encode(&mut data);
        }
        Ok(data)
    }

    fn shard(&self, n: usize) -> Vec<u8> {
        let sorted = self.facts.sorted();
        let start = self.cuts.get(n).copied().unwrap_or(sorted.len());
        let end = self.cuts.get(n + 1).copied().unwrap_or(sorted.len());
        let mut data = Vec::new();
        for index in sorted.get(start..end).unwrap_or_default() {
            encode_shard_entry(prefix_of(&self.facts.entry(*index).id), *index, &mut data);
        }
        data
    }
}
