//! Walks and plans with stock git as judge: what a fetch sends is what `git rev-list --objects` says, and the pack that
//! comes out is one that `git index-pack --strict` takes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use cairn_protocol::filter::Filter;
use cairn_protocol::object::{HashAlgo, Kind, ObjectId};
use cairn_protocol::pack::{
    EntryBase, IndexOptions, IndexedPack, LinksOnly, NothingKnown, PackBytes, RefBase, scan,
};
use cairn_protocol::plan::{PackStream, PlanOptions, build};
use cairn_protocol::source::{Base, CommitNode, ObjRef, ObjectSource, Record, SourceError};
use cairn_protocol::walk::{DeepenTo, ObjSet, Reader, Selection, WalkRequest, reach, select};

const ALGO: HashAlgo = HashAlgo::Sha1;

/// Packs in memory behind the port, one log.
struct Memory {
    packs: Vec<(Vec<u8>, IndexedPack, u32)>,
    places: HashMap<ObjectId, u32>,
    generations: HashMap<ObjectId, u32>,
}

impl Memory {
    /// Of every pack in a repository, which must not share objects.
    fn load(repo: &Path) -> Self {
        let mut out = Self { packs: Vec::new(), places: HashMap::new(), generations: HashMap::new() };
        let mut base = 0;
        for entry in std::fs::read_dir(repo.join(".git/objects/pack")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|ext| ext != "pack") {
                continue;
            }
            let bytes = std::fs::read(path).unwrap();
            let options = IndexOptions {
                algo: ALGO,
                cache_bytes: 1 << 20,
                object_bytes_max: 1 << 30,
                objects_max: 1 << 20,
                fsck: true,
            };
            let scanned = scan(&bytes, &options, &mut |_, _| {}).unwrap();
            let resolver = scanned.resolver(&bytes, &NothingKnown, &LinksOnly).unwrap();
            resolver.work().unwrap();
            let pack = resolver.finish().unwrap();
            for i in 0..pack.len() {
                out.places.insert(pack.entry(i).id, base + i);
            }
            let count = pack.len();
            out.packs.push((bytes, pack, base));
            base += count;
        }
        out
    }

    fn generation(&mut self, id: ObjectId) -> u32 {
        let mut stack = vec![id];
        while let Some(at) = stack.last().copied() {
            let parents: Vec<ObjectId> = self.links(at).1;
            let open: Vec<ObjectId> =
                parents.iter().copied().filter(|p| !self.generations.contains_key(p)).collect();
            if open.is_empty() {
                let max = parents.iter().map(|p| self.generations[p]).max().unwrap_or(0);
                self.generations.insert(at, max + 1);
                stack.pop();
            }
            stack.extend(open);
        }
        self.generations[&id]
    }

    fn pack_of(&self, ordinal: u32) -> (usize, u32) {
        let at = self.packs.partition_point(|(_, _, base)| *base <= ordinal) - 1;
        (at, ordinal - self.packs[at].2)
    }

    fn links(&self, id: ObjectId) -> (ObjectId, Vec<ObjectId>, i64) {
        let (pack, index) = self.pack_of(self.places[&id]);
        let commit = self.packs[pack].1.commits().find(index).unwrap();
        (commit.tree, commit.parents().collect(), commit.time)
    }

    fn place(&self, id: &ObjectId) -> ObjRef {
        ObjRef { source: 0, ordinal: self.places[id] }
    }
}

impl ObjectSource for Memory {
    fn limits(&self) -> Vec<u32> {
        vec![self.places.len() as u32]
    }

    fn lookup(&self, id: &ObjectId) -> Result<Option<ObjRef>, SourceError> {
        Ok(self.places.get(id).map(|ordinal| ObjRef { source: 0, ordinal: *ordinal }))
    }

    fn record(&self, at: ObjRef) -> Result<Record, SourceError> {
        let (pack, index) = self.pack_of(at.ordinal);
        let entry = self.packs[pack].1.entry(index);
        let inside = |i: u32| ObjRef { source: 0, ordinal: self.packs[pack].2 + i };
        let base = match entry.base {
            EntryBase::Whole => Base::None,
            EntryBase::Ofs(i) => Base::Ofs(inside(i)),
            EntryBase::Ref(RefBase::InPack(i)) => Base::Ref(inside(i)),
            EntryBase::Ref(RefBase::External(id)) => Base::Ref(self.place(&id)),
        };
        Ok(Record {
            id: entry.id,
            kind: entry.kind,
            size: entry.size,
            pack: pack as u32,
            offset: entry.offset,
            entry_bytes: entry.entry_bytes,
            base,
        })
    }

    fn records(
        &self,
        source: u16,
        range: Range<u32>,
        each: &mut dyn FnMut(u32, &Record),
    ) -> Result<(), SourceError> {
        for ordinal in range {
            each(ordinal, &self.record(ObjRef { source, ordinal })?);
        }
        Ok(())
    }

    fn read(&self, at: ObjRef) -> Result<(Kind, Vec<u8>), SourceError> {
        let (kind, data) = Reader::new(self, ALGO).read(at).map_err(|e| SourceError(Box::new(e)))?;
        Ok((kind, data.to_vec()))
    }

    fn commit(&self, at: ObjRef) -> Result<CommitNode, SourceError> {
        let id = self.record(at)?.id;
        let (tree, parents, time) = self.links(id);
        Ok(CommitNode {
            tree: self.place(&tree),
            parents: parents.iter().map(|id| self.place(id)).collect(),
            time,
            generation: self.generations[&id],
        })
    }

    fn pack_len(&self, _: u16, pack: u32) -> Result<u64, SourceError> {
        Ok(self.packs[pack as usize].0.len() as u64)
    }

    fn pack_bytes(&self, _: u16, pack: u32, offset: u64, into: &mut [u8]) -> Result<(), SourceError> {
        self.packs[pack as usize].0.read_at(offset, into).map_err(|e| SourceError(Box::new(e)))
    }
}

fn git(dir: &Path, args: &[&str]) -> String {
    let out = command(dir, args).output().unwrap();
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.current_dir(dir).args(args).env_clear().env("PATH", std::env::var("PATH").unwrap());
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "A").env(format!("GIT_{who}_EMAIL"), "a@example.com");
        command.env(format!("GIT_{who}_DATE"), "2026-01-01T00:00:00Z");
    }
    command
}

/// A history with merges, renames, deletes, a file that comes back, nested folders and annotated tags, in two packs.
fn history(dir: &Path) {
    git(dir, &["init", "-q", "-b", "main"]);
    let write = |path: &str, text: String| {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let body = |n: u32| {
        (0..200).map(|i| format!("line {i} {}\n", if i % 17 == n % 17 { n } else { 0 })).collect::<String>()
    };
    for n in 0..24 {
        write(&format!("a/b/file{}", n % 5), body(n));
        write("top", format!("{n}\n"));
        if n == 7 {
            git(dir, &["mv", "a/b", "moved"]);
        }
        if n == 11 {
            git(dir, &["rm", "-qrf", "--ignore-unmatch", "moved"]);
        }
        if n == 15 {
            git(dir, &["checkout", "-q", "HEAD~6", "--", "moved"]);
        }
        git(dir, &["add", "-A"]);
        git(dir, &["commit", "-qm", &format!("commit {n}")]);
        if n % 6 == 3 {
            git(dir, &["checkout", "-qb", &format!("side{n}"), "HEAD~2"]);
            write(&format!("side/{n}"), body(n + 100));
            git(dir, &["add", "-A"]);
            git(dir, &["commit", "-qm", "side"]);
            git(dir, &["checkout", "-q", "main"]);
            git(dir, &["merge", "-q", "--no-ff", "-m", "merge", &format!("side{n}")]);
            git(dir, &["tag", "-am", "tag", &format!("v{n}")]);
        }
        if n == 12 {
            git(dir, &["repack", "-qd"]);
        }
    }
    git(dir, &["repack", "-qd"]);
}

struct Fixture {
    _temp: tempfile::TempDir,
    repo: PathBuf,
    memory: Memory,
}

fn fixture() -> Fixture {
    let temp = tempfile::tempdir().unwrap();
    let repo = temp.path().join("repo");
    std::fs::create_dir(&repo).unwrap();
    history(&repo);
    // One pack: the second one leans on the first, which the index pass is not told of.
    git(&repo, &["repack", "-qadf", "--depth=20"]);
    let mut memory = Memory::load(&repo);
    for id in git(&repo, &["rev-list", "--all"]).lines() {
        memory.generation(ObjectId::from_hex(ALGO, id.as_bytes()).unwrap());
    }
    Fixture { _temp: temp, repo, memory }
}

impl Fixture {
    fn at(&self, rev: &str) -> ObjRef {
        let id = git(&self.repo, &["rev-parse", rev]);
        self.memory.place(&ObjectId::from_hex(ALGO, id.as_bytes()).unwrap())
    }

    fn select(&self, request: &WalkRequest) -> Selection {
        let mut reader = Reader::new(&self.memory, ALGO);
        select(&mut reader, request, &mut |reader, wants| reach(reader, wants, ObjSet::new())).unwrap()
    }

    fn ids(&self, set: &ObjSet) -> BTreeSet<String> {
        set.iter().map(|at| self.memory.record(at).unwrap().id.to_string()).collect()
    }

    fn pack(&self, selection: &Selection, options: PlanOptions) -> Vec<u8> {
        let mut reader = Reader::new(&self.memory, ALGO);
        let plan = Arc::new(
            build(&mut reader, &selection.set, (&selection.had, &selection.versions), options).unwrap(),
        );
        let once = self.stream(&plan, 1 << 20);
        assert_eq!(once, self.stream(&plan, 7), "a known trailer and odd batches change nothing");
        once
    }

    fn stream(&self, plan: &Arc<cairn_protocol::plan::Plan>, batch: usize) -> Vec<u8> {
        let mut stream = PackStream::new(Arc::clone(plan), ALGO);
        let (mut out, mut buffer) = (Vec::new(), vec![0; batch]);
        loop {
            let n = stream.fill(&self.memory, &mut buffer).unwrap();
            out.extend_from_slice(&buffer[..n]);
            if n < batch {
                return out;
            }
        }
    }

    fn rev_list(&self, args: &[&str]) -> BTreeSet<String> {
        let mut all = vec!["rev-list", "--objects", "--no-object-names"];
        all.extend(args);
        git(&self.repo, &all).lines().map(str::to_owned).collect()
    }

    /// Lets stock git take the pack into `into`, and answers what it now has in packs.
    fn judge(&self, pack: &[u8], into: &Path, thin: bool) -> BTreeSet<String> {
        let mut args = vec!["index-pack", "--stdin"];
        args.extend(if thin { vec!["--fix-thin"] } else { vec!["--strict"] });
        let mut child = command(into, &args).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(pack).unwrap();
        assert!(child.wait().unwrap().success(), "stock git refuses the pack");
        let listed = git(into, &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
        listed.lines().map(str::to_owned).collect()
    }
}

fn empty_repo(temp: &tempfile::TempDir, name: &str) -> PathBuf {
    let path = temp.path().join(name);
    std::fs::create_dir(&path).unwrap();
    git(&path, &["init", "-q", "--bare"]);
    path
}

const PLAIN: PlanOptions = PlanOptions { ofs_delta: true, thin: false };

#[test]
fn a_full_clone_is_what_rev_list_says_in_both_delta_forms() {
    let fixture = fixture();
    let temp = tempfile::tempdir().unwrap();
    for (rev, ofs_delta) in
        [("main", true), ("main", false), ("side9", true), ("v15", true), ("main~9", false)]
    {
        let selection =
            fixture.select(&WalkRequest { wants: vec![fixture.at(rev)], ..WalkRequest::default() });
        let want = fixture.rev_list(&[rev]);
        assert_eq!(fixture.ids(&selection.set), want, "{rev}");
        let pack = fixture.pack(&selection, PlanOptions { ofs_delta, thin: false });
        let into = empty_repo(&temp, &format!("{rev}-{ofs_delta}"));
        assert_eq!(fixture.judge(&pack, &into, false), want, "{rev}");
    }
}

#[test]
fn an_incremental_fetch_completes_what_the_client_has() {
    let fixture = fixture();
    let temp = tempfile::tempdir().unwrap();
    let rows =
        [("main", "main~1"), ("main", "main~10"), ("main", "side9"), ("side21", "main~8"), ("v9", "main~20")];
    for (index, (want, have)) in rows.into_iter().enumerate() {
        for thin in [false, true] {
            let request = WalkRequest {
                wants: vec![fixture.at(want)],
                haves: vec![fixture.at(have)],
                ..WalkRequest::default()
            };
            let selection = fixture.select(&request);
            let sent = fixture.ids(&selection.set);
            let needed: BTreeSet<String> =
                fixture.rev_list(&[want]).difference(&fixture.rev_list(&[have])).cloned().collect();
            assert!(sent.is_superset(&needed), "{want} ^{have}: something is missing");
            let into = empty_repo(&temp, &format!("{index}-{thin}"));
            let first =
                fixture.select(&WalkRequest { wants: vec![fixture.at(have)], ..WalkRequest::default() });
            fixture.judge(&fixture.pack(&first, PLAIN), &into, false);
            let pack = fixture.pack(&selection, PlanOptions { ofs_delta: true, thin });
            assert!(
                fixture.judge(&pack, &into, true).is_superset(&fixture.rev_list(&[want])),
                "{want} ^{have}"
            );
        }
    }
}

#[test]
fn a_client_that_takes_thin_packs_gets_new_versions_as_deltas_of_its_own() {
    let fixture = fixture();
    let request = WalkRequest {
        wants: vec![fixture.at("main")],
        haves: vec![fixture.at("main~10")],
        ..WalkRequest::default()
    };
    let selection = fixture.select(&request);
    let bytes = |thin| fixture.pack(&selection, PlanOptions { ofs_delta: true, thin }).len();
    let (thin, thick) = (bytes(true), bytes(false));
    assert!(thin < thick, "{thin} bytes with deltas, {thick} without");
    let had = fixture.rev_list(&["main~10"]);
    let mut found = 0;
    for new in selection.set.iter() {
        if let Some(old) = selection.versions.before(new, &selection.set) {
            let record = |at| fixture.memory.record(at).unwrap();
            assert!(had.contains(&record(old).id.to_string()) && record(old).kind == record(new).kind);
            found += 1;
        }
    }
    assert!(found > 20, "{found}");
}

#[test]
fn nothing_is_sent_to_a_client_that_has_all() {
    let fixture = fixture();
    let main = fixture.at("main");
    let request = WalkRequest { wants: vec![main], haves: vec![main], ..WalkRequest::default() };
    assert!(fixture.select(&request).set.is_empty());
}

#[test]
fn a_shallow_clone_has_the_commits_that_git_clones_and_their_whole_trees() {
    let fixture = fixture();
    let temp = tempfile::tempdir().unwrap();
    let url = format!("file://{}", fixture.repo.display());
    for depth in [1, 2, 5] {
        let request = WalkRequest {
            wants: vec![fixture.at("main")],
            deepen: DeepenTo::Depth(depth),
            ..WalkRequest::default()
        };
        let selection = fixture.select(&request);
        let clone = temp.path().join(format!("clone{depth}"));
        let into = clone.to_str().unwrap();
        let text = depth.to_string();
        git(
            temp.path(),
            &["clone", "-q", "--bare", "--single-branch", "--no-tags", "--depth", &text, &url, into],
        );
        let listed = git(&clone, &["rev-list", "--objects", "--no-object-names", "--all"]);
        assert_eq!(fixture.ids(&selection.set), listed.lines().map(str::to_owned).collect(), "depth {depth}");
        let shallow = std::fs::read_to_string(clone.join("shallow")).unwrap();
        let ours: BTreeSet<String> =
            selection.shallow.iter().map(|at| fixture.memory.record(*at).unwrap().id.to_string()).collect();
        assert_eq!(ours, shallow.lines().map(str::to_owned).collect(), "depth {depth}");
    }
}

#[test]
fn filters_keep_what_rev_list_keeps() {
    let fixture = fixture();
    let temp = tempfile::tempdir().unwrap();
    let specs = [
        "blob:none",
        "blob:limit=100",
        "tree:0",
        "tree:1",
        "tree:2",
        "object:type=commit",
        "object:type=tree",
    ];
    for spec in specs {
        let request = WalkRequest {
            wants: vec![fixture.at("main")],
            filter: Some(Filter::parse(spec.as_bytes()).unwrap()),
            ..WalkRequest::default()
        };
        let selection = fixture.select(&request);
        let arg = format!("--filter={spec}");
        let want = fixture.rev_list(&[&arg, "main"]);
        assert_eq!(fixture.ids(&selection.set), want, "{spec}");
        let pack = fixture.pack(&selection, PLAIN);
        let into = empty_repo(&temp, &spec.replace([':', '='], "-"));
        // A partial pack is not closed, so it is only indexed.
        assert_eq!(fixture.judge(&pack, &into, true), want, "{spec}");
    }
}
