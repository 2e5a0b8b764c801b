//! A push that is refused before it is here, over a real socket: the client gets to read why.

#[path = "support/server.rs"]
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use cairn_protocol::limits::PUSH_HEADER_BYTES_MAX;
use support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_everything_first_reads_why_it_was_refused() {
    let server = Server::new();
    let token = server.repo("t", "r").await;
    let origin = server.listen().await;
    let address = origin.trim_start_matches("http://").to_owned();
    let line = [b"fff0".as_slice(), &[b'x'; 65_516]].concat();
    let bytes = PUSH_HEADER_BYTES_MAX / line.len() * line.len() * 3 / 2;
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let head = format!(
            "POST /git/t/r.git/git-receive-pack HTTP/1.1\r\nhost: cairn.test\r\nauthorization: Bearer {token}\r\n\
             content-type: application/x-git-receive-pack-request\r\ncontent-length: {bytes}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("it reads");
        for _ in 0..bytes / line.len() {
            stream.write_all(&line).expect("it reads on until the client has read the answer");
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    });
    let answer = answer.await.expect("no panic");
    let limit = PUSH_HEADER_BYTES_MAX.to_string();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains(&limit), "{answer}");
}
