//! The one thread that writes.
//!
//! It takes the first waiting job, opens a transaction, runs that job and all others that wait, each in a savepoint of
//! its own, commits, and only then answers them all. A job that fails or panics undoes its own changes alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use prometheus_client::metrics::histogram::Histogram;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{CatalogError, Result};
use crate::limits::{CATALOG_BATCH_JOBS_MAX, CATALOG_QUEUE_JOBS_MAX};

/// Answers one caller, once it is known whether the batch committed.
type Finish = Box<dyn FnOnce(Option<Arc<str>>) + Send>;
/// Runs inside the batch; gets the reason instead where no transaction could be opened.
type Job = Box<dyn FnOnce(Result<&Connection>) -> Finish + Send>;

/// The way to the writer thread, which ends when the last of these is dropped.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Job>,
}

impl Writer {
    /// Gives `conn` to a new thread.
    pub(super) fn start(conn: Connection, commit_seconds: Histogram) -> Result<Self> {
        let (queue, jobs) = mpsc::channel(CATALOG_QUEUE_JOBS_MAX);
        thread::Builder::new()
            .name("catalog-writer".into())
            .spawn(move || run(&conn, jobs, &commit_seconds))?;
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
                    Some(why) => Err(CatalogError::Commit(why)),
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

fn run(conn: &Connection, mut jobs: mpsc::Receiver<Job>, commit_seconds: &Histogram) {
    while let Some(first) = jobs.blocking_recv() {
        if let Err(error) = conn.execute_batch("BEGIN IMMEDIATE") {
            first(Err(error.into()))(None);
            continue;
        }
        let mut finishes = vec![first(Ok(conn))];
        // A full disk can end the transaction under a job: then nothing of the batch stands, and COMMIT says so.
        while finishes.len() < CATALOG_BATCH_JOBS_MAX && !conn.is_autocommit() {
            let Ok(job) = jobs.try_recv() else { break };
            finishes.push(job(Ok(conn)));
        }
        let start = Instant::now();
        let failed = conn.execute_batch("COMMIT").err().map(|error| Arc::from(error.to_string()));
        commit_seconds.observe(start.elapsed().as_secs_f64());
        if failed.is_some() && !conn.is_autocommit() {
            // If this fails as well, the next BEGIN reports it.
            let _ = conn.execute_batch("ROLLBACK");
        }
        for finish in finishes {
            finish(failed.clone());
        }
    }
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
        let conn = Connection::open_in_memory().expect("it opens");
        conn.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY)").expect("made");
        let writer = Writer::start(conn, Histogram::new([])).expect("it starts");
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
