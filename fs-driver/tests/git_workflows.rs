//! git's workflows, step by step in the mount and in a native clone: after each step both must look the same.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use world::World;

const SEED: &str = "
    mkdir -p src/deep docs 'sp ace' bin build
    seq 1 40 > src/a.c; seq 100 140 > src/b.c; echo deep > src/deep/c.txt; echo other > src/deep/d.txt
    printf '#!/bin/sh\\necho run\\n' > run.sh; chmod 755 run.sh
    ln -s src/a.c link; echo guide > docs/guide.md; echo x > 'sp ace/umlaut'; printf '\\0\\1\\2' > bin/data
    printf '*.o\\nbuild/\\n' > .gitignore; echo readme > README; echo forced > build/kept; git add -f build/kept
    git add -A; git commit -qm first
    git update-index --add --cacheinfo 160000,1234567890123456789012345678901234567890,vendor/sub
    git commit -qm 'a submodule nobody fetches'; mkdir -p vendor/sub; git tag v1
    echo second >> README; git commit -qam second
    git branch side; git branch clash; git branch topic v1
    git switch -q side; echo side > docs/side.md; sed -i 's/^1$/one/' src/a.c; git add -A; git commit -qm side
    echo more >> docs/side.md; git commit -qam 'side again'
    git switch -q clash; sed -i 's/^20$/clash/' src/a.c; git commit -qam clash
    git switch -q topic; echo topic > topic.txt; git add topic.txt; git commit -qm topic
    git mv docs/guide.md docs/manual.md; git commit -qm 'move the guide'
    git switch -q main; sed -i 's/^20$/main/' src/a.c; git commit -qam third; git tag -a v2 -m 'the second'";

/// What a step leaves behind, as git tells it.
const JUDGE: &str = "
    echo '# status'; git status --porcelain=v2 --branch -uall --ignored | grep -v '^# branch.oid'; echo \"= $?\"
    echo '# diff'; git diff; echo '# cached'; git diff --cached
    echo '# head'; git rev-parse HEAD; git symbolic-ref -q HEAD
    echo '# index'; git ls-files -s
    echo '# refs'; git for-each-ref refs/heads refs/tags refs/stash refs/notes; git stash list";

fn walk(root: &Path, dir: &Path, into: &mut BTreeMap<Vec<u8>, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        if name == b".git" {
            continue;
        }
        let meta = fs::symlink_metadata(&path).unwrap();
        let mode = meta.permissions().mode() & 0o777;
        let what = if meta.is_dir() {
            walk(root, &path, into);
            format!("folder {mode:o}")
        } else if meta.is_symlink() {
            format!("link {:?}", fs::read_link(&path).unwrap())
        } else {
            let content = fs::read(&path).unwrap();
            assert_eq!(content.len() as u64, meta.len(), "{}", path.display());
            format!("file {mode:o} {}", content.escape_ascii())
        };
        into.insert(name, what);
    }
}

/// The state after a step: git's view first, then all files.
fn look(world: &World, dir: &Path) -> String {
    let told = world.shell(dir, JUDGE);
    let mut files = BTreeMap::new();
    walk(dir, dir, &mut files);
    let lines = files.iter().map(|(name, what)| format!("{}: {what}\n", name.escape_ascii()));
    format!(
        "{}{}# files\n{}",
        String::from_utf8_lossy(&told.stdout),
        told.errors(),
        lines.collect::<String>()
    )
}

fn first_difference(a: &str, b: &str) -> String {
    let at = a
        .lines()
        .zip(b.lines())
        .position(|(a, b)| a != b)
        .unwrap_or(a.lines().count().min(b.lines().count()));
    let around = |text: &str| text.lines().skip(at.saturating_sub(3)).take(8).collect::<Vec<_>>().join("\n");
    format!("--- native ---\n{}\n--- mount ---\n{}", around(a), around(b))
}

/// A clone and a mount of equal repositories.
struct Pair(World);

impl Pair {
    fn start() -> Self {
        let world = World::start(SEED);
        world.clone_natively();
        world.mount(&[]);
        world.await_history();
        let pair = Self(world);
        pair.compare("at the start");
        pair
    }

    fn compare(&self, what: &str) {
        let (native, mounted) = (self.0.clone_dir(), self.0.mountpoint());
        let (a, b) = (look(&self.0, &native), look(&self.0, &mounted));
        assert!(a == b, "{what}\n{}", first_difference(&a, &b));
    }

    /// Runs each script in both, and compares how it ended, what it printed and what it left.
    fn steps(&self, steps: &[&str]) {
        for step in steps {
            let native = self.0.shell(&self.0.clone_dir(), step);
            let mounted = self.0.shell(&self.0.mountpoint(), step);
            let tell = |out: &cairn_conformance::git::Out| format!("{}\n{}", out.text(), out.errors());
            assert_eq!(
                native.code,
                mounted.code,
                "{step}: {}--- mount ---\n{}",
                tell(&native),
                tell(&mounted)
            );
            let plain = |out: &cairn_conformance::git::Out| {
                out.text()
                    .replace("/cloned", "/PLACE")
                    .replace("/mounted", "/PLACE")
                    .replace("out-cloned", "out")
                    .replace("out-mounted", "out")
            };
            assert_eq!(plain(&native), plain(&mounted), "{step}");
            self.compare(step);
        }
        // What git believes from its caches is what it finds without them.
        let honest = "git status --porcelain=v2 -uall; echo; git -c core.fsmonitor=false -c core.untrackedCache=false \
                      status --porcelain=v2 -uall";
        let out = self.0.shell(&self.0.mountpoint(), honest).text();
        let (with, without) = out.split_once("\n\n").unwrap_or((out.trim(), ""));
        assert_eq!(with.trim(), without.trim());
        let out =
            self.0.shell(&self.0.mountpoint(), "git fsck --connectivity-only 2>&1 | grep -v '^dangling'");
        assert_eq!(out.text(), "", "the objects are whole");
    }
}

#[test]
fn the_judge_sees_one_different_byte_mode_or_name() {
    let pair = Pair::start();
    for step in ["echo x >> README", "chmod 755 README", "touch empty", "git branch more"] {
        pair.0.shell(&pair.0.mountpoint(), step);
        let (a, b) = (look(&pair.0, &pair.0.clone_dir()), look(&pair.0, &pair.0.mountpoint()));
        assert_ne!(a, b, "{step}");
        pair.0.shell(&pair.0.mountpoint(), "git reset -q --hard; git clean -qfd; git branch -D more");
        pair.compare(step);
    }
}

#[test]
fn edits_and_commits_are_those_of_a_native_clone() {
    Pair::start().steps(&[
        "echo edit >> README; git status --short",
        "git add README; git status --short",
        "echo again >> README",
        "git commit -qm 'half of it'",
        "git commit -qam 'the other half'",
        "echo amended >> README; git commit -qa --amend -m amended",
        "git reset HEAD~1",
        "git reset --hard",
        "sed -i '1i top' src/b.c; echo bottom >> src/b.c; git diff -U0 src/b.c | head -7 > $OUT/p; git apply --cached --unidiff-zero $OUT/p",
        "git commit -qm 'one hunk of two'; git diff --stat",
        "git stash; git stash list; git stash pop",
        "git restore src/b.c",
        "git rm -q docs/guide.md; git commit -qm 'no guide'",
        "git reset --soft HEAD~1",
        "git restore --staged docs/guide.md; git restore docs/guide.md",
        "chmod 644 run.sh; git status --short; git commit -qam 'not executable'",
        "chmod 755 run.sh src/a.c; git diff --summary; git add -u; git commit -qm executable",
        "rm link; ln -s README link; git commit -qam 'another target'",
        "rm link; echo file > link; git status --short; git add link; git commit -qm 'a file now'",
        "git reset -q --hard HEAD~1; readlink link",
        "rm README; echo a > new; mv new src/a.c; git status --short",
        "git add -A; git commit -qm 'renamed over a tracked file'",
        "git reset HEAD~1; git checkout -- .",
        "git mv src source; git status --short",
        "git commit -qm 'move a folder'; git log --follow --oneline source/a.c | wc -l",
        "mv source src; git add -A; git commit -qm 'and back'; git diff HEAD~2 --stat",
        "mkdir -p new/deep; echo n > new/deep/f; touch x.o build/y; git status --short --ignored",
        "git ls-files -o --exclude-standard; git ls-files -o -i --exclude-standard",
        "git add new; git commit -qm new; git clean -nd; git clean -fdxq",
        "echo u > untracked; git stash -u; git stash show --include-untracked --stat; git stash apply; git stash drop",
        "git clean -fq; git check-ignore -v x.o build/z; git grep -n second",
        "echo '!*.o' >> .gitignore; touch z.o; git status --short; git add -A; git commit -qm 'objects after all'",
        "rm -r vendor; git status --short; mkdir -p vendor/sub; git status --short",
    ]);
}

#[test]
fn branches_merges_and_rebases_are_those_of_a_native_clone() {
    Pair::start().steps(&[
        "git checkout -q side; git log --oneline | wc -l",
        "git checkout -q main; git checkout -q v1; git checkout -q -",
        "git checkout -q --detach HEAD~1; git switch -q main",
        "git switch -qc work; echo w > work.txt; git add .; git commit -qm work",
        "git merge -q --no-edit side",
        "git merge -q clash",
        "git status --short; git ls-files -u; git merge --abort",
        "git merge -q clash; git checkout --theirs src/a.c; git add src/a.c; git commit -qm 'theirs it is'",
        "git revert --no-edit -m 1 HEAD",
        "git switch -q main; git merge -q --ff-only work",
        "git reset -q --hard v2; git cherry-pick side; git cherry-pick side~1",
        "git reset -q --hard v2; git cherry-pick clash",
        "git cherry-pick --abort",
        "git cherry-pick clash; printf 'mine\\n' > src/a.c; git add src/a.c; git cherry-pick --continue --no-edit",
        "git switch -q topic; git rebase -q main",
        "git log --format=%s -5; git diff main --stat",
        "git switch -q clash; git rebase v2",
        "git status --short; git rebase --abort",
        "git rebase v2; sed -i '/^[<=>]/d' src/a.c; git add src/a.c; GIT_EDITOR=true git rebase --continue",
        "git switch -q side; GIT_SEQUENCE_EDITOR=\"sed -i '2s/pick/squash/'\" GIT_EDITOR=true git rebase -qi HEAD~2",
        "echo dirty >> README; git checkout -q topic; git status --short",
        "git stash -q; git checkout -q main; git stash pop",
        "git checkout side -- docs/side.md; git restore --source v1 README; git reset -q --hard",
        "git bisect start -q; git bisect bad main; git bisect good v1; git bisect run sh -c 'grep -q 20 src/a.c'",
        "git bisect reset; git status --short",
        "git switch -q --orphan empty; ls; git status --short",
        "echo root > root; git add root; git commit -qm root; git switch -q main",
        "git branch -D empty; git branch -m work job; git tag -d v1; git tag v1 job",
    ]);
}

#[test]
fn sharing_and_upkeep_are_those_of_a_native_clone() {
    Pair::start().steps(&[
        "git clone -q $REMOTE $OUT/other; cd $OUT/other; echo r > remote.txt; git add .; git commit -qm remote; git push -q",
        "git fetch -q; git status -sb; git log --oneline HEAD..origin/main",
        "git pull -q --ff-only; cat remote.txt",
        "cd $OUT/other; echo r2 >> remote.txt; git commit -qam 'remote again'; git push -q",
        "echo l > local.txt; git add .; git commit -qm local; git push -q; true",
        "git pull -q --rebase; git log --format=%s -3",
        "git push -q; git --git-dir=$REMOTE log --format='%s %H' -3 main",
        "git push -q origin HEAD:refs/heads/published; git --git-dir=$REMOTE rev-parse published; git fetch -q",
        "cd $OUT/other; git checkout -q side; echo s >> docs/side.md; git commit -qam 'side grows'; git push -q",
        "git fetch -q; git merge -q --no-edit -m merged origin/side",
        "git worktree add -q $OUT/tree side; cd $OUT/tree; echo t > tree.txt; git status --short; git add .; git commit -qm tree",
        "cd $OUT/tree; echo u >> README; git status --short; git diff --stat; git checkout -q README; git status --short",
        "git worktree list | wc -l; git worktree remove $OUT/tree; git log --format=%s -1 side",
        "git sparse-checkout set src/deep; ls; git status --short",
        "echo s >> src/deep/c.txt; git commit -qam sparse; git sparse-checkout add docs; ls",
        "git sparse-checkout disable; ls; git status --short",
        "git gc -q; git status --short; git log --oneline | wc -l",
        "git repack -qad; git fsck --connectivity-only --no-dangling 2>/dev/null; git status --short",
        "git notes add -m note; git notes show; git log --format='%s %N' -1",
        "git archive HEAD | tar -tf -; git archive HEAD | cksum",
        "git format-patch -q -2 -o $OUT/patches --no-signature side; cat $OUT/patches/* | git hash-object --stdin",
        "git switch -qc mail v2; git am -q $OUT/patches/*",
        "git blame -s src/a.c | cksum; git log --stat --format=%s | cksum; git shortlog -s HEAD | cksum",
        "git describe --tags; git tag -f v3; git show --stat --format=%s v3; git diff v1 v3 --name-status",
        "git rev-list --objects --all --missing=print | tr -d '?' | cut -c1-40 | sort",
        "git update-index --refresh; git write-tree; git read-tree -m -u HEAD HEAD; git status --short",
        "git update-index --chmod=+x README; git commit -qm 'by the index'; git checkout -q -- README; stat -c %a README",
        "git checkout-index -f -a; git diff-files; git diff-index HEAD; git status --short",
    ]);
}
