//! Repositories made by stock git, and packs of them.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cairn_protocol::object::{HashAlgo, Kind, ObjectId};
use cairn_protocol::pack::{
    Check, IndexOptions, IndexedPack, Known, LinksOnly, NothingKnown, PackBytes, PackError, ReadObject, scan,
};
use cairn_protocol::source::SourceError;

/// Follows links as `LinksOnly`; then does what it holds.
pub struct AtEnd<F>(pub F);

impl<F: Fn(&ReadObject<'_>) -> Result<(), PackError> + Sync> Check for AtEnd<F> {
    fn object(
        &self,
        kind: Kind,
        id: &ObjectId,
        data: &[u8],
        links: &mut dyn FnMut(&[u8], Kind),
    ) -> Result<(), PackError> {
        LinksOnly.object(kind, id, data, links)
    }

    fn finish(&self, read: &ReadObject<'_>) -> Result<(), PackError> {
        self.0(read)
    }
}

pub struct Repo {
    pub dir: tempfile::TempDir,
    pub algo: HashAlgo,
}

pub fn options(algo: HashAlgo) -> IndexOptions {
    let cache_bytes = 1 << 20;
    IndexOptions { algo, cache_bytes, object_bytes_max: 64 << 20, objects_max: 1_000_000, fsck: true }
}

impl Repo {
    pub fn new(algo: HashAlgo) -> Self {
        let repo = Self { dir: tempfile::tempdir().unwrap(), algo };
        repo.git(&["init", "-q", "-b", "main", &format!("--object-format={}", algo.name()), "."], b"");
        repo
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn git(&self, args: &[&str], stdin: &[u8]) -> Vec<u8> {
        let mut child = Command::new("git")
            .args(args)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs([
                ("GIT_AUTHOR_NAME", "A"),
                ("GIT_AUTHOR_EMAIL", "a@x"),
                ("GIT_AUTHOR_DATE", "1700000000 +0000"),
            ])
            .envs([("GIT_COMMITTER_NAME", "C"), ("GIT_COMMITTER_EMAIL", "c@x")])
            .env("GIT_COMMITTER_DATE", "1700000001 +0100")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let stdin = stdin.to_vec();
        let writer = std::thread::spawn(move || drop(input.write_all(&stdin)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Some history: a file that grows, one that changes in place, folders, a merge, tags.
    pub fn with_history(algo: HashAlgo, commits: u32) -> Self {
        let repo = Self::new(algo);
        let mut stream = Vec::new();
        let mut text: Vec<String> = (0..120).map(|line| format!("line {line} {}\n", line * line)).collect();
        for commit in 1..=commits {
            text[(commit as usize * 7) % 120] = format!("changed by {commit}\n");
            if commit % 5 == 0 {
                text.push(format!("more {commit}\n"));
            }
            let body = text.concat();
            let from = if commit > 1 { "" } else { "reset refs/heads/main\n" };
            write!(
                stream,
                "{from}commit refs/heads/main\ncommitter C <c@x> {} +0000\n",
                1_700_000_000 + commit
            )
            .unwrap();
            write!(
                stream,
                "data 5\nsays\nM 100644 inline dir/{}/file\ndata {}\n{body}\n",
                commit % 3,
                body.len()
            )
            .unwrap();
            write!(stream, "M 100755 inline run\ndata 8\nrun {commit:04}\n").unwrap();
            write!(stream, "M 120000 inline link\ndata 3\nrun\n").unwrap();
            if algo == HashAlgo::Sha1 {
                writeln!(stream, "M 160000 {:040x} module", commit + 1).unwrap();
            }
            if commit % 10 == 0 {
                write!(
                    stream,
                    "tag v{commit}\nfrom refs/heads/main\ntagger C <c@x> 1700000000 +0000\ndata 3\ntag\n"
                )
                .unwrap();
            }
        }
        repo.git(&["fast-import", "--quiet"], &stream);
        repo
    }

    pub fn repack(&self, depth: u32) {
        let depth = format!("--depth={depth}");
        self.git(&["repack", "-adfq", "--window=20", &depth], b"");
    }

    pub fn pack_file(&self) -> PathBuf {
        let dir = self.path().join(".git/objects/pack");
        let mut packs = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        packs.find(|path| path.extension().is_some_and(|end| end == "pack")).unwrap()
    }

    pub fn pack_objects(&self, flags: &[&str], revs: &str) -> Vec<u8> {
        let mut args = vec!["pack-objects", "--stdout", "-q", "--revs"];
        args.extend(flags);
        self.git(&args, revs.as_bytes())
    }

    /// Every object: id, kind, size.
    pub fn objects(&self) -> Vec<(ObjectId, Kind, u64)> {
        let out = self.git(&["cat-file", "--batch-check", "--batch-all-objects"], b"");
        let mut objects: Vec<_> =
            out.split(|byte| *byte == b'\n').filter_map(|line| self.object(line)).collect();
        objects.sort_unstable();
        objects
    }

    fn object(&self, line: &[u8]) -> Option<(ObjectId, Kind, u64)> {
        let mut words = line.split(|byte| *byte == b' ');
        let id = ObjectId::from_hex(self.algo, words.next()?)?;
        let kind = Kind::from_name(words.next()?)?;
        Some((id, kind, std::str::from_utf8(words.next()?).ok()?.parse().ok()?))
    }

    pub fn rev(&self, name: &str) -> ObjectId {
        let out = self.git(&["rev-parse", name], b"");
        ObjectId::from_hex(self.algo, out.trim_ascii()).unwrap()
    }
}

/// The repository as what is known: every object of it, or of a list of revisions.
pub struct Has(pub HashMap<ObjectId, (Kind, Vec<u8>)>);

impl Has {
    pub fn reachable(repo: &Repo, rev: &str) -> Self {
        let list = repo.git(&["rev-list", "--objects", "--no-object-names", rev], b"");
        let ids = list.split(|byte| *byte == b'\n').filter_map(|hex| ObjectId::from_hex(repo.algo, hex));
        Self(ids.map(|id| (id, read(repo, &id))).collect())
    }
}

pub fn read(repo: &Repo, id: &ObjectId) -> (Kind, Vec<u8>) {
    let kind = repo.git(&["cat-file", "-t", &id.to_string()], b"");
    let kind = Kind::from_name(kind.trim_ascii()).unwrap();
    (kind, repo.git(&["cat-file", kind.name(), &id.to_string()], b""))
}

impl Known for Has {
    fn find(&self, id: &ObjectId) -> Result<Option<(Kind, Vec<u8>)>, SourceError> {
        Ok(self.0.get(id).cloned())
    }

    fn kinds(&self, ids: &[ObjectId]) -> Result<Vec<Option<Kind>>, SourceError> {
        Ok(ids.iter().map(|id| self.0.get(id).map(|(kind, _)| *kind)).collect())
    }
}

pub fn index_with(
    pack: &dyn PackBytes,
    options: &IndexOptions,
    known: &dyn Known,
    check: &dyn Check,
    workers: usize,
) -> Result<IndexedPack, PackError> {
    let resolver = scan(pack, options, &mut |_, _| ())?.resolver(pack, known, check)?;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(|| resolver.work())).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap())
    })?;
    resolver.finish()
}

pub fn index(algo: HashAlgo, pack: &[u8]) -> Result<IndexedPack, PackError> {
    index_with(&pack.to_vec(), &options(algo), &NothingKnown, &LinksOnly, 1)
}

pub fn facts(pack: &IndexedPack) -> Vec<(ObjectId, Kind, u64)> {
    pack.sorted()
        .iter()
        .map(|index| pack.entry(*index))
        .map(|entry| (entry.id, entry.kind, entry.size))
        .collect()
}
