//! Pushes: what is taken, what is refused, and what is said of each ref.

use cairn_conformance::fixture;
use cairn_conformance::judge::{ALL, Ctx, ENDS, NEWEST, judge};
use cairn_conformance::pack::ZERO;
use cairn_conformance::wire::{self, Command};
use std::path::Path;
use std::thread;

fn oid(ctx: &Ctx, dir: &Path, name: &str) -> String {
    ctx.ok(dir, &["rev-parse", name])
}

#[test]
fn refs_are_created_updated_forced_and_deleted() {
    judge("push", ALL, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create("push");
        ctx.push(facts, "create", &origin, &[], &remote, &["main~2:refs/heads/main", "v1"]);
        ctx.push(facts, "update", &origin, &[], &remote, &["main", "side"]);
        ctx.push(facts, "again", &origin, &[], &remote, &["main", "side"]);
        ctx.push(facts, "backwards", &origin, &[], &remote, &["main~1:refs/heads/main"]);
        ctx.push(facts, "forced", &origin, &["--force"], &remote, &["main~1:refs/heads/main"]);
        ctx.push(facts, "tag moves", &origin, &[], &remote, &["v2:refs/tags/v1"]);
        ctx.push(facts, "tag forced", &origin, &["--force"], &remote, &["v2:refs/tags/v1"]);
        ctx.push(facts, "delete", &origin, &[], &remote, &[":refs/heads/side"]);
        ctx.push(facts, "delete absent", &origin, &[], &remote, &[":refs/heads/absent"]);
        ctx.push(facts, "mixed", &origin, &[], &remote, &["main", "side:refs/heads/new", ":refs/tags/v1"]);
        ctx.push(
            facts,
            "odd names",
            &origin,
            &[],
            &remote,
            &["main:refs/custom/x", "main:refs/heads/a/b.c/@d/\u{e9}"],
        );
        ctx.push(facts, "deletes the default branch", &origin, &[], &remote, &[":refs/heads/main"]);
        ctx.push(facts, "comes back", &origin, &[], &remote, &["main"]);
        ctx.push(facts, "mirror", &origin, &["--mirror"], &remote, &[]);
        ctx.observe_remote(facts, "remote", &remote);
    });
}

#[test]
fn atomic_pushes_move_all_refs_or_none() {
    judge("atomic", ENDS, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create("atomic");
        ctx.ok(
            &origin,
            &["push", "--quiet", &remote.url, "main~1:refs/heads/main", "side:refs/heads/dir/file"],
        );
        let refspecs = ["main", "side", "v1"];
        ctx.push(facts, "non-ff", &origin, &["--atomic"], &remote, &["side", "main~4:refs/heads/main"]);
        ctx.observe_remote(facts, "after non-ff", &remote);
        ctx.push(facts, "conflict", &origin, &["--atomic"], &remote, &["side", "main:refs/heads/dir"]);
        ctx.observe_remote(facts, "after conflict", &remote);
        ctx.push(facts, "good", &origin, &["--atomic"], &remote, &refspecs);
        ctx.observe_remote(facts, "after good", &remote);
    });
}

#[test]
fn one_bad_ref_leaves_the_others_standing() {
    judge("partial-failure", ENDS, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create("partial-failure");
        ctx.ok(
            &origin,
            &["push", "--quiet", &remote.url, "main~3:refs/heads/main", "side:refs/heads/dir/file"],
        );
        ctx.push(facts, "file over directory", &origin, &[], &remote, &["main", "side:refs/heads/dir"]);
        ctx.push(facts, "directory over file", &origin, &[], &remote, &["side", "main:refs/heads/main/sub"]);
        ctx.push(facts, "swap", &origin, &[], &remote, &[":refs/heads/dir/file", "main:refs/heads/dir"]);
        ctx.observe_remote(facts, "remote", &remote);
    });
}

#[test]
fn push_options_are_taken() {
    judge("push-options", ENDS, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create("push-options");
        ctx.push(facts, "two", &origin, &["-o", "a=1", "-o", "b c"], &remote, &["main"]);
        ctx.push(facts, "none but a new ref", &origin, &[], &remote, &["side"]);
        ctx.push(facts, "with delete", &origin, &["-o", "x"], &remote, &[":refs/heads/side"]);
        ctx.observe_remote(facts, "remote", &remote);
    });
}

#[test]
fn leases_and_stale_old_values_are_judged() {
    judge("stale", NEWEST, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create_from("stale", &origin);
        let (main, side) = (oid(ctx, &origin, "main"), oid(ctx, &origin, "side"));
        let before = oid(ctx, &origin, "main~1");
        let lease = |value: &str| format!("--force-with-lease=main:{value}");
        ctx.push(facts, "stale lease", &origin, &[&lease(&side)], &remote, &["side:refs/heads/main"]);
        ctx.push(facts, "true lease", &origin, &[&lease(&main)], &remote, &["main~1:refs/heads/main"]);
        let empty = empty_pack();
        let cases = [
            ("stale update", main.as_str(), side.as_str(), "refs/heads/main"),
            ("create over existing", ZERO, &side, "refs/heads/main"),
            ("stale delete", &main, ZERO, "refs/heads/side"),
            ("update of absent", &main, &side, "refs/heads/absent"),
            ("delete of absent", &main, ZERO, "refs/heads/absent"),
            ("delete of absent without old", ZERO, ZERO, "refs/heads/absent"),
            ("no change", &before, &before, "refs/heads/main"),
            ("true update", &before, &side, "refs/heads/main"),
            ("true delete", &side, ZERO, "refs/heads/side"),
        ];
        for (what, old, new, name) in cases {
            let pack: &[u8] = if new == ZERO { b"" } else { &empty };
            let command = Command { old, new, name: name.as_bytes() };
            facts.put(what, wire::push(&remote, &[command], pack).expect("an answer"));
        }
        ctx.observe_remote(facts, "remote", &remote);
    });
}

fn empty_pack() -> Vec<u8> {
    cairn_conformance::pack::Pack::default().bytes()
}

#[test]
fn bad_ref_names_are_refused() {
    judge("bad-names", NEWEST, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create_from("bad-names", &origin);
        let main = oid(ctx, &origin, "main");
        let names: &[&[u8]] = &[
            b"refs/heads/a..b",
            b"refs/heads/.a",
            b"refs/heads/a.lock",
            b"refs/heads/a.lock/b",
            b"refs/heads/a b",
            b"refs/heads/a~b",
            b"refs/heads/a^b",
            b"refs/heads/a:b",
            b"refs/heads/a?b",
            b"refs/heads/a*b",
            b"refs/heads/a[b",
            b"refs/heads/a\\b",
            b"refs/heads/a@{b",
            b"refs/heads/a/",
            b"refs/heads//a",
            b"refs/heads/a.",
            b"refs/heads/\x7f",
            b"refs/heads/\x01",
            b"refs/heads/../../../x",
            b"refs/../x",
            b"main",
            b"refs",
            b"refs/",
            b"/refs/heads/x",
            b"x/refs/heads/y",
            b"@",
            b"config",
            b"objects/aa",
            b"refs/heads/ok",
            b"refs/heads/@",
            b"refs/heads/\xff\xfe",
            b"refs/heads/-dash",
            b"refs/x",
        ];
        for name in names {
            let command = Command { old: ZERO, new: &main, name };
            let report = wire::push(&remote, &[command], &empty_pack()).expect("an answer");
            let taken = report.refs.iter().any(|line| line.starts_with("ok"));
            facts.put(format!("{:?} taken", String::from_utf8_lossy(name)), taken);
        }
        ctx.observe_remote(facts, "remote", &remote);
    });
}

#[test]
fn concurrent_pushes_to_different_refs_all_win() {
    judge("concurrent-different", NEWEST, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create("concurrent-different");
        ctx.ok(&origin, &["push", "--quiet", &remote.url, "main~3:refs/heads/main"]);
        let codes: Vec<bool> = thread::scope(|scope| {
            let pushes: Vec<_> = (0..8)
                .map(|at| {
                    let (ctx, origin, remote) = (&ctx, &origin, &remote);
                    scope.spawn(move || {
                        ctx.run(origin, &["push", "--quiet", &remote.url, &format!("main:refs/heads/b{at}")])
                            .ok()
                    })
                })
                .collect();
            pushes.into_iter().map(|push| push.join().expect("a push does not panic")).collect()
        });
        facts.put("all won", codes.iter().all(|won| *won));
        ctx.observe_remote(facts, "remote", &remote);
    });
}

#[test]
fn of_concurrent_pushes_to_one_ref_exactly_one_wins() {
    judge("concurrent-same", NEWEST, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create("concurrent-same");
        ctx.ok(&origin, &["push", "--quiet", &remote.url, "main"]);
        let main = oid(ctx, &origin, "main");
        let rivals: Vec<String> = (0..8)
            .map(|at| {
                ctx.ok(&origin, &["commit-tree", "-p", "main", "-m", &format!("rival {at}"), "main^{tree}"])
            })
            .collect();
        let reports: Vec<_> = thread::scope(|scope| {
            let pushes: Vec<_> = rivals
                .iter()
                .map(|rival| {
                    let (main, remote, git, origin) = (&main, &remote, ctx.git(), &origin);
                    scope.spawn(move || {
                        let list = format!("{rival}\n^{main}\n");
                        let pack =
                            git.feed(origin, &["pack-objects", "--revs", "--stdout", "-q"], list.as_bytes());
                        let command = Command { old: main, new: rival, name: b"refs/heads/main" };
                        wire::push(remote, &[command], &pack.stdout).expect("an answer")
                    })
                })
                .collect();
            pushes.into_iter().map(|push| push.join().expect("a push does not panic")).collect()
        });
        let won: Vec<usize> = (0..8).filter(|at| reports[*at].refs == ["ok refs/heads/main"]).collect();
        facts.put("winners", won.len());
        let listed = ctx.run(&ctx.dir, &["ls-remote", &remote.url, "refs/heads/main"]).text();
        facts
            .put("the winner is what stands", won.first().is_some_and(|at| listed.starts_with(&rivals[*at])));
        let clone = ctx.dir.join("clone");
        facts.put("clone", ctx.run(&ctx.dir, &["clone", "--quiet", &remote.url, "clone"]).code);
        facts.put("fsck", ctx.run(&clone, &["fsck", "--strict"]).code);
    });
}

#[test]
fn thin_packs_and_packs_with_ref_deltas_are_completed() {
    judge("thin", ENDS, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create("thin");
        ctx.ok(&origin, &["push", "--quiet", &remote.url, "main~5:refs/heads/main"]);
        ctx.push(facts, "thin", &origin, &["--thin"], &remote, &["main"]);
        ctx.push(facts, "not thin", &origin, &["--no-thin"], &remote, &["side"]);
        let (base, tip) = (oid(ctx, &origin, "main~5"), oid(ctx, &origin, "main"));
        let other = ctx.create("thin-other");
        ctx.ok(&origin, &["push", "--quiet", &other.url, "main~5:refs/heads/main"]);
        let list = format!("{tip}\n^{base}\n");
        let pack = ctx
            .git()
            .feed(&origin, &["pack-objects", "--revs", "--thin", "--stdout", "-q"], list.as_bytes())
            .stdout;
        let command = Command { old: &base, new: &tip, name: b"refs/heads/main" };
        facts.put("raw thin", wire::push(&other, &[command], &pack).expect("an answer"));
        // The bases of this thin pack are in the other repository only.
        let empty = ctx.create("thin-empty");
        let report =
            wire::push(&empty, &[Command::create("refs/heads/main", &tip)], &pack).expect("an answer");
        facts.put("thin without bases", report);
        for (label, remote) in [("remote", &remote), ("other", &other), ("empty", &empty)] {
            ctx.observe_remote(facts, label, remote);
        }
    });
}

#[test]
fn pushes_of_what_the_host_has_need_no_pack_entries() {
    judge("known-objects", NEWEST, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create_from("known-objects", &origin);
        let other = ctx.create_from("known-objects-other", &origin);
        let inner = oid(ctx, &origin, "main~3");
        let create = |name| Command::create(name, &inner);
        facts.put(
            "empty pack",
            wire::push(&remote, &[create("refs/heads/x")], &empty_pack()).expect("an answer"),
        );
        facts.put(
            "no pack",
            wire::push(&other, &[create("refs/heads/y")], b"").expect("an answer").refs.concat(),
        );
        let caps = "report-status-v2 side-band-64k atomic quiet object-format=sha1 agent=judge/1";
        let body = wire::push_body(&[create("refs/heads/z")], caps, &empty_pack());
        facts.put("side-band", wire::post(&remote, "receive-pack", 0, &body).expect("an answer").status);
        ctx.observe_remote(facts, "remote", &remote);
    });
}
