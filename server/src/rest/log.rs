//! Commits as answers show them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::ops::commit_text::{CommitText, Signature};

/// Who wrote or made a commit.
#[derive(Serialize, ToSchema)]
pub struct Person {
    /// Their name.
    pub name: String,
    /// Their address.
    pub email: String,
}

/// A commit.
#[derive(Serialize, ToSchema)]
pub struct Commit {
    /// Its id.
    pub hash: String,
    /// Its root tree.
    #[serde(rename = "treeHash")]
    pub tree_hash: String,
    /// The message, without one line break at its end.
    pub message: String,
    /// Who wrote the change.
    pub author: Person,
    /// Who made the commit.
    pub committer: Person,
    /// Ids of the parents in order.
    pub parents: Vec<String>,
    /// When it was written, in seconds since 1970.
    #[serde(rename = "authoredAt")]
    pub authored_at: i64,
    /// When it was made, in seconds since 1970.
    #[serde(rename = "committedAt")]
    pub committed_at: i64,
}

impl From<&Signature> for Person {
    fn from(signature: &Signature) -> Self {
        Self { name: signature.name.clone(), email: signature.email.clone() }
    }
}

impl From<&CommitText> for Commit {
    fn from(text: &CommitText) -> Self {
        Self {
            hash: text.id.to_string(),
            tree_hash: text.tree.to_string(),
            message: text.message.strip_suffix('\n').unwrap_or(&text.message).to_owned(),
            author: Person::from(&text.author),
            committer: Person::from(&text.committer),
            parents: text.parents.iter().map(ToString::to_string).collect(),
            authored_at: text.author.seconds,
            committed_at: text.committer.seconds,
        }
    }
}
