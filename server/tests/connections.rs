//! The ceilings on connections: of all clients, and of one.

#[path = "support/server.rs"]
mod support;

use std::time::Duration;

use cairn_server::config::{Config, Patience};
use support::{API_TOKEN, BASE, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const ASK: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: cairn.test\r\n\r\n";

async fn answered(stream: &mut TcpStream) {
    let mut answer = [0; 4_096];
    let read = timeout(Duration::from_secs(60), stream.read(&mut answer)).await;
    let len = read.expect("an answer in time").expect("an answer");
    assert!(answer[..len].starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..len]));
}

/// A connection that was served once and stays open.
async fn asked(origin: &str) -> TcpStream {
    let mut stream = TcpStream::connect(origin.trim_start_matches("http://")).await.expect("a connection");
    stream.write_all(ASK).await.expect("it is sent");
    answered(&mut stream).await;
    stream
}

#[tokio::test]
async fn one_connection_past_the_ceiling_waits_until_another_ends() {
    let patience = Patience { connections_max: 2, ..Patience::default() };
    let server = Server::with(|config| Config { patience, ..config });
    let origin = server.listen().await;
    let connect = || TcpStream::connect(origin.trim_start_matches("http://"));
    let mut served = [asked(&origin).await, asked(&origin).await];
    // The kernel takes it and what it says; the server does not look at it yet.
    let mut third = connect().await.expect("a connection");
    third.write_all(ASK).await.expect("it is sent");
    for stream in &mut served {
        stream.write_all(ASK).await.expect("it is sent");
        answered(stream).await;
    }
    let early = third.try_read(&mut [0; 1]).expect_err("no answer yet");
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock);
    let [_, last] = served;
    drop(last);
    answered(&mut third).await;
}

/// Waits until `metric` of the server says `want`. Asking is a request in flight itself.
async fn metric(server: &Server, metric: &str, want: u64) {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let page = server.page("/metrics").await;
        let line = page.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
        if line.and_then(|value| value.parse().ok()) == Some(want) {
            return;
        }
        assert!(std::time::Instant::now() < end, "{metric} is {line:?}, not {want}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_no_more() {
    let patience = Patience { connections_per_address_max: 2, ..Patience::default() };
    let server = Server::with(|config| Config { patience, ..config });
    let origin = server.listen().await;
    let connect = || TcpStream::connect(origin.trim_start_matches("http://"));
    let mut served = [asked(&origin).await, asked(&origin).await];
    let mut third = connect().await.expect("the kernel takes it");
    let closed = timeout(Duration::from_secs(60), third.read(&mut [0; 1])).await.expect("in time");
    assert!(!matches!(closed, Ok(1..)), "one past it is closed: {closed:?}");
    for stream in &mut served {
        stream.write_all(ASK).await.expect("it is sent");
        answered(stream).await;
    }
    drop(served);
    // The server sees that they have ended when it reads.
    let end = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let mut again = connect().await.expect("a connection");
        let _ = again.write_all(ASK).await;
        if again.read(&mut [0; 1]).await.is_ok_and(|len| len > 0) {
            break;
        }
        assert!(std::time::Instant::now() < end, "a seat is given back");
    }
}

#[tokio::test]
async fn connections_that_are_refused_are_told_in_the_metrics() {
    let patience = Patience { connections_per_address_max: 1, ..Patience::default() };
    let server = Server::with(|config| Config { patience, ..config });
    let origin = server.listen().await;
    let connect = || TcpStream::connect(origin.trim_start_matches("http://"));
    let _first = asked(&origin).await;
    let mut second = connect().await.expect("the kernel takes it");
    let _ = timeout(Duration::from_secs(60), second.read(&mut [0; 1])).await.expect("in time");
    metric(&server, "cairn_connections_refused_total", 1).await;
}

/// A request with a body that waits, of a client that the proxy names.
fn upload(client: &str) -> String {
    format!(
        "POST {BASE}/namespaces HTTP/1.1\r\nhost: cairn.test\r\nauthorization: Bearer {API_TOKEN}\r\n\
         x-forwarded-for: {client}\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n"
    )
}

async fn status(stream: &mut TcpStream) -> String {
    let mut answer = [0; 4_096];
    let read = timeout(Duration::from_secs(60), stream.read(&mut answer)).await;
    let len = read.expect("an answer in time").expect("an answer");
    String::from_utf8_lossy(&answer[..len]).get(9..12).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_so_many_requests_and_no_more() {
    let patience = Patience { connections_per_address_max: 2, ..Patience::default() };
    let trusted_proxies = vec!["127.0.0.1".parse().expect("a network")];
    let server = Server::with(|config| Config { patience, trusted_proxies, ..config });
    let origin = server.listen().await;
    let send = async |client: &str| {
        let mut stream =
            TcpStream::connect(origin.trim_start_matches("http://")).await.expect("a connection");
        stream.write_all(upload(client).as_bytes()).await.expect("it is sent");
        stream
    };
    let mut waiting = vec![send("203.0.113.1").await, send("203.0.113.1").await];
    metric(&server, "cairn_requests_in_flight", 2 + 1).await;
    let mut third = send("203.0.113.1").await;
    assert_eq!(status(&mut third).await, "429", "one past it");
    let mut other = send("203.0.113.2").await;
    other.write_all(b"{\"namespace\":\"a\"}").await.expect("it is sent");
    assert_eq!(status(&mut other).await, "201", "another client, over a third connection");
    let mut first = waiting.remove(0);
    first.write_all(b"{\"namespace\":\"b\"}").await.expect("it is sent");
    assert_eq!(status(&mut first).await, "201");
    metric(&server, "cairn_requests_in_flight", 1 + 1).await;
    let mut fourth = send("203.0.113.1").await;
    fourth.write_all(b"{\"namespace\":\"c\"}").await.expect("it is sent");
    assert_eq!(status(&mut fourth).await, "201", "the request that was done gave its place back");
}
