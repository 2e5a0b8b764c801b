//! Rolling runs of small packs into larger ones, while the repository is read and pushed to.
//!
//! A push brings a pack with whole objects or deltas against what the client knew, and rows of its own. Rolling keeps
//! every ordinal, so that kept sets, pins and the order of objects stay as they are: it changes where objects lie and
//! against what they are stored. An object becomes a delta against the version before it, or one of the last objects of its
//! kind, where that is smaller; a delta stays as it came unless its chain is too long. Bytes of copies are left out.
//!
//! No cycles, also for a reader that sees some objects as they were and others as they are: a new delta only leans on
//! an object with a lower ordinal whose whole chain, as it was, goes down too.
//!
//! A step holds a bounded number of bytes, reads without a lock, and becomes visible in one transaction. What it read
//! stays until no snapshot can name it; a crash leaves packs that are not live, which the next open sweeps.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cairn_protocol::object::{HashAlgo, Kind};
use cairn_protocol::pack::inflate::deflate;
use cairn_protocol::pack::{PackWriter, entry};
use cairn_protocol::source::{Base, ObjRef, ObjectSource, Record, SourceError};
use cairn_protocol::walk::{Reader, WalkError};
use roaring::RoaringBitmap;
use rusqlite::Connection;

use super::Repo;
use super::cuts::{Cut, encode_cuts};
use super::dropping::dead_bytes;
use super::file::{Flush, PackMeta, Packs, RepoFile, locked};
use super::graph::{RawCommit, Serial};
use super::index::{encode_shard_entry, prefix_of, read_record, shard_cuts};
use super::kinds::extend_kinds;
use super::limits::{
    CHUNK_BYTES, COMMIT_ROW_BYTES, RECORDS_PER_ROW, ROLL_DELTA_BYTES, ROLL_DELTA_DEPTH_MAX,
    ROLL_DROPPED_OBJECTS_MAX, ROLL_SHARDED_PACKS_MAX, ROLL_STEP_BYTES_MAX, ROLL_STEP_OBJECTS_MAX,
    SHARDED_OBJECTS_MIN,
};
use super::pick::{Want, pick};
use super::record::{Place, RawBase, RawRecord, bitmap_bytes, record_bytes};
use super::schema::{LAYOUT_INDEXED, LAYOUT_ROLLED, Section, int, row_id};
use super::snapshot::Snapshot;
use super::stage::next_pack;
use super::window::{Candidate, Window, names};
use crate::store::StoreError;

/// What rolling did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rolled {
    /// Packs that were rolled into others, those included that an earlier step had made.
    pub packs_in: u64,
    /// Packs that were made.
    pub packs_out: u64,
    /// Bytes of the packs that went in.
    pub bytes_in: u64,
    /// Bytes of the packs that came out.
    pub bytes_out: u64,
}

impl Rolled {
    /// Counts another step.
    pub fn add(&mut self, step: Self) {
        self.packs_in += step.packs_in;
        self.packs_out += step.packs_out;
        self.bytes_in += step.bytes_in;
        self.bytes_out += step.bytes_out;
    }
}

pub(crate) fn step(repo: &Repo, want: Want) -> Result<Option<Rolled>, StoreError> {
    let Some(file) = repo.files.get(repo.id(), repo.algo)? else { return Ok(None) };
    let _turn = locked(&file.rolling);
    let picked = match want {
        Want::Dropped(share) => pick_dropped(repo, &file, share)?,
        _ => pick(&file.packs(), want),
    };
    let Some(run) = picked else { return Ok(None) };
    let rolled = roll_run(repo, &file, &run, None)?;
    file.delete_retired()?;
    Ok(Some(rolled))
}

/// Rolls a run of packs; what leans on `avoid` is made to lean on something else.
fn roll_run(
    repo: &Repo,
    file: &RepoFile,
    run: &[Arc<PackMeta>],
    avoid: Option<&RoaringBitmap>,
) -> Result<Rolled, StoreError> {
    let is_sharded = is_sharded(&file.packs(), run);
    let mut made = {
        let snapshot = repo.snapshot(None)?;
        // Counted by packs: what is known must end where a pack ends.
        extend_kinds(file, &mut locked(&file.kinds))?;
        Roller { avoid, ..Roller::new(&snapshot, file) }.roll(run)?
    };
    let rolled = Rolled {
        packs_in: run.len() as u64,
        packs_out: 1,
        bytes_in: run.iter().map(|pack| pack.bytes).sum(),
        bytes_out: made.bytes.len() as u64,
    };
    if is_sharded {
        made.shard(file.algo)?;
    }
    publish(file, run, made)?;
    Ok(rolled)
}

/// The first pack of which enough was dropped, and of which what stays fits into a step.
fn pick_dropped(repo: &Repo, file: &RepoFile, share: u64) -> Result<Option<Vec<Arc<PackMeta>>>, StoreError> {
    let (list, drops) = {
        let packs = file.packs();
        (packs.list.clone(), Arc::clone(&packs.drops))
    };
    let snapshot = repo.snapshot(None)?;
    for pack in list {
        let dropped = drops.places.range_cardinality(pack.base_ordinal..pack.end());
        let kept = u64::from(pack.object_count) - dropped;
        let fits = kept <= u64::from(ROLL_STEP_OBJECTS_MAX) && pack.object_count <= ROLL_DROPPED_OBJECTS_MAX;
        if dropped == 0 || !fits {
            continue;
        }
        let dead = dead_bytes(file, &snapshot, &pack)?;
        if dead > 0 && dead.saturating_mul(share) >= pack.bytes && pack.bytes - dead <= ROLL_STEP_BYTES_MAX {
            return Ok(Some(vec![pack]));
        }
    }
    Ok(None)
}

/// Rolls each pack that fits into a step and in which something leans on an object of `avoid` (ordinals of the own log), so
/// that it leans on that no longer, where it is not too large.
pub(crate) fn loosen(repo: &Repo, avoid: &RoaringBitmap) -> Result<Rolled, StoreError> {
    let mut all = Rolled::default();
    let Some(file) = repo.files.get(repo.id(), repo.algo)? else { return Ok(all) };
    let _turn = locked(&file.rolling);
    let list = file.packs().list.clone();
    for pack in list {
        if pack.bytes > ROLL_STEP_BYTES_MAX || pack.object_count > ROLL_STEP_OBJECTS_MAX {
            continue;
        }
        let mut leans = false;
        repo.snapshot(None)?.records(0, pack.base_ordinal..pack.end(), &mut |ordinal, record| {
            if let Base::Ofs(base) | Base::Ref(base) = record.base {
                leans |= base.source == 0 && avoid.contains(base.ordinal) && !avoid.contains(ordinal);
            }
        })?;
        if leans {
            all.add(roll_run(repo, &file, &[pack], Some(avoid))?);
        }
    }
    file.delete_retired()?;
    Ok(all)
}

/// A rolled pack before it is written.
struct Made {
    bytes: Vec<u8>,
    records: Vec<u8>,
    commits: Vec<Vec<u8>>,
    kinds: [RoaringBitmap; 3],
    dups: RoaringBitmap,
    cuts: Vec<Cut>,
    /// The index: shards and their first prefixes. None where the ids stay in `object`.
    shards: Vec<Vec<u8>>,
    fanout: Vec<u64>,
}

impl Made {
    /// Makes the index: a third of the bytes of rows.
    fn shard(&mut self, algo: HashAlgo) -> Result<(), StoreError> {
        let mut ids = Vec::new();
        for (index, raw) in (0..).zip(self.records.chunks_exact(record_bytes(algo))) {
            if !self.dups.contains(index) {
                ids.push((RawRecord::decode(algo, raw)?.id, index));
            }
        }
        ids.sort_unstable();
        let prefix = |at: usize| ids.get(at).map_or(0, |(id, _)| prefix_of(id));
        let cuts = shard_cuts(ids.len(), prefix);
        self.fanout = cuts.iter().map(|cut| prefix(*cut)).collect();
        let ends = cuts.iter().skip(1).copied().chain([ids.len()]);
        for (start, end) in cuts.iter().copied().zip(ends) {
            let mut shard = Vec::new();
            for (id, index) in ids.get(start..end).unwrap_or_default() {
                encode_shard_entry(prefix_of(id), *index, &mut shard);
            }
            self.shards.push(shard);
        }
        Ok(())
    }
}

/// Whether a rolled pack gets an index of its own. One more is asked by every lookup, so that only so many do; what was
/// in one stays in one.
fn is_sharded(packs: &Packs, run: &[Arc<PackMeta>]) -> bool {
    let objects: u32 = run.iter().map(|pack| pack.object_count).sum();
    let has_room = packs.sharded().count() < ROLL_SHARDED_PACKS_MAX;
    run.iter().any(|pack| !pack.fanout.is_empty()) || objects >= SHARDED_OBJECTS_MIN && has_room
}

/// How an object is stored.
struct Stored {
    header: Vec<u8>,
    compressed: Vec<u8>,
    base: RawBase,
    depth: u32,
}

struct Roller<'a> {
    snapshot: &'a Snapshot,
    file: &'a RepoFile,
    reader: Reader<'a>,
    writer: PackWriter,
    /// The ordinal of the first place.
    first: u32,
    /// Where each place's entry starts.
    offsets: Vec<u64>,
    window: Window,
    /// Paths of objects of the pack that is read now, by ordinal.
    names: HashMap<u32, u64>,
    /// Places of the own log on which nothing is to lean.
    avoid: Option<&'a RoaringBitmap>,
    /// Links below an object, and whether each of them leads to a lower ordinal or a deeper source.
    chains: HashMap<ObjRef, (u32, bool)>,
    made: Made,
}

impl<'a> Roller<'a> {
    fn new(snapshot: &'a Snapshot, file: &'a RepoFile) -> Self {
        let (bytes, records, commits, kinds, dups) = Default::default();
        let (cuts, shards, fanout) = Default::default();
        Self {
            snapshot,
            file,
            reader: Reader::new(snapshot, file.algo),
            writer: PackWriter::new(file.algo),
            first: 0,
            offsets: Vec::new(),
            window: Window::default(),
            names: HashMap::new(),
            avoid: None,
            chains: HashMap::new(),
            made: Made { bytes, records, commits, kinds, dups, cuts, shards, fanout },
        }
    }

    fn roll(mut self, run: &[Arc<PackMeta>]) -> Result<Made, StoreError> {
        self.first = run.first().map_or(0, |pack| pack.base_ordinal);
        for pack in run {
            let before = self.offsets.len() as u32;
            let mut found: BTreeMap<u32, Record> = BTreeMap::new();
            let range = pack.base_ordinal..pack.end();
            self.snapshot.records(0, range, &mut |ordinal, record| {
                found.insert(ordinal, *record);
            })?;
            self.names = names(self.snapshot, &mut self.reader, &found)?;
            // Cuts of a pack that was rolled before stay; bytes of each are counted anew.
            let whole_pack = [Cut { seq: pack.seq, end: pack.object_count, bytes: 0, whole: pack.whole }];
            let cuts = if pack.cuts.is_empty() { &whole_pack[..] } else { &pack.cuts };
            let mut index = 0;
            for cut in cuts {
                let start = self.writer.offset();
                while index < cut.end {
                    match found.get(&(pack.base_ordinal + index)) {
                        Some(record) => self.object(record)?,
                        None => self.copy_of_another(pack, index)?,
                    }
                    index += 1;
                }
                let bytes = self.writer.offset() - start;
                self.made.cuts.push(Cut { end: before + cut.end, bytes, ..*cut });
            }
        }
        self.made.bytes =
            self.writer.finish().map_err(|_| StoreError::corrupt("bytes of a collision attack"))?;
        Ok(self.made)
    }

    fn here(&self) -> (u32, ObjRef) {
        let index = self.offsets.len() as u32;
        (index, ObjRef { source: 0, ordinal: self.first + index })
    }

    /// Keeps the place of an object that another pack or a base has: nothing reads it there.
    fn copy_of_another(&mut self, pack: &PackMeta, index: u32) -> Result<(), StoreError> {
        let raw = self.file.read(|conn| read_record(conn, self.file.algo, pack.id, index))?;
        self.made.dups.insert(self.offsets.len() as u32);
        self.note(&RawRecord { offset: self.writer.offset(), entry_bytes: 0, base: RawBase::None, ..raw });
        Ok(())
    }

    fn note(&mut self, record: &RawRecord) {
        let index = self.offsets.len() as u32;
        let [commits, trees, tags] = &mut self.made.kinds;
        match record.kind {
            Kind::Commit => drop(commits.insert(index)),
            Kind::Tree => drop(trees.insert(index)),
            Kind::Tag => drop(tags.insert(index)),
            Kind::Blob => {}
        }
        self.offsets.push(record.offset);
        record.encode(&mut self.made.records);
    }

    fn object(&mut self, record: &Record) -> Result<(), StoreError> {
        let (index, at) = self.here();
        let (_, is_downward) = self.chain(at)?;
        let stored = self.store(at, record)?;
        let offset = self.writer.offset();
        self.writer.add_entry(&stored.header, &stored.compressed);
        let entry_bytes = u32::try_from(self.writer.offset() - offset)
            .map_err(|_| StoreError::corrupt("an entry of a small pack is larger than the pack"))?;
        let (id, kind, size) = (record.id, record.kind, record.size);
        self.note(&RawRecord { id, kind, size, offset, entry_bytes, base: stored.base });
        self.chains.insert(at, (stored.depth, is_downward));
        if kind == Kind::Commit {
            self.commit(index, at)?;
        } else if is_downward && kind != Kind::Tag && !self.avoids(at) && ROLL_DELTA_BYTES.contains(&size) {
            let data = self.reader.read(at).map_err(walk_error)?.1;
            let name = self.names.get(&at.ordinal).copied();
            self.window.add(name, Candidate { kind, index, data, depth: stored.depth });
        }
        Ok(())
    }

    fn commit(&mut self, index: u32, at: ObjRef) -> Result<(), StoreError> {
        let node = self.snapshot.commit_node(at)?;
        let parents = node.parents.into_iter().map(Place::Chain).collect();
        let tree = Place::Chain(node.tree);
        let commit = RawCommit { index, generation: node.generation, time: node.time, tree, parents };
        if self.made.commits.last().is_none_or(|row| row.len() >= COMMIT_ROW_BYTES) {
            self.made.commits.push(Vec::new());
        }
        if let Some(row) = self.made.commits.last_mut() {
            commit.encode(row);
        }
        Ok(())
    }

    /// What the chain below an object is like, as far as it is known, else as it was.
    fn chain(&mut self, at: ObjRef) -> Result<(u32, bool), StoreError> {
        let mut below = Vec::new();
        let mut now = at;
        let (mut depth, mut is_downward) = loop {
            if let Some(known) = self.chains.get(&now) {
                break *known;
            }
            match self.snapshot.record(now)?.base {
                Base::None => {
                    self.chains.insert(now, (0, true));
                    break (0, true);
                }
                Base::Ofs(base) | Base::Ref(base) => {
                    let goes_down = base.source > now.source || base.ordinal < now.ordinal;
                    below.push((now, goes_down));
                    now = base;
                }
            }
        };
        while let Some((at, goes_down)) = below.pop() {
            (depth, is_downward) = (depth + 1, is_downward && goes_down);
            self.chains.insert(at, (depth, is_downward));
        }
        Ok((depth, is_downward))
    }

    fn store(&mut self, at: ObjRef, record: &Record) -> Result<Stored, StoreError> {
        let base = match record.base {
            Base::None => None,
            Base::Ofs(base) | Base::Ref(base) => Some(base),
        };
        if let Some(base) = base {
            let depth = self.chain(base)?.0 + 1;
            // Cutting makes objects whole: never more of them than a step may hold.
            let has_room = self.writer.offset() + record.size <= 2 * ROLL_STEP_BYTES_MAX;
            let stays = depth <= ROLL_DELTA_DEPTH_MAX && (!self.avoids(base) || self.avoids(at));
            let most = if self.avoids(base) { ROLL_STEP_BYTES_MAX } else { *ROLL_DELTA_BYTES.end() };
            if stays || record.size > most || !has_room {
                return self.kept_delta(record, base, depth);
            }
        }
        let whole = match base {
            None => self.entry(record)?.1,
            Some(_) => deflate(&self.reader.read(at).map_err(walk_error)?.1),
        };
        if let Some(delta) = self.delta(at, record, whole.len())? {
            return Ok(delta);
        }
        let mut header = Vec::new();
        entry::encode_whole(&mut header, record.kind, record.size);
        Ok(Stored { header, compressed: whole, base: RawBase::None, depth: 0 })
    }

    fn avoids(&self, at: ObjRef) -> bool {
        at.source == 0 && self.avoid.is_some_and(|avoid| avoid.contains(at.ordinal))
    }

    /// The header and the compressed bytes of an entry as it is stored now.
    fn entry(&self, record: &Record) -> Result<(entry::EntryHeader, Vec<u8>), StoreError> {
        let mut bytes = vec![0; record.entry_bytes as usize];
        self.snapshot.pack_bytes(0, record.pack, record.offset, &mut bytes)?;
        let header = entry::decode(self.file.algo, &bytes).ok().flatten();
        let header = header.ok_or_else(|| StoreError::corrupt("the header of an entry does not parse"))?;
        Ok((header, bytes.split_off(header.header_bytes)))
    }

    /// A delta as it came, under a header that finds its base.
    fn kept_delta(&self, record: &Record, base: ObjRef, depth: u32) -> Result<Stored, StoreError> {
        let (old, compressed) = self.entry(record)?;
        let mut header = Vec::new();
        let before = base.ordinal.checked_sub(self.first).filter(|_| base.source == 0);
        let base = match before.and_then(|index| Some((index, *self.offsets.get(index as usize)?))) {
            Some((index, offset)) => {
                entry::encode_ofs(&mut header, old.size, self.writer.offset() - offset);
                RawBase::Ofs(Place::InPack(index))
            }
            None => {
                entry::encode_ref(&mut header, old.size, &self.snapshot.record(base)?.id);
                RawBase::Ref(Place::Chain(base))
            }
        };
        Ok(Stored { header, compressed, base, depth })
    }

    /// The object as a delta, where that is smaller than `bytes_max`.
    fn delta(&mut self, at: ObjRef, record: &Record, bytes_max: usize) -> Result<Option<Stored>, StoreError> {
        if !self.window.knows(record.kind) || !ROLL_DELTA_BYTES.contains(&record.size) {
            return Ok(None);
        }
        let data = self.reader.read(at).map_err(walk_error)?.1;
        let name = self.names.get(&at.ordinal).copied();
        let Some((delta, index, depth)) = self.window.delta(record.kind, name, &data) else {
            return Ok(None);
        };
        let compressed = deflate(&delta);
        let offset = self.offsets.get(index as usize).copied().unwrap_or_default();
        let mut header = Vec::new();
        entry::encode_ofs(&mut header, delta.len() as u64, self.writer.offset() - offset);
        let base = RawBase::Ofs(Place::InPack(index));
        let is_less = header.len() + compressed.len() < bytes_max;
        Ok(is_less.then_some(Stored { header, compressed, base, depth }))
    }
}

pub(crate) fn walk_error(error: WalkError) -> StoreError {
    StoreError::corrupt(error.to_string())
}

/// Writes a rolled pack and takes those that went into it out of sight, in one transaction.
fn publish(file: &RepoFile, run: &[Arc<PackMeta>], made: Made) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(()) };
    let (from, object_count) = (first.base_ordinal, last.end() - first.base_ordinal);
    let from_seq = first.cuts.first().map_or(first.seq, |cut| cut.seq);
    let (bytes, whole) = (made.bytes.len() as u64, made.cuts.iter().all(|cut| cut.whole));
    let mut key = [0_u8; 16];
    getrandom::fill(&mut key).map_err(|error| StoreError::Io(std::io::Error::other(error.to_string())))?;
    let write = |conn: &Connection| -> Result<u32, StoreError> {
        let pack = next_pack(conn)?;
        let mut kinds = made.kinds.clone();
        let [commits, trees, tags] = &mut kinds;
        conn.prepare_cached(
            "INSERT INTO pack (id, key, live, bytes, object_count, base_ordinal, seq, whole, commits, trees, tags,
             dups, fanout, cuts) VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute((
            pack,
            key,
            int(bytes),
            object_count,
            from,
            int(last.seq),
            whole,
            bitmap_bytes(commits)?,
            bitmap_bytes(trees)?,
            bitmap_bytes(tags)?,
            bitmap_bytes(&mut made.dups.clone())?,
            made.fanout.iter().flat_map(|first| first.to_le_bytes()).collect::<Vec<u8>>(),
            encode_cuts(&made.cuts),
        ))?;
        write_rows(conn, file.algo, pack, &made)?;
        for old in run {
            let retired = conn
                .prepare_cached("UPDATE pack SET live = 0 WHERE id = ?1 AND live = 1 AND base_ordinal = ?2")?
                .execute((old.id, old.base_ordinal))?;
            if retired != 1 {
                return Err(StoreError::corrupt(format!("pack {} is gone", old.id)));
            }
        }
        conn.execute(
            "UPDATE entry SET pack = ?1 WHERE seq BETWEEN ?2 AND ?3 AND pack IS NOT NULL",
            (pack, int(from_seq), int(last.seq)),
        )?;
        let layout = if made.fanout.is_empty() { LAYOUT_ROLLED } else { LAYOUT_INDEXED };
        conn.execute("UPDATE meta SET value = max(value, ?1) WHERE key = 'layout'", [layout])?;
        Ok(pack)
    };
    file.write(Flush::Later, write, |pack, packs| {
        let meta = PackMeta {
            id: *pack,
            base_ordinal: from,
            object_count,
            bytes,
            whole,
            seq: last.seq,
            dups: made.dups.clone(),
            fanout: made.fanout.clone(),
            serial: Serial::next(),
            cuts: made.cuts.clone(),
        };
        packs.replace(first.id, run.len(), meta);
    })?;
    Ok(())
}

fn write_rows(conn: &Connection, algo: HashAlgo, pack: u32, made: &Made) -> Result<(), StoreError> {
    let mut insert = conn.prepare_cached("INSERT INTO chunk (id, data) VALUES (?1, ?2)")?;
    let records = made.records.chunks(RECORDS_PER_ROW as usize * record_bytes(algo));
    let commits = made.commits.iter().map(Vec::as_slice);
    let bytes = (0..).zip(made.bytes.chunks(CHUNK_BYTES)).map(|(n, data)| (Section::Bytes, n, data));
    let records = (0..).zip(records).map(|(n, data)| (Section::Records, n, data));
    let commits = (0..).zip(commits).map(|(n, data)| (Section::Commits, n, data));
    let shards = (0..).zip(&made.shards).map(|(n, data)| (Section::Index, n, data.as_slice()));
    for (section, n, data) in bytes.chain(records).chain(commits).chain(shards) {
        insert.execute((row_id(pack, section, n), data))?;
    }
    Ok(())
}

impl From<SourceError> for StoreError {
    fn from(error: SourceError) -> Self {
        match error.0.downcast::<Self>() {
            Ok(own) => *own,
            Err(other) => Self::corrupt(other.to_string()),
        }
    }
}
