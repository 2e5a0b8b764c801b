//! Rates: who has asked too often is told when to come back, and nobody else is.

#[path = "support/server.rs"]
mod support;

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::Request;
use cairn_server::config::{Bounds, Config};
use support::{Answer, BASE, Server};

fn server(per_token: Option<&str>, per_namespace: Option<&str>) -> Server {
    let rate = |text: Option<&str>| text.map(|text| text.parse().expect("a rate"));
    let (rate_per_token, rate_per_namespace) = (rate(per_token), rate(per_namespace));
    let bounds = Bounds { rate_per_token, rate_per_namespace, ..Bounds::default() };
    Server::with(|config| Config { bounds, ..config })
}

async fn as_token(server: &Server, token: &str, path: &str) -> Answer {
    let request = Request::get(path).header("authorization", format!("Bearer {token}"));
    server.send(request.body(Body::empty()).expect("a request")).await
}

#[tokio::test]
async fn a_token_over_its_rate_gets_429_and_others_do_not() {
    let server = server(Some("2/s,4"), None);
    let made = server.post("/api-tokens", r#"{"name":"t","right":"edit"}"#).await;
    let token = made.text("plaintext");
    let list = format!("{BASE}/namespaces");
    for _ in 0..4 {
        assert_eq!(as_token(&server, &token, &list).await.status, 200);
    }
    let refused = as_token(&server, &token, &list).await;
    assert_eq!((refused.status, refused.error().1), (429, 10429));
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.body["success"], false);
    assert_eq!(server.get("/namespaces").await.status, 200, "the owner's budget is its own");
    assert_eq!(as_token(&server, "cairn_v1_bad", &list).await.status, 401, "a bad token is not counted");

    let request = Request::post(format!("{BASE}/namespaces/a/repos")).header("x-auth-key", &token);
    let refused = server.send(request.body(Body::from(r#"{"name":"b"}"#)).expect("a request")).await;
    assert_eq!(refused.status, 429);
    server.now.fetch_add(10_000, Ordering::SeqCst);
    assert_eq!(server.get("/namespaces/a/repos/b").await.status, 404, "nothing was done");
    assert_eq!(as_token(&server, &token, &list).await.status, 200, "the bucket fills again");
}

#[tokio::test]
async fn git_requests_are_counted_after_the_token_is_known() {
    let server = server(Some("1/s,2"), None);
    let token = server.repo("a", "b").await;
    let path = "/git/a/b.git/info/refs?service=git-upload-pack";
    for _ in 0..5 {
        assert_eq!(
            as_token(&server, "art_v1_bad", path).await.status,
            401,
            "strangers spend nobody's budget"
        );
    }
    assert_eq!(as_token(&server, &token, path).await.status, 200);
    assert_eq!(as_token(&server, &token, path).await.status, 200);
    let refused = as_token(&server, &token, path).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.headers["retry-after"], "1");
    assert!(refused.headers["content-type"].to_str().is_ok_and(|kind| kind.starts_with("text/plain")));
}

#[tokio::test]
async fn a_namespace_has_one_budget_for_all_tokens() {
    let server = server(None, Some("60/m,3"));
    let token = server.repo("a", "b").await;
    assert_eq!(server.get("/namespaces/A/repos/b").await.status, 200);
    assert_eq!(as_token(&server, &token, "/git/A/b.git/info/refs?service=git-upload-pack").await.status, 200);
    assert_eq!(server.get("/namespaces/a/repos/b").await.status, 429);
    assert_eq!(server.get("/namespaces/other").await.status, 404, "another namespace's budget is its own");
    for _ in 0..9 {
        assert_eq!(server.get("/namespaces").await.status, 200, "no namespace is named");
    }
}

#[tokio::test]
async fn nothing_is_counted_by_default() {
    let server = Server::new();
    for _ in 0..200 {
        assert_eq!(server.get("/namespaces").await.status, 200);
    }
}
