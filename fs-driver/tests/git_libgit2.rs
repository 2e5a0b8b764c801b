//! libgit2 in the mount: a client that knows neither partial clones nor the fsmonitor.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/world.rs"]
mod world;

use std::fs;
use std::path::Path;

use git2::{ObjectType, Repository, Signature, Status, StatusOptions, TreeWalkMode, TreeWalkResult};
use world::World;

const TREE: &str = "
    mkdir -p src docs; seq 1 3000 > src/numbers; echo a > src/a; echo guide > docs/guide.md; ln -s src/a link
    printf '#!/bin/sh\\n' > run.sh; chmod 755 run.sh; echo '*.o' > .gitignore
    git add -A; git commit -qm first; echo b >> src/a; git commit -qam second";

fn changes(repository: &Repository) -> Vec<(String, Status)> {
    let mut options = StatusOptions::new();
    options.include_untracked(true).recurse_untracked_dirs(true);
    let found = repository.statuses(Some(&mut options)).unwrap();
    found.iter().map(|entry| (entry.path().unwrap().to_owned(), entry.status())).collect()
}

#[test]
fn libgit2_reads_status_and_objects_and_commits_what_git_then_finds() {
    let world = World::start(TREE);
    world.mount(&[]);
    let repository = Repository::open(world.mountpoint()).unwrap();
    assert_eq!(changes(&repository), [], "nothing was touched");

    // No blob of the mounted commit is missing to a client that cannot fetch.
    let head = repository.head().unwrap().peel_to_commit().unwrap();
    let mut read = 0;
    let walked = head.tree().unwrap().walk(TreeWalkMode::PreOrder, |_, entry| {
        if entry.kind() == Some(ObjectType::Blob) {
            read += usize::from(repository.find_blob(entry.id()).is_ok());
        }
        TreeWalkResult::Ok
    });
    walked.unwrap();
    assert_eq!(read, 6);

    fs::write(world.mountpoint().join("src/a"), "changed\n").unwrap();
    fs::write(world.mountpoint().join("new"), "n\n").unwrap();
    fs::write(world.mountpoint().join("x.o"), "ignored\n").unwrap();
    fs::remove_file(world.mountpoint().join("docs/guide.md")).unwrap();
    let found: Vec<_> =
        changes(&repository).into_iter().filter(|(_, status)| *status != Status::IGNORED).collect();
    let want =
        [("docs/guide.md", Status::WT_DELETED), ("new", Status::WT_NEW), ("src/a", Status::WT_MODIFIED)];
    assert_eq!(found, want.map(|(path, status)| (path.to_owned(), status)));

    let mut index = repository.index().unwrap();
    index.add_path(Path::new("src/a")).unwrap();
    index.add_path(Path::new("new")).unwrap();
    index.remove_path(Path::new("docs/guide.md")).unwrap();
    index.write().unwrap();
    let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
    let author = Signature::now("A U Thor", "author@example.com").unwrap();
    let made = repository.commit(Some("HEAD"), &author, &author, "by libgit2", &tree, &[&head]).unwrap();

    let told = world.shell(
        &world.mountpoint(),
        "git status --porcelain; git rev-parse HEAD; git show --format= --name-status HEAD; git push -q; git fsck \
         --connectivity-only --no-dangling 2>/dev/null",
    );
    assert_eq!(told.text(), format!("{made}\nD\tdocs/guide.md\nA\tnew\nM\tsrc/a"), "{}", told.errors());
    let pushed = world.git.run(&world.host.path("mounted"), &["rev-parse", "main"]).text();
    assert_eq!(pushed, made.to_string());
}
