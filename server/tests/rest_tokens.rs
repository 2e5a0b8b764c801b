//! Tokens: issued, listed, taken back, and what they open in git.

#[path = "support/server.rs"]
mod support;

use std::sync::atomic::Ordering;

use axum::http::{HeaderMap, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_server::auth::{GitDenied, Read, Write, git_grant};
use cairn_server::error::git::refusal;
use cairn_server::store::catalog::Scope;
use support::{API_TOKEN, Server};

/// The status that reading and writing with these credentials would get.
async fn statuses(server: &Server, credentials: &str, ns: &str, repo: &str) -> (u16, u16) {
    let mut headers = HeaderMap::new();
    if !credentials.is_empty() {
        headers.insert("authorization", HeaderValue::from_str(credentials).expect("a value"));
    }
    let (catalog, now) = (&server.app.catalog, server.app.clock.now_ms());
    let status = |denied: GitDenied| {
        let refusal = refusal(&denied);
        assert_eq!(refusal.challenge.is_some(), refusal.status == 401);
        refusal.status
    };
    let read = git_grant::<Read>(catalog, now, &headers, ns, repo).await;
    let write = git_grant::<Write>(catalog, now, &headers, ns, repo).await;
    (read.map_or_else(status, |_| 200), write.map_or_else(status, |_| 200))
}

async fn issue(server: &Server, body: &str) -> (String, String) {
    let issued = server.post("/namespaces/a/tokens", body).await;
    assert_eq!(issued.status, 201, "{}", issued.body);
    (issued.text("id"), issued.text("plaintext"))
}

#[tokio::test]
async fn tokens_open_git_as_far_as_their_scope() {
    let server = Server::new();
    let write = server.repo("a", "b").await;
    let other = server.repo("a", "other").await;
    let (_, read) = issue(&server, r#"{"repo":"B","scope":"read"}"#).await;
    let core = write.split('?').next().expect("a first part");
    let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
    let cases = [
        (String::new(), (401, 401), "none"),
        (format!("Bearer {write}"), (200, 200), "whole"),
        (format!("Bearer {core}"), (200, 200), "without the suffix"),
        (basic(format!("x:{core}")), (200, 200), "password"),
        (basic(format!("x:{write}")), (200, 200), "password with suffix"),
        (basic(format!("{core}:")), (200, 200), "as the user"),
        (basic(format!("x:{read}")), (200, 403), "read"),
        (format!("Bearer {other}"), (401, 401), "of another repository"),
        (format!("Bearer {API_TOKEN}"), (401, 401), "the API token"),
        ("Bearer art_v1_0000000000000000000000000000000000000000".into(), (401, 401), "unknown"),
        ("Bearer art_v2_x_0000000000000000000000000000000000000000".into(), (401, 401), "of the other form"),
    ];
    for (credentials, want, why) in cases {
        assert_eq!(statuses(&server, &credentials, "A", "B").await, want, "{why}");
        assert_eq!(
            statuses(&server, &credentials, "a", "none").await,
            (401, 401),
            "unknown repository, {why}"
        );
    }
}

#[tokio::test]
async fn dead_tokens_open_nothing_from_the_next_request_on() {
    let server = Server::new();
    server.repo("a", "b").await;
    let (id, token) = issue(&server, r#"{"repo":"b","ttl":60}"#).await;
    let (_, brief) = issue(&server, r#"{"repo":"b","ttl":60}"#).await;
    let (token, brief) = (format!("Bearer {token}"), format!("Bearer {brief}"));
    assert_eq!(statuses(&server, &token, "a", "b").await, (200, 200));
    for _ in 0..2 {
        let revoked = server.ask("DELETE", &format!("/namespaces/a/tokens/{id}"), "").await;
        assert_eq!((revoked.status, revoked.text("id")), (200, id.clone()));
    }
    assert_eq!(statuses(&server, &token, "a", "b").await, (401, 401));
    server.now.fetch_add(59_999, Ordering::SeqCst);
    assert_eq!(statuses(&server, &brief, "a", "b").await, (200, 200));
    server.now.fetch_add(1, Ordering::SeqCst);
    assert_eq!(statuses(&server, &brief, "a", "b").await, (401, 401));

    for (state, want) in
        [("", 1), ("?state=active", 1), ("?state=expired", 1), ("?state=revoked", 1), ("?state=all", 3)]
    {
        let listed = server.get(&format!("/namespaces/a/repos/b/tokens{state}")).await;
        assert_eq!(listed.result().as_array().map(Vec::len), Some(want), "{state}");
        assert_eq!(listed.body["result_info"]["total_count"], want, "{state}");
    }
    for unknown in ["0000000000000000", "short"] {
        let path = format!("/namespaces/a/tokens/{unknown}");
        assert_eq!(server.ask("DELETE", &path, "").await.error().1, 10200);
    }
    let path = format!("/namespaces/other/tokens/{id}");
    assert_eq!(server.ask("DELETE", &path, "").await.status, 404, "another namespace's");
}

#[tokio::test]
async fn lives_are_checked_before_the_repository() {
    let server = Server::new();
    server.repo("a", "b").await;
    for (ttl, want) in
        [("59", 400), ("60", 201), ("31536000", 201), ("31536001", 400), ("\"x\"", 400), ("60.5", 400)]
    {
        for repo in ["b", "none"] {
            let answer =
                server.post("/namespaces/a/tokens", &format!(r#"{{"repo":"{repo}","ttl":{ttl}}}"#)).await;
            let want = if repo == "none" && want == 201 { 404 } else { want };
            assert_eq!(answer.status, want, "{repo} {ttl}");
            if want == 400 {
                assert_eq!(answer.error(), (400, 10103, "/ttl"));
            }
        }
    }
    let bad = server.post("/namespaces/a/tokens", r#"{"repo":"b","scope":"admin"}"#).await;
    assert_eq!(bad.error(), (400, 10100, "/scope"));
}

#[tokio::test]
async fn tokens_die_with_their_repository_and_read_only_refuses_writes() {
    let server = Server::new();
    let token = format!("Bearer {}", server.repo("a", "b").await);
    server.ask("PATCH", "/namespaces/a/repos/b", r#"{"read_only":true}"#).await;
    assert_eq!(statuses(&server, &token, "a", "b").await, (200, 403));
    server.ask("DELETE", "/namespaces/a/repos/b", "").await;
    server.repo("a", "b").await;
    assert_eq!(statuses(&server, &token, "a", "b").await, (401, 401));
    assert!(Scope::Read < Scope::Write);
}
