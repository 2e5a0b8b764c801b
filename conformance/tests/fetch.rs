//! Fetches: negotiation, objects by id, tags that follow, and pushes that happen meanwhile.

use cairn_conformance::fixture::{self, Script};
use cairn_conformance::judge::{ALL, ENDS, NEWEST, judge};
use std::thread;

#[test]
fn objects_are_fetched_by_id_only_when_reachable() {
    judge("by-oid", ALL, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create_from("by-oid", &origin);
        let tip = ctx.ok(&origin, &["rev-parse", "main"]);
        let inner = ctx.ok(&origin, &["rev-parse", "side~1"]);
        let tag = ctx.ok(&origin, &["rev-parse", "v1"]);
        // A commit that was on a branch once and is on none now.
        let lost = ctx.ok(&origin, &["commit-tree", "-m", "lost", "main^{tree}"]);
        ctx.ok(&origin, &["push", "--quiet", &remote.url, &format!("{lost}:refs/heads/lost")]);
        ctx.ok(&origin, &["push", "--quiet", &remote.url, ":refs/heads/lost"]);
        let clone = ctx.init("lost");
        let out = ctx.run(&clone, &["fetch", "--quiet", &remote.url, &lost]);
        facts.put("lost: fetch", out.code);
        let unknown = "1".repeat(40);
        for (what, oid) in [("tip", &tip), ("inner", &inner), ("tag", &tag), ("unknown", &unknown)] {
            let clone = ctx.init(what);
            ctx.fetch(facts, what, &clone, &[&remote.url, &format!("{oid}:refs/got/it")]);
        }
    });
}

#[test]
fn tags_follow_what_they_point_at() {
    judge("auto-follow", ALL, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create_from("auto-follow", &origin);
        for (name, options) in [("default", &[][..]), ("no-tags", &["--no-tags"]), ("tags", &["--tags"])] {
            let clone = ctx.init(name);
            ctx.ok(&clone, &["remote", "add", "origin", &remote.url]);
            let mut args = options.to_vec();
            args.extend(["origin", "refs/heads/side:refs/remotes/origin/side"]);
            ctx.fetch(facts, name, &clone, &args);
            let mut args = options.to_vec();
            args.push("origin");
            ctx.fetch(facts, &format!("{name} all"), &clone, &args);
        }
    });
}

#[test]
fn increments_of_diverged_histories_are_negotiated() {
    judge("negotiation", ALL, |ctx, facts| {
        let mut script = Script::default();
        for at in 0..60 {
            script.commit("main", &[], &[("file", &fixture::lines(at, 200))]);
        }
        let origin = script.import(ctx, "origin");
        let remote = ctx.create("negotiation");
        ctx.ok(&origin, &["push", "--quiet", &remote.url, "main~40:refs/heads/main"]);
        let clone = ctx.clone(facts, "clone", &remote, &[]);
        // The client has commits that the host has never seen, more than one round of haves.
        for at in 0..50 {
            ctx.ok(&clone, &["commit", "--quiet", "--allow-empty", "-m", &format!("local {at}")]);
        }
        ctx.ok(&origin, &["push", "--quiet", &remote.url, "main~10:refs/heads/main"]);
        ctx.fetch(facts, "thirty", &clone, &["origin"]);
        ctx.ok(&origin, &["push", "--quiet", &remote.url, "main", "main~55:refs/heads/old"]);
        ctx.fetch(facts, "rest", &clone, &["origin"]);
        ctx.fetch(facts, "nothing", &clone, &["origin"]);
        ctx.fetch(facts, "skipping", &clone, &["--negotiation-tip=HEAD", "origin"]);
        let stranger = ctx.init("stranger");
        ctx.ok(&stranger, &["commit", "--quiet", "--allow-empty", "-m", "unrelated"]);
        ctx.fetch(facts, "unrelated", &stranger, &[&remote.url, "refs/heads/*:refs/remotes/o/*"]);
        let skipping = ctx.clone(facts, "old", &remote, &["--single-branch", "--branch", "old"]);
        ctx.ok(&skipping, &["config", "fetch.negotiationAlgorithm", "skipping"]);
        ctx.fetch(facts, "skipping", &skipping, &["origin", "main:main"]);
    });
}

#[test]
fn pruned_and_forced_branches_update() {
    judge("prune", ENDS, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create_from("prune", &origin);
        let clone = ctx.clone(facts, "clone", &remote, &[]);
        ctx.ok(
            &origin,
            &["push", "--quiet", "--force", &remote.url, "main~3:refs/heads/main", ":refs/heads/side"],
        );
        ctx.fetch(facts, "forced", &clone, &["origin"]);
        ctx.fetch(facts, "pruned", &clone, &["--prune", "origin"]);
        ctx.fetch(facts, "not forced", &clone, &["origin", "main:refs/remotes/origin/gone"]);
    });
}

#[test]
fn fetches_see_a_whole_state_while_pushes_go_on() {
    judge("fetch-during-push", &[2], |ctx, facts| {
        let mut script = Script::default();
        for at in 0..20 {
            script.commit("main", &[], &[("file", &fixture::lines(at, 100))]);
        }
        let origin = script.import(ctx, "origin");
        let remote = ctx.create("fetch-during-push");
        ctx.ok(&origin, &["push", "--quiet", &remote.url, "main~19:refs/heads/main"]);
        let whole = thread::scope(|scope| {
            let pusher = scope.spawn(|| {
                (0..19).rev().all(|back| {
                    let refspec = format!("main~{back}:refs/heads/main");
                    ctx.run(&origin, &["push", "--quiet", &remote.url, &refspec]).ok()
                })
            });
            let mut whole = true;
            for at in 0..8 {
                let name = format!("clone-{at}");
                whole &= ctx.run(&ctx.dir, &["clone", "--quiet", "--bare", &remote.url, &name]).ok();
                whole &= ctx.run(&ctx.dir.join(&name), &["fsck", "--strict", "--no-dangling"]).ok();
            }
            whole && pusher.join().expect("the pusher does not panic")
        });
        facts.put("every clone is whole", whole);
        ctx.observe_remote(facts, "remote", &remote);
    });
}

#[test]
fn refs_are_wanted_by_name() {
    judge("ref-in-want", NEWEST, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create_from("ref-in-want", &origin);
        let clone = ctx.clone(facts, "clone", &remote, &["--single-branch", "--branch", "side"]);
        ctx.fetch(facts, "exact", &clone, &["origin", "refs/heads/main:refs/heads/got"]);
        ctx.fetch(facts, "absent", &clone, &["origin", "refs/heads/absent:refs/heads/absent"]);
    });
}
