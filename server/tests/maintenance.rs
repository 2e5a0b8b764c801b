//! Maintenance beside requests: by size and by age, under clones that take their time, and what is told of it.

#[path = "support/server.rs"]
mod support;
#[path = "support/upkeep.rs"]
mod upkeep;

use std::collections::BTreeSet;

use axum::body::Body;
use cairn_conformance::pack::pkt_lines;
use cairn_protocol::object::HashAlgo;
use cairn_protocol::pack::{IndexOptions, LinksOnly, NothingKnown, scan};
use cairn_server::jobs::maintenance::{Looked, look};
use cairn_server::limits::{MAINTAIN_QUIET_MS, MAINTAIN_RETRY_MS};
use cairn_server::store::Files;
use cairn_server::store::repo::fsck::fsck;
use cairn_server::store::repo::limits::ROLL_TIER_PACKS;
use http_body_util::BodyExt;
use serde_json::json;
use support::Server;
use upkeep::{assert_sound, clone_begun, pass};

const MANY: u64 = ROLL_TIER_PACKS as u64;

/// A commit of a file of so many bytes that hardly compress.
async fn commit(server: &Server, name: &str, nth: u64, bytes: usize) -> String {
    let mut state = nth.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + u8::try_from(state % 64).expect("below 64"))
    };
    let content: String = (0..bytes).map(letter).collect();
    let body = json!({ "branch": "main", "message": format!("m{nth}"),
        "changes": [{ "path": format!("f{nth}"), "content": content }] });
    let made = server.post(&format!("/namespaces/t/repos/{name}/commits"), &body.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made.text("hash")
}

#[tokio::test]
async fn many_small_packs_are_rolled_without_waiting_for_a_quiet_time() {
    let server = Server::new();
    server.repo("t", "x").await;
    server.append("t", "x", MANY - 1).await;
    assert_eq!(look(&server.app).await, Looked::default(), "one less than many");
    server.append("t", "x", 1).await;
    let repo = server.repository("t", "x").await;
    assert_eq!(repo.loose_packs().expect("a file"), ROLL_TIER_PACKS);
    assert_eq!(look(&server.app).await, Looked { repos: 1, failed: 0 });
    assert_eq!(repo.loose_packs().expect("a file"), 0);
    assert_eq!(look(&server.app).await, Looked::default(), "nothing is left to do");
    assert_sound(&server, "x").await;
}

#[tokio::test]
async fn each_entry_is_rolled_as_often_as_there_are_tiers_and_no_more() {
    let server = Server::new();
    server.repo("t", "x").await;
    let (mut packs_in, mut packs_out) = (0, 0);
    let repo = server.repository("t", "x").await;
    let want = cairn_server::store::repo::Want::Tiers(4);
    for _ in 0..64 {
        server.append("t", "x", 1).await;
        while let Some(rolled) = repo.roll_step(want).expect("rolls") {
            packs_in += rolled.packs_in;
            packs_out += rolled.packs_out;
        }
    }
    // 64 into 16, those into 4, those into 1.
    assert_eq!((packs_in, packs_out), (64 + 16 + 4, 16 + 4 + 1));
    assert_sound(&server, "x").await;
}

#[tokio::test]
async fn a_quiet_repository_is_maintained_once_for_each_time_that_it_was_pushed_to() {
    let server = Server::new();
    server.repo("t", "x").await;
    server.repo("t", "never-pushed").await;
    for nth in 0..5 {
        commit(&server, "x", nth, 20_000).await;
    }
    let repo = server.repository("t", "x").await;
    assert_eq!(look(&server.app).await, Looked::default(), "it may be pushed to again at any moment");
    pass(&server, MAINTAIN_QUIET_MS);
    assert_eq!(look(&server.app).await, Looked { repos: 1, failed: 0 });
    assert_eq!(repo.loose_packs().expect("a file"), 0);
    assert_eq!(look(&server.app).await, Looked::default());
    let server = server.restart();
    pass(&server, 10 * MAINTAIN_QUIET_MS);
    assert_eq!(look(&server.app).await, Looked::default(), "what was done is known after a restart");
    commit(&server, "x", 9, 100).await;
    pass(&server, MAINTAIN_QUIET_MS);
    assert_eq!(look(&server.app).await, Looked { repos: 1, failed: 0 });
    assert_sound(&server, "x").await;
}

#[tokio::test]
async fn what_failed_is_tried_again_without_a_push() {
    let server = Server::new();
    server.repo("t", "x").await;
    for nth in 0..3 {
        commit(&server, "x", nth, 100).await;
    }
    let row = server.app.catalog.resolve("t", "x").await.expect("an answer").expect("a repository");
    let (id, server) = (row.id.to_string(), server.restart());
    let file = server.folder.path().join(format!("repos/{}/{}/{id}.sqlite", &id[..2], &id[2..4]));
    let aside = file.with_extension("aside");
    std::fs::rename(&file, &aside).expect("it is moved");
    std::fs::write(&file, "no database at all").expect("written");
    pass(&server, MAINTAIN_QUIET_MS);
    assert_eq!(look(&server.app).await, Looked { repos: 1, failed: 1 });
    assert_eq!(look(&server.app).await, Looked::default(), "not again and again");
    let pause = MAINTAIN_RETRY_MS.unsigned_abs();
    pass(&server, pause);
    assert_eq!(look(&server.app).await, Looked { repos: 1, failed: 1 }, "it fails again");
    std::fs::rename(&aside, &file).expect("it is put back");
    pass(&server, 2 * pause - 1);
    assert_eq!(look(&server.app).await, Looked::default(), "the second pause is twice as long");
    pass(&server, 1);
    assert_eq!(look(&server.app).await, Looked { repos: 1, failed: 0 });
    assert_eq!(server.repository("t", "x").await.loose_packs().expect("a file"), 0);
    pass(&server, 100 * pause);
    assert_eq!(look(&server.app).await, Looked::default(), "it is done");
    assert_sound(&server, "x").await;
}

#[tokio::test]
async fn where_it_is_off_only_who_asks_for_it_gets_it() {
    let server = Server::with(|config| cairn_server::config::Config { maintenance_quiet_ms: None, ..config });
    server.repo("t", "x").await;
    server.append("t", "x", 3).await;
    cairn_server::jobs::maintenance::run(server.app.clone()).await;
    pass(&server, 10 * MAINTAIN_QUIET_MS);
    assert_eq!(look(&server.app).await, Looked::default());
    let done = server.maintain("t", "x").await;
    assert_eq!(
        (done.status, &done.result()["packs_in"], &done.result()["packs_out"]),
        (200, &json!(3), &json!(1))
    );
    assert_eq!(server.maintain("t", "x").await.result()["packs_in"], json!(0), "nothing is left to do");
    assert_eq!(server.maintain("t", "none").await.status, 404);
}

#[tokio::test]
async fn what_was_done_is_counted() {
    let server = Server::new();
    server.repo("t", "x").await;
    for nth in 0..20 {
        commit(&server, "x", nth, 5_000).await;
    }
    let done = server.maintain("t", "x").await;
    let given_back = done.result()["file_bytes_before"].as_u64().expect("a number")
        - done.result()["file_bytes_after"].as_u64().expect("a number");
    let text = server.app.metrics.text(cairn_server::metrics::Now::default());
    for line in [
        "cairn_maintenance_runs_total 1".to_owned(),
        "cairn_maintenance_errors_total 0".to_owned(),
        "cairn_maintenance_packs_in_total 20".to_owned(),
        "cairn_maintenance_packs_out_total 1".to_owned(),
        format!("cairn_maintenance_given_back_bytes_total {given_back}"),
    ] {
        assert!(text.lines().any(|has| has == line), "{line} is not in\n{text}");
    }
    // A file that is no repository any more.
    let row = server.app.catalog.resolve("t", "x").await.expect("an answer").expect("a repository");
    let server = server.restart();
    let path = server.app.files.path(row.id);
    std::fs::write(&path, "no database").expect("the file is ours");
    assert!(server.maintain("t", "x").await.status >= 500);
    let text = server.app.metrics.text(cairn_server::metrics::Now::default());
    assert!(text.contains("cairn_maintenance_errors_total 1\n"), "{text}");
}

/// The ids in a pack, which must be whole.
fn ids(pack: &[u8]) -> BTreeSet<String> {
    let options = IndexOptions {
        algo: HashAlgo::Sha1,
        cache_bytes: 1 << 20,
        object_bytes_max: 1 << 24,
        objects_max: 1 << 16,
        fsck: false,
    };
    let pack = pack.to_vec();
    let scanned = scan(&pack, &options, &mut |_, _| {}).expect("a whole pack");
    let resolver = scanned.resolver(&pack, &NothingKnown, &LinksOnly).expect("a pack");
    resolver.work().expect("resolves");
    let index = resolver.finish().expect("a pack");
    (0..index.len()).map(|at| index.entry(at).id.to_string()).collect()
}

async fn frame(body: &mut Body, into: &mut Vec<u8>) -> bool {
    match body.frame().await {
        Some(frame) => {
            into.extend_from_slice(&frame.expect("a frame").into_data().expect("data"));
            true
        }
        None => false,
    }
}

fn pack_of(answer: &[u8]) -> Vec<u8> {
    let lines = pkt_lines(answer);
    let bands = lines.iter().filter_map(|line| line.strip_prefix(b"\x01"));
    bands.flatten().copied().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_clone_runs_across_maintenance_and_pushes_and_its_pack_is_whole() {
    let server = Server::new();
    let token = server.repo("t", "x").await;
    let mut tip = String::new();
    for nth in 0..14 {
        tip = commit(&server, "x", nth, 150_000).await;
    }
    let mut answer = Vec::new();
    let mut slow = clone_begun(&server, &token, &tip).await;
    assert!(frame(&mut slow, &mut answer).await);
    for round in 0..3 {
        let done = server.maintain("t", "x").await;
        assert_eq!(done.status, 200, "{}", done.body);
        assert_eq!(done.result()["waiting"], json!(true), "the clone reads what was rolled away");
        assert_eq!(look(&server.app).await.failed, 0);
        commit(&server, "x", 100 + round, 1_000).await;
    }
    assert_sound(&server, "x").await;
    while frame(&mut slow, &mut answer).await {}
    let mut again = Vec::new();
    let mut quick = clone_begun(&server, &token, &tip).await;
    while frame(&mut quick, &mut again).await {}
    let got = ids(&pack_of(&answer));
    assert_eq!((got.len(), &got), (3 * 14, &ids(&pack_of(&again))));
    drop((slow, quick));
    pass(&server, MAINTAIN_QUIET_MS);
    assert!(look(&server.app).await.repos > 0);
    let done = server.maintain("t", "x").await;
    assert_eq!((&done.result()["waiting"], &done.result()["packs_in"]), (&json!(false), &json!(0)));
    assert_sound(&server, "x").await;
}

#[tokio::test]
async fn another_process_that_reads_keeps_what_it_may_read() {
    let server = Server::new();
    server.repo("t", "x").await;
    for nth in 0..10 {
        commit(&server, "x", nth, 2_000).await;
    }
    let row = server.app.catalog.resolve("t", "x").await.expect("an answer").expect("a repository");
    // As `cairn fsck` opens it: it notes the packs when it opens the file.
    let beside = Files::open_read_only(server.folder.path(), 4);
    let reading = beside.repo(row.object_format, &row.pins).expect("a repository");
    let held = reading.snapshot(None).expect("a snapshot");
    assert_eq!(server.maintain("t", "x").await.result()["waiting"], json!(true));
    assert_eq!(fsck(&beside, row.object_format, &row.pins), Vec::<String>::new());
    // Nor does the next server sweep it while that goes on.
    let server = server.restart();
    commit(&server, "x", 11, 100).await;
    assert_eq!(fsck(&beside, row.object_format, &row.pins), Vec::<String>::new());
    drop((held, reading, beside));
    let server = server.restart();
    commit(&server, "x", 12, 100).await;
    assert_eq!(server.maintain("t", "x").await.result()["waiting"], json!(false));
    assert_sound(&server, "x").await;
}
