//! Fork a repository: a row that pins prefixes of logs. Nothing is copied, whatever the size of the base.

use std::sync::Arc;

use cairn_protocol::object::{Kind, ObjectId};
use cairn_protocol::source::{ObjRef, ObjectSource};
use cairn_protocol::walk::is_ancestor;

use super::at::{self, At, Moment};
use super::create::Created;
use super::visible::mark_unclean;
use super::{OpError, blocking};
use crate::app::App;
use crate::auth::{self, Edit, Grant};
use crate::error::{Error, Result, code};
use crate::limits::TOKEN_TTL_SECONDS;
use crate::store::Pin;
use crate::store::catalog::{NewRepo, RepoRow, Scope};
use crate::store::repo::{EntryKind, Expected, NewEntry, RefUpdate, Repo, Snapshot, UpdateResult};

/// What a caller says of the fork.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The base's namespace.
    pub base_namespace: String,
    /// The base's name.
    pub base_name: String,
    /// Where; the base's namespace if absent.
    pub namespace: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether pushes are refused.
    pub read_only: bool,
    /// Whether it shows the base's default branch alone.
    pub default_branch_only: bool,
    /// What of the base is seen: up to an entry (its number), a time (RFC 3339) or the entry that first showed a
    /// commit (its whole hash). All of it if absent.
    pub at: Option<String>,
}

/// Where a fork starts.
enum Start {
    /// At the base's end.
    End,
    /// At a moment.
    At(At),
    /// Where the base first showed this commit, with the default branch at it.
    Commit(ObjectId),
}

impl Start {
    fn parse(base: &RepoRow, text: Option<&str>) -> Result<Self> {
        let Some(text) = text else { return Ok(Self::End) };
        if let Some(id) = ObjectId::from_hex(base.object_format, text.as_bytes()) {
            return Ok(Self::Commit(id));
        }
        At::parse(text).map(Self::At).map_err(|_| {
            Error::input(
                "/at",
                "must be the number of an entry, an RFC 3339 time or the whole hash of a commit",
            )
        })
    }
}

/// What the fork is to show.
struct Shown {
    below: Vec<Pin>,
    objects: u64,
    /// What the default branch must be moved to.
    branch: Option<ObjectId>,
    /// Keeps all that is seen until a row pins it.
    seen: Snapshot,
}

/// Makes the fork; also how many objects are stored for it in the logs that it stands on.
///
/// A row in the catalog and no file, but where the default branch is to stand at a commit that it is not at already:
/// that takes an own first entry.
pub async fn fork(app: &App, grant: Grant<Edit>, wish: Wish) -> Result<(Created, u64)> {
    let base = super::viewed(app, &grant.viewing(), &wish.base_namespace, &wish.base_name).await?;
    let namespace = super::namespace_name(Some(wish.namespace.as_deref().unwrap_or(&base.namespace)))?;
    grant.check_namespace(namespace.as_str())?;
    let start = Start::parse(&base, wish.at.as_deref())?;
    let now_ms = app.clock.now_ms();
    let token = auth::issue(Scope::Write, now_ms, TOKEN_TTL_SECONDS);
    let new = NewRepo {
        namespace,
        name: super::repo_name(wish.name.as_deref())?,
        description: super::description(wish.description)?,
        default_branch: base.default_branch.clone(),
        object_format: base.object_format,
        read_only: wish.read_only,
        now_ms,
        token: Some(token.row),
    };
    let (opened, of, only) = (app.clone(), base.clone(), wish.default_branch_only);
    let shown = crate::stop::spawn(move || shown(&opened, &of, &start, only));
    let shown = shown.await.map_err(Error::internal)?.map_err(|error| match Error::from(error) {
        error if error.code == code::INVALID_INPUT => error.at("/at"),
        error => error,
    })?;
    let Shown { below, objects, branch, seen } = shown;
    // A task of its own: what is seen must be held until the row is there, also where the caller goes away.
    let catalog = app.catalog.clone();
    let made = tokio::spawn(async move {
        let row = catalog.fork_repo(base.id, below, new).await;
        drop(seen);
        row
    });
    let row = made.await.map_err(Error::internal)??;
    if let Some(commit) = branch {
        let (opened, fork, actor) = (app.clone(), row.clone(), grant.caller().actor.clone());
        let placed = blocking(move || place_branch(&opened, &fork, commit, actor, now_ms)).await;
        if let Err(error) = placed {
            // Half of what was asked for is none of it.
            app.catalog.delete_repo(&row.namespace, &row.name, now_ms).await?;
            return Err(error);
        }
    }
    Ok((Created { row, token: token.plaintext }, objects))
}

fn shown(app: &App, base: &RepoRow, start: &Start, only: bool) -> std::result::Result<Shown, OpError> {
    let (moment, commit) = match start {
        Start::End => (at::moment(app, base, None)?, None),
        Start::At(at) => (at::moment(app, base, Some(*at))?, None),
        Start::Commit(commit) => (first_shown(app, base, *commit)?, Some(*commit)),
    };
    let snapshot = app.files.repo(base.object_format, &moment.chain)?.snapshot(Some(moment.seq))?;
    let head = format!("refs/heads/{}", base.default_branch);
    let tip = snapshot.reference(head.as_bytes())?.map(|row| row.id);
    let mut below = moment.pinned();
    if only {
        let name: Arc<[u8]> = head.as_bytes().into();
        below = below.into_iter().map(|pin| pin.narrowed(&name)).collect();
    }
    Ok(Shown {
        below,
        objects: snapshot.limits().into_iter().map(u64::from).sum(),
        branch: commit.filter(|commit| tip != Some(*commit)),
        seen: snapshot.to_the_end().at_rest(),
    })
}

/// The earliest moment at which a ref reached the commit.
///
/// The log that stores it shows it at the first entry that moves a ref to something that reaches it: that entry
/// brought the commit, but where it came with a push of which some refs were refused.
fn first_shown(app: &App, base: &RepoRow, commit: ObjectId) -> std::result::Result<Moment, OpError> {
    let missing = || OpError::Request(format!("no ref of the repository ever showed a commit {commit}"));
    let snapshot = app.files.repo(base.object_format, &base.pins)?.snapshot(None)?;
    let at = snapshot.lookup(&commit)?.ok_or_else(missing)?;
    if snapshot.record(at)?.kind != Kind::Commit {
        return Err(missing());
    }
    let packs = snapshot.packs(at.source)?;
    let holds = packs.partition_point(|pack| pack.base_ordinal <= at.ordinal).checked_sub(1);
    let came = holds.and_then(|index| packs.get(index)).map(|pack| pack.seq).ok_or_else(missing)?;
    // From the log that holds it up to the own one: each of them may be the first to show it.
    for source in (0..=at.source).rev() {
        let chain = at::chain_from(&base.pins, usize::from(source));
        let only = chain.first().and_then(|pin| pin.only.clone());
        let repo = app.files.repo(base.object_format, &chain)?;
        let after = if source == at.source { came.saturating_sub(1) } else { 0 };
        let place = ObjRef { source: at.source - source, ordinal: at.ordinal };
        let entries = (after, snapshot.source_seq(source));
        if let Some(seq) = first_reaching(&repo, entries, only.as_deref(), place)? {
            return Ok(Moment { chain, seq });
        }
    }
    Err(missing())
}

/// The first entry behind `after` and up to `end` that moves a ref (only the one named, where there is a name) to
/// something that reaches the commit.
fn first_reaching(
    repo: &Repo,
    (mut after, end): (u64, u64),
    only: Option<&[u8]>,
    commit: ObjRef,
) -> std::result::Result<Option<u64>, OpError> {
    let snapshot = repo.snapshot(Some(end))?;
    while after < end {
        let changes = repo.ref_changes_after(after, end)?;
        let Some((last, _)) = changes.last() else { break };
        after = *last;
        for (seq, change) in &changes {
            let is_seen = only.is_none_or(|only| only == change.name);
            let tip = change.peeled.or(change.new).filter(|_| is_seen);
            if let Some(tip) = tip
                && let Some(tip) = snapshot.lookup(&tip)?
                && snapshot.record(tip)?.kind == Kind::Commit
                && is_ancestor(&snapshot, commit, tip)?
            {
                return Ok(Some(*seq));
            }
        }
    }
    Ok(None)
}

/// Sets the fork's default branch to `commit`: its first entry.
fn place_branch(
    app: &App,
    fork: &RepoRow,
    commit: ObjectId,
    actor: String,
    time_ms: i64,
) -> std::result::Result<(), OpError> {
    let served = app.served(fork)?;
    // What the branch reached beyond the commit may be reached by nothing else.
    mark_unclean(&served, &served.repo.snapshot(None)?)?;
    let name = served.head().as_bytes().to_vec();
    let update = RefUpdate { name, expected: Expected::Any, new: Some(commit), peeled: None };
    let entry = NewEntry {
        kind: EntryKind::Fork,
        actor,
        time_ms,
        nonce: crate::random::bytes(),
        staged: None,
        updates: vec![update],
        atomic: true,
    };
    match served.repo.commit_entry(entry)?.results.as_slice() {
        [UpdateResult::Conflict { with }] => Err(OpError::Request(format!(
            "the default branch cannot stand at {commit}: the ref {} is in its way",
            String::from_utf8_lossy(with)
        ))),
        _ => Ok(()),
    }
}
