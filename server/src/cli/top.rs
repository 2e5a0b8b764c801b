//! `cairn top`: what a server does, from its `/metrics`, drawn anew each second.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use clap::Args;

use super::http::Problem;
use super::target::Target;

/// Rows of operations that are shown.
const OPERATIONS_SHOWN: usize = 20;
/// Between two looks, in milliseconds.
const INTERVAL_MS: u64 = 1_000;

#[derive(Args)]
#[command(after_help = "Examples:\n  cairn top https://git.example.com\n  cairn top --once /var/lib/cairn")]
pub(super) struct TopArgs {
    /// The server's origin, or the data folder of a local one
    #[arg(value_name = "URL|DATA")]
    place: Option<String>,
    /// Print one table of everything since the server started
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    target: Target,
}

pub(super) fn run(args: TopArgs) -> Result<(), Problem> {
    let target = match &args.place {
        Some(place) => args.target.at(place),
        None => args.target,
    };
    let client = target.client()?;
    let look = || client.text("/metrics").map(|text| Samples::parse(&text));
    let mut before = Samples::default();
    if args.once {
        print!("{}", table(&look()?, &before, None));
        return Ok(());
    }
    let mut since = None;
    loop {
        let (now, at) = (look()?, Instant::now());
        let seconds = since.map(|since| at.duration_since(since).as_secs_f64());
        let mut out = io::stdout().lock();
        // Home, each line to its end, and what is left below.
        let lines = table(&now, &before, seconds).replace('\n', "\u{1b}[K\n");
        write!(out, "\u{1b}[H{lines}\u{1b}[J").and_then(|()| out.flush())?;
        drop(out);
        (before, since) = (now, Some(at));
        std::thread::sleep(Duration::from_millis(INTERVAL_MS));
    }
}

/// Name, then labels as they are written.
type Key = (String, String);

/// What one look saw.
#[derive(Debug, Default)]
struct Samples(BTreeMap<Key, f64>);

impl Samples {
    /// Reads the text format of OpenMetrics as far as the server writes it.
    fn parse(text: &str) -> Self {
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            let (name, labels) = match name.split_once('{') {
                Some((name, labels)) => (name, labels.strip_suffix('}')?),
                None => (name, ""),
            };
            Some(((name.to_owned(), labels.to_owned()), value.parse().ok()?))
        };
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    fn get(&self, name: &str, labels: &str) -> f64 {
        self.0.get(&(name.to_owned(), labels.to_owned())).copied().unwrap_or_default()
    }

    fn named(&self, name: &str) -> impl Iterator<Item = (&str, f64)> {
        let rows = self.0.range((name.to_owned(), String::new())..);
        rows.take_while(move |((of, _), _)| of == name).map(|((_, labels), value)| (labels.as_str(), *value))
    }

    fn sum(&self, name: &str) -> f64 {
        self.named(name).map(|(_, value)| value).sum()
    }
}

fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let start = labels.find(&format!("{name}=\""))? + name.len() + 2;
    labels.get(start..)?.split('"').next()
}

/// Which share of a histogram's growth lies below which bound: the bound, in seconds.
fn quantile(now: &Samples, before: &Samples, operation: &str, share: f64) -> f64 {
    let name = "cairn_request_first_byte_seconds_bucket";
    let mut steps: Vec<(f64, f64)> = now
        .named(name)
        .filter(|(labels, _)| label(labels, "operation") == Some(operation))
        .map(|(labels, count)| {
            let bound = label(labels, "le").and_then(|le| le.parse().ok()).unwrap_or(f64::INFINITY);
            (bound, count - before.get(name, labels))
        })
        .collect();
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all = steps.last().map_or(0.0, |(_, count)| *count);
    steps.iter().find(|(_, count)| *count >= all * share).map_or(0.0, |(bound, _)| *bound)
}

fn milliseconds(seconds: f64) -> String {
    if seconds.is_finite() { format!("{:.1}", seconds * 1_000.0) } else { "more".to_owned() }
}

fn bytes(count: f64) -> String {
    let mut left = count;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if left < 1_024.0 {
            return format!("{left:.1} {unit}");
        }
        left /= 1_024.0;
    }
    format!("{left:.1} TiB")
}

/// The screen: totals, then the operations that were asked most. Counts are per second where `seconds` passed since
/// `before`, else since the server's start.
fn table(now: &Samples, before: &Samples, seconds: Option<f64>) -> String {
    let rate = |name: &str| (now.sum(name) - before.sum(name)) / seconds.unwrap_or(1.0);
    let per = if seconds.is_some() { "/s" } else { "" };
    let gauge = |name: &str| now.get(name, "");
    let asks = |found: &str| {
        let of = |all: &Samples| -> f64 {
            let rows = all.named("cairn_cache_asks_total");
            rows.filter(|(labels, _)| label(labels, "found") == Some(found)).map(|(_, count)| count).sum()
        };
        of(now) - of(before)
    };
    let (hits, misses) = (asks("hit"), asks("miss"));
    let share = if hits + misses > 0.0 { 100.0 * hits / (hits + misses) } else { 0.0 };
    let mut out = String::new();
    let lines = [
        format!(
            "requests{per} {:.1}   in flight {}   connections {}   errors{per} {:.1}",
            rate("cairn_requests_total"),
            gauge("cairn_requests_in_flight"),
            gauge("cairn_connections"),
            rate("cairn_errors_total"),
        ),
        format!(
            "in{per} {}   out{per} {}   resident {}   descriptors {}",
            bytes(rate("cairn_request_body_bytes_total")),
            bytes(rate("cairn_answer_body_bytes_total")),
            bytes(gauge("cairn_resident_bytes")),
            gauge("cairn_open_descriptors"),
        ),
        format!(
            "repositories {}   stored {}   open files {}   catalog queue {}   memory taken {}   waiting {}   cache hits {share:.0} %",
            gauge("cairn_repositories"),
            bytes(gauge("cairn_stored_bytes")),
            gauge("cairn_open_files"),
            gauge("cairn_catalog_queue"),
            bytes(gauge("cairn_memory_taken_bytes")),
            gauge("cairn_memory_waiting"),
        ),
    ];
    lines.iter().for_each(|line| out.push_str(&format!("{line}\n")));
    let mut operations: BTreeMap<&str, f64> = BTreeMap::new();
    for (labels, count) in now.named("cairn_requests_total") {
        let grown = count - before.get("cairn_requests_total", labels);
        *operations.entry(label(labels, "operation").unwrap_or("none")).or_default() += grown;
    }
    let mut rows: Vec<_> = operations.into_iter().filter(|(_, count)| *count > 0.0).collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    let count = format!("requests{per}");
    let _ = writeln!(out, "\n{count:>12} {:>10} {:>10}  operation", "p50 ms", "p99 ms");
    for (operation, count) in rows.iter().take(OPERATIONS_SHOWN) {
        let at = |share| milliseconds(quantile(now, before, operation, share));
        let count = count / seconds.unwrap_or(1.0);
        let _ = writeln!(out, "{count:>12.1} {:>10} {:>10}  {operation}", at(0.5), at(0.99));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Samples, table};

    const FIRST: &str = "# TYPE cairn_requests counter\n\
        cairn_requests_total{operation=\"GET /a{b}\",status=\"200\"} 10\n\
        cairn_request_first_byte_seconds_bucket{le=\"0.001\",operation=\"GET /a{b}\"} 4\n\
        cairn_request_first_byte_seconds_bucket{le=\"0.1\",operation=\"GET /a{b}\"} 10\n\
        cairn_request_first_byte_seconds_bucket{le=\"+Inf\",operation=\"GET /a{b}\"} 10\n\
        cairn_resident_bytes 3145728\n# EOF\n";

    #[test]
    fn the_first_look_shows_totals_and_later_ones_what_grew() {
        let first = Samples::parse(FIRST);
        let text = table(&first, &Samples::default(), None);
        assert!(text.contains("requests 10.0 "), "{text}");
        assert!(text.contains("resident 3.0 MiB"), "{text}");
        assert!(text.lines().last().is_some_and(|line| line.ends_with("GET /a{b}")), "{text}");
        assert!(text.contains("100.0      100.0  GET"), "half are not below 1 ms: {text}");
        let later = Samples::parse(&FIRST.replace(" 10\n", " 30\n").replace(" 4\n", " 24\n"));
        let text = table(&later, &first, Some(2.0));
        assert!(text.contains("requests/s 10.0 "), "{text}");
        assert!(text.contains("1.0        1.0  GET"), "all that is new is below 1 ms: {text}");
    }
}
