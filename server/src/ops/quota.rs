//! Size quotas: how many bytes of packs a repository, and a namespace, may hold.
//!
//! Counted are the packs of a repository's own log, as stored; what a fork shows of its bases is not its own. A
//! namespace is the sum of its live repositories. Work under way is counted too, so that several pushes at once
//! cannot pass together what one of them could not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::OpError;
use crate::store::RepoId;
use crate::store::catalog::{Catalog, RepoRow};
use crate::store::repo::{Repo, Snapshot};

/// What the operator allows; `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// Bytes of one repository.
    pub repo_bytes_max: Option<u64>,
    /// Bytes of all repositories of a namespace.
    pub namespace_bytes_max: Option<u64>,
}

/// The quotas of a server. Clones share what is under way.
#[derive(Clone)]
pub struct Quotas {
    allowed: Allowed,
    catalog: Catalog,
    /// Bytes that are being added. Leaf lock.
    under_way: Arc<Mutex<HashMap<Holder, u64>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Holder {
    Repo(RepoId),
    /// In lower case.
    Namespace(String),
}

/// The quotas as they apply to one repository.
#[derive(Clone)]
pub struct Quota {
    quotas: Quotas,
    repo: RepoId,
    namespace: String,
}

/// Bytes that count as stored until the work is done.
pub struct Held {
    quotas: Quotas,
    holders: [Holder; 2],
    bytes: u64,
    /// What was under way before, for each.
    before: [u64; 2],
}

impl Quotas {
    /// None is exceeded yet.
    pub fn new(allowed: Allowed, catalog: Catalog) -> Self {
        Self { allowed, catalog, under_way: Arc::default() }
    }

    /// For the repository of `row`.
    pub fn of(&self, row: &RepoRow) -> Quota {
        Quota { quotas: self.clone(), repo: row.id, namespace: row.namespace.to_ascii_lowercase() }
    }

    fn hold(&self, holders: [Holder; 2], bytes: u64) -> Held {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let before = holders.clone().map(|holder| {
            let held = under_way.entry(holder).or_default();
            let before = *held;
            *held = before.saturating_add(bytes);
            before
        });
        drop(under_way);
        Held { quotas: self.clone(), holders, bytes, before }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut under_way = self.quotas.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        for holder in &self.holders {
            if let Some(held) = under_way.get_mut(holder) {
                *held = held.saturating_sub(self.bytes);
                if *held == 0 {
                    under_way.remove(holder);
                }
            }
        }
    }
}

impl Quota {
    /// Announces `bytes` more. Come with a snapshot that is taken after this, to `check`.
    pub fn hold(&self, bytes: u64) -> Held {
        self.quotas.hold([Holder::Repo(self.repo), Holder::Namespace(self.namespace.clone())], bytes)
    }

    /// Refuses what would be too much. Blocks.
    pub fn check(&self, held: &Held, snapshot: &Snapshot) -> Result<(), OpError> {
        let [of_repo, of_namespace] = held.before;
        let Allowed { repo_bytes_max, namespace_bytes_max } = self.quotas.allowed;
        if let Some(max) = repo_bytes_max {
            refuse_above("repository", snapshot.own_bytes()?, of_repo, held.bytes, max)?;
        }
        if let Some(max) = namespace_bytes_max {
            let read = self.quotas.catalog.namespace_bytes(self.namespace.clone());
            let stored = tokio::runtime::Handle::current().block_on(read);
            let stored = stored.map_err(|error| OpError::Spool(std::io::Error::other(error.to_string())))?;
            refuse_above("namespace", stored, of_namespace, held.bytes, max)?;
        }
        Ok(())
    }

    /// Notes what the repository holds now; the catalog keeps it with the next `touched`. What is noted is committed
    /// already, so that a failure here is no failure of the work: the next entry notes it again.
    pub fn note(&self, repo: &Repo) {
        let snapshot = repo.snapshot(None).map(Snapshot::to_the_end);
        let noted = snapshot.and_then(|snapshot| Ok((snapshot.seq(), snapshot.own_bytes()?)));
        match noted {
            Ok((seq, bytes)) => self.quotas.catalog.note_bytes(self.repo, seq, bytes),
            Err(error) => {
                tracing::error!(%error, repo = %self.repo, "the size of a repository was not noted")
            }
        }
    }
}

fn refuse_above(what: &str, stored: u64, under_way: u64, more: u64, max: u64) -> Result<(), OpError> {
    if stored.saturating_add(under_way).saturating_add(more) <= max {
        return Ok(());
    }
    Err(OpError::Quota(format!(
        "size quota: the {what} holds {stored} bytes of {max}, and {more} more were sent"
    )))
}
