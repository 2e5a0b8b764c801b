//! Merge two trees against their base, as `git merge` does with its default strategy.
//!
//! Several merge bases are first merged into one, oldest first, with their conflicts left in the files: what both sides
//! resolved alike is then no conflict any more. `.gitattributes` are not looked at: no merge drivers, no `-merge`.

use std::num::NonZeroU8;

use bstr::BStr;
use cairn_protocol::source::{ObjRef, ObjectSource};
use cairn_protocol::walk::diverge;
use gix_hash::ObjectId;
use gix_merge::blob::builtin_driver::{binary, text};
use gix_merge::tree::{Options, Outcome, ResolveWith, TreatAsUnresolved};
use gix_object::{FindExt, Write};

use super::OpError;
use super::changes::{Renames, renames_between, rewrites};
use super::engine::{Objects, diff_platform, gix_id, gix_kind, merge_platform};
use super::merge_conflicts::{Conflicts, conflicts, moved_along};
use super::view::RepoView;
use crate::limits::{
    COMPARE_CHANGES_MAX, COMPARE_COMMITS_MAX, MERGE_BASES_MAX, MERGE_BLOB_BYTES_MAX, RENAME_BLOB_BYTES_MAX,
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
    let sides = [tree(view, ours)?, tree(view, theirs)?];
    let [our_tree, their_tree] = sides;
    let (mut outcome, renames) = trees(objects, (base, our_tree, their_tree), &how)?;
    let merged = write(objects, &mut outcome)?;
    let moved = moved_along(objects, base, sides, merged)?;
    if !moved.is_empty() || outcome.has_unresolved_conflicts(TreatAsUnresolved::git()) {
        return Ok((Merged::Conflicts(conflicts(objects, &outcome, merged, &moved)?), renames));
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
