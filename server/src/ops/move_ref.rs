//! Moves and deletes single refs. Without `force` a branch only moves forward, and what is no branch does not move at all
//! unless it moves from a commit to one that follows it.

use cairn_protocol::object::{Kind, ObjectId};
use cairn_protocol::receive_pack::{Command, PushRequest};
use cairn_protocol::refs::RefName;
use cairn_protocol::source::ObjectSource;
use cairn_protocol::walk::is_ancestor;

use super::push::{By, Refused, push};
use super::spool::Spool;
use super::write::{Wanted, WriteError, bad, moved, refused};
use super::{OpError, Served};
use crate::app::App;
use crate::error::{Error, code};
use crate::limits::COMMIT_ATTEMPTS_MAX;
use crate::random;
use crate::store::catalog::RepoRow;
use crate::store::repo::{EntryKind, Snapshot};

/// What shall become of a ref.
pub struct Move {
    /// Its full name.
    pub name: RefName,
    /// What it must be.
    pub expected: Wanted,
    /// Where it goes; `None` deletes it.
    pub to: Option<ObjectId>,
    /// Whether it may lose commits.
    pub force: bool,
}

/// Does it; answers what the ref was. Blocks.
pub fn move_ref(
    app: &App,
    row: &RepoRow,
    wish: &Move,
    actor: &str,
    time_ms: i64,
) -> Result<Option<ObjectId>, WriteError> {
    let served = app.served(row)?;
    served.repo.settle()?;
    let mut last = None;
    for _ in 0..COMMIT_ATTEMPTS_MAX {
        let snapshot = served.repo.snapshot(None)?;
        let now = snapshot.reference(wish.name.as_bytes())?.map(|row| row.id);
        if !wish.expected.holds(now) {
            return Err(moved("/expected", now));
        }
        if now == wish.to {
            if now.is_none() {
                return Err(WriteError::Refused(Error::new(code::NOT_FOUND, "Ref not found")));
            }
            return Ok(now);
        }
        if wish.to.is_none() && wish.name == served.head() {
            let text = "the default branch cannot be deleted";
            return Err(WriteError::Refused(Error::new(code::FORBIDDEN, text)));
        }
        if let Some(to) = wish.to {
            check(&snapshot, now, to, wish)?;
        }
        let null = ObjectId::null(served.algo);
        let command = Command {
            name: wish.name.as_bytes().to_vec(),
            old: now.unwrap_or(null),
            new: wish.to.unwrap_or(null),
        };
        match publish(app, &served, command, actor, time_ms)? {
            Ok(()) => return Ok(now),
            Err(Refused::Stale { now }) if wish.expected == Wanted::Any => last = now,
            Err(why @ Refused::Stale { .. }) => return Err(refused("/expected", &why)),
            Err(why) => return Err(refused("/ref", &why)),
        }
    }
    Err(moved("/expected", last))
}

fn check(snapshot: &Snapshot, now: Option<ObjectId>, to: ObjectId, wish: &Move) -> Result<(), WriteError> {
    let missing = || bad("/oid", format!("the repository has no object {to}"));
    let new = snapshot.lookup(&to).map_err(OpError::from)?.ok_or_else(missing)?;
    let Some(now) = now.filter(|_| !wish.force) else { return Ok(()) };
    let commits = |at| Ok::<_, OpError>(snapshot.record(at)?.kind == Kind::Commit);
    let old = snapshot.lookup(&now).map_err(OpError::from)?;
    let follows = match old {
        Some(old) => {
            commits(old)? && commits(new)? && is_ancestor(snapshot, old, new).map_err(OpError::from)?
        }
        None => false,
    };
    if follows {
        return Ok(());
    }
    let text = format!("{to} does not follow {now}; force moves the ref all the same");
    Err(bad("/oid", text))
}

fn publish(
    app: &App,
    served: &Served,
    command: Command,
    actor: &str,
    time_ms: i64,
) -> Result<Result<(), Refused>, WriteError> {
    let request =
        PushRequest { commands: vec![command], atomic: true, quiet: true, ..PushRequest::default() };
    let by = By { kind: EntryKind::Refs, actor: actor.to_owned(), time_ms, nonce: random::bytes() };
    let empty = match request.has_pack() {
        true => Some(no_objects(app, served)?),
        false => None,
    };
    let mut pushed = push(served, &request, empty.as_ref(), by, &mut |_| {})?;
    pushed.unpack.map_err(|why| bad("/oid", why))?;
    Ok(pushed.results.pop().unwrap_or_else(|| Err(Refused::Rule("no result".into()))))
}

/// The pack that git sends where a ref moves to what is there.
fn no_objects(app: &App, served: &Served) -> Result<Spool, OpError> {
    let bytes = cairn_protocol::pack::PackWriter::new(served.algo).finish();
    let mut spool = Spool::default();
    spool.write(&app.spool_dir(), &bytes.map_err(std::io::Error::other)?)?;
    Ok(spool)
}
