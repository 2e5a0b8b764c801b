//! Rows of the catalog: what very many repositories cost that nobody uses, and how quickly they are found.

use std::time::{Duration, Instant};

use crate::Result;
use crate::context::Context;
use crate::http::Client;
use crate::proc::{disk_usage, status_bytes};
use crate::rates::rate;
use crate::report::{Bar, Row, Unit};
use crate::server;

const RSS_IDLE_BYTES_MAX: f64 = 256.0 * 1_048_576.0;
/// For a lookup and a page in the usual order.
const ANSWER_SECONDS_MAX: f64 = 0.005;
/// For every order, page and search.
const LIST_SECONDS_MAX: f64 = 0.010;
const LOOKUPS: u32 = 1_000;
const LISTS: u32 = 100;
/// The usual page.
const PAGE: u32 = 50;

/// Forks of one small base: memory after a start, bytes and files, lookups, lists and searches.
pub fn rows(context: &mut Context) -> Result<Vec<Row>> {
    let count = context.repos;
    eprintln!("measuring a catalog of {count}");
    let mut server = context.fresh_server()?;
    server::create(&mut server.client(), "base", "main")?;
    let before = disk_usage(&server.data)?;
    let made = rate(&server, count, |client, number| server::fork(client, "base", &name(number)).map(drop))?;
    let after_making = status_bytes(server.pid(), "VmRSS")?;
    context.restart(&mut server)?;
    server.settle()?;
    let after = disk_usage(&server.data)?;

    let mut rows = Vec::new();
    let mut client = server.client();
    let lookup = latency("catalog-lookup-p99", ANSWER_SECONDS_MAX, LOOKUPS, |turn| {
        // A stride that is prime walks the whole range.
        let number = u32::try_from(u64::from(turn) * 7_919 % u64::from(count))?;
        server::look_up(&mut client, &name(number))
    })?;
    rows.push(lookup);
    lists(&mut client, count, &mut rows)?;

    let mut rss = Row::new("catalog-rss", Unit::Bytes, &[Bar::AtMost(RSS_IDLE_BYTES_MAX)]);
    rss.cairn.push(Ok(status_bytes(server.pid(), "VmRSS")? as f64));
    rss.notes.push(format!(
        "{count} forks made at {made:.0}/s; RSS {} KiB after making them",
        after_making / 1024
    ));
    let mut bytes = Row::new("catalog-bytes-each", Unit::Count, &[]);
    bytes.cairn.push(Ok(after.0.saturating_sub(before.0) as f64 / f64::from(count)));
    bytes.notes.push("bytes on disk for a fork and its first token".into());
    let mut files = Row::new("catalog-files", Unit::Count, &[Bar::AtMost(0.0)]);
    files.cairn.push(Ok(after.1.saturating_sub(before.1) as f64));
    rows.splice(0..0, [rss, bytes, files]);
    Ok(rows)
}

fn lists(client: &mut Client, count: u32, rows: &mut Vec<Row>) -> Result<()> {
    let last = count.div_ceil(PAGE);
    for sort in ["created_at", "updated_at", "last_push_at", "name"] {
        for direction in ["asc", "desc"] {
            let order = format!("sort={sort}&direction={direction}&per_page={PAGE}");
            let id = format!("list-{sort}-{direction}-p99");
            rows.push(latency(&id, ANSWER_SECONDS_MAX, LISTS, |_| {
                server::list(client, &format!("{order}&page=1"))
            })?);
            let id = format!("list-{sort}-{direction}-pages-p99");
            rows.push(latency(&id, LIST_SECONDS_MAX, LISTS, |turn| {
                // First and last pages, and those between.
                let page = u32::try_from(1 + u64::from(turn) * u64::from(last - 1) / u64::from(LISTS - 1))?;
                server::list(client, &format!("{order}&page={page}"))
            })?);
        }
        // Of all names, of a thousandth of them, of one, of none; and one too short for a trigram.
        for (what, part) in [
            ("all", "idle"),
            ("many", "idle-000"),
            ("some", "123"),
            ("one", "0000042"),
            ("none", "zzzz"),
            ("two-signs", "42"),
        ] {
            let query = format!("sort={sort}&search={part}&page=1");
            let id = format!("search-{what}-{sort}-p99");
            rows.push(latency(&id, LIST_SECONDS_MAX, LISTS, |_| server::list(client, &query))?);
        }
    }
    Ok(())
}

fn name(number: u32) -> String {
    format!("idle-{number:07}")
}

/// A row of the 99th percentile of `turns` turns, with the median in its note.
fn latency(id: &str, limit: f64, turns: u32, mut work: impl FnMut(u32) -> Result<u64>) -> Result<Row> {
    let mut taken = Vec::new();
    for turn in 0..turns {
        let began = Instant::now();
        work(turn)?;
        taken.push(began.elapsed());
    }
    taken.sort_unstable();
    let at = |hundredth: usize| -> Duration {
        taken.get(taken.len() * hundredth / 100).copied().unwrap_or_default()
    };
    let mut row = Row::new(id, Unit::Seconds, &[Bar::AtMost(limit)]);
    row.cairn.push(Ok(at(99).as_secs_f64()));
    row.notes.push(format!("median {:?}, slowest {:?}", at(50), taken.last().copied().unwrap_or_default()));
    Ok(row)
}
