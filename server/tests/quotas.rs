//! Size quotas: what would be too much is refused as a whole, in words that say why.

#[path = "support/server.rs"]
mod support;

use cairn_protocol::object::{HashAlgo, Kind, ObjectId};
use cairn_protocol::pack::{PackBytes, PackWriter};
use cairn_protocol::receive_pack::{Command, PushRequest};
use cairn_server::config::{Bounds, Config};
use cairn_server::error::{Error, code};
use cairn_server::ops::push::{By, Pushed, push};
use cairn_server::ops::quota::Allowed;
use cairn_server::ops::spool::Spool;
use cairn_server::ops::{OpError, Served};
use cairn_server::store::repo::EntryKind;
use support::Server;

fn server(repo_bytes_max: Option<u64>, namespace_bytes_max: Option<u64>) -> Server {
    let bounds = Bounds { size: Allowed { repo_bytes_max, namespace_bytes_max }, ..Bounds::default() };
    Server::with(|config| Config { bounds, ..config })
}

/// A pack of one blob that does not compress, and the blob's id.
fn pack(server: &Server, seed: u64, bytes: usize) -> (Spool, ObjectId) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(bytes)
    .collect();
    let mut writer = PackWriter::new(HashAlgo::Sha1);
    let id = writer.add(Kind::Blob, &noise).expect("no collision");
    let mut spool = Spool::default();
    spool.write(&server.app.spool_dir(), &writer.finish().expect("no collision")).expect("kept");
    (spool, id)
}

async fn served(server: &Server, ns: &str, name: &str) -> Served {
    let row = server.app.catalog.resolve(ns, name).await.expect("an answer").expect("a repository");
    server.app.served(&row).expect("a repository")
}

fn request(id: ObjectId, name: &str) -> PushRequest {
    let command = Command { old: ObjectId::null(HashAlgo::Sha1), new: id, name: name.as_bytes().to_vec() };
    PushRequest { commands: vec![command], ..PushRequest::default() }
}

async fn try_push(
    server: &Server,
    (ns, name): (&str, &str),
    seed: u64,
    bytes: usize,
) -> Result<Pushed, OpError> {
    let (spool, id) = pack(server, seed, bytes);
    let (served, request) = (served(server, ns, name).await, request(id, &format!("refs/tags/t{seed}")));
    let by = By { kind: EntryKind::Push, actor: "tests".into(), time_ms: 0, nonce: [0; 16] };
    let done = tokio::task::spawn_blocking(move || push(&served, &request, Some(&spool), by, &mut |_| {}));
    let done = done.await.expect("no panic");
    if done.as_ref().is_ok_and(|pushed| pushed.seq.is_some()) {
        let row = server.app.catalog.resolve(ns, name).await.expect("an answer").expect("a repository");
        server.app.catalog.touched(row.id, 0).await.expect("noted");
    }
    done
}

fn refused(done: Result<Pushed, OpError>, what: &str) {
    let error = match done {
        Ok(_) => panic!("it passed"),
        Err(error) => error,
    };
    assert!(error.for_peer().starts_with(&format!("size quota: the {what} holds ")), "{error}");
    let error = Error::from(error);
    assert_eq!((error.code, error.status.unwrap_or(error.code.status)), (code::QUOTA_EXCEEDED, 422));
}

#[tokio::test]
async fn a_repository_takes_its_quota_and_not_a_byte_more() {
    let (probe, _) = pack(&Server::new(), 1, 1_000);
    let one = probe.len();
    let server = server(Some(2 * one), None);
    server.repo("a", "b").await;
    for seed in [1, 2] {
        assert!(try_push(&server, ("a", "b"), seed, 1_000).await.is_ok_and(|done| done.seq == Some(seed)));
    }
    refused(try_push(&server, ("a", "b"), 3, 1).await, "repository");
    let snapshot = served(&server, "a", "b").await.repo.snapshot(None).expect("a snapshot");
    assert_eq!((snapshot.seq(), snapshot.own_bytes().expect("known")), (2, 2 * one), "nothing is kept");
    assert_eq!(snapshot.refs_count().expect("counted"), 2);

    let fork = server.post("/namespaces/a/repos/b/fork", r#"{"name":"f"}"#).await;
    assert_eq!(fork.status, 201);
    assert!(try_push(&server, ("a", "f"), 3, 1_000).await.is_ok(), "the base's bytes are not the fork's");
}

#[tokio::test]
async fn a_namespace_counts_all_its_live_repositories() {
    let (probe, _) = pack(&Server::new(), 1, 1_000);
    let server = server(None, Some(2 * probe.len()));
    for (ns, name) in [("a", "x"), ("a", "y"), ("b", "z")] {
        server.repo(ns, name).await;
    }
    assert!(try_push(&server, ("a", "x"), 1, 1_000).await.is_ok());
    assert!(try_push(&server, ("A", "y"), 2, 1_000).await.is_ok());
    assert_eq!(server.app.catalog.namespace_bytes("a".into()).await.expect("known"), 2 * probe.len());
    refused(try_push(&server, ("a", "y"), 3, 10).await, "namespace");
    assert!(try_push(&server, ("b", "z"), 3, 1_000).await.is_ok(), "another namespace has its own");
    assert_eq!(server.ask("DELETE", "/namespaces/a/repos/x", "").await.status, 202);
    assert_eq!(server.app.catalog.namespace_bytes("a".into()).await.expect("known"), probe.len());
    assert!(try_push(&server, ("a", "y"), 3, 1_000).await.is_ok(), "a deleted one makes room");

    let server = server.restart();
    assert_eq!(server.app.catalog.namespace_bytes("a".into()).await.expect("known"), 2 * probe.len());
}

#[tokio::test]
async fn pushes_at_once_do_not_pass_together_what_one_could_not() {
    let (probe, _) = pack(&Server::new(), 1, 100_000);
    let server = std::sync::Arc::new(server(Some(3 * probe.len()), Some(3 * probe.len())));
    server.repo("a", "b").await;
    let all: Vec<_> = (1..=8)
        .map(|seed| {
            let server = std::sync::Arc::clone(&server);
            tokio::spawn(async move { try_push(&server, ("a", "b"), seed, 100_000).await.is_ok() })
        })
        .collect();
    let mut passed = 0;
    for one in all {
        passed += u64::from(one.await.expect("no panic"));
    }
    let snapshot = served(&server, "a", "b").await.repo.snapshot(None).expect("a snapshot");
    assert!((1..=3).contains(&passed), "{passed} passed");
    assert_eq!(snapshot.own_bytes().expect("known"), passed * probe.len());
    assert_eq!(server.app.catalog.namespace_bytes("a".into()).await.expect("known"), passed * probe.len());
    for seed in 11..=13 {
        let has_room = passed < 3;
        let one = try_push(&server, ("a", "b"), seed, 100_000).await;
        assert_eq!(one.is_ok(), has_room, "what was held is free again");
        passed += u64::from(has_room);
    }
}
