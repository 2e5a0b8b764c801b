//! Commits in answers.

use serde::Serialize;
use utoipa::ToSchema;

use crate::ops::commit_text::{CommitText, Signature};

/// Who wrote or made a commit.
#[derive(Serialize, ToSchema)]
pub struct Person {
    /// Name.
    name: String,
    /// Address.
    email: String,
}

impl From<&Signature> for Person {
    fn from(signature: &Signature) -> Self {
        Self { name: signature.name.clone(), email: signature.email.clone() }
    }
}

/// A commit.
#[derive(Serialize, ToSchema)]
pub struct Commit {
    /// Its id.
    hash: String,
    /// Its root tree.
    #[serde(rename = "treeHash")]
    tree_hash: String,
    /// The message; one trailing newline is cut.
    message: String,
    /// Who wrote the change.
    author: Person,
    /// Who made the commit.
    committer: Person,
    /// Its parents in order.
    parents: Vec<String>,
    /// Seconds since 1970.
    #[serde(rename = "authoredAt")]
    authored_at: i64,
    /// Seconds since 1970.
    #[serde(rename = "committedAt")]
    committed_at: i64,
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
