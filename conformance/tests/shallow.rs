//! Shallow clones, deepening, and pushes from them.

use cairn_conformance::fixture;
use cairn_conformance::judge::{ALL, ENDS, judge};

#[test]
fn depths_hold_the_same_commits() {
    judge("depth", ALL, |ctx, facts| {
        let remote = ctx.create_from("depth", &fixture::history(ctx, "origin"));
        for depth in ["1", "2", "3", "4", "100"] {
            ctx.clone(facts, &format!("depth-{depth}"), &remote, &["--depth", depth]);
        }
        ctx.clone(facts, "all-branches", &remote, &["--depth", "1", "--no-single-branch"]);
        ctx.clone(facts, "branch", &remote, &["--depth", "1", "--branch", "side"]);
        ctx.clone(facts, "tag", &remote, &["--depth", "1", "--branch", "v1"]);
        ctx.clone(facts, "mirror", &remote, &["--depth", "2", "--mirror"]);
        ctx.clone(facts, "blobless", &remote, &["--depth", "1", "--filter=blob:none", "--no-checkout"]);
    });
}

#[test]
fn deepening_steps_reach_the_whole_history() {
    judge("deepen", ALL, |ctx, facts| {
        let remote = ctx.create_from("deepen", &fixture::history(ctx, "origin"));
        let clone = ctx.clone(facts, "clone", &remote, &["--depth", "1"]);
        ctx.fetch(facts, "to two", &clone, &["--depth", "2"]);
        ctx.fetch(facts, "by one", &clone, &["--deepen", "1"]);
        ctx.fetch(facts, "back to one", &clone, &["--depth", "1"]);
        ctx.fetch(facts, "no change", &clone, &[]);
        ctx.fetch(facts, "by two", &clone, &["--deepen", "2"]);
        ctx.fetch(facts, "unshallow", &clone, &["--unshallow"]);
    });
}

#[test]
fn times_and_excluded_refs_bound_the_history() {
    judge("shallow-bounds", ALL, |ctx, facts| {
        let remote = ctx.create_from("shallow-bounds", &fixture::history(ctx, "origin"));
        for days in [0, 2, 3, 5, 7] {
            let since = (fixture::START_SECONDS + days * fixture::STEP_SECONDS).to_string();
            ctx.clone(facts, &format!("since-{days}"), &remote, &[&format!("--shallow-since={since}")]);
        }
        let future = format!("--shallow-since={}", fixture::START_SECONDS + 400 * fixture::STEP_SECONDS);
        ctx.clone(facts, "since-future", &remote, &[&future]);
        ctx.clone(facts, "exclude-v1", &remote, &["--shallow-exclude=v1"]);
        ctx.clone(facts, "exclude-side", &remote, &["--shallow-exclude=refs/heads/side"]);
        ctx.clone(facts, "exclude-light", &remote, &["--shallow-exclude=light", "--no-single-branch"]);
        ctx.clone(facts, "exclude-all", &remote, &["--shallow-exclude=main"]);
        ctx.clone(facts, "exclude-unknown", &remote, &["--shallow-exclude=unknown"]);
        let clone = ctx.clone(facts, "clone", &remote, &["--depth", "1"]);
        ctx.fetch(facts, "deepen to v1", &clone, &["--shallow-exclude=v1"]);
        let since = format!("--shallow-since={}", fixture::START_SECONDS + 2 * fixture::STEP_SECONDS);
        ctx.fetch(facts, "deepen by time", &clone, &[&since]);
    });
}

#[test]
fn new_commits_reach_a_shallow_clone() {
    judge("shallow-fetch", ALL, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create("shallow-fetch");
        ctx.ok(&origin, &["push", "--quiet", &remote.url, "main~2:refs/heads/main", "v1"]);
        let clone = ctx.clone(facts, "clone", &remote, &["--depth", "1"]);
        ctx.ok(&origin, &["push", "--quiet", &remote.url, "main", "side"]);
        ctx.fetch(facts, "update", &clone, &["origin"]);
        ctx.fetch(facts, "other branch", &clone, &["origin", "side:side"]);
        ctx.fetch(facts, "tags", &clone, &["origin", "--tags"]);
        ctx.fetch(facts, "unshallow", &clone, &["--unshallow"]);
    });
}

#[test]
fn pushes_from_a_shallow_clone_are_judged_alike() {
    judge("shallow-push", ENDS, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create_from("shallow-push", &origin);
        let clone = ctx.clone(facts, "clone", &remote, &["--depth", "1"]);
        ctx.ok(&clone, &["commit", "--quiet", "--allow-empty", "-m", "on top"]);
        ctx.push(facts, "on top", &clone, &[], &remote, &["main"]);
        ctx.push(facts, "new branch", &clone, &[], &remote, &["main:refs/heads/new"]);
        // The other repository lacks the parents: the history would have a hole.
        let other = ctx.create("shallow-push-other");
        ctx.push(facts, "hole", &clone, &[], &other, &["main"]);
        ctx.observe_remote(facts, "remote", &remote);
        ctx.observe_remote(facts, "other", &other);
    });
}
