//! Merge on the server: one entry with the objects that the merge makes and the branch at its commit, or nothing.

use std::collections::HashSet;

use cairn_protocol::object::{Kind, ObjectId, TreeIter};
use cairn_protocol::pack::PackWriter;
use cairn_protocol::receive_pack::{Command, PushRequest};
use cairn_protocol::source::ObjRef;

use super::OpError;
use super::changes::Renames;
use super::commit_text::CommitText;
use super::compare::{commit, ids, relate};
use super::engine::{Objects, our_id};
use super::merge_conflicts::Conflicts;
use super::merge_trees::{Favor, Merged, merge};
use super::push::{By, Refused, push};
use super::room::{Room, within};
use super::spool::Spool;
use super::view::RepoView;
use crate::app::App;
use crate::auth::{Edit, Grant};
use crate::budget::Wait;
use crate::error::{Error, Result, code};
use crate::limits::{COMMIT_MESSAGE_BYTES_MAX, MERGE_ATTEMPTS_MAX, MERGE_MADE_BYTES_MAX, PERSON_BYTES_MAX};
use crate::store::catalog::RepoRow;
use crate::store::repo::EntryKind;

/// Whether the branch may simply be moved where the head contains it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FastForward {
    /// Where it can be.
    #[default]
    Allow,
    /// Nothing else is done.
    Only,
    /// A commit is made in any case.
    Never,
}

/// Who makes a commit, and when.
#[derive(Clone, Debug)]
pub struct Maker {
    /// Name.
    pub name: String,
    /// Address.
    pub email: String,
    /// Seconds since 1970; now if absent.
    pub seconds: Option<i64>,
}

/// What is to be merged into what.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The branch that moves, with or without `refs/heads/`.
    pub base: String,
    /// A ref or a whole hash.
    pub head: String,
    /// The commit's message; git's own words if absent.
    pub message: Option<String>,
    /// Who wrote it; the server if absent.
    pub author: Option<Maker>,
    /// Who commits it; the author if absent.
    pub committer: Option<Maker>,
    /// What the branch must be at.
    pub expected_base: Option<String>,
    /// Whether the branch may simply be moved.
    pub fast_forward: FastForward,
    /// One commit with the branch as its only parent, instead of a merge commit.
    pub squash: bool,
    /// Which side wins where lines conflict.
    pub favor: Favor,
}

/// What a merge did.
pub struct Done {
    /// `up_to_date`, `fast_forward`, `merged` or `squashed`.
    pub status: &'static str,
    /// What the branch is at.
    pub commit: CommitText,
    /// What it was at.
    pub before: ObjectId,
    /// The best common ancestors, newest first.
    pub bases: Vec<ObjectId>,
    /// How renames were looked for, where trees were merged.
    pub renames: Option<Renames>,
}

/// One try.
enum Try {
    Done(Box<Done>),
    /// Somebody else moved the branch meanwhile; to where.
    Moved(Option<ObjectId>),
}

/// Merges.
pub async fn merge_branch(app: &App, grant: &Grant<Edit>, row: RepoRow, wish: Wish) -> Result<Done> {
    for (maker, pointer) in [(&wish.author, "/author"), (&wish.committer, "/committer")] {
        maker.as_ref().map_or(Ok(()), |maker| check_maker(maker, pointer))?;
    }
    let message = wish.message.as_deref().unwrap_or("merge");
    if message.trim().is_empty() || message.len() > COMMIT_MESSAGE_BYTES_MAX || message.contains('\0') {
        let text =
            format!("a message is not empty, has at most {COMMIT_MESSAGE_BYTES_MAX} bytes and no zero byte");
        return Err(Error::input("/message", text));
    }
    let (inner, id, actor) = (app.clone(), row.id, grant.caller().actor.clone());
    let work = move |room| merge_in(&inner, &row, &wish, &actor, room);
    let done = within(app, Wait::Request, 0, work).await?;
    if done.status != "up_to_date" {
        app.catalog.touched(id, app.clock.now_ms()).await?;
    }
    Ok(done)
}

fn check_maker(maker: &Maker, pointer: &'static str) -> Result<()> {
    let is_bad = |text: &str| {
        text.trim().is_empty() || text.len() > PERSON_BYTES_MAX || text.contains(['<', '>', '\n', '\0'])
    };
    if is_bad(&maker.name) || is_bad(&maker.email) {
        let text =
            format!("name and email have 1 to {PERSON_BYTES_MAX} bytes, no <, >, line end or zero byte");
        return Err(Error::input(pointer, text));
    }
    if maker.seconds.is_some_and(|seconds| seconds < 0) {
        return Err(Error::input(pointer, "a date lies after 1970"));
    }
    Ok(())
}

fn merge_in(app: &App, row: &RepoRow, wish: &Wish, actor: &str, room: Room) -> Result<Done> {
    app.served(row).and_then(|served| served.repo.settle()).map_err(OpError::from)?;
    let mut moved = None;
    for _ in 0..MERGE_ATTEMPTS_MAX {
        match try_once(app, row, wish, actor, room)? {
            Try::Done(done) => return Ok(*done),
            Try::Moved(now) => moved = now,
        }
        if wish.expected_base.is_some() {
            break;
        }
    }
    Err(head_moved(moved))
}

fn head_moved(now: Option<ObjectId>) -> Error {
    let text = match now {
        Some(now) => format!("the branch is at {now}"),
        None => "the branch is gone".to_owned(),
    };
    let current = now.map(|now| now.to_string());
    Error::new(code::HEAD_MOVED, text).with_meta(serde_json::json!({ "current": current }))
}

fn try_once(app: &App, row: &RepoRow, wish: &Wish, actor: &str, room: Room) -> Result<Try> {
    let view = RepoView::open(app, row, None, room)?;
    let short = wish.base.strip_prefix("refs/heads/").unwrap_or(&wish.base);
    let name = format!("refs/heads/{short}");
    let branch = view.snapshot.reference(name.as_bytes()).map_err(OpError::from)?;
    let branch = branch
        .ok_or_else(|| Error::new(code::NOT_FOUND, format!("Branch not found: {short}")).at("/base"))?;
    let before = branch.id;
    if wish.expected_base.as_ref().is_some_and(|expected| *expected != before.to_string()) {
        return Err(head_moved(Some(before)).at("/expected_base"));
    }
    let head = view.commit_named(&wish.head)?;
    let head = head
        .ok_or_else(|| Error::new(code::NOT_FOUND, format!("Head not found: {}", wish.head)).at("/head"))?;
    let relation = relate(&view, before, head)?;
    let bases = ids(&view, &relation.bases)?;
    let done = |status, commit, renames| Done { status, commit, before, bases: bases.clone(), renames };
    if relation.right.is_empty() {
        return Ok(Try::Done(Box::new(done("up_to_date", commit(&view, before)?, None))));
    }
    if relation.bases.is_empty() {
        return Err(Error::input("/head", "the head has no common ancestor with the branch"));
    }
    let can_move = relation.left.is_empty();
    if !can_move && wish.fast_forward == FastForward::Only {
        return Err(Error::new(
            code::MERGE_CONFLICT,
            "the branch cannot be fast-forwarded: both sides have commits of their own",
        ));
    }
    let to = Target { app, actor, view: &view, name, before };
    if can_move && !wish.squash && wish.fast_forward != FastForward::Never {
        let moved = to.commit_entry(head, PackWriter::new(view.served.algo))?;
        return moved_or(moved, || Ok(done("fast_forward", commit(&view, head)?, None)));
    }
    let objects = Objects::new(&view, MERGE_MADE_BYTES_MAX);
    let places = (relation.bases.as_slice(), place(&view, before)?, place(&view, head)?);
    let (merged, renames) = merge(&view, &objects, places, (short, &wish.head), wish.favor)?;
    let tree = match merged {
        Merged::Clean(tree) => tree,
        Merged::Conflicts(conflicts) => return Err(conflict_error(&view, &conflicts)),
    };
    let mut pack = PackWriter::new(view.served.algo);
    add_new(&objects, tree, &mut pack)?;
    let parents = if wish.squash { vec![before] } else { vec![before, head] };
    let text = commit_bytes(app, wish, &our_id(view.served.algo, &tree), &parents, short);
    let made = pack.add(Kind::Commit, &text).map_err(Error::internal)?;
    let moved = to.commit_entry(made, pack)?;
    let status = if wish.squash { "squashed" } else { "merged" };
    let parsed = super::commit_text::parse(view.served.algo, made, &text);
    moved_or(moved, || {
        let parsed = parsed.ok_or_else(|| Error::internal("the commit that was made cannot be read"))?;
        Ok(done(status, parsed, Some(renames)))
    })
}

fn moved_or(moved: Option<Option<ObjectId>>, done: impl FnOnce() -> Result<Done>) -> Result<Try> {
    match moved {
        Some(now) => Ok(Try::Moved(now)),
        None => Ok(Try::Done(Box::new(done()?))),
    }
}

fn place(view: &RepoView, id: ObjectId) -> Result<ObjRef> {
    view.place(&id)?.ok_or_else(|| Error::internal(format!("{id} was visible a moment ago")))
}

/// The branch that is to be moved.
struct Target<'a> {
    app: &'a App,
    actor: &'a str,
    view: &'a RepoView,
    name: String,
    before: ObjectId,
}

impl Target<'_> {
    /// Appends the entry; `Some` where the branch is no longer where it was, with where it is.
    fn commit_entry(&self, new: ObjectId, pack: PackWriter) -> Result<Option<Option<ObjectId>>> {
        let mut spool = Spool::default();
        let bytes = pack.finish().map_err(Error::internal)?;
        spool.write(&self.app.spool_dir(), &bytes).map_err(OpError::from)?;
        let command = Command { name: self.name.clone().into_bytes(), old: self.before, new };
        let request = PushRequest { commands: vec![command], atomic: true, ..PushRequest::default() };
        let by = By {
            kind: EntryKind::Merge,
            actor: self.actor.to_owned(),
            time_ms: self.app.clock.now_ms(),
            nonce: crate::random::bytes(),
        };
        let pushed = push(&self.view.served, &request, Some(&spool), by, &mut |_| {})?;
        // What the merge made breaks a rule that what it is made of was once allowed to break.
        pushed
            .unpack
            .map_err(|why| Error::new(code::INVALID_INPUT, format!("the merge is refused: {why}")))?;
        match pushed.results.into_iter().next() {
            Some(Ok(())) => Ok(None),
            Some(Err(Refused::Stale { now })) => Ok(Some(now)),
            Some(Err(refused)) => Err(Error::new(code::INVALID_INPUT, refused.to_string())),
            None => Err(Error::internal("a push of one command has one result")),
        }
    }
}

/// Adds what the tree needs and the repository does not show yet.
fn add_new(objects: &Objects<'_>, root: gix_hash::ObjectId, pack: &mut PackWriter) -> Result<()> {
    let (mut stack, mut seen) = (vec![root], HashSet::new());
    while let Some(id) = stack.pop() {
        // What exists brings all that it names.
        if !seen.insert(id) || objects.is_stored(&id)? {
            continue;
        }
        let made = objects.made(&id);
        let missing = || Error::internal(format!("object {id} of the merge is missing"));
        let (kind, data) = made.ok_or_else(missing)?;
        let kind = match kind {
            gix_object::Kind::Tree => {
                for entry in TreeIter::new(objects.algo(), &data).filter_map(std::result::Result::ok) {
                    // A submodule's commit is in another repository.
                    if entry.mode & 0o170_000 != 0o160_000 {
                        stack.extend(gix_hash::ObjectId::try_from(entry.id).ok());
                    }
                }
                Kind::Tree
            }
            _ => Kind::Blob,
        };
        pack.add(kind, &data).map_err(Error::internal)?;
    }
    Ok(())
}

fn commit_bytes(app: &App, wish: &Wish, tree: &ObjectId, parents: &[ObjectId], branch: &str) -> Vec<u8> {
    let now = app.clock.now_ms() / 1_000;
    let server = || Maker { name: "Cairn".into(), email: "cairn@localhost".into(), seconds: None };
    let author = wish.author.clone().unwrap_or_else(server);
    let committer = wish.committer.clone().unwrap_or_else(|| author.clone());
    let line = |role: &str, maker: &Maker| {
        let (name, email) = (maker.name.trim(), maker.email.trim());
        format!("{role} {name} <{email}> {} +0000\n", maker.seconds.unwrap_or(now))
    };
    let mut text = format!("tree {tree}\n");
    for parent in parents {
        text += &format!("parent {parent}\n");
    }
    text += &line("author", &author);
    text += &line("committer", &committer);
    let message = wish.message.clone().unwrap_or_else(|| format!("Merge '{}' into {branch}", wish.head));
    text += "\n";
    text += message.trim_end_matches('\n');
    text += "\n";
    text.into_bytes()
}

fn conflict_error(view: &RepoView, conflicts: &Conflicts) -> Error {
    let algo = view.served.algo;
    let stage = |stage: &Option<(u32, gix_hash::ObjectId)>| {
        stage.map(|(mode, id)| {
            serde_json::json!({ "mode": format!("{mode:06o}"), "hash": our_id(algo, &id).to_string() })
        })
    };
    let listed: Vec<serde_json::Value> = conflicts
        .list
        .iter()
        .map(|conflict| {
            let regions = conflict.regions.iter().map(
                |(line, text)| serde_json::json!({ "line": line, "text": String::from_utf8_lossy(text) }),
            );
            let [base, ours, theirs] = &conflict.stages;
            serde_json::json!({
                "path": String::from_utf8_lossy(&conflict.path),
                "kind": conflict.kind,
                "base": stage(base),
                "ours": stage(ours),
                "theirs": stage(theirs),
                "regions": regions.collect::<Vec<_>>(),
            })
        })
        .collect();
    let text = format!("the merge has conflicts in {} paths", conflicts.list.len());
    let details = serde_json::json!({ "conflicts": listed, "truncated": conflicts.is_cut });
    Error::new(code::MERGE_CONFLICT, text).with_meta(details)
}
