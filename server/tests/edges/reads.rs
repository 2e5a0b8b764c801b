//! Reads of objects that are as large, as many or as deep as reads take.

use cairn_protocol::object::{Kind, ObjectId};
use cairn_server::limits::{
    ACTIVITY_CHANGES_MAX, ARCHIVE_LINK_BYTES_MAX, ATTRIBUTES_BYTES_MAX, COMMIT_TREE_BYTES_MAX,
    LOG_PAGE_BYTES, LOG_WALKED_COMMITS_MAX, PEELED_TAG_BYTES_MAX, RAW_REF_PARTS_MAX, TREE_BYTES_MAX,
    TREE_WALK_BYTES_MAX, TREE_WALK_ENTRIES_MAX, TREE_WHOLE_BYTES_MAX,
};
use serde_json::json;

use crate::built::{Built, Objects, REPO, commit, refused};

#[tokio::test]
async fn trees_are_listed_and_shown_whole_up_to_their_limits() {
    let built = Built::new().await;
    let mut objects = Objects::default();
    let blob = objects.blob(b"x\n");
    let sizes = [TREE_WHOLE_BYTES_MAX, TREE_WHOLE_BYTES_MAX + 1, TREE_BYTES_MAX, TREE_BYTES_MAX + 1];
    let trees = sizes.map(|bytes| objects.tree_of(bytes, blob, None));
    let commits = trees.map(|tree| objects.commit(tree, &[], "m\n"));
    let refs: Vec<_> =
        ["refs/heads/a", "refs/heads/b", "refs/heads/c", "refs/heads/d"].into_iter().zip(commits).collect();
    built.push(objects, &refs).await;
    assert_eq!(built.status(&format!("tree/{}", trees[0])).await, 200);
    let past = built.get(&format!("tree/{}", trees[1])).await;
    refused(&past, (507, 10402), TREE_WHOLE_BYTES_MAX);
    refused(&past, (507, 10402), TREE_WHOLE_BYTES_MAX + 1);
    assert_eq!(built.status("tree?ref=c&limit=1").await, 200);
    let past = built.get("tree?ref=d&limit=1").await;
    refused(&past, (507, 10402), TREE_BYTES_MAX);
    refused(&past, (507, 10402), TREE_BYTES_MAX + 1);
}

#[tokio::test]
async fn a_walk_holds_so_many_bytes_of_trees() {
    let built = Built::new().await;
    let mut objects = Objects::default();
    let blob = objects.blob(b"x\n");
    let levels = TREE_WALK_BYTES_MAX / TREE_BYTES_MAX;
    let stack = |objects: &mut Objects, mut below: Option<ObjectId>| {
        for _ in 0..levels {
            below = Some(objects.tree_of(TREE_BYTES_MAX, blob, below));
        }
        below.unwrap()
    };
    let at = stack(&mut objects, None);
    let one_more = objects.files([("f", blob)]);
    let past = stack(&mut objects, Some(one_more));
    let refs = [at, past].map(|tree| objects.commit(tree, &[], "m\n"));
    built.push(objects, &[("refs/heads/at", refs[0]), ("refs/heads/past", refs[1])]).await;
    assert_eq!(built.status("tree?ref=at&recursive=true&limit=1").await, 200);
    let past = built.get("tree?ref=past&recursive=true&limit=1").await;
    refused(&past, (507, 10402), TREE_WALK_BYTES_MAX);
}

#[tokio::test]
async fn a_listing_counts_so_many_entries() {
    let built = Built::new().await;
    let mut objects = Objects::default();
    let blob = objects.blob(b"x\n");
    let names: Vec<String> = (0..1_000).map(|n| format!("{n:03}")).collect();
    let files = objects.files(names.iter().skip(1).map(|name| (name.as_str(), blob)));
    let mut folders: Vec<_> = names.iter().map(|name| ("40000", name.as_str(), files)).collect();
    assert_eq!(TREE_WALK_ENTRIES_MAX, 1_000 * (1 + 999), "each folder, and what is in it");
    let at = objects.tree(&folders);
    folders.push(("100644", "z", blob));
    let past = objects.tree(&folders);
    let refs = [at, past].map(|tree| objects.commit(tree, &[], "m\n"));
    built.push(objects, &[("refs/heads/at", refs[0]), ("refs/heads/past", refs[1])]).await;
    let at = built.get("tree?ref=at&recursive=true&limit=1&page=1").await;
    assert_eq!(at.body["result_info"]["total_count"], TREE_WALK_ENTRIES_MAX, "{}", at.body);
    refused(&built.get("tree?ref=past&recursive=true&limit=1").await, (422, 10403), TREE_WALK_ENTRIES_MAX);
}

#[tokio::test]
async fn a_tag_is_followed_up_to_its_limit() {
    let built = Built::new().await;
    let mut objects = Objects::default();
    let tree = objects.files([]);
    let commit = objects.commit(tree, &[], "m\n");
    let mut refs = Vec::new();
    for (name, bytes) in [("at", PEELED_TAG_BYTES_MAX), ("past", PEELED_TAG_BYTES_MAX + 1)] {
        let head = format!("object {commit}\ntype commit\ntag {name}\ntagger A <a@x> 1700000000 +0000\n\n");
        let message = "x".repeat(bytes as usize - head.len());
        refs.push((name, objects.add(Kind::Tag, format!("{head}{message}").as_bytes())));
    }
    built.push(objects, &[("refs/tags/at", refs[0].1), ("refs/tags/past", refs[1].1)]).await;
    assert_eq!(built.status("compare/at...at").await, 200);
    assert_eq!(built.status("compare/past...past").await, 404);
}

#[tokio::test]
async fn a_page_of_the_log_ends_behind_its_bytes() {
    const EACH_BYTES: usize = 1 << 20;
    let built = Built::new().await;
    let mut objects = Objects::default();
    let tree = objects.files([]);
    let mut refs = Vec::new();
    for (name, bytes) in [("refs/heads/at", EACH_BYTES), ("refs/heads/below", EACH_BYTES - 1)] {
        let mut parents = Vec::new();
        for second in 0..6 {
            let head = commit(1_700_000_000 + second, tree, &parents, "").len();
            let message = "x".repeat(bytes - head);
            parents = vec![objects.commit_at(1_700_000_000 + second, tree, &parents, &message)];
        }
        refs.push((name, parents[0]));
    }
    built.push(objects, &refs).await;
    let shown =
        async |name: &str| built.get(&format!("log?ref={name}")).await.result().as_array().unwrap().len();
    assert_eq!(shown("at").await, LOG_PAGE_BYTES / EACH_BYTES);
    assert_eq!(shown("below").await, LOG_PAGE_BYTES / EACH_BYTES + 1, "the page was not full yet");
}

#[tokio::test]
async fn a_page_of_a_path_looks_at_so_many_commits() {
    let built = Built::new().await;
    let mut objects = Objects::default();
    let blob = objects.blob(b"x\n");
    let (with, without) = (objects.files([("f", blob)]), objects.files([("g", blob)]));
    let first = objects.commit_at(1_700_000_000, with, &[], "first\n");
    let mut last = first;
    let mut at = first;
    // The first commit changes the path, and so does the next one, which takes it away: neither is among the newest.
    for n in 1..=LOG_WALKED_COMMITS_MAX + 1 {
        at = last;
        last = objects.commit_at(1_700_000_000 + n, without, &[last], "m\n");
    }
    built.push(objects, &[("refs/heads/at", at), ("refs/heads/past", last)]).await;
    // Of so many commits behind the newest, one changes the path; the page ends behind it.
    let shown = async |name: &str| {
        let page = built.get(&format!("log?ref={name}&path=f")).await;
        let count = page.result().as_array().unwrap().len();
        (count, page.body["result_info"]["cursor"].is_string())
    };
    assert_eq!(shown("at").await, (1, true), "the one that took it away is the last that is looked at");
    assert_eq!(shown("past").await, (0, true), "it is one further");
}

#[tokio::test]
async fn a_ref_in_a_raw_path_has_so_many_parts() {
    let built = Built::new().await;
    let mut objects = Objects::default();
    let blob = objects.blob(b"x\n");
    let tree = objects.files([("f", blob)]);
    let commit = objects.commit(tree, &[], "m\n");
    let name = |first: &str, parts: usize| format!("{first}{}", "/p".repeat(parts - 1));
    let (at, past) = (name("a", RAW_REF_PARTS_MAX), name("b", RAW_REF_PARTS_MAX + 1));
    let refs = [format!("refs/heads/{at}"), format!("refs/heads/{past}")];
    built.push(objects, &[(&refs[0], commit), (&refs[1], commit)]).await;
    assert_eq!(built.status(&format!("raw/{at}/f")).await, 200);
    assert_eq!(built.status(&format!("raw/{past}/f")).await, 404);
}

#[tokio::test]
async fn an_entry_shows_so_many_ref_changes_and_counts_all() {
    let built = Built::new().await;
    let max = ACTIVITY_CHANGES_MAX as usize;
    let mut objects = Objects::default();
    let blob = objects.blob(b"x\n");
    let named: Vec<String> = (0..2 * max + 1).map(|n| format!("refs/tags/{n:05}")).collect();
    let refs: Vec<_> = named.iter().map(|name| (name.as_str(), blob)).collect();
    built.push(objects, &refs[..max]).await;
    let mut objects = Objects::default();
    objects.blob(b"y\n");
    built.push(objects, &refs[max..]).await;
    let entries = built.get("activity").await;
    let shown = |at: usize| {
        let entry = &entries.result()[at];
        (entry["ref_changes"].as_array().map(Vec::len), entry["ref_changes_count"].as_u64())
    };
    assert_eq!(shown(1), (Some(max), Some(max as u64)));
    assert_eq!(shown(0), (Some(max), Some(max as u64 + 1)));
}

#[tokio::test]
async fn links_and_rules_of_an_archive_stop_at_their_limits() {
    let built = Built::new().await;
    let mut objects = Objects::default();
    let (link, rules) = (ARCHIVE_LINK_BYTES_MAX as usize, ATTRIBUTES_BYTES_MAX as usize);
    let mut refs = Vec::new();
    for (name, bytes) in [("refs/heads/link-at", link), ("refs/heads/link-past", link + 1)] {
        let target = objects.blob(&vec![b'x'; bytes]);
        let tree = objects.tree(&[("120000", "l", target)]);
        refs.push((name, objects.commit(tree, &[], "m\n")));
    }
    for (name, bytes) in [("refs/heads/rules-at", rules), ("refs/heads/rules-past", rules + 1)] {
        // Comments, in lines that are no longer than git takes.
        let line = format!("#{}\n", "x".repeat(1_022));
        let text = format!("{}{}", line.repeat(bytes / line.len()), "#".repeat(bytes % line.len()));
        let rules = objects.blob(text.as_bytes());
        let tree = objects.files([(".gitattributes", rules)]);
        refs.push((name, objects.commit(tree, &[], "m\n")));
    }
    built.push(objects, &refs).await;
    // An archive is sent as it is made: what it cannot hold breaks it off.
    for name in ["link", "rules"] {
        assert!(built.is_whole(&format!("archive/{name}-at.tar")).await, "{name}");
        assert!(!built.is_whole(&format!("archive/{name}-past.tar")).await, "{name}");
    }
}

#[tokio::test]
async fn a_commit_reads_so_many_bytes_of_folders() {
    let built = Built::new().await;
    let mut objects = Objects::default();
    let blob = objects.blob(b"x\n");
    let count = COMMIT_TREE_BYTES_MAX as usize / TREE_BYTES_MAX;
    let names: Vec<String> = (0..count).map(|n| format!("d{n}")).collect();
    // What the root itself takes: mode, space, name, NUL and id of each folder.
    let root_bytes = count * (5 + 1 + 2 + 1 + 20);
    let whole = objects.tree_of(TREE_BYTES_MAX, blob, None);
    let mut refs = Vec::new();
    for (name, more) in [("refs/heads/at", 0), ("refs/heads/past", 1)] {
        let last = objects.tree_of(TREE_BYTES_MAX - root_bytes + more, blob, None);
        let tree = |n: usize| if n + 1 == count { last } else { whole };
        let entries: Vec<_> =
            names.iter().enumerate().map(|(n, name)| ("40000", name.as_str(), tree(n))).collect();
        let root = objects.tree(&entries);
        refs.push((name, objects.commit(root, &[], "m\n")));
    }
    built.push(objects, &refs).await;
    // Each folder is read to find that the file in it has that mode already.
    let changes: Vec<_> =
        names.iter().map(|name| json!({ "path": format!("{name}/{:0100}", 0), "mode": "100644" })).collect();
    for (branch, said) in [("at", "change nothing"), ("past", &COMMIT_TREE_BYTES_MAX.to_string())] {
        let body = json!({ "branch": branch, "message": "m", "changes": changes });
        let answer = built.server.post(&format!("{REPO}/commits"), &body.to_string()).await;
        refused(&answer, (400, 10100), said);
    }
}
