//! What the server counts, as `GET /metrics` tells it in the text format of OpenMetrics.
//!
//! Label sets are bounded: operations are the routes of `router`, codes those of `error/code`. Names of repositories,
//! namespaces and tokens are never labels.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::jobs::maintenance::Done;

/// Method and route of a request; `none` where no route matched.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub struct Operation(pub String);

impl EncodeLabelValue for Operation {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.as_str().encode(encoder)
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    operation: Operation,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Timed {
    operation: Operation,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Refused {
    code: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Cached {
    cache: &'static str,
    found: &'static str,
}

/// From a quarter of a millisecond to two minutes.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.5, 15))
}

/// What is only known when it is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Repository files open.
    pub open_files: u64,
    /// How often a repository file was asked for that was open, and one that had to be opened.
    pub file_asks: [u64; 2],
    /// Changes that wait for the catalog's writer.
    pub catalog_queue: u64,
    /// Live repositories.
    pub repositories: u64,
    /// Live namespaces.
    pub namespaces: u64,
    /// Bytes of packs of live repositories.
    pub stored_bytes: u64,
    /// Bytes of the commits that are kept in memory, and how many packs' were dropped to make room.
    pub graphs: (u64, u64),
    /// Bytes of memory that large work may take.
    pub memory_budget_bytes: u64,
    /// Bytes of them that are taken.
    pub memory_taken_bytes: u64,
    /// Requests that wait for some.
    pub memory_waiting: u64,
    /// Requests that waited in vain, or were refused since too many waited.
    pub memory_refused: u64,
    /// Bytes of memory that the process holds.
    pub resident_bytes: u64,
    /// Descriptors that the process has open.
    pub open_descriptors: u64,
}

/// The counters. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    requests: Family<Answered, Counter>,
    first_byte: Family<Timed, Histogram, fn() -> Histogram>,
    errors: Family<Refused, Counter>,
    bytes_in: Counter,
    bytes_out: Counter,
    in_flight: Gauge,
    work: WorkCounts,
    connections: Gauge,
    connections_refused: Counter,
    caches: Family<Cached, Counter>,
    repo_commit: Histogram,
    catalog_commit: Histogram,
    push_work: Histogram,
    maintenance: Maintained,
}

/// What maintenance did.
#[derive(Clone, Default)]
struct Maintained {
    runs: Counter,
    errors: Counter,
    packs_in: Counter,
    packs_out: Counter,
    bytes_given_back: Counter,
    objects_dropped: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            first_byte: Family::new_with_constructor(seconds),
            errors: Family::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            in_flight: Gauge::default(),
            work: WorkCounts::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            caches: Family::default(),
            repo_commit: seconds(),
            catalog_commit: seconds(),
            push_work: seconds(),
            maintenance: Maintained::default(),
        }
    }
}

/// What is counted of the work for requests.
#[derive(Clone, Default)]
pub struct WorkCounts {
    /// Works on blocking threads, or that wait for one.
    pub working: Gauge<i64, AtomicI64>,
    /// Requests that passed their deadline.
    pub late: Counter<u64, AtomicU64>,
    /// Requests whose work heard at a read that it is to stop.
    pub stopped: Counter<u64, AtomicU64>,
}

/// Lowers a gauge when it is dropped.
pub struct Held(Gauge<i64, AtomicI64>);

impl Held {
    /// Raises `gauge` until it is dropped.
    pub fn of(gauge: &Gauge<i64, AtomicI64>) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// A request that is being answered, body included, until what is returned is dropped.
    pub fn request(&self) -> Held {
        Held::of(&self.in_flight)
    }

    /// An open connection, until what is returned is dropped.
    pub fn connection(&self) -> Held {
        Held::of(&self.connections)
    }

    /// Connections, and requests behind trusted proxies, of clients that had as many as they may.
    pub fn connections_refused(&self) -> &Counter {
        &self.connections_refused
    }

    /// The work for requests.
    pub fn work(&self) -> &WorkCounts {
        &self.work
    }

    /// The head of an answer was made in `took`.
    pub fn answered(&self, operation: String, status: u16, took: Duration) {
        let operation = Operation(operation);
        self.first_byte.get_or_create(&Timed { operation: operation.clone() }).observe(took.as_secs_f64());
        self.requests.get_or_create(&Answered { operation, status }).inc();
    }

    /// An error of that code was answered.
    pub fn refused(&self, code: u32) {
        self.errors.get_or_create(&Refused { code }).inc();
    }

    /// The counter of bytes of request bodies.
    pub fn bytes_in(&self) -> Counter<u64, AtomicU64> {
        self.bytes_in.clone()
    }

    /// The counter of bytes of answers' bodies.
    pub fn bytes_out(&self) -> Counter<u64, AtomicU64> {
        self.bytes_out.clone()
    }

    /// A cache was asked.
    pub fn cached(&self, cache: &'static str, found: bool) {
        let found = if found { "hit" } else { "miss" };
        self.caches.get_or_create(&Cached { cache, found }).inc();
    }

    /// How long commits of repository files take, the flush to disk included.
    pub fn repo_commit(&self) -> &Histogram {
        &self.repo_commit
    }

    /// How long commits of the catalog take, the flush to disk included.
    pub fn catalog_commit(&self) -> &Histogram {
        &self.catalog_commit
    }

    /// How long pushes take from their last byte to their report.
    pub fn push_work(&self) -> &Histogram {
        &self.push_work
    }

    /// A repository was maintained, or that failed.
    pub fn maintained(&self, done: Option<&Done>) {
        let counts = &self.maintenance;
        counts.runs.inc();
        match done {
            None => drop(counts.errors.inc()),
            Some(done) => {
                counts.packs_in.inc_by(done.rolled.packs_in);
                counts.packs_out.inc_by(done.rolled.packs_out);
                let given_back = done.file_bytes_before.saturating_sub(done.file_bytes_after);
                counts.bytes_given_back.inc_by(given_back);
                counts.objects_dropped.inc_by(done.dropped.objects);
            }
        }
    }

    /// Everything, as text.
    pub fn text(&self, now: Now) -> String {
        for (found, total) in [("hit", now.file_asks[0]), ("miss", now.file_asks[1])] {
            let counter = self.caches.get_or_create_owned(&Cached { cache: "files", found });
            // Counted elsewhere: this takes over what came since the last look.
            counter.inner().fetch_max(total, Ordering::Relaxed);
        }
        let mut all = Registry::with_prefix("cairn");
        all.register("requests", "Requests by method, route and status", self.requests.clone());
        let help = "Seconds from a request's head to the answer's head";
        all.register("request_first_byte_seconds", help, self.first_byte.clone());
        all.register("errors", "Errors answered by REST, by their code", self.errors.clone());
        all.register("request_body_bytes", "Bytes of request bodies", self.bytes_in.clone());
        all.register("answer_body_bytes", "Bytes of answers' bodies", self.bytes_out.clone());
        all.register("requests_in_flight", "Requests being answered", self.in_flight.clone());
        let help = "Work of requests on blocking threads, or that waits for one";
        all.register("requests_working", help, self.work.working.clone());
        all.register("requests_late", "Requests that passed their deadline", self.work.late.clone());
        let help = "Requests whose work stopped early: their deadline had passed or their client had left";
        all.register("requests_stopped", help, self.work.stopped.clone());
        all.register("connections", "Open connections", self.connections.clone());
        let help =
            "Connections, and requests behind trusted proxies, of clients that had as many as they may";
        all.register("connections_refused", help, self.connections_refused.clone());
        all.register("cache_asks", "Questions to caches", self.caches.clone());
        let help = "Seconds of a commit of a repository file, flush included";
        all.register("repo_commit_seconds", help, self.repo_commit.clone());
        let help = "Seconds of a commit of the catalog, flush included";
        all.register("catalog_commit_seconds", help, self.catalog_commit.clone());
        all.register(
            "push_work_seconds",
            "Seconds from a push's last byte to its report",
            self.push_work.clone(),
        );
        let Maintained { runs, errors, packs_in, packs_out, bytes_given_back, objects_dropped } =
            &self.maintenance;
        for (name, help, counter) in [
            ("maintenance_runs", "Repositories that were maintained", runs),
            ("maintenance_errors", "Repositories whose maintenance failed", errors),
            ("maintenance_packs_in", "Packs that were rolled into others", packs_in),
            ("maintenance_packs_out", "Packs that others were rolled into", packs_out),
            (
                "maintenance_given_back_bytes",
                "Bytes that files gave back to the file system",
                bytes_given_back,
            ),
            (
                "maintenance_dropped_objects",
                "Objects that were dropped, since no ref named them",
                objects_dropped,
            ),
        ] {
            all.register(name, help, counter.clone());
        }
        let dropped = Counter::<u64, AtomicU64>::default();
        dropped.inc_by(now.graphs.1);
        let help = "Packs whose commits were dropped from memory to make room";
        all.register("commit_graph_evictions", help, dropped);
        let refused = Counter::<u64, AtomicU64>::default();
        refused.inc_by(now.memory_refused);
        all.register("memory_refused", "Requests that got no share of the budget", refused);
        for (name, help, value) in [
            ("open_files", "Repository files open", now.open_files),
            ("catalog_queue", "Changes that wait for the catalog's writer", now.catalog_queue),
            ("repositories", "Live repositories", now.repositories),
            ("namespaces", "Live namespaces", now.namespaces),
            ("stored_bytes", "Bytes of packs of live repositories", now.stored_bytes),
            ("commit_graph_bytes", "Bytes of commits that are kept in memory", now.graphs.0),
            ("memory_budget_bytes", "Bytes of memory that large work may take", now.memory_budget_bytes),
            ("memory_taken_bytes", "Bytes of the budget that are taken", now.memory_taken_bytes),
            ("memory_waiting", "Requests that wait for a share of the budget", now.memory_waiting),
            ("resident_bytes", "Bytes of memory that the process holds", now.resident_bytes),
            ("open_descriptors", "Descriptors that the process has open", now.open_descriptors),
        ] {
            let gauge = Gauge::<i64, AtomicI64>::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            all.register(name, help, gauge);
        }
        let mut text = String::new();
        encode(&mut text, &all).expect("a string takes all text");
        text
    }
}
