//! Runs a case on stock git and on the subject, and compares what was observed.

use crate::facts::{self, Facts};
use crate::git::{Git, Out};
use crate::host::{CairnHost, Format, Host, Remote, StockHost};
use crate::pack;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Protocol versions where the version makes no difference to what is asked.
pub const NEWEST: &[u8] = &[2];
/// Oldest and newest.
pub const ENDS: &[u8] = &[0, 2];
/// All of them.
pub const ALL: &[u8] = &[0, 1, 2];

/// What a case works with: a host, an empty directory and git.
pub struct Ctx<'a> {
    /// The host under observation.
    pub host: &'a dyn Host,
    /// The protocol version that git asks for.
    pub protocol: u8,
    /// An empty directory of the case's own.
    pub dir: PathBuf,
    git: Mutex<Git>,
}

impl<'a> Ctx<'a> {
    /// A context whose git speaks `protocol`.
    pub fn new(host: &'a dyn Host, protocol: u8, dir: &Path) -> Self {
        let mut git = Git::new(dir);
        git.set("protocol.version", &protocol.to_string());
        Self { host, protocol, dir: dir.to_owned(), git: Mutex::new(git) }
    }

    /// A copy of the settings, for commands that a case runs on its own.
    pub fn git(&self) -> Git {
        self.git.lock().expect("no case panics while it holds this").clone()
    }

    /// Adds a setting to every later git command.
    pub fn set(&self, key: &str, value: &str) {
        self.git.lock().expect("no case panics while it holds this").set(key, value);
    }

    /// Creates a repository; every later git command carries its token.
    pub fn create(&self, name: &str) -> Remote {
        self.create_as(name, Format::Sha1)
    }

    /// The same with a chosen hash.
    pub fn create_as(&self, name: &str, format: Format) -> Remote {
        let remote = self.host.create(&format!("{name}-v{}", self.protocol), format);
        if let Some(token) = &remote.token {
            self.git.lock().expect("no case panics while it holds this").bearer(&remote.url, token);
        }
        remote
    }

    /// Creates a repository and pushes every ref of `from` to it.
    pub fn create_from(&self, name: &str, from: &Path) -> Remote {
        let remote = self.create(name);
        self.ok(from, &["push", "--quiet", &remote.url, "refs/*:refs/*"]);
        remote
    }

    /// Runs git in `dir`.
    pub fn run<S: AsRef<OsStr>>(&self, dir: &Path, args: &[S]) -> Out {
        self.git().run(dir, args)
    }

    /// Runs git in `dir`, which must succeed, and returns its output.
    pub fn ok<S: AsRef<OsStr> + std::fmt::Debug>(&self, dir: &Path, args: &[S]) -> String {
        self.ok_fed(dir, args, b"")
    }

    /// The same with input.
    pub fn ok_fed<S: AsRef<OsStr> + std::fmt::Debug>(&self, dir: &Path, args: &[S], input: &[u8]) -> String {
        let out = self.git().feed(dir, args, input);
        assert!(out.ok(), "git {args:?} ended with {}: {}", out.code, out.errors());
        out.text()
    }

    /// An empty work repository below the case's directory.
    pub fn init(&self, name: &str) -> PathBuf {
        let path = self.dir.join(name);
        self.ok(&self.dir, &["init", "--quiet", name]);
        path
    }

    /// Clones with the given options into `name`; notes the exit code and what arrived.
    pub fn clone(&self, facts: &mut Facts, name: &str, remote: &Remote, options: &[&str]) -> PathBuf {
        let mut args = vec!["clone", "--quiet"];
        args.extend(options);
        args.extend([remote.url.as_str(), name]);
        let out = self.run(&self.dir, &args);
        facts.put(format!("{name}: clone"), out.code);
        if std::env::var_os("CONFORMANCE_SHOW").is_some() && !out.ok() {
            println!("clone into {name}: {}", out.errors());
        }
        let path = self.dir.join(name);
        if out.ok() {
            self.observe(facts, name, &path);
        }
        path
    }

    /// Notes what a local repository holds: refs, HEAD, shallow points, present and missing objects, fsck.
    pub fn observe(&self, facts: &mut Facts, label: &str, dir: &Path) {
        let refs = ["for-each-ref", "--format=%(refname) %(objectname) %(symref)"];
        facts.put(format!("{label}: refs"), self.run(dir, &refs).text());
        facts.put(format!("{label}: HEAD"), self.run(dir, &["symbolic-ref", "-q", "HEAD"]).text());
        let shallow_file = self.run(dir, &["rev-parse", "--git-path", "shallow"]).text();
        facts.put(
            format!("{label}: shallow"),
            sorted(&std::fs::read(dir.join(shallow_file)).unwrap_or_default()),
        );
        let walk = self.run(dir, &["rev-list", "--objects", "--all", "--missing=print", "--no-object-names"]);
        facts.put(format!("{label}: walk"), format!("{} {}", walk.code, digest(&walk.stdout)));
        let present =
            self.run(dir, &["cat-file", "--batch-check=%(objectname) %(objecttype)", "--batch-all-objects"]);
        facts.put(format!("{label}: objects"), digest(&present.stdout));
        facts.put(format!("{label}: fsck"), self.run(dir, &["fsck", "--strict", "--no-dangling"]).code);
    }

    /// Notes what the host holds, as `ls-remote` and a mirror clone see it.
    pub fn observe_remote(&self, facts: &mut Facts, label: &str, remote: &Remote) {
        let listed = self.run(&self.dir, &["ls-remote", &remote.url]);
        facts.put(format!("{label}: ls-remote"), format!("{} {}", listed.code, listed.text()));
        let place = format!("observe-{}", label.replace(['/', ' ', ':'], "-"));
        let path = self.clone(facts, &place, remote, &["--mirror"]);
        std::fs::remove_dir_all(path).ok();
    }

    /// Pushes and notes the exit code and what is said of each ref.
    pub fn push(
        &self,
        facts: &mut Facts,
        label: &str,
        dir: &Path,
        options: &[&str],
        remote: &Remote,
        refspecs: &[&str],
    ) {
        let mut args = vec!["push", "--porcelain"];
        args.extend(options);
        args.push(&remote.url);
        args.extend(refspecs);
        let out = self.run(dir, &args);
        facts.put(format!("{label}: push"), format!("{} {}", out.code, porcelain(&out.text())));
    }

    /// Fetches with the given arguments and notes the exit code and what the repository then holds.
    pub fn fetch(&self, facts: &mut Facts, label: &str, dir: &Path, args: &[&str]) {
        let mut all = vec!["fetch", "--quiet"];
        all.extend(args);
        facts.put(format!("{label}: fetch"), self.run(dir, &all).code);
        self.observe(facts, label, dir);
    }
}

/// The lines about refs, each as flag, refspec and the bracketed or ranged part; reasons are free text.
fn porcelain(text: &str) -> String {
    let line = |line: &str| {
        let mut parts = line.split('\t');
        let (flag, refs, summary) = (parts.next()?, parts.next()?, parts.next()?);
        let summary = summary.find(']').map_or(summary, |at| summary.get(..=at).unwrap_or(summary));
        Some(format!("\n{flag} {refs} {}", summary.split(" (").next().unwrap_or_default()))
    };
    let mut lines: Vec<String> = text.lines().filter_map(line).collect();
    lines.sort();
    lines.concat()
}

fn sorted(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// The number of lines and a hash over them in sorted order.
fn digest(bytes: &[u8]) -> String {
    let text = sorted(bytes);
    format!("{} lines {}", text.lines().count(), pack::sha1_hex(text.as_bytes()))
}

/// Runs `case` on both hosts at each protocol version; panics with every difference that is not known.
///
/// `CONFORMANCE_SUBJECT=stock` judges stock git by itself: a check of the cases.
pub fn judge(name: &str, protocols: &[u8], case: impl Fn(&Ctx, &mut Facts)) {
    let stock = StockHost::start().expect("stock git can be served");
    let subject: Box<dyn Host> = match std::env::var("CONFORMANCE_SUBJECT").as_deref() {
        Ok("stock") => Box::new(StockHost::start().expect("stock git can be served")),
        _ => Box::new(CairnHost::start().expect("cairn can be started")),
    };
    let found = differences(name, protocols, &stock, subject.as_ref(), &case);
    assert!(found.is_empty(), "{name}: stock git and the subject differ\n{}", found.join("\n"));
}

/// Every difference that is not known, as text.
pub fn differences(
    name: &str,
    protocols: &[u8],
    stock: &dyn Host,
    subject: &dyn Host,
    case: &impl Fn(&Ctx, &mut Facts),
) -> Vec<String> {
    let known = facts::known_differences();
    let mut found = Vec::new();
    for protocol in protocols {
        let expected = observe(stock, *protocol, case);
        let seen = observe(subject, *protocol, case);
        if std::env::var_os("CONFORMANCE_SHOW").is_some() {
            println!("{name} v{protocol}: {expected:#?}");
        }
        assert_ne!(expected, Facts::default(), "a case that observes nothing judges nothing");
        assert!(expected.get("case panicked").is_none(), "on stock git: {expected:?}");
        for difference in facts::compare(&expected, &seen) {
            if !facts::is_known(name, &difference, &known) {
                let show = |v: &Option<String>| v.clone().unwrap_or_else(|| "(not observed)".to_owned());
                let (stock, subject) = (show(&difference.stock), show(&difference.subject));
                found.push(format!(
                    "v{protocol} {}\n  stock:   {stock}\n  subject: {subject}",
                    difference.key
                ));
            }
        }
    }
    found
}

fn observe(host: &dyn Host, protocol: u8, case: &impl Fn(&Ctx, &mut Facts)) -> Facts {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ctx = Ctx::new(host, protocol, dir.path());
    let mut facts = Facts::default();
    let run = std::panic::AssertUnwindSafe(|| case(&ctx, &mut facts));
    if let Err(panic) = std::panic::catch_unwind(run) {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        facts.put("case panicked", text.unwrap_or_default());
    }
    facts
}
