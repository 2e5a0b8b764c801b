//! Comparisons of two commits.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::envelope::{self, Envelope};
use super::log::Commit;
use super::page::{Paging, Query};
use super::path::Names;
use crate::app::App;
use crate::auth::{Grant, View};
use crate::error::{Error, Result};
use crate::limits::{COMPARE_PAGE_COMMITS, PAGE_ITEMS_MAX};
use crate::ops::at::At;
use crate::ops::changes::{Change, Side, Status};
use crate::ops::compare::{self, Files, Wish};
use crate::ops::patch::Patch;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get))
}

/// How two commits compare.
#[derive(Serialize, ToSchema)]
pub struct Comparison {
    /// What is compared with.
    base: Commit,
    /// What is compared.
    head: Commit,
    /// The best common ancestor; null where there is none.
    merge_base: Option<String>,
    /// All of the best common ancestors. More than one after merges in both directions: the newest counts.
    merge_bases: Vec<String>,
    /// `identical`, `ahead`, `behind`, `diverged` or `unrelated`.
    status: &'static str,
    /// Commits that the head reaches and the base does not.
    ahead_by: u64,
    /// Commits that the base reaches and the head does not.
    behind_by: u64,
    /// A page of the commits that the head alone reaches, newest first.
    commits: Vec<Commit>,
    /// The `result_info` of that page.
    commits_info: Value,
    /// The changed files in the order of their paths; null with `files=false`.
    files: Option<Vec<ChangedFile>>,
    /// How many files changed; null with `files=false`.
    changed_files: Option<usize>,
    /// Lines added in the files that are listed.
    additions: Option<u64>,
    /// Lines deleted in the files that are listed.
    deletions: Option<u64>,
    /// Whether a limit left something out.
    truncated: bool,
    /// The limits that did: `files`, `renames` (only unchanged files were looked for), `blob_bytes`, `diffed_bytes`,
    /// `patch_bytes`, `patches_bytes`.
    truncated_by: Vec<&'static str>,
}

/// A changed file.
#[derive(Serialize, ToSchema)]
pub struct ChangedFile {
    /// `added`, `modified`, `deleted`, `renamed` or `type_changed`.
    status: &'static str,
    /// Its path, or the one that it had.
    path: String,
    /// The same as base64 of its bytes, where these are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    /// The path that a renamed file had.
    old_path: Option<String>,
    /// The same as base64 of its bytes, where these are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    old_path_base64: Option<String>,
    /// How much of a renamed file is the same, in per cent.
    similarity: Option<u32>,
    /// git's mode before, in octal.
    old_mode: Option<String>,
    /// git's mode after, in octal.
    new_mode: Option<String>,
    /// The blob before, or a submodule's commit.
    old_hash: Option<String>,
    /// The blob after, or a submodule's commit.
    new_hash: Option<String>,
    /// Lines added; null where the file was not diffed.
    additions: Option<u64>,
    /// Lines deleted; null where the file was not diffed.
    deletions: Option<u64>,
    /// Whether it is binary on one side; there is no patch then.
    binary: bool,
    /// What `git apply` takes; null where there is none, or where it is not UTF-8.
    patch: Option<String>,
    /// The patch as base64, where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_base64: Option<String>,
    /// The limit that left the patch out.
    truncated_by: Option<&'static str>,
}

/// A text, and its bytes as base64 where it is not UTF-8.
fn text(bytes: &[u8]) -> (String, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (String::from_utf8_lossy(bytes).into_owned(), Some(STANDARD.encode(bytes))),
    }
}

impl From<(Change, Patch)> for ChangedFile {
    fn from((change, patch): (Change, Patch)) -> Self {
        let (path, path_base64) = text(change.path());
        let old = change.old.as_ref().filter(|_| change.status == Status::Renamed);
        let (old_path, old_path_base64) = match old.map(|old| text(&old.path)) {
            Some((path, base64)) => (Some(path), base64),
            None => (None, None),
        };
        let mode = |side: &Option<Side>| side.as_ref().map(|side| format!("{:06o}", side.mode));
        let hash = |side: &Option<Side>| side.as_ref().map(|side| side.id.to_string());
        let (patch_text, patch_base64) = match patch.text.map(String::from_utf8) {
            None => (None, None),
            Some(Ok(text)) => (Some(text), None),
            Some(Err(error)) => (None, Some(STANDARD.encode(error.as_bytes()))),
        };
        Self {
            status: match change.status {
                Status::Added => "added",
                Status::Deleted => "deleted",
                Status::Modified => "modified",
                Status::Renamed => "renamed",
                Status::TypeChanged => "type_changed",
            },
            path,
            path_base64,
            old_path,
            old_path_base64,
            similarity: change.similarity,
            old_mode: mode(&change.old),
            new_mode: mode(&change.new),
            old_hash: hash(&change.old),
            new_hash: hash(&change.new),
            additions: patch.lines.map(|(additions, _)| additions),
            deletions: patch.lines.map(|(_, deletions)| deletions),
            binary: patch.is_binary,
            patch: patch_text,
            patch_base64,
            truncated_by: patch.cut,
        }
    }
}

/// `base...head` or `base..head`; no ref's name holds two dots.
fn split(spec: &str) -> Result<(&str, &str, bool)> {
    let (base, rest) = spec
        .split_once("..")
        .ok_or_else(|| Error::input("/path", "compare what with what? base...head, or base..head"))?;
    let (head, from_merge_base) = match rest.strip_prefix('.') {
        Some(head) => (head, true),
        None => (rest, false),
    };
    Ok((base, head, from_merge_base))
}

fn flag(query: &Query, name: &'static str, pointer: &'static str) -> Result<bool> {
    match query.get(name) {
        None | Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(_) => Err(Error::input(pointer, "must be true or false")),
    }
}

/// Compares two commits. `{base}...{head}` compares the files of the head with those of the merge base, which is what
/// a merge of the head would bring; `{base}..{head}` with those of the base itself. Either is a ref (slashes as they
/// are or percent-encoded) or a whole hash; HEAD where it is empty.
#[utoipa::path(get, path = "/namespaces/{ns}/repos/{name}/compare/{*rest}", tag = "contents",
    params(("ns" = String, Path), ("name" = String, Path),
        ("rest" = String, Path, description = "`{base}...{head}` or `{base}..{head}`"),
        ("at" = Option<String>, Query, description = "as of an entry or an RFC 3339 time"),
        ("files" = Option<bool>, Query), ("patch" = Option<bool>, Query),
        ("limit" = Option<u64>, Query), ("page" = Option<u64>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Envelope<Comparison>),
        (status = 400, description = "10100: not two commits, or two without a common ancestor"),
        (status = 404, description = "10200: no such repository, base or head"),
        (status = 507, description = "10402: too many commits lie between the two")))]
async fn get(
    State(app): State<App>,
    grant: Grant<View>,
    names: Names,
    query: Query,
) -> Result<Response<Body>> {
    let row = crate::ops::viewed(&app, &grant, &names.ns, &names.name).await?;
    let (base, head, from_merge_base) = split(&names.rest)?;
    let paging = Paging::new(&query, COMPARE_PAGE_COMMITS, PAGE_ITEMS_MAX)?;
    let wish = Wish {
        base: base.to_owned(),
        head: head.to_owned(),
        from_merge_base,
        commits: paging.window_from_start(),
        files: flag(&query, "files", "/files")?,
        patches: flag(&query, "patch", "/patch")?,
        at: query.get("at").map(At::parse).transpose()?,
    };
    let found = compare::compare(&app, row, wish).await?;
    let commits: Vec<Commit> = found.commits.iter().map(Commit::from).collect();
    let last = found.commits.last().map(|commit| commit.id.to_string());
    let status = match (found.ahead_by, found.behind_by) {
        _ if found.bases.is_empty() => "unrelated",
        (0, 0) => "identical",
        (_, 0) => "ahead",
        (0, _) => "behind",
        _ => "diverged",
    };
    let merge_bases: Vec<String> = found.bases.iter().map(ToString::to_string).collect();
    let listed = found.files.map(Listed::from);
    let answer = Comparison {
        base: Commit::from(&found.base),
        head: Commit::from(&found.head),
        merge_base: merge_bases.first().cloned(),
        merge_bases,
        status,
        ahead_by: found.ahead_by,
        behind_by: found.behind_by,
        commits_info: paging.info(commits.len(), found.ahead_by, last.as_deref()),
        commits,
        changed_files: listed.as_ref().map(|listed| listed.total),
        additions: listed.as_ref().map(|listed| listed.additions),
        deletions: listed.as_ref().map(|listed| listed.deletions),
        truncated: listed.as_ref().is_some_and(|listed| !listed.cut.is_empty()),
        truncated_by: listed.as_ref().map(|listed| listed.cut.clone()).unwrap_or_default(),
        files: listed.map(|listed| listed.files),
    };
    Ok(envelope::one(StatusCode::OK, answer))
}

struct Listed {
    files: Vec<ChangedFile>,
    total: usize,
    additions: u64,
    deletions: u64,
    cut: Vec<&'static str>,
}

impl From<Files> for Listed {
    fn from(found: Files) -> Self {
        let files: Vec<ChangedFile> = found.list.into_iter().map(ChangedFile::from).collect();
        Self {
            total: found.total,
            additions: files.iter().filter_map(|file| file.additions).sum(),
            deletions: files.iter().filter_map(|file| file.deletions).sum(),
            cut: found.cut,
            files,
        }
    }
}
