//! The log of a repository, as people read it.

use super::{Halt, Reading};
use crate::limits::ACTIVITY_CHANGES_MAX;
use crate::store::repo::{EntryRow, RefChange};

/// An entry of the log, with what it did to refs.
pub struct Entry {
    /// The entry.
    pub row: EntryRow,
    /// Its first ref changes, in the order of their names.
    pub changes: Vec<RefChange>,
    /// How many it made.
    pub changes_count: u64,
}

/// Entries of the own log, newest first, without the `skip` newest; and how many there are in all.
pub fn list(reading: &Reading, skip: u64, take: u32) -> Result<(Vec<Entry>, u64), Halt> {
    let repo = &reading.view.served.repo;
    let total = reading.view.snapshot.seq();
    let mut entries = Vec::new();
    for row in repo.entries_before((total + 1).saturating_sub(skip), take)? {
        let changes = repo.ref_changes(row.seq, ACTIVITY_CHANGES_MAX)?;
        let changes_count = if changes.len() < ACTIVITY_CHANGES_MAX as usize {
            changes.len() as u64
        } else {
            repo.ref_changes_count(row.seq)?
        };
        entries.push(Entry { row, changes, changes_count });
    }
    Ok((entries, total))
}
