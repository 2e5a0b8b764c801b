//! What commits and tags of a pack say, kept raw: some 60 bytes a commit.

use std::ops::Range;

use crate::object::{self, HashAlgo, Kind, ObjectId};
use crate::pack::table::to_id;

/// Links and time of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitLinks<'a> {
    /// Which entry it is.
    pub index: u32,
    /// Its root tree.
    pub tree: ObjectId,
    /// Committer time in seconds; 0 where it cannot be read.
    pub time: i64,
    parents: &'a [u8],
}

impl CommitLinks<'_> {
    /// Its parents in order.
    pub fn parents(&self) -> impl ExactSizeIterator<Item = ObjectId> + '_ {
        let algo = self.tree.algo();
        self.parents.chunks_exact(algo.bytes()).map(move |raw| to_id(algo, raw))
    }
}

/// What a tag points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagLink {
    /// Which entry it is.
    pub index: u32,
    /// What it points to.
    pub target: ObjectId,
    /// The kind of that.
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug)]
struct Fact {
    index: u32,
    /// Where its tree and parents start in the arena.
    at: u32,
    time: i64,
}

/// The commits of a pack, in pack order.
#[derive(Debug)]
pub struct Commits {
    algo: HashAlgo,
    facts: Vec<Fact>,
    /// Per commit its tree, then its parents: raw ids, counted in ids.
    arena: Vec<u8>,
    /// Of each fact, in ids, where the arena ends; parallel to `facts`.
    ends: Vec<u32>,
}

impl Commits {
    pub(crate) fn new(algo: HashAlgo) -> Self {
        Self { algo, facts: Vec::new(), arena: Vec::new(), ends: Vec::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// The `nth` commit.
    pub fn get(&self, nth: usize) -> Option<CommitLinks<'_>> {
        let (fact, end) = (self.facts.get(nth)?, *self.ends.get(nth)?);
        let (tree, parents) = self.ids(fact.at..end)?.split_at_checked(self.algo.bytes())?;
        Some(CommitLinks { index: fact.index, tree: to_id(self.algo, tree), time: fact.time, parents })
    }

    /// The commit that is entry `index` of the pack.
    pub fn find(&self, index: u32) -> Option<CommitLinks<'_>> {
        self.get(self.facts.binary_search_by_key(&index, |fact| fact.index).ok()?)
    }

    /// All of them, in pack order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = CommitLinks<'_>> {
        (0..self.len()).map(|nth| self.get(nth).expect("each fact has its part of the arena"))
    }

    fn ids(&self, range: Range<u32>) -> Option<&[u8]> {
        self.arena.get(range.start as usize * self.algo.bytes()..range.end as usize * self.algo.bytes())
    }

    fn arena_len(&self) -> u32 {
        (self.arena.len() / self.algo.bytes()) as u32
    }

    pub(crate) fn push(&mut self, index: u32, links: &object::CommitLinks) {
        self.facts.push(Fact { index, at: self.arena_len(), time: links.time });
        self.arena.extend_from_slice(links.tree.as_bytes());
        links.parents.iter().for_each(|parent| self.arena.extend_from_slice(parent.as_bytes()));
        self.ends.push(self.arena_len());
    }

    /// Moves all of `other` here.
    pub(crate) fn append(&mut self, other: &mut Self) {
        let shift = self.arena_len();
        self.facts.extend(other.facts.drain(..).map(|fact| Fact { at: fact.at + shift, ..fact }));
        self.ends.extend(other.ends.drain(..).map(|end| end + shift));
        self.arena.append(&mut other.arena);
    }

    /// Puts them into pack order, whatever order workers found them in.
    pub(crate) fn sort(&mut self) {
        let mut both: Vec<(Fact, u32)> = self.facts.drain(..).zip(self.ends.drain(..)).collect();
        both.sort_unstable_by_key(|(fact, _)| fact.index);
        (self.facts, self.ends) = both.into_iter().unzip();
        self.arena.shrink_to_fit();
    }
}

impl<'a> IntoIterator for &'a Commits {
    type Item = CommitLinks<'a>;
    type IntoIter = Box<dyn Iterator<Item = CommitLinks<'a>> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}
