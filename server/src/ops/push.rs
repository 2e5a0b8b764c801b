//! Push: index the pack, check it, judge the commands, commit one entry, report.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cairn_protocol::object::{Kind, ObjectId, tag_target};
use cairn_protocol::pack::{IndexedPack, PackBytes};
use cairn_protocol::receive_pack::{Command, PushRequest};
use cairn_protocol::refs::{RefName, is_pushable};
use cairn_protocol::source::{ObjRef, ObjectSource, SourceError};
use cairn_protocol::walk::{ObjSet, is_ancestor};

use super::index::index;
use super::room::Wishes;
use super::shallow::{Beyond, CutPack, save_cut};
use super::spool::Spool;
use super::visible::{mark_unclean, visible_set};
use super::watched::Watched;
use super::{OpError, Served};
use crate::stop::Stop;
use crate::store::repo::facts::PackFacts;
use crate::store::repo::{EntryKind, Expected, NewEntry, RefUpdate, Snapshot, UpdateResult};

/// What a push did.
pub struct Pushed {
    /// Whether the pack was taken, and why not.
    pub unpack: Result<(), String>,
    /// What became of each command, in order.
    pub results: Vec<Result<(), Refused>>,
    /// The entry, if one was made.
    pub seq: Option<u64>,
}

/// Why one command did nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The ref is not what the caller took it to be.
    #[error("stale info: the ref {}", match .now { Some(now) => format!("is at {now}"), None => "does not exist".into() })]
    Stale {
        /// What it is.
        now: Option<ObjectId>,
    },
    /// Another ref is in the way: a name cannot be a ref and a folder of refs.
    #[error("cannot lock ref: '{}' exists", String::from_utf8_lossy(.with))]
    Conflict {
        /// Its name.
        with: Vec<u8>,
    },
    /// The command itself cannot be done, in the words of git.
    #[error("{0}")]
    Rule(String),
}

impl Refused {
    fn rule(text: impl Into<String>) -> Self {
        Self::Rule(text.into())
    }
}

/// What a fork that shows one ref of its base stores and must not give away: a pack or a command that names such an
/// object names nothing.
pub(super) struct Hidden(Option<Arc<ObjSet>>);

impl Hidden {
    fn of(served: &Served, snapshot: &Snapshot) -> Result<Self, OpError> {
        let shown = snapshot.is_narrowed().then(|| visible_set(served, snapshot)).transpose()?;
        Ok(Self(shown))
    }

    /// The place of an object that may be named.
    pub(super) fn place(&self, snapshot: &Snapshot, id: &ObjectId) -> Result<Option<ObjRef>, SourceError> {
        let shown = |at: &ObjRef| self.0.as_ref().is_none_or(|shown| shown.contains(*at));
        Ok(snapshot.lookup(id)?.filter(shown))
    }
}

/// What makes the entry, for whom, and when.
#[derive(Clone, Debug)]
pub struct By {
    /// What makes it.
    pub kind: EntryKind,
    /// For the log: `Caller::actor`.
    pub actor: String,
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// Random.
    pub nonce: [u8; 16],
}

/// Does a push, or anything else that adds objects and moves refs. Blocks. `progress` is told in words how far the work is.
/// Changes nothing where it stops for want of room.
pub fn push(
    served: &Served,
    request: &PushRequest,
    upload: Option<&Spool>,
    by: By,
    progress: &mut dyn FnMut(String),
) -> Result<Pushed, OpError> {
    push_cut(served, request, upload, &[], by, progress)
}

/// The same with a pack whose commits `cut` may lack their parents: for the first entry of a log alone.
pub fn push_cut(
    served: &Served,
    request: &PushRequest,
    upload: Option<&Spool>,
    cut: &[ObjectId],
    by: By,
    progress: &mut dyn FnMut(String),
) -> Result<Pushed, OpError> {
    let stop = Stop::current();
    let held = served.quota.hold(upload.map_or(0, PackBytes::len));
    let snapshot = served.repo.snapshot(None)?;
    if upload.is_some() {
        served.quota.check(&held, &snapshot)?;
    }
    if upload.is_none() && request.has_pack() {
        return Ok(refused(request, "the pack is missing"));
    }
    let hidden = Hidden::of(served, &snapshot)?;
    let mut beyond = Beyond::default();
    let is_cut = !cut.is_empty();
    let indexed = match upload.map(|upload| index(served, &snapshot, &hidden, upload, is_cut, progress)) {
        None => None,
        Some(Ok((pack, found))) => {
            beyond = found;
            Some(pack)
        }
        Some(Err(error)) if let Some(why) = stop.said() => {
            tracing::debug!(%error, "a push was stopped");
            return Err(why.into());
        }
        Some(Err(error)) if error.wished_bytes().is_some() => return Err(error),
        Some(Err(OpError::Pack(error))) => return Ok(refused(request, &error.to_string())),
        Some(Err(error)) => return Err(error),
    };
    let cut = match indexed.as_ref().map(|pack| CutPack::new(pack, cut, beyond)) {
        Some(Err(why)) => return Ok(refused(request, &why)),
        Some(Ok(cut)) => Some(cut),
        None => None,
    };
    let judge = Judge { served, snapshot: &snapshot, hidden: &hidden, pack: indexed.as_ref() };
    let mut judged: Vec<Result<RefUpdate, Refused>> = Vec::new();
    for command in &request.commands {
        judged.push(judge.command(command)?);
    }
    if request.atomic && judged.iter().any(Result::is_err) {
        for one in &mut judged {
            if one.is_ok() {
                *one = Err(Refused::rule("atomic push failed"));
            }
        }
    }
    let updates: Vec<RefUpdate> = judged.iter().filter_map(|one| one.as_ref().ok().cloned()).collect();
    let mut outcomes = Vec::new();
    let mut seq = None;
    if !updates.is_empty() {
        if judge.hides_objects(&updates)? {
            mark_unclean(served, &snapshot)?;
        }
        let whole = judge.is_whole(&updates);
        let staged = match (&cut, upload) {
            (Some(pack), Some(upload)) if !pack.is_empty() => {
                Some(served.repo.stage(pack, &Watched::new(upload), whole)?)
            }
            _ => None,
        };
        if let Some(ends) = cut.map(|cut| cut.ids()).filter(|ends| !ends.is_empty()) {
            save_cut(served, &ends)?;
        }
        // The last moment: from here on the entry is made, whoever still waits for it.
        stop.check()?;
        let By { kind, actor, time_ms, nonce } = by;
        let entry = NewEntry { kind, actor, time_ms, nonce, staged, updates, atomic: request.atomic };
        let committed = tracing::debug_span!("commit").in_scope(|| served.repo.commit_entry(entry))?;
        seq = committed.seq;
        outcomes = committed.results;
        if upload.is_some() {
            served.quota.note(&served.repo);
        }
    }
    Ok(Pushed { unpack: Ok(()), results: report(request, judged, outcomes), seq })
}

/// Every command refused, since the pack was.
fn refused(request: &PushRequest, why: &str) -> Pushed {
    let results = vec![Err(Refused::rule("unpacker error")); request.commands.len()];
    Pushed { unpack: Err(why.to_owned()), results, seq: None }
}

fn report(
    request: &PushRequest,
    judged: Vec<Result<RefUpdate, Refused>>,
    outcomes: Vec<UpdateResult>,
) -> Vec<Result<(), Refused>> {
    let failed = outcomes.iter().any(|one| !matches!(one, UpdateResult::Ok));
    let mut outcomes = outcomes.into_iter();
    let one = |judged: Result<RefUpdate, Refused>| {
        judged?;
        match outcomes.next() {
            Some(UpdateResult::Ok) if request.atomic && failed => {
                Err(Refused::rule("atomic transaction failed"))
            }
            Some(UpdateResult::Ok) => Ok(()),
            Some(UpdateResult::Stale { now }) => Err(Refused::Stale { now }),
            Some(UpdateResult::Conflict { with }) => Err(Refused::Conflict { with }),
            None => Err(Refused::rule("internal error: no result")),
        }
    };
    judged.into_iter().map(one).collect()
}

/// Judges commands against the pack and the repository.
struct Judge<'a> {
    served: &'a Served,
    snapshot: &'a Snapshot,
    hidden: &'a Hidden,
    pack: Option<&'a IndexedPack>,
}

impl Judge<'_> {
    fn command(&self, command: &Command) -> Result<Result<RefUpdate, Refused>, OpError> {
        let allowed = |name: &RefName| command.is_delete() || is_pushable(name);
        let Some(name) = RefName::new(&command.name).ok().filter(allowed) else {
            return Ok(Err(Refused::rule("funny refname")));
        };
        if command.new.is_null() && name == self.served.head() {
            return Ok(Err(Refused::rule("deletion of the current branch prohibited")));
        }
        let expected = match command.old.is_null() {
            true if command.new.is_null() => Expected::Any,
            true => Expected::Absent,
            false => Expected::Exactly(command.old),
        };
        let is_branch = name.is_branch();
        let mut update = RefUpdate { name: command.name.clone(), expected, new: None, peeled: None };
        if command.new.is_null() {
            return Ok(Ok(update));
        }
        let Some(kind) = self.kind(&command.new)? else {
            return Ok(Err(Refused::rule("missing necessary objects")));
        };
        if is_branch && kind != Kind::Commit {
            let text = format!("trying to write non-commit object {} to branch", command.new);
            return Ok(Err(Refused::Rule(text)));
        }
        update.new = Some(command.new);
        if kind == Kind::Tag {
            update.peeled = self.peel(command.new)?;
        }
        Ok(Ok(update))
    }

    fn kind(&self, id: &ObjectId) -> Result<Option<Kind>, OpError> {
        if let Some(pack) = self.pack
            && let Some(at) = pack.find(id)
        {
            return Ok(Some(pack.entry(at).kind));
        }
        Ok(match self.hidden.place(self.snapshot, id)? {
            Some(at) => Some(self.snapshot.record(at)?.kind),
            None => None,
        })
    }

    /// What a tag names in the end.
    fn peel(&self, tag: ObjectId) -> Result<Option<ObjectId>, OpError> {
        let in_pack: HashMap<u32, (ObjectId, Kind)> = self
            .pack
            .into_iter()
            .flat_map(|pack| pack.tags().iter().map(|tag| (tag.index, (tag.target, tag.kind))))
            .collect();
        let mut at = tag;
        loop {
            let next =
                self.pack.and_then(|pack| pack.find(&at)).and_then(|index| in_pack.get(&index).copied());
            let (target, kind) = match next {
                Some(next) => next,
                None => {
                    let Some(place) = self.snapshot.lookup(&at)? else { return Ok(None) };
                    let (_, data) = self.served.reader(self.snapshot).read(place)?;
                    match tag_target(self.served.algo, &data) {
                        Ok(target) => target,
                        Err(_) => return Ok(None),
                    }
                }
            };
            if kind != Kind::Tag {
                return Ok(Some(target));
            }
            at = target;
        }
    }

    /// Whether every object of the pack is reachable from the new values: what nothing in the pack names must be one.
    fn is_whole(&self, updates: &[RefUpdate]) -> bool {
        let tips: HashSet<ObjectId> = updates.iter().filter_map(|update| update.new).collect();
        self.pack.is_none_or(|pack| pack.unreferred().all(|index| tips.contains(&pack.entry(index).id)))
    }

    /// Whether some object may lose its last ref: a delete, or a new value that does not contain the old one.
    fn hides_objects(&self, updates: &[RefUpdate]) -> Result<bool, OpError> {
        for update in updates {
            let old = match update.expected {
                Expected::Exactly(old) => old,
                Expected::Absent => continue,
                Expected::Any => return Ok(true),
            };
            let Some(new) = update.new else { return Ok(true) };
            if !self.contains(new, old)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether commit `old` is an ancestor of `new`, which may be in the pack.
    fn contains(&self, new: ObjectId, old: ObjectId) -> Result<bool, OpError> {
        let Some(goal) = self.snapshot.lookup(&old)? else { return Ok(false) };
        if self.snapshot.record(goal)?.kind != Kind::Commit {
            return Ok(false);
        }
        let (mut seen, mut stack) = (HashSet::new(), vec![new]);
        while let Some(id) = stack.pop() {
            if id == old {
                return Ok(true);
            }
            if !seen.insert(id) {
                continue;
            }
            match self.pack.and_then(|pack| Some((pack, pack.find(&id)?))) {
                Some((pack, index)) => {
                    stack.extend(pack.commits().find(index).iter().flat_map(|commit| commit.parents()))
                }
                None => {
                    if let Some(at) = self.snapshot.lookup(&id)?
                        && self.snapshot.record(at)?.kind == Kind::Commit
                        && is_ancestor(self.snapshot, goal, at)?
                    {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }
}
