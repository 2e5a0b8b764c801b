//! Compare two commits: how their histories relate, and what changed in the files.

use cairn_protocol::object::{Kind, ObjectId};
use cairn_protocol::source::{ObjRef, ObjectSource};
use cairn_protocol::walk::{Divergence, diverge};

use super::OpError;
use super::at::At;
use super::changes::{Change, Renames, changes};
use super::commit_text::{self, CommitText};
use super::engine::Objects;
use super::patch::{Budget, Cut, Patch, patch};
use super::room::within;
use super::view::RepoView;
use crate::app::App;
use crate::budget::Wait;
use crate::error::{Error, Result, code};
use crate::limits::{COMPARE_COMMIT_BYTES, COMPARE_COMMITS_MAX, COMPARE_FILES_MAX};
use crate::store::catalog::{RepoRow, Window};

/// What a caller wants to be compared.
#[derive(Clone, Debug)]
pub struct Wish {
    /// A ref or a whole hash; HEAD where it is empty.
    pub base: String,
    /// Likewise.
    pub head: String,
    /// Whether files are compared with the merge base, not with the base itself.
    pub from_merge_base: bool,
    /// Which of the head's own commits are wanted.
    pub commits: Window,
    /// Whether files are compared.
    pub files: bool,
    /// Whether their patches are made.
    pub patches: bool,
    /// As of when.
    pub at: Option<At>,
}

/// How two commits compare.
pub struct Comparison {
    /// The base.
    pub base: CommitText,
    /// The head.
    pub head: CommitText,
    /// The best common ancestors, newest first: the first one counts.
    pub bases: Vec<ObjectId>,
    /// Commits that the head alone reaches.
    pub ahead_by: u64,
    /// Commits that the base alone reaches.
    pub behind_by: u64,
    /// Some of the head's own, newest first.
    pub commits: Vec<CommitText>,
    /// The changed files, where they were asked for.
    pub files: Option<Files>,
}

/// Changed files.
pub struct Files {
    /// Those that are listed, each with its patch.
    pub list: Vec<(Change, Patch)>,
    /// How many there are.
    pub total: usize,
    /// How renames were looked for.
    pub renames: Renames,
    /// The limits that left something out, each once.
    pub cut: Vec<Cut>,
}

/// Compares.
pub async fn compare(app: &App, row: RepoRow, wish: Wish) -> Result<Comparison> {
    let inner = app.clone();
    let work = move |room| compare_in(&RepoView::open(&inner, &row, wish.at, room)?, &wish);
    within(app, Wait::Request, 0, work).await
}

fn compare_in(view: &RepoView, wish: &Wish) -> Result<Comparison> {
    let missing = |what: &str, name: &str| {
        let shown = if name.is_empty() { "HEAD" } else { name };
        Error::new(code::NOT_FOUND, format!("{what} not found: {shown}"))
    };
    let base = view.commit_named(&wish.base)?.ok_or_else(|| missing("Base", &wish.base))?;
    let head = view.commit_named(&wish.head)?.ok_or_else(|| missing("Head", &wish.head))?;
    let relation = relate(view, base, head)?;
    if wish.from_merge_base && wish.files && relation.bases.is_empty() {
        let text = "the two have no common ancestor: compare them with two dots, or without files";
        return Err(Error::new(code::INVALID_INPUT, text));
    }
    let bases = ids(view, &relation.bases)?;
    let from = bases.first().copied().filter(|_| wish.from_merge_base).unwrap_or(base);
    let files = if wish.files { Some(files(view, from, head, wish.patches)?) } else { None };
    Ok(Comparison {
        base: commit(view, base)?,
        head: commit(view, head)?,
        bases,
        ahead_by: relation.right.len() as u64,
        behind_by: relation.left.len() as u64,
        commits: page(view, relation.right, wish.commits)?,
        files,
    })
}

/// How the histories of two visible commits relate.
pub fn relate(view: &RepoView, base: ObjectId, head: ObjectId) -> std::result::Result<Divergence, OpError> {
    let missing = |id| OpError::Request(format!("no ref shows {id}"));
    let left = view.place(&base)?.ok_or_else(|| missing(base))?;
    let right = view.place(&head)?.ok_or_else(|| missing(head))?;
    let room = view.served.room;
    let fits = usize::try_from(room.bytes() / COMPARE_COMMIT_BYTES).unwrap_or(COMPARE_COMMITS_MAX);
    diverge(&view.snapshot, &[left], right, fits.min(COMPARE_COMMITS_MAX))?.ok_or_else(|| {
        if let Err(more) = room.hold(COMPARE_COMMITS_MAX as u64 * COMPARE_COMMIT_BYTES) {
            return more;
        }
        OpError::TooLarge(format!(
            "more than {COMPARE_COMMITS_MAX} commits lie between the two and their base"
        ))
    })
}

/// The ids of places.
pub fn ids(view: &RepoView, places: &[ObjRef]) -> std::result::Result<Vec<ObjectId>, OpError> {
    places.iter().map(|at| Ok(view.snapshot.record(*at)?.id)).collect()
}

/// A commit, read.
pub fn commit(view: &RepoView, id: ObjectId) -> std::result::Result<CommitText, OpError> {
    let data = view.object(&id, Kind::Commit)?;
    data.and_then(|data| commit_text::parse(view.served.algo, id, &data))
        .ok_or_else(|| OpError::Request(format!("commit {id} cannot be read")))
}

/// Part of a list of commits, newest first. Children stay before their parents where clocks agree.
fn page(
    view: &RepoView,
    places: Vec<ObjRef>,
    window: Window,
) -> std::result::Result<Vec<CommitText>, OpError> {
    let timed = places.into_iter().map(|at| Ok((view.snapshot.commit(at)?.time, at)));
    let mut timed: Vec<(i64, ObjRef)> = timed.collect::<std::result::Result<_, OpError>>()?;
    timed.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
    let skip = usize::try_from(window.skip).unwrap_or(usize::MAX);
    let take = usize::try_from(window.take).unwrap_or(usize::MAX);
    let places: Vec<ObjRef> = timed.into_iter().skip(skip).take(take).map(|(_, at)| at).collect();
    ids(view, &places)?.into_iter().map(|id| commit(view, id)).collect()
}

fn files(
    view: &RepoView,
    old: ObjectId,
    new: ObjectId,
    patches: bool,
) -> std::result::Result<Files, OpError> {
    let tree = |commit: ObjectId| {
        view.tree_of(commit)?.ok_or_else(|| OpError::Request(format!("the tree of {commit} is missing")))
    };
    let objects = Objects::new(view, 0);
    let found = changes(&objects, tree(old)?, tree(new)?, COMPARE_FILES_MAX)?;
    let mut files = Files { list: Vec::new(), total: found.total, renames: found.renames, cut: Vec::new() };
    if found.total > found.list.len() {
        files.cut.push("files");
    }
    if found.renames != Renames::Similar {
        files.cut.push("renames");
    }
    let (mut budget, mut kept) = (Budget::default(), 0);
    for change in found.list {
        let mut made = patch(&objects, &change, &mut budget)?;
        if !patches {
            made.text = None;
        }
        if let Some(cut) = made.cut
            && !files.cut.contains(&cut)
        {
            files.cut.push(cut);
        }
        kept += made.text.as_ref().map_or(0, Vec::len) as u64;
        // Once as it is, once in the answer.
        view.served.room.hold(kept * 2)?;
        files.list.push((change, made));
    }
    Ok(files)
}
