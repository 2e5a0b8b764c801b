//! What stands against a merge, path by path.

use std::collections::{BTreeSet, HashMap};

use bstr::{BStr, BString, ByteSlice};
use gix_hash::ObjectId;
use gix_merge::tree::{Conflict, Outcome, Resolution, ResolutionFailure, TreatAsUnresolved};
use gix_object::FindExt;

use super::OpError;
use super::engine::{Objects, gix_kind};
use crate::limits::{MERGE_CONFLICTS_MAX, MERGE_REGION_BYTES_MAX, MERGE_REGIONS_MAX};

/// Conflicted paths.
#[derive(Debug, Default)]
pub struct Conflicts {
    /// In the order of their paths.
    pub list: Vec<ConflictedPath>,
    /// Whether there are more paths or regions than are listed.
    pub is_cut: bool,
}

impl Conflicts {
    /// Notes what one side has at a path; `about` is asked for what is new.
    fn add(
        &mut self,
        path: &BStr,
        stage: usize,
        of_path: (u32, ObjectId),
        about: impl FnOnce() -> Result<(&'static str, Vec<(usize, Vec<u8>)>), OpError>,
    ) -> Result<(), OpError> {
        let known = self.list.iter().position(|known| known.path == path);
        if known.is_none() && self.list.len() >= MERGE_CONFLICTS_MAX {
            self.is_cut = true;
            return Ok(());
        }
        let at = match known {
            Some(at) => at,
            None => {
                let (kind, regions) = about()?;
                self.list.push(ConflictedPath { path: path.to_owned(), kind, stages: [None; 3], regions });
                self.list.len() - 1
            }
        };
        if let Some(slot) = self.list.get_mut(at).and_then(|known| known.stages.get_mut(stage)) {
            *slot = Some(of_path);
        }
        Ok(())
    }
}

/// A path that is conflicted: git's index would have it at stages 1 to 3.
#[derive(Debug)]
pub struct ConflictedPath {
    /// In bytes.
    pub path: BString,
    /// What kind of conflict.
    pub kind: &'static str,
    /// Mode and id in the merge base, in the base branch and in the head; `None` where it is not there.
    pub stages: [Option<(u32, ObjectId)>; 3],
    /// Where lines conflict: the line of the merged file at which it starts, and the text with its markers.
    pub regions: Vec<(usize, Vec<u8>)>,
}

/// A path of the merged tree, the stage of the side that put it there, and its mode and id.
pub type Moved = (BString, usize, (u32, ObjectId));

/// What one side put into a folder that the other side renamed. gix moves it along; git asks
/// (`merge.directoryRenames=conflict`), since it only looks as if it should. Such a path is new on one side, not in the
/// merged tree, and in that under another folder, where neither side has it.
pub fn moved_along(
    objects: &Objects<'_>,
    base: ObjectId,
    sides: [ObjectId; 2],
    merged: ObjectId,
) -> Result<Vec<Moved>, OpError> {
    let in_merged = added(objects, base, merged)?;
    let in_sides = [added(objects, base, sides[0])?, added(objects, base, sides[1])?];
    let file_name = |path: &BString| path.rsplit_str("/").next().map(BString::from);
    let mut places: HashMap<Option<BString>, Vec<&BString>> = HashMap::new();
    for path in in_merged.keys().filter(|path| !in_sides.iter().any(|side| side.contains_key(*path))) {
        places.entry(file_name(path)).or_default().push(path);
    }
    let mut moved = Vec::new();
    for (at, side) in in_sides.iter().enumerate() {
        for (path, of_path) in side.iter().filter(|(path, _)| !in_merged.contains_key(*path)) {
            let of_name = places.get(&file_name(path)).map(Vec::as_slice).unwrap_or_default();
            let same =
                of_name.iter().find(|place| in_merged.get(**place).is_some_and(|(_, id)| *id == of_path.1));
            if let Some(place) = same.or(of_name.first()) {
                moved.push(((*place).clone(), at + 1, *of_path));
            }
        }
    }
    moved.sort();
    Ok(moved)
}

/// The files of `new` whose paths `old` does not have, with their modes and ids.
fn added(
    objects: &Objects<'_>,
    old: ObjectId,
    new: ObjectId,
) -> Result<HashMap<BString, (u32, ObjectId)>, OpError> {
    use gix_diff::tree::{
        Recorder,
        recorder::{Change, Location},
    };
    let (mut old_data, mut new_data) = (Vec::new(), Vec::new());
    let old = objects.find_tree_iter(&old, &mut old_data).map_err(|error| objects.failure(error))?;
    let new = objects.find_tree_iter(&new, &mut new_data).map_err(|error| objects.failure(error))?;
    let mut recorder = Recorder::default().track_location(Some(Location::Path));
    gix_diff::tree(old, new, &mut Default::default(), objects, &mut recorder)
        .map_err(|error| objects.failure(gix_error::Error::from_error(error)))?;
    let file = |change| match change {
        Change::Addition { entry_mode, oid, path, .. } if entry_mode.is_no_tree() => {
            Some((path, (u32::from(entry_mode.value()), oid)))
        }
        _ => None,
    };
    Ok(recorder.records.into_iter().filter_map(file).collect())
}

/// What is conflicted, path by path. gix tells it as changes to an index: to a small one here, of the paths alone that
/// a conflict may name.
pub fn conflicts(
    objects: &Objects<'_>,
    outcome: &Outcome<'_>,
    merged: ObjectId,
    moved: &[Moved],
) -> Result<Conflicts, OpError> {
    let mut found = Conflicts::default();
    let mut text_left = MERGE_REGION_BYTES_MAX;
    for (path, stage, of_path) in moved {
        found.add(path.as_ref(), *stage, *of_path, || Ok(("file_location", Vec::new())))?;
    }
    let how = TreatAsUnresolved::git();
    for conflict in outcome.conflicts.iter().filter(|conflict| conflict.is_unresolved(how)) {
        let mut index = gix_index::State::new(gix_kind(objects.algo()));
        for path in places(conflict) {
            if let Some((mode, id)) = entry(objects, merged, path.as_ref())? {
                let mode = gix_index::entry::Mode::from(mode);
                let flags = gix_index::entry::Flags::empty();
                index.dangerously_push_entry(Default::default(), id, flags, mode, path.as_ref());
            }
        }
        index.sort_entries();
        let one = std::slice::from_ref(conflict);
        let removal = gix_merge::tree::apply_index_entries::RemovalMode::Prune;
        gix_merge::tree::apply_index_entries(one, how, &mut index, removal);
        for entry in index.entries() {
            let stage = entry.stage() as usize;
            let Some(stage) = stage.checked_sub(1) else { continue };
            let of_path = (entry.mode.bits(), entry.id);
            let mut is_cut = false;
            found.add(entry.path(&index), stage, of_path, || {
                Ok((kind(objects, conflict)?, regions(objects, conflict, &mut text_left, &mut is_cut)))
            })?;
            found.is_cut |= is_cut;
        }
    }
    found.list.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The paths that a conflict may be about.
fn places(conflict: &Conflict) -> BTreeSet<BString> {
    let mut places = BTreeSet::new();
    for change in [&conflict.ours, &conflict.theirs] {
        places.insert(change.location().to_owned());
        places.insert(change.source_location().to_owned());
    }
    match &conflict.resolution {
        Ok(Resolution::SourceLocationAffectedByRename { final_location }) => {
            places.insert(final_location.clone());
        }
        Ok(Resolution::OursModifiedTheirsRenamedAndChangedThenRename { final_location, .. }) => {
            places.extend(final_location.clone());
        }
        Err(ResolutionFailure::OursModifiedTheirsDirectoryThenOursRenamed {
            renamed_unique_path_to_modified_blob: path,
        })
        | Err(ResolutionFailure::OursDirectoryTheirsNonDirectoryTheirsRenamed {
            renamed_unique_path_of_theirs: path,
        })
        | Err(ResolutionFailure::OursAddedTheirsAddedTypeMismatch { their_unique_location: path }) => {
            places.insert(path.clone());
        }
        _ => {}
    }
    places
}

/// What is at a path of a tree, unless that is a tree.
fn entry(
    objects: &Objects<'_>,
    tree: ObjectId,
    path: &BStr,
) -> Result<Option<(gix_object::tree::EntryMode, ObjectId)>, OpError> {
    let mut here = tree;
    let mut parts = path.split_str("/").peekable();
    while let Some(part) = parts.next() {
        let mut data = Vec::new();
        let entries = objects.find_tree_iter(&here, &mut data).map_err(|error| objects.failure(error))?;
        let named = entries.filter_map(Result::ok).find(|entry| entry.filename == part);
        let Some(named) = named else { return Ok(None) };
        match (named.mode.is_tree(), parts.peek()) {
            (true, Some(_)) => here = named.oid.to_owned(),
            (false, None) => return Ok(Some((named.mode, named.oid.to_owned()))),
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// The word for a conflict.
fn kind(objects: &Objects<'_>, conflict: &Conflict) -> Result<&'static str, OpError> {
    let failure = match &conflict.resolution {
        Ok(Resolution::SourceLocationAffectedByRename { .. }) => return Ok("file_location"),
        Ok(Resolution::OursModifiedTheirsRenamedAndChangedThenRename { final_location: Some(_), .. }) => {
            return Ok("file_location");
        }
        Ok(Resolution::Forced(failure)) | Err(failure) => failure,
        Ok(_) => {
            // A merged file without markers was not merged by lines.
            let text = conflict.content_merge().and_then(|merge| objects.made(&merge.merged_blob_id));
            return Ok(match (text, conflict.entries().first()) {
                (None, _) => "binary",
                (Some(_), Some(None)) => "add_add",
                (Some(_), _) => "content",
            });
        }
    };
    Ok(match failure {
        ResolutionFailure::SubmoduleMerge | ResolutionFailure::SubmoduleAddAdd => "submodule",
        ResolutionFailure::OursRenamedTheirsRenamedToSameLocation
        | ResolutionFailure::OursRenamedTheirsRenamedDifferently { .. } => "rename_rename",
        ResolutionFailure::OursModifiedTheirsDirectoryThenOursRenamed { .. }
        | ResolutionFailure::OursDirectoryTheirsNonDirectoryTheirsRenamed { .. } => "file_directory",
        ResolutionFailure::OursAddedTheirsAddedTypeMismatch { .. }
        | ResolutionFailure::OursModifiedTheirsRenamedTypeMismatch => "distinct_types",
        ResolutionFailure::OursDeletedTheirsRenamed => "rename_delete",
        ResolutionFailure::OursModifiedTheirsDeleted => "modify_delete",
        ResolutionFailure::Unknown => match conflict.entries() {
            [_, Some(ours), Some(theirs)] if ours.mode.is_blob() != theirs.mode.is_blob() => "distinct_types",
            _ => "unknown",
        },
    })
}

/// The regions between markers in the merged file, as far as there is room for their text.
fn regions(
    objects: &Objects<'_>,
    conflict: &Conflict,
    text_left: &mut usize,
    is_cut: &mut bool,
) -> Vec<(usize, Vec<u8>)> {
    let made = conflict.content_merge().and_then(|merge| objects.made(&merge.merged_blob_id));
    let Some((_, data)) = made else { return Vec::new() };
    let mut found: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut open = false;
    for (line_at, line) in data.lines_with_terminator().enumerate() {
        let is_marker = |sign: &[u8]| line.starts_with(&sign.repeat(7));
        if !open && is_marker(b"<") {
            if found.len() >= MERGE_REGIONS_MAX {
                *is_cut = true;
                break;
            }
            found.push((line_at + 1, Vec::new()));
            open = true;
        }
        if let Some((_, text)) = found.last_mut().filter(|_| open) {
            match text_left.checked_sub(line.len()) {
                Some(left) => {
                    *text_left = left;
                    text.extend_from_slice(line);
                }
                None => {
                    *is_cut = true;
                    break;
                }
            }
        }
        open &= !is_marker(b">");
    }
    found
}
