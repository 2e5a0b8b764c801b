//! Rolling: the same log, in fewer and smaller packs.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use cairn_protocol::object::Kind;
use cairn_protocol::source::{Base, CommitNode, ObjRef, ObjectSource};

use crate::store::repo::fsck::fsck;
use crate::store::repo::limits::{ROLL_DELTA_DEPTH_MAX, SMALL_PACK_OBJECTS_MAX};
use crate::store::repo::{RefRow, Snapshot};

/// A text of which each version differs from all others in one line.
pub(super) fn version(n: u32) -> Vec<u8> {
    let line = |at: u32| format!("line {at} {:08x}\n", if at == n % 40 { n } else { at * 0x9e37 });
    (0..40).map(line).collect::<String>().into_bytes()
}

/// What readers can tell of a snapshot: everything but where in packs objects lie.
#[derive(Debug, PartialEq)]
pub(super) struct Facts {
    limits: Vec<u32>,
    refs: Vec<RefRow>,
    objects: Vec<(ObjRef, ObjectId, Kind, Vec<u8>)>,
    commits: Vec<CommitNode>,
    kinds: Vec<Vec<u32>>,
    entries: Vec<(u32, u32, bool, u64)>,
}

pub(super) fn facts(snapshot: &Snapshot) -> Facts {
    let limits = snapshot.limits();
    let (mut refs, mut objects, mut commits) = (Vec::new(), Vec::new(), Vec::new());
    let (mut kinds, mut entries) = (Vec::new(), Vec::new());
    snapshot
        .refs(b"", &mut |row| {
            refs.push(row);
            true
        })
        .unwrap();
    for (source, limit) in limits.iter().enumerate() {
        let source = source as u16;
        let mut ordinals = Vec::new();
        snapshot.records(source, 0..*limit, &mut |ordinal, _| ordinals.push(ordinal)).unwrap();
        for ordinal in ordinals {
            let at = ObjRef { source, ordinal };
            let id = snapshot.record(at).unwrap().id;
            assert_eq!(snapshot.lookup(&id).unwrap(), Some(at));
            let (kind, data) = snapshot.read(at).unwrap();
            if kind == Kind::Commit {
                commits.push(snapshot.commit(at).unwrap());
            }
            objects.push((at, id, kind, data));
        }
        for kind in [Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag] {
            kinds.push(snapshot.kinds(source, kind).unwrap().iter().collect());
        }
        let rows = snapshot.packs(source).unwrap();
        entries.extend(rows.iter().map(|row| (row.base_ordinal, row.object_count, row.whole, row.seq)));
    }
    Facts { limits, refs, objects, commits, kinds, entries }
}

/// One push of a commit with one file, whole.
pub(super) fn push_version(repo: &Repo, branch: &str, n: u32, before: Option<ObjectId>) -> ObjectId {
    let mut pack = TestPack::new(repo.algo());
    let blob = pack.blob(&version(n));
    let tree = pack.tree("file", blob);
    let parents: Vec<ObjectId> = before.into_iter().collect();
    let commit = pack.commit(tree, &parents, 100 + i64::from(n));
    let update = match before {
        Some(before) => moved(branch, before, commit),
        None => create(branch, commit),
    };
    ok(&push(repo, Some(&pack.finish()), vec![update]));
    commit
}

/// Thirty entries of all forms: whole objects, deltas inside a pack and across packs, copies, entries without a pack.
fn history(repo: &Repo) -> ObjectId {
    let algo = repo.algo();
    let mut head = push_version(repo, "refs/heads/main", 0, None);
    for n in 1..30 {
        head = match n % 6 {
            1 => {
                // What an earlier push brought, again, and a delta that leans on the copy.
                let mut pack = TestPack::new(algo);
                pack.blob(&version(0));
                let blob = pack.ofs(0, &version(n));
                let tree = pack.tree("file", blob);
                let commit = pack.commit(tree, &[head], 100 + i64::from(n));
                ok(&push(repo, Some(&pack.finish()), vec![moved("refs/heads/main", head, commit)]));
                commit
            }
            2 => {
                let base = cairn_protocol::object::hash_object(algo, Kind::Blob, &version(n - 1)).unwrap();
                let mut pack = TestPack::new(algo);
                let blob = pack.thin(base, &version(n - 1), &version(n));
                let tree = pack.tree("file", blob);
                let commit = pack.commit(tree, &[head], 100 + i64::from(n));
                ok(&push(repo, Some(&pack.finish()), vec![moved("refs/heads/main", head, commit)]));
                commit
            }
            3 => {
                ok(&push(repo, None, vec![create(&format!("refs/heads/at-{n}"), head)]));
                head
            }
            _ => push_version(repo, "refs/heads/main", n, Some(head)),
        };
    }
    head
}

#[test]
fn a_rolled_log_reads_the_same_at_every_seq_and_from_every_fork() {
    for algo in [HashAlgo::Sha1, HashAlgo::Sha256] {
        let data = data();
        let base = data.files.repo(algo, &[own(1)]).unwrap();
        let head = history(&base);
        let forks: Vec<Repo> = (0..31)
            .map(|seq| data.files.repo(algo, &[own(2), pin(1, seq)]).unwrap())
            .chain([data.files.repo(algo, &[own(3), pin(2, 0), pin(1, 17)]).unwrap()])
            .collect();
        let all = |base: &Repo, forks: &[Repo]| -> Vec<Facts> {
            let seqs = (0..=30).map(|seq| facts(&base.snapshot(Some(seq)).unwrap()));
            seqs.chain(forks.iter().map(|fork| facts(&fork.snapshot(None).unwrap()))).collect()
        };
        let before = all(&base, &forks);
        let bytes = base.snapshot(None).unwrap().own_bytes().unwrap();
        let rolled = base.roll(2).unwrap();
        assert_eq!((rolled.packs_in, rolled.packs_out), (25, 1), "{rolled:?}");
        assert!(
            rolled.bytes_out < rolled.bytes_in && base.snapshot(None).unwrap().own_bytes().unwrap() < bytes
        );
        assert_eq!(all(&base, &forks), before);
        assert_eq!(base.roll(2).unwrap(), crate::store::repo::Rolled::default(), "nothing is left to roll");
        // More entries above, rolled once more, then read by another process.
        push_version(&base, "refs/heads/main", 100, Some(head));
        let more = facts(&base.snapshot(None).unwrap());
        assert_eq!(base.roll(2).unwrap().packs_in, 2);
        assert_eq!(facts(&base.snapshot(None).unwrap()), more);
        assert_eq!(fsck(&data.files, algo, &[own(1)]), Vec::<String>::new());
        let again = Files::open_read_only(data.folder.path(), 8);
        assert_eq!(facts(&again.repo(algo, &[own(1)]).unwrap().snapshot(None).unwrap()), more);
        for (seq, before) in before.iter().take(31).enumerate() {
            let snapshot = again.repo(algo, &[own(1)]).unwrap().snapshot(Some(seq as u64)).unwrap();
            assert_eq!(facts(&snapshot), *before, "as of {seq}");
        }
    }
}

#[test]
fn rolling_cuts_long_chains_and_makes_deltas_of_whole_objects() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let count = ROLL_DELTA_DEPTH_MAX * 2 + 20;
    let mut before: Option<ObjectId> = None;
    for n in 0..count {
        let mut pack = TestPack::new(SHA1);
        let blob = match before {
            Some(base) => pack.thin(base, &version(n - 1), &version(n)),
            None => pack.blob(&version(n)),
        };
        let update = match before {
            Some(before) => moved("refs/tags/blob", before, blob),
            None => create("refs/tags/blob", blob),
        };
        ok(&push(&repo, Some(&pack.finish()), vec![update]));
        before = Some(blob);
    }
    let depth_of = |snapshot: &Snapshot, ordinal| {
        let (mut depth, mut at) = (0, ObjRef { source: 0, ordinal });
        while let Base::Ofs(base) | Base::Ref(base) = snapshot.record(at).unwrap().base {
            (depth, at) = (depth + 1, base);
        }
        depth
    };
    let deepest = |snapshot: &Snapshot| (0..count).map(|at| depth_of(snapshot, at)).max().unwrap();
    assert_eq!(deepest(&repo.snapshot(None).unwrap()), count - 1);
    repo.roll(2).unwrap();
    let snapshot = repo.snapshot(None).unwrap();
    assert!(deepest(&snapshot) <= ROLL_DELTA_DEPTH_MAX);
    for n in 0..count {
        assert_eq!(snapshot.read(ObjRef { source: 0, ordinal: n }).unwrap().1, version(n));
    }
    let other = data.files.repo(SHA1, &[own(2)]).unwrap();
    let mut head = None;
    (0..40).for_each(|n| head = Some(push_version(&other, "refs/heads/main", n, head)));
    let rolled = other.roll(2).unwrap();
    assert!(rolled.bytes_out * 2 < rolled.bytes_in, "{rolled:?}");
    assert_eq!(fsck(&data.files, SHA1, &[own(1)]), Vec::<String>::new());
    assert_eq!(fsck(&data.files, SHA1, &[own(2)]), Vec::<String>::new());
}

#[test]
fn what_an_older_snapshot_names_stays_until_the_snapshot_is_gone() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    history(&repo);
    let slow = repo.snapshot(None).unwrap();
    let named: Vec<_> = (0..slow.limits()[0])
        .filter_map(|ordinal| Some((ordinal, slow.record(ObjRef { source: 0, ordinal }).ok()?)))
        .collect();
    let read = |snapshot: &Snapshot| -> Vec<Vec<u8>> {
        let bytes = |record: &cairn_protocol::source::Record| {
            let mut bytes = vec![0; record.entry_bytes as usize];
            snapshot.pack_bytes(0, record.pack, record.offset, &mut bytes).map(|()| bytes)
        };
        named.iter().filter_map(|(_, record)| bytes(record).ok()).collect()
    };
    let before = read(&slow);
    assert_eq!(before.len(), named.len());
    let layout = slow.layout();
    repo.roll(2).unwrap();
    assert_ne!(repo.snapshot(None).unwrap().layout(), layout, "plans of before are not used again");
    assert_eq!(read(&slow), before, "a clone under way reads on");
    repo.roll(2).unwrap();
    assert_eq!(read(&slow), before);
    drop(slow);
    repo.roll(2).unwrap();
    assert_eq!(
        read(&repo.snapshot(None).unwrap()),
        Vec::<Vec<u8>>::new(),
        "nobody needs them: they are gone"
    );
    assert_eq!(fsck(&data.files, SHA1, &[own(1)]), Vec::<String>::new());
}

#[test]
fn what_a_crash_left_of_rolling_is_swept_by_the_next_open() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    history(&repo);
    let before = facts(&repo.snapshot(None).unwrap());
    let slow = repo.snapshot(None).unwrap();
    repo.roll(2).unwrap();
    // As after a crash before the old packs were deleted: the file as it is now, opened by somebody else.
    let copy = tempfile::tempdir().unwrap();
    let files = Files::open(copy.path(), 8);
    crate::store::repo::fsck::backup(&data.files.path(id_of(1)), &files.path(id_of(1))).unwrap();
    drop(slow);
    let left = |path: &std::path::Path| -> u32 {
        let conn = rusqlite::Connection::open(path).unwrap();
        conn.query_row("SELECT count(*) FROM pack WHERE live = 0", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(left(&files.path(id_of(1))), 25);
    let repo = files.repo(SHA1, &[own(1)]).unwrap();
    assert_eq!(facts(&repo.snapshot(None).unwrap()), before);
    assert_eq!(fsck(&files, SHA1, &[own(1)]), Vec::<String>::new());
    assert_eq!(left(&files.path(id_of(1))), 0);
}

#[test]
fn pushes_readers_and_forks_go_on_while_packs_are_rolled() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let start = push_version(&repo, "refs/heads/main", 0, None);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (repo, files, is_done) = (&repo, &data.files, &is_done);
        let rolling = scope.spawn(move || {
            let mut steps = 0;
            while !is_done.load(Ordering::Relaxed) {
                steps += repo.roll(4).unwrap().packs_out;
            }
            steps
        });
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(move || {
                    while !is_done.load(Ordering::Relaxed) {
                        let snapshot = repo.snapshot(None).unwrap();
                        let first = facts(&snapshot);
                        assert_eq!(facts(&snapshot), first, "a snapshot never changes");
                        let fork = files.repo(SHA1, &[own(9), pin(1, snapshot.seq())]).unwrap();
                        assert_eq!(facts(&fork.snapshot(None).unwrap()).refs, first.refs);
                    }
                })
            })
            .collect();
        let mut head = start;
        for n in 1..120 {
            head = push_version(repo, "refs/heads/main", n, Some(head));
        }
        is_done.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        rolling.join().unwrap();
    });
    repo.roll(2).unwrap();
    let snapshot = repo.snapshot(None).unwrap();
    assert_eq!((snapshot.seq(), snapshot.limits()), (120, vec![360]));
    assert!(snapshot.layout()[0] > 0);
    assert_eq!(fsck(&data.files, SHA1, &[own(1)]), Vec::<String>::new());
}

#[test]
fn a_file_of_the_layout_before_is_read_as_it_is_and_brought_up_to_date_by_its_writer() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let head = history(&repo);
    let before = facts(&repo.snapshot(None).unwrap());
    drop(repo);
    let path = data.files.path(id_of(1));
    assert!(data.files.repo(SHA1, &[own(1)]).is_ok());
    drop(data.files);
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch("ALTER TABLE pack DROP COLUMN cuts; PRAGMA user_version = 1;").unwrap();
    drop(conn);
    let reading = Files::open_read_only(data.folder.path(), 8);
    assert_eq!(facts(&reading.repo(SHA1, &[own(1)]).unwrap().snapshot(None).unwrap()), before);
    assert_eq!(fsck(&reading, SHA1, &[own(1)]), Vec::<String>::new());
    drop(reading);
    let files = Files::open(data.folder.path(), 8);
    let repo = files.repo(SHA1, &[own(1)]).unwrap();
    assert_eq!(facts(&repo.snapshot(None).unwrap()), before);
    assert_eq!(repo.roll(2).unwrap().packs_out, 1);
    assert_eq!(facts(&repo.snapshot(None).unwrap()), before);
    push_version(&repo, "refs/heads/main", 200, Some(head));
    assert_eq!(fsck(&files, SHA1, &[own(1)]), Vec::<String>::new());
}

#[test]
fn copies_that_came_and_were_rolled_between_staging_and_commit_are_found() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let one = |text: &str, name: &str| {
        let mut pack = TestPack::new(SHA1);
        let blob = pack.blob(text.as_bytes());
        ok(&push(&repo, Some(&pack.finish()), vec![create(name, blob)]));
    };
    one("before", "refs/a");
    // Too many for their ids to wait in memory: found by shards alone.
    let mut large = TestPack::new(SHA1);
    (0..SMALL_PACK_OBJECTS_MAX + 1).for_each(|n| {
        large.blob(format!("blob {n}").as_bytes());
    });
    let large = large.finish();
    let staged = repo.stage(&large, &large.bytes, true).unwrap();
    one("blob 7", "refs/b");
    assert_eq!(repo.roll(2).unwrap().packs_out, 1);
    ok(&repo.commit_entry(entry(Some(staged), vec![create("refs/c", large.entries[0].id)])).unwrap());
    let snapshot = repo.snapshot(None).unwrap();
    assert_eq!(snapshot.canonical(0).unwrap().len(), u64::from(SMALL_PACK_OBJECTS_MAX) + 2);
    assert_eq!(snapshot.lookup(&large.entries[7].id).unwrap(), Some(ObjRef { source: 0, ordinal: 1 }));
}

#[test]
fn a_file_among_many_becomes_a_delta_of_its_version_before() {
    const FILES: usize = 40;
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    // Files that share nothing with each other, in two folders; each push changes a line of one.
    let text = |file: usize, round: u32| -> Vec<u8> {
        let line = |at: u32| format!("{:08x}\n", (file as u32 * 1_000 + at).wrapping_mul(0x9e37_79b9));
        let lines: String = (0..40).map(line).collect();
        format!("{lines}round {round}\n").into_bytes()
    };
    let hash = |kind, data: &[u8]| cairn_protocol::object::hash_object(SHA1, kind, data).unwrap();
    let mut rounds = [0_u32; FILES];
    let mut head = None;
    for n in 0..120 {
        let mut pack = TestPack::new(SHA1);
        let touched: Vec<usize> = if n == 0 { (0..FILES).collect() } else { vec![n % FILES] };
        for file in touched {
            rounds[file] = n as u32;
            pack.blob(&text(file, rounds[file]));
        }
        let mut root = Vec::new();
        for folder in 0..2 {
            let mut tree = Vec::new();
            for (file, round) in rounds.iter().enumerate().skip(folder * FILES / 2).take(FILES / 2) {
                tree.extend(format!("100644 file{file:02}\0").as_bytes());
                tree.extend(hash(Kind::Blob, &text(file, *round)).as_bytes());
            }
            pack.whole(Kind::Tree, &tree);
            root.extend(format!("40000 folder{folder}\0").as_bytes());
            root.extend(hash(Kind::Tree, &tree).as_bytes());
        }
        let root = pack.whole(Kind::Tree, &root);
        let parents: Vec<ObjectId> = head.into_iter().collect();
        let commit = pack.commit(root, &parents, 100 + n as i64);
        let update = match head {
            Some(head) => moved("refs/heads/main", head, commit),
            None => create("refs/heads/main", commit),
        };
        ok(&push(&repo, Some(&pack.finish()), vec![update]));
        head = Some(commit);
    }
    let before = facts(&repo.snapshot(None).unwrap());
    let rolled = repo.roll(2).unwrap();
    assert_eq!(rolled.packs_out, 1);
    let snapshot = repo.snapshot(None).unwrap();
    assert_eq!(facts(&snapshot), before);
    let blobs = snapshot.kinds(0, Kind::Blob).unwrap();
    let whole =
        |ordinal: &u32| snapshot.record(ObjRef { source: 0, ordinal: *ordinal }).unwrap().base == Base::None;
    assert_eq!(blobs.iter().filter(whole).count(), FILES, "one version of each file is whole: {rolled:?}");
    assert_eq!(fsck(&data.files, SHA1, &[own(1)]), Vec::<String>::new());
}
