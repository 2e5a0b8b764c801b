//! Clones of a repository as it was: `git clone --server-option=at=...`.

#[path = "support/server.rs"]
mod server;
#[path = "support/stock.rs"]
mod stock;

use std::sync::atomic::Ordering;

use cairn_server::clock::rfc3339;
use serde_json::json;
use stock::{Local, Stock};

/// What a clone of `name` has as `main`, or what git says where there is none.
async fn clone(stock: &Stock, name: &str, token: &str, at: &str) -> Result<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let local = Local { path: folder.path().to_owned() };
    local.git(&["init", "-q", "-b", "other"]);
    stock.connect(&local, name, token);
    let option = format!("--server-option=at={at}");
    let run = move || {
        let refs = "+refs/heads/*:refs/remotes/origin/*";
        let fetched =
            stock::git(&local.path, 1_700_000_000).args(["fetch", "-q", &option, "origin", refs]).output();
        let fetched = fetched.expect("git runs");
        match fetched.status.success() {
            true => Ok(local.git(&["rev-parse", "refs/remotes/origin/main"])),
            false => Err(String::from_utf8_lossy(&fetched.stderr).into_owned()),
        }
    };
    tokio::task::spawn_blocking(run).await.expect("git ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_shows_the_repository_as_of_an_entry_or_a_time_also_before_it_was_forked() {
    let stock = Stock::new().await;
    let local = stock.repo("x", "sha1").await;
    let first = local.commit("one", 1_700_000_000);
    stock.push(&local, &["main"]).await;
    let then = rfc3339(stock.server.now.fetch_add(2_000, Ordering::SeqCst));
    let second = local.commit("two", 1_700_000_001);
    stock.push(&local, &["main"]).await;
    stock.server.now.fetch_add(2_000, Ordering::SeqCst);
    let fork = stock.server.post("/namespaces/team/repos/x/fork", &json!({ "name": "f" }).to_string()).await;
    let body = json!({ "repo": "x", "scope": "read" }).to_string();
    let token = stock.server.post("/namespaces/team/tokens", &body).await.text("plaintext");

    assert_eq!(clone(&stock, "x", &token, "1").await, Ok(first.clone()));
    assert_eq!(clone(&stock, "x", &token, "2").await, Ok(second.clone()));
    assert_eq!(clone(&stock, "x", &token, &then).await, Ok(first.clone()));
    let fork = fork.text("token");
    assert_eq!(clone(&stock, "f", &fork, "0").await, Ok(second));
    assert_eq!(clone(&stock, "f", &fork, &then).await, Ok(first));

    let late = clone(&stock, "x", &token, "3").await.expect_err("there is no entry 3");
    assert!(late.contains("log ends with entry 2"), "{late}");
    let odd = clone(&stock, "x", &token, "yesterday").await.expect_err("no moment");
    assert!(odd.contains("RFC 3339"), "{odd}");
}
