//! Rows of memory: the server's peak while pushing and cloning.

use crate::Result;
use crate::context::{Context, Source, clients};
use crate::pkt::FetchRequest;
use crate::proc::status_bytes;
use crate::report::{Bar, Figure, Row, Unit};
use crate::server::{self, Server};
use crate::stock::Input;

const AT_ONCE: usize = 8;
const RSS_ONE_BYTES_MAX: f64 = 96.0 * 1_048_576.0;
const RSS_EIGHT_BYTES_MAX: f64 = 384.0 * 1_048_576.0;

/// Peak memory of one and of eight pushes and clones, and of eight of both at once; a new process for each.
pub fn peaks(context: &mut Context) -> Result<Vec<Row>> {
    let source = context.source()?;
    let mut rows = Vec::new();
    let mut server = context.fresh_server();
    for (id, count) in
        [("rss-push-1", 1), ("rss-push-8", AT_ONCE), ("rss-clone-1", 1), ("rss-clone-8", AT_ONCE)]
    {
        eprintln!("measuring {id}");
        let limit = if count == 1 { RSS_ONE_BYTES_MAX } else { RSS_EIGHT_BYTES_MAX };
        let mut row = Row::new(id, Unit::Bytes, &[Bar::AtMost(limit)]);
        let pushes = id.starts_with("rss-push");
        row.cairn.push(match &mut server {
            Ok(server) if pushes => push_peak(context, server, &source, id, count),
            Ok(server) => clone_peak(context, server, &source, count),
            Err(error) => Err(error.to_string().into()),
        });
        if context.memory_alone {
            rows.push(row);
            continue;
        }
        let stock = if pushes {
            stock_push_peak(context, &source, count)
        } else {
            stock_clone_peak(context, &source, count)
        };
        row.stock.push(Figure::one("git processes, sampled", stock.map(|bytes| bytes as f64)));
        rows.push(row);
    }
    eprintln!("measuring rss-both-8");
    let mut row = Row::new("rss-both-8", Unit::Bytes, &[Bar::AtMost(RSS_EIGHT_BYTES_MAX)]);
    row.cairn.push(match &mut server {
        Ok(server) => both_peak(context, server, &source),
        Err(error) => Err(error.to_string().into()),
    });
    rows.push(row);
    Ok(rows)
}

fn push_peak(context: &Context, server: &mut Server, source: &Source, id: &str, count: usize) -> Result<f64> {
    let mut remotes = Vec::new();
    for number in 0..count {
        remotes.push(server::create(
            &mut server.client(),
            &format!("{id}-{number}"),
            &source.default_branch,
        )?);
    }
    context.restart(server)?;
    at_once(server, &remotes, |client, remote| {
        server::push(client, remote, &server::push_file(&source.push)).map(drop)
    })?;
    server.settle()?;
    Ok(status_bytes(server.pid(), "VmHWM")? as f64)
}

fn both_peak(context: &Context, server: &mut Server, source: &Source) -> Result<f64> {
    let mut remotes = Vec::new();
    for number in 0..AT_ONCE {
        let name = format!("rss-both-{number}");
        remotes.push((server::create(&mut server.client(), &name, &source.default_branch)?, true));
        let base = format!("rss-push-{AT_ONCE}-{number}");
        remotes.push((server::fork(&mut server.client(), &base, &format!("rss-both-fork-{number}"))?, false));
    }
    context.restart(server)?;
    let body = FetchRequest { wants: &source.wants, ..FetchRequest::default() }.body();
    at_once(server, &remotes, |client, (remote, pushes)| match pushes {
        true => server::push(client, remote, &server::push_file(&source.push)).map(drop),
        false => server::upload_pack(client, remote, &body)?.discard().map(drop),
    })?;
    server.settle()?;
    Ok(status_bytes(server.pid(), "VmHWM")? as f64)
}

fn clone_peak(context: &Context, server: &mut Server, source: &Source, count: usize) -> Result<f64> {
    // Eight repositories of eight pushes: eight clones of one would share their plan.
    let mut remotes = Vec::new();
    for number in 0..count {
        let name = format!("rss-push-{AT_ONCE}-{number}");
        let fork = format!("rss-clone-{count}-{number}");
        remotes.push(server::fork(&mut server.client(), &name, &fork)?);
    }
    context.restart(server)?;
    let body = FetchRequest { wants: &source.wants, ..FetchRequest::default() }.body();
    at_once(server, &remotes, |client, remote| {
        server::upload_pack(client, remote, &body)?.discard().map(drop)
    })?;
    Ok(status_bytes(server.pid(), "VmHWM")? as f64)
}

fn at_once<R: Sync>(
    server: &Server,
    remotes: &[R],
    work: impl Fn(&mut crate::http::Client, &R) -> Result<()> + Sync,
) -> Result<()> {
    let mut connections = clients(server, remotes.len());
    let work = &work;
    std::thread::scope(|scope| {
        let pairs = connections.iter_mut().zip(remotes);
        let threads: Vec<_> =
            pairs.map(|(client, remote)| scope.spawn(move || work(client, remote))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a client thread panicked")?)
    })
}

fn stock_push_peak(context: &mut Context, source: &Source, count: usize) -> Result<u64> {
    let repos = (0..count).map(|_| context.empty_stock()).collect::<Result<Vec<_>>>()?;
    let jobs: Vec<Vec<&str>> =
        repos.iter().map(|repo| vec!["receive-pack", "--stateless-rpc", repo]).collect();
    let peak = context.git.peak_rss(&jobs, Input::File(&source.push));
    for repo in repos {
        std::fs::remove_dir_all(repo)?;
    }
    peak
}

fn stock_clone_peak(context: &Context, source: &Source, count: usize) -> Result<u64> {
    let body = FetchRequest { wants: &source.wants, ..FetchRequest::default() }.body();
    let jobs = vec![vec!["upload-pack", "--stateless-rpc", source.bitmap.as_str()]; count];
    context.git.peak_rss(&jobs, Input::Bytes(&body))
}
