//! Bodies of requests, REST and git.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::Request;
use cairn_conformance::pack::gzip;
use cairn_server::limits::{
    COMMIT_CHANGES_MAX, COMMIT_MESSAGE_BYTES_MAX, COMMIT_PATH_BYTES_MAX, FETCH_REQUEST_BYTES_MAX,
    HEADER_FIELDS_MAX, HTTP1_BUFFER_BYTES_MAX, JSON_BODY_BYTES_MAX, PERSON_BYTES_MAX, PUSH_HEADER_BYTES_MAX,
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_service::Service;

use crate::built::refused;
use crate::support::{Answer, Server};
use crate::wire;

const COMMITS: &str = "/namespaces/t/repos/r/commits";

async fn commit(server: &Server, body: Value) -> Answer {
    server.post(COMMITS, &body.to_string()).await
}

fn one_file(path: &str) -> Value {
    json!([{ "path": path, "content": "" }])
}

#[tokio::test]
async fn a_body_of_settings_stops_at_its_limit() {
    let server = Server::new();
    let padded = |name: &str, bytes: usize| {
        let body = json!({ "name": name }).to_string();
        format!("{body}{}", " ".repeat(bytes - body.len()))
    };
    let at = server.post("/namespaces/t/repos", &padded("a", JSON_BODY_BYTES_MAX)).await;
    assert_eq!(at.status, 201, "{}", at.body);
    let past = server.post("/namespaces/t/repos", &padded("b", JSON_BODY_BYTES_MAX + 1)).await;
    refused(&past, (413, 10100), JSON_BODY_BYTES_MAX);
}

#[tokio::test]
async fn what_a_commit_says_stops_at_its_limits() {
    let server = Server::new();
    server.repo("t", "r").await;
    let text = |bytes: usize| "x".repeat(bytes);
    let path = |bytes: usize| {
        let folders = format!("{}/", "x".repeat(255)).repeat(15);
        format!("{folders}{}", "y".repeat(bytes - folders.len()))
    };
    let said = |bytes: usize| json!({ "message": text(bytes), "changes": one_file("m") });
    let at_path = |bytes: usize| json!({ "message": "m", "changes": one_file(&path(bytes)) });
    let by = |who: &'static str, field: &str, bytes: usize| {
        let mut person = json!({ "name": "A", "email": "a@x" });
        person[field] = text(bytes).into();
        json!({ "message": "m", who: person, "changes": one_file(&format!("{who}-{field}")) })
    };
    let (message, person) = (COMMIT_MESSAGE_BYTES_MAX, PERSON_BYTES_MAX);
    let cases = [
        (said(message), said(message + 1), "/message", message),
        (
            at_path(COMMIT_PATH_BYTES_MAX),
            at_path(COMMIT_PATH_BYTES_MAX + 1),
            "/changes/0/path",
            COMMIT_PATH_BYTES_MAX,
        ),
        (by("author", "name", person), by("author", "name", person + 1), "/author/name", person),
        (by("committer", "email", person), by("committer", "email", person + 1), "/committer/email", person),
    ];
    for (at, past, pointer, limit) in cases {
        let made = commit(&server, at).await;
        assert_eq!(made.status, 201, "{pointer}: {}", made.body);
        let past = commit(&server, past).await;
        assert_eq!(past.error().2, pointer);
        refused(&past, (400, 10100), limit);
        refused(&past, (400, 10100), limit + 1);
    }
}

/// A multipart body: the JSON of a commit, then a part for each name.
fn parts(json: &Value, names: &[String]) -> (String, Body) {
    let mut body = format!("--b\r\nContent-Disposition: form-data; name=commit\r\n\r\n{json}");
    for name in names {
        body.push_str(&format!("\r\n--b\r\nContent-Disposition: form-data; name={name}\r\n\r\nx"));
    }
    body.push_str("\r\n--b--");
    ("multipart/form-data; boundary=b".to_owned(), body.into())
}

#[tokio::test]
async fn a_commit_has_so_many_changes_and_no_more_however_they_come() {
    let server = Server::new();
    server.repo("t", "r").await;
    let names = |count: usize| (0..count).map(|n| format!("f{n:05}")).collect::<Vec<_>>();
    let inline = |count: usize| {
        let changes: Vec<_> =
            names(count).into_iter().map(|name| json!({ "path": name, "content": "" })).collect();
        json!({ "branch": "inline", "expected_head": null, "message": "m", "changes": changes })
    };
    let at = commit(&server, inline(COMMIT_CHANGES_MAX)).await;
    assert_eq!(at.status, 201, "{}", at.body);
    let past = commit(&server, inline(COMMIT_CHANGES_MAX + 1)).await;
    refused(&past, (400, 10100), COMMIT_CHANGES_MAX);
    refused(&past, (400, 10100), COMMIT_CHANGES_MAX + 1);

    let send = async |json: Value, names: &[String]| {
        let (kind, body) = parts(&json, names);
        server.send_body("POST", COMMITS, &[("content-type", &kind)], body).await
    };
    // A change and the part that it names are one.
    let by_part = |count: usize, branch: &str| {
        let changes: Vec<_> = names(count)
            .into_iter()
            .map(|name| json!({ "path": format!("p/{name}"), "part": name }))
            .collect();
        json!({ "branch": branch, "expected_head": null, "message": "m", "changes": changes })
    };
    let all = names(COMMIT_CHANGES_MAX);
    let at = send(by_part(COMMIT_CHANGES_MAX, "named"), &all).await;
    assert_eq!(at.status, 201, "{}", at.body);
    let at = send(json!({ "branch": "alone", "expected_head": null, "message": "m" }), &all).await;
    assert_eq!(at.status, 201, "{}", at.body);
    let mut mixed = by_part(1, "mixed");
    mixed["changes"].as_array_mut().unwrap().push(json!({ "path": "more", "content": "" }));
    refused(&send(mixed, &all).await, (400, 10100), COMMIT_CHANGES_MAX + 1);
    let past = send(
        json!({ "branch": "past", "expected_head": null, "message": "m" }),
        &names(COMMIT_CHANGES_MAX + 1),
    )
    .await;
    refused(&past, (400, 10100), COMMIT_CHANGES_MAX);
}

#[tokio::test]
async fn a_fetch_request_stops_at_its_limit_compressed_or_not() {
    let server = Server::new();
    let token = server.repo("t", "r").await;
    let ask = async |body: Vec<u8>, coding: &str| {
        let request = Request::builder()
            .method("POST")
            .uri("/git/t/r.git/git-upload-pack")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/x-git-upload-pack-request")
            .header("content-encoding", coding)
            .header("git-protocol", "version=2");
        let request = request.body(Body::from(body)).unwrap();
        let response = server.edge.clone().call(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    };
    let at = vec![b' '; FETCH_REQUEST_BYTES_MAX];
    let past = vec![b' '; FETCH_REQUEST_BYTES_MAX + 1];
    assert_eq!(ask(at.clone(), "identity").await.0, 200, "it is read, and answered with an error");
    assert_eq!(ask(gzip(&at), "gzip").await.0, 200, "it is read, and answered with an error");
    let (status, text) = ask(past.clone(), "identity").await;
    assert!(status == 413 && text.contains(&FETCH_REQUEST_BYTES_MAX.to_string()), "{status} {text}");
    assert_eq!(ask(gzip(&past), "gzip").await.0, 413);
}

/// Pieces of one pkt-line each, without end; counts those that were taken.
struct Lines(Bytes, usize, Arc<AtomicUsize>);

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        let left = self.1;
        self.1 = left.saturating_sub(1);
        self.2.fetch_add(usize::from(left > 0), Ordering::SeqCst);
        Poll::Ready((left > 0).then(|| Ok(http_body::Frame::data(self.0.clone()))))
    }
}

#[tokio::test]
async fn commands_in_front_of_a_pack_stop_at_their_limit() {
    let server = Server::new();
    let token = server.repo("t", "r").await;
    let line: Bytes = [b"fff0".as_slice(), &[b'x'; 65_516]].concat().into();
    let send = async |lines: usize| {
        let taken = Arc::new(AtomicUsize::new(0));
        let body = Body::new(Lines(line.clone(), lines, Arc::clone(&taken)));
        let request = Request::builder()
            .method("POST")
            .uri("/git/t/r.git/git-receive-pack")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/x-git-receive-pack-request");
        let response = server.edge.clone().call(request.body(body).unwrap()).await.unwrap();
        (response.status().as_u16(), taken.load(Ordering::SeqCst))
    };
    let fit = PUSH_HEADER_BYTES_MAX / line.len();
    assert_eq!(send(fit).await, (400, fit), "they are read, and end early");
    assert_eq!(send(10 * fit).await, (413, fit + 1), "one line past it, whatever would follow");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_of_requests_stop_at_their_limits() {
    let server = Server::new();
    let origin = server.listen().await;
    let ask = async |fields: String| {
        let address = origin.trim_start_matches("http://");
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
        // The server may refuse before it has read everything.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).get(9..12).unwrap_or_default().to_owned()
    };
    let many = |count: usize| (2..count).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    assert_eq!(ask(many(HEADER_FIELDS_MAX)).await, "200");
    assert_eq!(ask(many(HEADER_FIELDS_MAX + 1)).await, "431");
    // The buffer is the limit, so that it is met within the last piece that was read.
    let long = |bytes: usize| format!("x: {}\r\n", "y".repeat(bytes));
    assert_eq!(ask(long(HTTP1_BUFFER_BYTES_MAX / 2)).await, "200");
    assert_eq!(ask(long(HTTP1_BUFFER_BYTES_MAX)).await, "431");
}

#[tokio::test]
async fn a_push_has_so_many_commands_and_no_more() {
    let server = Server::new();
    let token = server.repo("t", "r").await;
    let max = cairn_protocol::limits::COMMANDS_MAX;
    let one = "1".repeat(40);
    let gone =
        |count: usize| (0..count).map(|n| (format!("refs/heads/{n}"), Some(one.clone()), None)).collect();
    let at: Vec<wire::Move> = gone(max);
    let done = wire::push(&server.edge, "t", ("r", &token), &at, b"", false).await;
    assert_eq!(done, Ok(vec![false; max]), "each is judged: there is no such ref");
    let past: Vec<wire::Move> = gone(max + 1);
    let why = wire::push(&server.edge, "t", ("r", &token), &past, b"", false).await.unwrap_err();
    assert!(why.contains("status 413"), "{why}");
}
