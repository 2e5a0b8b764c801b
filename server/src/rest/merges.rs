//! Merges on the server.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Input;
use super::envelope::{self, Envelope};
use super::log::Commit;
use super::path::Names;
use crate::app::App;
use crate::auth::{Edit, Grant};
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::changes::Renames;
use crate::ops::merge::{FastForward, Maker, Wish, merge_branch};
use crate::ops::merge_trees::Favor;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create))
}

/// Who makes the commit.
#[derive(Deserialize, ToSchema)]
pub struct MergePerson {
    /// Name.
    name: String,
    /// Address.
    email: String,
    /// RFC 3339; now if absent.
    date: Option<String>,
}

impl MergePerson {
    fn maker(self, pointer: &'static str) -> Result<Maker> {
        let seconds = self.date.map(|date| date.parse::<Timestamp>().map(Timestamp::as_second));
        let seconds = seconds.transpose().map_err(|_| Error::input(pointer, "must be an RFC 3339 time"))?;
        Ok(Maker { name: self.name, email: self.email, seconds })
    }
}

/// A merge to be made.
#[derive(Deserialize, ToSchema)]
pub struct NewMerge {
    /// The branch that moves.
    base: Option<String>,
    /// What is merged into it: a ref or a whole hash.
    head: Option<String>,
    /// The commit's message; `Merge '<head>' into <base>` if absent.
    message: Option<String>,
    /// Who wrote the merge; the server if absent.
    author: Option<MergePerson>,
    /// Who commits it; the author if absent.
    committer: Option<MergePerson>,
    /// The commit that the branch must be at: where it is elsewhere, the answer is 409 10304. Without it, a merge that
    /// another writer overtakes is tried again.
    expected_base: Option<String>,
    /// `allow` (the usual): the branch is moved to the head where the head contains it. `only`: nothing else is done.
    /// `never`: a commit is made in any case.
    fast_forward: Option<String>,
    /// `merge` (the usual): a commit with both sides as parents. `squash`: one with the branch alone as its parent.
    strategy: Option<String>,
    /// Where lines conflict: `ours` takes those of the base, `theirs` those of the head. Without it, they are conflicts.
    favor: Option<String>,
}

/// What a merge did.
#[derive(Serialize, ToSchema)]
pub struct Merge {
    /// `up_to_date`: the base contained the head. `fast_forward`: the base is at the head now. `merged` and `squashed`:
    /// it is at a new commit.
    status: &'static str,
    /// What the base is at now.
    commit: Commit,
    /// What it was at before.
    previous: String,
    /// The best common ancestors, newest first. Several are merged into one first.
    merge_bases: Vec<String>,
    /// How renames were looked for: `similar`, or `exact` (unchanged files alone) where a limit was met; null where no
    /// files were merged.
    renames: Option<&'static str>,
}

/// Merges one commit into a branch, as `git merge` does with its default strategy. With conflicts the answer is 409
/// 10306, whose `details` list the conflicted paths: kind (`content`, `add_add`, `binary`, `modify_delete`,
/// `rename_delete`, `rename_rename`, `file_directory`, `file_location`, `distinct_types`, `submodule`, `unknown`), what
/// each side has, and the lines with markers. Nothing is written then.
#[utoipa::path(post, path = "/namespaces/{ns}/repos/{name}/merges", tag = "contents", request_body = NewMerge,
    params(("ns" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Envelope<Merge>),
        (status = 403, description = "10107: the repository is read-only"),
        (status = 404, description = "10200: no such repository, base or head"),
        (status = 409, description = "10304: the base has moved; 10306: conflicts, or no fast-forward"),
        (status = 507, description = "10402: the merge would go beyond a limit")))]
async fn create(
    State(app): State<App>,
    grant: Grant<Edit>,
    names: Names,
    Input(new): Input<NewMerge>,
) -> Result<Response<Body>> {
    let row = ops::edited(&app, &grant, &names.ns, &names.name).await?;
    let given = |text: Option<String>, pointer: &'static str| {
        text.filter(|text| !text.is_empty()).ok_or_else(|| Error::input(pointer, "is needed"))
    };
    let fast_forward = match new.fast_forward.as_deref() {
        None | Some("allow") => FastForward::Allow,
        Some("only") => FastForward::Only,
        Some("never") => FastForward::Never,
        Some(_) => return Err(Error::input("/fast_forward", "fast_forward is allow, only or never")),
    };
    let squash = match new.strategy.as_deref() {
        None | Some("merge") => false,
        Some("squash") => true,
        Some(_) => return Err(Error::input("/strategy", "strategy is merge or squash")),
    };
    let favor = match new.favor.as_deref() {
        None => Favor::None,
        Some("ours") => Favor::Ours,
        Some("theirs") => Favor::Theirs,
        Some(_) => return Err(Error::input("/favor", "favor is ours or theirs")),
    };
    if squash && fast_forward == FastForward::Only {
        return Err(Error::input("/strategy", "a squash makes a commit and is no fast-forward"));
    }
    let wish = Wish {
        base: given(new.base, "/base")?,
        head: given(new.head, "/head")?,
        message: new.message,
        author: new.author.map(|person| person.maker("/author/date")).transpose()?,
        committer: new.committer.map(|person| person.maker("/committer/date")).transpose()?,
        expected_base: new.expected_base.map(|id| id.to_ascii_lowercase()),
        fast_forward,
        squash,
        favor,
    };
    let done = merge_branch(&app, &grant, row, wish).await?;
    let answer = Merge {
        status: done.status,
        commit: Commit::from(&done.commit),
        previous: done.before.to_string(),
        merge_bases: done.bases.iter().map(ToString::to_string).collect(),
        renames: done.renames.map(|renames| match renames {
            Renames::Similar => "similar",
            Renames::Exact | Renames::Off => "exact",
        }),
    };
    Ok(envelope::one(StatusCode::OK, answer))
}
