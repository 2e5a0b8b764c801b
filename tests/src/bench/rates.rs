//! Rows of small durable writes over many connections, beside what the disk's fsync allows.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Result;
use crate::context::{Context, clients, commit_script, one_commit, push_body, utf8};
use crate::http::Client;
use crate::report::{Bar, Figure, Row, Unit};
use crate::server::{self, Remote, Server};
use crate::stock::Input;

pub const CONNECTIONS: usize = 16;
const CREATES: u32 = 4_000;
const PUSHES: u32 = 1_000;
const FSYNC_WINDOW: Duration = Duration::from_millis(700);
pub const FSYNC: &str = "4 KiB fdatasync";

/// Create, fork and tiny push per second.
pub fn rows(context: &mut Context) -> Result<Vec<Row>> {
    let bodies = tiny_pushes(context)?;
    let limit = |least| [Bar::AtLeast(least)];
    let mut create = Row::new("create", Unit::PerSecond, &limit(2000.0));
    let mut fork = Row::new("fork", Unit::PerSecond, &limit(2000.0));
    let mut fresh = Row::new("tiny-push-fresh", Unit::PerSecond, &limit(300.0));
    let mut same = Row::new("tiny-push-one-repo", Unit::PerSecond, &limit(300.0));
    // The base that is forked is the whole repository where other rows loaded it: the size must not matter.
    let mut loaded = context.take_loaded();
    for round in 0..context.rounds {
        eprintln!("measuring rates, round {}", round + 1);
        let Ok(loaded) = &mut loaded else { break };
        let server = &loaded.server;
        let names = |kind: &str, number: u32| format!("{kind}-{round}-{number}");
        for row in [&mut create, &mut fork, &mut fresh, &mut same] {
            if row.stock.is_empty() {
                row.stock.push(Figure::named(FSYNC));
            }
            let fsync = fsync_rate(&server.data);
            row.stock
                .iter_mut()
                .for_each(|figure| figure.push(fsync.as_ref().copied().map_err(|e| e.to_string().into())));
            let rate = match row.id.as_str() {
                "create" => rate(server, CREATES, |client, n| {
                    server::create(client, &names("c", n), "main").map(drop)
                }),
                "fork" => rate(server, CREATES, |client, n| {
                    server::fork(client, &loaded.remote.name, &names("f", n)).map(drop)
                }),
                "tiny-push-fresh" => push_fresh(server, &bodies, &|n| names("p", n)),
                _ => push_one(server, &bodies, &names("one", 0)),
            };
            row.cairn.push(rate);
        }
    }
    match loaded {
        Ok(loaded) => context.put_back(loaded),
        Err(error) => create.cairn.push(Err(error)),
    }
    Ok(vec![create, fork, fresh, same])
}

/// Runs `work` for the numbers below `count`, spread over the connections; answers how many a second.
pub fn rate(
    server: &Server,
    count: u32,
    work: impl Fn(&mut Client, u32) -> Result<()> + Sync,
) -> Result<f64> {
    let step = CONNECTIONS;
    let mut connections = clients(server, step);
    let work = &work;
    let began = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = connections
            .iter_mut()
            .enumerate()
            .map(|(first, client)| {
                scope.spawn(move || {
                    (0..count).skip(first).step_by(step).try_for_each(|number| work(client, number))
                })
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_| "a client thread panicked")??;
        }
        Ok(f64::from(count) / began.elapsed().as_secs_f64())
    })
}

/// Every push goes to its own, so far empty repository.
fn push_fresh(server: &Server, bodies: &[Vec<u8>], name: &dyn Fn(u32) -> String) -> Result<f64> {
    let mut client = server.client();
    let mut remotes = Vec::new();
    for number in 0..PUSHES {
        remotes.push(server::create(&mut client, &name(number), "main")?);
    }
    rate(server, PUSHES, |client, number| push_number(client, remotes.get(number as usize), bodies, number))
}

/// Every push creates its own ref of one repository.
fn push_one(server: &Server, bodies: &[Vec<u8>], name: &str) -> Result<f64> {
    let remote = server::create(&mut server.client(), name, "main")?;
    rate(server, PUSHES, |client, number| push_number(client, Some(&remote), bodies, number))
}

fn push_number(client: &mut Client, remote: Option<&Remote>, bodies: &[Vec<u8>], number: u32) -> Result<()> {
    let (remote, body) = remote.zip(bodies.get(number as usize)).ok_or("fewer packs than pushes")?;
    server::push(client, remote, &server::push_bytes(body)).map(drop)
}

/// Ready bodies of pushes that bring a blob, a tree and a commit each.
fn tiny_pushes(context: &mut Context) -> Result<Vec<Vec<u8>>> {
    eprintln!("preparing {PUSHES} tiny pushes");
    let path = context.fresh("tiny");
    one_commit(&context.git, &path)?;
    let repo = utf8(&path)?;
    let script: String = (1..PUSHES).map(commit_script).collect();
    context.git.output(&["-C", &repo, "fast-import", "--quiet"], Input::Bytes(script.as_bytes()))?;
    let listed = context.git.text(&["-C", &repo, "for-each-ref", "--format=%(refname) %(objectname)"])?;
    listed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, oid)| push_body(&context.git, &repo, &[(name, oid)]))
        .collect()
}

/// Overwrites of one block in the data folder, each made durable, per second.
pub fn fsync_rate(folder: &Path) -> Result<f64> {
    let path = folder.join("fsync-probe");
    let file = File::create(&path)?;
    let block = [0x5a_u8; 4096];
    file.write_all_at(&block, 0)?;
    file.sync_all()?;
    let began = Instant::now();
    let mut count = 0_u32;
    while began.elapsed() < FSYNC_WINDOW {
        file.write_all_at(&block, 0)?;
        file.sync_data()?;
        count += 1;
    }
    let rate = f64::from(count) / began.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}
