//! Histories made by script, the same bytes on every run.

use crate::judge::Ctx;
use std::path::PathBuf;

/// Seconds between two commits of a fixture.
pub const STEP_SECONDS: u64 = 86_400;
/// The time of a fixture's first commit.
pub const START_SECONDS: u64 = 1_700_000_000;

/// Writes `git fast-import` input.
#[derive(Default)]
pub struct Script {
    text: Vec<u8>,
    commits: u64,
}

impl Script {
    /// A commit on a branch, a day after the one before; files are `(path, content)`.
    pub fn commit(&mut self, branch: &str, from: &[&str], files: &[(&str, &str)]) -> &mut Self {
        let time = START_SECONDS + self.commits * STEP_SECONDS;
        self.commits += 1;
        let who = format!("A U Thor <author@example.com> {time} +0000");
        self.line(&format!("commit refs/heads/{branch}\nauthor {who}\ncommitter {who}"));
        self.data(&format!("commit {} on {branch}\n", self.commits));
        let own = format!("refs/heads/{branch}");
        for (at, parent) in from.iter().enumerate() {
            // A branch goes on from itself anyway, and fast-import refuses to be told so.
            if at > 0 || *parent != own {
                self.line(&format!("{} {parent}", if at == 0 { "from" } else { "merge" }));
            }
        }
        for (path, content) in files {
            self.line(&format!("M 100644 inline {path}"));
            self.data(content);
        }
        self.line("")
    }

    /// An annotated tag.
    pub fn tag(&mut self, name: &str, of: &str) -> &mut Self {
        let time = START_SECONDS + self.commits * STEP_SECONDS;
        self.line(&format!("tag {name}\nfrom {of}\ntagger A U Thor <author@example.com> {time} +0000"));
        self.data(&format!("tag {name}\n"))
    }

    /// A ref set to a commit.
    pub fn reset(&mut self, name: &str, to: &str) -> &mut Self {
        self.line(&format!("reset {name}\nfrom {to}\n"))
    }

    /// A line as it is.
    pub fn line(&mut self, text: &str) -> &mut Self {
        self.text.extend_from_slice(text.as_bytes());
        self.text.push(b'\n');
        self
    }

    /// A counted block of data.
    pub fn data(&mut self, content: &str) -> &mut Self {
        self.line(&format!("data {}\n{content}", content.len()))
    }

    /// The input itself, for repositories that exist.
    pub fn bytes(&self) -> &[u8] {
        &self.text
    }

    /// Imports into a new bare repository below the case's directory.
    pub fn import(&self, ctx: &Ctx, name: &str) -> PathBuf {
        ctx.ok(&ctx.dir, &["init", "--quiet", "--bare", name]);
        let path = ctx.dir.join(name);
        ctx.ok_fed(&path, &["fast-import", "--quiet"], &self.text);
        path
    }
}

/// Lines that differ between seeds, so that deltas are worth making.
pub fn lines(seed: usize, count: usize) -> String {
    (0..count).map(|at| format!("line {at} of {}\n", if at % 17 == seed % 17 { seed } else { 0 })).collect()
}

/// Eight commits on main, a branch that forks at the third and is merged, two kinds of tags, files in
/// directories, small and large.
pub fn history(ctx: &Ctx, name: &str) -> PathBuf {
    let mut script = Script::default();
    let (big, big2) = (lines(1, 3000), lines(2, 3000));
    script
        .commit("main", &[], &[("README", "first\n"), ("src/a", &big), ("docs/deep/er/page", "page\n")])
        .commit("main", &[], &[("src/b", &lines(3, 50))])
        .tag("v1", "refs/heads/main")
        .commit("main", &[], &[("src/a", &big2)])
        .commit("side", &["refs/heads/main"], &[("side/one", "1\n")])
        .commit("side", &[], &[("side/two", &lines(4, 900))])
        .commit("main", &[], &[("README", "second\n"), ("src/c", "c\n")])
        .commit("main", &["refs/heads/main", "refs/heads/side"], &[("merged", "m\n")])
        .tag("v2", "refs/heads/main")
        .reset("refs/tags/light", "refs/heads/side")
        .commit("main", &[], &[("README", "third\n"), ("docs/deep/er/page", "page two\n")]);
    script.import(ctx, name)
}
