//! What is kept: answers of idempotent requests, and dead tokens.

use std::sync::atomic::Ordering;

use axum::body::Body;
use cairn_server::limits::{
    IDEMPOTENCY_ANSWER_BYTES_MAX, IDEMPOTENCY_KEPT_MS, IDEMPOTENCY_ROWS_MAX, TOKEN_KEPT_MS,
};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{Answer, Server};

const REPOS: &str = "/namespaces/t/repos";
const COMMITS: &str = "/namespaces/t/repos/r/commits";

async fn keyed(server: &Server, path: &str, key: &str, body: &Value) -> Answer {
    server.send_body("POST", path, &[("idempotency-key", key)], Body::from(body.to_string())).await
}

fn is_replayed(answer: &Answer) -> bool {
    answer.headers.contains_key("idempotency-replayed")
}

#[tokio::test]
async fn an_answer_is_kept_for_a_day() {
    let server = Server::new();
    let body = json!({ "name": "r" });
    assert_eq!(keyed(&server, REPOS, "k", &body).await.status, 201);
    server.now.fetch_add(IDEMPOTENCY_KEPT_MS - 1, Ordering::SeqCst);
    assert!(is_replayed(&keyed(&server, REPOS, "k", &body).await), "at the limit");
    server.now.fetch_add(1, Ordering::SeqCst);
    assert_eq!(keyed(&server, REPOS, "k", &body).await.error(), (409, 10201, "/name"), "done again");
}

#[tokio::test]
async fn an_answer_is_kept_up_to_its_limit_and_a_larger_one_is_not_done_again() {
    let server = Server::new();
    server.repo("t", "r").await;
    // Each such character takes six bytes of JSON.
    let with = |letters: usize| {
        let message = format!("{}{}", "\u{1}".repeat(43_000), "a".repeat(letters));
        json!({ "message": message, "changes": [{ "path": format!("f{letters}"), "content": "" }] })
    };
    server
        .post(COMMITS, &json!({ "message": "m", "changes": [{ "path": "a", "content": "" }] }).to_string())
        .await;
    let small = server.post(COMMITS, &with(0).to_string()).await;
    assert_eq!(small.status, 201, "{}", small.body);
    let letters = IDEMPOTENCY_ANSWER_BYTES_MAX - small.body.to_string().len();
    let at = keyed(&server, COMMITS, "at", &with(letters)).await;
    assert_eq!((at.status, at.body.to_string().len()), (201, IDEMPOTENCY_ANSWER_BYTES_MAX));
    let again = keyed(&server, COMMITS, "at", &with(letters)).await;
    assert!(is_replayed(&again) && again.body == at.body, "at the limit");
    let past = keyed(&server, COMMITS, "past", &with(letters + 1)).await;
    assert_eq!((past.status, past.body.to_string().len()), (201, IDEMPOTENCY_ANSWER_BYTES_MAX + 1));
    let again = keyed(&server, COMMITS, "past", &with(letters + 1)).await;
    assert_eq!(again.error(), (409, 10305, ""), "one byte past it");
}

#[tokio::test]
async fn so_many_answers_are_kept_and_then_the_oldest_goes() {
    let server = Server::new();
    assert_eq!(keyed(&server, REPOS, "first", &json!({ "name": "r" })).await.status, 201);
    let fill = format!(
        "WITH RECURSIVE n(i) AS (VALUES (2) UNION ALL SELECT i + 1 FROM n WHERE i < {})
         INSERT INTO idempotency (id, caller, ordinal, created_at, fingerprint, salt)
         SELECT randomblob(32), caller, i, created_at, fingerprint, salt FROM n, (SELECT * FROM idempotency LIMIT 1)",
        IDEMPOTENCY_ROWS_MAX - 1
    );
    let conn = Connection::open(server.folder.path().join("catalog.sqlite")).unwrap();
    conn.execute_batch(&fill).unwrap();
    assert_eq!(keyed(&server, REPOS, "last", &json!({ "name": "s" })).await.status, 201);
    let again = keyed(&server, REPOS, "first", &json!({ "name": "r" })).await;
    assert!(is_replayed(&again), "at the limit");
    assert_eq!(keyed(&server, REPOS, "more", &json!({ "name": "u" })).await.status, 201);
    let again = keyed(&server, REPOS, "first", &json!({ "name": "r" })).await;
    assert_eq!(again.error(), (409, 10201, "/name"), "one past it");
}

#[tokio::test]
async fn a_dead_token_is_listed_for_a_month() {
    let server = Server::new();
    server.repo("t", "r").await;
    let made = server.post("/namespaces/t/tokens", &json!({ "repo": "r", "ttl": 60 }).to_string()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let died_ms = server.now.load(Ordering::SeqCst) + 60_000;
    let all = "/namespaces/t/repos/r/tokens?state=all";
    for (after_ms, gone) in [(TOKEN_KEPT_MS, 0), (TOKEN_KEPT_MS + 1, 1)] {
        let before = server.get(all).await.body["result_info"]["total_count"].as_u64();
        server.app.catalog.sweep_tokens(died_ms + after_ms - TOKEN_KEPT_MS).await.unwrap();
        let now = server.get(all).await.body["result_info"]["total_count"].as_u64();
        assert_eq!(before.zip(now).map(|(before, now)| before - now), Some(gone), "{after_ms}");
    }
}
