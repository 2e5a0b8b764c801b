//! The command line reads, commits, compares and merges; stock git says what is right.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use cairn_conformance::git::{Git, Out, run_command};
use cairn_conformance::host::{API_TOKEN, Remote, cairn_binary};
use cairn_tests::Server;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A server with a repository `t/site`, and a place to work in.
struct Desk {
    server: Server,
    remote: Remote,
    dir: TempDir,
}

impl Desk {
    fn new() -> Self {
        let server = Server::start();
        let remote = server.create("site");
        Self { server, remote, dir: tempfile::tempdir().unwrap() }
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn feed(&self, args: &[&str], input: &[u8]) -> Out {
        let mut command = Command::new(cairn_binary());
        command.args(args).current_dir(self.dir()).env_clear().env("CAIRN_URL", self.server.origin());
        command.env("CAIRN_API_TOKEN", API_TOKEN).env("CAIRN_NAMESPACE", "t");
        run_command(command, input)
    }

    fn ask(&self, args: &[&str]) -> Out {
        self.feed(args, b"")
    }

    /// What a command that must work prints.
    fn text(&self, args: &[&str]) -> String {
        let out = self.ask(args);
        assert!(out.ok(), "cairn {args:?}: {} {}", out.text(), out.errors());
        out.text()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.text(&[args, &["--json"]].concat())).unwrap()
    }

    fn git(&self) -> Git {
        self.server.git(self.dir(), &[&self.remote])
    }

    /// A fresh clone by stock git.
    fn clone(&self, name: &str) -> PathBuf {
        let out = self.git().run(self.dir(), &["clone", "--quiet", &self.remote.url, name]);
        assert!(out.ok(), "{}", out.errors());
        self.dir().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.dir().join(name), bytes).unwrap();
    }

    /// A commit of one text file; its hash.
    fn commit(&self, branch: &str, path: &str, text: &str, more: &[&str]) -> String {
        let add = format!("{path}=-");
        let args = [&["commit", "site", "-b", branch, "-m", path, "--add", &add, "--json"], more].concat();
        let out = self.feed(&args, text.as_bytes());
        assert!(out.ok(), "{}", out.errors());
        let made: Value = serde_json::from_slice(&out.stdout).unwrap();
        made["hash"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_commit_adds_moves_and_deletes_files_as_stock_git_sees_them() {
    let desk = Desk::new();
    desk.commit("main", "docs/a.txt", "one\n", &[]);
    desk.write("tool", b"#!/bin/sh\n");
    desk.write("bytes", &[0, 159, 146, 150]);
    let tool = desk.dir().join("tool");
    let mut rights = std::fs::metadata(&tool).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut rights, 0o755);
    std::fs::set_permissions(&tool, rights).unwrap();
    desk.text(&["commit", "site", "-b", "main", "-m", "more", "--add", "bin/tool=tool", "--add", "bytes"]);
    let who = ["--author", "Ann Ex <ann@example.com>"];
    let args =
        ["commit", "site", "-b", "main", "-m", "tidy\n\nwhy", "--mv", "docs/a.txt=b.txt", "--rm", "bytes"];
    let said = desk.text(&[&args[..], &who].concat());
    assert!(said.ends_with(" tidy"), "{said}");

    let here = desk.clone("here");
    let git = desk.git();
    let tree = git.run(&here, &["ls-tree", "-r", "--format=%(objectmode) %(path)", "HEAD"]).text();
    assert_eq!(tree, "100644 b.txt\n100755 bin/tool");
    assert_eq!(
        git.run(&here, &["log", "-1", "--format=%an %ae %B"]).text().trim(),
        "Ann Ex ann@example.com tidy\n\nwhy"
    );
    assert!(git.run(&here, &["fsck", "--strict"]).ok());
}

#[test]
fn of_a_commit_on_a_head_that_moved_nothing_is_made() {
    let desk = Desk::new();
    let first = desk.commit("main", "a", "1", &[]);
    let second = desk.commit("main", "a", "2", &["--expect", &first]);
    let out =
        desk.feed(&["commit", "site", "-b", "main", "-m", "x", "--add", "a=-", "--expect", &first], b"3");
    assert_eq!(out.code, 1);
    assert!(out.errors().contains("(code 10304"), "{}", out.errors());
    assert_eq!(desk.json(&["log", "site"])[0]["hash"], second.as_str());
}

#[test]
fn large_files_are_sent_as_parts() {
    let desk = Desk::new();
    let large: Vec<u8> = cairn_tests::server::Random::new(7).bytes(5 << 20);
    desk.write("large", &large);
    desk.write("small", b"small\n");
    desk.text(&["commit", "site", "-b", "main", "-m", "files", "--add", "large", "--add", "small"]);
    let out = desk.feed(&["commit", "site", "-b", "main", "-m", "fed", "--add", "fed=-"], &large);
    assert!(out.ok(), "{}", out.errors());
    let here = desk.clone("here");
    assert!(std::fs::read(here.join("large")).unwrap() == large, "the file arrives as it was");
    assert!(std::fs::read(here.join("fed")).unwrap() == large, "standard input too");
    assert_eq!(std::fs::read(here.join("small")).unwrap(), b"small\n");
    assert!(desk.ask(&["cat", "site:large"]).stdout == large, "and comes back");
}

#[test]
fn log_ls_cat_and_archive_show_what_stock_git_shows() {
    let desk = Desk::new();
    let first = desk.commit("main", "src/a.txt", "one\n", &[]);
    desk.commit("main", "README", "read me\n", &[]);
    desk.commit("main", "src/a.txt", "two\n", &[]);
    let here = desk.clone("here");
    let git = desk.git();
    let log = git.run(&here, &["log", "--abbrev=10", "--format=%h %s"]).text();
    assert_eq!(desk.text(&["log", "site", "--oneline"]), log);
    assert_eq!(desk.text(&["log", "site:src", "--oneline"]).lines().count(), 2);
    assert_eq!(desk.text(&["log", "site", "-n", "1", "--oneline"]).lines().count(), 1);
    let whole = desk.text(&["log", "site"]);
    assert!(whole.contains(&format!("commit {first}\n")) && whole.contains("    src/a.txt"), "{whole}");

    assert_eq!(desk.text(&["ls", "site"]), "README\nsrc/");
    assert_eq!(desk.text(&["ls", "-r", "-l", "site:src"]).split_whitespace().last(), Some("src/a.txt"));
    assert_eq!(desk.text(&["cat", "site:src/a.txt"]), "two");
    assert_eq!(desk.text(&["cat", &format!("site@{first}:src/a.txt")]), "one");
    assert_eq!(desk.text(&["cat", "site:src/a.txt", "--at", "1"]), "one");
    let out = desk.ask(&["cat", "site:none"]);
    assert_eq!(out.code, 1);
    assert!(out.errors().contains("(code 10200)"), "{}", out.errors());

    desk.text(&["archive", "site@main", "-o", "site.tar"]);
    let listed = Command::new("tar").arg("-tf").arg(desk.dir().join("site.tar")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.lines().any(|name| name.ends_with("/src/a.txt")), "{listed}");
    let out = desk.ask(&["archive", "site@none", "-o", "none.zip"]);
    assert_eq!(out.code, 1);
    assert!(!desk.dir().join("none.zip").exists() && !desk.dir().join("none.zip.part").exists());
}

#[test]
fn refs_are_listed_made_moved_and_deleted() {
    let desk = Desk::new();
    let first = desk.commit("main", "a", "1", &[]);
    let second = desk.commit("main", "a", "2", &[]);
    let zeros = "0".repeat(40);
    desk.text(&["refs", "set", "site", "refs/heads/topic/one", &first, "--expect", &zeros]);
    let out = desk.ask(&["refs", "set", "site", "refs/heads/topic/one", &second, "--expect", &second]);
    assert!(out.errors().contains("(code 10304"), "{}", out.errors());
    desk.text(&["refs", "set", "site", "refs/heads/topic/one", &second, "--expect", &first]);
    let wanted =
        format!("{second} HEAD → refs/heads/main\n{second} refs/heads/main\n{second} refs/heads/topic/one");
    assert_eq!(desk.text(&["refs", "list", "site"]), wanted);
    assert_eq!(desk.json(&["refs", "get", "site", "refs/heads/topic/one"])["hash"], second.as_str());
    desk.text(&["refs", "delete", "site", "refs/heads/topic/one", "--expect", &second]);
    assert_eq!(desk.text(&["refs", "list", "site", "--prefix", "refs/heads/topic"]), "");
}

#[test]
fn a_diff_is_what_git_applies() {
    let desk = Desk::new();
    desk.commit("main", "a", "1\n2\n3\n", &[]);
    let topic = desk.commit("topic", "a", "1\ntwo\n3\n", &["--from", "main"]);
    let here = desk.clone("here");
    let patch = desk.ask(&["diff", "site", "main...topic"]);
    assert!(patch.ok(), "{}", patch.errors());
    let git = desk.git();
    let out = git.feed(&here, &["apply", "--index", "-"], &patch.stdout);
    assert!(out.ok(), "{}", out.errors());
    let tree = git.run(&here, &["write-tree"]).text();
    assert_eq!(git.run(&here, &["rev-parse", &format!("{topic}^{{tree}}")]).text(), tree);
    let stat = desk.text(&["diff", "site", "main...topic", "--stat"]);
    assert!(stat.contains("modified") && stat.ends_with("1 files; ahead: 1 ahead, 0 behind"), "{stat}");
}

#[test]
fn a_merge_is_made_on_the_server_or_its_conflicts_are_named() {
    let desk = Desk::new();
    desk.commit("main", "a", "1\n", &[]);
    desk.commit("topic", "b", "2\n", &["--from", "main"]);
    desk.commit("bad", "a", "bad\n", &["--from", "main"]);
    desk.commit("main", "a", "main\n", &[]);
    assert!(desk.text(&["merge", "site", "--into", "main", "topic"]).starts_with("merged: "));
    assert_eq!(desk.text(&["cat", "site:b"]), "2");
    let head = desk.json(&["log", "site"])[0]["hash"].clone();
    let out = desk.ask(&["merge", "site", "--into", "main", "bad"]);
    assert_eq!(out.code, 1);
    assert!(
        out.errors().contains("content: a\n") && out.errors().contains("(code 10306"),
        "{}",
        out.errors()
    );
    assert_eq!(desk.json(&["log", "site"])[0]["hash"], head, "nothing was written");
    desk.text(&["merge", "site", "--into", "main", "bad", "--favor", "theirs", "--squash", "-m", "taken"]);
    assert_eq!(desk.text(&["cat", "site:a"]), "bad");
}

#[test]
fn activity_and_usage_tell_what_happened_and_how_much_is_held() {
    let desk = Desk::new();
    desk.commit("main", "a", "1\n", &[]);
    desk.commit("main", "a", "2\n", &[]);
    let told = desk.json(&["activity", "site"]);
    let seqs: Vec<u64> =
        told.as_array().unwrap().iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [2, 1]);
    assert!(desk.text(&["activity", "site"]).contains("refs/heads/main"));
    assert_eq!(desk.json(&["usage", "site"])["entries"], 2);
    assert!(desk.text(&["usage", "site"]).lines().any(|line| line.starts_with("own ")));
    desk.text(&["fork", "site", "then", "--at", "1"]);
    assert_eq!(desk.text(&["cat", "then:a"]), "1");
}
