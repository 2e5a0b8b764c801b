//! Refs: judging, order, forks, time travel.

use super::*;

#[test]
fn the_refs_as_of_any_seq_are_those_of_that_prefix() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    assert_eq!(
        ok(&push(&repo, None, vec![create("refs/heads/b", oid(1)), create("refs/heads/a", oid(2))])),
        1
    );
    assert_eq!(
        ok(&push(&repo, None, vec![moved("refs/heads/a", oid(2), oid(3)), delete("refs/heads/b")])),
        2
    );
    assert_eq!(ok(&push(&repo, None, vec![create("refs/tags/t", oid(4))])), 3);
    assert_eq!(names(&repo, Some(0), ""), Vec::<String>::new());
    assert_eq!(names(&repo, Some(1), ""), ["refs/heads/a", "refs/heads/b"]);
    assert_eq!(names(&repo, Some(2), ""), ["refs/heads/a"]);
    assert_eq!(names(&repo, None, ""), ["refs/heads/a", "refs/tags/t"]);
    assert_eq!(names(&repo, None, "refs/tags/"), ["refs/tags/t"]);
    let at = |seq| repo.snapshot(seq).unwrap().reference(b"refs/heads/a").unwrap().map(|row| row.id);
    assert_eq!((at(Some(1)), at(Some(2)), at(None)), (Some(oid(2)), Some(oid(3)), Some(oid(3))));
    let old = repo.snapshot(None).unwrap();
    ok(&push(&repo, None, vec![create("refs/heads/late", oid(5))]));
    assert_eq!((old.refs_count().unwrap(), old.seq()), (2, 3), "a snapshot does not see what comes later");
    assert!(repo.snapshot(Some(9)).is_err());
}

#[test]
fn an_empty_repository_has_no_file_until_something_succeeds() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    assert_eq!(repo.snapshot(None).unwrap().refs_count().unwrap(), 0);
    let refused = push(&repo, None, vec![moved("refs/heads/a", oid(1), oid(2))]);
    assert_eq!((refused.seq, refused.results), (None, vec![UpdateResult::Stale { now: None }]));
    assert!(!data.files.path(id_of(1)).exists());
    assert_eq!(data.files.open_count(), 0);
    ok(&push(&repo, None, vec![create("refs/heads/a", oid(1))]));
    assert!(data.files.path(id_of(1)).exists());
    let bytes = std::fs::metadata(data.files.path(id_of(1))).unwrap().len();
    assert!(bytes <= 48 << 10, "{bytes} bytes");
}

#[test]
fn stale_old_id_refuses_the_update_and_moves_no_ref() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    ok(&push(&repo, None, vec![create("refs/heads/a", oid(1))]));
    let half = push(&repo, None, vec![moved("refs/heads/a", oid(9), oid(2)), create("refs/heads/b", oid(3))]);
    assert_eq!(half.seq, Some(2));
    assert_eq!(half.results, [UpdateResult::Stale { now: Some(oid(1)) }, UpdateResult::Ok]);
    assert_eq!(names(&repo, None, ""), ["refs/heads/a", "refs/heads/b"]);
    let mut atomic = entry(None, vec![create("refs/heads/a", oid(1)), create("refs/heads/c", oid(3))]);
    atomic.atomic = true;
    let refused = repo.commit_entry(atomic).unwrap();
    assert_eq!(refused.seq, None);
    assert_eq!(names(&repo, None, ""), ["refs/heads/a", "refs/heads/b"], "an atomic entry fails as a whole");
}

#[test]
fn of_two_writers_to_one_ref_one_wins_and_others_to_other_refs_all_do() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    ok(&push(&repo, None, vec![create("refs/heads/a", oid(1))]));
    let won = std::thread::scope(|scope| {
        let run = |n: u32| {
            let repo = repo.clone();
            scope.spawn(move || {
                let (to_a, other) = (moved("refs/heads/a", oid(1), oid(n)), format!("refs/heads/w{n}"));
                ok(&push(&repo, None, vec![create(&other, oid(n))]));
                push(&repo, None, vec![to_a]).seq.is_some()
            })
        };
        let runs: Vec<_> = (10..14).map(run).collect();
        runs.into_iter().map(|run| run.join().unwrap()).filter(|won| *won).count()
    });
    assert_eq!(won, 1);
    assert_eq!(names(&repo, None, "refs/heads/w").len(), 4);
    assert_eq!(repo.snapshot(None).unwrap().seq(), 6);
}

#[test]
fn a_name_is_never_a_ref_and_a_folder() {
    let data = data();
    let base = data.files.repo(SHA1, &[own(1)]).unwrap();
    ok(&push(&base, None, vec![create("refs/heads/a", oid(1)), create("refs/heads/d/e", oid(1))]));
    let fork = data.files.repo(SHA1, &[own(2), pin(1, 1)]).unwrap();
    let conflict = |with: &str| vec![UpdateResult::Conflict { with: with.into() }];
    for repo in [&base, &fork] {
        let below = push(repo, None, vec![create("refs/heads/a/b", oid(2))]);
        assert_eq!((below.seq, below.results), (None, conflict("refs/heads/a")));
        let above = push(repo, None, vec![create("refs/heads/d", oid(2))]);
        assert_eq!(above.results, conflict("refs/heads/d/e"));
        let beside =
            push(repo, None, vec![create("refs/heads/a-b", oid(2)), create("refs/heads/a.b", oid(2))]);
        ok(&beside);
        let among = push(repo, None, vec![create("refs/x", oid(2)), create("refs/x/y", oid(2))]);
        assert_eq!(among.results[1..], conflict("refs/x"));
        let freed = vec![create("refs/heads/a/b", oid(2)), delete("refs/heads/a")];
        ok(&push(repo, None, freed));
        assert_eq!(names(repo, None, "refs/heads/a"), ["refs/heads/a-b", "refs/heads/a.b", "refs/heads/a/b"]);
        let twice = push(repo, None, vec![delete("refs/x"), create("refs/x", oid(3))]);
        assert_eq!(twice.results, [UpdateResult::Ok, UpdateResult::Conflict { with: b"refs/x".into() }]);
    }
}

#[test]
fn a_fork_sees_the_prefix_and_its_own_changes_only() {
    let data = data();
    let base = data.files.repo(SHA1, &[own(1)]).unwrap();
    ok(&push(&base, None, vec![create("refs/heads/a", oid(1)), create("refs/heads/b", oid(2))]));
    let fork = data.files.repo(SHA1, &[own(2), pin(1, 1)]).unwrap();
    ok(&push(&base, None, vec![create("refs/heads/later", oid(3)), moved("refs/heads/a", oid(1), oid(9))]));
    assert_eq!(names(&fork, None, ""), ["refs/heads/a", "refs/heads/b"]);
    assert_eq!(fork.snapshot(None).unwrap().seq(), 0);
    assert!(!data.files.path(id_of(2)).exists(), "a fork has no file of its own");
    let stale = push(&fork, None, vec![moved("refs/heads/a", oid(9), oid(4))]);
    assert_eq!(stale.results, [UpdateResult::Stale { now: Some(oid(1)) }]);
    ok(&push(&fork, None, vec![moved("refs/heads/a", oid(1), oid(4)), delete("refs/heads/b")]));
    ok(&push(&fork, None, vec![create("refs/heads/b", oid(6))]));
    assert_eq!(names(&fork, Some(0), ""), ["refs/heads/a", "refs/heads/b"]);
    assert_eq!(names(&fork, Some(1), ""), ["refs/heads/a"], "a deleted ref of the base stays hidden");
    assert_eq!(names(&fork, None, ""), ["refs/heads/a", "refs/heads/b"]);
    let second = data.files.repo(SHA1, &[own(3), pin(2, 1), pin(1, 1)]).unwrap();
    assert_eq!(names(&second, None, ""), ["refs/heads/a"]);
    let row = second.snapshot(None).unwrap().reference(b"refs/heads/a").unwrap().unwrap();
    assert_eq!(row.id, oid(4));
    assert_eq!(names(&base, None, ""), ["refs/heads/a", "refs/heads/b", "refs/heads/later"]);
}

#[test]
fn five_thousand_refs_are_made_listed_and_found_by_prefix() {
    let data = data();
    let repo = data.files.repo(SHA1, &[own(1)]).unwrap();
    let all: Vec<_> = (0..5_000).map(|n| create(&format!("refs/heads/g{}/r{n}", n % 10), oid(n))).collect();
    ok(&push(&repo, None, all));
    let snapshot = repo.snapshot(None).unwrap();
    assert_eq!(snapshot.refs_count().unwrap(), 5_000);
    assert_eq!(names(&repo, None, "refs/heads/g3/").len(), 500);
    ok(&push(&repo, None, vec![delete("refs/heads/g3/r3")]));
    assert_eq!(snapshot.refs_count().unwrap(), 5_000, "read from the ref log once the head has moved");
    let listed = names(&repo, None, "");
    assert!(listed.is_sorted());
    assert_eq!(listed.len(), 4_999);
}
