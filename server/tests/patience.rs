//! Uploads that stand still get 408 and hold nothing; those that move are taken.

#[path = "support/server.rs"]
mod support;

use std::time::Duration;

use cairn_server::config::{Config, Patience};
use support::{API_TOKEN, BASE, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

fn server(body_idle_ms: u64) -> Server {
    Server::with(|config| Config { patience: Patience { body_idle_ms, ..Patience::default() }, ..config })
}

/// Sends a request whose header promises `promised` bytes, then `pieces`; the whole answer.
async fn upload(origin: &str, path: &str, token: &str, promised: usize, pieces: &[&str]) -> String {
    let address = origin.strip_prefix("http://").expect("an origin");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: cairn.test\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: application/x-git-receive-pack-request\r\ncontent-length: {promised}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("the header is taken");
    for piece in pieces {
        stream.write_all(piece.as_bytes()).await.expect("the body is taken");
        stream.flush().await.expect("it is sent");
    }
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(60), stream.read_to_end(&mut answer)).await;
    read.expect("the request ends").expect("an answer and its end");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_json_body_that_stands_still_gets_408_and_makes_nothing() {
    let server = server(50);
    let origin = server.listen().await;
    let path = format!("{BASE}/namespaces/a/repos");
    let answer = upload(&origin, &path, API_TOKEN, 100, &[r#"{"name":"b""#]).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("stood still for 50 ms"), "{answer}");
    assert_eq!(server.get("/namespaces/a/repos/b").await.status, 404);
}

#[tokio::test]
async fn a_push_that_stands_still_gets_408_and_the_next_is_served() {
    let server = server(50);
    let token = server.repo("a", "b").await;
    let origin = server.listen().await;
    let path = "/git/a/b.git/git-receive-pack";
    for _ in 0..3 {
        let answer = upload(&origin, path, &token, 1_000, &["00"]).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    let answer = upload(&origin, path, &token, 4, &["0000"]).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "git's own probe: {answer}");
}

#[tokio::test]
async fn a_body_that_drips_gets_408_though_it_is_never_silent_for_long() {
    let (body_idle_ms, body_bytes_per_second_min) = (1_000, 1 << 20);
    let patience = Patience { body_idle_ms, body_bytes_per_second_min, ..Patience::default() };
    let server = Server::with(|config| Config { patience, ..config });
    let token = server.repo("a", "b").await;
    let origin = server.listen().await;
    let address = origin.strip_prefix("http://").expect("an origin");
    for (path, token, kind) in [
        (format!("{BASE}/namespaces/a/repos"), API_TOKEN, "application/json"),
        ("/git/a/b.git/git-receive-pack".to_owned(), &token, "application/x-git-receive-pack-request"),
    ] {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: cairn.test\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
             content-type: {kind}\r\ncontent-length: 100000\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("the header is taken");
        // To git, the length of a line that never gets whole.
        stream.write_all(b"fff0").await.expect("the body is taken");
        let (mut answers, mut drips) = stream.into_split();
        let dripping = tokio::spawn(async move {
            let mut next = tokio::time::interval(Duration::from_millis(20));
            while drips.write_all(b"0").await.is_ok() {
                next.tick().await;
            }
        });
        let mut answer = [0; 12];
        let read = timeout(Duration::from_secs(60), answers.read_exact(&mut answer)).await;
        read.expect("the request ends").expect("an answer");
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 408", "{path}");
        dripping.abort();
    }
}

#[tokio::test]
async fn a_body_in_many_pieces_is_taken() {
    let server = server(30_000);
    let origin = server.listen().await;
    let body: Vec<String> = r#"{"name":"b"}"#.chars().map(String::from).collect();
    let pieces: Vec<&str> = body.iter().map(String::as_str).collect();
    let path = format!("{BASE}/namespaces/a/repos");
    let answer = upload(&origin, &path, API_TOKEN, pieces.len(), &pieces).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}
