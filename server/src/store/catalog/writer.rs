//! The one thread that writes.
//!
//! It takes the first waiting job, opens a transaction, runs that job and all others that wait, each in a savepoint of
//! its own, commits, and only then answers them all. A job that fails or panics undoes its own changes alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use prometheus_client::metrics::histogram::Histogram;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{CatalogError, Result};
use crate::limits::{CATALOG_BATCH_JOBS_MAX, CATALOG_QUEUE_JOBS_MAX};
use crate::store::disk;

/// Answers one caller, once it is known whether the batch committed.
type Finish = Box<dyn FnOnce(Option<Failed>) + Send>;
/// Runs inside the batch; gets the reason instead where no transaction could be opened.
type Job = Box<dyn FnOnce(Result<&Connection>) -> Finish + Send>;

/// Why a batch did not commit.
#[derive(Clone)]
struct Failed {
    is_full: bool,
    why: Arc<str>,
}

/// The way to the writer thread, which ends when the last of these is dropped.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Job>,
}

impl Writer {
    /// Opens a connection and gives it to a new thread, which opens another one after a failure.
    pub(super) fn start(
        open: impl Fn(&Arc<AtomicBool>) -> Result<Connection> + Send + 'static,
        commit_seconds: Histogram,
    ) -> Result<Self> {
        let is_suspect = Arc::default();
        let conn = open(&is_suspect)?;
        let reopen = {
            let is_suspect = Arc::clone(&is_suspect);
            move || {
                let conn = open(&is_suspect)?;
                // Opening settled the log.
                is_suspect.store(false, Ordering::Relaxed);
                Ok(conn)
            }
        };
        let (queue, jobs) = mpsc::channel(CATALOG_QUEUE_JOBS_MAX);
        thread::Builder::new()
            .name("catalog-writer".into())
            .spawn(move || run(conn, &reopen, &is_suspect, jobs, &commit_seconds))?;
        Ok(Self { queue })
    }

    /// How many jobs wait.
    pub(super) fn queue_len(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Queues `work` and waits until it is durable.
    pub(super) async fn submit<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |conn| {
            let out = conn.and_then(|conn| in_savepoint(conn, work));
            Box::new(move |failed| {
                let out = match failed {
                    // Why the job itself failed says more than that the batch did.
                    Some(_) if matches!(out, Err(CatalogError::Full)) => out,
                    Some(failed) if failed.is_full => Err(CatalogError::Full),
                    Some(failed) => Err(CatalogError::Commit(failed.why)),
                    None => out,
                };
                // The caller may have gone; what was committed stands.
                drop(answer.send(out));
            })
        });
        self.queue.send(job).await.map_err(|_| CatalogError::Closed)?;
        answered.await.map_err(|_| CatalogError::Closed)?
    }
}

fn run(
    conn: Connection,
    open: &impl Fn() -> Result<Connection>,
    is_suspect: &AtomicBool,
    mut jobs: mpsc::Receiver<Job>,
    commit_seconds: &Histogram,
) {
    let mut kept = Some(conn);
    while let Some(first) = jobs.blocking_recv() {
        // After a failed flush nobody knows what is on the disk: a connection that failed is not used again, and the
        // next one settles the log.
        let begun =
            kept.take().map_or_else(open, Ok).and_then(|conn| match conn.execute_batch("BEGIN IMMEDIATE") {
                Ok(()) => Ok(conn),
                Err(error) => {
                    disk::give_up(conn);
                    Err(error.into())
                }
            });
        match begun {
            Err(error) => first(Err(error))(None),
            Ok(conn) => {
                if run_batch(&conn, first, &mut jobs, commit_seconds) && !is_suspect.load(Ordering::Relaxed) {
                    kept = Some(conn);
                } else {
                    disk::give_up(conn);
                }
            }
        }
    }
}

/// Runs `first` and what else waits; answers whether it is committed.
fn run_batch(
    conn: &Connection,
    first: Job,
    jobs: &mut mpsc::Receiver<Job>,
    commit_seconds: &Histogram,
) -> bool {
    let mut finishes = vec![first(Ok(conn))];
    // A full disk can end the transaction under a job: then nothing of the batch stands, and COMMIT says so.
    while finishes.len() < CATALOG_BATCH_JOBS_MAX && !conn.is_autocommit() {
        let Ok(job) = jobs.try_recv() else { break };
        finishes.push(job(Ok(conn)));
    }
    let start = Instant::now();
    let failed = conn
        .execute_batch("COMMIT")
        .err()
        .map(|error| Failed { is_full: disk::is_full(&error), why: Arc::from(error.to_string()) });
    commit_seconds.observe(start.elapsed().as_secs_f64());
    if failed.is_some() && !conn.is_autocommit() {
        // If this fails as well, closing the connection does it.
        let _ = conn.execute_batch("ROLLBACK");
    }
    let is_committed = failed.is_none();
    for finish in finishes {
        finish(failed.clone());
    }
    is_committed
}

fn in_savepoint<T>(conn: &Connection, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    conn.prepare_cached("SAVEPOINT job")?.execute([])?;
    let out = catch_unwind(AssertUnwindSafe(|| work(conn))).unwrap_or(Err(CatalogError::Panicked));
    if out.is_err() {
        // If SQLite has already rolled everything back, the batch's COMMIT fails and every caller hears it.
        let _ = conn.execute_batch("ROLLBACK TO job");
    }
    conn.prepare_cached("RELEASE job")?.execute([])?;
    out
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::histogram::Histogram;
    use rusqlite::Connection;

    use super::{CatalogError, Writer};

    #[tokio::test]
    async fn a_failed_or_panicking_job_undoes_only_its_own_changes() {
        let open = |_: &_| {
            let conn = Connection::open_in_memory()?;
            conn.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY)")?;
            Ok(conn)
        };
        let writer = Writer::start(open, Histogram::new([])).expect("it starts");
        let insert = |n: i64| move |conn: &Connection| Ok(conn.execute("INSERT INTO t VALUES (?1)", [n])?);
        let fail = move |conn: &Connection| insert(2)(conn).and(Err::<usize, _>(CatalogError::RepoMissing));
        let panic = |conn: &Connection| {
            conn.execute("INSERT INTO t VALUES (3)", [])?;
            assert!(std::hint::black_box(false), "on purpose");
            Ok(0)
        };
        let (one, two, three, four) = tokio::join!(
            writer.submit(insert(1)),
            writer.submit(fail),
            writer.submit(panic),
            writer.submit(insert(4))
        );
        assert!(one.is_ok() && four.is_ok());
        assert!(matches!(two, Err(CatalogError::RepoMissing)));
        assert!(matches!(three, Err(CatalogError::Panicked)));
        let sum =
            writer.submit(|conn| Ok(conn.query_row("SELECT SUM(n) FROM t", [], |row| row.get::<_, i64>(0))?));
        assert_eq!(sum.await.expect("an answer"), 5);
        let again = writer.submit(insert(4)).await;
        assert!(matches!(again, Err(CatalogError::Sqlite(_))), "a constraint is the job's own failure");
    }
}
