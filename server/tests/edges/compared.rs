//! Comparisons of as many and as large files as they take.

use cairn_protocol::object::ObjectId;
use cairn_server::limits::{
    BINARY_PROBE_BYTES, COMPARE_BLOB_BYTES_MAX, COMPARE_CHANGES_MAX, COMPARE_DIFFED_BYTES_MAX,
    COMPARE_FILES_MAX, COMPARE_PATCH_BYTES_MAX, COMPARE_PATCHES_BYTES_MAX, ENGINE_OBJECT_BYTES_MAX,
    RENAME_BLOB_BYTES_MAX, RENAME_BLOBS_BYTES_MAX, RENAME_PAIR_BYTES_MAX, RENAME_PAIRS_MAX,
};
use serde_json::{Value, json};

use crate::built::{Built, Objects, refused};

/// Lines of sixteen bytes, numbered, up to `bytes`; `last` is in the place of the last byte.
fn text(bytes: usize, last: u8) -> Vec<u8> {
    let lines = (0..bytes / 16).flat_map(|n| format!("{n:015}\n").into_bytes());
    let mut data: Vec<u8> = lines.chain(std::iter::repeat(b'x')).take(bytes).collect();
    data[bytes - 1] = last;
    data
}

/// Files by name.
type Files<'a> = Vec<(&'a str, ObjectId)>;

/// Pushes pairs of trees as `old` and `new` of each name, to be compared.
struct Pairs<'a> {
    built: &'a Built,
    objects: Objects,
    refs: Vec<(String, ObjectId)>,
}

impl<'a> Pairs<'a> {
    fn new(built: &'a Built) -> Self {
        Self { built, objects: Objects::default(), refs: Vec::new() }
    }

    fn add(&mut self, name: &str, [old, new]: [Files<'_>; 2]) {
        let old = self.objects.files(old);
        let old = self.objects.commit(old, &[], "old\n");
        let new = self.objects.files(new);
        let new = self.objects.commit(new, &[old], "new\n");
        self.refs.push((format!("refs/heads/{name}-old"), old));
        self.refs.push((format!("refs/heads/{name}-new"), new));
    }

    async fn push(self) {
        let refs: Vec<_> = self.refs.iter().map(|(name, id)| (name.as_str(), *id)).collect();
        self.built.push(self.objects, &refs).await;
    }
}

async fn compare(built: &Built, name: &str) -> Value {
    let answer = built.get(&format!("compare/{name}-old...{name}-new")).await;
    assert_eq!(answer.status, 200, "{name}: {}", answer.body);
    answer.body["result"].clone()
}

/// The limits that left something out.
fn cut(found: &Value) -> Value {
    found["truncated_by"].clone()
}

#[tokio::test]
async fn so_many_files_are_listed_and_looked_through_for_renames() {
    let built = Built::new().await;
    let mut pairs = Pairs::new(&built);
    let blob = pairs.objects.blob(b"x\n");
    let names: Vec<String> = (0..=COMPARE_CHANGES_MAX).map(|n| format!("{n:06}")).collect();
    for (name, count) in [
        ("files-at", COMPARE_FILES_MAX),
        ("files-past", COMPARE_FILES_MAX + 1),
        ("changes-at", COMPARE_CHANGES_MAX),
        ("changes-past", COMPARE_CHANGES_MAX + 1),
    ] {
        pairs.add(name, [Vec::new(), names[..count].iter().map(|name| (name.as_str(), blob)).collect()]);
    }
    pairs.push().await;
    for (name, count, truncated_by) in [
        ("files-at", COMPARE_FILES_MAX, json!([])),
        ("files-past", COMPARE_FILES_MAX + 1, json!(["files"])),
        ("changes-at", COMPARE_CHANGES_MAX, json!(["files"])),
        ("changes-past", COMPARE_CHANGES_MAX + 1, json!(["files", "renames"])),
    ] {
        let found = compare(&built, name).await;
        assert_eq!(found["changed_files"], count, "{name}");
        assert_eq!(found["files"].as_array().map(Vec::len), Some(COMPARE_FILES_MAX), "{name}");
        assert_eq!(cut(&found), truncated_by, "{name}");
    }
}

#[tokio::test]
async fn a_file_is_diffed_up_to_its_limit_and_so_are_all_together() {
    let built = Built::new().await;
    let mut pairs = Pairs::new(&built);
    let bytes = COMPARE_BLOB_BYTES_MAX as usize;
    let old = pairs.objects.blob(&text(bytes, b'x'));
    let new = pairs.objects.blob(&text(bytes, b'y'));
    let larger = pairs.objects.blob(&text(bytes + 1, b'y'));
    pairs.add("blob-at", [vec![("f", old)], vec![("f", new)]]);
    pairs.add("blob-past", [vec![("f", old)], vec![("f", larger)]]);
    let count = COMPARE_DIFFED_BYTES_MAX as usize / (2 * bytes);
    let names: Vec<String> = (0..count).map(|n| format!("{n}")).collect();
    let all = |id: ObjectId| names.iter().map(|name| (name.as_str(), id)).collect::<Vec<_>>();
    let one = pairs.objects.blob(b"x");
    pairs.add("all-at", [all(old), all(new)]);
    pairs.add("all-past", [all(old), [all(new), vec![("z", one)]].concat()]);
    pairs.push().await;
    assert_eq!(cut(&compare(&built, "blob-at").await), json!([]));
    assert_eq!(cut(&compare(&built, "blob-past").await), json!(["blob_bytes"]));
    assert_eq!(cut(&compare(&built, "all-at").await), json!([]));
    let past = compare(&built, "all-past").await;
    assert_eq!(cut(&past), json!(["diffed_bytes"]));
    assert_eq!(past["files"][count]["truncated_by"], "diffed_bytes", "the one byte of the last file");
}

#[tokio::test]
async fn patches_stop_at_their_limits_each_and_together() {
    const LINES: usize = 1_000;
    let built = Built::new().await;
    let mut pairs = Pairs::new(&built);
    let content = |bytes: usize| {
        let (each, rest) = (bytes / LINES - 1, bytes % LINES);
        let line = |n: usize| format!("{}\n", "x".repeat(each + if n == 0 { rest } else { 0 }));
        (0..LINES).map(line).collect::<String>().into_bytes()
    };
    let probe = pairs.objects.blob(&content(2 * LINES));
    pairs.add("probe", [vec![], vec![("00", probe)]]);
    pairs.push().await;
    let probed = compare(&built, "probe").await;
    // A sign for each line, and the head of the patch, which has the same length for all.
    let head = probed["files"][0]["patch"].as_str().unwrap().len() - 3 * LINES;
    let mut pairs = Pairs::new(&built);
    let longest = pairs.objects.blob(&content(COMPARE_PATCH_BYTES_MAX - head - LINES));
    let longer = pairs.objects.blob(&content(COMPARE_PATCH_BYTES_MAX - head - LINES + 1));
    let one = pairs.objects.blob(b"");
    pairs.add("at", [vec![], vec![("00", longest)]]);
    pairs.add("past", [vec![], vec![("00", longer)]]);
    let names: Vec<String> =
        (0..COMPARE_PATCHES_BYTES_MAX / COMPARE_PATCH_BYTES_MAX).map(|n| format!("{n:02}")).collect();
    let all: Files<'_> = names.iter().map(|name| (name.as_str(), longest)).collect();
    pairs.add("all-at", [vec![], all.clone()]);
    pairs.add("all-past", [vec![], [all, vec![("z", one)]].concat()]);
    pairs.push().await;
    let at = compare(&built, "at").await;
    assert_eq!(at["files"][0]["patch"].as_str().map(str::len), Some(COMPARE_PATCH_BYTES_MAX));
    assert_eq!(cut(&at), json!([]));
    assert_eq!(cut(&compare(&built, "past").await), json!(["patch_bytes"]));
    assert_eq!(cut(&compare(&built, "all-at").await), json!([]));
    assert_eq!(cut(&compare(&built, "all-past").await), json!(["patches_bytes"]));
}

#[tokio::test]
async fn a_zero_makes_a_file_binary_where_git_looks_for_it() {
    let built = Built::new().await;
    let mut pairs = Pairs::new(&built);
    for (name, at) in [("inside", BINARY_PROBE_BYTES - 1), ("behind", BINARY_PROBE_BYTES)] {
        let mut data = vec![b'x'; BINARY_PROBE_BYTES + 1];
        data[at] = 0;
        let blob = pairs.objects.blob(&data);
        pairs.add(name, [vec![], vec![("f", blob)]]);
    }
    pairs.push().await;
    assert_eq!(compare(&built, "inside").await["files"][0]["binary"], true);
    assert_eq!(compare(&built, "behind").await["files"][0]["binary"], false);
}

/// `count` files of `bytes` that differ from all others, the last one by `more` longer.
fn different(objects: &mut Objects, side: u8, (count, bytes, more): (usize, usize, usize)) -> Vec<ObjectId> {
    let one = |n: usize| {
        let bytes = bytes + if n + 1 == count { more } else { 0 };
        let mark = [side, b' ' + (n % 90) as u8, b' ' + (n / 90) as u8];
        mark.into_iter().cycle().take(bytes).collect::<Vec<u8>>()
    };
    (0..count).map(|n| objects.blob(&one(n))).collect()
}

/// What is deleted and what is added, as counts and bytes: first at the limit, then past it.
async fn renames(deleted: [(usize, usize, usize); 2], added: [(usize, usize, usize); 2]) {
    let built = Built::new().await;
    let mut pairs = Pairs::new(&built);
    let names: Vec<String> = (0..1_000).map(|n| format!("{n:03}")).collect();
    for (at, name) in ["at", "past"].into_iter().enumerate() {
        let old = different(&mut pairs.objects, b'o', deleted[at]);
        let new = different(&mut pairs.objects, b'n', added[at]);
        let old = names.iter().map(String::as_str).zip(old).collect();
        let new = names.iter().rev().map(String::as_str).zip(new).collect::<Vec<_>>();
        pairs.add(name, [old, new.into_iter().rev().collect()]);
    }
    pairs.push().await;
    for (name, is_cut) in [("at", false), ("past", true)] {
        let answer = built.get(&format!("compare/{name}-old...{name}-new?patch=false")).await;
        let by = answer.body["result"]["truncated_by"].as_array().unwrap().clone();
        assert_eq!(by.contains(&json!("renames")), is_cut, "{name}: {by:?}");
    }
}

#[tokio::test]
async fn so_many_pairs_are_compared_for_renames() {
    assert_eq!(RENAME_PAIRS_MAX, 200 * 200);
    renames([(200, 3, 0), (200, 3, 0)], [(200, 3, 0), (201, 3, 0)]).await;
}

#[tokio::test]
async fn pairs_of_so_many_bytes_are_compared_for_renames() {
    assert_eq!(RENAME_PAIR_BYTES_MAX, 2 * 128 * 128 * (16 << 10));
    renames([(128, 16 << 10, 0), (128, 16 << 10, 0)], [(128, 16 << 10, 0), (128, 16 << 10, 1)]).await;
}

#[tokio::test]
async fn files_of_so_many_bytes_are_kept_for_renames() {
    let (bytes, all) = (RENAME_BLOB_BYTES_MAX as usize, RENAME_BLOBS_BYTES_MAX as usize);
    let count = all / bytes - 1;
    renames([(1, bytes, 0), (1, bytes, 0)], [(count, bytes, 0), (count + 1, bytes, 0)]).await;
}

#[tokio::test]
async fn a_file_is_compared_for_renames_up_to_its_limit() {
    let built = Built::new().await;
    let mut pairs = Pairs::new(&built);
    for (name, bytes) in [("at", RENAME_BLOB_BYTES_MAX), ("past", RENAME_BLOB_BYTES_MAX + 1)] {
        let old = pairs.objects.blob(&text(bytes as usize, b'x'));
        let new = pairs.objects.blob(&text(bytes as usize, b'y'));
        pairs.add(name, [vec![("a", old)], vec![("b", new)]]);
    }
    pairs.push().await;
    let kinds = async |name: &str| {
        let found = compare(&built, name).await;
        let files = found["files"].as_array().unwrap().clone();
        files.iter().map(|file| file["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds("at").await, ["renamed"]);
    assert_eq!(kinds("past").await, ["deleted", "added"]);
}

#[tokio::test]
async fn an_object_is_compared_up_to_its_limit() {
    let built = Built::new().await;
    let mut pairs = Pairs::new(&built);
    let blob = pairs.objects.blob(b"x\n");
    let empty = pairs.objects.files([]);
    let old = pairs.objects.commit(empty, &[], "old\n");
    pairs.refs.push(("refs/heads/old".to_owned(), old));
    for (name, bytes) in [("at", ENGINE_OBJECT_BYTES_MAX), ("past", ENGINE_OBJECT_BYTES_MAX + 1)] {
        let tree = pairs.objects.tree_of(bytes as usize, blob, None);
        let new = pairs.objects.commit(tree, &[old], "new\n");
        pairs.refs.push((format!("refs/heads/{name}"), new));
    }
    pairs.push().await;
    let at = built.get("compare/old...at?patch=false").await;
    assert_eq!(at.status, 200, "{}", at.body);
    let past = built.get("compare/old...past?patch=false").await;
    refused(&past, (507, 10402), ENGINE_OBJECT_BYTES_MAX);
    refused(&past, (507, 10402), ENGINE_OBJECT_BYTES_MAX + 1);
}
