//! Rows of REST on contents: files read, and commits made without a clone, a second.

use std::sync::Mutex;

use serde_json::json;

use crate::Result;
use crate::context::{Context, Source};
use crate::rates::{self, FSYNC, fsync_rate};
use crate::report::{Figure, Row, Unit};
use crate::server::{self, Server};

const READS: u32 = 5_000;
const COMMITS: u32 = 1_000;
/// Files that are read in turn.
const FILES: usize = 500;

/// Files of the default branch, read over many connections.
pub fn file(context: &mut Context) -> Result<Vec<Row>> {
    let source = context.source()?;
    let paths = paths(context, &source)?;
    let loaded = context.take_loaded()?;
    let mut row = Row::new("file", Unit::PerSecond, &[]);
    row.notes.push(format!("GET file of {} paths in turn", paths.len()));
    for round in 0..context.rounds {
        eprintln!("measuring file, round {}", round + 1);
        row.cairn.push(rates::rate(&loaded.server, READS, |client, number| {
            let path = paths.get(number as usize % paths.len()).ok_or("no path")?;
            server::read(client, &loaded.remote.name, path).map(drop)
        }));
    }
    context.put_back(loaded);
    Ok(vec![row])
}

/// The queries of some files of the default branch, taken evenly.
fn paths(context: &Context, source: &Source) -> Result<Vec<String>> {
    let listed = context.git.text(&["-C", &source.plain, "ls-tree", "-r", "--name-only", "-z", "HEAD"])?;
    let plain =
        |path: &&str| path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    let all: Vec<&str> = listed.split('\0').filter(|path| !path.is_empty()).filter(plain).collect();
    let step = all.len().div_ceil(FILES).max(1);
    let branch = source.default_branch.replace('/', "%2F");
    let paths: Vec<String> =
        all.iter().step_by(step).map(|path| format!("file?ref={branch}&path={path}")).collect();
    if paths.is_empty() { Err("the default branch holds no file".into()) } else { Ok(paths) }
}

/// Commits of one small file each, durable: to repositories of their own, and all to one branch in turn.
pub fn commits(context: &mut Context) -> Result<Vec<Row>> {
    let server = context.fresh_server()?;
    let mut apart = Row::new("commits-apart", Unit::PerSecond, &[]);
    let mut one = Row::new("commits-one-branch", Unit::PerSecond, &[]);
    for row in [&mut apart, &mut one] {
        row.stock.push(Figure::named(FSYNC));
    }
    for round in 0..context.rounds {
        eprintln!("measuring commits, round {}", round + 1);
        let names: Vec<String> = (0..rates::CONNECTIONS).map(|at| format!("commits-{round}-{at}")).collect();
        let alone = [format!("commits-{round}-alone")];
        for name in names.iter().chain(&alone) {
            server::create(&mut server.client(), name, "main")?;
        }
        for (row, names) in [(&mut apart, names.as_slice()), (&mut one, alone.as_slice())] {
            for figure in &mut row.stock {
                figure.push(fsync_rate(&server.data));
            }
            row.cairn.push(make(&server, names, round));
        }
    }
    Ok(vec![apart, one])
}

fn make(server: &Server, names: &[String], round: u32) -> Result<f64> {
    // Without an expected head, commits to one branch queue up: one writer each, so that none is refused.
    let turns: Vec<Mutex<()>> = names.iter().map(|_| Mutex::new(())).collect();
    rates::rate(server, COMMITS, |client, number| {
        let at = number as usize % names.len();
        let (name, turn) = names.get(at).zip(turns.get(at)).ok_or("no repository")?;
        let _held = turn.lock().map_err(|_| "a client thread panicked")?;
        let content = format!("file {number} of round {round}\n");
        let change = json!({ "path": format!("d{}/f{number}", number % 16), "content": content });
        let body = json!({ "branch": "main", "message": format!("commit {number}"), "changes": [change] });
        server::post(client, name, "commits", &body.to_string(), 201).map(drop)
    })
}
