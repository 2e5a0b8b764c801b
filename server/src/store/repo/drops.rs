//! What was dropped of a log: objects that no ref named for long.
//!
//! Ordinals stay. A dropped place is one that no lookup finds, like the place of a copy: it is among the `dups` of its pack
//! as that is loaded, so that no index, no set and no walk shows it. Its bytes go whenever its pack is rolled.

use std::fs::File;

use cairn_protocol::object::ObjectId;
use roaring::RoaringBitmap;
use rusqlite::{Connection, OptionalExtension};

use super::file::PackMeta;
use super::record::{bitmap_bytes, bitmap_from};
use super::schema::int;
use crate::store::{RepoId, StoreError};

/// Key in `meta` of all dropped ordinals.
pub(crate) const PLACES: &str = "dropped";
/// Key of what each drop took: see `Floor`.
pub(crate) const FLOORS: &str = "floors";
/// Key of what is waited for: see `Mark`.
pub(crate) const MARKS: &str = "marks";

/// What one drop, and all before it, may have taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Floor {
    /// What refs named from this entry on was kept.
    pub(crate) seq: u64,
    /// The lowest ordinal that went.
    pub(crate) first: u32,
}

/// What was dropped of one log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drops {
    /// By rising entry, and by rising ordinal: what a later one took of more is not told twice.
    pub(crate) floors: Vec<Floor>,
    /// Ordinals that show nothing any more.
    pub(crate) places: RoaringBitmap,
}

impl Drops {
    pub(crate) fn load(conn: &Connection) -> Result<Self, StoreError> {
        let numbers = numbers(conn, FLOORS)?;
        let (pairs, _) = numbers.as_chunks::<2>();
        let floor = |[seq, first]: &[u64; 2]| Floor { seq: *seq, first: *first as u32 };
        let floors = pairs.iter().map(floor).collect();
        let places: Option<Vec<u8>> = value(conn, PLACES)?;
        let places = bitmap_from(places.as_deref().unwrap_or_default())?;
        Ok(Self { floors, places })
    }

    /// The first entry from which on everything that refs named was kept; 0 where nothing was dropped.
    pub(crate) fn floor(&self) -> u64 {
        self.floors.last().map_or(0, |floor| floor.seq)
    }

    /// Whether a prefix of the log up to `seq`, of so many ordinals, lacks what refs named in it.
    pub(crate) fn lacks(&self, seq: u64, limit: u32) -> bool {
        self.floors.iter().any(|floor| seq < floor.seq && floor.first < limit)
    }

    /// Takes in what a drop takes that keeps what refs named from `seq` on.
    pub(crate) fn add(&mut self, seq: u64, places: &RoaringBitmap) {
        let Some(first) = places.min() else { return };
        let seq = seq.max(self.floor());
        let mut lowest = first;
        while let Some(before) = self.floors.pop_if(|before| before.first >= first || before.seq == seq) {
            lowest = lowest.min(before.first);
        }
        self.floors.push(Floor { seq, first: lowest });
        self.places |= places;
    }

    pub(crate) fn save(&mut self, conn: &Connection) -> Result<(), StoreError> {
        let numbers = self.floors.iter().flat_map(|floor| [floor.seq, u64::from(floor.first)]);
        set_value(conn, FLOORS, numbers.flat_map(u64::to_le_bytes).collect::<Vec<u8>>())?;
        set_value(conn, PLACES, bitmap_bytes(&mut self.places)?)
    }

    /// Takes what was dropped of a pack out of sight.
    pub(crate) fn mark(&self, pack: &mut PackMeta) {
        let (from, end) = (pack.base_ordinal, pack.end());
        if self.places.range_cardinality(from..end) > 0 {
            pack.dups.extend(self.places.range(from..end).map(|ordinal| ordinal - from));
        }
    }

    /// Makes room in `object` for an object that was dropped and comes again. The row of one that is there stays, so that
    /// a second is refused.
    pub(crate) fn forget_row(&self, conn: &Connection, id: &ObjectId) -> Result<(), StoreError> {
        if self.places.is_empty() {
            return Ok(());
        }
        let mut select = conn.prepare_cached("SELECT ordinal FROM object WHERE id = ?1")?;
        let found: Option<u32> = select.query_row([id.as_bytes()], |row| row.get(0)).optional()?;
        if found.is_some_and(|ordinal| self.places.contains(ordinal)) {
            conn.prepare_cached("DELETE FROM object WHERE id = ?1")?.execute([id.as_bytes()])?;
        }
        Ok(())
    }
}

/// A value of `meta`.
fn value<T: rusqlite::types::FromSql>(conn: &Connection, key: &str) -> Result<Option<T>, StoreError> {
    let mut select = conn.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    Ok(select.query_row([key], |row| row.get(0)).optional()?)
}

/// Pairs of numbers under a key of `meta`.
fn numbers(conn: &Connection, key: &str) -> Result<Vec<u64>, StoreError> {
    let bytes: Vec<u8> = value(conn, key)?.unwrap_or_default();
    if !bytes.len().is_multiple_of(16) {
        return Err(StoreError::corrupt(format!("{key} of a log does not parse: {} bytes", bytes.len())));
    }
    Ok(bytes.as_chunks::<8>().0.iter().map(|eight| u64::from_le_bytes(*eight)).collect())
}

/// Sets a value of `meta`.
pub(crate) fn set_value(conn: &Connection, key: &str, value: impl rusqlite::ToSql) -> Result<(), StoreError> {
    let mut set = conn.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?;
    set.execute((key, value))?;
    Ok(())
}

/// A log's id as two numbers.
fn name(log: RepoId) -> [u64; 2] {
    let (eights, _) = log.as_bytes().as_chunks::<8>();
    [0, 1].map(|at| eights.get(at).map_or(0, |eight| u64::from_le_bytes(*eight)))
}

/// An end of the log as it was seen at a time: what it holds is old once that was long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// When, in milliseconds of a clock that only counts time in which the data was looked after.
    pub(crate) at_ms: u64,
    /// The last entry then.
    pub(crate) seq: u64,
}

impl Mark {
    /// Those of a log. A file that was put back as another log has none: they are of another clock.
    pub(crate) fn load(conn: &Connection, log: RepoId) -> Result<Vec<Self>, StoreError> {
        let numbers = numbers(conn, MARKS)?;
        let (pairs, _) = numbers.as_chunks::<2>();
        let pairs = match pairs.split_first() {
            Some((first, rest)) if *first == name(log) => rest,
            _ => return Ok(Vec::new()),
        };
        Ok(pairs.iter().map(|[at_ms, seq]| Self { at_ms: *at_ms, seq: *seq }).collect())
    }

    pub(crate) fn save(conn: &Connection, log: RepoId, marks: &[Self]) -> Result<(), StoreError> {
        let marks = marks.iter().map(|mark| [mark.at_ms, mark.seq]);
        let numbers = std::iter::once(name(log)).chain(marks).flatten();
        set_value(conn, MARKS, numbers.flat_map(u64::to_le_bytes).collect::<Vec<u8>>())
    }
}

/// The last entry up to `seq` before which no entry is younger than `time_ms`.
pub(crate) fn last_before(conn: &Connection, seq: u64, time_ms: i64) -> Result<u64, StoreError> {
    let sql = "SELECT min(seq) FROM entry WHERE seq <= ?1 AND time_ms > ?2";
    let first: Option<i64> = conn.prepare_cached(sql)?.query_row((int(seq), time_ms), |row| row.get(0))?;
    Ok(first.map_or(seq, |first| (first as u64).saturating_sub(1)))
}

/// A moment at which nobody read a file. Until it is dropped no other process begins to.
pub struct Hush {
    opened: u64,
    _alone: File,
}

impl Hush {
    pub(crate) fn new(opened: u64, alone: File) -> Self {
        Self { opened, _alone: alone }
    }

    /// Snapshots of the file that had been opened by then.
    pub(crate) fn opened(&self) -> u64 {
        self.opened
    }
}
