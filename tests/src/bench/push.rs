//! Rows of the writing side: one push of everything, the disk it takes, and many refs listed.

use crate::Result;
use crate::context::{Context, Source, one_commit, push_body};
use crate::fetch::repeats;
use crate::pkt::ls_refs_body;
use crate::proc::disk_usage;
use crate::report::{Bar, Figure, Row, Unit};
use crate::server::{self, Server};
use crate::stock::{Input, Usage};

const RECEIVE: &str = "git receive-pack";
const UPLOAD: &str = "git upload-pack";
const REFS: u32 = 10_000;
const LISTINGS: u32 = 200;

/// The push rows: CPU, wall time and bytes on disk, paired round by round.
pub fn rows(context: &mut Context) -> Result<Vec<Row>> {
    let source = context.source()?;
    let against = |at_most| [Bar::Ratio { against: RECEIVE, at_most }];
    let mut cpu = Row::new("push-cpu", Unit::Seconds, &against(0.5));
    let mut wall = Row::new("push-wall", Unit::Seconds, &against(0.8));
    let mut disk = Row::new("disk", Unit::Bytes, &[]);
    let (mut stock_cpu, mut stock_wall, mut stock_disk) =
        (Figure::named(RECEIVE), Figure::named(RECEIVE), Figure::named("git, pack and indexes"));
    for round in 0..context.rounds {
        eprintln!("measuring push, round {}", round + 1);
        match cairn_push(context, &source, round == 0) {
            Ok((usage, bytes)) => {
                cpu.cairn.push(Ok(usage.cpu.as_secs_f64()));
                wall.cairn.push(Ok(usage.wall.as_secs_f64()));
                // The first round's server runs on, with journals that are not folded in yet.
                if round > 0 || context.rounds == 1 {
                    disk.cairn.push(Ok(bytes));
                }
            }
            Err(error) => cpu.cairn.push(Err(error)),
        }
        match stock_push(context, &source) {
            Ok((usage, bytes)) => {
                stock_cpu.push(Ok(usage.cpu.as_secs_f64()));
                stock_wall.push(Ok(usage.wall.as_secs_f64()));
                stock_disk.push(Ok(bytes));
            }
            Err(error) => stock_cpu.push(Err(error)),
        }
    }
    let index_pack = index_pack(context, &source);
    cpu.stock = vec![
        stock_cpu,
        Figure::one("git index-pack --strict", index_pack.map(|usage| usage.cpu.as_secs_f64())),
    ];
    wall.stock = vec![stock_wall];
    disk.stock = vec![stock_disk, Figure::one("the pack alone", Ok(source.pack_bytes as f64))];
    Ok(vec![cpu, wall, disk])
}

/// One push into an empty data folder. The first one stays as the loaded server of the fetch rows.
fn cairn_push(context: &mut Context, source: &Source, keep: bool) -> Result<(Usage, f64)> {
    if keep && let Some(usage) = context.load()? {
        let loaded = context.take_loaded()?;
        let bytes = disk_usage(&loaded.server.data)?.0;
        context.put_back(loaded);
        return Ok((usage, bytes as f64));
    }
    let mut server = context.fresh_server()?;
    let mut client = server.client();
    let remote = server::create(&mut client, "whole", &source.default_branch)?;
    let usage = server.measure(1, || server::push(&mut client, &remote, &server::push_file(&source.push)))?;
    // A closed server has folded its journals into the files.
    server.stop();
    let bytes = disk_usage(&server.data)?.0;
    std::fs::remove_dir_all(&server.data)?;
    Ok((usage, bytes as f64))
}

fn stock_push(context: &mut Context, source: &Source) -> Result<(Usage, f64)> {
    let repo = context.empty_stock()?;
    let usage =
        context.git.measure(&["receive-pack", "--stateless-rpc", &repo], Input::File(&source.push), 1)?;
    let packs = format!("{repo}/objects");
    let bytes = disk_usage(packs.as_ref())?.0;
    std::fs::remove_dir_all(repo)?;
    Ok((usage, bytes as f64))
}

fn index_pack(context: &mut Context, source: &Source) -> Result<Usage> {
    let repo = context.empty_stock()?;
    let usage = context.git.measure(
        &["-C", &repo, "index-pack", "--stdin", "--strict"],
        Input::File(&source.pack),
        1,
    )?;
    std::fs::remove_dir_all(repo)?;
    Ok(usage)
}

/// The listing of one ref among many, per request.
pub fn ls_refs(context: &mut Context) -> Result<Vec<Row>> {
    eprintln!("measuring ls-refs");
    let seed = context.fresh("seed");
    let (repo, tip) = one_commit(&context.git, &seed)?;
    let names: Vec<String> = (0..REFS).map(|number| format!("refs/heads/topic/{number:05}")).collect();
    let refs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), tip.as_str())).collect();
    let body = push_body(&context.git, &repo, &refs)?;
    let created: String = names.iter().map(|name| format!("create {name} {tip}\n")).collect();
    context.git.output(&["-C", &repo, "update-ref", "--stdin"], Input::Bytes(created.as_bytes()))?;
    context.git.output(&["-C", &repo, "pack-refs", "--all"], Input::Nothing)?;

    let ask = ls_refs_body("refs/heads/topic/04217");
    let mut row = Row::new("ls-refs", Unit::Seconds, &[Bar::AtMost(0.001)]);
    let mut stock = Figure::named(UPLOAD);
    let server = many_refs(context, &body);
    for _ in 0..context.rounds {
        row.cairn.push(match &server {
            Ok((server, remote)) => {
                let mut client = server.client();
                let usage = server.measure(LISTINGS, || {
                    let answer = server::upload_pack(&mut client, remote, &ask)?.body()?;
                    let right =
                        answer.windows(tip.len()).filter(|bytes| *bytes == tip.as_bytes()).count() == 1;
                    if right { Ok(answer.len() as u64) } else { Err("not exactly one ref was listed".into()) }
                });
                usage.map(|usage| usage.cpu.as_secs_f64())
            }
            Err(error) => Err(error.to_string().into()),
        });
        let args = ["upload-pack", "--stateless-rpc", &repo];
        let probe = context.git.measure(&args, Input::Bytes(&ask), 1)?;
        let usage = context.git.measure(&args, Input::Bytes(&ask), repeats(probe));
        stock.push(usage.map(|usage| usage.cpu.as_secs_f64()));
    }
    row.stock = vec![stock];
    Ok(vec![row])
}

fn many_refs(context: &mut Context, body: &[u8]) -> Result<(Server, server::Remote)> {
    let server = context.fresh_server()?;
    let mut client = server.client();
    let remote = server::create(&mut client, "refs", "main")?;
    server::push(&mut client, &remote, &server::push_bytes(body))?;
    Ok((server, remote))
}
