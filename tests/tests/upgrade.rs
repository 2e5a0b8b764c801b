//! Data folders that earlier releases wrote, opened by this one.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_conformance::host::Remote;
use cairn_conformance::http;
use cairn_tests::Server;
use cairn_tests::server::{assert_clones, assert_sound, cairn};
use serde_json::{Value, json};
use tempfile::TempDir;

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<PathBuf> = paths.filter(|path| path.to_string_lossy().ends_with(".tar.gz")).collect();
    assert!(!found.is_empty(), "there are fixtures");
    found
}

fn unpacked(fixture: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    let done = Command::new("tar").arg("-xzf").arg(fixture).arg("-C").arg(to.path()).status().unwrap();
    assert!(done.success(), "{}", fixture.display());
    to
}

/// What each repository showed.
fn refs(fixture: &Path) -> BTreeMap<String, String> {
    let path = fixture.to_string_lossy().replace(".tar.gz", ".refs");
    let mut found = BTreeMap::from([("empty".to_owned(), String::new())]);
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let (name, shown) = line.split_once('\t').unwrap();
        let of: &mut String = found.entry(name.to_owned()).or_default();
        of.push_str(shown);
        of.push('\n');
    }
    found
}

fn with_new_token(server: &Server, name: &str) -> Remote {
    let body = json!({ "repo": name, "scope": "write" });
    let (status, answer) = server.rest("POST", "/namespaces/t/tokens", &body);
    assert!(status < 300, "{answer}");
    let token = answer["result"]["plaintext"].as_str().map(str::to_owned);
    Remote { url: format!("{}/git/t/{name}.git", server.origin()), token }
}

/// Clones a repository, adds a commit to its branch `main` and pushes that.
fn push(server: &Server, remote: &Remote, name: &str) {
    let home = tempfile::tempdir().unwrap();
    let git = server.git(home.path(), &[remote]);
    let ok = |args: &[&str]| {
        let out = git.run(home.path(), args);
        assert!(out.ok(), "{name}: {args:?}: {}", out.errors());
    };
    ok(&["clone", "--quiet", &remote.url, "work"]);
    ok(&["-C", "work", "checkout", "--quiet", "-B", "main"]);
    std::fs::write(home.path().join("work/new"), name).unwrap();
    ok(&["-C", "work", "add", "new"]);
    ok(&["-C", "work", "commit", "--quiet", "-m", "after the upgrade"]);
    ok(&["-C", "work", "push", "--quiet", "origin", "main"]);
    assert_clones(&git, home.path(), &remote.url, "after");
}

#[test]
fn folders_of_earlier_releases_are_read_and_written() {
    for fixture in fixtures() {
        let shown = refs(&fixture);
        let data = unpacked(&fixture);
        let mut server = Server::start_on(data);
        assert_sound(server.data());
        for (name, want) in &shown {
            let remote = with_new_token(&server, name);
            let home = tempfile::tempdir().unwrap();
            let git = server.git(home.path(), &[&remote]);
            assert_eq!(git.run(home.path(), &["ls-remote", &remote.url]).text(), want.trim_end(), "{name}");
            assert_clones(&git, home.path(), &remote.url, "before");
            let (status, row) = server.rest("GET", &format!("/namespaces/t/repos/{name}"), &Value::Null);
            assert_eq!(status, 200, "{row}");
            let (status, list) =
                server.rest("GET", &format!("/namespaces/t/repos/{name}/tokens"), &Value::Null);
            assert_eq!(status, 200, "{list}");
            assert!(list["result"].as_array().unwrap().len() >= 2, "the old token is still known: {list}");
            push(&server, &remote, name);
        }
        // Twice: what the first start brought up to date is opened by the second.
        server.terminate();
        assert!(server.wait().success());
        server.restart();
        assert_sound(server.data());
        let remote = with_new_token(&server, "late");
        push(&server, &remote, "again");
    }
}

#[test]
fn api_tokens_of_earlier_releases_open_rest() {
    for fixture in fixtures() {
        let server = Server::start_on(unpacked(&fixture));
        let kept = std::fs::read(server.data().join("fixture-api-token.json")).unwrap();
        let kept: Value = serde_json::from_slice(&kept).unwrap();
        let token = kept["plaintext"].as_str().unwrap();
        let url = format!("{}/client/v4/user/tokens/verify", server.origin());
        let authorization = format!("Bearer {token}");
        let answer = http::request("GET", &url, &[("Authorization", &authorization)], &[]).unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    }
}

#[test]
fn an_old_folder_is_backed_up_restored_and_exported() {
    for fixture in fixtures() {
        let data = unpacked(&fixture);
        let other = tempfile::tempdir().unwrap();
        let path = |name: &str| other.path().join(name).to_string_lossy().into_owned();
        let (status, text) = cairn(&["backup", &path("copy")], data.path());
        assert!(status.success(), "{text}");
        let binary = cairn_conformance::host::cairn_binary();
        let out = Command::new(binary).args(["restore", &path("copy"), &path("data")]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let (status, text) = cairn(&["export", "--all", &path("bundles")], Path::new(&path("data")));
        assert!(status.success() && text.contains("exported 6 repositories"), "{text}");
    }
}
