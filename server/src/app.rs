//! What every handler shares.

use std::path::PathBuf;
use std::sync::Arc;

use crate::auth::ApiToken;
use crate::budget::Budget;
use crate::clock::Clock;
use crate::config::Config;
use crate::jobs::import::Imports;
use crate::jobs::maintenance::Maintenance;
use crate::metrics::Metrics;
use crate::ops::Served;
use crate::ops::plans::{Plans, Visible};
use crate::ops::quota::Quotas;
use crate::ops::read::cache::Reads;
use crate::ops::room::Room;
use crate::ops::write::Turns;
use crate::rate::Rates;
use crate::rest::idempotency::Running;
use crate::store::catalog::{Catalog, RepoRow};
use crate::store::{Files, RepoId, StoreError};

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
    /// The repository files.
    pub files: Files,
    /// What is counted.
    pub metrics: Metrics,
    /// How much may be stored.
    pub quotas: Quotas,
    /// How often one token may ask.
    pub token_rates: Option<Rates>,
    /// How often a namespace may be asked.
    pub namespace_rates: Option<Rates>,
    /// Ready plans of fetches.
    pub plans: Arc<Plans>,
    /// Visible sets of snapshots.
    pub visible: Arc<Visible>,
    /// What reads keep.
    pub reads: Arc<Reads>,
    /// Idempotency keys at work.
    pub running: Running,
    /// Turns of REST writers.
    pub commit_turns: Turns,
    /// The memory that large work takes.
    pub memory: Budget,
    /// The imports under way.
    pub imports: Imports,
    /// What looks after files.
    pub maintenance: Maintenance,
}

impl App {
    /// Ties the parts together.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// A repository as git operations take it.
    pub fn served(&self, row: &RepoRow) -> Result<Served, StoreError> {
        Ok(Served {
            repo: self.files.repo(row.object_format, &row.pins)?,
            as_of: None,
            algo: row.object_format,
            default_branch: row.default_branch.clone(),
            room: Room::ALL,
            quota: self.quotas.of(row),
            plans: Arc::clone(&self.plans),
            visible: Arc::clone(&self.visible),
        })
    }

    /// Notes that a repository was written to, now. What was written stands whatever becomes of this.
    pub async fn noted(&self, id: RepoId) {
        if let Err(error) = self.catalog.touched(id, self.clock.now_ms()).await {
            tracing::error!(%error, "the time of a write was not noted");
        }
    }

    /// Counts a request of somebody who was let in; where that is one too many, the milliseconds to wait.
    pub fn admit(&self, token: &str, namespace: Option<&str>) -> Result<(), u64> {
        let now = self.clock.now_ms();
        if let Some(rates) = &self.token_rates {
            rates.take(token, now)?;
        }
        match (&self.namespace_rates, namespace) {
            (Some(rates), Some(namespace)) => rates.take(namespace.to_ascii_lowercase(), now),
            _ => Ok(()),
        }
    }

    /// Where uploads wait.
    pub fn spool_dir(&self) -> PathBuf {
        self.config.data.join("tmp")
    }

    /// Where git finds a repository.
    pub fn remote(&self, row: &RepoRow) -> String {
        format!("{}/git/{}/{}.git", self.config.public_url, row.namespace, row.name)
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
