//! Durability and life of files: stages, crashes, the cache, checks and copies.

use super::*;
use cairn_protocol::source::ObjectSource;
use rusqlite::Connection;

use crate::store::repo::fsck::{backup, fsck};

fn big_pack() -> TestPack {
    let mut pack = TestPack::new(SHA1);
    let mut noise = 1_u64;
    let mut filler = vec![0; 3 << 20];
    filler.fill_with(|| {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (noise >> 56) as u8
    });
    pack.blob(&filler);
    pack.finish()
}

fn counts(data: &Data) -> (u32, u32) {
    let conn = Connection::open(data.files.path(id_of(1))).unwrap();
    let count =
        |table| conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
    (count("pack"), count("chunk"))
}

#[test]
fn a_stage_is_invisible_and_leaves_nothing_when_dropped() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let pack = big_pack();
    let staged = repo.stage(&pack, &pack.bytes, true).unwrap();
    assert!(counts(&data).1 > 10);
    let snapshot = repo.snapshot(None).unwrap();
    assert_eq!((snapshot.limits(), snapshot.lookup(&pack.entries[0].id).unwrap()), (vec![0], None));
    assert_eq!(snapshot.packs(0).unwrap(), []);
    let refused = repo.commit_entry(entry(Some(staged), vec![moved("refs/a", oid(1), oid(2))])).unwrap();
    assert_eq!(refused.seq, None);
    assert_eq!(counts(&data), (0, 0), "an entry that is refused discards its stage");
}

#[test]
fn what_a_crash_left_staged_is_swept_by_the_next_writer_only() {
    let mut data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let pack = big_pack();
    ok(&push(&repo, None, vec![create("refs/a", oid(1))]));
    let staged = repo.stage(&pack, &pack.bytes, true).unwrap();
    let path = data.files.path(id_of(1));
    // The process ends: nothing runs that would tidy up.
    let (copy, wal) =
        (std::fs::read(&path).unwrap(), std::fs::read(path.with_extension("sqlite-wal")).unwrap());
    drop((staged, repo));
    data.files = Files::open(data.folder.path(), 1);
    std::fs::write(&path, copy).unwrap();
    std::fs::write(path.with_extension("sqlite-wal"), wal).unwrap();
    let _ = std::fs::remove_file(path.with_extension("sqlite-shm"));
    let beside = Files::open_read_only(data.folder.path(), 4);
    let found = fsck(&beside, SHA1, &[own(1)]);
    assert!(!found.iter().any(|finding| finding.contains("pack")), "a stage is no damage: {found:?}");
    assert!(counts(&data).0 == 1, "reading sweeps nothing");
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    assert_eq!(repo.snapshot(None).unwrap().seq(), 1);
    assert_eq!(counts(&data), (0, 0));
    ok(&push(&repo, Some(&pack), vec![create("refs/b", pack.entries[0].id)]));
}

#[test]
fn the_cache_closes_idle_files_and_never_busy_ones() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::open(folder.path(), 2);
    let repos: Vec<_> = (1..=5).map(|n| files.repo(SHA1, &[own(n)]).unwrap()).collect();
    let pack = big_pack();
    let staged = repos[0].stage(&pack, &pack.bytes, true).unwrap();
    for repo in &repos[1..] {
        ok(&push(repo, None, vec![create("refs/a", oid(1))]));
        assert!(files.open_count() <= 2, "{} open", files.open_count());
    }
    let update = vec![create("refs/a", pack.entries[0].id)];
    ok(&repos[0].commit_entry(entry(Some(staged), update)).unwrap());
    let held: Vec<_> = repos.iter().map(|repo| repo.snapshot(None).unwrap()).collect();
    assert_eq!(files.open_count(), 5, "busy files stay");
    assert!(held.iter().all(|snapshot| snapshot.seq() == 1 && snapshot.refs_count().unwrap() == 1));
    drop(held);
    assert_eq!(repos[0].snapshot(None).unwrap().limits(), [1]);
    files.repo(SHA1, &[own(6)]).unwrap().snapshot(None).unwrap();
    assert!(files.open_count() <= 2);
}

#[test]
fn a_check_finds_a_flipped_byte_a_missing_object_and_a_ref_astray() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let pack = big_pack();
    ok(&push(&repo, Some(&pack), vec![create("refs/a", pack.entries[0].id)]));
    assert_eq!(fsck(&data.files, SHA1, &[own(1)]), Vec::<String>::new());
    let conn = Connection::open(data.files.path(id_of(1))).unwrap();
    conn.execute("UPDATE ref SET id = ?1", [oid(3).as_bytes()]).unwrap();
    let row = (1 << 22) + 3;
    let mut chunk: Vec<u8> =
        conn.query_row("SELECT data FROM chunk WHERE id = ?1", [row], |row| row.get(0)).unwrap();
    chunk[77] ^= 1;
    conn.execute("UPDATE chunk SET data = ?2 WHERE id = ?1", (row, chunk)).unwrap();
    let found = fsck(&data.files, SHA1, &[own(1)]);
    for what in ["refs that differ from the ref log", "trailer differs", "object 0", "which is missing"] {
        assert!(found.iter().any(|finding| finding.contains(what)), "{what}: {found:?}");
    }
}

#[test]
fn a_copy_made_while_pushes_go_on_is_whole() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let pack = big_pack();
    ok(&push(&repo, Some(&pack), vec![create("refs/a", pack.entries[0].id)]));
    let other = tempfile::tempdir().unwrap();
    let there = Files::open(other.path(), 4);
    std::thread::scope(|scope| {
        let pushes = scope.spawn(|| {
            for n in 0..50 {
                ok(&push(&repo, None, vec![create(&format!("refs/n{n}"), pack.entries[0].id)]));
            }
        });
        backup(&crate::store::disk::System, &data.files.path(id_of(1)), &there.path(id_of(1))).unwrap();
        pushes.join().unwrap();
    });
    assert_eq!(fsck(&there, SHA1, &[own(1)]), Vec::<String>::new());
    let copy = there.repo(SHA1, &[own(1)]).unwrap();
    let seq = copy.snapshot(None).unwrap().seq();
    assert_eq!(copy.snapshot(None).unwrap().refs_count().unwrap(), seq);
    assert_eq!(ok(&push(&copy, None, vec![create("refs/more", pack.entries[0].id)])), seq + 1);
}

#[test]
fn an_entry_that_fails_half_way_shows_nothing_and_the_next_one_succeeds() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    ok(&push(&repo, None, vec![create("refs/a", oid(1))]));
    let conn = Connection::open(data.files.path(id_of(1))).unwrap();
    let (pack, mut small) = (big_pack(), TestPack::new(SHA1));
    let tiny = small.blob(b"tiny");
    let small = small.finish();
    for (pack, id) in [(&pack, pack.entries[0].id), (&small, tiny)] {
        conn.execute_batch(
            "CREATE TRIGGER fail BEFORE INSERT ON ref_change BEGIN SELECT raise(ABORT, 'no space'); END",
        )
        .unwrap();
        let before = repo.snapshot(None).unwrap().seq();
        let staged = repo.stage(pack, &pack.bytes, true).unwrap();
        let name = format!("refs/{id}");
        assert!(repo.commit_entry(entry(Some(staged), vec![create(&name, id)])).is_err());
        let snapshot = repo.snapshot(None).unwrap();
        assert_eq!((snapshot.seq(), snapshot.lookup(&id).unwrap()), (before, None));
        assert_eq!(snapshot.reference(name.as_bytes()).unwrap(), None);
        conn.execute_batch("DROP TRIGGER fail").unwrap();
        assert_eq!(fsck(&data.files, SHA1, &[own(1)]).len(), 1, "only the made-up id of refs/a is missing");
        assert_eq!(ok(&push(&repo, Some(pack), vec![create(&name, id)])), before + 1);
    }
    assert_eq!(fsck(&data.files, SHA1, &[own(1)]).len(), 1);
}

#[test]
fn the_log_tells_who_did_what_when() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    assert_eq!((repo.entries(0, 10).unwrap(), repo.seq_at(5).unwrap()), (vec![], 0));
    for (time_ms, update) in
        [(10, create("refs/a", oid(1))), (20, moved("refs/a", oid(1), oid(2))), (30, delete("refs/a"))]
    {
        let mut entry = entry(None, vec![update]);
        entry.time_ms = time_ms;
        ok(&repo.commit_entry(entry).unwrap());
    }
    let tail = repo.entries(1, 10).unwrap();
    assert_eq!(tail.iter().map(|row| (row.seq, row.time_ms)).collect::<Vec<_>>(), [(2, 20), (3, 30)]);
    assert_eq!(
        (tail[0].actor.as_str(), tail[0].kind.as_str(), tail[0].nonce, tail[0].pack),
        ("tester", "push", [1; 16], None)
    );
    assert_eq!([9, 10, 29, 99].map(|time| repo.seq_at(time).unwrap()), [0, 1, 2, 3]);
    let change = &repo.ref_changes(3, 9).unwrap()[0];
    assert_eq!((change.name.as_slice(), change.old, change.new), (&b"refs/a"[..], Some(oid(2)), None));
}

#[test]
fn a_file_in_use_is_not_deleted() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    ok(&push(&repo, None, vec![create("refs/a", oid(1))]));
    let reader = repo.snapshot(None).unwrap();
    assert!(!data.files.delete(id_of(1)).unwrap());
    assert_eq!(reader.refs_count().unwrap(), 1);
    drop(reader);
    assert!(data.files.delete(id_of(1)).unwrap());
    assert!(!data.files.path(id_of(1)).exists());
    assert_eq!((data.files.open_count(), repo.snapshot(None).unwrap().seq()), (0, 0));
    assert!(data.files.delete(id_of(1)).unwrap(), "twice is as good as once");
}

#[test]
fn pushes_from_many_threads_while_files_open_and_close_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::open(folder.path(), 1);
    let repo = |n| files.repo(SHA1, &[own(n)]).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let repo = &repo;
            scope.spawn(move || {
                for round in 0..24 {
                    let repo = repo(1 + (thread + round) % 3);
                    let mut pack = TestPack::new(SHA1);
                    pack.blob(format!("shared {round}").as_bytes());
                    let own = pack.blob(format!("own {thread} {round}").as_bytes());
                    pack.ofs(1, format!("own {thread} {round}, again").as_bytes());
                    let tree = pack.tree("f", own);
                    let commit = pack.commit(tree, &[], 1);
                    let pack = pack.finish();
                    let staged = repo.stage(&pack, &pack.bytes, true).unwrap();
                    let before = repo.snapshot(None).unwrap();
                    let update = create(&format!("refs/heads/{thread}/{round}"), commit);
                    let seq = ok(&repo.commit_entry(entry(Some(staged), vec![update])).unwrap());
                    assert!(before.seq() < seq);
                    assert_eq!(before.limits()[0] as u64, before.seq() * 5);
                    let after = repo.snapshot(None).unwrap();
                    let at = after.lookup(&commit).unwrap().unwrap();
                    assert_eq!(after.lookup(&tree).unwrap(), Some(after.commit(at).unwrap().tree));
                }
            });
        }
    });
    let seqs: u64 = (1..=3).map(|n| repo(n).snapshot(None).unwrap().seq()).sum();
    assert_eq!(seqs, 96);
    for n in 1..=3 {
        assert_eq!(fsck(&files, SHA1, &[own(n)]), Vec::<String>::new());
    }
}

#[test]
fn a_file_of_an_older_program_gets_the_index_of_changes_when_it_is_opened_for_writing() {
    let mut data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    ok(&push(&repo, None, vec![create("refs/a", oid(1)), create("refs/b", oid(2))]));
    ok(&push(&repo, None, vec![create("refs/c", oid(3))]));
    drop(repo);
    let path = data.files.path(id_of(1));
    data.files = Files::open(data.folder.path(), 1);
    let state =
        |sql: &str| -> i64 { Connection::open(&path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap() };
    let indexes = "SELECT count(*) FROM sqlite_schema WHERE name = 'ref_change_seq'";
    let steps = "SELECT user_version FROM pragma_user_version";
    assert_eq!((state(indexes), state(steps)), (1, 2), "new files have it");
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "DROP INDEX ref_change_seq; ALTER TABLE pack DROP COLUMN cuts; PRAGMA user_version = 0",
        )
        .unwrap();

    let beside = Files::open_read_only(data.folder.path(), 4).repo(SHA1, &[own(1)]).unwrap();
    assert_eq!(beside.ref_changes(2, 9).unwrap().len(), 1, "readers do without");
    assert_eq!((state(indexes), state(steps)), (0, 0), "and change nothing");

    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let names = |seq, count| -> Vec<Vec<u8>> {
        repo.ref_changes(seq, count).unwrap().into_iter().map(|change| change.name).collect()
    };
    assert_eq!(names(1, 9), [b"refs/a".to_vec(), b"refs/b".to_vec()]);
    assert_eq!(names(1, 1), [b"refs/a".to_vec()]);
    assert_eq!(repo.ref_changes_count(1).unwrap(), 2);
    assert_eq!((state(indexes), state(steps)), (1, 2));
}

#[test]
fn entries_are_read_backwards_in_pages() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    for n in 1..=5 {
        ok(&push(&repo, None, vec![create(&format!("refs/{n}"), oid(n))]));
    }
    let seqs = |end, count| -> Vec<u64> {
        repo.entries_before(end, count).unwrap().into_iter().map(|entry| entry.seq).collect()
    };
    assert_eq!(seqs(6, 2), [5, 4]);
    assert_eq!(seqs(4, 2), [3, 2]);
    assert_eq!(seqs(2, 9), [1]);
    assert_eq!(seqs(1, 9), [0_u64; 0]);
}
