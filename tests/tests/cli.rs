//! The command line asks a real server, and stock git asks the command line for tokens.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use cairn_conformance::git::{Git, Out, run_command};
use cairn_conformance::host::{API_TOKEN, cairn_binary};
use cairn_tests::Server;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// A `cairn` command that knows nothing of the caller's environment and works in `dir`.
fn bare(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(cairn_binary());
    command.args(args).current_dir(dir).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", dir);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
    command
}

/// Runs `cairn` against the server.
fn ask(server: &Server, dir: &Path, args: &[&str]) -> Out {
    feed(server, dir, args, b"")
}

fn feed(server: &Server, dir: &Path, args: &[&str], input: &[u8]) -> Out {
    let mut command = bare(dir, args);
    command.env("CAIRN_URL", server.origin()).env("CAIRN_API_TOKEN", API_TOKEN);
    run_command(command, input)
}

/// What a command that must work prints.
fn text(server: &Server, dir: &Path, args: &[&str]) -> String {
    let out = ask(server, dir, args);
    assert!(out.ok(), "cairn {args:?}: {} {}", out.text(), out.errors());
    out.text()
}

/// The same as JSON.
fn json(server: &Server, dir: &Path, args: &[&str]) -> Value {
    let args = [args, &["--json"]].concat();
    serde_json::from_str(&text(server, dir, &args)).unwrap()
}

#[test]
fn namespaces_and_repositories_are_made_listed_changed_and_deleted() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let dir = dir.path();
    assert_eq!(json(&server, dir, &["ns", "create", "team"])["namespace"], "team");
    let made = json(&server, dir, &["repo", "create", "team/site", "--description", "the site"]);
    assert_eq!(made["remote"], format!("{}/git/team/site.git", server.origin()));
    assert!(made["token"].as_str().unwrap().starts_with("art_v1_"));
    text(&server, dir, &["repo", "create", "other", "--namespace", "team", "--read-only"]);

    let table = text(&server, dir, &["repo", "list", "team", "--sort", "name"]);
    let columns: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(&columns[0][..2], ["NAME", "STATUS"]);
    assert_eq!(&columns[1][..4], ["other", "ready", "main", "true"]);
    assert_eq!(&columns[2][..4], ["site", "ready", "main", "false"]);
    let listed = json(&server, dir, &["repo", "list", "team", "--search", "sit"]);
    assert_eq!(listed.as_array().unwrap().len(), 1);

    let changed = json(&server, dir, &["repo", "edit", "team/other", "--read-only", "false"]);
    assert_eq!(changed["read_only"], false);
    assert!(text(&server, dir, &["repo", "get", "team/site"]).contains("description:    the site"));
    text(&server, dir, &["repo", "delete", "team/site"]);
    assert!(!ask(&server, dir, &["repo", "get", "team/site"]).ok());
    assert!(!ask(&server, dir, &["ns", "delete", "team"]).ok(), "it holds a repository");
    text(&server, dir, &["ns", "delete", "team", "--force"]);
    assert_eq!(text(&server, dir, &["ns", "list"]), "nothing found");
}

#[test]
fn a_long_list_is_followed_over_its_pages() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    for at in 0..230 {
        let name = serde_json::json!({ "name": format!("r{at}") });
        assert_eq!(server.rest("POST", "/namespaces/many/repos", &name).0, 201);
    }
    let all = json(&server, dir.path(), &["repo", "list", "many"]);
    let mut names: Vec<&str> =
        all.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 230);
    let some = json(&server, dir.path(), &["repo", "list", "many", "--limit", "205"]);
    assert_eq!(some.as_array().unwrap().len(), 205);
}

#[test]
fn tokens_are_issued_listed_and_revoked() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let dir = dir.path();
    text(&server, dir, &["repo", "create", "team/site"]);
    let issued = json(&server, dir, &["token", "issue", "team/site", "--scope", "read", "--ttl", "600"]);
    let (id, secret) = (issued["id"].as_str().unwrap(), issued["plaintext"].as_str().unwrap());
    let url = format!("{}/git/team/site.git", server.origin());
    let mut git = Git::new(dir);
    git.bearer(&url, secret);
    assert!(git.run(dir, &["ls-remote", &url]).ok());
    let listed = json(&server, dir, &["token", "list", "team/site"]);
    let row = listed.as_array().unwrap().iter().find(|row| row["id"] == id).unwrap();
    assert_eq!((&row["scope"], &row["state"]), (&"read".into(), &"active".into()));
    assert!(!listed.to_string().contains(&secret[..20]), "a token's text is shown once");
    text(&server, dir, &["token", "revoke", id, "--namespace", "team"]);
    assert!(!git.run(dir, &["ls-remote", &url]).ok());
}

#[test]
fn errors_carry_code_and_pointer_and_an_exit_code() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let dir = dir.path();
    text(&server, dir, &["repo", "create", "team/site"]);
    let rows: &[(&str, &[&str], i32, &str)] = &[
        ("what is not there", &["repo", "get", "team/none"], 1, "cairn: Repository not found (code 10200)"),
        ("a field at fault", &["token", "issue", "team/site", "--ttl", "1"], 1, "(code 10103, at /ttl)"),
        ("a taken name", &["repo", "create", "team/site"], 1, "(code 10201"),
        ("an unknown option", &["repo", "list", "--bogus"], 2, "--bogus"),
        ("no repository", &["repo", "get", "a/b/c"], 2, "NAMESPACE/NAME"),
        ("no file", &["cat", "team/site"], 2, "names no file"),
        ("nothing to commit", &["commit", "team/site", "-b", "main", "-m", "x"], 2, "nothing to commit"),
        ("a token as an argument", &["ns", "list", "--api-token", "x"], 2, "--api-token"),
    ];
    for (why, args, code, words) in rows {
        let out = ask(&server, dir, args);
        assert_eq!(out.code, *code, "{why}: {}", out.errors());
        assert!(out.errors().contains(words), "{why}: {}", out.errors());
        assert_eq!(out.text(), "", "{why}: nothing but errors is said");
    }
}

#[test]
fn a_local_server_is_found_by_its_folder_and_its_token_goes_to_no_other() {
    let (server, other) = (Server::start(), Server::start());
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(server.data(), dir.path().join("cairn-data")).unwrap();
    let token = std::fs::read_to_string(server.data().join("api-token"));
    if token.is_err() {
        // A server that was given its token need not write it down; this is what one without does.
        std::fs::write(server.data().join("api-token"), API_TOKEN).unwrap();
    }
    let out = run_command(bare(dir.path(), &["repo", "create", "a"]), b"");
    assert!(out.ok(), "{}", out.errors());
    assert!(out.text().contains(&format!("{}/git/default/a.git", server.origin())));

    let out = run_command(bare(dir.path(), &["ns", "list", "--url", other.origin()]), b"");
    assert_eq!(out.code, 2);
    assert!(out.errors().contains("no API token"), "{}", out.errors());
    let out = run_command(bare(dir.path(), &["ns", "list", "--data", "nowhere"]), b"");
    assert_eq!(out.code, 2);
    assert!(out.errors().contains("CAIRN_URL"), "{}", out.errors());

    let file = dir.path().join("token");
    std::fs::write(&file, format!("{API_TOKEN}\n")).unwrap();
    let file = file.to_string_lossy().into_owned();
    let out =
        run_command(bare(dir.path(), &["ns", "list", "--url", other.origin(), "--token-file", &file]), b"");
    assert!(out.ok(), "{}", out.errors());
    std::fs::write(&file, "wrong\n").unwrap();
    let out =
        run_command(bare(dir.path(), &["ns", "list", "--url", other.origin(), "--token-file", &file]), b"");
    assert_eq!(out.code, 1);
    assert!(out.errors().contains("Authentication error (code 10000)"), "{}", out.errors());
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = bare(dir.path(), &["ns", "list"]);
    command.env("CAIRN_URL", format!("http://127.0.0.1:{port}")).env("CAIRN_API_TOKEN", "x");
    let out = run_command(command, b"");
    assert_eq!(out.code, 1);
    assert!(out.errors().contains(&format!("http://127.0.0.1:{port} cannot be reached")), "{}", out.errors());
}

#[test]
fn a_fork_is_made_in_another_namespace() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let dir = dir.path();
    text(&server, dir, &["repo", "create", "team/site"]);
    assert!(
        json(&server, dir, &["fork", "team/site", "me/draft"])["remote"]
            .as_str()
            .unwrap()
            .ends_with("/git/me/draft.git")
    );
    assert_eq!(json(&server, dir, &["repo", "get", "me/draft"])["source"], "artifacts:team/site");
    text(&server, dir, &["repo", "fork", "team/site", "me/second"]);
}

#[test]
fn clone_leaves_no_token_and_git_works_in_it_from_then_on() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let dir = dir.path();
    text(&server, dir, &["repo", "create", "team/site"]);
    text(&server, dir, &["clone", "team/site", "here", "--", "--quiet", "--origin", "cairn"]);
    let here = dir.join("here");
    let config = std::fs::read_to_string(here.join(".git/config")).unwrap();
    assert!(config.contains("usehttppath = true") || config.contains("useHttpPath = true"), "{config}");
    assert!(!config.contains("art_v1_") && !config.contains(API_TOKEN), "{config}");

    let git = Git::new(dir);
    let run = |args: &[&str]| {
        let mut command = git.command(&here, args);
        command.env("CAIRN_API_TOKEN", API_TOKEN);
        run_command(command, b"")
    };
    std::fs::write(here.join("a"), "a\n").unwrap();
    for args in
        [&["add", "."][..], &["commit", "--quiet", "-m", "first"], &["push", "--quiet", "cairn", "HEAD:main"]]
    {
        let out = run(args);
        assert!(out.ok(), "git {args:?}: {}", out.errors());
    }
    let out = run(&["fetch", "cairn"]);
    assert!(out.ok(), "{}", out.errors());
    let again = run(&["ls-remote", "cairn", "refs/heads/main"]).text();
    assert!(again.ends_with("refs/heads/main"), "{again}");

    let out = ask(&server, dir, &["clone", "team/none"]);
    assert_eq!(out.code, 1);
    let out = ask(&server, dir, &["clone", "team/site", "here"]);
    assert_eq!(out.code, 128, "git's own exit code: {}", out.errors());
}

#[test]
fn the_credential_helper_answers_for_its_own_server_alone() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let dir = dir.path();
    text(&server, dir, &["repo", "create", "team/site"]);
    let host = server.origin().strip_prefix("http://").unwrap().to_owned();
    let get = |question: &str| feed(&server, dir, &["credential", "get"], question.as_bytes());

    let out = get(&format!(
        "protocol=http\nhost={host}\npath=git/team/site.git\nwwwauth[]=Basic realm=\"Cairn\"\n\n"
    ));
    assert!(out.ok(), "{}", out.errors());
    let answer = out.text();
    let password = answer.lines().find_map(|line| line.strip_prefix("password=")).unwrap();
    assert!(password.len() == 47 && password.starts_with("art_v1_"), "{answer}");
    assert!(answer.contains("\npassword_expiry_utc="), "{answer}");

    let silent = [
        ("another host", "protocol=http\nhost=127.0.0.1:1\npath=git/team/site.git\n\n".to_owned()),
        ("another protocol", format!("protocol=https\nhost={host}\npath=git/team/site.git\n\n")),
        ("no path", format!("protocol=http\nhost={host}\n\n")),
        ("no remote", format!("protocol=http\nhost={host}\npath=client/v4/user\n\n")),
        ("half a remote", format!("protocol=http\nhost={host}\npath=git/team\n\n")),
    ];
    for (why, question) in silent {
        let out = get(&question);
        assert!(out.ok(), "{why}: {}", out.errors());
        assert_eq!(out.text(), "", "{why}");
    }
    let out = get(&format!("protocol=http\nhost={host}\npath=git/team/none.git\n\n"));
    assert_eq!((out.code, out.text().as_str()), (1, "quit=1"), "git is not to ask people: {}", out.errors());
    for verb in ["store", "erase"] {
        let question = format!("protocol=http\nhost={host}\nusername=x\npassword={password}\n\n");
        let out = feed(&server, dir, &["credential", verb], question.as_bytes());
        assert_eq!((out.code, out.text().as_str()), (0, ""), "{verb}");
    }
    let left: Vec<_> = std::fs::read_dir(dir).unwrap().collect();
    assert!(left.is_empty(), "nothing is kept on disk: {left:?}");
}

#[test]
fn credential_setup_makes_stock_git_work_and_replaces_itself() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let dir = dir.path();
    text(&server, dir, &["repo", "create", "team/site"]);
    text(&server, dir, &["credential", "setup", "--set"]);
    text(&server, dir, &["credential", "setup", "--set"]);
    let config = std::fs::read_to_string(dir.join(".gitconfig")).unwrap();
    assert_eq!(config.matches("helper = ").count(), 2, "an empty one, and ours once: {config}");
    let mut git = Command::new("git");
    git.args(["ls-remote", &format!("{}/git/team/site.git", server.origin())]).current_dir(dir).env_clear();
    git.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", dir).env("GIT_CONFIG_NOSYSTEM", "1");
    git.env("GIT_TERMINAL_PROMPT", "0").env("CAIRN_API_TOKEN", API_TOKEN);
    let out = run_command(git, b"");
    assert!(out.ok(), "{}", out.errors());
}

#[test]
fn every_command_shows_examples_and_shells_get_completions() {
    let dir = tempfile::tempdir().unwrap();
    let commands = [
        "ns",
        "repo",
        "token",
        "fork",
        "import",
        "clone",
        "commit",
        "log",
        "cat",
        "ls",
        "refs",
        "diff",
        "merge",
        "archive",
        "activity",
        "usage",
        "credential",
        "completions",
    ];
    for command in commands {
        let out = run_command(bare(dir.path(), &[command, "--help"]), b"");
        assert!(out.text().contains("Example"), "cairn {command} --help");
    }
    for shell in ["bash", "zsh", "fish"] {
        let out = run_command(bare(dir.path(), &["completions", shell]), b"");
        assert!(out.ok() && out.text().contains("credential"), "{shell}");
    }
}
