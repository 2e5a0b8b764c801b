//! What an object that is rolled may become a delta against: the last objects of its kind, and the last version of the file or
//! folder that it is a version of.
//!
//! A push of a commit brings one file of many, so that the version before it is many packs away, and rarely among the last
//! few objects. Names are paths from the roots of commits, each as a number: two paths with one number cost bytes, nothing
//! else.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use cairn_protocol::object::{Kind, ObjectId, TreeIter};
use cairn_protocol::pack::delta::make;
use cairn_protocol::source::{ObjRef, Record};
use cairn_protocol::walk::Reader;

use super::limits::{ROLL_DELTA_BYTES, ROLL_DELTA_DEPTH_MAX, ROLL_NAMED_BYTES_MAX, ROLL_WINDOW_OBJECTS};
use super::roll::walk_error;
use super::snapshot::Snapshot;
use crate::store::StoreError;

/// An object that later ones may become deltas against.
pub(crate) struct Candidate {
    pub(crate) kind: Kind,
    pub(crate) index: u32,
    pub(crate) data: Rc<Vec<u8>>,
    pub(crate) depth: u32,
}

/// A delta, the place of its base, and the links below it.
pub(crate) type Found = (Vec<u8>, u32, u32);

/// Bounded in memory: by the number of the last objects, and by the bytes of named ones.
#[derive(Default)]
pub(crate) struct Window {
    last: VecDeque<Rc<Candidate>>,
    named: HashMap<u64, Rc<Candidate>>,
    named_bytes: usize,
}

impl Window {
    pub(crate) fn add(&mut self, name: Option<u64>, candidate: Candidate) {
        let candidate = Rc::new(candidate);
        if let Some(name) = name {
            if self.named_bytes + candidate.data.len() > ROLL_NAMED_BYTES_MAX {
                (self.named, self.named_bytes) = Default::default();
            }
            self.named_bytes += candidate.data.len();
            if let Some(before) = self.named.insert(name, Rc::clone(&candidate)) {
                self.named_bytes -= before.data.len();
            }
        }
        let kind = candidate.kind;
        if self.last.iter().filter(|old| old.kind == kind).count() >= ROLL_WINDOW_OBJECTS
            && let Some(oldest) = self.last.iter().position(|old| old.kind == kind)
        {
            self.last.remove(oldest);
        }
        self.last.push_back(candidate);
    }

    /// Whether there is anything of this kind.
    pub(crate) fn knows(&self, kind: Kind) -> bool {
        self.last.iter().any(|old| old.kind == kind)
    }

    /// The smallest delta that makes `target`, where one is less than half of it. What has its name is not searched further for.
    pub(crate) fn delta(&self, kind: Kind, name: Option<u64>, target: &[u8]) -> Option<Found> {
        let fits = |old: &&Rc<Candidate>| old.kind == kind && old.depth < ROLL_DELTA_DEPTH_MAX;
        let (mut best, mut limit) = (None, target.len() / 2);
        let same_name = name.and_then(|name| self.named.get(&name)).filter(fits);
        if let Some(old) = same_name
            && let Some(delta) = make(&old.data, target, limit)
        {
            return Some((delta, old.index, old.depth + 1));
        }
        for old in self.last.iter().rev().filter(fits) {
            if let Some(delta) = make(&old.data, target, limit) {
                limit = delta.len().saturating_sub(1);
                best = Some((delta, old.index, old.depth + 1));
            }
        }
        best
    }
}

/// The paths, as numbers, of those of some objects of the own log that the commits among them show, by ordinal. Of an object
/// with several paths any one.
pub(crate) fn names(
    snapshot: &Snapshot,
    reader: &mut Reader<'_>,
    objects: &BTreeMap<u32, Record>,
) -> Result<HashMap<u32, u64>, StoreError> {
    let ordinals: HashMap<ObjectId, u32> =
        objects.iter().map(|(ordinal, record)| (record.id, *ordinal)).collect();
    let (mut names, mut open) = (HashMap::new(), Vec::new());
    for (ordinal, _) in objects.iter().filter(|(_, record)| record.kind == Kind::Commit) {
        let tree = snapshot.commit_node(ObjRef { source: 0, ordinal: *ordinal })?.tree;
        if tree.source == 0 && objects.contains_key(&tree.ordinal) && names.insert(tree.ordinal, 0).is_none()
        {
            open.push(tree.ordinal);
        }
    }
    while let Some(ordinal) = open.pop() {
        let name = names.get(&ordinal).copied().unwrap_or_default();
        if objects.get(&ordinal).is_none_or(|record| record.size > *ROLL_DELTA_BYTES.end()) {
            continue;
        }
        let data = reader.read(ObjRef { source: 0, ordinal }).map_err(walk_error)?.1;
        // A tree that does not parse names nothing more.
        for entry in TreeIter::new(reader.algo(), &data).map_while(Result::ok) {
            let found = ObjectId::from_bytes(reader.algo(), entry.id).and_then(|id| ordinals.get(&id));
            let Some(child) = found.filter(|child| !names.contains_key(child)) else { continue };
            let mut hasher = DefaultHasher::new();
            (name, entry.name).hash(&mut hasher);
            names.insert(*child, hasher.finish());
            if entry.is_tree() {
                open.push(*child);
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(index: u32, data: &[u8], depth: u32) -> Candidate {
        Candidate { kind: Kind::Blob, index, data: Rc::new(data.to_vec()), depth }
    }

    /// Bytes that share nothing with those of another seed.
    fn content(mut state: u64, count: usize) -> Vec<u8> {
        let byte = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..count).map(byte).collect()
    }

    #[test]
    fn the_version_before_is_found_however_many_others_came_since() {
        let mut window = Window::default();
        let old = content(7, 1_000);
        window.add(Some(1), candidate(0, &old, 3));
        for n in 1..40 {
            window.add(Some(100 + u64::from(n)), candidate(n, &content(1_000 + u64::from(n), 1_000), 0));
        }
        let new = [old.as_slice(), b"one line more"].concat();
        assert!(window.delta(Kind::Blob, None, &new).is_none(), "not among the last");
        let (_, base, depth) = window.delta(Kind::Blob, Some(1), &new).unwrap();
        assert_eq!((base, depth), (0, 4));
        assert!(window.delta(Kind::Tree, Some(1), &new).is_none(), "of another kind");
    }

    #[test]
    fn a_version_at_the_end_of_a_long_chain_is_no_base() {
        let mut window = Window::default();
        let old = content(7, 1_000);
        window.add(Some(1), candidate(0, &old, ROLL_DELTA_DEPTH_MAX));
        assert!(window.delta(Kind::Blob, Some(1), &old).is_none());
        window.add(None, candidate(1, &old, ROLL_DELTA_DEPTH_MAX - 1));
        assert_eq!(window.delta(Kind::Blob, Some(1), &old).unwrap().1, 1);
    }

    #[test]
    fn named_versions_are_bounded_by_their_bytes() {
        let mut window = Window::default();
        let large = content(3, *ROLL_DELTA_BYTES.end() as usize);
        let count = 2 * ROLL_NAMED_BYTES_MAX / large.len();
        for n in 0..count as u32 {
            window.add(Some(u64::from(n)), candidate(n, &large, 0));
            let held: usize = window.named.values().map(|old| old.data.len()).sum();
            assert_eq!(held, window.named_bytes);
            assert!(held <= ROLL_NAMED_BYTES_MAX);
        }
        // The same name again and again takes the room of one.
        let mut window = Window::default();
        (0..count as u32).for_each(|n| window.add(Some(1), candidate(n, &large, 0)));
        assert_eq!(window.named_bytes, large.len());
    }
}
