//! The tables of limits hold every limit, and the tests that they name exist.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Files of limits whose tables `docs/limits.md` prints.
const PRINTED: [&str; 6] = [
    "server/src/limits.rs",
    "server/src/jobs/limits.rs",
    "server/src/store/repo/limits.rs",
    "protocol/src/limits.rs",
    "protocol/src/pack/limits.rs",
    "remote/src/limits.rs",
];
/// The file of limits whose table `cairn-fs limits` prints.
const DRIVER: &str = "fs-driver/src/limits.rs";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// Names of the public constants of a file, however they are declared.
fn constants(text: &str) -> BTreeSet<String> {
    let declared = text.lines().filter_map(|line| line.trim_start().strip_prefix("pub const "));
    declared.filter_map(|rest| rest.split(':').next()).map(str::to_owned).collect()
}

#[test]
fn every_constant_of_the_files_of_limits_is_in_the_printed_table() {
    let page = read("docs/limits.md");
    for path in PRINTED {
        let names = constants(&read(path));
        assert!(names.len() > 10, "{path} has {} limits", names.len());
        for name in names {
            assert!(page.contains(&format!("| `{name}` |")), "{path}: {name} stands outside of `limits!`");
        }
    }
}

#[test]
fn no_limit_of_the_driver_stands_outside_of_its_table() {
    let text = read(DRIVER);
    let table = text.split_once("limits! {").and_then(|(_, rest)| rest.rsplit_once("\n}\n")).unwrap().0;
    assert_eq!(constants(&text), constants(table));
}

#[test]
fn no_other_file_of_limits_is_forgotten() {
    fn files(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                files(&path, found);
            } else if name == "limits.rs" && path.components().any(|part| part.as_os_str() == "src") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    files(&root(), &mut found);
    let short = |path: &PathBuf| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    let others: Vec<String> =
        found.iter().map(short).filter(|path| path != "server/src/cli/limits.rs").collect();
    for path in &others {
        assert!(PRINTED.contains(&path.as_str()) || path == DRIVER, "{path} is in no table");
    }
    assert_eq!(others.len(), PRINTED.len() + 1);
}

#[test]
fn every_test_that_a_limit_names_is_there() {
    let mut named_count = 0;
    for path in PRINTED.iter().chain([&DRIVER]) {
        for line in read(path).lines() {
            let Some(named) = line.trim().strip_prefix("#[test_at = \"") else { continue };
            let (file, name) = named.trim_end_matches("\"]").split_once("::").unwrap();
            let text = read(file);
            let (before, _) = text.split_once(&format!("fn {name}(")).unwrap_or_else(|| {
                panic!("{path} names {file}::{name}");
            });
            // The line before, or before further attributes, says that it is a test.
            let before = before.trim_end().trim_end_matches("async").trim_end();
            let mut above = before.lines().rev().take_while(|line| line.trim().starts_with('#'));
            assert!(above.any(|line| line.contains("test")), "{file}::{name} is no test");
            named_count += 1;
        }
    }
    assert!(named_count > 100, "the tables name {named_count} tests");
}

/// Limits that neither name a test nor say why there is none; or that do both.
fn open_ends(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut tests, mut inner) = (0, 0);
    for line in text.lines().map(str::trim) {
        tests += usize::from(line.starts_with("#[test_at = \""));
        inner += usize::from(line.starts_with("#[inner = \""));
        if let Some(rest) = line.strip_prefix("pub const ") {
            if (tests > 0) == (inner > 0) {
                found.extend(rest.split(':').next().map(str::to_owned));
            }
            (tests, inner) = (0, 0);
        }
    }
    found
}

#[test]
fn every_limit_names_its_test_or_says_why_it_has_none() {
    for path in PRINTED.into_iter().chain([DRIVER]) {
        assert_eq!(
            open_ends(&read(path)),
            [""; 0],
            "{path}: #[test_at = \"file::test\"] or #[inner = \"why\"]"
        );
    }
    let wrong = "pub const A: u32 = 1;\n#[inner = \"x\"]\n#[test_at = \"a::b\"]\npub const B: u32 = 1;\n\
        #[test_at = \"a::b\"]\npub const C: u32 = 1;";
    assert_eq!(open_ends(wrong), ["A", "B"], "what is missing or doubled is seen");
}
