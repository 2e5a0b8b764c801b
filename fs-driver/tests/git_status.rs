//! `git status` in a new mount: what it asks of the remote, and what stays right when the mount comes and goes.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/world.rs"]
mod world;

use std::fs;

use world::World;

const TREE: &str = "
    mkdir -p src/deep docs empty-ignore
    for n in 1 2 3 4 5 6 7 8 9; do echo \"int f$n;\" > src/f$n.c; echo \"deep $n\" > src/deep/d$n.txt; done
    echo '*.o' > .gitignore; echo '/local' > src/.gitignore; echo '*.tmp' > src/deep/.gitignore
    echo '*.c diff=cpp' > .gitattributes
    echo readme > README; ln -s README link; echo guide > docs/guide.md
    git add -A; git commit -qm first
    echo more >> README; git commit -qam second";

/// More files than the background brings at once.
const MANY: &str = "mkdir data; seq 1 3000 | split -l 1 -a 4 - data/x;";

/// Requests of the command `fetch`.
fn fetches(world: &World) -> usize {
    world.front.asked().iter().filter(|asked| asked.is_command("fetch")).count()
}

#[test]
fn the_first_status_and_the_first_commit_of_a_cold_mount_fetch_no_blob() {
    let world = World::start(&[MANY, TREE].concat());
    // One byte a second: the background brings one batch, and no second one for as long as the test runs.
    world.mount(&["--background-rate", "1", "--history", "lazy"]);
    world.done(&["pause", world.mountpoint().to_str().unwrap()]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    // What was under way when the pause came.
    while world.status()["hydration"]["waiting"].as_u64() != Some(0) {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
    let before = (world.front.asked().len(), world.status()["hydration"]["fetched_blobs"].clone());
    let dir = world.mountpoint();
    for args in [&["status", "--porcelain"][..], &["status", "-uall", "--porcelain=v2"]] {
        let out = world.git.run(&dir, args);
        assert!(out.ok() && out.text().is_empty(), "{args:?}: {} {}", out.text(), out.errors());
    }
    fs::write(dir.join("new"), "n\n").unwrap();
    for args in [&["add", "new"][..], &["commit", "-qm", "new"], &["status", "--porcelain"]] {
        let out = world.git.run(&dir, args);
        assert!(out.ok() && out.text().is_empty(), "{args:?}: {} {}", out.text(), out.errors());
    }
    let after = (world.front.asked().len(), world.status()["hydration"]["fetched_blobs"].clone());
    assert_eq!(after, before, "status and commit asked the remote for something");
    // The judge sees a fetch where there is one.
    let missed = fetches(&world);
    for entry in fs::read_dir(dir.join("data")).unwrap() {
        assert!(fs::read(entry.unwrap().path()).unwrap().ends_with(b"\n"));
    }
    assert!(fetches(&world) > missed, "a cold read asks the remote");
}

/// What a trace of git says: how many files it looked at.
fn lstats(trace: &str) -> u64 {
    let counts = trace.lines().filter_map(|line| line.split_once("sum_lstat:"));
    counts.map(|(_, count)| count.trim().parse::<u64>().unwrap()).sum()
}

#[test]
fn the_first_status_after_a_remount_looks_at_what_changed_alone() {
    let world = World::start(TREE);
    world.mount(&[]);
    let dir = world.mountpoint();
    let status = |file: &str| {
        let script = format!("GIT_TRACE2_PERF=$OUT/{file} git status --porcelain");
        let out = world.shell(&dir, &script);
        let trace = fs::read_to_string(world.dir.path().join("out-mounted").join(file)).unwrap();
        (out.text(), lstats(&trace))
    };
    assert_eq!(status("before").0, "");
    fs::write(dir.join("src/f1.c"), "changed before\n").unwrap();
    world.unmount();
    world.mount(&[]);
    let (told, looks) = status("after");
    assert_eq!(told, " M src/f1.c");
    assert!(looks <= 2, "git looked at {looks} files");
    fs::write(dir.join("src/f2.c"), "changed after\n").unwrap();
    fs::remove_file(dir.join("README")).unwrap();
    assert_eq!(status("later").0, " D README\n M src/f1.c\n M src/f2.c");

    // After a crash everything is looked at once, and nothing is missed.
    fs::write(dir.join("src/f3.c"), "changed before the crash\n").unwrap();
    let pid = world.status()["pid"].clone();
    let killed = world.shell(&dir, &format!("kill -9 {pid}"));
    assert!(killed.ok(), "{}", killed.errors());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !world.is_served_by_another_than(&pid) {
        assert!(std::time::Instant::now() < deadline, "no other daemon came");
        std::thread::yield_now();
    }
    let (told, looks) = status("crashed");
    assert_eq!(told, " D README\n M src/f1.c\n M src/f2.c\n M src/f3.c");
    assert!(looks > 20, "git looked at {looks} files");
}

#[test]
fn the_index_of_a_new_mount_is_taken_by_git_with_all_its_extensions() {
    takes_the_index(&World::start(TREE));
}

#[test]
fn the_index_is_taken_as_well_where_git_may_convert_what_it_reads() {
    for attributes in ["* text=auto eol=lf", "* text eol=crlf", "*.txt -text\n.gitignore text"] {
        takes_the_index(&World::start(
            &format!("printf '{attributes}\\n' > .gitattributes; {TREE}")
                .replace("echo '*.c diff=cpp' > .gitattributes", "true"),
        ));
    }
}

fn takes_the_index(world: &World) {
    world.mount(&[]);
    let dir = world.mountpoint();
    let out = world.shell(
        &dir,
        "GIT_TRACE2_PERF=$OUT/trace git status; git fsck --no-dangling 2>&1; git ls-files --debug README | grep -c size; \
         git update-index --test-untracked-cache > $OUT/test 2>&1; true",
    );
    assert!(out.errors().is_empty(), "{}", out.errors());
    assert!(out.text().contains("working tree clean"), "{}", out.text());
    let trace = fs::read_to_string(world.dir.path().join("out-mounted/trace")).unwrap();
    let says = |what: &str| {
        trace.lines().find_map(|line| line.split_once(what)).map(|(_, rest)| rest.trim().to_owned())
    };
    // git opened no folder, created no cache of its own, and looked at none of the files.
    assert_eq!(says("opendir:").as_deref(), Some("0"), "{trace}");
    assert_eq!(says("gitignore-invalidation:").as_deref(), Some("0"), "{trace}");
    assert_eq!(says("directory-invalidation:").as_deref(), Some("0"), "{trace}");
    assert_eq!(lstats(&trace), 0, "{trace}");

    // What is new is found, in new folders, in known ones and in the root, and so is what is ignored no more.
    let steps = [
        ("mkdir -p src/deep/new; echo > src/deep/new/f; git status --porcelain", "?? src/deep/new/"),
        ("echo > src/x.o; git status --porcelain", "?? src/deep/new/"),
        ("echo > root; git status --porcelain", "?? root\n?? src/deep/new/"),
        ("rm .gitignore; git status --porcelain", " D .gitignore\n?? root\n?? src/deep/new/\n?? src/x.o"),
        ("git checkout -q .; rm -r src/deep/new root; git status --porcelain", ""),
        ("echo '*.c' >> $(git rev-parse --git-dir)/info/exclude; echo > y.c; git status --porcelain", ""),
        ("git mv docs papers; git status --porcelain", "R  docs/guide.md -> papers/guide.md"),
        ("git status --porcelain -uall --ignored", "R  docs/guide.md -> papers/guide.md\n!! src/x.o\n!! y.c"),
    ];
    for (step, want) in steps {
        let out = world.shell(&dir, step);
        assert_eq!((out.text(), out.errors()), (want.to_owned(), String::new()), "{step}");
    }
}

/// A commit with names that git refuses to check out, made from parts since git does not make one.
const HOSTILE: &str = r#"
    echo fine > fine; mkdir -p d; echo in > d/in; git add -A; git commit -qm fine
    blob=$(echo evil | git hash-object -w --stdin)
    inner=$(printf '100644 blob %s\tconfig\n' $blob | git mktree)
    tree=$(printf '100644 blob %s\t.GIT\n040000 tree %s\t.git\n040000 tree %s\td\n100644 blob %s\tfine\n100644 blob %s\tgit~1\n' \
        $blob $inner $(git rev-parse HEAD:d) $(git rev-parse HEAD:fine) $blob | git mktree)
    git update-ref HEAD $(git commit-tree -p HEAD -m hostile $tree)"#;

#[test]
fn names_that_git_refuses_are_no_changes_and_commits_keep_them() {
    let world = World::start(HOSTILE);
    let seed = world.dir.path().join("seed");
    let tree = world.git.run(&seed, &["ls-tree", "-r", "HEAD"]).text();
    assert_eq!(tree.lines().count(), 5, "{tree}");
    world.mount(&[]);
    let dir = world.mountpoint();
    let names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "only .git, d and fine: {names:?}");
    let steps = [
        ("git status --porcelain", ""),
        ("git -c core.fsmonitor=false -c core.untrackedCache=false status --porcelain", ""),
        ("echo more >> fine; git status --porcelain", " M fine"),
        ("git commit -qam more; git status --porcelain", ""),
        ("git diff --name-status HEAD~1", "M\tfine"),
        (
            "git add -A; git commit -qm again --allow-empty; git rev-parse HEAD:.git/config HEAD:git~1 HEAD:.GIT | uniq | wc -l",
            "1",
        ),
    ];
    for (step, want) in steps {
        let out = world.shell(&dir, step);
        assert_eq!((out.text().as_str(), out.errors().as_str()), (want, ""), "{step}");
    }
}
