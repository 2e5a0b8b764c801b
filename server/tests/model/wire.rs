//! Pushes and fetches against a server in process.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;
use cairn_conformance::pack::{DELIM, FLUSH, ZERO, pkt, pkt_lines};
use cairn_conformance::wire::{Command, push_body};
use cairn_protocol::pack::{IndexOptions, LinksOnly, scan};
use http_body_util::BodyExt;
use tower_service::Service;

use super::objects::{ALGO, Id, Objects};
use super::support::Server;

pub async fn post(
    edge: &cairn_server::edge::Edge,
    (namespace, name): (&str, &str),
    token: &str,
    service: &str,
    body: Vec<u8>,
) -> (u16, Vec<u8>) {
    let request = Request::builder()
        .method("POST")
        .uri(format!("/git/{namespace}/{name}.git/git-{service}"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", format!("application/x-git-{service}-request"))
        .header("git-protocol", "version=2");
    let request = request.body(Body::from(body)).expect("a request");
    let response = edge.clone().call(request).await.expect("edges do not fail");
    let status = response.status().as_u16();
    (status, response.into_body().collect().await.expect("a body").to_bytes().to_vec())
}

/// A ref, what it is expected to be, and what it becomes.
pub type Move = (String, Option<Id>, Option<Id>);

/// What became of each command, in order.
pub async fn push(
    edge: &cairn_server::edge::Edge,
    namespace: &str,
    (name, token): (&str, &str),
    moves: &[Move],
    pack: &[u8],
    atomic: bool,
) -> Result<Vec<bool>, String> {
    let side = |id: &'_ Option<Id>| id.clone().unwrap_or_else(|| ZERO.to_owned());
    let ids: Vec<(String, String)> = moves.iter().map(|(_, old, new)| (side(old), side(new))).collect();
    let commands: Vec<Command> = moves
        .iter()
        .zip(&ids)
        .map(|((name, ..), (old, new))| Command { old, new, name: name.as_bytes() })
        .collect();
    let capabilities = if atomic { "report-status atomic" } else { "report-status" };
    let (status, body) =
        post(edge, (namespace, name), token, "receive-pack", push_body(&commands, capabilities, pack)).await;
    let lines: Vec<String> =
        pkt_lines(&body).iter().map(|line| String::from_utf8_lossy(line).trim_end().to_owned()).collect();
    let taken = |(name, ..): &Move| lines.contains(&format!("ok {name}"));
    match status == 200 && lines.iter().any(|line| line == "unpack ok") {
        true => Ok(moves.iter().map(taken).collect()),
        false => Err(format!("push: status {status}: {lines:?}")),
    }
}

/// What is asked for beside the wants.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    pub haves: Vec<Id>,
    pub blobless: bool,
    pub depth: bool,
    pub at: Option<u64>,
}

/// The ids in the pack; the error is what the server says, or what is wrong with the pack.
pub async fn fetch(
    server: &Server,
    objects: &Objects,
    (name, token): (&str, &str),
    wants: &BTreeSet<Id>,
    wish: &Wish,
) -> Result<BTreeSet<Id>, String> {
    let mut body = pkt("command=fetch\n");
    if let Some(at) = wish.at {
        body.extend(pkt(format!("server-option=at={at}\n")));
    }
    body.extend_from_slice(DELIM);
    body.extend(pkt("no-progress\n"));
    body.extend(pkt("ofs-delta\n"));
    for want in wants {
        body.extend(pkt(format!("want {want}\n")));
    }
    for have in &wish.haves {
        body.extend(pkt(format!("have {have}\n")));
    }
    if wish.blobless {
        body.extend(pkt("filter blob:none\n"));
    }
    if wish.depth {
        body.extend(pkt("deepen 1\n"));
    }
    body.extend(pkt("done\n"));
    body.extend_from_slice(FLUSH);
    let (status, answer) = post(&server.edge, ("t", name), token, "upload-pack", body).await;
    let lines = pkt_lines(&answer);
    let start = lines.iter().position(|line| line == b"packfile\n" || line == b"packfile");
    let Some(start) = start.filter(|_| status == 200) else {
        return Err(format!("fetch: status {status}: {}", String::from_utf8_lossy(&answer)));
    };
    let mut pack = Vec::new();
    for line in &lines[start + 1..] {
        match line.split_first() {
            Some((1, data)) => pack.extend_from_slice(data),
            Some((3, why)) => return Err(format!("fetch: {}", String::from_utf8_lossy(why))),
            _ => {}
        }
    }
    let options = IndexOptions {
        algo: ALGO,
        cache_bytes: 1 << 20,
        object_bytes_max: 64 << 20,
        objects_max: 1 << 20,
        fsck: false,
    };
    let wrong = |why: cairn_protocol::pack::PackError| format!("the pack is wrong: {why}");
    let scanned = scan(&pack, &options, &mut |_, _| {}).map_err(wrong)?;
    let resolver = scanned.resolver(&pack, objects, &LinksOnly).map_err(wrong)?;
    resolver.work().map_err(wrong)?;
    let indexed = resolver.finish().map_err(wrong)?;
    Ok(indexed.entries().map(|entry| entry.id.to_string()).collect())
}
