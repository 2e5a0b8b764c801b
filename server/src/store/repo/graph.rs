//! The commits of one pack in memory, so that walks never inflate one.
//!
//! Read on first need and kept while the file is open: about 40 bytes a commit.

use super::record::{Cursor, Place};
use crate::store::StoreError;

/// One commit as the file holds it.
#[derive(Clone, Debug)]
pub(crate) struct RawCommit {
    pub(crate) index: u32,
    pub(crate) generation: u32,
    pub(crate) time: i64,
    pub(crate) tree: Place,
    pub(crate) parents: Vec<Place>,
}

impl RawCommit {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.index.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.time.to_le_bytes());
        self.tree.encode(out);
        out.extend_from_slice(&(self.parents.len() as u32).to_le_bytes());
        self.parents.iter().for_each(|parent| parent.encode(out));
    }

    fn decode(cursor: &mut Cursor<'_>) -> Option<Self> {
        let index = u32::from_le_bytes(cursor.array()?);
        let generation = u32::from_le_bytes(cursor.array()?);
        let time = i64::from_le_bytes(cursor.array()?);
        let tree = Place::decode(cursor)?;
        let count = u32::from_le_bytes(cursor.array()?);
        let parents = (0..count).map(|_| Place::decode(cursor)).collect::<Option<_>>()?;
        Some(Self { index, generation, time, tree, parents })
    }
}

/// A commit of `PackCommits`.
pub(crate) struct CommitRow<'a> {
    pub(crate) generation: u32,
    pub(crate) time: i64,
    pub(crate) tree: Place,
    pub(crate) parents: &'a [Place],
}

struct Fixed {
    index: u32,
    generation: u32,
    time: i64,
    tree: Place,
    parents_end: u32,
}

/// The commits of a pack, in pack order.
#[derive(Default)]
pub(crate) struct PackCommits {
    rows: Vec<Fixed>,
    parents: Vec<Place>,
}

impl PackCommits {
    /// Takes in one row of the file. `canonical` moves a place to the canonical one.
    pub(crate) fn extend(
        &mut self,
        bytes: &[u8],
        canonical: &dyn Fn(Place) -> Result<Place, StoreError>,
    ) -> Result<(), StoreError> {
        let mut cursor = Cursor(bytes);
        while !cursor.0.is_empty() {
            let commit = RawCommit::decode(&mut cursor).ok_or_else(|| StoreError::corrupt("a commit row"))?;
            for parent in commit.parents {
                self.parents.push(canonical(parent)?);
            }
            self.rows.push(Fixed {
                index: commit.index,
                generation: commit.generation,
                time: commit.time,
                tree: canonical(commit.tree)?,
                parents_end: self.parents.len() as u32,
            });
        }
        Ok(())
    }

    pub(crate) fn get(&self, index: u32) -> Option<CommitRow<'_>> {
        let at = self.rows.binary_search_by_key(&index, |row| row.index).ok()?;
        let row = self.rows.get(at)?;
        let start =
            at.checked_sub(1).and_then(|before| self.rows.get(before)).map_or(0, |row| row.parents_end);
        Some(CommitRow {
            generation: row.generation,
            time: row.time,
            tree: row.tree,
            parents: self.parents.get(start as usize..row.parents_end as usize)?,
        })
    }
}
