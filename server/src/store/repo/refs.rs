//! Refs of a chain of logs, in the byte order of their names.
//!
//! A source's rows hide those of the sources below it; a row without an id hides without showing.

use std::collections::VecDeque;

use cairn_protocol::object::{HashAlgo, ObjectId};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::file::RepoFile;
use super::limits::REFS_BATCH;
use super::schema::int;
use crate::store::StoreError;

/// A ref as readers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefRow {
    /// Its full name.
    pub name: Vec<u8>,
    /// What it points at.
    pub id: ObjectId,
    /// What an annotated tag finally points at.
    pub peeled: Option<ObjectId>,
}

/// A row of one source: no id where the ref was deleted.
#[derive(Clone, Debug)]
struct LevelRow {
    name: Vec<u8>,
    id: Option<ObjectId>,
    peeled: Option<ObjectId>,
}

/// The refs of one source.
#[derive(Clone, Copy)]
pub(crate) enum Level<'a> {
    /// The current refs, inside a transaction.
    Held(&'a Connection, HashAlgo),
    /// The refs as of an entry; of all of them, or of one name alone.
    At(&'a RepoFile, u64, Option<&'a [u8]>),
}

const CURRENT: &str =
    "SELECT name, id, peeled FROM ref WHERE name >= ?1 AND (?2 IS NULL OR name < ?2) LIMIT ?3";
// SQLite takes the other columns from the row that holds the maximum.
const AS_OF: &str = "SELECT name, new, peeled, max(seq) FROM ref_change
    WHERE name >= ?1 AND (?2 IS NULL OR name < ?2) AND seq <= ?4 GROUP BY name LIMIT ?3";

impl Level<'_> {
    /// Up to `count` rows from `from` on, before `end`.
    fn batch(&self, from: &[u8], end: Option<&[u8]>, count: usize) -> Result<VecDeque<LevelRow>, StoreError> {
        match self {
            Self::Held(conn, algo) => {
                let mut select = conn.prepare_cached(CURRENT)?;
                collect(*algo, select.query((from, end, count as i64))?)
            }
            Self::At(_, 0, _) => Ok(VecDeque::new()),
            Self::At(file, seq, Some(only)) => {
                if *only < from || end.is_some_and(|end| *only >= end) {
                    return Ok(VecDeque::new());
                }
                let behind = [*only, b"\0"].concat();
                Self::At(file, *seq, None).batch(only, Some(&behind), count)
            }
            Self::At(file, seq, None) => file.read(|conn| {
                // One transaction: an entry between the two statements must not show.
                let tx = conn.unchecked_transaction()?;
                let head: Option<i64> =
                    tx.prepare_cached("SELECT max(seq) FROM entry")?.query_row([], |row| row.get(0))?;
                if head == Some(int(*seq)) {
                    return collect(file.algo, tx.prepare_cached(CURRENT)?.query((from, end, count as i64))?);
                }
                collect(file.algo, tx.prepare_cached(AS_OF)?.query((from, end, count as i64, int(*seq)))?)
            }),
        }
    }
}

fn collect(algo: HashAlgo, mut rows: rusqlite::Rows<'_>) -> Result<VecDeque<LevelRow>, StoreError> {
    let mut out = VecDeque::new();
    while let Some(row) = rows.next()? {
        let name = row.get(0)?;
        out.push_back(LevelRow { name, id: id_at(algo, row, 1)?, peeled: id_at(algo, row, 2)? });
    }
    Ok(out)
}

pub(crate) fn id_at(algo: HashAlgo, row: &Row<'_>, column: usize) -> Result<Option<ObjectId>, StoreError> {
    match row.get_ref(column)? {
        ValueRef::Blob(bytes) => match ObjectId::from_bytes(algo, bytes) {
            Some(id) => Ok(Some(id)),
            None => Err(StoreError::corrupt("a ref's id has a wrong length")),
        },
        _ => Ok(None),
    }
}

/// The first name after all that start with `prefix`; `None` where there is none.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

struct Cursor<'a> {
    level: Level<'a>,
    waiting: VecDeque<LevelRow>,
    next: Vec<u8>,
    is_done: bool,
}

impl Cursor<'_> {
    fn fill(&mut self, end: Option<&[u8]>, count: usize) -> Result<(), StoreError> {
        if self.waiting.is_empty() && !self.is_done {
            self.waiting = self.level.batch(&self.next, end, count)?;
            self.is_done = self.waiting.len() < count;
            if let Some(last) = self.waiting.back() {
                self.next.clone_from(&last.name);
                self.next.push(0);
            }
        }
        Ok(())
    }
}

/// Calls `each` with every visible ref whose name starts with `prefix` and is not before `from`, in order, until it
/// answers false.
///
/// `batch` is how many rows one statement reads.
pub(crate) fn scan(
    levels: &[Level<'_>],
    (prefix, from): (&[u8], &[u8]),
    batch: usize,
    each: &mut dyn FnMut(RefRow) -> bool,
) -> Result<(), StoreError> {
    let end = prefix_end(prefix);
    let mut cursors: Vec<Cursor<'_>> = levels
        .iter()
        .map(|level| Cursor {
            level: *level,
            waiting: VecDeque::new(),
            next: prefix.max(from).to_vec(),
            is_done: false,
        })
        .collect();
    loop {
        for cursor in &mut cursors {
            cursor.fill(end.as_deref(), batch)?;
        }
        let Some(name) = cursors.iter().filter_map(|c| c.waiting.front()).map(|row| &row.name).min().cloned()
        else {
            return Ok(());
        };
        let mut top = None;
        for cursor in &mut cursors {
            if let Some(row) = cursor.waiting.pop_front_if(|row| row.name == name) {
                top.get_or_insert(row);
            }
        }
        if let Some(LevelRow { name, id: Some(id), peeled }) = top
            && !each(RefRow { name, id, peeled })
        {
            return Ok(());
        }
    }
}

/// All visible refs under `prefix`.
pub(crate) fn scan_all(
    levels: &[Level<'_>],
    prefix: &[u8],
    each: &mut dyn FnMut(RefRow) -> bool,
) -> Result<(), StoreError> {
    scan(levels, (prefix, b""), REFS_BATCH, each)
}

/// One ref.
pub(crate) fn get(levels: &[Level<'_>], name: &[u8]) -> Result<Option<RefRow>, StoreError> {
    let mut end = name.to_vec();
    end.push(0);
    for level in levels {
        if let Some(row) = level.batch(name, Some(&end), 1)?.pop_front() {
            return Ok(row.id.map(|id| RefRow { name: row.name, id, peeled: row.peeled }));
        }
    }
    Ok(None)
}
