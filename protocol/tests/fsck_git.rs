//! Stock git judges our fsck: both must find the same in a table of odd objects.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "fsck_git/cases.rs"]
mod cases;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use cases::{HEX, commits, gitmodules, names_in_trees, tags, trees};

use cairn_protocol::object::fsck::{Finding, Special, check, dot_files};
use cairn_protocol::object::{HashAlgo, Kind, commit_links, hash_object, tag_target};

/// Ids of messages, and whether they are errors.
type Verdict = BTreeSet<(String, bool)>;

const ALGO: HashAlgo = HashAlgo::Sha1;

fn git(dir: &Path, args: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new("git")
        .current_dir(dir)
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C")
        .env("HOME", dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("git is in PATH");
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    child.wait_with_output().unwrap()
}

fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    assert!(git(dir.path(), &["init", "-q", "--object-format=sha1"], b"").status.success());
    dir
}

fn store(dir: &Path, kind: Kind, data: &[u8]) -> String {
    let out = git(dir, &["hash-object", "-t", kind.name(), "-w", "--stdin", "--literally"], data);
    let id = String::from_utf8(out.stdout).unwrap().trim().to_owned();
    assert_eq!(id, hash_object(ALGO, kind, data).unwrap().to_string());
    id
}

fn ours(kind: Kind, data: &[u8]) -> Vec<Finding> {
    let mut found = Vec::new();
    check(ALGO, kind, data, &mut |finding| found.push(finding));
    found
}

fn names<'a>(found: impl IntoIterator<Item = &'a Finding>) -> BTreeSet<String> {
    found.into_iter().map(|finding| finding.id.name().to_owned()).collect()
}

/// What `git hash-object` says, which checks strictly and before it parses. It takes infos for errors, at which the
/// check of a tag stops.
fn strict_check(dir: &Path, kind: Kind, data: &[u8]) -> Vec<String> {
    let out = git(dir, &["hash-object", "-t", kind.name(), "--stdin"], data);
    String::from_utf8_lossy(&out.stderr)
        .lines()
        .filter_map(|line| {
            Some(line.strip_prefix("error: object fails fsck: ")?.split_once(':')?.0.to_owned())
        })
        .collect()
}

/// What `git fsck --strict` says of each object: the ids of messages and whether they are errors.
fn fsck(dir: &Path) -> BTreeMap<String, Verdict> {
    let out = git(dir, &["fsck", "--strict", "--no-dangling"], b"");
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!text.contains("fatal: "), "{text}");
    let mut all: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in text.lines() {
        let (is_error, rest) = match (line.strip_prefix("error in "), line.strip_prefix("warning in ")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => continue,
        };
        // `tree <id>: <message id>: <text>`; what has no message id is about links, which all lead nowhere here.
        let Some((object, Some((message, _)))) = rest.split_once(": ").map(|(a, b)| (a, b.split_once(": ")))
        else {
            continue;
        };
        let id = object.split(' ').nth(1).unwrap();
        all.entry(id.to_owned()).or_default().insert((message.to_owned(), is_error));
    }
    all
}

#[test]
fn the_same_rules_are_broken_as_in_git_s_strict_check() {
    let dir = repository();
    let cases = [(Kind::Tree, trees()), (Kind::Commit, commits()), (Kind::Tag, tags())];
    let mut wrong = Vec::new();
    for (kind, objects) in cases {
        for data in objects {
            let mut found = ours(kind, &data);
            // git looks for special files once a tree is found to be good.
            if kind == Kind::Tree && found.is_empty() {
                dot_files(ALGO, &data, &mut |special, _| found.push(special.missing()));
            }
            let want = strict_check(dir.path(), kind, &data);
            // git's own check stops at a tag's first finding here.
            let seen: BTreeSet<_> =
                names(if kind == Kind::Tag { found.get(..1).unwrap_or_default() } else { &found });
            let want: BTreeSet<_> = want.into_iter().collect();
            if seen != want {
                wrong.push(format!("{} {}: we {seen:?}, git {want:?}", kind.name(), data.escape_ascii()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether git's parser takes an object, so that `git fsck` comes to the rules at all.
fn parses(kind: Kind, data: &[u8], found: &[Finding]) -> bool {
    match kind {
        Kind::Tree => found.iter().all(|finding| finding.id.name() != "badTree"),
        // An id that was seen as another kind of object does not parse.
        Kind::Tag => {
            tag_target(ALGO, data).is_ok_and(|(_, kind)| kind == Kind::Commit)
                && data.windows(5).any(|at| at == b"\ntag ")
        }
        _ => commit_links(ALGO, data)
            .is_ok_and(|links| data.len() > 49 && !links.parents.contains(&links.tree)),
    }
}

/// An object's id, our verdict, and its content.
type Judged = (String, Verdict, Vec<u8>);

/// Lists where our findings in objects differ from git's.
fn differences(dir: &Path, ours: Vec<Judged>) -> Vec<String> {
    let got = fsck(dir);
    ours.into_iter()
        .filter(|(id, found, _)| got.get(id).cloned().unwrap_or_default() != *found)
        .map(|(id, found, data)| format!("{}: we {found:?}, git {:?}", data.escape_ascii(), got.get(&id)))
        .collect()
}

#[test]
fn findings_stop_what_git_fsck_calls_an_error() {
    let other = HEX.chars().rev().collect::<String>();
    let commits = commits().into_iter().map(|data| {
        let text = String::from_utf8(data).unwrap();
        text.replace(&format!("parent {HEX}"), &format!("parent {other}")).into_bytes()
    });
    for (kind, objects) in [(Kind::Tree, trees()), (Kind::Commit, commits.collect()), (Kind::Tag, tags())] {
        let dir = repository();
        let mut all = Vec::new();
        for data in objects {
            let found = ours(kind, &data);
            if parses(kind, &data, &found) {
                let found = found.iter().map(|f| (f.id.name().to_owned(), f.severity.stops())).collect();
                all.push((store(dir.path(), kind, &data), found, data));
            }
        }
        assert!(all.len() > 15, "{} of {}s", all.len(), kind.name());
        let wrong = differences(dir.path(), all);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// Our findings in a special blob.
fn ours_in(special: Special, data: &[u8]) -> Verdict {
    let mut found = BTreeSet::new();
    special.check(data, &mut |finding| {
        found.insert((finding.id.name().to_owned(), finding.severity.stops()));
    });
    found
}

#[test]
fn special_blobs_are_judged_like_git_fsck_judges_them() {
    let long = |len: usize| [b"x\n".as_slice(), &vec![b'a'; len], b"\ny"].concat();
    let attributes = vec![
        long(2047),
        long(2048),
        vec![b'a'; 2048],
        b"*.c text\n".to_vec(),
        [b"\0", &long(3000)[..]].concat(),
    ];
    let dir = repository();
    let mut want = Vec::new();
    let cases = [
        (Special::GitModules, &b".gitmodules"[..], gitmodules()),
        (Special::GitAttributes, b".gitattributes", attributes),
    ];
    for (special, name, blobs) in cases {
        for data in blobs {
            let id = store(dir.path(), Kind::Blob, &data);
            let raw = hash_object(ALGO, Kind::Blob, &data).unwrap();
            store(dir.path(), Kind::Tree, &[b"100644 ", name, b"\0", raw.as_bytes()].concat());
            want.push((id, ours_in(special, &data), data));
        }
    }
    let wrong = differences(dir.path(), want);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn special_files_are_found_under_the_names_that_git_finds_them_under() {
    let dir = repository();
    // Each name points to its own blob, which breaks the rules of both kinds of special files.
    let mut want = Vec::new();
    for (at, name) in names_in_trees().into_iter().enumerate() {
        let data = format!("# {at}\n[submodule \"..\"]\nurl = x\n# {}", "x".repeat(2048)).into_bytes();
        let blob = hash_object(ALGO, Kind::Blob, &data).unwrap();
        let id = store(dir.path(), Kind::Blob, &data);
        let tree = [b"100644 ", name, b"\0", blob.as_bytes()].concat();
        store(dir.path(), Kind::Tree, &tree);
        let mut seen = BTreeSet::new();
        dot_files(ALGO, &tree, &mut |special, raw| {
            assert_eq!(raw, blob.as_bytes());
            seen.insert(special);
        });
        want.push((id, seen, name));
    }
    let got = fsck(dir.path());
    for (id, seen, name) in want {
        let of_git = got.get(&id).cloned().unwrap_or_default();
        let has = |message: &str| of_git.iter().any(|(name, _)| name == message);
        assert_eq!(
            seen.contains(&Special::GitAttributes),
            has("gitattributesLineLength"),
            "{}",
            name.escape_ascii()
        );
        assert_eq!(seen.contains(&Special::GitModules), has("gitmodulesName"), "{}", name.escape_ascii());
    }
}
