//! Clones and what arrives with them.

use cairn_conformance::fixture::{self, Script};
use cairn_conformance::host::Format;
use cairn_conformance::judge::{ALL, ENDS, NEWEST, judge};
use cairn_conformance::pack::{Kind, Pack};
use cairn_conformance::wire::{self, Command};

#[test]
fn an_empty_repository_clones_with_its_unborn_head() {
    judge("empty", ALL, |ctx, facts| {
        let remote = ctx.create("empty");
        let clone = ctx.clone(facts, "clone", &remote, &[]);
        ctx.clone(facts, "bare", &remote, &["--bare"]);
        ctx.clone(facts, "mirror", &remote, &["--mirror"]);
        ctx.observe_remote(facts, "empty", &remote);
        ctx.ok(&clone, &["commit", "--quiet", "--allow-empty", "-m", "first"]);
        ctx.push(facts, "first", &clone, &[], &remote, &["HEAD"]);
        ctx.observe_remote(facts, "after", &remote);
    });
}

#[test]
fn full_bare_mirror_and_single_branch_clones_hold_the_same() {
    judge("clones", ALL, |ctx, facts| {
        let remote = ctx.create_from("clones", &fixture::history(ctx, "origin"));
        ctx.clone(facts, "full", &remote, &[]);
        ctx.clone(facts, "bare", &remote, &["--bare"]);
        ctx.clone(facts, "mirror", &remote, &["--mirror"]);
        ctx.clone(facts, "single", &remote, &["--single-branch", "--branch", "side"]);
        ctx.clone(facts, "tag", &remote, &["--branch", "v1"]);
        ctx.clone(facts, "no-tags", &remote, &["--no-tags"]);
        ctx.clone(facts, "single-no-tags", &remote, &["--no-tags", "--single-branch"]);
        ctx.clone(facts, "missing-branch", &remote, &["--branch", "nowhere"]);
    });
}

#[test]
fn listings_show_symrefs_peeled_tags_and_patterns() {
    judge("listing", ALL, |ctx, facts| {
        let remote = ctx.create_from("listing", &fixture::history(ctx, "origin"));
        for options in [&["--symref"][..], &["--tags"], &["--heads"], &["--refs"], &["--symref", "--heads"]] {
            let mut args = vec!["ls-remote"];
            args.extend(options);
            args.push(&remote.url);
            facts.put(options.concat(), ctx.run(&ctx.dir, &args).text());
        }
        for pattern in ["refs/heads/*", "main", "HEAD", "v1", "refs/tags/v2^{}", "nothing"] {
            let out = ctx.run(&ctx.dir, &["ls-remote", "--exit-code", &remote.url, pattern]);
            facts.put(format!("pattern {pattern}"), format!("{} {}", out.code, out.text()));
        }
    });
}

#[test]
fn head_that_names_a_missing_branch_clones() {
    judge("dangling-head", ALL, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create("dangling-head");
        ctx.push(facts, "side only", &origin, &[], &remote, &["refs/heads/side"]);
        ctx.clone(facts, "clone", &remote, &[]);
        ctx.clone(facts, "mirror", &remote, &["--mirror"]);
        ctx.observe_remote(facts, "remote", &remote);
    });
}

#[test]
fn five_thousand_refs_are_listed_pushed_and_fetched() {
    judge("many-refs", NEWEST, |ctx, facts| {
        let mut script = Script::default();
        script.commit("main", &[], &[("a", "a\n")]).commit("main", &[], &[("a", "b\n")]);
        for at in 0..5_000 {
            script.reset(&format!("refs/heads/topic/{}/{at}", at % 50), "refs/heads/main");
        }
        let origin = script.import(ctx, "origin");
        ctx.ok(&origin, &["pack-refs", "--all"]);
        let remote = ctx.create("many-refs");
        ctx.push(facts, "all", &origin, &[], &remote, &["refs/*:refs/*"]);
        ctx.clone(facts, "mirror", &remote, &["--mirror"]);
        let clone = ctx.clone(facts, "clone", &remote, &["--single-branch"]);
        let refspec = "refs/heads/topic/7/*:refs/remotes/origin/seven/*";
        ctx.fetch(facts, "prefix", &clone, &[&remote.url, refspec]);
        ctx.push(
            facts,
            "delete",
            &origin,
            &[],
            &remote,
            &[":refs/heads/topic/7/7", ":refs/heads/topic/7/57"],
        );
        let listed = ctx.run(&ctx.dir, &["ls-remote", &remote.url]);
        facts.put("count", listed.text().lines().count());
        ctx.set("protocol.version", "0");
        let old = ctx.run(&ctx.dir, &["ls-remote", &remote.url]);
        facts.put("version 0 lists the same", old.text() == listed.text());
    });
}

#[test]
fn octopus_merges_and_criss_cross_histories_arrive() {
    judge("octopus", ENDS, |ctx, facts| {
        let mut script = Script::default();
        script.commit("main", &[], &[("base", "b\n")]);
        for arm in ["a", "b", "c", "d", "e"] {
            script.commit(arm, &["refs/heads/main"], &[(arm, arm)]);
        }
        let arms = ["main", "a", "b", "c", "d", "e"].map(|arm| format!("refs/heads/{arm}"));
        script.commit("main", &arms.each_ref().map(String::as_str), &[("all", "all\n")]);
        script.commit("x", &["refs/heads/a", "refs/heads/b"], &[("x", "x\n")]);
        script.commit("y", &["refs/heads/b", "refs/heads/a"], &[("y", "y\n")]);
        script.commit("main", &["refs/heads/main", "refs/heads/x", "refs/heads/y"], &[("z", "z\n")]);
        // An unrelated root that is merged in.
        script.line("reset refs/heads/other");
        script.commit("other", &[], &[("other", "o\n")]);
        script.commit("main", &["refs/heads/main", "refs/heads/other"], &[("last", "l\n")]);
        let remote = ctx.create_from("octopus", &script.import(ctx, "origin"));
        ctx.clone(facts, "full", &remote, &[]);
        ctx.clone(facts, "one", &remote, &["--single-branch", "--branch", "x"]);
        ctx.clone(facts, "deep-2", &remote, &["--depth", "2"]);
        ctx.clone(facts, "deep-3", &remote, &["--depth", "3", "--no-single-branch"]);
    });
}

#[test]
fn odd_file_names_gitlinks_symlinks_and_executables_survive() {
    judge("odd-trees", ENDS, |ctx, facts| {
        let remote = ctx.create("odd-trees");
        let mut pack = Pack::default();
        let blob = pack.add(Kind::Blob, b"content\n");
        let names: &[&[u8]] = &[
            b"\x01control",
            b" space ",
            b"\"quote\"",
            b"\\back",
            b"new\nline",
            b"tab\t",
            b"\xff\xfe",
            b"\xe2\x82\xac",
            b"*glob?",
            b"~tilde",
            b"-dash",
            b"a:b",
            b"CON",
            b"trailing.",
            b"...",
            b".gitignore",
            b".gitx",
        ];
        let mut lines: Vec<(Vec<u8>, String)> =
            names.iter().map(|name| (name.to_vec(), format!("100644 blob {blob}\t"))).collect();
        lines.push((b"exec".to_vec(), format!("100755 blob {blob}\t")));
        lines.push((b"link".to_vec(), format!("120000 blob {blob}\t")));
        lines.push((b"module".to_vec(), format!("160000 commit {}\t", "1234567890".repeat(4))));
        let work = ctx.init("work");
        ctx.ok_fed(&work, &["hash-object", "-w", "--stdin"], b"content\n");
        let input: Vec<u8> = lines.iter().flat_map(|(n, l)| [l.as_bytes(), n, b"\0"].concat()).collect();
        let tree = ctx.ok_fed(&work, &["mktree", "-z"], &input);
        let commit = ctx.ok(&work, &["commit-tree", "-m", "odd", &tree]);
        ctx.push(facts, "odd", &work, &[], &remote, &[&format!("{commit}:refs/heads/main")]);
        let clone = ctx.clone(facts, "clone", &remote, &["--no-checkout"]);
        facts.put("tree", ctx.run(&clone, &["ls-tree", "-r", "HEAD"]).text());
        ctx.clone(facts, "blobless", &remote, &["--no-checkout", "--filter=blob:none"]);
    });
}

#[test]
fn notes_signed_tags_tags_of_tags_and_odd_commits_survive() {
    judge("odd-objects", ENDS, |ctx, facts| {
        let remote = ctx.create("odd-objects");
        let origin = fixture::history(ctx, "origin");
        ctx.ok(&origin, &["notes", "add", "-m", "a note", "refs/heads/main"]);
        let tag = ctx.ok(&origin, &["rev-parse", "refs/tags/v1"]);
        let main = ctx.ok(&origin, &["rev-parse", "refs/heads/main"]);
        let tree = ctx.ok(&origin, &["rev-parse", "refs/heads/main^{tree}"]);
        let blob = ctx.ok(&origin, &["rev-parse", "refs/heads/main:README"]);
        let who = "A U Thor <author@example.com> 1700000000 +0000";
        let signature = "-----BEGIN PGP SIGNATURE-----\n\niQEzBAABCAAd\n=abcd\n-----END PGP SIGNATURE-----\n";
        for (name, object, kind, end) in [
            ("signed", &main, "commit", signature),
            ("nested", &tag, "tag", ""),
            ("of-tree", &tree, "tree", ""),
            ("of-blob", &blob, "blob", ""),
        ] {
            let text = format!("object {object}\ntype {kind}\ntag {name}\ntagger {who}\n\nmessage\n{end}");
            let made = ctx.ok_fed(&origin, &["hash-object", "-t", "tag", "-w", "--stdin"], text.as_bytes());
            ctx.ok(&origin, &["update-ref", &format!("refs/tags/{name}"), &made]);
        }
        ctx.ok(&origin, &["update-ref", "refs/tags/light-blob", &blob]);
        ctx.ok(&origin, &["update-ref", "refs/tags/light-tree", &tree]);
        let folded = signature.trim_end().replace('\n', "\n ");
        let text = format!(
            "tree {tree}\nparent {main}\nauthor {who}\ncommitter {who}\ngpgsig {folded}\nencoding ISO-8859-1\n\nsigned \u{e9}\n"
        );
        let made = ctx.ok_fed(&origin, &["hash-object", "-t", "commit", "-w", "--stdin"], text.as_bytes());
        ctx.ok(&origin, &["update-ref", "refs/heads/signed", &made]);
        ctx.push(facts, "all", &origin, &[], &remote, &["refs/*:refs/*"]);
        ctx.observe_remote(facts, "remote", &remote);
        ctx.clone(facts, "clone", &remote, &[]);
        ctx.clone(facts, "single", &remote, &["--single-branch"]);
        ctx.clone(facts, "shallow-tag", &remote, &["--depth", "1", "--branch", "nested"]);
        ctx.clone(facts, "blobless", &remote, &["--filter=blob:none", "--no-checkout"]);
    });
}

#[test]
fn one_hundred_megabyte_blob_goes_there_and_back() {
    judge("large-blob", NEWEST, |ctx, facts| {
        let remote = ctx.create("large-blob");
        // Random bytes: compressing them would be most of the time.
        ctx.set("core.compression", "0");
        let work = ctx.init("work");
        // Not compressible, the same on every run.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes = Vec::with_capacity(100 << 20);
        while bytes.len() < 100 << 20 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        std::fs::write(work.join("large"), &bytes).expect("the work tree is ours");
        ctx.ok(&work, &["add", "."]);
        ctx.ok(&work, &["commit", "--quiet", "-m", "large"]);
        ctx.push(facts, "push", &work, &[], &remote, &["main"]);
        let clone = ctx.clone(facts, "clone", &remote, &[]);
        facts.put("same", std::fs::read(clone.join("large")).is_ok_and(|read| read == bytes));
        ctx.clone(facts, "limit", &remote, &["--bare", "--filter=blob:limit=1m"]);
    });
}

#[test]
fn sha256_repositories_clone_fetch_and_push() {
    judge("sha256", ENDS, |ctx, facts| {
        let remote = ctx.create_as("sha256", Format::Sha256);
        ctx.clone(facts, "empty", &remote, &[]);
        ctx.ok(&ctx.dir, &["init", "--quiet", "--object-format=sha256", "work"]);
        let work = ctx.dir.join("work");
        for at in 0..5 {
            std::fs::write(work.join("file"), fixture::lines(at, 400)).expect("the work tree is ours");
            ctx.ok(&work, &["add", "."]);
            ctx.ok(&work, &["commit", "--quiet", "-m", "more"]);
        }
        ctx.ok(&work, &["tag", "-a", "-m", "tag", "v1", "HEAD~2"]);
        ctx.push(facts, "first", &work, &[], &remote, &["HEAD~1:refs/heads/main", "v1"]);
        let clone = ctx.clone(facts, "full", &remote, &[]);
        ctx.clone(facts, "shallow", &remote, &["--depth", "2"]);
        ctx.clone(facts, "blobless", &remote, &["--filter=blob:none", "--bare"]);
        ctx.push(facts, "second", &work, &[], &remote, &["main"]);
        ctx.fetch(facts, "fetch", &clone, &["origin"]);
        ctx.push(facts, "delete", &work, &[], &remote, &[":refs/tags/v1"]);
        ctx.observe_remote(facts, "remote", &remote);
    });
}

#[test]
fn a_sha1_client_cannot_push_into_a_sha256_repository() {
    judge("format-mismatch", NEWEST, |ctx, facts| {
        let remote = ctx.create_as("format-mismatch", Format::Sha256);
        let origin = fixture::history(ctx, "origin");
        let out = ctx.run(&origin, &["push", &remote.url, "main"]);
        facts.put("push fails", !out.ok());
        let mut pack = Pack::default();
        let blob = pack.add(Kind::Blob, b"x");
        let report = wire::push(&remote, &[Command::create("refs/heads/main", &blob)], &pack.bytes());
        facts
            .put("raw push accepted", report.is_ok_and(|r| r.refs.iter().any(|line| line.starts_with("ok"))));
        ctx.observe_remote(facts, "remote", &remote);
    });
}
