//! HTTP/2 as no friendly client speaks it: a window that stays shut, pings without an answer, a body that stands still.

#[path = "support/server.rs"]
mod support;

use std::time::{Duration, Instant};

use axum::http::Request;
use bytes::Bytes;
use cairn_server::config::{Config, Patience};
use h2::client::SendRequest;
use h2::{Reason, client};
use support::{API_TOKEN, BASE, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it comes")
}

/// A server, and a connection to it whose streams may get `window` bytes.
async fn connect(patience: Patience, window: u32) -> (Server, SendRequest<Bytes>) {
    let server = Server::with(|config| Config { patience, ..config });
    let origin = server.listen().await;
    let stream = TcpStream::connect(origin.trim_start_matches("http://")).await.expect("a connection");
    let shaken = client::Builder::new().initial_window_size(window).handshake(stream).await;
    let (send, connection) = shaken.expect("HTTP/2");
    tokio::spawn(connection);
    (server, send)
}

fn request(method: &str, path: &str) -> Request<()> {
    let request = Request::builder().method(method).uri(format!("http://cairn.test{path}"));
    request.header("authorization", format!("Bearer {API_TOKEN}")).body(()).expect("a request")
}

#[tokio::test]
async fn a_stream_whose_window_stays_shut_is_reset_and_the_connection_lives() {
    let patience = Patience { write_idle_ms: 100, ..Patience::default() };
    let (server, mut send) = connect(patience, 0).await;
    // One answer is a few bytes and could be left to the connection whole, one is large.
    for path in ["/healthz", "/openapi.json"] {
        send = soon(send.ready()).await.expect("the connection lives");
        let (answer, _) = send.send_request(request("GET", path), true).expect("it is sent");
        let answer = soon(answer).await.expect("a head needs no window");
        assert_eq!(answer.status(), 200, "{path}");
        let end = soon(answer.into_body().data()).await.expect("an end").expect_err("no byte of it fits");
        assert_eq!(end.reason(), Some(Reason::CANCEL), "{path}: {end}");
    }
    let end = Instant::now() + PATIENCE;
    while !server.app.metrics.text(Default::default()).contains("cairn_requests_in_flight 0\n") {
        assert!(Instant::now() < end, "a request is held");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_stream_that_is_read_slowly_gets_all_of_its_answer() {
    let (server, mut send) = connect(Patience::default(), 1_000).await;
    send = soon(send.ready()).await.expect("the connection lives");
    let (answer, _) = send.send_request(request("GET", "/openapi.json"), true).expect("it is sent");
    let mut body = soon(answer).await.expect("an answer").into_body();
    let mut got = Vec::new();
    while let Some(data) = soon(body.data()).await {
        let data = data.expect("a piece");
        assert!(data.len() <= 1_000, "the window is kept");
        body.flow_control().release_capacity(data.len()).expect("it was taken");
        got.extend_from_slice(&data);
    }
    assert_eq!(server.get("/healthz").await.status, 200);
    let document: serde_json::Value = serde_json::from_slice(&got).expect("the whole document");
    assert!(document["paths"].is_object());
}

#[tokio::test]
async fn an_upload_that_stands_still_gets_408_and_the_connection_lives() {
    let patience = Patience { body_idle_ms: 50, ..Patience::default() };
    let (_server, mut send) = connect(patience, 65_535).await;
    for _ in 0..2 {
        send = soon(send.ready()).await.expect("the connection lives");
        let path = format!("{BASE}/namespaces/a/repos");
        let (answer, mut body) = send.send_request(request("POST", &path), false).expect("it is sent");
        body.send_data(Bytes::from_static(b"{"), false).expect("it is sent");
        assert_eq!(soon(answer).await.expect("an answer").status(), 408);
    }
}

#[tokio::test]
async fn a_connection_that_answers_no_ping_is_closed() {
    let server = Server::with(|config| {
        let patience = Patience { http2_ping_ms: 50, ..Patience::default() };
        Config { patience, ..config }
    });
    let origin = server.listen().await;
    let mut stream = TcpStream::connect(origin.trim_start_matches("http://")).await.expect("a connection");
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    stream.write_all(&preface).await.expect("it is sent");
    let mut got = Vec::new();
    // A connection that is reset while something of ours is unread ends with an error.
    let _ = soon(stream.read_to_end(&mut got)).await;
    let mut kinds = Vec::new();
    let mut at = got.as_slice();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = at {
        kinds.push(*kind);
        let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        at = rest.get(len..).unwrap_or_default();
    }
    assert!(kinds.contains(&6), "a PING came: {kinds:?}");
}
