//! Stock git makes packs and says what is in them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/pack_repo.rs"]
mod support;

use cairn_protocol::object::{HashAlgo, Kind, ObjectId};
use cairn_protocol::pack::{
    EntryBase, IndexOptions, LinksOnly, NothingKnown, PackError, PackWriter, ReadObject, RefBase,
};
use support::{AtEnd, Has, Repo, facts, index, index_with, options, read};

#[test]
fn every_object_of_a_deep_pack_has_gits_id_kind_and_size() {
    for algo in [HashAlgo::Sha1, HashAlgo::Sha256] {
        let repo = Repo::with_history(algo, 300);
        repo.repack(250);
        let bytes = std::fs::read(repo.pack_file()).unwrap();
        let pack = index(algo, &bytes).unwrap();
        assert_eq!(facts(&pack), repo.objects());
        assert!(pack.entries().any(|entry| matches!(entry.base, EntryBase::Ofs(_))));
        assert_eq!(pack.external(), []);
        assert_eq!(pack.pack_bytes(), bytes.len() as u64);
        assert!(bytes.ends_with(pack.trailer().as_bytes()));
    }
}

#[test]
fn offsets_lengths_and_bases_are_what_verify_pack_says() {
    let repo = Repo::with_history(HashAlgo::Sha1, 60);
    repo.repack(50);
    let file = repo.pack_file();
    let pack = index(HashAlgo::Sha1, &std::fs::read(&file).unwrap()).unwrap();
    let said = repo.git(&["verify-pack", "-v", file.with_extension("idx").to_str().unwrap()], b"");
    let mut lines = 0;
    for line in String::from_utf8(said).unwrap().lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(id) = ObjectId::from_hex(HashAlgo::Sha1, words[0].as_bytes()) else {
            continue;
        };
        let entry = pack.entry(pack.find(&id).unwrap());
        assert_eq!([words[3], words[4]], [entry.entry_bytes.to_string(), entry.offset.to_string()]);
        let base = match entry.base {
            EntryBase::Ofs(base) => Some(pack.entry(base).id.to_string()),
            EntryBase::Whole => None,
            EntryBase::Ref(_) => panic!("git writes ofs-deltas here"),
        };
        assert_eq!(base.as_deref(), words.get(6).copied());
        lines += 1;
    }
    assert_eq!(lines, pack.len());
}

#[test]
fn ref_deltas_within_a_pack_find_bases_that_are_deltas_themselves() {
    let repo = Repo::with_history(HashAlgo::Sha1, 200);
    repo.repack(100);
    let bytes = repo.pack_objects(&["--all"], "");
    let pack = index(HashAlgo::Sha1, &bytes).unwrap();
    assert_eq!(facts(&pack), repo.objects());
    let in_pack =
        |entry: &cairn_protocol::pack::Entry| matches!(entry.base, EntryBase::Ref(RefBase::InPack(_)));
    assert!(pack.entries().filter(in_pack).count() > 100);
}

#[test]
fn thin_packs_lean_on_what_the_repository_has() {
    let repo = Repo::with_history(HashAlgo::Sha1, 80);
    repo.repack(50);
    let has = Has::reachable(&repo, "main~5");
    for flags in [&["--thin"][..], &["--thin", "--delta-base-offset"]] {
        let bytes = repo.pack_objects(flags, "main\n^main~5\n");
        let pack = index_with(&bytes, &options(HashAlgo::Sha1), &has, &LinksOnly, 2).unwrap();
        let outer =
            |entry: &cairn_protocol::pack::Entry| matches!(entry.base, EntryBase::Ref(RefBase::External(_)));
        assert!(pack.entries().any(|entry| outer(&entry)));
        for entry in pack.entries() {
            let (kind, data) = read(&repo, &entry.id);
            assert_eq!((entry.kind, entry.size), (kind, data.len() as u64));
        }
        let tip = pack.find(&repo.rev("main")).unwrap();
        assert_eq!(pack.unreferred().collect::<Vec<_>>(), [tip]);
        assert!(pack.external().contains(&(repo.rev("main~5"), Kind::Commit)));
        let alone = index(HashAlgo::Sha1, &bytes).unwrap_err();
        assert!(matches!(alone, PackError::MissingBase { .. }), "{alone}");
    }
}

#[test]
fn workers_and_budget_do_not_change_the_result() {
    let repo = Repo::with_history(HashAlgo::Sha1, 250);
    repo.repack(250);
    let bytes = std::fs::read(repo.pack_file()).unwrap();
    let by_ref = repo.pack_objects(&["--all"], "");
    for bytes in [bytes, by_ref] {
        let one = index(HashAlgo::Sha1, &bytes).unwrap();
        let commits: Vec<_> = one.commits().iter().collect();
        for (workers, cache_bytes) in [(1, 0), (3, 0), (4, 1 << 20), (2, 10_000)] {
            let options = IndexOptions { cache_bytes, ..options(HashAlgo::Sha1) };
            let pack = index_with(&bytes, &options, &NothingKnown, &LinksOnly, workers).unwrap();
            assert!(pack.entries().eq(one.entries()));
            assert_eq!(pack.sorted(), one.sorted());
            assert_eq!(pack.commits().iter().collect::<Vec<_>>(), commits);
            assert_eq!(pack.tags(), one.tags());
            assert!(pack.unreferred().eq(one.unreferred()));
        }
    }
}

#[test]
fn commits_and_tags_say_what_git_says() {
    let repo = Repo::with_history(HashAlgo::Sha1, 40);
    repo.repack(50);
    let pack = index(HashAlgo::Sha1, &std::fs::read(repo.pack_file()).unwrap()).unwrap();
    let said = repo.git(&["log", "--all", "--format=%H %T %ct %P"], b"");
    let mut said: Vec<String> =
        String::from_utf8(said).unwrap().lines().map(|line| line.trim().to_owned()).collect();
    let mut ours: Vec<String> = Vec::new();
    for commit in pack.commits() {
        let parents: String = commit.parents().map(|parent| format!(" {parent}")).collect();
        ours.push(format!("{} {} {}{parents}", pack.entry(commit.index).id, commit.tree, commit.time));
    }
    said.sort();
    ours.sort();
    assert_eq!(ours, said);
    assert_eq!(pack.tags().len(), 4);
    for tag in pack.tags() {
        assert_eq!((tag.kind, pack.entry(tag.index).kind), (Kind::Commit, Kind::Tag));
        assert!(pack.find(&tag.target).is_some());
    }
}

#[test]
fn checks_may_read_any_object_at_the_end() {
    let repo = Repo::with_history(HashAlgo::Sha1, 30);
    repo.repack(50);
    let objects: Vec<_> = repo.objects().into_iter().map(|(id, kind, _)| (id, kind)).collect();
    let seen = std::sync::atomic::AtomicUsize::new(0);
    let check = AtEnd(|read: &ReadObject<'_>| {
        for (id, kind) in &objects {
            let data = read(id)?.expect("all are in the pack");
            assert_eq!(cairn_protocol::object::hash_object(id.algo(), *kind, &data).unwrap(), *id);
            seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        assert!(read(&ObjectId::null(HashAlgo::Sha1))?.is_none());
        Ok(())
    });
    for bytes in [std::fs::read(repo.pack_file()).unwrap(), repo.pack_objects(&["--all"], "")] {
        index_with(&bytes, &options(HashAlgo::Sha1), &NothingKnown, &check, 1).unwrap();
    }
    assert_eq!(seen.into_inner(), 2 * objects.len());
}

#[test]
fn git_accepts_the_packs_that_we_write() {
    for algo in [HashAlgo::Sha1, HashAlgo::Sha256] {
        let repo = Repo::new(algo);
        let mut writer = PackWriter::new(algo);
        let blob = writer.add(Kind::Blob, b"hello\n").unwrap();
        let tree = writer.add(Kind::Tree, &[b"100644 a\0", blob.as_bytes()].concat()).unwrap();
        let text = format!("tree {tree}\nauthor A <a@x> 5 +0000\ncommitter C <c@x> 6 +0000\n\nm\n");
        let commit = writer.add(Kind::Commit, text.as_bytes()).unwrap();
        let bytes = writer.finish().unwrap();
        let pack = index(algo, &bytes).unwrap();
        assert_eq!(pack.unreferred().map(|at| pack.entry(at).id).collect::<Vec<_>>(), [commit]);
        repo.git(&["index-pack", "--stdin", "--strict"], &bytes);
        assert_eq!(repo.objects(), facts(&pack));
        repo.git(&["fsck", "--strict", &commit.to_string()], b"");
    }
}
