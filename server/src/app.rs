//! What every handler shares.

use std::sync::Arc;

use crate::auth::ApiToken;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::catalog::{Catalog, RepoRow};

/// The seq of the last entry in a repository's own log; 0 where it has none. May open files: called on a blocking thread.
pub type HeadSeq =
    Arc<dyn Fn(&RepoRow) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> + Send + Sync + 'static>;

/// The server's shared state. Clones are cheap.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// The parts of an `App`, read through it.
pub struct Parts {
    /// What the operator chose.
    pub config: Config,
    /// Names, forks, tokens.
    pub catalog: Catalog,
    /// The token that opens REST, as a hash.
    pub api_token: ApiToken,
    /// The time.
    pub clock: Clock,
    /// Heads of logs, from the repository files.
    pub head_seq: HeadSeq,
}

impl App {
    /// Ties the parts together.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Where git finds a repository.
    pub fn remote(&self, row: &RepoRow) -> String {
        format!(
            "{}/git/{}/{}.git",
            self.config.public_url, row.namespace, row.name
        )
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
