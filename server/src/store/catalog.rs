//! The catalog: namespaces, repositories, tokens. Everything that is known of a repository without opening its file.
//!
//! One writer thread takes what is waiting into one transaction, so that a thousand creates share one fsync; readers
//! are a small pool. Other processes (the command line beside a running server) may write too: SQLite's lock orders
//! them. The statements are ones that PostgreSQL would take, but for `WITHOUT ROWID`, the pragmas in `schema` and `search`.

mod api_tokens;
mod backup;
mod bytes;
mod forks;
mod idempotency;
mod imports;
mod list;
mod maintained;
mod namespaces;
mod page;
mod readers;
mod repos;
mod schema;
mod search;
mod steady;
mod tokens;
mod writer;

use std::path::Path;
use std::sync::Arc;

use prometheus_client::metrics::histogram::Histogram;
use rusqlite::Connection;

use crate::stop::Stop;
pub use api_tokens::{ApiTokenRow, Right};
pub(crate) use backup::CatalogCopy;
pub use idempotency::KeptAnswer;
pub use imports::ImportRow;
pub use list::{Direction, RepoPage, Sort};
pub use maintained::Maintained;
pub use namespaces::NamespaceRow;
pub use page::{Listed, Window};
pub use repos::{NewRepo, RepoChange, RepoRow};
pub use tokens::{NewToken, Scope, TokenHash, TokenRow, TokenState};

use super::disk::{Disk, System};
use readers::Readers;
use writer::Writer;

/// Why the catalog did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// SQLite failed.
    #[error("catalog: {0}")]
    Sqlite(rusqlite::Error),
    /// The file system failed.
    #[error("catalog file: {0}")]
    Io(std::io::Error),
    /// The transaction that carried this change did not commit.
    #[error("catalog commit failed: {0}")]
    Commit(Arc<str>),
    /// No space is left on the disk.
    #[error("the disk is full")]
    Full,
    /// The catalog is shutting down.
    #[error("catalog is closed")]
    Closed,
    /// The work panicked; its changes were rolled back.
    #[error("catalog work panicked")]
    Panicked,
    /// A row does not hold what this program writes.
    #[error("catalog holds a bad {0}")]
    Corrupt(&'static str),
    /// The catalog was written by a newer program.
    #[error("catalog has schema {found}, this program knows {known}")]
    Newer {
        /// Version in the file.
        found: i64,
        /// Version of this program.
        known: i64,
    },
    /// The namespace is taken.
    #[error("namespace already exists")]
    NamespaceExists,
    /// There is no such namespace.
    #[error("namespace not found")]
    NamespaceMissing,
    /// The namespace holds repositories.
    #[error("namespace holds {0} repositories")]
    NamespaceInUse(u64),
    /// The name is taken.
    #[error("repo already exists: {0}")]
    RepoExists(String),
    /// There is no such repository.
    #[error("repository not found")]
    RepoMissing,
    /// There is no such token.
    #[error("token not found")]
    TokenMissing,
    /// The fork would stand on too many logs.
    #[error("a fork may stand on {max} logs, this one would stand on {depth}")]
    ForkTooDeep {
        /// Logs that it would stand on.
        depth: usize,
        /// Logs that it may stand on.
        max: usize,
    },
}

impl From<rusqlite::Error> for CatalogError {
    fn from(error: rusqlite::Error) -> Self {
        if super::disk::is_full(&error) { Self::Full } else { Self::Sqlite(error) }
    }
}

impl From<std::io::Error> for CatalogError {
    fn from(error: std::io::Error) -> Self {
        if super::disk::is_full_io(&error) { Self::Full } else { Self::Io(error) }
    }
}

/// Result of catalog work.
pub type Result<T> = std::result::Result<T, CatalogError>;

/// The open catalog. Clones share it.
#[derive(Clone)]
pub struct Catalog {
    writer: Writer,
    readers: Arc<Readers>,
    noted: bytes::Noted,
}

impl Catalog {
    /// Opens `path`, making it where it is absent. Blocks.
    pub fn open(path: &Path) -> Result<Self> {
        Self::timed(path, Histogram::new([]))
    }

    /// The same, noting how many seconds commits take. Blocks.
    pub fn timed(path: &Path, commit_seconds: Histogram) -> Result<Self> {
        Self::on(System::shared(), path, commit_seconds)
    }

    /// The same on a disk of the caller's. Blocks.
    pub fn on(disk: Arc<dyn Disk>, path: &Path, commit_seconds: Histogram) -> Result<Self> {
        let (of_writer, of_path) = (Arc::clone(&disk), path.to_owned());
        let open = move |is_suspect: &_| {
            let mut conn = schema::open_writer(&*of_writer, &of_path)?;
            super::disk::watch_checkpoints(&mut conn, is_suspect)?;
            Ok(conn)
        };
        Ok(Self {
            writer: Writer::start(open, commit_seconds)?,
            readers: Arc::new(Readers::new(disk, path)),
            noted: bytes::Noted::default(),
        })
    }

    /// How many changes wait for the writer.
    pub fn queue_len(&self) -> usize {
        self.writer.queue_len()
    }

    /// Whether changes can be made now: one that changes nothing is committed.
    pub async fn ready(&self) -> Result<()> {
        self.write(|_| Ok(())).await
    }

    /// How many live repositories and namespaces there are.
    pub async fn counts(&self) -> Result<(u64, u64)> {
        self.read(|conn| {
            let mut sum = conn.prepare_cached(
                "SELECT COALESCE(SUM(repo_count), 0), COUNT(*) FROM namespaces WHERE deleted_at IS NULL",
            )?;
            let counts = sum.query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
            Ok((u64::try_from(counts.0).unwrap_or(0), u64::try_from(counts.1).unwrap_or(0)))
        })
        .await
    }

    /// Runs `work` in the next batch; answers once it is durable. Started work finishes even if the caller is dropped.
    async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        Stop::current().writes();
        self.writer.submit(work).await
    }

    /// Runs `work` on one snapshot.
    async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        self.readers.run(work).await
    }

    /// What SQLite finds wrong with the file; empty where nothing is.
    pub async fn integrity(&self) -> Result<Vec<String>> {
        self.read(|conn| {
            let mut check = conn.prepare("PRAGMA integrity_check")?;
            let lines = check
                .query_map([], |row| row.get::<_, String>(0))?
                .collect::<std::result::Result<Vec<_>, _>>()?;
            Ok(lines.into_iter().filter(|line| line != "ok").collect())
        })
        .await
    }

    /// Writes a consistent copy to `to`, which must not exist. Changes made meanwhile are in it or not, each as a whole.
    pub async fn copy_to(&self, disk: &dyn Disk, to: &Path) -> Result<()> {
        let to = to.to_owned();
        let copy = to.clone();
        self.read(move |conn| {
            let name = copy.to_str().ok_or(CatalogError::Corrupt("backup path: not UTF-8"))?;
            conn.execute("VACUUM INTO ?1", [name])?;
            Ok(())
        })
        .await?;
        Ok(disk.sync_file(&to)?)
    }
}
