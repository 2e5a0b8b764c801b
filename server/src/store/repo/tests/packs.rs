//! Packs: what is read back, duplicates, references across packs and sources.

use super::*;
use cairn_protocol::object::Kind;
use cairn_protocol::source::{Base, ObjRef, ObjectSource, Record};

use crate::store::repo::Snapshot;
use crate::store::repo::fsck::fsck;

fn at(source: u16, ordinal: u32) -> ObjRef {
    ObjRef { source, ordinal }
}

fn records(snapshot: &Snapshot, source: u16) -> Vec<(u32, Record)> {
    let mut all = Vec::new();
    let limit = snapshot.limits()[source as usize];
    snapshot.records(source, 0..limit, &mut |ordinal, record| all.push((ordinal, *record))).unwrap();
    all
}

/// A commit on a tree on a blob, with a delta and a tag beside them.
fn first_pack(algo: HashAlgo) -> (TestPack, [ObjectId; 5]) {
    let mut pack = TestPack::new(algo);
    let blob = pack.blob(b"hello, world, this is a base");
    let delta = pack.ofs(0, b"hello, world, this is not a base");
    let tree = pack.tree("file", delta);
    let commit = pack.commit(tree, &[], 100);
    let tag = pack.whole(Kind::Tag, format!("object {commit}\ntype commit\ntag t\n\nm\n").as_bytes());
    (pack.finish(), [blob, delta, tree, commit, tag])
}

#[test]
fn what_was_pushed_is_read_back_with_either_hash() {
    for algo in [HashAlgo::Sha1, HashAlgo::Sha256] {
        let data = data();
        let repo = data.files.repo(algo, &[own(1)]).unwrap();
        let (pack, [_, delta, tree, commit, tag]) = first_pack(algo);
        assert_eq!(ok(&push(&repo, Some(&pack), vec![create("refs/heads/main", commit)])), 1);
        let snapshot = repo.snapshot(None).unwrap();
        assert_eq!(snapshot.limits(), [5]);
        assert_eq!(snapshot.lookup(&delta).unwrap(), Some(at(0, 1)));
        assert_eq!(
            snapshot.read(at(0, 1)).unwrap(),
            (Kind::Blob, b"hello, world, this is not a base".to_vec())
        );
        assert_eq!(snapshot.record(at(0, 1)).unwrap().base, Base::Ofs(at(0, 0)));
        assert_eq!(snapshot.record(at(0, 4)).unwrap().id, tag);
        let node = snapshot.commit(snapshot.lookup(&commit).unwrap().unwrap()).unwrap();
        assert_eq!(
            (node.tree, node.time, node.generation),
            (snapshot.lookup(&tree).unwrap().unwrap(), 100, 1)
        );
        let of = |kind| snapshot.kinds(0, kind).unwrap().iter().collect::<Vec<_>>();
        assert_eq!(
            (of(Kind::Blob), of(Kind::Tree), of(Kind::Commit), of(Kind::Tag)),
            (vec![0, 1], vec![2], vec![3], vec![4])
        );
        let row = snapshot.packs(0).unwrap()[0];
        assert_eq!((row.object_count, row.bytes, row.whole, row.seq), (5, pack.bytes.len() as u64, true, 1));
        let mut stored = vec![0; pack.bytes.len()];
        snapshot.pack_bytes(0, row.id, 0, &mut stored).unwrap();
        assert_eq!(stored, pack.bytes);
        assert!(snapshot.pack_bytes(0, row.id, 1, &mut stored).is_err(), "past the end");
        assert!(snapshot.record(at(0, 5)).is_err());
        assert!(snapshot.read(at(1, 0)).is_err());
        assert_eq!(fsck(&data.files, algo, &[own(1)]), Vec::<String>::new());
    }
}

#[test]
fn a_copy_is_never_named_and_what_leans_on_it_leans_on_the_first() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let (pack, [blob, delta, tree, commit, _]) = first_pack(SHA1);
    ok(&push(&repo, Some(&pack), vec![create("refs/heads/main", commit)]));
    let mut second = TestPack::new(SHA1);
    second.blob(b"hello, world, this is a base");
    let other = second.ofs(0, b"hello, world, this is another");
    second.tree("file", delta);
    let next = second.commit(tree, &[commit], 200);
    let thin = second.thin(delta, b"hello, world, this is not a base", b"hello, thin world");
    second.blob(b"hello, thin world");
    let second = second.finish();
    ok(&push(&repo, Some(&second), vec![moved("refs/heads/main", commit, next)]));
    let snapshot = repo.snapshot(None).unwrap();
    assert_eq!(snapshot.limits(), [11]);
    assert_eq!(snapshot.lookup(&blob).unwrap(), Some(at(0, 0)));
    assert_eq!(snapshot.lookup(&tree).unwrap(), Some(at(0, 2)));
    assert_eq!(records(&snapshot, 0).iter().map(|row| row.0).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 6, 8, 9]);
    assert_eq!(snapshot.canonical(0).unwrap().len(), 8);
    assert_eq!(snapshot.kinds(0, Kind::Tree).unwrap().iter().collect::<Vec<_>>(), [2]);
    assert_eq!(snapshot.record(at(0, 6)).unwrap().base, Base::Ofs(at(0, 0)), "moved to the first copy");
    assert_eq!(snapshot.record(snapshot.lookup(&thin).unwrap().unwrap()).unwrap().base, Base::Ref(at(0, 1)));
    assert_eq!(snapshot.read(at(0, 9)).unwrap().1, b"hello, thin world");
    assert_eq!(
        snapshot.read(snapshot.lookup(&other).unwrap().unwrap()).unwrap().1,
        b"hello, world, this is another"
    );
    let node = snapshot.commit(snapshot.lookup(&next).unwrap().unwrap()).unwrap();
    assert_eq!((node.tree, node.parents, node.generation), (at(0, 2), vec![at(0, 3)], 2));
    assert_eq!(fsck(&data.files, SHA1, &[own(1)]), Vec::<String>::new());
    let before = repo.snapshot(Some(1)).unwrap();
    assert_eq!(before.limits(), [5]);
    assert_eq!(before.lookup(&next).unwrap(), None);
    assert_eq!(before.canonical(0).unwrap().len(), 5);
    assert!(before.commit(at(0, 8)).is_err());
}

#[test]
fn a_fork_names_objects_of_its_bases_by_source_whatever_the_depth() {
    let data = data();
    let base = data.files.repo(SHA1, &[own(1)]).unwrap();
    let (pack, [_, delta, tree, commit, _]) = first_pack(SHA1);
    ok(&push(&base, Some(&pack), vec![create("refs/heads/main", commit)]));
    let fork = data.files.repo(SHA1, &[own(2), pin(1, 1)]).unwrap();
    let mut second = TestPack::new(SHA1);
    let next = second.commit(tree, &[commit], 200);
    let thin = second.thin(delta, b"hello, world, this is not a base", b"hello, thin world");
    second.blob(b"hello, world, this is a base");
    let second = second.finish();
    ok(&push(&fork, Some(&second), vec![moved("refs/heads/main", commit, next)]));
    let mut hidden = TestPack::new(SHA1);
    let secret = hidden.blob(b"later in the base");
    ok(&push(&base, Some(&hidden.finish()), vec![create("refs/heads/secret", secret)]));
    let third = data.files.repo(SHA1, &[own(3), pin(2, 1), pin(1, 1)]).unwrap();
    for (repo, depth) in [(&fork, 0), (&third, 1)] {
        let snapshot = repo.snapshot(None).unwrap();
        assert_eq!(snapshot.lookup(&secret).unwrap(), None, "a fork never sees what its base gets later");
        assert_eq!(snapshot.lookup(&next).unwrap(), Some(at(depth, 0)));
        let node = snapshot.commit(at(depth, 0)).unwrap();
        assert_eq!((node.tree, node.parents, node.generation), (at(depth + 1, 2), vec![at(depth + 1, 3)], 2));
        assert_eq!(snapshot.lookup(&thin).unwrap(), Some(at(depth, 1)));
        assert_eq!(snapshot.record(at(depth, 1)).unwrap().base, Base::Ref(at(depth + 1, 1)));
        assert_eq!(snapshot.read(at(depth, 1)).unwrap().1, b"hello, thin world");
        assert_eq!(snapshot.canonical(depth).unwrap().iter().collect::<Vec<_>>(), [0, 1]);
    }
    assert_eq!(fsck(&data.files, SHA1, &[own(2), pin(1, 1)]), Vec::<String>::new());
    base.save_set(0, b"main", b"set").unwrap();
    assert_eq!(third.snapshot(None).unwrap().saved_set(2, b"main").unwrap(), Some(b"set".to_vec()));
    assert_eq!(third.snapshot(None).unwrap().saved_set(1, b"main").unwrap(), None);
    third.save_set(2, b"other", b"set").unwrap();
    assert_eq!(third.snapshot(None).unwrap().saved_set(2, b"other").unwrap(), None, "no file, nothing kept");
}

/// More than a shard, a row of records, a chunk, and the memory that small packs may take.
fn large_pack(from: u32, count: u32) -> TestPack {
    let mut pack = TestPack::new(SHA1);
    let mut noise = u64::from(from) + 1;
    let mut filler = vec![0; (1 << 20) + 5];
    filler.fill_with(|| {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (noise >> 56) as u8
    });
    pack.blob(&filler);
    for n in from..from + count {
        pack.blob(format!("blob {n}").as_bytes());
    }
    pack.finish()
}

#[test]
fn a_large_pack_is_found_by_shards_and_streams_in_order() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let pack = large_pack(0, 5_000);
    ok(&push(&repo, Some(&pack), vec![create("refs/heads/x", pack.entries[1].id)]));
    let snapshot = repo.snapshot(None).unwrap();
    for index in (0..5_001).step_by(7) {
        let entry = pack.entries[index as usize];
        assert_eq!(snapshot.lookup(&entry.id).unwrap(), Some(at(0, index)));
        assert_eq!(snapshot.record(at(0, index)).unwrap().offset, entry.offset);
    }
    assert_eq!(snapshot.lookup(&oid(1)).unwrap(), None);
    let all = records(&snapshot, 0);
    assert_eq!(all.len(), 5_001);
    assert!(all.iter().enumerate().all(|(n, (ordinal, record))| n as u32 == *ordinal
        && record.id == pack.entries[n].id
        && record.entry_bytes == pack.entries[n].entry_bytes));
    assert_eq!(snapshot.read(at(0, 5_000)).unwrap().1, b"blob 4999");
    assert_eq!(fsck(&data.files, SHA1, &[own(1)]), Vec::<String>::new());
}

#[test]
fn copies_that_came_between_staging_and_commit_are_found() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let (a, b, mut small) = (large_pack(0, 3_000), large_pack(1_000, 3_000), TestPack::new(SHA1));
    small.blob(b"blob 2");
    small.blob(b"blob 3999");
    let small = small.finish();
    let tip = |pack: &TestPack, name: &str| vec![create(name, pack.entries[1].id)];
    let staged: Vec<_> =
        [&a, &b, &small].iter().map(|pack| repo.stage(*pack, &pack.bytes, true).unwrap()).collect();
    for (staged, (pack, name)) in staged.into_iter().zip([(&a, "refs/a"), (&b, "refs/b"), (&small, "refs/c")])
    {
        assert_eq!(
            repo.snapshot(None).unwrap().lookup(&pack.entries[pack.entries.len() - 1].id).unwrap().is_some(),
            name == "refs/c"
        );
        ok(&repo.commit_entry(entry(Some(staged), tip(pack, name))).unwrap());
    }
    let snapshot = repo.snapshot(None).unwrap();
    // Both fillers and the blobs 0..4000.
    assert_eq!(snapshot.canonical(0).unwrap().len(), 4_002);
    assert_eq!(fsck(&data.files, SHA1, &[own(1)]), Vec::<String>::new());
}

#[test]
fn a_copy_within_a_pack_counts_once() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let mut pack = TestPack::new(SHA1);
    let id = pack.blob(b"same");
    pack.blob(b"same");
    pack.blob(b"same");
    ok(&push(&repo, Some(&pack.finish()), vec![create("refs/a", id)]));
    let snapshot = repo.snapshot(None).unwrap();
    assert_eq!((snapshot.canonical(0).unwrap().len(), snapshot.lookup(&id).unwrap()), (1, Some(at(0, 0))));
    assert_eq!(fsck(&data.files, SHA1, &[own(1)]), Vec::<String>::new());
}

#[test]
fn a_pack_that_leans_on_a_missing_object_is_refused() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let mut thin = TestPack::new(SHA1);
    thin.thin(oid(1), b"absent", b"absent too");
    let thin = thin.finish();
    assert!(repo.stage(&thin, &thin.bytes, true).is_err());
    let mut orphan = TestPack::new(SHA1);
    orphan.commit(oid(1), &[], 1);
    let orphan = orphan.finish();
    assert!(repo.stage(&orphan, &orphan.bytes, true).is_err());
    assert!(!data.files.path(id_of(1)).exists());
}

#[test]
fn a_pack_of_which_an_update_was_refused_is_not_whole() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let mut pack = TestPack::new(SHA1);
    let (a, b) = (pack.blob(b"a"), pack.blob(b"b"));
    let updates = vec![create("refs/a", a), moved("refs/b", oid(1), b)];
    assert_eq!(push(&repo, Some(&pack.finish()), updates).seq, Some(1));
    assert!(!repo.snapshot(None).unwrap().packs(0).unwrap()[0].whole);
    let reopened = Files::open(data.folder.path(), 1).repo(SHA1, &[own(1)]).unwrap();
    assert!(!reopened.snapshot(None).unwrap().packs(0).unwrap()[0].whole);
}
