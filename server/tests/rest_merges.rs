//! Merges through REST, with stock git as the judge: the same trees, the same conflicts, nothing that `fsck` minds.

#[path = "support/git.rs"]
mod git;
#[path = "support/server.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::Path;

use cairn_server::limits::COMMIT_MESSAGE_BYTES_MAX;
use git::{Live, commit, git as run, write};
use serde_json::{Value, json};
use support::Answer;

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

async fn merge(live: &Live, body: Value) -> Answer {
    live.server.post(&format!("{REPO}/merges"), &body.to_string()).await
}

/// What `git merge-tree` makes of two commits: a tree, or the conflicted paths.
fn stock(dir: &Path, ours: &str, theirs: &str) -> Result<String, BTreeSet<String>> {
    let args = ["merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", ours, theirs];
    let out = git::command(dir, &args).output().expect("git runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let mut parts = text.split('\0').filter(|part| !part.is_empty());
    let tree = parts.next().expect("a tree").to_owned();
    match out.status.code() {
        Some(0) => Ok(tree),
        Some(1) => Err(parts.map(str::to_owned).collect()),
        code => panic!("git merge-tree: {code:?} {}", String::from_utf8_lossy(&out.stderr)),
    }
}

fn conflicted(answer: &Answer) -> BTreeSet<String> {
    let listed = answer.body["errors"][0]["meta"]["conflicts"].as_array().expect("a list").clone();
    listed.iter().map(|one| one["path"].as_str().expect("text").to_owned()).collect()
}

fn conflict<'a>(answer: &'a Answer, path: &str) -> &'a Value {
    let listed = answer.body["errors"][0]["meta"]["conflicts"].as_array().expect("a list");
    listed.iter().find(|one| one["path"] == path).unwrap_or_else(|| panic!("no {path} in {}", answer.body))
}

fn lines(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("line {at}\n")).collect()
}

fn push(live: &Live, dir: &Path, token: &str, specs: &[&str]) {
    let url = live.url("a", "r");
    let args: Vec<&str> = ["push", "-q", "-f", &url].into_iter().chain(specs.iter().copied()).collect();
    live.git(dir, token, &args);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ways_to_merge_do_what_they_say() {
    let live = Live::new().await;
    let token = live.server.repo("a", "r").await;
    let dir = live.init("work");
    write(&dir, "f", lines(20).concat());
    write(&dir, "d/g", "g\n");
    let root = commit(&dir, "root");
    run(&dir, &["checkout", "-q", "-b", "topic/x"]);
    write(&dir, "f", lines(20).concat().replace("line 2\n", "topic 2\n"));
    let topic = commit(&dir, "topic");
    push(&live, &dir, &token, &["main", "topic/x"]);
    let at = async |answer: &Answer| {
        assert_eq!(answer.status, 200, "{}", answer.body);
        let hash = answer.result()["commit"]["hash"].as_str().expect("text").to_owned();
        let refs = live.git(&dir, &token, &["ls-remote", &live.url("a", "r"), "refs/heads/main"]);
        assert_eq!(refs, format!("{hash}\trefs/heads/main"));
        hash
    };

    let same = merge(&live, json!({"base": "topic/x", "head": "main"})).await;
    assert_eq!((same.status, &same.result()["status"]), (200, &"up_to_date".into()), "{}", same.body);
    // The head contains the base: moved, or a commit that says so.
    let never = merge(&live, json!({"base": "main", "head": "topic/x", "fast_forward": "never"})).await;
    let made = at(&never).await;
    assert_eq!(never.result()["status"], "merged");
    assert_eq!(never.result()["commit"]["parents"], json!([root, topic]));
    assert_eq!(never.result()["commit"]["message"], "Merge 'topic/x' into main");
    push(&live, &dir, &token, &[&format!("{root}:refs/heads/main")]);
    let forward =
        merge(&live, json!({"base": "refs/heads/main", "head": topic, "fast_forward": "only"})).await;
    assert_eq!((at(&forward).await, &forward.result()["status"]), (topic.clone(), &"fast_forward".into()));
    assert_eq!(forward.result()["previous"], root.as_str());

    // Both sides have commits of their own.
    run(&dir, &["checkout", "-q", "-b", "other", &root]);
    write(&dir, "f", lines(20).concat().replace("line 17\n", "other 17\n"));
    write(&dir, "new", "new\n");
    let other = commit(&dir, "other");
    push(&live, &dir, &token, &[&format!("{other}:refs/heads/main")]);
    let only = merge(&live, json!({"base": "main", "head": "topic/x", "fast_forward": "only"})).await;
    assert_eq!(only.error(), (409, 10306, ""));
    let who = json!({"name": "An Author", "email": "an@example.org", "date": "2024-01-02T03:04:05Z"});
    let body = json!({"base": "main", "head": "topic/x", "message": "Together\n\nat last\n", "author": who,
        "committer": {"name": "C", "email": "c@example.org"}, "expected_base": other});
    let merged = merge(&live, body.clone()).await;
    let hash = at(&merged).await;
    assert_eq!(merged.result()["commit"]["parents"], json!([other, topic]));
    assert_eq!(merged.result()["merge_bases"], json!([root]));
    let mirror = live.mirror(&token, ("a", "r"), "mirror");
    assert_eq!(Ok(run(&mirror, &["rev-parse", &format!("{hash}^{{tree}}")])), stock(&dir, &other, &topic));
    let shown = run(&mirror, &["log", "-1", "--format=%an|%ae|%at|%cn|%B", &hash]);
    assert_eq!(shown, "An Author|an@example.org|1704164645|C|Together\n\nat last");
    // The branch is elsewhere now.
    let late = merge(&live, body).await;
    assert_eq!(late.error(), (409, 10304, "/expected_base"));
    assert_eq!(late.body["errors"][0]["meta"]["current"], hash.as_str());

    push(&live, &dir, &token, &[&format!("{other}:refs/heads/main")]);
    let squashed = merge(&live, json!({"base": "main", "head": "topic/x", "strategy": "squash"})).await;
    let squash = at(&squashed).await;
    assert_eq!(squashed.result()["commit"]["parents"], json!([other]));
    assert_eq!(squashed.result()["commit"]["treeHash"], merged.result()["commit"]["treeHash"]);
    let log = live.server.app.catalog.resolve("a", "r").await.expect("an answer").expect("a row");
    let entries =
        live.server.app.files.repo(log.object_format, &log.pins).expect("a repository").entries(0, 99);
    let kinds: Vec<String> = entries.expect("entries").into_iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "merge").count(), 4, "{kinds:?}");
    live.mirror(&token, ("a", "r"), "mirror-2");
    assert!(![&made, &hash].contains(&&squash));
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_are_listed_and_write_nothing() {
    let live = Live::new().await;
    let token = live.server.repo("a", "r").await;
    let dir = live.init("work");
    write(&dir, "text", lines(30).concat());
    write(&dir, "gone", lines(10).concat());
    write(&dir, "bin", b"\0base");
    write(&dir, "moved", lines(25).concat().replace("line", "moved"));
    write(&dir, "sub/x", "x\n");
    commit(&dir, "base");
    run(&dir, &["checkout", "-q", "-b", "topic"]);
    write(
        &dir,
        "text",
        lines(30).concat().replace("line 4\n", "topic 4\n").replace("line 20\n", "topic 20\n"),
    );
    std::fs::remove_file(dir.join("gone")).expect("removed");
    write(&dir, "bin", b"\0topic");
    write(&dir, "both", "topic's\n");
    std::fs::rename(dir.join("moved"), dir.join("moved-by-topic")).expect("moved");
    commit(&dir, "topic");
    run(&dir, &["checkout", "-q", "main"]);
    write(&dir, "text", lines(30).concat().replace("line 4\n", "main 4\n").replace("line 20\n", "main 20\n"));
    write(&dir, "gone", lines(10).concat().replace("line 3\n", "main 3\n"));
    write(&dir, "bin", b"\0main");
    write(&dir, "both", "main's\n");
    std::fs::rename(dir.join("moved"), dir.join("moved-by-main")).expect("moved");
    let main = commit(&dir, "main");
    push(&live, &dir, &token, &["main", "topic"]);
    let files = |live: &Live| {
        let id = live.server.folder.path().join("repos");
        let mut sizes = Vec::new();
        let mut stack = vec![id];
        while let Some(at) = stack.pop() {
            for entry in std::fs::read_dir(at).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    stack.push(path)
                } else {
                    sizes.push(std::fs::metadata(path).expect("a file").len())
                }
            }
        }
        sizes
    };
    let before = files(&live);
    let answer = merge(&live, json!({"base": "main", "head": "topic"})).await;
    assert_eq!(answer.error(), (409, 10306, ""), "{}", answer.body);
    assert_eq!(Err(conflicted(&answer)), stock(&dir, "main", "topic"));
    assert_eq!(files(&live), before, "nothing is written");
    let refs = live.git(&dir, &token, &["ls-remote", &live.url("a", "r"), "refs/heads/main"]);
    assert!(refs.starts_with(&main));

    let text = conflict(&answer, "text");
    assert_eq!(text["kind"], "content");
    let regions = text["regions"].as_array().expect("a list");
    assert_eq!(regions.len(), 2);
    assert_eq!(regions[0]["line"], 5);
    assert_eq!(regions[0]["text"], "<<<<<<< main\nmain 4\n=======\ntopic 4\n>>>>>>> topic\n");
    let blob = |spec: &str| run(&dir, &["rev-parse", spec]);
    for (field, spec) in [("base", "main~:text"), ("ours", "main:text"), ("theirs", "topic:text")] {
        assert_eq!(text[field], json!({"mode": "100644", "hash": blob(spec)}), "{field}");
    }
    assert_eq!(conflict(&answer, "gone")["kind"], "modify_delete");
    assert!(conflict(&answer, "gone")["theirs"].is_null());
    assert_eq!(conflict(&answer, "bin")["kind"], "binary");
    assert_eq!(conflict(&answer, "both")["kind"], "add_add");
    assert_eq!(conflict(&answer, "moved")["kind"], "rename_rename");

    // Lines can be decided beforehand, files that are there or not cannot.
    for (favor, want) in [("ours", "main 4"), ("theirs", "topic 4")] {
        run(&dir, &["checkout", "-q", "-B", "easy", "main~"]);
        write(&dir, "text", lines(30).concat().replace("line 4\n", "topic 4\n"));
        commit(&dir, "easy");
        push(&live, &dir, &token, &["easy", &format!("{main}:refs/heads/main")]);
        let merged = merge(&live, json!({"base": "main", "head": "easy", "favor": favor})).await;
        assert_eq!(merged.status, 200, "{}", merged.body);
        let mirror = live.mirror(&token, ("a", "r"), &format!("favor-{favor}"));
        assert!(run(&mirror, &["show", "main:text"]).contains(want));
        let option = format!("-X{favor}");
        run(&dir, &["checkout", "-q", "--detach", &main]);
        run(&dir, &["merge", "-q", "--no-edit", &option, "easy"]);
        assert_eq!(run(&mirror, &["rev-parse", "main^{tree}"]), run(&dir, &["rev-parse", "HEAD^{tree}"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decided_by_lines_is_a_conflict_of_its_own_kind() {
    let live = Live::new().await;
    let token = live.server.repo("a", "r").await;
    let dir = live.init("work");
    for at in 0..3 {
        write(&dir, &format!("old/{at}"), lines(20).concat().replace("line", &format!("file {at}")));
    }
    write(&dir, "typed", "text\n");
    let root = commit(&dir, "root");
    // (the name, what one side does, what the other does, the kind, the path)
    type Edit = fn(&Path);
    let rename: Edit = |dir| std::fs::rename(dir.join("old"), dir.join("new")).expect("renamed");
    let add: Edit = |dir| write(dir, "old/added", "added\n");
    let link: Edit = |dir| {
        std::fs::remove_file(dir.join("typed")).expect("removed");
        std::os::unix::fs::symlink("old", dir.join("typed")).expect("linked");
    };
    let edit: Edit = |dir| write(dir, "typed", "other text\n");
    let delete: Edit = |dir| std::fs::remove_file(dir.join("old/0")).expect("removed");
    let cases = [
        ("added where it was renamed", rename, add, "file_location", "new/added"),
        ("renamed where it was added", add, rename, "file_location", "new/added"),
        ("a link on one side", link, edit, "distinct_types", "typed"),
        ("renamed and deleted", rename, delete, "rename_delete", "new/0"),
    ];
    for (at, (why, ours, theirs, kind, path)) in cases.into_iter().enumerate() {
        for (side, change) in [("ours", ours), ("theirs", theirs)] {
            run(&dir, &["checkout", "-q", "-f", "-B", &format!("{side}-{at}"), &root]);
            run(&dir, &["clean", "-qfd"]);
            change(&dir);
            commit(&dir, side);
        }
        let (base, head) = (format!("ours-{at}"), format!("theirs-{at}"));
        push(&live, &dir, &token, &[&base, &head]);
        let answer = merge(&live, json!({"base": base, "head": head})).await;
        assert_eq!(answer.error(), (409, 10306, ""), "{why}: {}", answer.body);
        assert_eq!(conflict(&answer, path)["kind"], kind, "{why}");
        let stock = stock(&dir, &base, &head).expect_err("git asks too");
        // git gives one of two types a name of its own making, and lists that as well.
        let named = stock.into_iter().filter(|path| !path.contains('~')).collect::<BTreeSet<_>>();
        assert_eq!(conflicted(&answer), named, "{why}");
    }
}

/// Changes some of a few files: lines, whole files, names.
fn shake(dir: &Path, random: &mut Random, tag: u64) {
    for _ in 0..=random.below(3) {
        let name = format!("d{}/f{}", random.below(2), random.below(4));
        let path = dir.join(&name);
        match (random.below(12), std::fs::read_to_string(&path)) {
            (0, Ok(_)) => std::fs::remove_file(&path).expect("removed"),
            (1, Ok(text)) => {
                std::fs::remove_file(&path).expect("removed");
                write(dir, &format!("d{}/n{}", random.below(2), random.below(6)), text);
            }
            (2, _) => write(
                dir,
                &format!("d{}/f{}", random.below(2), random.below(8)),
                lines(12).concat().replace("line", &format!("new {tag}")),
            ),
            (_, Ok(text)) => {
                let mut all: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
                let at = random.below(all.len().max(1) as u64) as usize;
                match random.below(3) {
                    0 if !all.is_empty() => drop(all.remove(at)),
                    1 => all.insert(at, format!("put {tag} {}\n", random.below(3))),
                    _ if !all.is_empty() => all[at] = format!("set {tag} {}\n", random.below(3)),
                    _ => {}
                }
                write(dir, &name, all.concat());
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_histories_merge_as_git_merges_them() {
    let live = Live::new().await;
    let token = live.server.repo("a", "r").await;
    let dir = live.init("work");
    for at in 0..8 {
        let text = lines(20 + at).concat().replace("line", &format!("file {at} line"));
        write(&dir, &format!("d{}/f{}", at % 2, at / 2), text);
    }
    let root = commit(&dir, "root");
    let mut random = Random(0xc0ffee);
    let (mut clean, mut conflicts) = (0, 0);
    for round in 0..60_u64 {
        let mut tips = Vec::new();
        for side in ["ours", "theirs"] {
            run(&dir, &["checkout", "-q", "-f", "-B", side, &root]);
            run(&dir, &["clean", "-qfd"]);
            for step in 0..=random.below(2) {
                shake(&dir, &mut random, round * 10 + step);
                commit(&dir, side);
            }
            tips.push(run(&dir, &["rev-parse", "HEAD"]));
        }
        push(&live, &dir, &token, &["ours", "theirs"]);
        let answer = merge(&live, json!({"base": "ours", "head": "theirs", "fast_forward": "never"})).await;
        match stock(&dir, &tips[0], &tips[1]) {
            Ok(tree) => {
                assert_eq!(answer.status, 200, "round {round}: {}", answer.body);
                assert_eq!(answer.result()["commit"]["treeHash"], tree.as_str(), "round {round}");
                clean += 1;
            }
            Err(paths) => {
                assert_eq!(answer.error(), (409, 10306, ""), "round {round}: {}", answer.body);
                assert_eq!(conflicted(&answer), paths, "round {round}");
                conflicts += 1;
            }
        }
    }
    assert!(clean > 10 && conflicts > 10, "{clean} clean, {conflicts} with conflicts");
    live.mirror(&token, ("a", "r"), "mirror");
}

#[tokio::test(flavor = "multi_thread")]
async fn crossed_histories_merge_over_their_merged_bases() {
    let live = Live::new().await;
    let token = live.server.repo("a", "r").await;
    let dir = live.init("work");
    write(&dir, "f", lines(40).concat());
    let root = commit(&dir, "root");
    let mut random = Random(7);
    let (mut clean, mut conflicts) = (0, 0);
    for round in 0..30_u64 {
        let edit = |from: &str, at: u64, text: &str| {
            run(&dir, &["checkout", "-q", "-f", "--detach", from]);
            let old = std::fs::read_to_string(dir.join("f")).expect("text");
            let mut all: Vec<String> = old.lines().map(|line| format!("{line}\n")).collect();
            let at = (at as usize).min(all.len() - 1);
            all[at] = format!("{text}\n");
            write(&dir, "f", all.concat());
            commit(&dir, text)
        };
        // a and b, each merged into the other, resolved alike where they conflict.
        let (at_a, at_b) = (random.below(8) * 5, random.below(8) * 5);
        let (a, b) = (edit(&root, at_a, "a"), edit(&root, at_b, "b"));
        let joined = |first: &str, second: &str| {
            run(&dir, &["checkout", "-q", "-f", "--detach", first]);
            let done = git::command(&dir, &["merge", "-q", "--no-edit", "--no-ff", second])
                .output()
                .expect("git runs");
            if !done.status.success() {
                write(&dir, "f", lines(40).concat().replace("line 0\n", "by hand\n"));
                commit(&dir, "resolved");
            }
            run(&dir, &["rev-parse", "HEAD"])
        };
        let (ab, ba) = (joined(&a, &b), joined(&b, &a));
        let (left, right) = (edit(&ab, random.below(8) * 5, "left"), edit(&ba, random.below(8) * 5, "right"));
        run(&dir, &["branch", "-f", "left", &left]);
        run(&dir, &["branch", "-f", "right", &right]);
        push(&live, &dir, &token, &["left", "right"]);
        let answer = merge(&live, json!({"base": "left", "head": "right"})).await;
        match stock(&dir, &left, &right) {
            Ok(tree) => {
                assert_eq!(answer.status, 200, "round {round}: {}", answer.body);
                assert_eq!(answer.result()["commit"]["treeHash"], tree.as_str(), "round {round}");
                assert_eq!(answer.result()["merge_bases"].as_array().map(Vec::len), Some(2));
                clean += 1;
            }
            Err(paths) => {
                assert_eq!(conflicted(&answer), paths, "round {round}: {}", answer.body);
                conflicts += 1;
            }
        }
    }
    assert!(clean > 3 && conflicts > 1, "{clean} clean, {conflicts} with conflicts");
    live.mirror(&token, ("a", "r"), "mirror");
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_at_once_all_land_and_a_fork_merges_what_its_base_has() {
    let live = Live::new().await;
    let token = live.server.repo("a", "base").await;
    let dir = live.init("work");
    write(&dir, "f", "f\n");
    commit(&dir, "root");
    for at in 0..4 {
        run(&dir, &["checkout", "-q", "-b", &format!("t{at}"), "main"]);
        write(&dir, &format!("own-{at}"), "x\n");
        commit(&dir, "topic");
    }
    live.git(&dir, &token, &["push", "-q", &live.url("a", "base"), "--all"]);
    let made = live.server.post("/namespaces/a/repos/base/fork", r#"{"name":"r"}"#).await;
    let token = made.text("token");
    let one = |at: usize| {
        let live = &live;
        async move {
            merge(live, json!({"base": "main", "head": format!("t{at}"), "fast_forward": "never"})).await
        }
    };
    let (a, b, c, d) = tokio::join!(one(0), one(1), one(2), one(3));
    for answer in [&a, &b, &c, &d] {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let mirror = live.mirror(&token, ("a", "r"), "mirror");
    assert_eq!(run(&mirror, &["ls-tree", "--name-only", "main"]), "f\nown-0\nown-1\nown-2\nown-3");
    assert_eq!(run(&mirror, &["rev-list", "--count", "--merges", "main"]), "4");
    let row = live.server.get(REPO).await;
    assert!(row.result()["last_push_at"].is_string(), "a merge counts as a push");
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_of_sha_256_are_compared_and_merged_too() {
    let live = Live::new().await;
    let made = live.server.post("/namespaces/a/repos", r#"{"name":"r","object_format":"sha256"}"#).await;
    let token = made.text("token");
    let dir = live.dir("work");
    std::fs::create_dir_all(&dir).expect("a folder");
    run(&dir, &["init", "-q", "-b", "main", "--object-format=sha256", "."]);
    write(&dir, "f", lines(20).concat());
    commit(&dir, "root");
    run(&dir, &["checkout", "-q", "-b", "topic"]);
    write(&dir, "f", lines(20).concat().replace("line 2\n", "topic 2\n"));
    let topic = commit(&dir, "topic");
    run(&dir, &["checkout", "-q", "main"]);
    write(&dir, "f", lines(20).concat().replace("line 17\n", "main 17\n"));
    let main = commit(&dir, "main");
    push(&live, &dir, &token, &["main", "topic"]);
    let found = live.server.get(&format!("{REPO}/compare/main...topic")).await;
    assert_eq!(
        (&found.result()["ahead_by"], &found.result()["additions"]),
        (&1.into(), &1.into()),
        "{}",
        found.body
    );
    let merged = merge(&live, json!({"base": "main", "head": "topic"})).await;
    assert_eq!(merged.result()["commit"]["parents"], json!([main, topic]), "{}", merged.body);
    assert_eq!(
        Ok(merged.result()["commit"]["treeHash"].as_str().expect("text").to_owned()),
        stock(&dir, &main, &topic)
    );
    let mirror = live.mirror(&token, ("a", "r"), "mirror");
    // A fork at a commit has a hash of this length as its moment.
    let fork =
        live.server.post(&format!("{REPO}/fork"), &json!({"name": "f", "at": topic}).to_string()).await;
    assert_eq!(fork.status, 201, "{}", fork.body);
    let fork = live.mirror(&fork.text("token"), ("a", "f"), "fork");
    assert_eq!(run(&fork, &["rev-parse", "main"]), run(&mirror, &["rev-parse", "topic"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_wishes_are_named() {
    let live = Live::new().await;
    let token = live.server.repo("a", "r").await;
    let dir = live.init("work");
    write(&dir, "f", "f\n");
    commit(&dir, "root");
    let tree = run(&dir, &["rev-parse", "HEAD^{tree}"]);
    let alone = run(&dir, &["commit-tree", "-m", "alone", &tree]);
    run(&dir, &["branch", "t", "HEAD"]);
    push(&live, &dir, &token, &["main", "t", &format!("{alone}:refs/heads/alone")]);
    let person = json!({"name": "a<b", "email": "x"});
    for (body, want) in [
        (json!({}), (400, 10100, "/base")),
        (json!({"base": "main"}), (400, 10100, "/head")),
        (json!({"base": "nowhere", "head": "t"}), (404, 10200, "/base")),
        (json!({"base": "main", "head": "nowhere"}), (404, 10200, "/head")),
        (json!({"base": "main", "head": tree}), (404, 10200, "/head")),
        (json!({"base": "main", "head": "alone"}), (400, 10100, "/head")),
        (json!({"base": "main", "head": "t", "fast_forward": "yes"}), (400, 10100, "/fast_forward")),
        (json!({"base": "main", "head": "t", "strategy": "octopus"}), (400, 10100, "/strategy")),
        (json!({"base": "main", "head": "t", "favor": "mine"}), (400, 10100, "/favor")),
        (json!({"base": "main", "head": "t", "message": " \n"}), (400, 10100, "/message")),
        (
            json!({"base": "main", "head": "t", "message": "m".repeat(COMMIT_MESSAGE_BYTES_MAX + 1)}),
            (400, 10100, "/message"),
        ),
        (json!({"base": "main", "head": "t", "author": person}), (400, 10100, "/author")),
        (
            json!({"base": "main", "head": "t", "author": {"name": "a", "email": "b", "date": "now"}}),
            (400, 10100, "/author/date"),
        ),
        (json!({"base": "main", "head": "t", "author": {"name": "a"}}), (400, 10100, "/author")),
        (json!({"base": "main", "head": "t", "expected_base": "0"}), (409, 10304, "/expected_base")),
    ] {
        assert_eq!(merge(&live, body.clone()).await.error(), want, "{body}");
    }
    run(&dir, &["commit", "-q", "--allow-empty", "-m", "ahead"]);
    push(&live, &dir, &token, &["main:t"]);
    let longest = json!({"base": "main", "head": "t", "fast_forward": "never", "message": "m".repeat(COMMIT_MESSAGE_BYTES_MAX)});
    assert_eq!(merge(&live, longest).await.status, 200);
    live.server.ask("PATCH", REPO, r#"{"read_only":true}"#).await;
    assert_eq!(merge(&live, json!({"base": "main", "head": "t"})).await.error(), (403, 10107, ""));
}
