//! A file for each thing a caller can ask; no HTTP in here.

pub mod change;
pub mod create;
pub mod delete;
pub mod fetch;
pub mod fork;
pub mod git;
pub mod plans;
pub mod push;
pub mod spool;
pub mod tokens;
pub mod visible;

pub use git::{OpError, Served};

use crate::error::Error;
use crate::limits::DESCRIPTION_BYTES_MAX;
use crate::names::{Name, is_branch_name};

/// The rule for names of new repositories.
fn repo_name(text: Option<&str>) -> Result<Name, Error> {
    let bad = || Error::new(crate::error::code::INVALID_REPO_NAME, "Invalid repo name").at("/name");
    text.and_then(Name::new).ok_or_else(bad)
}

/// The rule for names of new namespaces.
pub fn namespace_name(text: Option<&str>) -> Result<Name, Error> {
    text.and_then(Name::new).ok_or_else(|| Error::input("/namespace", "Invalid namespace name"))
}

fn description(text: Option<String>) -> Result<Option<String>, Error> {
    match text {
        Some(text) if text.len() > DESCRIPTION_BYTES_MAX => {
            Err(Error::input("/description", format!("a description may have {DESCRIPTION_BYTES_MAX} bytes")))
        }
        text => Ok(text),
    }
}

fn branch(text: String) -> Result<String, Error> {
    // Callers may give the ref's full name.
    let short = text.strip_prefix("refs/heads/").map(str::to_owned).unwrap_or(text);
    if is_branch_name(&short) {
        Ok(short)
    } else {
        Err(Error::input("/default_branch", "Invalid branch name"))
    }
}
