//! Forks as rows: chains, depth, what keeps a file alive; pushes noted; copies of the catalog.

#[path = "support/server.rs"]
mod support;

use cairn_server::limits::FORK_DEPTH_MAX;
use cairn_server::store::catalog::{Catalog, RepoRow};
use cairn_server::store::disk::System;
use cairn_server::store::maintain;
use support::{Answer, Server};

async fn fork(server: &Server, base: &str, name: &str, more: &str) -> Answer {
    server.post(&format!("/namespaces/a/repos/{base}/fork"), &format!(r#"{{"name":"{name}"{more}}}"#)).await
}

async fn row(server: &Server, name: &str) -> RepoRow {
    server.app.catalog.resolve("a", name).await.expect("an answer").expect("a repository")
}

fn seqs(row: &RepoRow) -> Vec<Option<u64>> {
    row.pins.iter().map(|pin| pin.seq).collect()
}

#[tokio::test]
async fn a_fork_pins_its_base_and_an_untouched_fork_is_left_out() {
    let server = Server::new();
    server
        .post("/namespaces/a/repos", r#"{"name":"base","default_branch":"trunk","object_format":"sha256"}"#)
        .await;
    server.append("a", "base", 7).await;
    let made = fork(&server, "base", "one", "").await;
    assert_eq!((made.status, &made.result()["objects"]), (201, &7.into()), "{}", made.body);
    assert_eq!(made.text("default_branch"), "trunk");
    let (base, one) = (row(&server, "base").await, row(&server, "one").await);
    assert_eq!(seqs(&one), [None, Some(7)]);
    assert_eq!(one.pins[1].id, base.id);
    assert_eq!(one.source.as_deref(), Some("artifacts:a/base"));
    assert_eq!(one.object_format, base.object_format);

    fork(&server, "one", "two", "").await;
    assert_eq!(row(&server, "two").await.pins[1..], one.pins[1..], "an empty log is left out");

    server.append("a", "two", 3).await;
    fork(&server, "two", "three", r#","at":2,"namespace":"b""#).await;
    let three = server.app.catalog.resolve("b", "three").await.expect("an answer").expect("a repository");
    assert_eq!(seqs(&three), [None, Some(2), Some(7)]);
    assert_eq!(fork(&server, "two", "four", r#","at":4"#).await.error(), (400, 10100, "/at"));
}

#[tokio::test]
async fn a_chain_that_is_too_long_is_refused() {
    let server = Server::new();
    server.repo("a", "r0").await;
    for at in 0..FORK_DEPTH_MAX {
        server.append("a", &format!("r{at}"), 1).await;
        assert_eq!(fork(&server, &format!("r{at}"), &format!("r{}", at + 1), "").await.status, 201);
    }
    let last = format!("r{FORK_DEPTH_MAX}");
    server.append("a", &last, 1).await;
    assert_eq!(row(&server, &last).await.pins.len(), FORK_DEPTH_MAX + 1);
    assert_eq!(fork(&server, &last, "beyond", "").await.error(), (422, 10403, ""));
}

#[tokio::test]
async fn a_deleted_base_keeps_its_file_until_no_fork_pins_it() {
    let server = Server::new();
    server.repo("a", "base").await;
    server.append("a", "base", 5).await;
    fork(&server, "base", "one", "").await;
    server.append("a", "one", 5).await;
    fork(&server, "one", "two", "").await;
    let (base, one) = (row(&server, "base").await.id, row(&server, "one").await.id);
    let catalog = &server.app.catalog;
    let delete =
        async |name: &str| server.ask("DELETE", &format!("/namespaces/a/repos/{name}"), "").await.status;

    assert_eq!(delete("base").await, 202);
    assert_eq!(catalog.files_to_drop().await.expect("ids"), []);
    assert_eq!(fork(&server, "base", "late", "").await.status, 404);
    assert_eq!(delete("one").await, 202);
    assert_eq!(catalog.files_to_drop().await.expect("ids"), [], "two stands on both");
    assert_eq!(seqs(&row(&server, "two").await), [None, Some(5), Some(5)]);
    assert_eq!(delete("two").await, 202);
    let dropped = std::cell::RefCell::new(Vec::new());
    let swept = maintain::sweep_files(catalog, |id| {
        dropped.borrow_mut().push(id);
        if id == one { Err("busy".into()) } else { Ok(()) }
    });
    assert_eq!(swept.await.expect("a count"), 2);
    assert!(dropped.borrow().contains(&base));
    assert_eq!(catalog.files_to_drop().await.expect("ids"), [one], "the one that failed is tried again");
}

#[tokio::test]
async fn a_push_moves_its_times_forward_only() {
    let server = Server::new();
    server.repo("a", "b").await;
    let before = row(&server, "b").await;
    let push = before.created_at_ms + 10;
    server.app.catalog.touched(before.id, push).await.expect("noted");
    server.app.catalog.touched(before.id, push - 5).await.expect("noted");
    let after = row(&server, "b").await;
    assert_eq!((after.last_push_at_ms, after.updated_at_ms), (Some(push), push));
}

#[tokio::test]
async fn a_copy_of_the_catalog_opens_and_two_processes_may_write() {
    let server = Server::new();
    server.repo("a", "b").await;
    let second = Catalog::open(&server.folder.path().join("catalog.sqlite")).expect("opens beside the first");
    second.touched(row(&server, "b").await.id, 1).await.expect("noted");
    server.repo("a", "c").await;
    let to = server.folder.path().join("copy.sqlite");
    server.app.catalog.copy_to(&System, &to).await.expect("a copy");
    let copy = Catalog::open(&to).expect("the copy opens");
    assert!(copy.resolve("a", "c").await.expect("an answer").is_some());
    let report = maintain::fsck_all(&copy, |_| Ok(Vec::new())).await.expect("a report");
    assert_eq!((report.repo_count, report.findings), (2, Vec::new()));
    assert!(server.app.catalog.copy_to(&System, &to).await.is_err(), "no overwriting");
}
