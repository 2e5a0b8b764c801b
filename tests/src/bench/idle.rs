//! Rows of many connections: what a tiny clone takes while thousands of others say nothing, or next to nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Result;
use crate::context::{Context, one_commit, push_body};
use crate::pkt::{FetchRequest, ls_refs_body};
use crate::proc::status_bytes;
use crate::report::{Bar, Figure, Row, Unit};
use crate::server::{self, Remote, Server};

const IDLE: usize = 10_000;
const SLOW: usize = 200;
const CLONES: u32 = 500;
/// Between two bytes of a slow client.
const SLOW_STEP: Duration = Duration::from_secs(1);
const RATIO_MAX: f64 = 3.0;
const UNLOADED: &str = "unloaded";

/// Percentiles of tiny clones, each over a new connection, unloaded and beside `IDLE` connections that say nothing and
/// `SLOW` that send a byte a second.
pub fn rows(context: &mut Context) -> Result<Vec<Row>> {
    // The sockets' other ends are in this process.
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    let server = context.fresh_server()?;
    let path = context.fresh("tiny");
    let (repo, tip) = one_commit(&context.git, &path)?;
    let body = push_body(&context.git, &repo, &[("refs/heads/main", &tip)])?;
    let remote = server::create(&mut server.client(), "tiny", "main")?;
    server::push(&mut server.client(), &remote, &server::push_bytes(&body))?;
    let bar = [Bar::Ratio { against: UNLOADED, at_most: RATIO_MAX }];
    let mut middle = Row::new("tiny-clone-p50-idle-10000", Unit::Seconds, &[]);
    let mut slowest = Row::new("tiny-clone-p99-idle-10000", Unit::Seconds, &bar);
    let mut memory = Row::new("rss-idle-10000", Unit::Bytes, &[]);
    for (row, name) in [(&mut middle, UNLOADED), (&mut slowest, UNLOADED), (&mut memory, "without them")] {
        row.stock.push(Figure::named(name));
    }
    clones(&server, &remote, &tip)?;
    for round in 0..context.rounds {
        eprintln!("measuring idle, round {}", round + 1);
        let before = status_bytes(server.pid(), "VmRSS")?;
        let unloaded = clones(&server, &remote, &tip)?;
        let idle = (0..IDLE).map(|_| idle(&server)).collect::<Result<Vec<_>>>()?;
        let slow = (0..SLOW).map(|_| slow(&server, &remote)).collect::<Result<Vec<_>>>()?;
        let (loaded, open, rss) = beside(slow, || {
            let loaded = clones(&server, &remote, &tip)?;
            Ok((loaded, server::gauge(&server, "cairn_connections")?, status_bytes(server.pid(), "VmRSS")?))
        })?;
        drop(idle);
        memory.notes.push(format!("{open} connections were open at the end of round {}", round + 1));
        for (row, [unloaded, loaded]) in [
            (&mut middle, [unloaded.0, loaded.0]),
            (&mut slowest, [unloaded.1, loaded.1]),
            (&mut memory, [before as f64, rss as f64]),
        ] {
            row.cairn.push(Ok(loaded));
            row.stock.iter_mut().for_each(|figure| figure.push(Ok(unloaded)));
        }
    }
    Ok(vec![middle, slowest, memory])
}

/// The 50th and the 99th of a hundred clones, in seconds.
fn clones(server: &Server, remote: &Remote, tip: &str) -> Result<(f64, f64)> {
    let refs = ls_refs_body("");
    let wants = [tip.to_owned()];
    let fetch = FetchRequest { wants: &wants, ..FetchRequest::default() }.body();
    let mut took = Vec::new();
    for _ in 0..CLONES {
        let began = Instant::now();
        let mut client = server.client();
        server::upload_pack(&mut client, remote, &refs)?.discard()?;
        server::upload_pack(&mut client, remote, &fetch)?.discard()?;
        took.push(began.elapsed().as_secs_f64());
    }
    took.sort_by(f64::total_cmp);
    let nth = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
    Ok((nth(50), nth(99)))
}

/// A connection that asked once and may ask again.
fn idle(server: &Server) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server.addr())?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: cairn\r\n\r\n")?;
    let mut answer = [0; 4_096];
    let len = stream.read(&mut answer)?;
    if !answer.get(..len).unwrap_or_default().starts_with(b"HTTP/1.1 200 ") {
        return Err("an idle connection was not served".into());
    }
    Ok(stream)
}

/// A push whose body has begun.
fn slow(server: &Server, remote: &Remote) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server.addr())?;
    stream.write_all(server::push_head(remote, 1 << 20).as_bytes())?;
    Ok(stream)
}

/// Does `work` while a byte goes over each of `slow` now and then.
fn beside<T>(mut slow: Vec<TcpStream>, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let drips = scope.spawn(|| {
            while !ended.load(Ordering::Acquire) {
                for stream in &mut slow {
                    stream.write_all(b"0")?;
                }
                std::thread::park_timeout(SLOW_STEP);
            }
            std::io::Result::Ok(())
        });
        let done = work();
        ended.store(true, Ordering::Release);
        drips.thread().unpark();
        drips.join().map_err(|_| "a slow client panicked")??;
        done
    })
}
