//! The command line and the git that it starts, against a server whose certificate no authority of the system signed.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/process.rs"]
mod process;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use process::serving;
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

struct World {
    dir: TempDir,
    server: Child,
    url: String,
}

impl World {
    fn start(listen: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
        fs::write(dir.path().join("cert.pem"), certificate.pem()).unwrap();
        fs::write(dir.path().join("key.pem"), key.serialize_pem()).unwrap();
        let mut command = bare(dir.path(), &["serve", "--listen", listen]);
        command.args(["--data", "data", "--tls-cert", "cert.pem", "--tls-key", "key.pem"]);
        let (server, first) = serving(command.stderr(Stdio::null()));
        let url = first["url"].as_str().unwrap().to_owned();
        Self { dir, server, url }
    }

    /// A command that knows URL and token, and the authority where that is asked for.
    fn ask(&self, ca_file: Option<&str>, args: &[&str]) -> Output {
        let token = fs::read_to_string(self.dir.path().join("data/api-token")).unwrap();
        let mut command = bare(self.dir.path(), args);
        command.env("CAIRN_URL", &self.url).env("CAIRN_API_TOKEN", token.trim());
        command.envs(ca_file.map(|file| ("CAIRN_CA_FILE", file))).output().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn bare(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    command.args(args).current_dir(dir).env_clear().stdin(Stdio::null());
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", dir);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
    command
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

#[test]
fn a_file_of_authorities_opens_the_server_to_the_command_line_and_to_git() {
    let world = World::start("127.0.0.1:0");
    let out = world.ask(None, &["repo", "create", "team/site"]);
    assert!(!out.status.success() && said(&out).contains("ertificate"), "{}", said(&out));
    let out = world.ask(Some("cert.pem"), &["repo", "create", "team/site"]);
    assert!(out.status.success(), "{}", said(&out));
    // As an option, too, and the clone remembers it: its helper and its git know nothing of the environment.
    let out = world.ask(None, &["clone", "--ca-file", "cert.pem", "team/site", "here"]);
    assert!(out.status.success(), "{}", said(&out));
    let token = fs::read_to_string(world.dir.path().join("data/api-token")).unwrap();
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.args(args).current_dir(world.dir.path().join("here")).env_clear().stdin(Stdio::null());
        git.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", world.dir.path());
        git.env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("CAIRN_API_TOKEN", token.trim());
        let out = git.output().unwrap();
        assert!(out.status.success(), "git {args:?}: {}", said(&out));
        said(&out)
    };
    git(&["checkout", "-q", "-B", "main"]);
    let person = ["-c", "user.name=A", "-c", "user.email=a@example.com"];
    git(&[&person[..], &["commit", "-q", "--allow-empty", "-m", "first"]].concat());
    git(&["push", "-q", "origin", "main"]);
    assert!(git(&["ls-remote", "origin"]).contains("refs/heads/main"));
}

#[test]
fn a_file_that_holds_no_authority_is_named() {
    let world = World::start("127.0.0.1:0");
    let folder = world.dir.path();
    fs::write(folder.join("empty.pem"), "").unwrap();
    fs::write(folder.join("large.pem"), vec![b' '; (1 << 20) + 1]).unwrap();
    fs::write(folder.join("broken.pem"), "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")
        .unwrap();
    let cases = [
        ("empty.pem", "no certificate"),
        ("large.pem", "more than 1048576 bytes"),
        ("broken.pem", "no PEM file"),
        ("none.pem", "No such file"),
    ];
    for (file, why) in cases {
        let out = world.ask(Some(file), &["repo", "list"]);
        assert_eq!(out.status.code(), Some(2), "{file}: {}", said(&out));
        assert!(said(&out).contains(why) && said(&out).contains(file), "{file}: {}", said(&out));
    }
}

#[test]
fn ready_asks_the_server_beside_it_without_its_public_name_and_others_by_their_certificate() {
    let mut world = World::start("0.0.0.0:0");
    assert!(world.url.starts_with("https://127.0.0.1:"), "{}", world.url);
    let port = world.url.rsplit(':').next().unwrap().to_owned();
    let beside = |listen: &str| {
        let mut ready = bare(world.dir.path(), &["ready"]);
        ready.env("CAIRN_LISTEN", listen).env("CAIRN_TLS_CERT", "cert.pem");
        // A proxy of the environment is not for what is on this machine.
        ready
            .env("HTTPS_PROXY", "http://127.0.0.1:1")
            .env("https_proxy", "http://127.0.0.1:1")
            .output()
            .unwrap()
    };
    let listen = format!("0.0.0.0:{port}");
    let out = beside(&listen);
    assert!(out.status.success() && said(&out) == "ready\n", "{}", said(&out));
    let far = |args: &[&str]| {
        bare(world.dir.path(), &[&["ready", "--url", &world.url], args].concat()).output().unwrap()
    };
    let out = far(&[]);
    assert!(out.status.code() == Some(1) && said(&out).contains("ertificate"), "{}", said(&out));
    let out = far(&["--ca-file", "cert.pem"]);
    assert!(out.status.success(), "{}", said(&out));
    world.server.kill().unwrap();
    world.server.wait().unwrap();
    let mut gone = bare(world.dir.path(), &["ready"]);
    let out = gone.env("CAIRN_LISTEN", &listen).env("CAIRN_TLS_CERT", "cert.pem").output().unwrap();
    assert!(out.status.code() == Some(1) && said(&out).contains("cannot be asked"), "{}", said(&out));
}
