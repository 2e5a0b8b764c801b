//! The ceiling on connections.

#[path = "support/server.rs"]
mod support;

use std::time::Duration;

use cairn_server::config::{Config, Patience};
use support::Server;
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

#[tokio::test]
async fn one_connection_past_the_ceiling_waits_until_another_ends() {
    let patience = Patience { connections_max: 2, ..Patience::default() };
    let server = Server::with(|config| Config { patience, ..config });
    let origin = server.listen().await;
    let connect = || TcpStream::connect(origin.trim_start_matches("http://"));
    let mut served = Vec::new();
    for _ in 0..2 {
        let mut stream = connect().await.expect("a connection");
        stream.write_all(ASK).await.expect("it is sent");
        answered(&mut stream).await;
        served.push(stream);
    }
    // The kernel takes it and what it says; the server does not look at it yet.
    let mut third = connect().await.expect("a connection");
    third.write_all(ASK).await.expect("it is sent");
    for stream in &mut served {
        stream.write_all(ASK).await.expect("it is sent");
        answered(stream).await;
    }
    let early = third.try_read(&mut [0; 1]).expect_err("no answer yet");
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock);
    served.pop();
    answered(&mut third).await;
}
