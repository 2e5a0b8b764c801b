//! Partial clones: filters, and the objects fetched later on demand.

use cairn_conformance::fixture;
use cairn_conformance::host::Remote;
use cairn_conformance::judge::{ALL, Ctx, ENDS, judge};

fn seeded(ctx: &Ctx, name: &str) -> Remote {
    ctx.create_from(name, &fixture::history(ctx, "origin"))
}

#[test]
fn every_filter_leaves_out_the_same_objects() {
    judge("filters", ALL, |ctx, facts| {
        let remote = seeded(ctx, "filters");
        for filter in [
            "blob:none",
            "blob:limit=0",
            "blob:limit=3",
            "blob:limit=1k",
            "blob:limit=1m",
            "tree:0",
            "tree:1",
            "tree:2",
            "tree:9",
            "object:type=commit",
            "object:type=tree",
            "object:type=blob",
            "object:type=tag",
            "combine:blob:none+tree:2",
            "combine:tree:3+blob:limit=10",
        ] {
            let name = filter.replace([':', '=', '+'], "-");
            let dir = ctx.clone(facts, &name, &remote, &["--bare", &format!("--filter={filter}")]);
            let lines = ctx.run(&dir, &["rev-list", "--objects", "--all", "--missing=print"]).text();
            facts.put(format!("{name}: missing"), lines.lines().filter(|line| line.starts_with('?')).count());
        }
    });
}

#[test]
fn a_filter_and_a_depth_combine() {
    judge("filter-depth", ENDS, |ctx, facts| {
        let remote = seeded(ctx, "filter-depth");
        for filter in ["blob:none", "tree:0", "blob:limit=100"] {
            let name = filter.replace([':', '='], "-");
            ctx.clone(facts, &name, &remote, &["--bare", "--depth=2", &format!("--filter={filter}")]);
        }
    });
}

#[test]
fn checkout_fetches_missing_objects() {
    judge("lazy", ALL, |ctx, facts| {
        let remote = seeded(ctx, "lazy");
        for filter in ["blob:none", "tree:0"] {
            let name = filter.replace(':', "-");
            let clone = ctx.clone(facts, &name, &remote, &[&format!("--filter={filter}")]);
            facts.put(format!("{name}: README"), ctx.run(&clone, &["show", "HEAD~1:README"]).text());
            facts.put(
                format!("{name}: log"),
                ctx.run(&clone, &["log", "--format=%H", "-p", "--stat"]).text().len(),
            );
            ctx.ok(&clone, &["checkout", "--quiet", "origin/side"]);
            ctx.observe(facts, &format!("{name} after"), &clone);
        }
    });
}

#[test]
fn refetch_brings_everything_again() {
    judge("refetch", ENDS, |ctx, facts| {
        let remote = seeded(ctx, "refetch");
        let clone = ctx.clone(facts, "clone", &remote, &["--bare", "--filter=blob:none"]);
        ctx.fetch(
            facts,
            "no filter",
            &clone,
            &["--no-filter", "--refetch", "origin", "refs/heads/*:refs/heads/*"],
        );
        let other = ctx.clone(facts, "other", &remote, &["--bare"]);
        ctx.fetch(facts, "again", &other, &["--refetch", "origin", "refs/heads/*:refs/heads/*"]);
    });
}

#[test]
fn fetches_and_pushes_work_from_a_partial_clone() {
    judge("partial-work", ENDS, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create("partial-work");
        ctx.ok(&origin, &["push", "--quiet", &remote.url, "main~2:refs/heads/main"]);
        let clone = ctx.clone(facts, "clone", &remote, &["--filter=blob:none"]);
        ctx.ok(&origin, &["push", "--quiet", &remote.url, "refs/*:refs/*"]);
        ctx.fetch(facts, "update", &clone, &["origin"]);
        ctx.ok(&clone, &["merge", "--quiet", "--ff-only", "origin/main"]);
        std::fs::write(clone.join("new"), "new\n").expect("the work tree is ours");
        ctx.ok(&clone, &["add", "new"]);
        ctx.ok(&clone, &["commit", "--quiet", "-m", "new"]);
        ctx.push(facts, "push", &clone, &[], &remote, &["main"]);
        ctx.observe_remote(facts, "remote", &remote);
    });
}
