//! Which objects a commit's tree brings that its parents' trees do not have.

use std::collections::HashMap;
use std::rc::Rc;

use super::{ObjSet, Reader, TREE_DEPTH_MAX, WalkError};
use crate::object::{Kind, ObjectId, TreeEntry, TreeIter};
use crate::source::{CommitNode, ObjRef};

/// A tree that the walk compares with, and whether the other side has it already.
#[derive(Clone)]
pub struct Other {
    /// The tree.
    pub tree: ObjRef,
    /// Whether the fetching side has it.
    pub had: bool,
}

/// Grows a set of objects to send, tree by tree.
pub struct TreeWalk<'r, 'a> {
    reader: &'r mut Reader<'a>,
    /// What is to be sent, the objects that are reached so far.
    pub set: ObjSet,
    /// Objects seen on the side that the client has: bases for thin deltas.
    pub had: ObjSet,
    /// Which object was met in the place of which.
    pub versions: Versions,
}

/// An entry that a tree brings, and what is in its place elsewhere: where that is, its kind, whether the client has it.
struct Changed {
    at: ObjRef,
    kind: Kind,
    olds: Vec<(ObjRef, Kind, bool)>,
}

/// For objects to send, what stood under the same path before: a good base for a delta. Collects nothing unless it is told
/// to, and at most [`VERSIONS_MAX`].
#[derive(Debug, Default)]
pub struct Versions {
    collects: bool,
    before: HashMap<ObjRef, ObjRef>,
}

impl Versions {
    /// One that collects.
    pub fn collecting() -> Self {
        Self { collects: true, before: HashMap::new() }
    }

    fn note(&mut self, new: ObjRef, old: ObjRef) {
        if self.collects && self.before.len() < VERSIONS_MAX {
            self.before.entry(new).or_insert(old);
        }
    }

    /// The nearest earlier version that is not in `set`, what is sent. The client has it: versions come from trees of commits
    /// that it has or gets, and all that these reach is sent or had.
    pub fn before(&self, new: ObjRef, set: &ObjSet) -> Option<ObjRef> {
        let mut at = new;
        // A file may go back to what it was: the steps are counted, so that a circle ends.
        for _ in 0..VERSION_STEPS_MAX {
            at = *self.before.get(&at)?;
            if !set.contains(at) {
                return Some(at);
            }
        }
        None
    }
}

impl<'r, 'a> TreeWalk<'r, 'a> {
    /// Starts with `set` as what is already reached: nothing in it is entered again.
    pub fn new(reader: &'r mut Reader<'a>, set: ObjSet) -> Self {
        Self { reader, set, had: ObjSet::new(), versions: Versions::default() }
    }

    /// Adds `tree` and everything below it, except what one of `others` has under the same path.
    pub fn add(&mut self, tree: ObjRef, others: &[Other]) -> Result<(), WalkError> {
        self.descend(tree, others, 0)
    }

    /// Adds one blob or tag.
    pub fn add_leaf(&mut self, at: ObjRef) {
        self.set.insert(at);
    }

    /// A commit's links.
    pub fn commit(&self, at: ObjRef) -> Result<CommitNode, WalkError> {
        Ok(self.reader.source.commit(at)?)
    }

    fn descend(&mut self, tree: ObjRef, others: &[Other], depth: usize) -> Result<(), WalkError> {
        if depth > TREE_DEPTH_MAX {
            return Err(WalkError::TooDeep);
        }
        if let Some(same) = others.iter().find(|other| other.tree == tree) {
            if same.had {
                self.had.insert(tree);
            }
            return Ok(());
        }
        if self.had.contains(tree) || !self.set.insert(tree) {
            return Ok(());
        }
        if let (0, Some(other)) = (depth, others.first()) {
            self.versions.note(tree, other.tree);
        }
        let data = self.tree(tree)?;
        let mut olds = Vec::new();
        for other in others.iter().take(OTHERS_PAIRED_MAX) {
            if other.had {
                self.had.insert(other.tree);
            }
            olds.push((self.tree(other.tree)?, other.had));
        }
        let changed = self.changed(tree, &data, &olds)?;
        drop((olds, data));
        let mut below = Vec::new();
        for Changed { at, kind, olds } in changed {
            let mut next = Vec::new();
            for (old, old_kind, had) in olds {
                if had {
                    self.had.insert(old);
                }
                if old_kind == kind {
                    self.versions.note(at, old);
                    next.extend((kind == Kind::Tree).then_some(Other { tree: old, had }));
                }
            }
            if kind == Kind::Tree {
                below.push((at, next));
            } else if !self.had.contains(at) {
                self.set.insert(at);
            }
        }
        below.into_iter().try_for_each(|(at, next)| self.descend(at, &next, depth + 1))
    }

    /// The entries of a tree that none of `olds` has under the same name.
    fn changed(
        &self,
        tree: ObjRef,
        data: &[u8],
        olds: &[(Rc<Vec<u8>>, bool)],
    ) -> Result<Vec<Changed>, WalkError> {
        let algo = self.reader.algo();
        let mut olds: Vec<_> =
            olds.iter().map(|(data, had)| (TreeIter::new(algo, data).peekable(), *had)).collect();
        // Names of objects first, their places for all of them at once.
        let (mut found, mut ids) = (Vec::new(), Vec::new());
        for entry in TreeIter::new(algo, data) {
            let entry = entry.map_err(|e| self.corrupt(tree, e))?;
            // Trees are sorted, so that one pass over each side pairs what has the same name.
            let mut pairs = [None; OTHERS_PAIRED_MAX];
            let mut same = false;
            for ((old, had), pair) in olds.iter_mut().zip(&mut pairs) {
                while let Some(Ok(_)) = old.next_if(|old| matches!(old, Ok(o) if sorts_before(o, &entry))) {}
                if let Some(Ok(old)) = old.peek().filter(|old| matches!(old, Ok(o) if o.name == entry.name)) {
                    same |= old.id == entry.id;
                    *pair = old.link_kind().map(|kind| (kind, old.id, *had));
                }
            }
            let Some(kind) = entry.link_kind().filter(|_| !same) else { continue };
            let pairs: Vec<_> = pairs.into_iter().flatten().collect();
            let whole = |id| ObjectId::from_bytes(algo, id).expect("ids in parsed objects are whole");
            ids.push(whole(entry.id));
            ids.extend(pairs.iter().map(|(_, id, _)| whole(id)));
            found.push((kind, pairs));
        }
        let mut places = self.reader.source.lookup_many(&ids)?.into_iter().zip(&ids);
        let mut place = || match places.next() {
            Some((Some(at), _)) => Ok(at),
            Some((None, id)) => Err(WalkError::Missing(*id)),
            None => Err(self.corrupt(tree, "the store answered fewer places than were asked for")),
        };
        let mut changed = Vec::with_capacity(found.len());
        for (kind, pairs) in found {
            let at = place()?;
            let olds = pairs.into_iter().map(|(kind, _, had)| Ok((place()?, kind, had)));
            changed.push(Changed { at, kind, olds: olds.collect::<Result<_, WalkError>>()? });
        }
        Ok(changed)
    }

    fn tree(&mut self, at: ObjRef) -> Result<Rc<Vec<u8>>, WalkError> {
        let (kind, data) = self.reader.read(at)?;
        if kind != Kind::Tree {
            return Err(self.corrupt(at, "a tree entry names another kind of object"));
        }
        Ok(data)
    }

    fn corrupt(&self, at: ObjRef, why: impl ToString) -> WalkError {
        match self.reader.source.record(at) {
            Ok(record) => WalkError::Corrupt { id: record.id, why: why.to_string() },
            Err(error) => error.into(),
        }
    }

    /// Everything below `tree` that is at most `levels` deep, the tree itself at 1: what `tree:<levels>` keeps.
    /// `best` remembers with how many levels each tree was entered, so that a deeper visit is not lost.
    pub fn add_shallow(
        &mut self,
        tree: ObjRef,
        levels: u64,
        best: &mut HashMap<ObjRef, u64>,
    ) -> Result<(), WalkError> {
        let mut stack = vec![(tree, levels)];
        while let Some((at, levels)) = stack.pop() {
            if levels == 0 || best.get(&at).is_some_and(|entered| *entered >= levels) {
                continue;
            }
            best.insert(at, levels);
            self.set.insert(at);
            if levels == 1 {
                continue;
            }
            let data = self.tree(at)?;
            for entry in TreeIter::new(self.reader.algo(), &data) {
                let entry = entry.map_err(|e| self.corrupt(at, e))?;
                let Some(kind) = entry.link_kind() else { continue };
                let child = self.reader.find(entry.id)?;
                match kind {
                    Kind::Tree => stack.push((child, levels - 1)),
                    _ => {
                        self.set.insert(child);
                    }
                }
            }
        }
        Ok(())
    }
}

/// How many of a commit's parents its tree is compared with; further parents of an octopus only save a few bytes.
const OTHERS_PAIRED_MAX: usize = 4;
/// Versions that one walk remembers; each takes some 32 bytes.
const VERSIONS_MAX: usize = 1 << 17;
/// Versions of one path that are gone through to find one that the client has.
const VERSION_STEPS_MAX: usize = 1_024;
const TREE: u32 = 0o040000;

/// git's order of tree entries: by bytes, where a tree's name counts as ending in `/`.
fn sorts_before(a: &TreeEntry<'_>, b: &TreeEntry<'_>) -> bool {
    let common = a.name.len().min(b.name.len());
    let tail = |entry: &TreeEntry<'_>| {
        let slash = if entry.mode == TREE { b'/' } else { 0 };
        entry.name.get(common).copied().unwrap_or(slash)
    };
    (a.name.get(..common), tail(a)) < (b.name.get(..common), tail(b))
}
