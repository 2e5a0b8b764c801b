//! A file for each thing a caller can ask; no HTTP in here.

pub mod api_tokens;
pub mod at;
pub mod change;
pub mod changes;
pub mod commit;
pub mod commit_text;
pub mod compare;
pub mod create;
pub mod delete;
pub mod dropping;
pub mod engine;
pub mod export;
pub mod export_files;
pub mod fetch;
pub mod fork;
pub mod git;
pub mod import;
pub mod index;
pub mod merge;
pub mod merge_conflicts;
pub mod merge_trees;
pub mod move_ref;
pub mod pack_answer;
pub mod patch;
pub mod plans;
pub mod push;
pub mod quota;
pub mod read;
pub mod reserve;
pub mod room;
pub mod shallow;
pub mod spool;
pub mod tokens;
pub mod view;
pub mod visible;
pub mod watched;
pub mod write;

pub use git::{OpError, Served};

use crate::app::App;
use crate::auth::{Edit, Grant, View};
use crate::error::{Error, Result};
use crate::limits::DESCRIPTION_BYTES_MAX;
use crate::names::{Name, is_branch_name};
use crate::stop::Stop;
use crate::store::catalog::RepoRow;

/// The repository of that name, for a caller who reads it.
pub async fn viewed(app: &App, _grant: &Grant<View>, namespace: &str, name: &str) -> Result<RepoRow> {
    ready(app.catalog.resolve(namespace, name).await?.ok_or_else(Error::repo_missing)?)
}

/// The repository, unless it is still being imported.
pub fn ready(row: RepoRow) -> Result<RepoRow> {
    match row.importing {
        true => Err(Error::new(crate::error::code::IMPORT_IN_PROGRESS, "The repository is being imported")),
        false => Ok(row),
    }
}

/// The repository of that name, for a caller who changes what is in it: 403 where it is read-only.
pub async fn edited(app: &App, grant: &Grant<Edit>, namespace: &str, name: &str) -> Result<RepoRow> {
    let row = viewed(app, &grant.viewing(), namespace, name).await?;
    if row.read_only {
        return Err(Error::new(crate::error::code::FORBIDDEN, "the repository is read-only"));
    }
    Ok(row)
}

/// Runs work that blocks. It ends even if the caller goes away; a panic of ours becomes an error.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, OpError> + Send + 'static,
) -> Result<T> {
    let stop = Stop::current();
    let done = stop.spawn(work).await.map_err(Error::internal)?;
    Ok(done.map_err(|error| error.at_end_of(&stop))?)
}

/// The rule for names of new repositories.
pub(crate) fn repo_name(text: Option<&str>) -> Result<Name> {
    let bad = || Error::new(crate::error::code::INVALID_REPO_NAME, "Invalid repo name").at("/name");
    text.and_then(Name::new).ok_or_else(bad)
}

/// The rule for names of new namespaces.
pub fn namespace_name(text: Option<&str>) -> Result<Name> {
    text.and_then(Name::new).ok_or_else(|| Error::input("/namespace", "Invalid namespace name"))
}

fn description(text: Option<String>) -> Result<Option<String>> {
    match text {
        Some(text) if text.len() > DESCRIPTION_BYTES_MAX => {
            let text = format!("a description of {} bytes, {DESCRIPTION_BYTES_MAX} are allowed", text.len());
            Err(Error::input("/description", text))
        }
        text => Ok(text),
    }
}

fn branch(text: String) -> Result<String> {
    // Callers may give the ref's full name.
    let short = text.strip_prefix("refs/heads/").map(str::to_owned).unwrap_or(text);
    if is_branch_name(&short) {
        Ok(short)
    } else {
        Err(Error::input("/default_branch", "Invalid branch name"))
    }
}
