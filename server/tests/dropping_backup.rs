//! Backups of repositories of which something was dropped, and what is put back from before.

#[path = "support/server.rs"]
mod support;

use std::path::Path;

use cairn_server::config::Config;
use cairn_server::store::backup::{self, BackupError, Done};
use cairn_server::store::disk::System;
use cairn_server::store::maintain;
use cairn_server::store::repo::fsck::fsck;
use serde_json::json;
use support::Server;

async fn back_up(server: &Server, to: &Path) -> Done {
    let app = &server.app;
    // Files that changed just now are not told apart by their times.
    let now_ms = app.clock.now_ms();
    let done = backup::backup(&System, (&app.catalog, &app.config.data), to, now_ms).await;
    done.expect("a backup")
}

async fn commit(server: &Server, name: &str, content: &str) -> String {
    let body =
        json!({ "branch": "main", "message": content, "changes": [{ "path": "f", "content": content }] });
    let made = server.post(&format!("/namespaces/t/repos/{name}/commits"), &body.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made.text("hash")
}

async fn force(server: &Server, name: &str, to: &str) {
    let oid = json!({ "oid": to, "force": true }).to_string();
    let moved = server.ask("PUT", &format!("/namespaces/t/repos/{name}/refs/heads/main"), &oid).await;
    assert_eq!(moved.status, 200, "{}", moved.body);
}

async fn assert_sound(server: &Server) {
    let check = |row: &cairn_server::store::catalog::RepoRow| {
        Ok(fsck(&server.app.files, row.object_format, &row.pins))
    };
    let report = maintain::fsck_all(&server.app.catalog, check).await.expect("the catalog is read");
    assert!(report.repo_count > 0 && report.findings.is_empty(), "{:#?}", report.findings);
}

async fn status(server: &Server, path: &str) -> u16 {
    server.get(&format!("/namespaces/t/repos/{path}")).await.status
}

fn keep(config: Config) -> Config {
    Config { keep_unreachable_ms: Some(0), ..config }
}

/// `x` with a commit that nothing names any more, and a fork `f` of it that shows that commit.
async fn begun() -> (Server, String, String) {
    let server = Server::with(keep);
    server.repo("t", "x").await;
    let first = commit(&server, "x", "first").await;
    let old = commit(&server, "x", "old").await;
    let made = server.post("/namespaces/t/repos/x/fork", &json!({ "name": "f" }).to_string()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    force(&server, "x", &first).await;
    (server, first, old)
}

async fn delete(server: &Server, name: &str) {
    assert_eq!(server.ask("DELETE", &format!("/namespaces/t/repos/{name}"), "").await.status, 202);
    let files = server.app.files.clone();
    let swept =
        maintain::sweep_files(&server.app.catalog, |id| files.delete(id).map(drop).map_err(Into::into));
    swept.await.expect("swept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_makes_a_new_copy_and_comes_back_as_it_is() {
    let (server, first, old) = begun().await;
    let folder = tempfile::tempdir().expect("a folder");
    let kept = folder.path().join("kept");
    back_up(&server, &kept).await;
    delete(&server, "f").await;
    assert_eq!(server.maintain("t", "x").await.result()["dropped_objects"], json!(3));
    let done = back_up(&server, &kept).await;
    assert_eq!((done.copied, done.extended), (1, 0), "what an older catalog may pin is not changed in place");
    let data = tempfile::tempdir().expect("a folder");
    backup::restore(&System, &kept, &data.path().join("d")).expect("restored");
    let again = tempfile::tempdir_in(data.path()).expect("a folder");
    std::fs::remove_dir(again.path()).expect("it is empty");
    std::fs::rename(data.path().join("d"), again.path()).expect("the folder is ours");
    let restored = Server::with_on(again, keep);
    assert_sound(&restored).await;
    assert_eq!(status(&restored, &format!("x/commit/{first}")).await, 200);
    assert_eq!(status(&restored, &format!("x/commit/{old}")).await, 404);
    assert_eq!(status(&restored, "x/refs?at=2").await, 410);
    assert_eq!(commit(&restored, "x", "more").await.len(), 40);
    assert_sound(&restored).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_from_before_is_not_put_back_on_what_was_dropped_since() {
    let (server, ..) = begun().await;
    let folder = tempfile::tempdir().expect("a folder");
    let kept = folder.path().join("kept");
    back_up(&server, &kept).await;
    let data = server.app.config.data.clone();
    let put_back = async |name: &str| {
        backup::restore_one(&kept, (&server.app.catalog, &data), ("t", name), server.app.clock.now_ms()).await
    };
    delete(&server, "f").await;
    // Nothing is lost yet.
    let adopted = put_back("f").await.expect("put back");
    assert_eq!(adopted.findings, Vec::<String>::new());
    assert_eq!(
        server.maintain("t", "x").await.result()["dropped_objects"],
        json!(0),
        "it stands on that again"
    );
    delete(&server, "f").await;
    assert_eq!(server.maintain("t", "x").await.result()["dropped_objects"], json!(3));
    match put_back("f").await {
        Err(BackupError::Refused(why)) => assert!(why.contains("does not have"), "{why}"),
        other => panic!("{other:?}"),
    }
    // What stands on nothing is put back whole, from before the drop.
    delete(&server, "x").await;
    let adopted = put_back("x").await.expect("put back");
    assert_eq!(adopted.findings, Vec::<String>::new());
    assert_eq!(status(&server, "x/refs?at=2").await, 200);
    assert_sound(&server).await;
}
