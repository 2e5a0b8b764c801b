//! Large rolled packs: their ids move from rows to an index of the pack, and every lookup finds what it found before.

use super::roll::{Facts, facts, push_version};
use super::*;
use cairn_protocol::source::ObjectSource;

use crate::store::repo::Want;
use crate::store::repo::fsck::{backup, fsck};
use crate::store::repo::limits::SHARDED_OBJECTS_MIN;
use crate::store::repo::schema::LAYOUT_INDEXED;

/// Pushes of three objects each that are more than a small index holds.
const PUSHES: u32 = SHARDED_OBJECTS_MIN / 3 + 20;

fn pushed(repo: &Repo, from: u32, count: u32, mut head: Option<ObjectId>) -> ObjectId {
    (from..from + count).for_each(|n| head = Some(push_version(repo, "refs/heads/main", n, head)));
    head.unwrap()
}

/// Rows of `object`, shards, and packs that are not live.
fn counts(path: &std::path::Path) -> (u32, u32, u32) {
    let conn = rusqlite::Connection::open(path).unwrap();
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap();
    (
        count("SELECT count(*) FROM object"),
        count("SELECT count(*) FROM chunk WHERE id >> 20 & 3 = 3"),
        count("SELECT count(*) FROM pack WHERE live = 0"),
    )
}

#[test]
fn a_large_rolled_pack_has_an_index_and_reads_the_same_at_every_seq_and_from_forks() {
    for algo in [HashAlgo::Sha1, HashAlgo::Sha256] {
        let data = data();
        let repo = data.files.repo(algo, &[own(1)]).unwrap();
        let head = pushed(&repo, 0, PUSHES, None);
        let forks: Vec<Repo> = [1, 7, PUSHES / 2, PUSHES]
            .map(|seq| data.files.repo(algo, &[own(2), pin(1, u64::from(seq))]).unwrap())
            .into();
        let all = || -> Vec<Facts> {
            let seqs = [0, 1, 2, PUSHES / 3, PUSHES - 1, PUSHES];
            let seqs = seqs.map(|seq| facts(&repo.snapshot(Some(u64::from(seq))).unwrap()));
            seqs.into_iter().chain(forks.iter().map(|fork| facts(&fork.snapshot(None).unwrap()))).collect()
        };
        let before = all();
        let path = data.files.path(id_of(1));
        assert_eq!(counts(&path), (3 * PUSHES, 0, 0));
        assert_eq!(repo.roll(2).unwrap().packs_out, 1);
        let (rows, shards, dead) = counts(&path);
        assert_eq!((rows, shards > 0, dead), (0, true, 0), "the ids are in the index alone");
        let conn = rusqlite::Connection::open(&path).unwrap();
        let layout = "SELECT value FROM meta WHERE key = 'layout'";
        assert_eq!(conn.query_row(layout, [], |row| row.get::<_, i64>(0)).unwrap(), LAYOUT_INDEXED);
        drop(conn);
        assert_eq!(all(), before);
        // Pushed to again, with copies of what the index holds, and rolled again: still one index.
        let mut pack = TestPack::new(algo);
        let blob = pack.blob(&super::roll::version(5));
        let tree = pack.tree("file", blob);
        let next = pack.commit(tree, &[head], 9_000);
        ok(&push(&repo, Some(&pack.finish()), vec![moved("refs/heads/main", head, next)]));
        assert_eq!(counts(&path).0, 1, "the blob and its tree are there already");
        let more = facts(&repo.snapshot(None).unwrap());
        assert_eq!(repo.roll(2).unwrap().packs_in, 2);
        assert_eq!((counts(&path).0, counts(&path).2), (0, 0));
        assert_eq!(facts(&repo.snapshot(None).unwrap()), more);
        assert_eq!(all(), before);
        assert_eq!(fsck(&data.files, algo, &[own(1)]), Vec::<String>::new());
        let again = Files::open_read_only(data.folder.path(), 8).repo(algo, &[own(1)]).unwrap();
        assert_eq!(facts(&again.snapshot(None).unwrap()), more);
    }
}

#[test]
fn rows_of_ids_stay_as_long_as_a_lookup_may_not_know_the_index() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let head = pushed(&repo, 0, PUSHES, None);
    let path = data.files.path(id_of(1));
    let slow = repo.snapshot(None).unwrap();
    let beside = Files::open_read_only(data.folder.path(), 4);
    let outside = beside.repo(SHA1, &[own(1)]).unwrap().snapshot(None).unwrap();
    repo.roll(2).unwrap();
    assert_eq!(counts(&path), (3 * PUSHES, counts(&path).1, PUSHES));
    assert!(slow.lookup(&head).unwrap().is_some());
    drop(slow);
    assert!(!repo.delete_retired().unwrap(), "another process reads");
    assert_eq!(counts(&path).0, 3 * PUSHES);
    assert!(outside.lookup(&head).unwrap().is_some());
    assert_eq!(fsck(&beside, SHA1, &[own(1)]), Vec::<String>::new());
    drop((outside, beside));
    assert!(repo.delete_retired().unwrap());
    assert_eq!((counts(&path).0, counts(&path).2), (0, 0));
    assert!(repo.snapshot(None).unwrap().lookup(&head).unwrap().is_some());
    assert_eq!(fsck(&data.files, SHA1, &[own(1)]), Vec::<String>::new());
}

#[test]
fn rows_that_a_crash_left_behind_are_swept_by_the_next_open() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let head = pushed(&repo, 0, PUSHES, None);
    let before = facts(&repo.snapshot(None).unwrap());
    let slow = repo.snapshot(None).unwrap();
    repo.roll(2).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let files = Files::open(copy.path(), 8);
    backup(&data.files.path(id_of(1)), &files.path(id_of(1))).unwrap();
    drop(slow);
    let path = files.path(id_of(1));
    assert_eq!((counts(&path).0, counts(&path).2), (3 * PUSHES, PUSHES));
    let repo = files.repo(SHA1, &[own(1)]).unwrap();
    assert_eq!(facts(&repo.snapshot(None).unwrap()), before);
    assert_eq!((counts(&path).0, counts(&path).2), (0, 0));
    pushed(&repo, PUSHES, 3, Some(head));
    assert_eq!(fsck(&files, SHA1, &[own(1)]), Vec::<String>::new());
}

#[test]
fn tiers_of_a_repository_that_is_pushed_to_and_read_at_the_same_time_lose_no_id() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let start = pushed(&repo, 0, 1, None);
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (repo, is_done) = (&repo, &is_done);
        let is_going = || !is_done.load(std::sync::atomic::Ordering::Relaxed);
        scope.spawn(move || {
            while is_going() {
                while repo.roll_step(Want::Tiers(8)).unwrap().is_some() {}
                repo.delete_retired().unwrap();
            }
        });
        for _ in 0..2 {
            scope.spawn(move || {
                let mut looks = 0_u32;
                while is_going() {
                    let snapshot = repo.snapshot(None).unwrap();
                    let limit = snapshot.limits()[0];
                    looks = looks.wrapping_add(1);
                    for ordinal in (looks % 7..limit).step_by(7) {
                        let at = cairn_protocol::source::ObjRef { source: 0, ordinal };
                        let id = snapshot.record(at).unwrap().id;
                        assert_eq!(snapshot.lookup(&id).unwrap(), Some(at));
                    }
                }
            });
        }
        pushed(repo, 1, 2 * PUSHES, Some(start));
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(repo.snapshot(None).unwrap().limits(), vec![3 * (2 * PUSHES + 1)]);
    repo.roll(2).unwrap();
    assert_eq!(fsck(&data.files, SHA1, &[own(1)]), Vec::<String>::new());
}
