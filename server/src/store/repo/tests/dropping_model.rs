//! Random histories of a repository and its forks with drops in between: what refs name is there, at every moment that is not
//! refused.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::dropping::drop_at;
use super::*;
use cairn_protocol::object::{Kind, hash_object};
use cairn_protocol::source::ObjectSource;

use crate::store::StoreError;
use crate::store::repo::Want;
use crate::store::repo::fsck::fsck;

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

type Refs = BTreeMap<String, ObjectId>;

struct Log {
    chain: Vec<Pin>,
    /// The refs after each entry.
    refs: Vec<Refs>,
}

struct World {
    data: Data,
    dice: Dice,
    /// What each object is, and what it names.
    objects: HashMap<ObjectId, (Kind, Vec<u8>, Vec<ObjectId>)>,
    commits: Vec<ObjectId>,
    logs: Vec<Log>,
    dropped: u64,
    refused: u64,
}

fn text(n: u64) -> Vec<u8> {
    // Some are alike, so that deltas are made of them.
    let lines: String =
        (0..30).map(|line| format!("line {line} of {}\n", if line == 7 { n } else { n % 3 })).collect();
    lines.into_bytes()
}

impl World {
    fn add(&mut self, kind: Kind, bytes: Vec<u8>, names: Vec<ObjectId>) -> ObjectId {
        let id = hash_object(SHA1, kind, &bytes).unwrap();
        self.objects.insert(id, (kind, bytes, names));
        id
    }

    fn repo(&self, log: usize) -> Repo {
        self.data.files.repo(SHA1, &self.logs[log].chain).unwrap()
    }

    fn closure(&self, tips: impl Iterator<Item = ObjectId>) -> BTreeSet<ObjectId> {
        let mut all = BTreeSet::new();
        let mut open: Vec<ObjectId> = tips.collect();
        while let Some(id) = open.pop() {
            if all.insert(id) {
                open.extend(&self.objects[&id].2);
            }
        }
        all
    }

    /// A commit of some files out of few, maybe on top of another; few kinds of them, so that they come again.
    fn commit(&mut self) -> ObjectId {
        let mut blobs = BTreeSet::new();
        for _ in 0..=self.dice.roll(3) {
            let bytes = text(self.dice.roll(12));
            blobs.insert(self.add(Kind::Blob, bytes, Vec::new()));
        }
        let mut tree = Vec::new();
        for (n, blob) in blobs.iter().enumerate() {
            tree.extend(format!("100644 f{n}\0").as_bytes());
            tree.extend(blob.as_bytes());
        }
        let tree = self.add(Kind::Tree, tree, blobs.into_iter().collect());
        let mut bytes = format!("tree {tree}\n");
        let mut names = vec![tree];
        if !self.commits.is_empty() && self.dice.roll(3) == 0 {
            let parent = self.commits[self.dice.roll(self.commits.len() as u64) as usize];
            bytes.push_str(&format!("parent {parent}\n"));
            names.push(parent);
        }
        bytes.push_str("author A <a@b> 7 +0000\ncommitter A <a@b> 7 +0000\n\nm\n");
        let commit = self.add(Kind::Commit, bytes.into_bytes(), names);
        self.commits.push(commit);
        commit
    }

    /// A pack of what the repository lacks for a commit, and sometimes of what it has.
    fn pack(&mut self, repo: &Repo, commit: ObjectId) -> Option<TestPack> {
        let snapshot = repo.snapshot(None).unwrap();
        let mut pack = TestPack::new(SHA1);
        let sends_all = self.dice.roll(3) == 0;
        let mut order: Vec<ObjectId> = self.closure([commit].into_iter()).into_iter().collect();
        order.sort_by_key(|id| self.objects[id].0 != Kind::Blob);
        let known: Vec<ObjectId> = self.objects.keys().copied().collect();
        for id in order {
            if snapshot.lookup(&id).unwrap().is_some() && !sends_all {
                continue;
            }
            let (kind, bytes, names) = self.objects[&id].clone();
            let base = known[self.dice.roll(known.len() as u64) as usize];
            let is_thin = kind == Kind::Blob && base != id && self.objects[&base].0 == Kind::Blob;
            if kind == Kind::Commit {
                assert_eq!(pack.commit_as(names[0], &names[1..], 7, &bytes), id);
            } else if is_thin && snapshot.lookup(&base).unwrap().is_some() {
                pack.thin(base, &self.objects[&base].1, &bytes);
            } else {
                pack.whole(kind, &bytes);
            }
        }
        (!pack.entries.is_empty()).then(|| pack.finish())
    }

    fn push(&mut self, log: usize) {
        let repo = self.repo(log);
        let count = self.commits.len() as u64;
        let is_old = count > 0 && self.dice.roll(3) == 0;
        let commit = if is_old { self.commits[self.dice.roll(count) as usize] } else { self.commit() };
        let name = format!("refs/heads/b{}", self.dice.roll(3));
        let mut refs = self.logs[log].refs.last().unwrap().clone();
        let update = match refs.get(&name) {
            Some(_) if self.dice.roll(4) == 0 => delete(&name),
            Some(now) if *now == commit => return,
            Some(now) => moved(&name, *now, commit),
            None => create(&name, commit),
        };
        let pack = if update.new.is_some() { self.pack(&repo, commit) } else { None };
        match update.new {
            Some(new) => refs.insert(name, new),
            None => refs.remove(&name),
        };
        ok(&push(&repo, pack.as_ref(), vec![update]));
        self.logs[log].refs.push(refs);
    }

    fn fork(&mut self) {
        let of = self.dice.roll(self.logs.len() as u64) as usize;
        if self.logs.len() > 4 {
            return;
        }
        let seq = self.dice.roll(self.logs[of].refs.len() as u64);
        // What is refused now cannot be forked.
        if self.repo(of).snapshot(Some(seq)).is_err() {
            self.refused += 1;
            return;
        }
        let mut chain = self.logs[of].chain.clone();
        chain[0].seq = Some(seq);
        chain.retain(|pin| pin.seq != Some(0));
        chain.insert(0, own(self.logs.len() as u8 + 1));
        let refs = vec![self.logs[of].refs[seq as usize].clone()];
        self.logs.push(Log { chain, refs });
    }

    fn drop(&mut self, log: usize) {
        let repo = self.repo(log);
        let head = self.logs[log].refs.len() as u64 - 1;
        let floor = repo.floor().unwrap().max(head - self.dice.roll(head.min(5) + 1));
        let pins = self.logs.iter().flat_map(|other| other.chain.iter().skip(1));
        let pinned = pins.filter(|pin| pin.id == repo.id()).filter_map(|pin| pin.seq).max().unwrap_or(0);
        if floor > 0 {
            self.dropped += drop_at(&repo, floor, pinned).expect("nobody reads").objects;
        }
    }

    fn check(&mut self) {
        for log in 0..self.logs.len() {
            let repo = self.repo(log);
            let head = self.logs[log].refs.len() as u64 - 1;
            for seq in 0..=head {
                let snapshot = match repo.snapshot(Some(seq)) {
                    Ok(snapshot) => snapshot,
                    Err(StoreError::Dropped { seq: seen, floor }) if seen == seq && seq < floor => {
                        self.refused += 1;
                        continue;
                    }
                    Err(error) => panic!("log {log} at {seq}: {error}"),
                };
                let refs = &self.logs[log].refs[seq as usize];
                let mut shown = Refs::new();
                snapshot
                    .refs(b"", &mut |row| {
                        shown.insert(String::from_utf8(row.name).unwrap(), row.id);
                        true
                    })
                    .unwrap();
                assert_eq!(&shown, refs, "log {log} at {seq}");
                for id in self.closure(refs.values().copied()) {
                    let at = snapshot.lookup(&id).unwrap();
                    let at = at.unwrap_or_else(|| panic!("log {log} at {seq} lost {id}"));
                    assert_eq!(snapshot.record(at).unwrap().id, id);
                    let (kind, bytes, names) = &self.objects[&id];
                    assert_eq!(&snapshot.read(at).unwrap(), &(*kind, bytes.clone()));
                    if *kind == Kind::Commit {
                        let tree = snapshot.commit(at).unwrap().tree;
                        assert_eq!(snapshot.record(tree).unwrap().id, names[0]);
                    }
                }
            }
            assert_eq!(
                fsck(&self.data.files, SHA1, &self.logs[log].chain),
                Vec::<String>::new(),
                "log {log}"
            );
        }
    }
}

fn history(seed: u64, steps: u64) -> World {
    let log = Log { chain: vec![own(1)], refs: vec![Refs::new()] };
    let mut world = World {
        data: data(),
        dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        objects: HashMap::new(),
        commits: Vec::new(),
        logs: vec![log],
        dropped: 0,
        refused: 0,
    };
    for _ in 0..steps {
        let log = world.dice.roll(world.logs.len() as u64) as usize;
        match world.dice.roll(16) {
            0..=9 => world.push(log),
            10 => world.fork(),
            11 | 12 => world.drop(log),
            13 => drop(world.repo(log).roll(2).unwrap()),
            14 => while world.repo(log).roll_step(Want::Dropped(u64::MAX)).unwrap().is_some() {},
            _ => {
                // As after a restart.
                let folder = world.data.folder.path().to_owned();
                world.data.files = Files::open(&folder, 8);
            }
        }
    }
    world.check();
    world
}

#[test]
fn after_any_history_everything_that_a_ref_names_is_there() {
    let (mut dropped, mut refused) = (0, 0);
    for seed in 1..=24 {
        let world = history(seed, 60);
        (dropped, refused) = (dropped + world.dropped, refused + world.refused);
    }
    assert!(dropped > 200 && refused > 40, "{dropped} objects dropped, {refused} moments refused");
}
