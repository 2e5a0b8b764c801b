//! What changed between two trees, renames found: bounded in what is kept, read and compared.

use std::collections::HashMap;
use std::ops::ControlFlow;

use bstr::{BStr, BString};
use cairn_protocol::object::ObjectId;
use gix_diff::tree_with_rewrites::{ChangeRef, Options};
use gix_object::{FindExt, TreeRefIter};

use super::OpError;
use super::engine::{Objects, diff_platform, gix_id, our_id};
use crate::limits::{
    COMPARE_CHANGES_MAX, RENAME_BLOB_BYTES_MAX, RENAME_BLOBS_BYTES_MAX, RENAME_PAIR_BYTES_MAX,
    RENAME_PAIRS_MAX,
};

/// How alike a deleted and an added file must be to count as one that was renamed: git's number.
const SIMILARITY_MIN: f32 = 0.5;

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
    /// Its content or its executable bit differs.
    Modified,
    /// It has another path, and perhaps another content.
    Renamed,
    /// A file became a symbolic link or a submodule, or the like.
    TypeChanged,
}

/// One side of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Its path, in bytes.
    pub path: BString,
    /// git's mode.
    pub mode: u32,
    /// What is there: a blob, or a submodule's commit.
    pub id: ObjectId,
}

/// A changed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub status: Status,
    /// Before; `None` where it was added.
    pub old: Option<Side>,
    /// After; `None` where it was deleted.
    pub new: Option<Side>,
    /// Of a renamed one, in per cent.
    pub similarity: Option<u32>,
}

impl Change {
    /// The path that it has, or had.
    pub fn path(&self) -> &BStr {
        self.new.as_ref().or(self.old.as_ref()).map_or(BStr::new(b""), |side| side.path.as_ref())
    }
}

/// How renames were looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renames {
    /// By likeness.
    Similar,
    /// Unchanged files alone: too many, or too large ones, could be pairs.
    Exact,
    /// Not at all: too much has changed.
    Off,
}

/// The changes between two trees.
pub struct Changes {
    /// Those that are kept, in the order of their paths.
    pub list: Vec<Change>,
    /// How many there are.
    pub total: usize,
    /// How renames were looked for.
    pub renames: Renames,
}

/// Compares two trees; lists at most `kept_max` changes.
pub fn changes(
    objects: &Objects<'_>,
    old: ObjectId,
    new: ObjectId,
    kept_max: usize,
) -> Result<Changes, OpError> {
    let (old, new) = (gix_id(&old), gix_id(&new));
    let (mut old_data, mut new_data) = (Vec::new(), Vec::new());
    let fail = |error: gix_error::Error| objects.failure(error);
    let old = objects.find_tree_iter(&old, &mut old_data).map_err(|e| objects.failure(e))?;
    let new = objects.find_tree_iter(&new, &mut new_data).map_err(|e| objects.failure(e))?;
    let renames = renames_between(objects, old, new)?;
    let mut found = Changes { list: Vec::new(), total: 0, renames };
    let mut each = |change: ChangeRef<'_>| {
        if let Some(change) = ours(objects, change) {
            found.total += 1;
            if found.list.len() < COMPARE_CHANGES_MAX {
                found.list.push(change);
            }
        }
        Ok(ControlFlow::Continue(()))
    };
    let options =
        Options { location: Some(gix_diff::tree::recorder::Location::Path), rewrites: rewrites(renames) };
    let mut platform = diff_platform(objects.algo(), RENAME_BLOB_BYTES_MAX);
    let mut state = gix_diff::tree::State::default();
    gix_diff::tree_with_rewrites(old, new, &mut platform, &mut state, objects, &mut each, options)
        .map_err(|error| fail(gix_error::Error::from_error(error)))?;
    found.list.sort_by(|a, b| a.path().cmp(b.path()));
    found.list.truncate(kept_max);
    Ok(found)
}

/// gix's settings for this way of finding renames.
pub fn rewrites(renames: Renames) -> Option<gix_diff::Rewrites> {
    let percentage = match renames {
        Renames::Similar => Some(SIMILARITY_MIN),
        Renames::Exact => None,
        Renames::Off => return None,
    };
    // The pairs were counted: gix's own limit, which counts them before it takes out the unchanged ones, must not bite.
    Some(gix_diff::Rewrites { copies: None, percentage, limit: 0, track_empty: false })
}

/// How renames between two trees can be looked for within the limits.
pub fn renames_between(
    objects: &Objects<'_>,
    old: TreeRefIter<'_>,
    new: TreeRefIter<'_>,
) -> Result<Renames, OpError> {
    let mut seen = Unpaired::default();
    let mut state = gix_diff::tree::State::default();
    gix_diff::tree(old, new, &mut state, objects, &mut seen)
        .map_err(|error| objects.failure(gix_error::Error::from_error(error)))?;
    if seen.total > COMPARE_CHANGES_MAX {
        return Ok(Renames::Off);
    }
    // What is unchanged on the other side is found by its id and compared with nothing.
    let (mut added, mut deleted) = ((0_u64, 0_u64), (0_u64, 0_u64));
    for (id, (plus, minus)) in &seen.blobs {
        if plus.min(minus) > &0 {
            continue;
        }
        let header = gix_object::FindHeader::try_header(objects, id).map_err(|e| objects.failure(e))?;
        let size = header.map_or(0, |header| header.size);
        if size == 0 || size > RENAME_BLOB_BYTES_MAX {
            continue;
        }
        let (side, count) = if *plus > 0 { (&mut added, *plus) } else { (&mut deleted, *minus) };
        side.0 += u64::from(count);
        side.1 += size * u64::from(count);
    }
    let pairs = added.0.saturating_mul(deleted.0);
    let pair_bytes = added.0.saturating_mul(deleted.1).saturating_add(deleted.0.saturating_mul(added.1));
    let held = added.1 + deleted.1;
    let fits =
        pairs <= RENAME_PAIRS_MAX && pair_bytes <= RENAME_PAIR_BYTES_MAX && held <= RENAME_BLOBS_BYTES_MAX;
    if fits {
        // Their lines beside them, as numbers.
        objects.room().hold(held * 2)?;
    }
    Ok(if fits { Renames::Similar } else { Renames::Exact })
}

/// Counts changes, and how often each blob was added and deleted.
#[derive(Default)]
struct Unpaired {
    total: usize,
    blobs: HashMap<gix_hash::ObjectId, (u32, u32)>,
}

impl gix_diff::tree::Visit for Unpaired {
    fn pop_front_tracked_path_and_set_current(&mut self) {}
    fn push_back_tracked_path_component(&mut self, _: &BStr) {}
    fn push_path_component(&mut self, _: &BStr) {}
    fn pop_path_component(&mut self) {}

    fn visit(&mut self, change: gix_diff::tree::visit::Change) -> gix_diff::tree::visit::Action {
        use gix_diff::tree::visit::Change::{Addition, Deletion, Modification};
        let (mode, id, is_new) = match change {
            Addition { entry_mode, oid, .. } => (entry_mode, oid, true),
            Deletion { entry_mode, oid, .. } => (entry_mode, oid, false),
            Modification { entry_mode, .. } => {
                self.total += usize::from(entry_mode.is_no_tree());
                return ControlFlow::Continue(());
            }
        };
        if mode.is_no_tree() {
            self.total += 1;
            if mode.is_blob() && self.total <= COMPARE_CHANGES_MAX {
                let counts = self.blobs.entry(id).or_default();
                *(if is_new { &mut counts.0 } else { &mut counts.1 }) += 1;
            }
        }
        ControlFlow::Continue(())
    }
}

/// A change in our words; `None` for one of a tree, whose files come by themselves.
fn ours(objects: &Objects<'_>, change: ChangeRef<'_>) -> Option<Change> {
    type Mode = gix_object::tree::EntryMode;
    let side = |path: &BStr, mode: Mode, id: gix_hash::ObjectId| Side {
        path: path.to_owned(),
        mode: u32::from(mode.value()),
        id: our_id(objects.algo(), &id),
    };
    match change {
        ChangeRef::Addition { location, entry_mode, id, .. } => entry_mode.is_no_tree().then(|| Change {
            status: Status::Added,
            old: None,
            new: Some(side(location, entry_mode, id)),
            similarity: None,
        }),
        ChangeRef::Deletion { location, entry_mode, id, .. } => entry_mode.is_no_tree().then(|| Change {
            status: Status::Deleted,
            old: Some(side(location, entry_mode, id)),
            new: None,
            similarity: None,
        }),
        ChangeRef::Modification { location, previous_entry_mode, previous_id, entry_mode, id } => {
            let is_same_type = previous_entry_mode.is_blob() == entry_mode.is_blob()
                && previous_entry_mode.is_link() == entry_mode.is_link();
            (entry_mode.is_no_tree() && previous_entry_mode.is_no_tree()).then(|| Change {
                status: if is_same_type { Status::Modified } else { Status::TypeChanged },
                old: Some(side(location, previous_entry_mode, previous_id)),
                new: Some(side(location, entry_mode, id)),
                similarity: None,
            })
        }
        ChangeRef::Rewrite {
            source_location,
            source_entry_mode,
            source_id,
            diff,
            entry_mode,
            id,
            location,
            ..
        } => entry_mode.is_no_tree().then(|| {
            // 100 is for unchanged files alone, as in git.
            let similarity = diff.map_or(100, |diff| ((diff.similarity * 100.0) as u32).min(99));
            Change {
                status: Status::Renamed,
                old: Some(side(source_location, source_entry_mode, source_id)),
                new: Some(side(location, entry_mode, id)),
                similarity: Some(if source_id == id { 100 } else { similarity }),
            }
        }),
    }
}
