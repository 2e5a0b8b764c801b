//! Packs as stock git writes them, with delta chains over real-looking content.

use std::collections::HashMap;
use std::process::{Command, Stdio};

use super::*;
use cairn_protocol::object::Kind;
use cairn_protocol::source::{ObjRef, ObjectSource};

use crate::store::repo::facts::{CommitLinks, Entry, EntryBase, PackFacts};
use crate::store::repo::fsck::fsck;

struct StockPack {
    entries: Vec<Entry>,
    sorted: Vec<u32>,
    bytes: Vec<u8>,
}

impl PackFacts for StockPack {
    fn algo(&self) -> HashAlgo {
        SHA1
    }

    fn len(&self) -> u32 {
        self.entries.len() as u32
    }

    fn pack_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn entry(&self, index: u32) -> Entry {
        self.entries[index as usize]
    }

    fn find(&self, id: &ObjectId) -> Option<u32> {
        self.entries.iter().position(|entry| entry.id == *id).map(|at| at as u32)
    }

    fn sorted(&self) -> &[u32] {
        &self.sorted
    }

    fn commits(&self) -> Box<dyn Iterator<Item = CommitLinks> + '_> {
        Box::new(std::iter::empty())
    }
}

fn git(folder: &std::path::Path, args: &[&str]) -> String {
    let out = Command::new("git")
        .args(["-c", "user.name=A", "-c", "user.email=a@b"])
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn hex(text: &str) -> ObjectId {
    ObjectId::from_hex(SHA1, text.as_bytes()).unwrap()
}

/// A pack of many versions of one file, packed with deltas as deep as git makes them.
fn stock_pack() -> StockPack {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    git(at, &["init", "-q", "-b", "main"]);
    let mut lines: Vec<String> = (0..2_000).map(|n| format!("line {n} {}\n", n * 7_919 % 1_009)).collect();
    for version in 0..40 {
        lines[version * 37] = format!("changed in {version}\n");
        lines.insert(version * 11, format!("added in {version}\n"));
        std::fs::write(at.join("file"), lines.concat()).unwrap();
        git(at, &["add", "."]);
        git(at, &["commit", "-q", "-m", "m"]);
    }
    git(at, &["repack", "-adfq", "--depth=50"]);
    let packs = at.join(".git/objects/pack");
    let pack = std::fs::read_dir(&packs).unwrap().map(|file| file.unwrap().path());
    let pack = pack.into_iter().find(|path| path.extension().is_some_and(|ext| ext == "pack")).unwrap();
    let sizes = git(at, &["cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objectsize)"]);
    let sizes: HashMap<&str, u64> = sizes
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(id, n)| (id, n.parse().unwrap()))
        .collect();
    let listing = git(at, &["verify-pack", "-v", pack.to_str().unwrap()]);
    let mut rows: Vec<Vec<&str>> = listing.lines().map(|line| line.split_whitespace().collect()).collect();
    rows.retain(|row| row.len() >= 5 && row[0].len() == 40);
    rows.sort_by_key(|row| row[4].parse::<u64>().unwrap());
    let places: HashMap<&str, u32> = rows.iter().enumerate().map(|(n, row)| (row[0], n as u32)).collect();
    let entry = |row: &Vec<&str>| Entry {
        id: hex(row[0]),
        kind: Kind::from_name(row[1].as_bytes()).unwrap(),
        size: sizes[row[0]],
        entry_bytes: row[3].parse().unwrap(),
        offset: row[4].parse().unwrap(),
        base: row.get(6).map_or(EntryBase::Whole, |base| EntryBase::Ofs(places[base])),
    };
    let entries: Vec<Entry> = rows.iter().map(entry).collect();
    let mut sorted: Vec<u32> = (0..entries.len() as u32).collect();
    sorted.sort_by_key(|index| entries[*index as usize].id);
    StockPack { entries, sorted, bytes: std::fs::read(pack).unwrap() }
}

#[test]
fn every_object_of_a_stock_pack_is_read_back_through_its_deltas() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let pack = stock_pack();
    let deltas = pack.entries.iter().filter(|entry| entry.base != EntryBase::Whole).count();
    assert!(deltas >= 30, "{deltas} deltas");
    let staged = repo.stage(&pack, &pack.bytes, true).unwrap();
    ok(&repo.commit_entry(entry(Some(staged), vec![create("refs/x", pack.entries[0].id)])).unwrap());
    // Recomputes every id.
    assert_eq!(fsck(&data.files, SHA1, &[own(1)]), Vec::<String>::new());
    let snapshot = repo.snapshot(None).unwrap();
    for (ordinal, entry) in (0..).zip(&pack.entries) {
        let (kind, data) = snapshot.read(ObjRef { source: 0, ordinal }).unwrap();
        assert_eq!((kind, data.len() as u64), (entry.kind, entry.size));
    }
}
