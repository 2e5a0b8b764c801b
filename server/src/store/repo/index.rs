//! Reading rows of `chunk`, and finding an object of one file by its id.

use std::sync::Arc;

use cairn_protocol::object::{HashAlgo, ObjectId};
use rusqlite::{Connection, MAIN_DB, OptionalExtension};

use super::drops::Drops;
use super::file::{PackMeta, RepoFile};
use super::limits::{CHUNK_BYTES, RECORDS_PER_ROW, SHARD_IDS};
use super::record::{RawRecord, record_bytes};
use super::schema::{Section, row_id};
use crate::store::StoreError;

/// Bytes of one id in a shard: a prefix and the object's place in the pack.
const SHARD_ENTRY_BYTES: usize = 12;

/// Fills `into` from one row, reading no more of it than that.
pub(crate) fn read_part(conn: &Connection, row: i64, at: usize, into: &mut [u8]) -> Result<(), StoreError> {
    let blob = conn.blob_open(MAIN_DB, c"chunk", c"data", row, true)?;
    Ok(blob.read_at_exact(into, at)?)
}

/// Fills `buffer` with one row.
pub(crate) fn read_row(conn: &Connection, row: i64, buffer: &mut Vec<u8>) -> Result<(), StoreError> {
    let mut select = conn.prepare_cached("SELECT data FROM chunk WHERE id = ?1")?;
    buffer.clear();
    let found = select
        .query_row([row], |found| {
            buffer.extend_from_slice(found.get_ref(0)?.as_blob()?);
            Ok(())
        })
        .optional()?;
    found.ok_or_else(|| StoreError::corrupt(format!("row {row} of chunk is missing")))
}

/// Fills `into` with bytes of a pack.
pub(crate) fn read_pack(
    conn: &Connection,
    pack: u32,
    offset: u64,
    mut into: &mut [u8],
) -> Result<(), StoreError> {
    let chunk = CHUNK_BYTES as u64;
    let mut at = offset;
    while !into.is_empty() {
        let n = u32::try_from(at / chunk)
            .map_err(|_| StoreError::corrupt("an offset is past the largest pack"))?;
        let inside = (at % chunk) as usize;
        let (now, later) = into.split_at_mut(into.len().min(CHUNK_BYTES - inside));
        read_part(conn, row_id(pack, Section::Bytes, n), inside, now)?;
        at += now.len() as u64;
        into = later;
    }
    Ok(())
}

/// The record of one object of a pack.
pub(crate) fn read_record(
    conn: &Connection,
    algo: HashAlgo,
    pack: u32,
    index: u32,
) -> Result<RawRecord, StoreError> {
    let mut buffer = [0; record_bytes(HashAlgo::Sha256)];
    let bytes = buffer.get_mut(..record_bytes(algo)).ok_or(StoreError::Misuse("an unknown hash"))?;
    let row = row_id(pack, Section::Records, index / RECORDS_PER_ROW);
    read_part(conn, row, (index % RECORDS_PER_ROW) as usize * bytes.len(), bytes)?;
    RawRecord::decode(algo, bytes)
}

/// Where shards begin in the sorted order of `prefixes`, which are in order. Equal prefixes share a shard.
pub(crate) fn shard_cuts(len: usize, prefix: impl Fn(usize) -> u64) -> Vec<usize> {
    let mut cuts = Vec::new();
    let mut start = 0;
    while start < len {
        cuts.push(start);
        let mut end = (start + SHARD_IDS).min(len);
        while end < len && prefix(end) == prefix(end - 1) {
            end += 1;
        }
        start = end;
    }
    cuts
}

/// The first eight bytes of an id, in the order of ids.
pub(crate) fn prefix_of(id: &ObjectId) -> u64 {
    id.as_bytes().first_chunk::<8>().map_or(0, |eight| u64::from_be_bytes(*eight))
}

pub(crate) fn encode_shard_entry(prefix: u64, index: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&prefix.to_be_bytes());
    out.extend_from_slice(&index.to_le_bytes());
}

/// The index shard that was read last: lookups in the order of ids read each shard once.
#[derive(Default)]
pub(crate) struct LastShard {
    row: Option<i64>,
    data: Vec<u8>,
}

impl LastShard {
    fn load(&mut self, conn: &Connection, row: i64) -> Result<&[[u8; SHARD_ENTRY_BYTES]], StoreError> {
        if self.row != Some(row) {
            self.row = None;
            read_row(conn, row, &mut self.data)?;
            self.row = Some(row);
        }
        Ok(self.data.as_chunks::<SHARD_ENTRY_BYTES>().0)
    }
}

/// The first place of an object in a pack with shards for which `wanted` holds.
pub(crate) fn find_sharded(
    conn: &Connection,
    algo: HashAlgo,
    (pack, fanout): (u32, &[u64]),
    id: &ObjectId,
    last: &mut LastShard,
    wanted: impl Fn(u32) -> bool,
) -> Result<Option<u32>, StoreError> {
    let prefix = prefix_of(id);
    let Some(shard) = fanout.partition_point(|first| *first <= prefix).checked_sub(1) else {
        return Ok(None);
    };
    let entries = last.load(conn, row_id(pack, Section::Index, shard as u32))?;
    let key = prefix.to_be_bytes();
    let from = entries.partition_point(|entry| entry.first_chunk::<8>().is_some_and(|first| *first < key));
    for entry in entries.iter().skip(from).take_while(|entry| entry.starts_with(&key)) {
        let index = entry.last_chunk::<4>().map_or(0, |index| u32::from_le_bytes(*index));
        if wanted(index) && read_record(conn, algo, pack, index)?.id == *id {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// Looks up objects of one file below `limit`, best in the order of their ids.
pub(crate) struct Finder<'a> {
    file: &'a RepoFile,
    conn: &'a Connection,
    limit: u32,
    packs: Vec<(Arc<PackMeta>, LastShard)>,
    drops: Arc<Drops>,
}

impl<'a> Finder<'a> {
    pub(crate) fn new(file: &'a RepoFile, conn: &'a Connection, limit: u32) -> Self {
        let packs = file.packs();
        let visible = packs.sharded().take_while(|pack| pack.base_ordinal < limit);
        let (drops, visible) = (Arc::clone(&packs.drops), visible.map(Arc::clone));
        let packs = visible.map(|pack| (pack, LastShard::default())).collect();
        Self { file, conn, limit, packs, drops }
    }

    /// The canonical ordinal of an object.
    pub(crate) fn find(&mut self, id: &ObjectId) -> Result<Option<u32>, StoreError> {
        let mut select = self.conn.prepare_cached("SELECT ordinal FROM object WHERE id = ?1")?;
        let found = select.query_row([id.as_bytes()], |row| row.get::<_, u32>(0)).optional()?;
        // The row of what was dropped stays until its pack goes; it may have come again in a pack with an index of its own.
        if let Some(ordinal) = found.filter(|ordinal| !self.drops.places.contains(*ordinal)) {
            return Ok((ordinal < self.limit).then_some(ordinal));
        }
        for (pack, last) in &mut self.packs {
            let wanted = |index: u32| !pack.dups.contains(index);
            let place = (pack.id, pack.fanout.as_slice());
            if let Some(index) = find_sharded(self.conn, self.file.algo, place, id, last, wanted)? {
                return Ok(Some(pack.base_ordinal + index));
            }
        }
        Ok(None)
    }
}
