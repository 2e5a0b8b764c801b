//! Merge two trees against their base, as `git merge` does with its default strategy.
//!
//! Several merge bases are first merged into one, oldest first, with their conflicts left in the files: what both sides
//! resolved alike is then no conflict any more. `.gitattributes` are not looked at: no merge drivers, no `-merge`.

use std::num::NonZeroU8;

use bstr::{BStr, BString, ByteSlice};
use cairn_protocol::source::{ObjRef, ObjectSource};
use cairn_protocol::walk::diverge;
use gix_hash::ObjectId;
use gix_merge::blob::builtin_driver::{binary, text};
use gix_merge::tree::{
    Conflict, Options, Outcome, Resolution, ResolutionFailure, ResolveWith, TreatAsUnresolved,
};
use gix_object::{FindExt, Write};

use super::OpError;
use super::changes::{Renames, renames_between, rewrites};
use super::engine::{Objects, diff_platform, gix_id, gix_kind, merge_platform};
use super::view::RepoView;
use crate::limits::{
    COMPARE_CHANGES_MAX, COMPARE_COMMITS_MAX, MERGE_BASES_MAX, MERGE_BLOB_BYTES_MAX, MERGE_CONFLICTS_MAX,
    MERGE_REGION_BYTES_MAX, MERGE_REGIONS_MAX, RENAME_BLOB_BYTES_MAX,
};

/// Which side wins where lines conflict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Favor {
    /// None: it is a conflict.
    #[default]
    None,
    /// The base branch's.
    Ours,
    /// The head's.
    Theirs,
}

/// What came of it.
pub enum Merged {
    /// The tree, which is among the objects.
    Clean(ObjectId),
    /// What stands against it.
    Conflicts(Conflicts),
}

/// Conflicted paths.
#[derive(Debug, Default)]
pub struct Conflicts {
    /// In the order of their paths.
    pub list: Vec<ConflictedPath>,
    /// Whether there are more paths or regions than are listed.
    pub is_cut: bool,
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

/// How one merge of trees is done.
struct How<'a> {
    labels: text::Labels<'a>,
    favor: Favor,
    /// 0 for the merge itself, more for merges of its bases.
    depth: u8,
}

/// Merges `theirs` into `ours`; both are commits, `bases` their best common ancestors.
pub fn merge(
    view: &RepoView,
    objects: &Objects<'_>,
    (bases, ours, theirs): (&[ObjRef], ObjRef, ObjRef),
    (our_name, their_name): (&str, &str),
    favor: Favor,
) -> Result<(Merged, Renames), OpError> {
    let base = base_tree(view, objects, bases, 0)?;
    let labels = text::Labels {
        ancestor: Some(BStr::new("merge base")),
        current: Some(BStr::new(our_name)),
        other: Some(BStr::new(their_name)),
    };
    let how = How { labels, favor, depth: 0 };
    let (mut outcome, renames) = trees(objects, (base, tree(view, ours)?, tree(view, theirs)?), &how)?;
    let merged = write(objects, &mut outcome)?;
    if outcome.has_unresolved_conflicts(TreatAsUnresolved::git()) {
        return Ok((Merged::Conflicts(conflicts(objects, &outcome, merged)?), renames));
    }
    Ok((Merged::Clean(merged), renames))
}

/// The root tree of a commit.
fn tree(view: &RepoView, commit: ObjRef) -> Result<ObjectId, OpError> {
    let tree = view.snapshot.commit(commit)?.tree;
    Ok(gix_id(&view.snapshot.record(tree)?.id))
}

/// The one tree that stands for the merge bases, of which the newest comes first.
fn base_tree(
    view: &RepoView,
    objects: &Objects<'_>,
    bases: &[ObjRef],
    depth: u8,
) -> Result<ObjectId, OpError> {
    if bases.len() > MERGE_BASES_MAX || usize::from(depth) > MERGE_BASES_MAX {
        return Err(OpError::TooLarge(format!("the histories cross more than {MERGE_BASES_MAX} times")));
    }
    let mut oldest_first = bases.iter().rev();
    let Some(first) = oldest_first.next() else {
        return Ok(ObjectId::empty_tree(gix_kind(objects.algo())));
    };
    let (mut tips, mut merged) = (vec![*first], tree(view, *first)?);
    for next in oldest_first {
        let relation = diverge(&view.snapshot, &tips, *next, COMPARE_COMMITS_MAX)?;
        let relation = relation.ok_or_else(|| OpError::TooLarge("the histories are too long".into()))?;
        let base = base_tree(view, objects, &relation.bases, depth + 1)?;
        let labels = text::Labels {
            ancestor: Some(BStr::new("merged common ancestors")),
            current: Some(BStr::new("Temporary merge branch 1")),
            other: Some(BStr::new("Temporary merge branch 2")),
        };
        let how = How { labels, favor: Favor::None, depth: depth + 1 };
        let (mut outcome, _) = trees(objects, (base, merged, tree(view, *next)?), &how)?;
        merged = write(objects, &mut outcome)?;
        tips.push(*next);
    }
    Ok(merged)
}

fn write(objects: &Objects<'_>, outcome: &mut Outcome<'_>) -> Result<ObjectId, OpError> {
    outcome.tree.write(|tree| objects.write(tree)).map_err(|error| objects.failure(error))
}

fn trees<'objects>(
    objects: &'objects Objects<'_>,
    (base, ours, theirs): (ObjectId, ObjectId, ObjectId),
    how: &How<'_>,
) -> Result<(Outcome<'objects>, Renames), OpError> {
    let renames = renames(objects, base, [ours, theirs])?;
    let mut options =
        Options { rewrites: rewrites(renames), marker_size_multiplier: how.depth, ..Options::default() };
    options.blob_merge.text.diff_algorithm = gix_diff::blob::Algorithm::Histogram;
    let marker_size = NonZeroU8::new(text::Conflict::DEFAULT_MARKER_SIZE).unwrap_or(NonZeroU8::MIN);
    let keep = text::Conflict::Keep { style: text::ConflictStyle::Merge, marker_size };
    (options.blob_merge.text.conflict, options.blob_merge.resolve_binary_with) = match how.favor {
        Favor::None => (keep, None),
        Favor::Ours => (text::Conflict::ResolveWithOurs, Some(binary::ResolveWith::Ours)),
        Favor::Theirs => (text::Conflict::ResolveWithTheirs, Some(binary::ResolveWith::Theirs)),
    };
    if how.depth > 0 {
        // What cannot be merged in a base is what it was before: nobody chose yet.
        options.blob_merge.is_virtual_ancestor = true;
        options.tree_conflicts = Some(ResolveWith::Ancestor);
        options.blob_merge.resolve_binary_with = Some(binary::ResolveWith::Ancestor);
        options.symlink_conflicts = Some(binary::ResolveWith::Ancestor);
    }
    let mut state = gix_diff::tree::State::default();
    let outcome = gix_merge::tree(
        &base,
        &ours,
        &theirs,
        how.labels,
        objects,
        |blob| objects.write_buf(gix_object::Kind::Blob, blob),
        &mut state,
        &mut diff_platform(objects.algo(), RENAME_BLOB_BYTES_MAX),
        &mut merge_platform(objects.algo(), MERGE_BLOB_BYTES_MAX),
        options,
    );
    Ok((outcome.map_err(|error| objects.failure(error))?, renames))
}

/// How renames are looked for on both sides.
fn renames(objects: &Objects<'_>, base: ObjectId, sides: [ObjectId; 2]) -> Result<Renames, OpError> {
    let mut all = Renames::Similar;
    for side in sides {
        let (mut old, mut new) = (Vec::new(), Vec::new());
        let old = objects.find_tree_iter(&base, &mut old).map_err(|error| objects.failure(error))?;
        let new = objects.find_tree_iter(&side, &mut new).map_err(|error| objects.failure(error))?;
        match renames_between(objects, old, new)? {
            Renames::Similar => {}
            Renames::Exact => all = Renames::Exact,
            Renames::Off => {
                let text = format!("more than {COMPARE_CHANGES_MAX} files changed on one side");
                return Err(OpError::TooLarge(text));
            }
        }
    }
    Ok(all)
}

/// What is conflicted, path by path. gix tells it as changes to an index: to a small one here, of the paths alone that
/// a conflict may name.
fn conflicts(objects: &Objects<'_>, outcome: &Outcome<'_>, merged: ObjectId) -> Result<Conflicts, OpError> {
    let how = TreatAsUnresolved::git();
    let mut found = Conflicts::default();
    let mut text_left = MERGE_REGION_BYTES_MAX;
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
            let path = entry.path(&index).to_owned();
            let at = match found.list.iter().position(|known| known.path == path) {
                Some(at) => at,
                None if found.list.len() >= MERGE_CONFLICTS_MAX => {
                    found.is_cut = true;
                    continue;
                }
                None => {
                    let kind = kind(objects, conflict)?;
                    let regions = regions(objects, conflict, &mut text_left, &mut found.is_cut);
                    found.list.push(ConflictedPath { path, kind, stages: [None; 3], regions });
                    found.list.len() - 1
                }
            };
            if let Some(slot) = found.list.get_mut(at).and_then(|known| known.stages.get_mut(stage)) {
                *slot = Some((entry.mode.bits(), entry.id));
            }
        }
    }
    found.list.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The paths that a conflict may be about.
fn places(conflict: &Conflict) -> std::collections::BTreeSet<BString> {
    let mut places = std::collections::BTreeSet::new();
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
        ResolutionFailure::Unknown => "unknown",
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
