//! Merges of as much as they take.

use cairn_protocol::object::ObjectId;
use cairn_server::limits::{
    MERGE_BASES_MAX, MERGE_BLOB_BYTES_MAX, MERGE_CONFLICTS_MAX, MERGE_REGION_BYTES_MAX, MERGE_REGIONS_MAX,
};
use cairn_server::ops::engine::Objects as MadeObjects;
use cairn_server::ops::view::RepoView;
use serde_json::{Value, json};

use crate::built::{Built, Objects, REPO, refused};
use crate::support::Answer;

async fn merge(built: &Built, base: &str, head: &str) -> Answer {
    built.server.post(&format!("{REPO}/merges"), &json!({ "base": base, "head": head }).to_string()).await
}

/// Three versions of a tree as the refs `<name>-ours` and `<name>-theirs`, which part from the first.
fn three(objects: &mut Objects, [base, ours, theirs]: [ObjectId; 3]) -> [ObjectId; 2] {
    let base = objects.commit(base, &[], "base\n");
    [objects.commit(ours, &[base], "ours\n"), objects.commit(theirs, &[base], "theirs\n")]
}

/// The details of a merge that met conflicts.
fn conflicts(answer: &Answer) -> &Value {
    assert_eq!(answer.error().0, 409, "{}", answer.body);
    &answer.body["errors"][0]["meta"]
}

#[tokio::test]
async fn a_file_is_merged_by_lines_up_to_its_limit() {
    let built = Built::new().await;
    let mut objects = Objects::default();
    let mut refs = Vec::new();
    for (name, bytes) in [("at", MERGE_BLOB_BYTES_MAX), ("past", MERGE_BLOB_BYTES_MAX + 1)] {
        // Each side changes one line of its own; all have the same length.
        let version = |objects: &mut Objects, first: u8, last: u8| {
            let lines = (0..bytes as usize / 64).flat_map(|n| format!("{n:063}\n").into_bytes());
            let mut data: Vec<u8> = lines.chain(std::iter::repeat(b'x')).take(bytes as usize).collect();
            data[0] = first;
            data[bytes as usize - 2] = last;
            let blob = objects.blob(&data);
            objects.files([("f", blob)])
        };
        let trees = [(b'-', b'-'), (b'a', b'-'), (b'-', b'b')]
            .map(|(first, last)| version(&mut objects, first, last));
        let [ours, theirs] = three(&mut objects, trees);
        refs.push((format!("refs/heads/{name}-ours"), ours));
        refs.push((format!("refs/heads/{name}-theirs"), theirs));
    }
    let refs: Vec<_> = refs.iter().map(|(name, id)| (name.as_str(), *id)).collect();
    built.push(objects, &refs).await;
    let at = merge(&built, "at-ours", "at-theirs").await;
    assert_eq!(at.status, 200, "{}", at.body);
    let past = merge(&built, "past-ours", "past-theirs").await;
    assert_eq!(past.error(), (409, 10306, ""), "{}", past.body);
}

#[tokio::test]
async fn histories_cross_so_often_and_no_more() {
    let built = Built::new().await;
    let mut objects = Objects::default();
    let blob = objects.blob(b"x\n");
    let other = objects.blob(b"y\n");
    let trees = [
        objects.files([("f", blob)]),
        objects.files([("f", blob), ("g", blob)]),
        objects.files([("f", blob), ("h", other)]),
    ];
    let root = objects.commit(trees[0], &[], "root\n");
    let mut refs = Vec::new();
    for (name, count) in [("at", MERGE_BASES_MAX), ("past", MERGE_BASES_MAX + 1)] {
        let bases: Vec<_> = (0..count)
            .map(|n| objects.commit_at(1_700_000_000 + n as u64, trees[0], &[root], &format!("{name} {n}\n")))
            .collect();
        // Both sides have all of them as parents: each is a best common ancestor.
        refs.push((format!("refs/heads/{name}-ours"), objects.commit(trees[1], &bases, "ours\n")));
        refs.push((format!("refs/heads/{name}-theirs"), objects.commit(trees[2], &bases, "theirs\n")));
    }
    let refs: Vec<_> = refs.iter().map(|(name, id)| (name.as_str(), *id)).collect();
    built.push(objects, &refs).await;
    let at = merge(&built, "at-ours", "at-theirs").await;
    assert_eq!(at.status, 200, "{}", at.body);
    assert_eq!(at.result()["merge_bases"].as_array().map(Vec::len), Some(MERGE_BASES_MAX));
    refused(&merge(&built, "past-ours", "past-theirs").await, (507, 10402), MERGE_BASES_MAX);
}

#[tokio::test]
async fn so_many_conflicted_paths_are_listed() {
    let built = Built::new().await;
    let mut objects = Objects::default();
    let blobs = [b"base\n", b"ours\n", b"them\n"].map(|data| objects.blob(data));
    let names: Vec<String> = (0..=MERGE_CONFLICTS_MAX).map(|n| format!("{n:05}")).collect();
    let mut refs = Vec::new();
    for (name, count) in [("at", MERGE_CONFLICTS_MAX), ("past", MERGE_CONFLICTS_MAX + 1)] {
        let tree = |objects: &mut Objects, blob| {
            objects.files(names[..count].iter().map(|name| (name.as_str(), blob)))
        };
        let trees = blobs.map(|blob| tree(&mut objects, blob));
        let [ours, theirs] = three(&mut objects, trees);
        refs.push((format!("refs/heads/{name}-ours"), ours));
        refs.push((format!("refs/heads/{name}-theirs"), theirs));
    }
    let refs: Vec<_> = refs.iter().map(|(name, id)| (name.as_str(), *id)).collect();
    built.push(objects, &refs).await;
    for (name, is_cut) in [("at", false), ("past", true)] {
        let answer = merge(&built, &format!("{name}-ours"), &format!("{name}-theirs")).await;
        let found = conflicts(&answer);
        assert_eq!(found["conflicts"].as_array().map(Vec::len), Some(MERGE_CONFLICTS_MAX), "{name}");
        assert_eq!(found["truncated"], is_cut, "{name}");
    }
}

/// A file in which `count` lines conflict, of `ours` and `theirs` bytes, far enough from the next.
fn regions(objects: &mut Objects, count: usize, [ours, theirs]: [usize; 2]) -> [ObjectId; 3] {
    [(b'-', 8), (b'o', ours), (b't', theirs)].map(|(side, bytes)| {
        let line = String::from_utf8(vec![side; bytes - 1]).unwrap();
        let text: String =
            (0..count).map(|n| format!("{line}\n{}", format!("same {n}\n").repeat(20))).collect();
        let blob = objects.blob(text.as_bytes());
        objects.files([("f", blob)])
    })
}

/// Pushes such files, each as `<name>-ours` and `<name>-theirs`.
async fn push_regions(built: &Built, files: &[(&str, usize, [usize; 2])]) {
    let mut objects = Objects::default();
    let mut refs = Vec::new();
    for (name, count, bytes) in files {
        let trees = regions(&mut objects, *count, *bytes);
        let [ours, theirs] = three(&mut objects, trees);
        refs.push((format!("refs/heads/{name}-ours"), ours));
        refs.push((format!("refs/heads/{name}-theirs"), theirs));
    }
    let refs: Vec<_> = refs.iter().map(|(name, id)| (name.as_str(), *id)).collect();
    built.push(objects, &refs).await;
}

#[tokio::test]
async fn so_many_regions_and_so_much_text_of_them_is_shown() {
    let built = Built::new().await;
    // How many are shown, their bytes, and whether something was left out.
    let shown = async |name: &str| {
        let answer = merge(&built, &format!("{name}-ours"), &format!("{name}-theirs")).await;
        let found = conflicts(&answer).clone();
        let shown = found["conflicts"][0]["regions"].as_array().unwrap().clone();
        let bytes: usize = shown.iter().map(|region| region["text"].as_str().unwrap().len()).sum();
        (shown.len(), bytes, found["truncated"].as_bool().unwrap())
    };
    let max = MERGE_REGIONS_MAX;
    push_regions(&built, &[("a", max, [8, 8]), ("b", max + 1, [8, 8]), ("c", 1, [100, 100])]).await;
    let (count, _, is_cut) = shown("a").await;
    assert_eq!((count, is_cut), (max, false));
    let (count, _, is_cut) = shown("b").await;
    assert_eq!((count, is_cut), (max, true));
    // What stands around the lines of the two sides: markers, and names of one length.
    let around = shown("c").await.1 - 2 * 100;
    let rest = MERGE_REGION_BYTES_MAX - around - 1_000;
    push_regions(&built, &[("d", 1, [1_000, rest]), ("e", 1, [1_000, rest + 1])]).await;
    assert_eq!(shown("d").await, (1, MERGE_REGION_BYTES_MAX, false));
    let (count, bytes, is_cut) = shown("e").await;
    assert!(count == 1 && bytes < MERGE_REGION_BYTES_MAX && is_cut, "the last marker has no room");
}

#[tokio::test]
async fn a_merge_makes_so_many_bytes_and_no_more() {
    use gix_object::Write;

    let built = Built::new().await;
    let row = built.server.app.catalog.resolve("t", "r").await.unwrap().unwrap();
    let view = RepoView::open(&built.server.app, &row, None, cairn_server::ops::room::Room::ALL).unwrap();
    let objects = MadeObjects::new(&view, 10);
    let write = |data: &[u8]| objects.write_buf(gix_object::Kind::Blob, data);
    write(b"1234").unwrap();
    write(b"123456").unwrap();
    write(b"123456").expect("at the limit, and nothing new");
    let error = write(b"1").unwrap_err();
    let text = objects.failure(error).to_string();
    assert!(text.contains("more than 10 bytes"), "{text}");
}
