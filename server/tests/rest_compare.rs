//! Comparisons through REST, with stock git as the judge: the same commits, the same files, patches that apply.

#[path = "support/git.rs"]
mod git;
#[path = "support/server.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_server::limits::{COMPARE_BLOB_BYTES_MAX, COMPARE_FILES_MAX, COMPARE_PATCH_BYTES_MAX};
use git::{Live, commit, git as run, write};
use serde_json::Value;

const REPO: &str = "/namespaces/a/repos/r";

/// Small pseudo-random numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

async fn compare(live: &Live, spec: &str) -> Value {
    let answer = live.server.get(&format!("{REPO}/compare/{spec}")).await;
    assert_eq!(answer.status, 200, "{spec}: {}", answer.body);
    answer.body["result"].clone()
}

fn hashes(commits: &Value) -> Vec<String> {
    commits.as_array().expect("a list").iter().map(|c| c["hash"].as_str().expect("text").to_owned()).collect()
}

/// A path as bytes, told apart from its text where that is not all.
fn bytes(file: &Value, field: &str) -> Vec<u8> {
    match file[format!("{field}_base64")].as_str() {
        Some(base64) => STANDARD.decode(base64).expect("base64"),
        None => file[field].as_str().unwrap_or_default().as_bytes().to_vec(),
    }
}

fn all_patches(found: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for file in found["files"].as_array().expect("a list") {
        match file["patch_base64"].as_str() {
            Some(base64) => out.extend(STANDARD.decode(base64).expect("base64")),
            None => out.extend_from_slice(file["patch"].as_str().unwrap_or_default().as_bytes()),
        }
    }
    out
}

/// `git apply --index` on a checkout of `from` makes the tree of `to`.
fn assert_applies(dir: &Path, found: &Value, from: &str, to: &str) {
    run(dir, &["checkout", "-q", "--detach", "-f", from]);
    let patch = dir.join(".git/the.patch");
    std::fs::write(&patch, all_patches(found)).expect("written");
    run(dir, &["apply", "--index", "--whitespace=nowarn", patch.to_str().expect("UTF-8")]);
    assert_eq!(run(dir, &["write-tree"]), run(dir, &["rev-parse", &format!("{to}^{{tree}}")]));
}

/// What `git diff --raw` and `--numstat` say is what the files say.
fn assert_same_files(dir: &Path, found: &Value, from: &str, to: &str) {
    let raw = git::command(dir, &["diff", "--raw", "-M", "--no-abbrev", "-z", from, to])
        .output()
        .expect("git runs");
    let mut parts = raw.stdout.split(|byte| *byte == 0).filter(|part| !part.is_empty());
    let mut want = BTreeSet::new();
    while let Some(head) = parts.next() {
        let head = String::from_utf8_lossy(head).into_owned();
        let fields: Vec<&str> = head.trim_start_matches(':').split(' ').collect();
        let letter = &fields[4][..1];
        let first = parts.next().expect("a path").to_vec();
        let (old, path) =
            if letter == "R" { (first, parts.next().expect("a path").to_vec()) } else { (Vec::new(), first) };
        want.insert((letter.to_owned(), old, path, fields[..4].join(" ")));
    }
    let none = |text: &Value, zero: &str| text.as_str().unwrap_or(zero).to_owned();
    let files = found["files"].as_array().expect("a list");
    let got: BTreeSet<_> = files
        .iter()
        .map(|file| {
            let letter = match file["status"].as_str().expect("text") {
                "added" => "A",
                "deleted" => "D",
                "modified" => "M",
                "renamed" => "R",
                "type_changed" => "T",
                other => panic!("{other}"),
            };
            let zero = "0".repeat(40);
            let fields = [
                none(&file["old_mode"], "000000"),
                none(&file["new_mode"], "000000"),
                none(&file["old_hash"], &zero),
                none(&file["new_hash"], &zero),
            ];
            (letter.to_owned(), bytes(file, "old_path"), bytes(file, "path"), fields.join(" "))
        })
        .collect();
    assert_eq!(got, want);
    let numstat = run(dir, &["diff", "--numstat", "--no-renames", "-z", from, to]);
    let sum = |at: usize| -> u64 {
        let of = |line: &str| line.split('\t').nth(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        numstat.split('\0').map(of).sum()
    };
    if !got.iter().any(|(letter, ..)| letter == "R") {
        assert_eq!((&found["additions"], &found["deletions"]), (&sum(0).into(), &sum(1).into()));
    }
}

fn lines(count: usize, tag: &str) -> String {
    (0..count).map(|at| format!("line {at} of {tag}\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_change_is_told_as_git_tells_it_and_its_patch_applies() {
    let live = Live::new().await;
    let token = live.server.repo("a", "r").await;
    let dir = live.init("work");
    write(&dir, "plain.txt", lines(40, "plain"));
    write(&dir, "mode.sh", "#!/bin/sh\n");
    write(&dir, "gone/deep.txt", "gone\n");
    write(&dir, "moved/as-it-is.txt", lines(30, "as it is"));
    write(&dir, "moved/and-changed.txt", lines(60, "changed"));
    write(&dir, "link-to-be", "target-of-the-link");
    write(&dir, "no-newline.txt", "a\nb");
    write(&dir, "latin1.txt", b"caf\xe9\n");
    write(&dir, "binary.dat", b"\0\x01\x02");
    write(&dir, "sp ace/t\tab \"q\" \u{e9}.txt", "odd name\n");
    write(&dir, "emptied.txt", "x\n");
    write(&dir, "crlf.txt", "a\r\nb\r\n");
    let base = commit(&dir, "base");
    run(&dir, &["checkout", "-q", "-b", "topic/one"]);
    write(
        &dir,
        "plain.txt",
        lines(40, "plain").replace("line 3 of", "LINE 3 of").replace("line 30 of plain\n", "") + "tail\n",
    );
    run(&dir, &["update-index", "--chmod=+x", "mode.sh"]);
    std::fs::remove_dir_all(dir.join("gone")).expect("removed");
    std::fs::create_dir(dir.join("to")).expect("made");
    std::fs::rename(dir.join("moved/as-it-is.txt"), dir.join("to/other.txt")).expect("moved");
    write(&dir, "to/changed.txt", lines(60, "changed").replace("line 7 of", "LINE 7 of"));
    std::fs::remove_dir_all(dir.join("moved")).expect("removed");
    std::fs::remove_file(dir.join("link-to-be")).expect("removed");
    std::os::unix::fs::symlink("plain.txt", dir.join("link-to-be")).expect("linked");
    write(&dir, "no-newline.txt", "a\nb\nc");
    write(&dir, "latin1.txt", b"caf\xe9s\n");
    write(&dir, "sp ace/t\tab \"q\" \u{e9}.txt", "odd name, changed\n");
    write(&dir, "new/empty.txt", "");
    write(&dir, "new/full.txt", "full\n");
    write(&dir, "emptied.txt", "");
    write(&dir, "crlf.txt", "a\r\nB\r\n");
    write(&dir, std::str::from_utf8(b"n\xc3\xa4me.txt").expect("UTF-8"), "x\n");
    run(&dir, &["add", "-A"]);
    run(&dir, &["update-index", "--chmod=+x", "mode.sh"]);
    run(&dir, &["update-index", "--add", "--cacheinfo", &format!("160000,{base},sub/module")]);
    run(&dir, &["commit", "-q", "-m", "topic"]);
    let topic = run(&dir, &["rev-parse", "HEAD"]);
    // The base moves too: three dots leave that out.
    run(&dir, &["checkout", "-q", "-f", "main"]);
    write(&dir, "only-main.txt", "main\n");
    let main = commit(&dir, "main moves");
    live.git(&dir, &token, &["push", "-q", &live.url("a", "r"), "main", "topic/one"]);

    for spec in
        ["main...topic/one", "main...topic%2Fone", "...refs/heads/topic/one", &format!("{main}...{topic}")]
    {
        let found = compare(&live, spec).await;
        assert_eq!(found["merge_base"], base.as_str(), "{spec}");
        assert_eq!(
            (&found["status"], &found["ahead_by"], &found["behind_by"]),
            (&"diverged".into(), &1.into(), &1.into())
        );
        assert_eq!(hashes(&found["commits"]), [topic.as_str()]);
        assert_eq!(
            (&found["truncated"], &found["changed_files"]),
            (&false.into(), &found["files"].as_array().expect("a list").len().into())
        );
        assert_same_files(&dir, &found, &base, &topic);
        assert_applies(&dir, &found, &base, &topic);
    }
    let found = compare(&live, "main..topic/one").await;
    assert_same_files(&dir, &found, &main, &topic);
    assert_applies(&dir, &found, &main, &topic);
    let back = compare(&live, "topic/one..main").await;
    assert_same_files(&dir, &back, &topic, &main);
    assert_applies(&dir, &back, &topic, &main);

    let file = |path: &str| {
        let files = found["files"].as_array().expect("a list");
        files.iter().find(|file| file["path"] == path).unwrap_or_else(|| panic!("no {path}")).clone()
    };
    assert_eq!(file("to/other.txt")["similarity"], 100);
    assert_eq!(file("to/changed.txt")["old_path"], "moved/and-changed.txt");
    assert!(
        file("to/changed.txt")["similarity"]
            .as_u64()
            .is_some_and(|similarity| (90..100).contains(&similarity))
    );
    assert_eq!(file("mode.sh")["new_mode"], "100755");
    let latin = file("latin1.txt");
    assert!(latin["patch"].is_null() && latin["patch_base64"].is_string(), "not UTF-8");
    // A binary file has no patch.
    run(&dir, &["checkout", "-q", "-f", "-B", "bin", &base]);
    write(&dir, "binary.dat", b"\0\x01\x03");
    commit(&dir, "binary");
    live.git(&dir, &token, &["push", "-q", &live.url("a", "r"), "bin"]);
    let found = compare(&live, &format!("{base}...bin")).await;
    let binary = &found["files"][0];
    assert_eq!(
        (&binary["binary"], &binary["patch"], &binary["additions"]),
        (&true.into(), &Value::Null, &Value::Null)
    );
    assert_eq!((&found["status"], &found["truncated"]), (&"ahead".into(), &false.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_of_any_shape_are_counted_as_git_counts_them() {
    let live = Live::new().await;
    let token = live.server.repo("a", "r").await;
    let dir = live.init("work");
    write(&dir, "f", "0\n");
    let root = commit(&dir, "root");
    let tree = run(&dir, &["rev-parse", "HEAD^{tree}"]);
    let mut random = Random(0x5eed);
    let mut all = vec![root];
    for at in 0..60 {
        // One to three of the newest eight are parents, so that histories cross.
        let mut args = vec!["commit-tree".to_owned(), "-m".into(), format!("c{at}")];
        let parents: BTreeSet<usize> = (0..=random.below(3))
            .map(|_| all.len() - 1 - random.below(all.len().min(8) as u64) as usize)
            .collect();
        parents.iter().for_each(|parent| args.extend(["-p".to_owned(), all[*parent].clone()]));
        args.push(tree.clone());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        all.push(run(&dir, &args));
    }
    for (at, id) in all.iter().enumerate() {
        run(&dir, &["branch", "-f", &format!("c/{at}"), id]);
    }
    let alone = run(&dir, &["commit-tree", "-m", "alone", &tree]);
    run(&dir, &["branch", "alone", &alone]);
    live.git(&dir, &token, &["push", "-q", &live.url("a", "r"), "--all"]);
    let mut crossed = 0;
    for _ in 0..80 {
        let (left, right) = (random.below(61) as usize, random.below(61) as usize);
        let found = compare(&live, &format!("c/{left}...c/{right}?limit=200&files=false")).await;
        let (left, right) = (&all[left], &all[right]);
        let counts = run(&dir, &["rev-list", "--left-right", "--count", &format!("{left}...{right}")]);
        let [behind, ahead]: [u64; 2] = counts
            .split('\t')
            .map(|n| n.parse().expect("a number"))
            .collect::<Vec<_>>()
            .try_into()
            .expect("two");
        assert_eq!((&found["ahead_by"], &found["behind_by"]), (&ahead.into(), &behind.into()));
        let bases: BTreeSet<String> =
            run(&dir, &["merge-base", "--all", left, right]).lines().map(str::to_owned).collect();
        let got: BTreeSet<String> = found["merge_bases"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|id| id.as_str().expect("text").to_owned())
            .collect();
        assert_eq!(got, bases);
        crossed += usize::from(bases.len() > 1);
        let listed: BTreeSet<String> =
            run(&dir, &["rev-list", right, &format!("^{left}")]).lines().map(str::to_owned).collect();
        assert_eq!(hashes(&found["commits"]).into_iter().collect::<BTreeSet<_>>(), listed);
    }
    assert!(crossed > 3, "some pairs have several merge bases: {crossed}");

    // Pages of commits, and a comparison without a common ancestor.
    let mut paged = Vec::new();
    for page in 1.. {
        let found = compare(&live, &format!("c/0...c/60?per_page=7&page={page}&files=false")).await;
        assert_eq!(found["commits_info"]["total_count"], found["ahead_by"]);
        let of_page = hashes(&found["commits"]);
        if of_page.is_empty() {
            break;
        }
        paged.extend(of_page);
    }
    let whole = compare(&live, "c/0...c/60?limit=200").await;
    assert_eq!(paged, hashes(&whole["commits"]));
    let unrelated = compare(&live, "alone...main?files=false").await;
    assert_eq!((&unrelated["status"], &unrelated["merge_base"]), (&"unrelated".into(), &Value::Null));
    assert_eq!(compare(&live, "alone..main").await["changed_files"], 0);
    assert_eq!(live.server.get(&format!("{REPO}/compare/alone...main")).await.error(), (400, 10100, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_told_and_moments_count() {
    let live = Live::new().await;
    let token = live.server.repo("a", "r").await;
    let dir = live.init("work");
    let url = live.url("a", "r");
    write(&dir, "large.txt", "x\n".repeat(COMPARE_BLOB_BYTES_MAX as usize / 2 + 1));
    write(&dir, "long.txt", "old\n");
    commit(&dir, "c1");
    live.git(&dir, &token, &["push", "-q", &url, "main"]);
    write(&dir, "large.txt", "y\n".repeat(COMPARE_BLOB_BYTES_MAX as usize / 2));
    write(&dir, "long.txt", "abcdefg\n".repeat(COMPARE_PATCH_BYTES_MAX / 8));
    run(&dir, &["checkout", "-q", "-b", "big"]);
    commit(&dir, "c2");
    live.git(&dir, &token, &["push", "-q", &url, "big"]);
    let found = compare(&live, "main...big").await;
    assert_eq!(found["truncated_by"], serde_json::json!(["blob_bytes", "patch_bytes"]));
    let [large, long] = found["files"].as_array().expect("a list").as_slice() else { panic!("two files") };
    assert_eq!(
        (&large["truncated_by"], &large["patch"], &large["additions"]),
        (&"blob_bytes".into(), &Value::Null, &Value::Null)
    );
    assert_eq!((&long["truncated_by"], &long["patch"]), (&"patch_bytes".into(), &Value::Null));
    assert_eq!(long["additions"], COMPARE_PATCH_BYTES_MAX / 8, "counted all the same");
    let bare = compare(&live, "main...big?patch=false").await;
    assert!(bare["files"].as_array().expect("a list").iter().all(|file| file["patch"].is_null()));

    run(&dir, &["checkout", "-q", "-b", "many", "main"]);
    for at in 0..=COMPARE_FILES_MAX {
        write(&dir, &format!("many/{at:05}"), format!("{at}\n"));
    }
    commit(&dir, "c3");
    live.git(&dir, &token, &["push", "-q", &url, "many"]);
    let found = compare(&live, "main...many").await;
    assert_eq!(found["changed_files"], COMPARE_FILES_MAX + 1);
    assert_eq!(found["files"].as_array().expect("a list").len(), COMPARE_FILES_MAX);
    assert_eq!(found["truncated_by"], serde_json::json!(["files"]));

    // As of the first entry there is no `big` yet.
    let early = live.server.get(&format!("{REPO}/compare/main...big?at=1")).await;
    assert_eq!(early.error(), (404, 10200, ""));
    assert_eq!(compare(&live, "main...HEAD?at=1").await["status"], "identical");
    for (spec, want) in [
        ("main", (400, 10100, "/path")),
        ("main...nowhere", (404, 10200, "")),
        ("main...big?at=soon", (400, 10100, "/at")),
        ("main...big?at=99", (400, 10100, "")),
        ("main...big?files=perhaps", (400, 10100, "/files")),
        ("main...big?limit=0", (400, 10100, "/limit")),
    ] {
        let answer = live.server.get(&format!("{REPO}/compare/{spec}")).await;
        assert_eq!(answer.error(), want, "{spec}: {}", answer.body);
    }
    assert_eq!(live.server.get("/namespaces/a/repos/none/compare/a...b").await.error(), (404, 10200, ""));
}
