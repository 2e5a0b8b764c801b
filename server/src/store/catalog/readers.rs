//! The pool of connections that read.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::{CatalogError, Result, schema};
use crate::limits::CATALOG_READERS_MAX;
use crate::store::disk::Disk;

/// Connections are opened when first needed and kept.
pub(super) struct Readers {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Leaf lock: nothing is taken or awaited while it is held.
    idle: Mutex<Vec<Connection>>,
    slots: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(disk: Arc<dyn Disk>, path: &Path) -> Self {
        Self {
            disk,
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
            let conn = kept.map_or_else(|| schema::open_reader(&*pool.disk, &pool.path), Ok)?;
            let out = work(&conn);
            // One that failed is not used again.
            if !matches!(out, Err(CatalogError::Sqlite(_))) {
                pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
            }
            out
        })
        .await
        .map_err(|_| CatalogError::Panicked)?
    }
}
