//! The command line at its limits, against a server that says what a test wants.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread;

use cairn_server::limits::{
    CLI_ANSWER_BYTES_MAX, CLI_PAGES_MAX, CLI_TOKEN_FILE_BYTES_MAX, CREDENTIAL_QUESTION_BYTES_MAX,
};

/// A JSON answer: what stands at its start, the bytes of blanks behind it, and what stands at its end.
type Said = (&'static str, u64, &'static str);

/// Answers every request so, on connections that stay open; its origin.
fn saying((start, blanks, end): Said) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                let mut head = BufReader::new(&stream);
                while serve(&mut head, &stream, (start, blanks, end)).is_some() {}
            });
        }
    });
    origin
}

fn serve(head: &mut impl BufRead, mut out: &TcpStream, (start, blanks, end): Said) -> Option<()> {
    let mut line = String::new();
    loop {
        line.clear();
        if head.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
    }
    let length = start.len() as u64 + blanks + end.len() as u64;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{start}"
    );
    out.write_all(head.as_bytes()).ok()?;
    std::io::copy(&mut std::io::repeat(b' ').take(blanks), &mut out).ok()?;
    out.write_all(end.as_bytes()).ok()
}

fn cairn(args: &[&str], question: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    command.args(args).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(question);
    child.wait_with_output().unwrap()
}

fn errors(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Lists the repositories of a namespace.
fn list(origin: &str, token_file: &str) -> Output {
    cairn(&["repo", "list", "t", "--json", "--url", origin, "--token-file", token_file], b"")
}

/// A file with a token in a folder of its own.
fn token_file(bytes: u64) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, format!("token{}", "\n".repeat(bytes as usize - 5))).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

#[test]
fn the_file_of_a_token_stops_at_its_limit() {
    let origin = saying((r#"{"success":true,"result":[]"#, 0, "}"));
    let (_dir, at) = token_file(CLI_TOKEN_FILE_BYTES_MAX);
    let out = list(&origin, &at);
    assert!(out.status.success(), "{}", errors(&out));
    let (_dir, past) = token_file(CLI_TOKEN_FILE_BYTES_MAX + 1);
    let out = list(&origin, &past);
    assert!(!out.status.success() && errors(&out).contains("more than 4096 bytes"), "{}", errors(&out));
}

#[test]
fn an_answer_is_held_up_to_its_limit() {
    let (start, end) = (r#"{"success":true,"result":[]"#, "}");
    let (_dir, token) = token_file(6);
    let blanks = CLI_ANSWER_BYTES_MAX - (start.len() + end.len()) as u64;
    let out = list(&saying((start, blanks, end)), &token);
    assert!(out.status.success(), "{}", errors(&out));
    let out = list(&saying((start, blanks + 1, end)), &token);
    assert!(!out.status.success() && errors(&out).contains("too long"), "{}", errors(&out));
}

#[test]
fn a_list_without_end_ends() {
    let (_dir, token) = token_file(6);
    let out = list(&saying((r#"{"success":true,"result":[],"result_info":{"cursor":"x"}"#, 0, "}")), &token);
    let said = format!("{CLI_PAGES_MAX} pages were read");
    assert!(!out.status.success() && errors(&out).contains(&said), "{}", errors(&out));
}

#[test]
fn a_question_of_git_stops_at_its_limit() {
    let question =
        |bytes: u64| format!("protocol=https\nhost=elsewhere\nx={}", "y".repeat(bytes as usize - 32));
    let ask = |bytes: u64| {
        let question = question(bytes);
        assert_eq!(question.len() as u64, bytes);
        cairn(&["credential", "store"], question.as_bytes())
    };
    let out = ask(CREDENTIAL_QUESTION_BYTES_MAX);
    assert!(out.status.success(), "{}", errors(&out));
    let out = ask(CREDENTIAL_QUESTION_BYTES_MAX + 1);
    let said = CREDENTIAL_QUESTION_BYTES_MAX.to_string();
    assert!(!out.status.success() && errors(&out).contains(&said), "{}", errors(&out));
}
