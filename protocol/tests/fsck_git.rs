//! Stock git judges our fsck: both must find the same in a table of odd objects.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use cairn_protocol::object::fsck::{Finding, Special, check, dot_files};
use cairn_protocol::object::{HashAlgo, Kind, commit_links, hash_object, tag_target};

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
    assert!(
        git(dir.path(), &["init", "-q", "--object-format=sha1"], b"")
            .status
            .success()
    );
    dir
}

fn store(dir: &Path, kind: Kind, data: &[u8]) -> String {
    let out = git(
        dir,
        &["hash-object", "-t", kind.name(), "-w", "--stdin", "--literally"],
        data,
    );
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
    found
        .into_iter()
        .map(|finding| finding.id.name().to_owned())
        .collect()
}

/// What `git hash-object` says, which checks strictly and before it parses. It takes infos for errors, at which the
/// check of a tag stops.
fn strict_check(dir: &Path, kind: Kind, data: &[u8]) -> Vec<String> {
    let out = git(dir, &["hash-object", "-t", kind.name(), "--stdin"], data);
    String::from_utf8_lossy(&out.stderr)
        .lines()
        .filter_map(|line| {
            Some(
                line.strip_prefix("error: object fails fsck: ")?
                    .split_once(':')?
                    .0
                    .to_owned(),
            )
        })
        .collect()
}

/// What `git fsck --strict` says of each object: the ids of messages and whether they are errors.
fn fsck(dir: &Path) -> BTreeMap<String, BTreeSet<(String, bool)>> {
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
        all.entry(id.to_owned())
            .or_default()
            .insert((message.to_owned(), is_error));
    }
    all
}

type Entry<'a> = (&'a str, &'a [u8], u8);

fn tree(entries: &[Entry<'_>]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|(mode, name, id)| [mode.as_bytes(), b" ", name, b"\0", &[*id; 20]].concat())
        .collect()
}

const FILE: &str = "100644";
const DIR: &str = "40000";
const LINK: &str = "120000";

fn names_in_trees() -> Vec<&'static [u8]> {
    vec![
        b"plain",
        b".",
        b"..",
        b"...",
        b".git",
        b".GIT",
        b".Git ",
        b".git.",
        b".git. . ",
        b".git...x",
        b".gitx",
        b"git",
        b"git~1",
        b"GIT~1",
        b"git~2",
        b"git~1.",
        b"git~1x",
        b".git::$INDEX_ALLOCATION",
        b".git:x",
        b"git~1:x",
        b"a/b",
        b".git/x",
        b"x/.git",
        b"a\\b",
        b"a\\.git",
        b"a\\git~1",
        b".git\\x",
        b"a\\.git\\b",
        b"a\\b\\.GIT ",
        b"\xe2\x80\x8c.git",
        b".g\xe2\x80\x8dit",
        b".git\xe2\x80\xaa",
        b"\xef\xbb\xbf.git",
        b".g\xe2\x81\xafit",
        b".git\xff",
        b".gi\xfft",
        b"\xff.git",
        b".git\xef\xbf\xbf",
        b".git\xe2\x80",
        b".g\xe2\x80\x90it",
        b".git\xed\xa0\x80",
        b".git\xe2\x80\x8c/x",
        b".g\xc4\xb1t",
        b".mailmap",
        b"maba30~1",
        b"mailma~1",
        b"mailmap",
        b".gitignore",
        b"gi250a~1",
        b"gitign~4",
        b"gitign~5",
        b".gitattributes",
        b"gi7d29~1",
        b"gitatt~1",
        b"a\\.gitattributes",
        b".gitmodules",
        b".GITMODULES",
        b"gitmod~1",
        b"gitmod~5",
        b"gi7eba~1",
        b"GI7EBA~9",
        b"gi7eba~0",
        b"gi7eb~10",
        b"gi7eb~1x",
        b"g~123456",
        b"~1000000",
        b"~0000000",
        b"~123456",
        b"gi7eba~1 .",
        b"gi7eba~1:x",
        b"gi7eba~1x",
        b"a\\.gitmodules",
        b"a\\gi7eba~1",
        b".gitmodules:x",
        b".gitmodules ",
        b".gitmodules/x",
        b".gitm\xe2\x80\x8codules",
        b".gitmodulesx",
    ]
}

fn trees() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = names_in_trees()
        .iter()
        .map(|name| tree(&[(FILE, name, 1)]))
        .collect();
    all.extend(names_in_trees().iter().map(|name| tree(&[(LINK, name, 1)])));
    for mode in [
        "100755", "100664", "0100644", "040000", "0", "644", "160000", "100600", "140000", "60000", "777777",
    ] {
        all.push(tree(&[(mode, b"x", 1)]));
    }
    let orders: &[&[Entry<'_>]] = &[
        &[],
        &[(FILE, b"a", 1), (FILE, b"b", 2)],
        &[(FILE, b"b", 1), (FILE, b"a", 2)],
        &[(FILE, b"a", 1), (FILE, b"a", 2)],
        &[(FILE, b"a", 1), (DIR, b"a", 2)],
        &[(DIR, b"a", 1), (FILE, b"a.c", 2)],
        &[(FILE, b"a.c", 1), (DIR, b"a", 2)],
        &[(FILE, b"a", 1), (FILE, b"a.c", 2), (DIR, b"a", 3)],
        &[
            (FILE, b"foo", 1),
            (FILE, b"foo.bar", 1),
            (FILE, b"foo.bar.baz", 1),
            (DIR, b"foo.bar", 1),
            (DIR, b"foo", 1),
        ],
        &[
            (FILE, b"foo", 1),
            (FILE, b"foo.bar", 1),
            (FILE, b"foo.baz", 1),
            (DIR, b"foo.quux", 1),
            (DIR, b"foo", 1),
        ],
        &[
            (FILE, b"foo", 1),
            (DIR, b"foo.a", 1),
            (DIR, b"foo.b", 1),
            (FILE, b"foo0", 1),
            (DIR, b"foo", 1),
        ],
        &[(FILE, b"a-", 1), (FILE, b"a", 1), (FILE, b"a0", 1)],
        &[(DIR, b"a0", 1), (DIR, b"a", 1)],
        &[(FILE, b"\xff", 1), (FILE, b"a", 1)],
        &[(FILE, b"x", 0)],
        &[(FILE, b"a", 1), ("160000", b"x", 0)],
        &[
            (FILE, b"a", 1),
            ("0644", b".git", 0),
            ("040000", b".", 1),
            (LINK, b".gitmodules", 1),
        ],
        &[(FILE, b"", 1)],
        &[("", b"x", 1)],
        &[("10064x", b"x", 1)],
        &[("100648", b"x", 1)],
        &[("777", b"b", 1), (FILE, b"a", 1), ("x", b"c", 1)],
        &[(FILE, b"a", 1), (FILE, b"", 1)],
        &[(FILE, &[b'n'; 4096], 1)],
        &[(FILE, &[b'n'; 4097], 1)],
    ];
    all.extend(orders.iter().map(|entries| tree(entries)));
    let whole = tree(&[(FILE, b"a", 1), (FILE, b"b", 2)]);
    all.extend(
        [1, 5, 10, 28, 30, 40, 57]
            .iter()
            .map(|end| whole[..*end].to_vec()),
    );
    all
}

const HEX: &str = "0123456789abcdef0123456789abcdef01234567";

fn commits() -> Vec<Vec<u8>> {
    let idents = [
        "A <a@b> 1 +0000",
        "A <a@b> 0 +0000",
        "A <a@b> 00 +0000",
        "A <a@b> 01 +0000",
        "A <a@b> 1 +000",
        "A <a@b> 1 +00000",
        "A <a@b> 1 0000",
        "A <a@b> 1",
        "A <a@b> 0",
        "A <a@b> ",
        "A <a@b>",
        "A <a@b>1 +0000",
        "A <a@b>  \t 1 -9999",
        "A <a@b> x +0000",
        "A <a@b> -1 +0000",
        "A <a@b> 1x +0000",
        "A <a@b> 1  +0000",
        "A <a@b",
        "A",
        "",
        "A a@b> 1 +0000",
        "A<a@b> 1 +0000",
        "<a@b> 1 +0000",
        " <a@b> 1 +0000",
        "A <<a@b> 1 +0000",
        "A > <a@b> 1 +0000",
        "A <> 1 +0000",
        "A <a@b>> 1 +0000",
        "A <a@b> 9223372036854775807 +0000",
        "A <a@b> 9223372036854775808 +0000",
        "A <a@b> 18446744073709551615 +0000",
        "A <a@b> 99999999999999999999999 +0000",
        "A <a@b> 1 +00:0",
        "A <a@b> 1 +0000 ",
        "A <a@b> 1\t+0000",
        "A <a@b> 9223372036854775806 +0000",
    ];
    let good = "A <a@b> 1 +0000";
    let mut all: Vec<String> = Vec::new();
    for ident in idents {
        all.push(format!("tree {HEX}\nauthor {ident}\ncommitter {good}\n\nx\n"));
        all.push(format!(
            "tree {HEX}\nparent {HEX}\nauthor {good}\ncommitter {ident}\n\nx\n"
        ));
    }
    let tail = format!("author {good}\ncommitter {good}\n\nx\n");
    all.extend([
        format!("parent {HEX}\n{tail}"),
        format!("tree {HEX}0\n{tail}"),
        format!("tree {}\n{tail}", &HEX[1..]),
        format!("tree {}\n{tail}", HEX.to_uppercase()),
        format!("tree {HEX}\nparent {}z\n{tail}", &HEX[1..]),
        format!("tree {HEX}\nparent {HEX} \n{tail}"),
        format!("tree {HEX}\ntree {HEX}\n{tail}"),
        format!("tree {HEX}\nparent {HEX}\nx\n{tail}"),
        format!("tree {HEX}\nauthor {good}\n{tail}"),
        format!("tree {HEX}\ncommitter {good}\n\nx"),
        format!("tree {HEX}\nauthor {good}\n\nx"),
        format!("tree {HEX}\nauthor {good}\ncommitter {good}"),
        format!("tree {HEX}\nauthor {good}\ncommitter {good}\n"),
        format!("tree {HEX}\nauthor {good}\ncommitter {good}\nencoding x\ngpgsig a\n b\n\nx"),
        format!("tree {HEX}\nauthor {good}\ncommitter {good}\nmore"),
        format!("tree {HEX}\nauthor A\0 <a@b> 1 +0000\ncommitter {good}\n\nx"),
        format!("tree {HEX}\nauthor {good}\ncommitter {good}\n\nx\0y"),
        format!("tree {HEX}\nauthor {good}\ncommitter {good}\n\0\n\nx"),
        format!("tree {HEX}\n\n{tail}"),
        "tree".to_owned(),
        "\n".to_owned(),
        String::new(),
    ]);
    all.into_iter().map(String::into_bytes).collect()
}

fn tags() -> Vec<Vec<u8>> {
    let good = "A <a@b> 1 +0000";
    let mut all = vec![
        format!("object {HEX}\ntype commit\ntag v1\ntagger {good}\n\nx\n"),
        format!("object {HEX}\ntype blob\ntag v1\ntagger {good}\n"),
        format!("object {HEX}\ntype commits\ntag v1\ntagger {good}\n\nx\n"),
        format!("object {HEX}\ntype\ntag v1\ntagger {good}\n\nx\n"),
        format!("object {HEX}\ntype \ntag v1\ntagger {good}\n\nx\n"),
        format!("object {HEX}\ntype commit\n\nx\n"),
        format!("object {HEX}\ntype commit\n"),
        format!("object {HEX}\n"),
        format!("object {HEX}0\ntype commit\ntag v1\ntagger {good}\n\nx\n"),
        format!("object xyz\ntype commit\ntag v1\ntagger {good}\n\nx\n"),
        format!("type commit\nobject {HEX}\ntag v1\ntagger {good}\n\nx\n"),
        format!("object {HEX}\ntype tree\ntag v1\n\nx\n"),
        format!("object {HEX}\ntype tree\ntag v1\ntagger A\n\nx\n"),
        format!("object {HEX}\ntype tree\ntag v1\ntagger {good}\nmore x\n\nx\n"),
        format!("object {HEX}\ntype tree\ntag v1\ntagger {good}"),
        format!("object {HEX}\ntype tree\ntag v1\ntagger A\0 <a@b> 1 +0000\n\nx\n"),
        format!("object {HEX}\ntype tree\ntag v1\ntagger {good}\n\nx\0\n"),
        String::new(),
    ];
    for name in [
        "a b", ".a", "a.", "a..b", "a.lock", "a/b", "a//b", "/a", "a/", "", "@", "a@{b", "a/.b", "ä",
        "a.lock/b",
    ] {
        all.push(format!(
            "object {HEX}\ntype commit\ntag {name}\ntagger {good}\n\nx\n"
        ));
    }
    all.into_iter().map(String::into_bytes).collect()
}

fn gitmodules() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for name in [
        "a", "..", "../a", "a/../b", "a/..", "a\\..\\b", "..a", "a..", ".", "", "a.b", "...", "a/..b",
    ] {
        let name = name.replace('\\', "\\\\");
        all.push(format!("[submodule \"{name}\"]\n\tpath = p\n").into());
    }
    let urls = [
        "https://host/x",
        "-x",
        "--upload-pack=x",
        "./-x",
        "../x",
        "../../x",
        "..\\\\x",
        "../:x",
        ".././:x",
        "..//x",
        "./:x",
        ".//x",
        "../x:y",
        "./a%0ab",
        "../a%0Ab",
        "git://host/%0a",
        "git://host/x",
        "./%00",
        "ssh://h/%0a",
        "https://host/%0a",
        "https://host/%250a",
        "https://host/a%0a/../b",
        "https://h%0a/",
        "https://host/%zz",
        "https:///x",
        "https://host/../x",
        "https://host:99999/",
        "https://host:x/",
        "https://u%0a@host/",
        "http::https://host/%0a",
        "http::x",
        "https::-x",
        "http::file:///x",
        "ftp://h/%0a",
        "ftps::ftp://h",
        "ssh::-x",
        "https://host?%0a",
        "https://host#%0a",
        "https://",
        "https://h o/",
        "HTTPS://host/%0a",
        "a\\nb",
        "./a\\nb",
        "https://h/a\\nb",
        "https\\n://h",
        "file:///%0a",
        "/-x",
        "",
        "%0a",
        "./%%0a",
        "https://@/",
        "https://[::1]:1/",
        "https://h:0/",
        "https://h:/%0a",
        "https://h/a/..",
        "https://h/a/../..",
        "https://h/%2e%2e/",
        "http::-://x",
    ];
    for url in urls {
        all.push(format!("[submodule \"a\"]\n\turl = \"{url}\"\n").into());
    }
    all.extend(
        [
            &b"[submodule \"a\"]\n\tpath = -x\n"[..],
            b"[submodule \"a\"]\n\tupdate = !sh\n",
            b"[submodule \"a\"]\n\tupdate = checkout\n",
            b"[submodule \"a\"]\n\tupdate = odd\n",
            b"[submodule \"a\"]\n\tUPDATE = \"!\"sh\n",
            b"[submodule]\n\turl = -x\n",
            b"[submodule.a]\n\turl = -x\n",
            b"[submodule.]\n\turl = -x\n",
            b"[SubModule \"A\"]\n\turl = -x\n",
            b"[submodules \"a\"]\n\turl = -x\n",
            b"[submodule \"a\"]\n\turl\n",
            b"[submodule \"..\"]\n\turl\n",
            b"[submodule \"..\"]\n",
            b"[submodule \"a\"] url = -x",
            b"[submodule \"a\"]\r\nurl = -x\r\n",
            b"[submodule \"a\"]\nurl = \\\n-x\n",
            b"[submodule \"a\"]\nurl = x # -x\n",
            b"[submodule \"a\"]\nurl = \"x\n",
            b"[submodule \"a\"]\nurl = -x\n[broken\n",
            b"[submodule \"a\"]\nurl = \\q\n",
            b"[submodule \"a]\nurl = -x\n",
            b"[submodule \"a\\\"b\"]\nurl = -x\n",
            b"# c\n; d\n\n[submodule \"a\"]\n  url = ok ; x\n",
            b"[submodule \"a\0b\"]\nurl = -x\n",
            b"[submodule \"a\"]\nurl = ./x\0%0a\n",
            b"[submodule \"a\"]\nurl x\n",
            b"url = -x\n",
            b"not a config",
            b"",
        ]
        .map(<[u8]>::to_vec),
    );
    all
}

#[test]
fn the_same_rules_are_broken_as_in_git_s_strict_check() {
    let dir = repository();
    let cases = [
        (Kind::Tree, trees()),
        (Kind::Commit, commits()),
        (Kind::Tag, tags()),
    ];
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
            let seen: BTreeSet<_> = names(if kind == Kind::Tag {
                found.get(..1).unwrap_or_default()
            } else {
                &found
            });
            let want: BTreeSet<_> = want.into_iter().collect();
            if seen != want {
                wrong.push(format!(
                    "{} {}: we {seen:?}, git {want:?}",
                    kind.name(),
                    data.escape_ascii()
                ));
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

/// Lists where our findings in objects differ from git's.
fn differences(dir: &Path, ours: Vec<(String, BTreeSet<(String, bool)>, Vec<u8>)>) -> Vec<String> {
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
        text.replace(&format!("parent {HEX}"), &format!("parent {other}"))
            .into_bytes()
    });
    for (kind, objects) in [
        (Kind::Tree, trees()),
        (Kind::Commit, commits.collect()),
        (Kind::Tag, tags()),
    ] {
        let dir = repository();
        let mut all = Vec::new();
        for data in objects {
            let found = ours(kind, &data);
            if parses(kind, &data, &found) {
                let found = found
                    .iter()
                    .map(|f| (f.id.name().to_owned(), f.severity.stops()))
                    .collect();
                all.push((store(dir.path(), kind, &data), found, data));
            }
        }
        assert!(all.len() > 15, "{} of {}s", all.len(), kind.name());
        let wrong = differences(dir.path(), all);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// Our findings in a special blob.
fn ours_in(special: Special, data: &[u8]) -> BTreeSet<(String, bool)> {
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
            store(
                dir.path(),
                Kind::Tree,
                &[b"100644 ", name, b"\0", raw.as_bytes()].concat(),
            );
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
        assert_eq!(
            seen.contains(&Special::GitModules),
            has("gitmodulesName"),
            "{}",
            name.escape_ascii()
        );
    }
}
