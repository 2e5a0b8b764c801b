//! TLS by the real binary, with stock git as the client that must trust it, and a certificate that is changed meanwhile.

#[path = "support/process.rs"]
mod process;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use process::serving;
use rcgen::{CertificateParams, KeyPair};

struct Running(Child, String);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes a new self-signed certificate and its key.
fn certify(folder: &Path) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("signed");
    for (name, text) in [("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())] {
        fs::write(folder.join("draft"), text).expect("written");
        fs::rename(folder.join("draft"), folder.join(name)).expect("renamed");
    }
}

fn start(folder: &Path) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    command
        .env_clear()
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.join("data"))
        .arg("--tls-cert")
        .arg(folder.join("cert.pem"))
        .arg("--tls-key")
        .arg(folder.join("key.pem"))
        .stderr(Stdio::null());
    let (child, first) = serving(&mut command);
    Running(child, first["url"].as_str().expect("a URL").to_owned())
}

/// `git ls-remote` of a repository that does not exist: 401 where the server is trusted.
fn ask(server: &Running, ca: &Path) -> Output {
    let mut git = Command::new("git");
    git.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
    git.arg("-c").arg(format!("http.sslCAInfo={}", ca.display()));
    git.args(["ls-remote", &format!("{}/git/a/b.git", server.1)]).output().expect("git runs")
}

fn is_trusted(server: &Running, ca: &Path) -> bool {
    let said = String::from_utf8_lossy(&ask(server, ca).stderr).into_owned();
    assert!(said.contains("Username") || said.contains("certificate"), "{said}");
    said.contains("Username")
}

#[test]
fn git_trusts_the_certificate_and_a_new_one_is_taken_without_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    certify(folder.path());
    let (now, old) = (folder.path().join("cert.pem"), folder.path().join("old.pem"));
    fs::copy(&now, &old).expect("copied");
    let server = start(folder.path());
    assert!(server.1.starts_with("https://"));
    assert!(is_trusted(&server, &now));

    // A key that does not fit is not taken.
    fs::write(folder.path().join("key.pem"), KeyPair::generate().expect("a key").serialize_pem())
        .expect("written");
    hang_up(&server);
    assert!(is_trusted(&server, &old));

    certify(folder.path());
    hang_up(&server);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_trusted(&server, &now) {
        assert!(Instant::now() < deadline, "the new certificate is not in use");
        std::thread::yield_now();
    }
    assert!(!is_trusted(&server, &old));

    // Without a signal, too: the files are looked at.
    certify(folder.path());
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_trusted(&server, &now) {
        assert!(Instant::now() < deadline, "a changed file is not seen");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn hang_up(server: &Running) {
    let id = server.0.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &id]).status().expect("kill runs").success());
}

#[test]
fn a_file_that_is_no_certificate_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    certify(folder.path());
    fs::write(folder.path().join("cert.pem"), "not PEM").expect("written");
    let out = Command::new(env!("CARGO_BIN_EXE_cairn"))
        .env_clear()
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path().join("data"))
        .arg("--tls-cert")
        .arg(folder.path().join("cert.pem"))
        .arg("--tls-key")
        .arg(folder.path().join("key.pem"))
        .output()
        .expect("it runs");
    assert!(!out.status.success());
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("TLS:"), "{said}");
}
