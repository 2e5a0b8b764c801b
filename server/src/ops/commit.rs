//! A commit without a clone: edits of a tree become a pack of the changed trees, the new files and the commit, which
//! goes the way of every push.
//!
//! All changes are made at once: what `delete` and `from` name is what the parent commit has, and it is taken away
//! before anything is put in its place, so that the order of changes does not matter and two files can swap names.

mod changes;
mod people;
mod plan;

pub use changes::{Change, Content, Put, check_path};
pub use people::{Person, signature};

use std::sync::Arc;

use cairn_protocol::object::{Kind, ObjectId};
use cairn_protocol::receive_pack::{Command, PushRequest};
use cairn_protocol::refs::RefName;
use cairn_protocol::source::ObjectSource;

use super::commit_text::{self, CommitText};
use super::push::{By, Refused, push};
use super::room::Room;
use super::spool::Spool;
use super::view::RepoView;
use super::write::{Wanted, WriteError, bad, moved, refused};
use super::{OpError, Served};
use crate::app::App;
use crate::error::{Error, code};
use crate::limits::COMMIT_ATTEMPTS_MAX;
use crate::random;
use crate::store::catalog::RepoRow;
use crate::store::repo::{EntryKind, Snapshot};

/// A commit to be made.
pub struct Wish {
    /// The branch's full name.
    pub branch: RefName,
    /// What it must be at. `Absent` makes a branch without a past unless there is a start point.
    pub expected_head: Wanted,
    /// Where a new branch starts: a ref or a commit.
    pub start_point: Option<String>,
    /// The whole message.
    pub message: Vec<u8>,
    /// `author` as git writes it.
    pub author: String,
    /// `committer`, likewise.
    pub committer: String,
    /// What changes.
    pub changes: Vec<Change>,
    /// Bytes that changes take their content from.
    pub files: Arc<Spool>,
    /// Whether a commit that changes nothing is made.
    pub allow_empty: bool,
}

/// Who makes it and when.
pub struct Maker {
    /// For the log: `Caller::actor`.
    pub actor: String,
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// The entry's nonce, where the caller has one to find it again by.
    pub nonce: Option<[u8; 16]>,
}

/// Makes the commit. Blocks. A head that moved meanwhile is followed where the caller did not say what it expects.
pub fn commit(
    app: &App,
    row: &RepoRow,
    wish: &Wish,
    maker: &Maker,
    room: Room,
) -> Result<CommitText, WriteError> {
    let served = Served { room, ..app.served(row)? };
    let files = changes::hashed(served.algo, wish)?;
    let mut last = None;
    for _ in 0..COMMIT_ATTEMPTS_MAX {
        let snapshot = served.repo.snapshot(None)?;
        let now = snapshot.reference(wish.branch.as_bytes())?.map(|row| row.id);
        if !wish.expected_head.holds(now) {
            return Err(moved("/expected_head", now));
        }
        let parent = parent(app, row, &served, &snapshot, wish, now)?;
        let plan = plan::plan(app, row, (&served, &snapshot), wish, &files, parent)?;
        let upload = plan.pack(&app.spool_dir(), wish, &snapshot)?;
        match publish(&served, wish, maker, now, &plan, &upload)? {
            Ok(()) => {
                let text = commit_text::parse(served.algo, plan.commit, &plan.data);
                return text.ok_or_else(|| bad("", "the commit cannot be read"));
            }
            Err(Refused::Stale { now }) if wish.expected_head == Wanted::Any => last = now,
            Err(why @ Refused::Stale { .. }) => return Err(refused("/expected_head", &why)),
            Err(why) => return Err(refused("/branch", &why)),
        }
    }
    Err(moved("/branch", last))
}

/// The commit that the new one follows.
fn parent(
    app: &App,
    row: &RepoRow,
    served: &Served,
    snapshot: &Snapshot,
    wish: &Wish,
    now: Option<ObjectId>,
) -> Result<Option<ObjectId>, WriteError> {
    match (now, &wish.start_point) {
        (Some(_), Some(_)) => {
            let text = "the branch exists; a start_point is for new ones";
            Err(WriteError::Refused(Error::new(code::ALREADY_EXISTS, text).at("/start_point")))
        }
        (Some(now), None) => Ok(Some(now)),
        (None, Some(start)) => {
            let found = RepoView::open(app, row, None, served.room)?.commit_named(start)?;
            let missing = || Error::new(code::NOT_FOUND, "no such ref or commit").at("/start_point");
            found.map(Some).ok_or_else(|| WriteError::Refused(missing()))
        }
        (None, None) if wish.expected_head == Wanted::Absent => Ok(None),
        (None, None) => {
            // A repository's first commit may go to any branch; later ones must say what they follow.
            let has_head = snapshot.reference(served.head().as_bytes())?.is_some();
            if has_head || snapshot.refs_count()? > 0 {
                let text = "no such branch; start_point says where a new one starts";
                return Err(WriteError::Refused(Error::new(code::NOT_FOUND, text).at("/branch")));
            }
            Ok(None)
        }
    }
}

/// Appends the entry; the inner result is that of the branch.
fn publish(
    served: &Served,
    wish: &Wish,
    maker: &Maker,
    now: Option<ObjectId>,
    plan: &plan::Plan,
    upload: &Spool,
) -> Result<Result<(), Refused>, WriteError> {
    let old = now.unwrap_or(ObjectId::null(served.algo));
    let command = Command { name: wish.branch.as_bytes().to_vec(), old, new: plan.commit };
    let request =
        PushRequest { commands: vec![command], atomic: true, quiet: true, ..PushRequest::default() };
    let by = By {
        kind: EntryKind::Commit,
        actor: maker.actor.clone(),
        time_ms: maker.time_ms,
        nonce: maker.nonce.unwrap_or_else(random::bytes),
    };
    let mut pushed = push(served, &request, Some(upload), by, &mut |_| {})?;
    pushed.unpack.map_err(|why| bad("/changes", why))?;
    Ok(pushed.results.pop().unwrap_or_else(|| Err(Refused::Rule("no result".into()))))
}

/// The root tree of a commit.
fn tree_of(snapshot: &Snapshot, commit: &ObjectId) -> Result<ObjectId, OpError> {
    let missing = || OpError::Request(format!("{commit} is not a commit"));
    let at = snapshot.lookup(commit)?.ok_or_else(missing)?;
    if snapshot.record(at)?.kind != Kind::Commit {
        return Err(missing());
    }
    Ok(snapshot.record(snapshot.commit(at)?.tree)?.id)
}
