//! The pool of connections that read.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::{CatalogError, Result, schema};
use crate::limits::CATALOG_READERS_MAX;

/// Connections are opened when first needed and kept.
pub(super) struct Readers {
    path: PathBuf,
    /// Leaf lock: nothing is taken or awaited while it is held.
    idle: Mutex<Vec<Connection>>,
    slots: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            idle: Mutex::new(Vec::new()),
            slots: Arc::new(Semaphore::new(CATALOG_READERS_MAX)),
        }
    }

    /// Runs `work` on a blocking thread.
    pub(super) async fn run<T, F>(self: &Arc<Self>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| CatalogError::Closed)?;
        let pool = Arc::clone(self);
        spawn_blocking(move || {
            let _held = slot; // by the thread: a dropped future does not free it early
            let kept = pool.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let conn = kept.map_or_else(|| schema::open_reader(&pool.path), Ok)?;
            let out = work(&conn);
            pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
            out
        })
        .await
        .map_err(|_| CatalogError::Panicked)?
    }
}
