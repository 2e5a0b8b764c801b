//! Dropping: what no ref named since the floor goes at once, and everything else reads as before.

use super::*;
use cairn_protocol::object::{Kind, hash_object};
use cairn_protocol::source::{ObjRef, ObjectSource};

use super::roll::version;
use crate::ops::dropping::plan;
use crate::store::StoreError;
use crate::store::repo::Want;
use crate::store::repo::dropping::{Aged, Ages, Dropped};
use crate::store::repo::fsck::fsck;
use crate::store::repo::limits::SMALL_PACK_OBJECTS_MAX;

/// Drops what no entry after `floor` names.
pub(super) fn drop_at(repo: &Repo, floor: u64, pinned: u64) -> Option<Dropped> {
    let plan = plan(repo, floor, pinned).unwrap();
    let hush = repo.hush().unwrap()?;
    repo.publish_drop(plan, hush, pinned, &[]).unwrap()
}

fn roll_dropped(repo: &Repo) -> u64 {
    let mut packs = 0;
    while let Some(step) = repo.roll_step(Want::Dropped(u64::MAX)).unwrap() {
        packs += step.packs_in;
    }
    assert!(repo.delete_retired().unwrap());
    packs
}

/// A pack of one commit with one file, and its ids: blob, tree, commit.
fn file_pack(algo: HashAlgo, text: &[u8]) -> (TestPack, [ObjectId; 3]) {
    let mut pack = TestPack::new(algo);
    let blob = pack.blob(text);
    let tree = pack.tree("file", blob);
    let commit = pack.commit(tree, &[], 100);
    (pack.finish(), [blob, tree, commit])
}

const MAIN: &str = "refs/heads/main";

/// `main` at one commit, then at another that shares nothing with it.
fn forced(repo: &Repo) -> [[ObjectId; 3]; 2] {
    let (old, old_ids) = file_pack(repo.algo(), &version(1));
    ok(&push(repo, Some(&old), vec![create(MAIN, old_ids[2])]));
    let (new, new_ids) = file_pack(repo.algo(), &version(2));
    ok(&push(repo, Some(&new), vec![moved(MAIN, old_ids[2], new_ids[2])]));
    [old_ids, new_ids]
}

fn has(repo: &Repo, id: &ObjectId) -> bool {
    repo.snapshot(None).unwrap().lookup(id).unwrap().is_some()
}

fn assert_sound(data: &Data, algo: HashAlgo, chain: &[Pin]) {
    assert_eq!(fsck(&data.files, algo, chain), Vec::<String>::new());
    let beside = Files::open_read_only(data.folder.path(), 8);
    assert_eq!(fsck(&beside, algo, chain), Vec::<String>::new());
}

#[test]
fn what_no_ref_named_since_the_floor_goes_and_its_bytes_go_when_its_pack_is_rolled() {
    for algo in [HashAlgo::Sha1, HashAlgo::Sha256] {
        let data = data();
        let repo = data.files.repo(algo, &[own(1)]).unwrap();
        let [old, new] = forced(&repo);
        assert_eq!(drop_at(&repo, 1, 0).map(|done| done.objects), Some(0), "as of 1 it was named");
        assert!(old.iter().all(|id| has(&repo, id)));
        let done = drop_at(&repo, 2, 0).unwrap();
        assert_eq!(done.objects, 3);
        assert!(
            done.bytes > 0 && old.iter().all(|id| !has(&repo, id)) && new.iter().all(|id| has(&repo, id))
        );
        assert_eq!(repo.floor().unwrap(), 2);
        assert_sound(&data, algo, &[own(1)]);
        let before = repo.snapshot(None).unwrap().own_bytes().unwrap();
        assert_eq!(roll_dropped(&repo), 1, "the other pack lost nothing");
        assert!(repo.snapshot(None).unwrap().own_bytes().unwrap() <= before - done.bytes);
        assert_eq!(roll_dropped(&repo), 0);
        assert_sound(&data, algo, &[own(1)]);
        let rows = |files: &Files| -> u32 {
            let conn = rusqlite::Connection::open(files.path(id_of(1))).unwrap();
            conn.query_row("SELECT count(*) FROM object", [], |row| row.get(0)).unwrap()
        };
        assert_eq!(rows(&data.files), 3, "the rows of what was dropped are gone");
        repo.roll(2).unwrap();
        assert_sound(&data, algo, &[own(1)]);
        let reopened = Files::open(data.folder.path(), 8);
        drop((repo, data.files));
        let repo = reopened.repo(algo, &[own(1)]).unwrap();
        let snapshot = repo.snapshot(None).unwrap();
        assert_eq!(snapshot.canonical(0).unwrap().iter().collect::<Vec<_>>(), vec![3, 4, 5]);
        let at = snapshot.lookup(&new[2]).unwrap().unwrap();
        let tree = snapshot.commit(at).unwrap().tree;
        assert_eq!((at.ordinal, tree.ordinal), (5, 4), "ordinals stay");
    }
}

#[test]
fn a_moment_is_refused_from_which_something_was_dropped_and_no_other_is() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let (first, ids) = file_pack(SHA1, b"kept for ever");
    ok(&push(&repo, Some(&first), vec![create("refs/heads/other", ids[2])]));
    forced(&repo);
    drop_at(&repo, 2, 0).unwrap();
    assert_eq!((repo.floor().unwrap(), repo.snapshot(Some(1)).is_ok()), (0, true), "nothing was lost");
    drop_at(&repo, 3, 0).unwrap();
    for (seq, is_there) in [(0, true), (1, true), (2, false), (3, true)] {
        match repo.snapshot(Some(seq)) {
            Ok(_) => assert!(is_there, "{seq}"),
            Err(StoreError::Dropped { seq: seen, floor: 3 }) => assert!(!is_there && seen == seq),
            Err(error) => panic!("{seq}: {error}"),
        }
    }
    let beside = Files::open_read_only(data.folder.path(), 8);
    assert!(beside.repo(SHA1, &[own(1)]).unwrap().snapshot(Some(2)).is_err(), "in another process, too");
}

#[test]
fn nothing_is_dropped_while_somebody_reads_here_or_elsewhere_and_after_a_push() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let [old, new] = forced(&repo);
    let slow = repo.snapshot(None).unwrap();
    assert_eq!(drop_at(&repo, 2, 0), None, "a clone is under way");
    repo.roll(2).unwrap();
    assert_eq!(drop_at(&repo, 2, 0), None, "it holds the packs of before");
    drop(slow);
    let (pack, ids) = file_pack(SHA1, b"more");
    let staged = repo.stage(&pack, &pack.bytes, true).unwrap();
    assert_eq!(drop_at(&repo, 2, 0), None, "a push is under way");
    drop(staged);
    let beside = Files::open_read_only(data.folder.path(), 8);
    assert_eq!(drop_at(&repo, 2, 0), None, "another process may read");
    drop(beside);
    // Between the moment at which nobody read and the transaction.
    let planned = plan(&repo, 2, 0).unwrap();
    let hush = repo.hush().unwrap().unwrap();
    assert!(repo.snapshot(None).unwrap().lookup(&old[0]).unwrap().is_some(), "opened and closed again");
    assert_eq!(repo.publish_drop(planned, hush, 0, &[]).unwrap(), None);
    let planned = plan(&repo, 2, 0).unwrap();
    let hush = repo.hush().unwrap().unwrap();
    assert_eq!(repo.publish_drop(planned, hush, 2, &[]).unwrap(), None, "a fork came");
    let planned = plan(&repo, 2, 0).unwrap();
    ok(&push(&repo, Some(&pack), vec![create("refs/heads/x", ids[2]), create("refs/heads/back", old[2])]));
    assert_eq!(
        repo.publish_drop(planned, repo.hush().unwrap().unwrap(), 0, &[]).unwrap(),
        None,
        "a push came"
    );
    assert!(old.iter().chain(&new).chain(&ids).all(|id| has(&repo, id)));
    assert_eq!(drop_at(&repo, 3, 0).unwrap().objects, 0, "it is named again");
    assert_eq!(repo.floor().unwrap(), 0, "what costs nobody anything is not noted");
    assert_sound(&data, SHA1, &[own(1)]);
}

#[test]
fn what_was_dropped_and_comes_again_is_stored_anew_in_any_form() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let [old, new] = forced(&repo);
    drop_at(&repo, 2, 0).unwrap();
    let (again, _) = file_pack(SHA1, &version(1));
    ok(&push(&repo, Some(&again), vec![create("refs/heads/again", old[2])]));
    let place = |id: &ObjectId| repo.snapshot(None).unwrap().lookup(id).unwrap().map(|at| at.ordinal);
    assert_eq!(old.map(|id| place(&id)), [Some(6), Some(7), Some(8)]);
    assert_sound(&data, SHA1, &[own(1)]);
    // The pack of the first copy goes: the rows of the second stay.
    roll_dropped(&repo);
    assert_eq!(place(&old[0]), Some(6));
    repo.roll(2).unwrap();
    assert_eq!(place(&old[0]), Some(6));
    assert_sound(&data, SHA1, &[own(1)]);
    // Once more, in a pack that has an index of its own and too many ids to wait in memory.
    ok(&push(&repo, None, vec![delete("refs/heads/again")]));
    assert_eq!(drop_at(&repo, 4, 0).unwrap().objects, 3);
    let mut large = TestPack::new(SHA1);
    let blob = large.blob(&version(1));
    let mut tree = Vec::new();
    for n in 0..=SMALL_PACK_OBJECTS_MAX {
        let id = large.blob(format!("blob {n}").as_bytes());
        tree.extend(format!("100644 {n:06}\0").as_bytes());
        tree.extend(id.as_bytes());
    }
    tree.extend(b"100644 file\0");
    tree.extend(blob.as_bytes());
    let tree = large.whole(Kind::Tree, &tree);
    let commit = large.commit(tree, &[], 100);
    let large = large.finish();
    let staged = repo.stage(&large, &large.bytes, true).unwrap();
    // One that came between: what was dropped is not taken for there.
    ok(&push(&repo, None, vec![create("refs/heads/between", new[2])]));
    ok(&repo.commit_entry(entry(Some(staged), vec![create("refs/heads/large", commit)])).unwrap());
    assert_eq!(place(&old[0]), Some(9));
    assert_sound(&data, SHA1, &[own(1)]);
    repo.roll(2).unwrap();
    roll_dropped(&repo);
    assert_eq!(place(&old[0]), Some(9));
    assert_sound(&data, SHA1, &[own(1)]);
}

#[test]
fn what_is_stored_up_to_a_pin_stays_whatever_names_it() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let [old, _] = forced(&repo);
    // A fork that was pushed what nothing of its base names any more: it stores nothing of its own for that.
    let fork = data.files.repo(SHA1, &[own(2), pin(1, 2)]).unwrap();
    let (pack, _) = file_pack(SHA1, &version(1));
    ok(&push(&fork, Some(&pack), vec![create("refs/heads/mine", old[2])]));
    let (more, more_ids) = file_pack(SHA1, b"later");
    ok(&push(&repo, Some(&more), vec![create("refs/heads/x", more_ids[2])]));
    ok(&push(&repo, None, vec![delete("refs/heads/x")]));
    let done = drop_at(&repo, 4, 2).unwrap();
    assert_eq!(done.objects, 3, "what came after the pin");
    roll_dropped(&repo);
    repo.roll(2).unwrap();
    let snapshot = fork.snapshot(None).unwrap();
    assert!(old.iter().all(|id| snapshot.lookup(id).unwrap().is_some_and(|at| at.source == 1)));
    drop(snapshot);
    assert_sound(&data, SHA1, &[own(1)]);
    assert_sound(&data, SHA1, &[own(2), pin(1, 2)]);
    assert!(repo.snapshot(Some(1)).is_ok() && repo.snapshot(Some(3)).is_err());
    // Once the fork is gone, so is that. Who were still pinned to it is refused, not shown holes.
    drop(fork);
    assert_eq!(drop_at(&repo, 4, 0).unwrap().objects, 3);
    let gone = data.files.repo(SHA1, &[own(2), pin(1, 2)]).unwrap();
    assert!(matches!(gone.snapshot(None), Err(StoreError::Dropped { seq: 2, floor: 4 })));
}

#[test]
fn a_delta_of_what_goes_is_made_to_lean_on_something_else_first() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let (old, old_ids) = file_pack(SHA1, &version(1));
    ok(&push(&repo, Some(&old), vec![create(MAIN, old_ids[2])]));
    let mut pack = TestPack::new(SHA1);
    let blob = pack.thin(old_ids[0], &version(1), &version(2));
    let chained = pack.ofs(0, &version(3));
    let mut tree = b"100644 a\0".to_vec();
    tree.extend(blob.as_bytes());
    tree.extend(b"100644 b\0");
    tree.extend(chained.as_bytes());
    let tree = pack.whole(Kind::Tree, &tree);
    let commit = pack.commit(tree, &[], 200);
    ok(&push(&repo, Some(&pack.finish()), vec![moved(MAIN, old_ids[2], commit)]));
    assert_eq!(drop_at(&repo, 2, 0).unwrap().objects, 3, "the base, too");
    roll_dropped(&repo);
    let snapshot = repo.snapshot(None).unwrap();
    for (id, n) in [(blob, 2), (chained, 3)] {
        let at = snapshot.lookup(&id).unwrap().unwrap();
        assert_eq!(snapshot.read(at).unwrap().1, version(n));
    }
    drop(snapshot);
    assert_sound(&data, SHA1, &[own(1)]);
    let bytes = std::fs::read(data.files.path(id_of(1))).unwrap();
    let conn = rusqlite::Connection::open(data.files.path(id_of(1))).unwrap();
    let packs: u32 = conn.query_row("SELECT count(*) FROM pack", [], |row| row.get(0)).unwrap();
    assert!(packs == 2 && !bytes.is_empty());
}

#[test]
fn what_only_garbage_names_goes_with_it_so_that_no_push_can_lean_on_a_half() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    // The blob, the tree and the commit in packs of their own.
    let mut first = TestPack::new(SHA1);
    let blob = first.blob(b"blob");
    ok(&push(&repo, Some(&first.finish()), vec![create("refs/tags/blob", blob)]));
    let mut second = TestPack::new(SHA1);
    let tree = second.tree("file", blob);
    ok(&push(&repo, Some(&second.finish()), vec![create("refs/tags/tree", tree)]));
    ok(&push(&repo, None, vec![delete("refs/tags/tree"), delete("refs/tags/blob")]));
    assert_eq!(drop_at(&repo, 3, 0).unwrap().objects, 2);
    assert!(!has(&repo, &blob) && !has(&repo, &tree));
    let mut third = TestPack::new(SHA1);
    let commit = third.commit(tree, &[], 1);
    let third = third.finish();
    assert!(matches!(
        repo.stage(&third, &third.bytes, true),
        Err(StoreError::MissingObject { id }) if id == tree
    ));
    // Nor can a ref be set to what is gone, whoever judged it.
    for id in [tree, commit] {
        let refused = repo.commit_entry(entry(None, vec![create("refs/tags/again", id)]));
        assert!(matches!(refused, Err(StoreError::MissingObject { id: seen }) if seen == id));
    }
    assert_sound(&data, SHA1, &[own(1)]);
}

#[test]
fn a_program_that_does_not_know_of_drops_refuses_the_file() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let layout = || -> i64 {
        let conn = rusqlite::Connection::open(data.files.path(id_of(1))).unwrap();
        conn.query_row("SELECT value FROM meta WHERE key = 'layout'", [], |row| row.get(0)).unwrap()
    };
    forced(&repo);
    assert_eq!(layout(), 1);
    drop_at(&repo, 2, 0).unwrap();
    assert_eq!(layout(), 4);
    roll_dropped(&repo);
    assert_eq!(layout(), 4, "rolling does not take that back");
}

#[test]
fn entries_are_old_once_both_clocks_say_so() {
    const DAY: u64 = 86_400_000;
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let at = |time_ms: i64, name: &str, id: ObjectId| {
        let entry = NewEntry { time_ms, ..entry(None, vec![create(name, id)]) };
        ok(&repo.commit_entry(entry).unwrap())
    };
    let age = |steady: u64, now: u64| {
        let now_ms = i64::try_from(now * DAY).unwrap();
        repo.age(&Ages { steady_ms: steady * DAY, now_ms, keep_ms: 30 * DAY }).unwrap()
    };
    at(0, "refs/a", oid(1));
    assert_eq!(age(0, 0), Aged { floor: 0, next_ms: Some(30 * DAY) });
    assert_eq!(age(29, 29).floor, 0);
    assert_eq!(age(30, 29).floor, 0, "by its own time it is too young");
    assert_eq!(age(29, 4_000).floor, 0, "a clock that jumped makes nothing old");
    assert_eq!(age(30, 30), Aged { floor: 1, next_ms: None });
    let ms = |day: u64| i64::try_from(day * DAY).unwrap();
    at(ms(31), "refs/b", oid(2));
    assert_eq!(age(31, 31), Aged { floor: 1, next_ms: Some(30 * DAY) });
    // An entry by a clock that was ahead holds up all that follow, not those before.
    at(ms(90), "refs/c", oid(3));
    at(ms(32), "refs/d", oid(4));
    age(40, 40);
    assert_eq!(age(75, 75).floor, 2);
    assert_eq!(age(121, 121), Aged { floor: 4, next_ms: None });
    // Of a clock that is behind what was noted, nothing is believed.
    at(ms(122), "refs/e", oid(5));
    age(122, 122);
    assert_eq!(age(5, 500).floor, 0);
    let copy = Ages { steady_ms: 0, now_ms: ms(122), keep_ms: 0 };
    assert_eq!(repo.age(&copy).unwrap().floor, 5, "nothing is to be kept");
    assert!(matches!(drop_missing(&repo), Err(crate::ops::OpError::Walk(_))), "refs to nothing: hands off");
}

fn drop_missing(repo: &Repo) -> Result<(), crate::ops::OpError> {
    plan(repo, 5, 0).map(drop)
}

#[test]
fn a_large_pack_is_rolled_where_little_of_it_stays() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let mut state = 7_u64;
    let mut noise = |bytes: usize| -> Vec<u8> {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        (0..bytes / 8).flat_map(|_| next()).collect()
    };
    let (big, big_ids) = file_pack(SHA1, &noise(6 << 20));
    ok(&push(&repo, Some(&big), vec![create("refs/heads/big", big_ids[2])]));
    // Half of a large pack stays: too much for a step, so its bytes stay, out of sight.
    let mut pack = TestPack::new(SHA1);
    let blobs = [pack.blob(&noise(5 << 20)), pack.blob(&noise(5 << 20))];
    ok(&push(
        &repo,
        Some(&pack.finish()),
        vec![create("refs/tags/a", blobs[0]), create("refs/tags/b", blobs[1])],
    ));
    ok(&push(&repo, None, vec![delete("refs/heads/big"), delete("refs/tags/a")]));
    assert_eq!(drop_at(&repo, 3, 0).unwrap().objects, 4);
    let before = repo.snapshot(None).unwrap().own_bytes().unwrap();
    assert_eq!(roll_dropped(&repo), 1);
    let after = repo.snapshot(None).unwrap().own_bytes().unwrap();
    assert!(before - after > 6 << 20 && after > 10 << 20, "{before} {after}");
    assert!(repo.compact(10).unwrap());
    assert!(repo.file_bytes().unwrap() < 11 << 20);
    assert!(!has(&repo, &blobs[0]) && has(&repo, &blobs[1]));
    let at: ObjRef = repo.snapshot(None).unwrap().lookup(&blobs[1]).unwrap().unwrap();
    assert_eq!(
        hash_object(SHA1, Kind::Blob, &repo.snapshot(None).unwrap().read(at).unwrap().1).unwrap(),
        blobs[1]
    );
    assert_sound(&data, SHA1, &[own(1)]);
}
