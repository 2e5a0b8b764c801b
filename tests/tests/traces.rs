//! What a collector of traces is sent, read by a decoder of its own.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use cairn_conformance::host::API_TOKEN;
use cairn_conformance::http;
use cairn_tests::Server;
use cairn_tests::chain::Chain;
use cairn_tests::server::assert_clones;

/// How long the last traces may take to arrive once the server ended.
const ARRIVE_SECONDS_MAX: u64 = 10;
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Takes in requests and answers each with an empty success.
struct Collector {
    origin: String,
    bodies: Receiver<(String, Vec<u8>)>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (sender, bodies) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
                let (mut head, mut bytes) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
                        break;
                    }
                    let lower = line.to_ascii_lowercase();
                    if let Some(length) = lower.strip_prefix("content-length:") {
                        bytes = length.trim().parse().unwrap();
                    }
                    head.push_str(&lower);
                }
                let mut body = vec![0; bytes];
                reader.read_exact(&mut body).unwrap();
                let answer =
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\
                    Connection: close\r\n\r\n";
                reader.get_mut().write_all(answer).unwrap();
                if sender.send((head, body)).is_err() {
                    break;
                }
            }
        });
        Self { origin, bodies }
    }

    /// All that arrives until nothing more does; the server has ended by then.
    fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut wait = Duration::from_secs(ARRIVE_SECONDS_MAX);
        while let Ok((head, body)) = self.bodies.recv_timeout(wait) {
            wait = Duration::from_millis(200);
            assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
            assert!(head.contains("content-type: application/x-protobuf"), "{head}");
            let text = String::from_utf8_lossy(&body);
            for secret in [API_TOKEN, "cairn_v1_", "Bearer", "art_v1_"] {
                assert!(!text.contains(secret), "{secret} in a trace");
            }
            spans.extend(decode(&body));
        }
        spans
    }
}

#[derive(Debug, Default)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: u64,
    nanos: (u64, u64),
    attributes: BTreeMap<String, String>,
    service: String,
}

/// A field of a protobuf message: its number, then its number value or its bytes.
enum Field<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    value
}

fn fields(mut bytes: &[u8]) -> Vec<Field<'_>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let take = match tag & 7 {
            0 => {
                found.push(Field::Number(tag >> 3, varint(&mut bytes)));
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)).unwrap(),
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = bytes.split_at(take);
        bytes = rest;
        found.push(match (tag & 7, <[u8; 8]>::try_from(value)) {
            (1, Ok(eight)) => Field::Number(tag >> 3, u64::from_le_bytes(eight)),
            _ => Field::Bytes(tag >> 3, value),
        });
    }
    found
}

fn messages(bytes: &[u8], number: u64) -> Vec<&[u8]> {
    let of = |field| match field {
        Field::Bytes(found, value) if found == number => Some(value),
        _ => None,
    };
    fields(bytes).into_iter().filter_map(of).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(message: &[u8], number: u64) -> BTreeMap<String, String> {
    let pair = |pair: &[u8]| {
        let value = match fields(messages(pair, 2)[0]).remove(0) {
            Field::Bytes(_, value) => text(value),
            Field::Number(_, value) => value.to_string(),
        };
        (text(messages(pair, 1)[0]), value)
    };
    messages(message, number).into_iter().map(pair).collect()
}

/// `ExportTraceServiceRequest` of opentelemetry-proto 1.
fn decode(body: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for of_resource in messages(body, 1) {
        let resource = messages(of_resource, 1)[0];
        let service = attributes(resource, 1).remove("service.name").unwrap_or_default();
        for raw in messages(of_resource, 2).into_iter().flat_map(|scope| messages(scope, 2)) {
            let mut span =
                Span { attributes: attributes(raw, 9), service: service.clone(), ..Span::default() };
            for field in fields(raw) {
                match field {
                    Field::Bytes(1, value) => span.trace = hex(value),
                    Field::Bytes(2, value) => span.id = hex(value),
                    Field::Bytes(4, value) => span.parent = hex(value),
                    Field::Bytes(5, value) => span.name = text(value),
                    Field::Number(6, value) => span.kind = value,
                    Field::Number(7, value) => span.nanos.0 = value,
                    Field::Number(8, value) => span.nanos.1 = value,
                    _ => {}
                }
            }
            spans.push(span);
        }
    }
    spans
}

fn get_traced(server: &Server) {
    let authorization = format!("Bearer {API_TOKEN}");
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let headers = [("Authorization", authorization.as_str()), ("traceparent", traceparent.as_str())];
    let url = format!("{}/client/v4/user/tokens/verify", server.origin());
    assert_eq!(http::request("GET", &url, &headers, &[]).unwrap().status, 200);
}

#[test]
fn requests_and_their_large_steps_are_traced() {
    let collector = Collector::start();
    let mut server =
        Server::start_with(&["--otlp-endpoint", &collector.origin, "--trusted-proxy", "127.0.0.1"]);
    let dir = tempfile::tempdir().unwrap();
    get_traced(&server);
    let remote = server.create("traced");
    let mut chain = Chain::new("refs/heads/main", 1, 10_000);
    let step = chain.next_step();
    assert!(chain.push(&remote, &step));
    assert_clones(&server.git(dir.path(), &[&remote]), dir.path(), &remote.url, "clone");
    server.terminate();
    assert!(server.wait().success());

    let spans = collector.spans();
    let named = |name: &str| spans.iter().filter(|span| span.name.contains(name)).collect::<Vec<_>>();
    let [verify] = named("/user/tokens/verify")[..] else { panic!("{spans:#?}") };
    assert_eq!((verify.trace.as_str(), verify.parent.as_str()), (TRACE, PARENT));
    assert_eq!((verify.kind, verify.service.as_str()), (2, "cairn"));
    assert_eq!(verify.attributes["http.response.status_code"], "200");
    assert_eq!(verify.attributes["cairn.request_id"].len(), 24);
    for (step, request) in
        [("index", "git-receive-pack"), ("commit", "git-receive-pack"), ("plan", "git-upload-pack")]
    {
        let [step] = spans.iter().filter(|span| span.name == step).collect::<Vec<_>>()[..] else {
            panic!("one {step}: {spans:#?}")
        };
        let parent = spans.iter().find(|span| span.id == step.parent).unwrap();
        assert!(parent.name.contains(request) && parent.name.starts_with("POST"), "{parent:?}");
        assert_eq!(parent.trace, step.trace);
        assert!(parent.nanos.0 <= step.nanos.0 && step.nanos.1 <= parent.nanos.1, "{step:?} in {parent:?}");
    }
}

#[test]
fn strangers_do_not_choose_the_trace() {
    let collector = Collector::start();
    let mut server = Server::start_with(&["--otlp-endpoint", &collector.origin]);
    get_traced(&server);
    server.terminate();
    assert!(server.wait().success());
    let spans = collector.spans();
    let [span] = &spans[..] else { panic!("{spans:#?}") };
    assert_ne!(span.trace, TRACE);
    assert_eq!(span.parent, "");
}

#[test]
fn a_collector_that_is_not_there_holds_nobody_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut server = Server::start_with(&["--otlp-endpoint", &origin]);
    get_traced(&server);
    server.terminate();
    assert!(server.wait().success());
}
