//! The rules of style that a machine can check.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::{Path, PathBuf};

/// Longest source file, in lines.
const FILE_LINES_MAX: usize = 600;
/// Longest line, in characters: rustfmt's `max_width`, which does not cut strings and comments.
const LINE_CHARS_MAX: usize = 160;

/// Files that may be longer, with the reason.
const LONG_FILES: &[(&str, &str)] = &[];
/// Characters beyond ASCII that comments and user-facing text may use.
const CHARACTERS: &str = "§–—…×·≤≥≠→←↔∘−½°µéü€‘’“”";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for part in ["protocol", "remote", "server", "fs-driver", "tests", "conformance", "faults"] {
        collect(&root().join(part), &mut found);
    }
    assert!(found.len() > 10, "the sources are where this test looks for them");
    found
}

fn collect(dir: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, found);
        } else if name.ends_with(".rs") {
            let short = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            found.push((short, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

fn assert_none(rule: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

/// Lines of code, without comments, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn names_in(part: impl Fn(&str) -> bool, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| part(path)) {
        found
            .extend(code(text).filter(|(_, line)| line.contains(name)).map(|(at, _)| format!("{path}:{at}")));
    }
    found
}

#[test]
fn no_module_file_is_called_mod_rs() {
    let found =
        sources().into_iter().map(|(path, _)| path).filter(|path| path.ends_with("/mod.rs")).collect();
    assert_none("foo.rs beside foo/, never foo/mod.rs", found);
}

#[test]
fn files_are_short_enough() {
    let long = |path: &str| LONG_FILES.iter().any(|(name, reason)| *name == path && !reason.is_empty());
    let found =
        sources().into_iter().filter(|(path, text)| text.lines().count() > FILE_LINES_MAX && !long(path));
    assert_none(
        "at most 600 lines",
        found.map(|(path, text)| format!("{path}: {}", text.lines().count())).collect(),
    );
}

#[test]
fn lines_are_short_enough() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        let long = text.lines().enumerate().filter(|(_, line)| line.chars().count() > LINE_CHARS_MAX);
        found.extend(long.map(|(at, _)| format!("{path}:{}", at + 1)));
    }
    assert_none("at most 160 characters", found);
}

#[test]
fn only_the_store_names_sqlite() {
    let outside = |path: &str| {
        let store = path.starts_with("server/src/store") || path.starts_with("server/tests/store");
        path.starts_with("server/src") && !store
            || path.starts_with("protocol/")
            || path.starts_with("conformance/")
    };
    assert_none("rusqlite belongs to store", names_in(outside, concat!("rus", "qlite")));
}

#[test]
fn layers_below_the_routes_know_no_web_framework() {
    let below = |path: &str| {
        ["server/src/ops", "server/src/store", "server/src/jobs", "protocol/"]
            .iter()
            .any(|part| path.starts_with(part))
    };
    assert_none("axum belongs to the routes", names_in(below, concat!("ax", "um")));
}

#[test]
fn the_protocol_crate_does_no_input_and_output() {
    let core = |path: &str| path.starts_with("protocol/src");
    for name in
        ["tokio", "std::fs", "std::net", "std::thread", "SystemTime", "Instant::now", "std::env", "println!"]
    {
        assert_none("protocol decides and does not act", names_in(core, name));
    }
}

#[test]
fn the_judge_names_no_product_crate() {
    let judge = |path: &str| path.starts_with("conformance/");
    for name in ["protocol", "remote", "server", "fs"] {
        assert_none("a judge that shares code shares its bugs", names_in(judge, &format!("cairn_{name}::")));
    }
    let manifest = std::fs::read_to_string(root().join("conformance/Cargo.toml")).unwrap();
    let product = ["cairn-protocol", "cairn-remote", "cairn-server", "cairn-fs"]
        .iter()
        .filter(|name| manifest.contains(*name));
    assert_none("a judge that shares code shares its bugs", product.map(|name| (*name).to_owned()).collect());
}

#[test]
fn sources_hold_no_surprising_characters() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        for (at, line) in text.lines().enumerate() {
            let odd = line
                .chars()
                .find(|c| !c.is_ascii() && !CHARACTERS.contains(*c) || c.is_ascii_control() && *c != '\t');
            found.extend(odd.map(|c| format!("{path}:{}: U+{:04X}", at + 1, u32::from(c))));
        }
    }
    assert_none("invisible or confusable characters", found);
}
