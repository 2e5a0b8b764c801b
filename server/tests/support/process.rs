//! The real binary as a process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// Starts `command`, which serves; answers once it listens, with the process and its first line.
pub fn serving(command: &mut Command) -> (Child, Value) {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    (child, serde_json::from_str(&line).expect("JSON"))
}

/// Host and port of the plain URL in a first line.
#[allow(dead_code, reason = "a server with TLS is asked by its URL")]
pub fn address(first: &Value) -> String {
    first["url"].as_str().and_then(|url| url.strip_prefix("http://")).expect("a URL").to_owned()
}
