//! How tests ask stock git.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use cairn_protocol::pktline::{write_delim, write_flush, write_text};

/// A git that sees nothing of the machine but `PATH`, with the features that we have.
pub fn git(at: &Path, version: u8) -> Command {
    let mut git = Command::new("git");
    git.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", at);
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_PROTOCOL", format!("version={version}"));
    for who in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{who}_NAME"), "a").env(format!("GIT_{who}_EMAIL"), "a@example.org");
        git.env(format!("GIT_{who}_DATE"), "1700000000 +0000");
    }
    for (key, value) in [
        ("protocol.version", format!("{version}")),
        ("uploadpack.allowFilter", "true".into()),
        ("uploadpack.allowRefInWant", "true".into()),
        ("uploadpack.allowAnySHA1InWant", "true".into()),
        ("uploadpack.allowSidebandAll", "true".into()),
        ("transfer.advertiseSID", "true".into()),
        ("transfer.advertiseObjectInfo", "true".into()),
        ("receive.advertisePushOptions", "true".into()),
    ] {
        git.arg("-c").arg(format!("{key}={value}"));
    }
    git.current_dir(at);
    git
}

/// Runs it to its end.
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("git can be started");
    // Bodies are small: they fit the pipe. A git that refuses early closes it, which is its answer.
    let _ = child.stdin.take().expect("piped").write_all(input);
    child.wait_with_output().expect("git ends")
}

/// A repository of one commit on `main`, and the commit's id.
pub fn repository() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for args in [&["init", "-q", "-b", "main", "."][..], &["commit", "-q", "--allow-empty", "-m", "x"]] {
        let done = run(git(dir.path(), 2).args(args), b"");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let head = run(git(dir.path(), 2).args(["rev-parse", "HEAD"]), b"").stdout;
    (dir, String::from_utf8(head).expect("hex").trim().to_owned())
}

/// A body of lines; `0000` and `0001` are special packets.
pub fn packets(lines: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines {
        match *line {
            "0000" => write_flush(&mut out),
            "0001" => write_delim(&mut out),
            line => write_text(&mut out, line),
        }
    }
    out
}
