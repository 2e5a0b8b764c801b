//! Reading the log itself: what events, audit, replication and "as of time T" are made of.

use cairn_protocol::object::ObjectId;
use rusqlite::OptionalExtension;

use super::Repo;
use super::limits::REF_CHANGES_BATCH;
use super::refs::id_at;
use super::schema::int;
use crate::store::StoreError;

/// One entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRow {
    /// Its number, from 1.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub time_ms: i64,
    /// Who.
    pub actor: String,
    /// The word for what made it: that of an `EntryKind`.
    pub kind: String,
    /// The random bytes that its maker chose.
    pub nonce: [u8; 16],
    /// The pack that it brought.
    pub pack: Option<u32>,
}

/// One ref change of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefChange {
    /// Full name.
    pub name: Vec<u8>,
    /// What the ref pointed at before; `None` where it was not there.
    pub old: Option<ObjectId>,
    /// What it points at since; `None` where it was deleted.
    pub new: Option<ObjectId>,
}

/// Where an entry moved a ref to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedRef {
    /// Full name.
    pub name: Vec<u8>,
    /// What it points at since; `None` where it was deleted.
    pub new: Option<ObjectId>,
    /// What that finally points at where it is an annotated tag.
    pub peeled: Option<ObjectId>,
}

impl Repo {
    /// Up to `count` entries of the own log after `after`, oldest first.
    pub fn entries(&self, after: u64, count: u32) -> Result<Vec<EntryRow>, StoreError> {
        let Some(file) = self.files.get(self.id(), self.algo)? else {
            return Ok(Vec::new());
        };
        file.read(|conn| {
            let mut select = conn.prepare_cached(
                "SELECT seq, time_ms, actor, kind, nonce, pack FROM entry
                 WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            let rows = select.query_map((int(after), count), |row| {
                let seq = row.get::<_, i64>(0)? as u64;
                let (time_ms, actor, kind) = (row.get(1)?, row.get(2)?, row.get(3)?);
                Ok(EntryRow { seq, time_ms, actor, kind, nonce: row.get(4)?, pack: row.get(5)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Up to `count` entries of the own log before `end`, newest first.
    pub fn entries_before(&self, end: u64, count: u32) -> Result<Vec<EntryRow>, StoreError> {
        let first = end.saturating_sub(1).saturating_sub(u64::from(count));
        let count = u32::try_from(end.saturating_sub(1) - first).unwrap_or(count);
        let mut entries = self.entries(first, count)?;
        entries.reverse();
        Ok(entries)
    }

    /// The first `count` ref changes of one entry, in the order of their names.
    pub fn ref_changes(&self, seq: u64, count: u32) -> Result<Vec<RefChange>, StoreError> {
        let Some(file) = self.files.get(self.id(), self.algo)? else {
            return Ok(Vec::new());
        };
        file.read(|conn| {
            let mut select = conn.prepare_cached(
                "SELECT name, old, new FROM ref_change WHERE seq = ?1 ORDER BY name LIMIT ?2",
            )?;
            let mut rows = select.query((int(seq), count))?;
            let mut changes = Vec::new();
            while let Some(row) = rows.next()? {
                let (old, new) = (id_at(self.algo, row, 1)?, id_at(self.algo, row, 2)?);
                changes.push(RefChange { name: row.get(0)?, old, new });
            }
            Ok(changes)
        })
    }

    /// How many ref changes an entry made.
    pub fn ref_changes_count(&self, seq: u64) -> Result<u64, StoreError> {
        let Some(file) = self.files.get(self.id(), self.algo)? else {
            return Ok(0);
        };
        file.read(|conn| {
            let mut count = conn.prepare_cached("SELECT count(*) FROM ref_change WHERE seq = ?1")?;
            Ok(count.query_row([int(seq)], |row| row.get::<_, i64>(0))? as u64)
        })
    }

    /// Ref changes of the own log's entries after `after` and up to `end`, with their entries' numbers, in their order:
    /// at most about [`REF_CHANGES_BATCH`] at once, but those of one entry together. Empty where there are none.
    ///
    /// Scans the whole ref log, which is keyed by name.
    pub fn ref_changes_after(&self, after: u64, end: u64) -> Result<Vec<(u64, MovedRef)>, StoreError> {
        let Some(file) = self.files.get(self.id(), self.algo)? else {
            return Ok(Vec::new());
        };
        file.read(|conn| {
            let mut select = conn.prepare_cached(
                "SELECT seq, name, new, peeled FROM ref_change WHERE seq > ?1 AND seq <= ?2 ORDER BY seq, name",
            )?;
            let mut rows = select.query([int(after), int(end)])?;
            let mut changes: Vec<(u64, MovedRef)> = Vec::new();
            while let Some(row) = rows.next()? {
                let seq = row.get::<_, i64>(0)? as u64;
                if changes.len() >= REF_CHANGES_BATCH && changes.last().is_some_and(|(last, _)| *last != seq) {
                    break;
                }
                let (new, peeled) = (id_at(self.algo, row, 2)?, id_at(self.algo, row, 3)?);
                changes.push((seq, MovedRef { name: row.get(1)?, new, peeled }));
            }
            Ok(changes)
        })
    }

    /// The last entry of the own log that is not later than a time; 0 where all are.
    pub fn seq_at(&self, time_ms: i64) -> Result<u64, StoreError> {
        let Some(file) = self.files.get(self.id(), self.algo)? else {
            return Ok(0);
        };
        file.read(|conn| {
            let mut select =
                conn.prepare_cached("SELECT seq FROM entry WHERE time_ms <= ?1 ORDER BY seq DESC LIMIT 1")?;
            let seq = select.query_row([time_ms], |row| row.get::<_, i64>(0)).optional()?;
            Ok(seq.unwrap_or(0) as u64)
        })
    }
}
