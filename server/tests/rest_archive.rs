//! Archives beside those of `git archive`, read with parsers that are not ours.

#[path = "support/server.rs"]
mod server;
#[path = "support/stock.rs"]
mod stock;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::PathBuf;

use cairn_protocol::object::Kind;
use cairn_protocol::pack::{IndexOptions, LinksOnly, NothingKnown, PackWriter, scan};
use cairn_server::limits::BLOB_BATCH_BYTES;
use cairn_server::ops::read::zip::Zip;
use cairn_server::store::repo::{EntryKind, Expected, NewEntry, RefUpdate};
use http_body_util::BodyExt;
use stock::{Local, Stock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_service::Service;

/// What is at a path: a word for its type, and its bytes.
type Facts = BTreeMap<PathBuf, (&'static str, Vec<u8>)>;

fn word(mode: u32) -> &'static str {
    if mode & 0o100 != 0 { "exec" } else { "file" }
}

fn tar_facts(bytes: &[u8]) -> Facts {
    let mut facts = Facts::new();
    for entry in tar::Archive::new(bytes).entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").into_owned();
        let mut content = Vec::new();
        let kind = match entry.header().entry_type() {
            tar::EntryType::Directory => "folder",
            tar::EntryType::Symlink => {
                content = entry.link_name_bytes().expect("a target").into_owned();
                "link"
            }
            tar::EntryType::XGlobalHeader => continue,
            _ => word(entry.header().mode().expect("a mode")),
        };
        entry.read_to_end(&mut content).expect("its bytes");
        assert!(facts.insert(path, (kind, content)).is_none(), "each path once");
    }
    facts
}

fn zip_facts(bytes: &[u8]) -> Facts {
    let mut facts = Facts::new();
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).expect("a zip");
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).expect("an entry");
        let mode = entry.unix_mode().unwrap_or(0o100_644);
        let kind = match mode & 0o170_000 {
            0o040_000 => "folder",
            0o120_000 => "link",
            _ if entry.is_dir() => "folder",
            _ => word(mode),
        };
        let path = PathBuf::from(entry.name().expect("a name").into_owned());
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("its bytes, and their checksum");
        assert!(facts.insert(path, (kind, content)).is_none(), "each path once");
    }
    facts
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).expect("gzip");
    out
}

fn fill(local: &Local) {
    local.write("plain.txt", "plain\n");
    local.write("empty", "");
    local.write("dir/run.sh", "#!/bin/sh\n");
    local.write(&format!("dir/{}/{}.txt", "d".repeat(90), "f".repeat(120)), "long names\n");
    local.write("dir/gr\u{fc}n.txt", "name\n");
    local.write("zeros", vec![0; 1 << 20]);
    local.write("block", vec![b'b'; 512]);
    std::os::unix::fs::symlink("../../etc/passwd", local.path.join("link")).expect("a link");
    std::os::unix::fs::symlink("t".repeat(150), local.path.join("long-link")).expect("a link");
    local.git(&["add", "-A"]);
    local.git(&["update-index", "--chmod=+x", "dir/run.sh"]);
    let digits = if local.git(&["rev-parse", "--show-object-format"]) == "sha1" { 40 } else { 64 };
    local.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{},module", "7".repeat(digits))]);
    local.git(&["commit", "-q", "-m", "all"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_hold_what_those_of_git_hold() {
    let stock = Stock::new().await;
    for format in ["sha1", "sha256"] {
        let local = stock.repo(format, format).await;
        fill(&local);
        local.git(&["tag", "-a", "-m", "t", "v1.0"]);
        local.git(&["branch", "feature/x"]);
        stock.push(&local, &["main", "v1.0", "feature/x"]).await;
        let commit = local.git(&["rev-parse", "main"]);
        for (name, short) in [
            ("main", "main"),
            ("v1.0", "v1.0"),
            ("feature/x", "feature-x"),
            ("feature%2Fx", "feature-x"),
            ("refs/heads/feature/x", "feature-x"),
            ("HEAD", "main"),
            (&commit, &commit),
        ] {
            let prefix = format!("--prefix={format}-{short}/");
            let want = tar_facts(&local.bytes(&["archive", "--format=tar", &prefix, "main"]));
            let tar = stock.get(&format!("{format}/archive/{name}.tar")).await;
            assert_eq!(tar.header("content-type"), "application/x-tar");
            assert_eq!(tar_facts(&tar.bytes), want, "{name}");
            let gz = stock.get(&format!("{format}/archive/{name}.tar.gz")).await;
            assert_eq!(gz.header("content-type"), "application/gzip");
            assert!(gunzip(&gz.bytes) == tar.bytes, "{name}");
            let file = format!("attachment; filename=\"{format}-{short}.tar.gz\"");
            assert_eq!(gz.header("content-disposition"), file);
            let want = zip_facts(&local.bytes(&["archive", "--format=zip", &prefix, "main"]));
            let zip = stock.get(&format!("{format}/archive/{name}.zip")).await;
            assert_eq!(zip_facts(&zip.bytes), want, "{name}");
        }
        let tar = stock.get(&format!("{format}/archive/main.tar")).await.bytes;
        let file = local.path.join(".git/archive.tar");
        std::fs::write(&file, &tar).expect("a file");
        let told = local.git(&["-c", "alias.t=!git get-tar-commit-id < .git/archive.tar", "t"]);
        assert_eq!(told, commit, "git finds the commit in it");
        let mut archive = tar::Archive::new(tar.as_slice());
        let times =
            archive.entries().expect("a tar").skip(1).map(|entry| entry.expect("one").header().mtime().ok());
        assert!(times.into_iter().all(|time| time == Some(1_700_000_000)), "all have the commit's time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_have_tags_that_change_with_what_they_hold() {
    let stock = Stock::new().await;
    let local = stock.repo("x", "sha1").await;
    local.write("a", "a\n");
    let commit = local.commit("one", 1_700_000_000);
    stock.push(&local, &["main"]).await;
    let first = stock.get("x/archive/main.tar").await;
    let tag = first.header("etag").to_owned();
    assert_ne!(tag, stock.get("x/archive/main.zip").await.header("etag"));
    assert_ne!(tag, stock.get("x/archive/HEAD.zip").await.header("etag"));
    let had = stock.ask("GET", "x/archive/main.tar", &[("if-none-match", &tag)]).await;
    assert_eq!((had.status, had.bytes.len()), (304, 0));
    assert_eq!(stock.get("x/archive/main.tar").await.bytes, first.bytes, "the same bytes each time");
    let head = stock.ask("HEAD", "x/archive/main.tar", &[]).await;
    assert_eq!((head.status, head.bytes.len(), head.header("etag")), (200, 0, tag.as_str()));
    let fixed = stock.get(&format!("x/archive/{commit}.tar")).await;
    assert_eq!(fixed.header("cache-control"), "private, max-age=31536000, immutable");
    local.write("a", "b\n");
    local.commit("two", 1_700_000_001);
    stock.push(&local, &["main"]).await;
    assert_eq!(stock.ask("GET", "x/archive/main.tar", &[("if-none-match", &tag)]).await.status, 200);
    assert_eq!(stock.get("x/archive/main.tar?at=1").await.bytes, first.bytes);
    for name in ["none.tar", "main~1.tar", ".tar", &format!("{}.zip", "1".repeat(40))] {
        if name != ".tar" {
            assert_eq!(stock.get(&format!("x/archive/{name}")).await.error().2, "Ref not found", "{name}");
        }
    }
    assert_eq!(stock.get("x/archive/main.rar").await.error().3, "/format");
    stock.repo("empty", "sha1").await;
    assert_eq!(stock.get("empty/archive/HEAD.tar").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_are_made_as_they_are_taken() {
    let stock = Stock::new().await;
    let local = stock.repo("x", "sha1").await;
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    for n in 0..24 {
        local.write(&format!("{n}"), (0..300_000).map(|_| noise()).collect::<Vec<_>>());
    }
    local.commit("one", 1_700_000_000);
    stock.push(&local, &["main"]).await;
    for (ending, limit) in
        [("tar", 2 * BLOB_BATCH_BYTES), ("tar.gz", 2 * BLOB_BATCH_BYTES), ("zip", 3 * BLOB_BATCH_BYTES)]
    {
        let uri = format!("{}/namespaces/team/repos/x/archive/main.{ending}", server::BASE);
        let request = axum::http::Request::builder()
            .uri(uri)
            .header("authorization", format!("Bearer {}", server::API_TOKEN))
            .body(axum::body::Body::empty())
            .expect("a request");
        let mut body = stock.server.edge.clone().call(request).await.expect("an answer").into_body();
        let mut frames = 0;
        while let Some(frame) = body.frame().await {
            let bytes = frame.expect("no error").into_data().expect("data");
            assert!(bytes.len() <= limit, "{} bytes at once in {ending}", bytes.len());
            frames += 1;
        }
        assert!(frames > 10, "{frames} batches of {ending}");
    }
    // Over the wire, to the end of the connection.
    let address = stock.origin.strip_prefix("http://").expect("an origin");
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let request = format!(
        "GET {}/namespaces/team/repos/x/archive/main.tar HTTP/1.0\r\nAuthorization: Bearer {}\r\n\r\n",
        server::BASE,
        server::API_TOKEN
    );
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers");
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    assert_eq!(tar_facts(&answer[at..]).len(), 25, "24 files in a folder");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_marked_export_ignore_is_left_out_as_in_git() {
    let stock = Stock::new().await;
    let local = stock.repo("x", "sha1").await;
    let rules = "/top.txt export-ignore\n*.log export-ignore\nkeep.log -export-ignore\nfolder/ export-ignore\n\
                 /a/only/** export-ignore\nplain text export-ignore=yes\n\"with space\" text export-ignore\n\
                 # none export-ignore\n.gitattributes export-ignore\n";
    local.write(".gitattributes", rules);
    local.write("a/.gitattributes", "b/*.txt export-ignore\nback.log !export-ignore\n");
    for path in [
        "top.txt",
        "a/top.txt",
        "x.log",
        "a/x.log",
        "a/back.log",
        "keep.log",
        "a/keep.log",
        "folder/x",
        "a/folder/y",
        "a/only/1",
        "a/only/sub/2",
        "plain",
        "with space",
        "a/b/1.txt",
        "a/b/2.md",
        "b/1.txt",
        "c/x.log",
        "d/folder",
        "back.log",
    ] {
        local.write(path, path);
    }
    local.commit("one", 1_700_000_000);
    stock.push(&local, &["main"]).await;
    let want = tar_facts(&local.bytes(&["archive", "--format=tar", "--prefix=x-main/", "main"]));
    assert!(want.len() > 8 && !want.contains_key(&PathBuf::from("x-main/x.log")), "git leaves something out");
    assert_eq!(tar_facts(&stock.get("x/archive/main.tar").await.bytes), want);
    assert_eq!(zip_facts(&stock.get("x/archive/main.zip").await.bytes), want);
}

/// Puts a commit with a tree that no push would get past the checks into the log.
async fn hostile(stock: &Stock, names: &[&[u8]]) {
    let row = stock.server.app.catalog.resolve("team", "x").await.expect("an answer").expect("a repository");
    let algo = row.object_format;
    let repo = stock.server.app.files.repo(algo, &row.pins).expect("a repository");
    let mut writer = PackWriter::new(algo);
    let blob = writer.add(Kind::Blob, b"evil").expect("no collision");
    let mut tree = Vec::new();
    for name in names {
        tree.extend([b"100644 ", *name, b"\0", blob.as_bytes()].concat());
    }
    let tree = writer.add(Kind::Tree, &tree).expect("no collision");
    let who = "A <a@b> 1700000000 +0000";
    let text = format!("tree {tree}\nauthor {who}\ncommitter {who}\n\nevil\n");
    let commit = writer.add(Kind::Commit, text.as_bytes()).expect("no collision");
    let bytes = writer.finish().expect("no collision");
    let options = IndexOptions { algo, cache_bytes: 0, object_bytes_max: 9_999, objects_max: 9, fsck: false };
    let scanned = scan(&bytes, &options, &mut |_, _| {}).expect("a pack");
    let resolver = scanned.resolver(&bytes, &NothingKnown, &LinksOnly).expect("a pack");
    resolver.work().expect("resolves");
    let staged = repo.stage(&resolver.finish().expect("a pack"), &bytes, true).expect("staged");
    let update = RefUpdate {
        name: b"refs/heads/main".to_vec(),
        expected: Expected::Absent,
        new: Some(commit),
        peeled: None,
    };
    let entry = NewEntry {
        kind: EntryKind::Push,
        actor: "tests".into(),
        time_ms: 0,
        nonce: [0; 16],
        staged: Some(staged),
        updates: vec![update],
        atomic: false,
    };
    assert_eq!(repo.commit_entry(entry).expect("committed").seq, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_do_not_leave_the_folder() {
    let stock = Stock::new().await;
    stock.server.repo("team", "x").await;
    let names: [&[u8]; 6] = [b"..", b".", b"../../up", b"/root", b"..\\..\\up", b"C:\\up"];
    hostile(&stock, &names).await;
    let tar = tar_facts(&stock.get("x/archive/main.tar").await.bytes);
    let zip = zip_facts(&stock.get("x/archive/main.zip").await.bytes);
    assert_eq!(tar.keys().collect::<Vec<_>>(), zip.keys().collect::<Vec<_>>());
    assert_eq!(tar.len(), 7, "{tar:?}");
    for path in tar.keys() {
        let text = path.to_str().expect("UTF-8");
        let mut parts = text.split(['/', '\\']);
        assert_eq!(parts.next(), Some("x-main"), "{text}");
        assert!(parts.all(|part| part != ".." && part != "."), "{text}");
        assert!(!path.is_absolute(), "{text}");
    }
}

#[test]
fn a_zip_of_more_entries_than_old_readers_count_is_read_by_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut zip, mut out) = (Zip::new(1_700_000_000, folder.path()), Vec::new());
    for n in 0..70_000 {
        zip.folder(format!("x/{n}/").as_bytes(), &mut out).expect("no limit");
    }
    zip.file(b"x/last", false, &mut out);
    zip.data(b"last ", &mut out).expect("deflates");
    zip.data(b"of all", &mut out).expect("deflates");
    zip.end_file(&mut out).expect("deflates");
    while !zip.end(&mut out).expect("the directory is read back") {}
    let mut archive = zip::ZipArchive::new(Cursor::new(&out)).expect("a zip");
    assert_eq!(archive.len(), 70_001);
    let mut content = String::new();
    archive.by_name("x/last").expect("there").read_to_string(&mut content).expect("its bytes");
    assert_eq!(content, "last of all");
}
