//! Speaks to a repository without a git client: requests that no well-behaved client would send.

use crate::host::Remote;
use crate::http::{self, Framing, Response};
use crate::pack::{FLUSH, ZERO, pkt, pkt_lines};
use std::io;

/// A ref update command.
pub struct Command<'a> {
    /// Value before, in hex.
    pub old: &'a str,
    /// Value after, in hex.
    pub new: &'a str,
    /// Full name, not checked.
    pub name: &'a [u8],
}

impl<'a> Command<'a> {
    /// Creates a ref.
    pub fn create(name: &'a str, new: &'a str) -> Self {
        Self { old: ZERO, new, name: name.as_bytes() }
    }
}

/// What receive-pack said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// HTTP status.
    pub status: u16,
    /// `ok`, `error` or `none` for the pack.
    pub unpack: String,
    /// `ok NAME` or `ng NAME`, without the reason.
    pub refs: Vec<String>,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} unpack {} [{}]", self.status, self.unpack, self.refs.join(", "))
    }
}

/// GET below the repository.
pub fn get(remote: &Remote, path: &str, version: u8) -> io::Result<Response> {
    with_headers(remote, version, None, |headers| {
        http::request("GET", &format!("{}{path}", remote.url), headers, b"")
    })
}

/// POST to a service with its proper content type.
pub fn post(remote: &Remote, service: &str, version: u8, body: &[u8]) -> io::Result<Response> {
    post_framed(remote, service, version, body, &[], Framing::Length)
}

/// The same with more headers and any framing.
pub fn post_framed(
    remote: &Remote,
    service: &str,
    version: u8,
    body: &[u8],
    more: &[(&str, &str)],
    framing: Framing,
) -> io::Result<Response> {
    let kind = format!("application/x-git-{service}-request");
    with_headers(remote, version, Some(&kind), |headers| {
        let headers: Vec<(&str, &str)> = headers.iter().copied().chain(more.iter().copied()).collect();
        http::request_framed("POST", &format!("{}/git-{service}", remote.url), &headers, body, framing)
    })
}

fn with_headers<T>(
    remote: &Remote,
    version: u8,
    kind: Option<&str>,
    send: impl FnOnce(&[(&str, &str)]) -> T,
) -> T {
    let authorization = remote.authorization();
    let version = format!("version={version}");
    let mut headers = vec![("Git-Protocol", version.as_str())];
    if let Some(value) = &authorization {
        headers.push(("Authorization", value));
    }
    if let Some(kind) = kind {
        headers.push(("Content-Type", kind));
    }
    send(&headers)
}

/// The body of a push.
pub fn push_body(commands: &[Command], capabilities: &str, pack: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (at, command) in commands.iter().enumerate() {
        let mut line = format!("{} {} ", command.old, command.new).into_bytes();
        line.extend_from_slice(command.name);
        if at == 0 {
            line.extend_from_slice(format!("\0 {capabilities}").as_bytes());
        }
        body.extend(pkt(line));
    }
    body.extend_from_slice(FLUSH);
    body.extend_from_slice(pack);
    body
}

/// Pushes by hand and reads the report.
pub fn push(remote: &Remote, commands: &[Command], pack: &[u8]) -> io::Result<Report> {
    push_with(remote, commands, "report-status agent=judge/1", pack)
}

/// The same with chosen capabilities; `side-band-64k` must not be among them.
pub fn push_with(
    remote: &Remote,
    commands: &[Command],
    capabilities: &str,
    pack: &[u8],
) -> io::Result<Report> {
    let answer = post(remote, "receive-pack", 0, &push_body(commands, capabilities, pack))?;
    Ok(read_report(&answer))
}

/// Reads a report that came without side-band.
pub fn read_report(answer: &Response) -> Report {
    let mut report = Report { status: answer.status, unpack: "none".to_owned(), refs: Vec::new() };
    for line in pkt_lines(&answer.body) {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let mut words = line.split(' ');
        match (words.next(), words.next()) {
            (Some("unpack"), Some("ok")) => report.unpack = "ok".to_owned(),
            (Some("unpack"), _) => report.unpack = "error".to_owned(),
            (Some(verdict @ ("ok" | "ng")), Some(name)) => report.refs.push(format!("{verdict} {name}")),
            _ => {}
        }
    }
    report.refs.sort();
    report
}
