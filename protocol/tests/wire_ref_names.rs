//! Ref names: our verdict beside that of stock `git check-ref-format`.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, process::Command};

use cairn_protocol::refs::RefName;

const PARTS: [&[u8]; 30] = [
    b"a",
    b"refs",
    b"heads",
    b"main",
    b"/",
    b"/",
    b"//",
    b".",
    b"..",
    b".lock",
    b"lock",
    b"@",
    b"@{",
    b"{",
    b"-",
    b"~",
    b"^",
    b":",
    b"?",
    b"*",
    b"[",
    b"]",
    b"\\",
    b" ",
    b"\x7f",
    b"\x01",
    b"\xff",
    "é".as_bytes(),
    b"HEAD",
    b"}",
];

/// A fixed sequence, so that a failure can be repeated.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

fn git_takes(name: &[u8]) -> bool {
    let mut git = Command::new("git");
    git.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    git.args(["check-ref-format", "--allow-onelevel"]).arg(OsStr::from_bytes(name));
    git.status().expect("git can be started").success()
}

#[test]
fn stock_git_agrees_on_generated_names() {
    let mut state = 1;
    let mut verdicts = [0; 2];
    for round in 0..400 {
        let length = 1 + next(&mut state) % 5;
        // Every other name is made of the harmless parts and the subtle ones, else nearly all would be refused.
        let parts = if round % 2 == 0 { &PARTS[..] } else { &PARTS[..14] };
        let name: Vec<u8> =
            (0..length).flat_map(|_| parts[next(&mut state) % parts.len()]).copied().collect();
        if name.starts_with(b"-") {
            continue; // git would read an option
        }
        let ours = RefName::new(&name).is_ok();
        assert_eq!(ours, git_takes(&name), "{}", name.escape_ascii());
        verdicts[usize::from(ours)] += 1;
    }
    assert!(verdicts.iter().all(|count| *count > 50), "both verdicts are tried: {verdicts:?}");
}

#[test]
fn stock_git_agrees_on_chosen_names() {
    let names = [
        "",
        "@",
        "@/a",
        "a/@",
        "a@",
        "@{",
        "a/.b",
        "a/b.",
        "a./b",
        "a.lock/b",
        "a.lock",
        ".lock",
        "a.lockx",
        "/a",
        "a/",
        "a//b",
        "refs/heads/main",
        "HEAD",
        "a..b",
        "a.b",
        "a\tb",
        "refs/heads/ü",
        "a{b}",
        "refs/tags/v1^{}",
    ];
    for name in names {
        assert_eq!(RefName::new(name.as_bytes()).is_ok(), git_takes(name.as_bytes()), "{name:?}");
    }
}
