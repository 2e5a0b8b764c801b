//! Commits in the order in which `git log` shows them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use cairn_protocol::object::{Kind, ObjectId, TreeIter, commit_links};
use cairn_protocol::source::{CommitNode, ObjRef, ObjectSource};
use cairn_protocol::walk::{ObjSet, Reader};

use super::{Halt, Reading};
use crate::limits::{LOG_PAGE_BYTES, LOG_WALKED_COMMITS_MAX};
use crate::ops::OpError;
use crate::ops::commit_text::{self, CommitText, Signature};

/// Which commits.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Commits to walk by before any is looked at: how far an earlier page came.
    pub walked: u64,
    /// Of those that fit, how many to leave out.
    pub skip: u64,
    /// How many at most.
    pub take: u64,
    /// All that the tip reaches, latest commit date first; else only first parents.
    pub all: bool,
    /// Only those that change what is at this path, compared with the first parent.
    pub path: Option<Vec<u8>>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Page {
    /// The commits, newest first.
    pub commits: Vec<CommitText>,
    /// Where to go on, if there is more to look at.
    pub next: Option<Next>,
}

/// A place in a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// The tip of the walk that goes on.
    pub tip: ObjectId,
    /// How many commits of that walk have been looked at.
    pub walked: u64,
}

/// The commits that `tip`, which is visible, reaches. A page may be shorter than asked for where much history was
/// looked at or the commits are large; `next` then says where to go on.
pub fn log(reading: &Reading, tip: ObjectId, query: &Query) -> Result<Page, Halt> {
    let snapshot = &reading.view.snapshot;
    let mut page = Page::default();
    let Some(at) = snapshot.lookup(&tip)? else { return Ok(page) };
    let mut walk = Walk::new(snapshot, at, query.all)?;
    let mut reader = reading.reader();
    let mut filter = query.path.as_deref().map(|path| PathFilter::new(reading, path));
    let (mut skip, mut bytes, mut looked) = (query.skip, 0, 0_u64);
    for _ in 0..query.walked {
        if walk.step()?.is_none() {
            return Ok(page);
        }
    }
    loop {
        let full = page.commits.len() as u64 >= query.take || bytes >= LOG_PAGE_BYTES;
        // Without a path each commit counts, so that only those that are shown cost more than a step.
        if full || (filter.is_some() && looked >= LOG_WALKED_COMMITS_MAX) {
            page.next = walk.next_place(reading, tip, query.walked + looked)?;
            return Ok(page);
        }
        let Some((at, node)) = walk.step()? else { return Ok(page) };
        looked += 1;
        let fits = match &mut filter {
            Some(filter) => filter.is_changed(&node)?,
            None => true,
        };
        if !fits {
            continue;
        }
        if skip > 0 {
            skip -= 1;
            continue;
        }
        let data = reader.read(at)?.1;
        bytes += data.len();
        page.commits.push(text(reading, snapshot.record(at)?.id, &data)?);
    }
}

/// A commit, taken apart. One that only tolerant readers can read has no people and dates.
pub fn text(reading: &Reading, id: ObjectId, data: &[u8]) -> Result<CommitText, OpError> {
    let algo = reading.view.served.algo;
    if let Some(text) = commit_text::parse(algo, id, data) {
        return Ok(text);
    }
    let corrupt = |error: cairn_protocol::object::ParseError| cairn_protocol::walk::WalkError::Corrupt {
        id,
        why: error.to_string(),
    };
    let links = commit_links(algo, data).map_err(corrupt)?;
    let message_at = data.windows(2).position(|pair| pair == b"\n\n").map_or(data.len(), |at| at + 2);
    let nobody =
        Signature { name: String::new(), email: String::new(), seconds: links.time, offset_seconds: 0 };
    Ok(CommitText {
        id,
        tree: links.tree,
        parents: links.parents,
        author: nobody.clone(),
        committer: nobody,
        message: String::from_utf8_lossy(data.get(message_at..).unwrap_or_default()).into_owned(),
    })
}

enum Walk<'a> {
    FirstParent(&'a dyn ObjectSource, Option<ObjRef>),
    /// By date, then in the order in which they were found, as git's own queue.
    All {
        source: &'a dyn ObjectSource,
        queue: BinaryHeap<(i64, Reverse<u64>, ObjRef)>,
        seen: ObjSet,
        count: u64,
    },
}

impl<'a> Walk<'a> {
    fn new(source: &'a dyn ObjectSource, tip: ObjRef, all: bool) -> Result<Self, Halt> {
        if !all {
            return Ok(Self::FirstParent(source, Some(tip)));
        }
        let mut seen = ObjSet::new();
        seen.insert(tip);
        let queue = BinaryHeap::from([(source.commit(tip)?.time, Reverse(0), tip)]);
        Ok(Self::All { source, queue, seen, count: 0 })
    }

    fn step(&mut self) -> Result<Option<(ObjRef, CommitNode)>, Halt> {
        match self {
            Self::FirstParent(source, next) => {
                let Some(at) = *next else { return Ok(None) };
                let node = source.commit(at)?;
                *next = node.parents.first().copied();
                Ok(Some((at, node)))
            }
            Self::All { source, queue, seen, count } => {
                let Some((_, _, at)) = queue.pop() else { return Ok(None) };
                let node = source.commit(at)?;
                for parent in &node.parents {
                    if seen.insert(*parent) {
                        *count += 1;
                        queue.push((source.commit(*parent)?.time, Reverse(*count), *parent));
                    }
                }
                Ok(Some((at, node)))
            }
        }
    }

    fn next_place(&self, reading: &Reading, tip: ObjectId, walked: u64) -> Result<Option<Next>, Halt> {
        Ok(match self {
            Self::FirstParent(_, None) => None,
            Self::FirstParent(_, Some(at)) => {
                Some(Next { tip: reading.view.snapshot.record(*at)?.id, walked: 0 })
            }
            Self::All { queue, .. } => (!queue.is_empty()).then_some(Next { tip, walked }),
        })
    }
}

/// What is at a path: a mode and an id.
type Content = Option<(u32, ObjectId)>;

/// Tells commits that change what is at a path.
struct PathFilter<'a> {
    reading: &'a Reading,
    reader: Reader<'a>,
    parts: Vec<Vec<u8>>,
    /// What is at the path below a root tree.
    roots: HashMap<ObjRef, Content>,
    /// What is at the rest of the path below a folder on the way.
    folders: HashMap<(ObjectId, usize), Content>,
}

impl<'a> PathFilter<'a> {
    fn new(reading: &'a Reading, path: &[u8]) -> Self {
        let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).map(<[u8]>::to_vec);
        let (roots, folders) = (HashMap::new(), HashMap::new());
        Self { reading, reader: reading.reader(), parts: parts.collect(), roots, folders }
    }

    fn is_changed(&mut self, node: &CommitNode) -> Result<bool, Halt> {
        let Some(parent) = node.parents.first() else {
            return Ok(self.parts.is_empty() || self.in_root(node.tree)?.is_some());
        };
        let before = self.reading.view.snapshot.commit(*parent)?.tree;
        if before == node.tree {
            return Ok(false);
        }
        Ok(self.parts.is_empty() || self.in_root(node.tree)? != self.in_root(before)?)
    }

    fn in_root(&mut self, root: ObjRef) -> Result<Content, Halt> {
        if let Some(known) = self.roots.get(&root) {
            return Ok(*known);
        }
        let content = self.below(root, 0)?;
        self.roots.insert(root, content);
        Ok(content)
    }

    /// What is at the parts from `depth` on below a tree.
    fn below(&mut self, tree: ObjRef, depth: usize) -> Result<Content, Halt> {
        let (mut tree, mut depth, mut passed) = (tree, depth, Vec::new());
        let algo = self.reading.view.served.algo;
        let content = loop {
            let (kind, data) = self.reader.read(tree)?;
            let Some(part) = self.parts.get(depth).filter(|_| kind == Kind::Tree) else { break None };
            let mut entries = TreeIter::new(algo, &data).filter_map(Result::ok);
            let Some(entry) = entries.find(|entry| entry.name == part) else { break None };
            let Some(id) = ObjectId::from_bytes(algo, entry.id) else { break None };
            depth += 1;
            if depth == self.parts.len() {
                break Some((entry.mode, id));
            }
            if !entry.is_tree() {
                break None;
            }
            if let Some(known) = self.folders.get(&(id, depth)) {
                break *known;
            }
            passed.push((id, depth));
            tree = self.reader.find(id.as_bytes())?;
        };
        self.folders.extend(passed.into_iter().map(|folder| (folder, content)));
        Ok(content)
    }
}
