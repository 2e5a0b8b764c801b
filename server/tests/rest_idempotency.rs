//! `Idempotency-Key`: the same request is done once and answered twice.

#[path = "support/server.rs"]
mod support;

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use serde_json::json;
use support::{Answer, Server};
use tokio::sync::mpsc;

const REPOS: &str = "/namespaces/t/repos";
const AT: &str = "/namespaces/t/repos/r/commits";

async fn keyed(server: &Server, path: &str, key: &str, body: &str) -> Answer {
    server.send_body("POST", path, &[("idempotency-key", key)], Body::from(body.to_owned())).await
}

fn one_file(content: &str) -> String {
    json!({ "message": "m", "changes": [{ "path": "f", "content": content }] }).to_string()
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_and_another_none() {
    let server = Server::new();
    let made = keyed(&server, REPOS, "k1", r#"{"name":"r"}"#).await;
    assert_eq!(made.status, 201);
    assert!(!made.headers.contains_key("idempotency-replayed"));
    let again = keyed(&server, REPOS, "k1", r#"{"name":"r"}"#).await;
    assert_eq!((again.status, &again.body), (201, &made.body), "the token, too");
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.headers["content-type"], "application/json");
    for (path, body, why) in [
        (REPOS, r#"{"name":"s"}"#, "another body"),
        ("/namespaces/u/repos", r#"{"name":"r"}"#, "another route"),
    ] {
        assert_eq!(keyed(&server, path, "k1", body).await.error(), (409, 10305, ""), "{why}");
    }
    assert_eq!(
        keyed(&server, REPOS, "k2", r#"{"name":"r"}"#).await.error(),
        (409, 10201, "/name"),
        "another key"
    );
    server.now.fetch_add(24 * 3_600_000, Ordering::SeqCst);
    assert_eq!(
        keyed(&server, REPOS, "k1", r#"{"name":"r"}"#).await.error(),
        (409, 10201, "/name"),
        "a day later"
    );
}

#[tokio::test]
async fn answers_survive_a_restart_and_hold_no_token_in_the_open() {
    let server = Server::new();
    let made = keyed(&server, REPOS, "k", r#"{"name":"r"}"#).await;
    let token = made.text("token");
    let core = token.split('?').next().expect("a token").to_owned();
    let server = server.restart();
    for entry in std::fs::read_dir(server.folder.path()).expect("a folder").flatten() {
        if entry.path().is_file() {
            let bytes = std::fs::read(entry.path()).expect("a file");
            assert!(!bytes.windows(core.len()).any(|part| part == core.as_bytes()), "{:?}", entry.path());
        }
    }
    assert_eq!(keyed(&server, REPOS, "k", r#"{"name":"r"}"#).await.text("token"), token);
}

#[tokio::test]
async fn commits_are_made_once_for_a_key() {
    let server = Server::new();
    server.repo("t", "r").await;
    let first = keyed(&server, AT, "a", &one_file("1")).await;
    assert_eq!(first.status, 201, "{}", first.body);
    let second = keyed(&server, AT, "b", &one_file("2")).await;
    assert_eq!(second.result()["parents"], json!([first.text("hash")]));
    let replayed = keyed(&server, AT, "a", &one_file("1")).await;
    assert_eq!(replayed.body, first.body, "and the head stays where it is");
    let third = keyed(&server, AT, "c", &one_file("3")).await;
    assert_eq!(third.result()["parents"], json!([second.text("hash")]));
}

#[tokio::test]
async fn refusals_are_kept_when_final_and_tried_again_when_not() {
    let server = Server::new();
    let bad = r#"{"name":"x.git"}"#;
    let refused = keyed(&server, REPOS, "k", bad).await;
    assert_eq!(refused.error(), (400, 10101, "/name"));
    let again = keyed(&server, REPOS, "k", bad).await;
    assert_eq!((again.body, again.headers.contains_key("idempotency-replayed")), (refused.body, true));

    server.repo("t", "r").await;
    let moved = json!({ "message": "m", "expected_head": "1".repeat(40), "changes": [{ "path": "f", "content": "" }] });
    for _ in 0..2 {
        let answer = keyed(&server, AT, "m", &moved.to_string()).await;
        assert_eq!(answer.error(), (409, 10304, "/expected_head"));
        assert!(!answer.headers.contains_key("idempotency-replayed"), "the head may come to be there");
    }
}

#[tokio::test]
async fn keys_are_bounded_and_nobody_without_a_token_leaves_one() {
    let server = Server::new();
    let longest = "k".repeat(255);
    assert_eq!(keyed(&server, REPOS, &longest, r#"{"name":"r"}"#).await.status, 201);
    for bad in ["", " ", "a b", &"k".repeat(256)] {
        assert_eq!(keyed(&server, REPOS, bad, r#"{"name":"s"}"#).await.error(), (400, 10100, ""), "{bad}");
    }
    let request = axum::http::Request::builder()
        .method("POST")
        .uri(format!("{}{REPOS}", support::BASE))
        .header("idempotency-key", "n");
    let denied = server.send(request.body(Body::from(r#"{"name":"n"}"#)).expect("a request")).await;
    assert_eq!(denied.status, 401);
    assert_eq!(keyed(&server, REPOS, "n", r#"{"name":"n"}"#).await.status, 201);
}

/// A body whose pieces come when the test sends them.
struct Slow(mpsc::Receiver<Bytes>);

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|data| data.map(|data| Ok(http_body::Frame::data(data))))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_at_work_sends_others_away_until_it_is_done() {
    let server = std::sync::Arc::new(Server::new());
    server.repo("t", "r").await;
    let (send, receive) = mpsc::channel(1);
    let text = one_file("slow");
    let (start, end) = text.split_at(10);
    let first = {
        let server = std::sync::Arc::clone(&server);
        let headers = [("idempotency-key", "k")];
        tokio::spawn(async move { server.send_body("POST", AT, &headers, Body::new(Slow(receive))).await })
    };
    send.send(Bytes::from(start.to_owned())).await.expect("read");
    // The second send is taken once the first was read, so that the key is at work by then.
    send.send(Bytes::new()).await.expect("read");
    send.send(Bytes::new()).await.expect("read");
    let other = keyed(&server, AT, "k", &text).await;
    assert_eq!(other.error(), (409, 10305, ""));
    assert_eq!(other.headers["retry-after"], "1");
    send.send(Bytes::from(end.to_owned())).await.expect("read");
    drop(send);
    let first = first.await.expect("an answer");
    assert_eq!(first.status, 201, "{}", first.body);
    assert_eq!(keyed(&server, AT, "k", &text).await.body, first.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn work_goes_on_when_its_client_goes_away() {
    let server = std::sync::Arc::new(Server::new());
    server.repo("t", "r").await;
    let (send, receive) = mpsc::channel(1);
    let text = one_file("left");
    let first = {
        let server = std::sync::Arc::clone(&server);
        let headers = [("idempotency-key", "k")];
        tokio::spawn(async move { server.send_body("POST", AT, &headers, Body::new(Slow(receive))).await })
    };
    send.send(Bytes::from(text.clone())).await.expect("read");
    send.send(Bytes::new()).await.expect("read");
    send.send(Bytes::new()).await.expect("read");
    first.abort();
    assert!(first.await.is_err_and(|error| error.is_cancelled()));
    drop(send);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let answer = keyed(&server, AT, "k", &text).await;
        if answer.status == 201 {
            assert_eq!(answer.headers["idempotency-replayed"], "true");
            break;
        }
        assert!(answer.status == 409 && std::time::Instant::now() < deadline, "{}", answer.body);
        tokio::task::yield_now().await;
    }
}
