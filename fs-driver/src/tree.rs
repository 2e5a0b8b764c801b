//! Base trees: git tree objects, decoded one directory at a time and kept in a bounded cache.
//!
//! Entries that git refuses to check out (`.git` in any spelling, `.`, `..`, names with `/`, duplicates) are hidden.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use cairn_protocol::object::fsck::{MsgId, TreeVisitor, visit_tree};
use cairn_protocol::object::{HashAlgo, ObjectId, TreeIter};

use crate::limits::{NAME_BYTES_MAX, TREE_CACHE_BYTES_MAX};
use crate::port::Objects;

/// What an entry of a tree is to a working tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A file with execute permission.
    Exec,
    /// A symbolic link; the blob is its target.
    Link,
    /// A directory.
    Dir,
    /// A submodule: an empty directory.
    Gitlink,
}

impl EntryKind {
    fn from_mode(mode: u32) -> Self {
        match mode & 0o170_000 {
            0o040_000 => Self::Dir,
            0o120_000 => Self::Link,
            0o100_000 if mode & 0o100 != 0 => Self::Exec,
            0o100_000 => Self::File,
            _ => Self::Gitlink,
        }
    }

    /// The mode as git writes it.
    pub fn git_mode(self) -> u32 {
        match self {
            Self::File => 0o100_644,
            Self::Exec => 0o100_755,
            Self::Link => 0o120_000,
            Self::Dir => 0o040_000,
            Self::Gitlink => 0o160_000,
        }
    }

    /// Whether it shows as a directory.
    pub fn is_dir(self) -> bool {
        matches!(self, Self::Dir | Self::Gitlink)
    }
}

/// One entry: its name, kind and object.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The name: not empty, no `/`, no NUL.
    pub name: &'a [u8],
    /// What it is.
    pub kind: EntryKind,
    /// The blob, tree or commit.
    pub id: ObjectId,
}

struct Place {
    name_at: u32,
    name_len: u16,
    kind: EntryKind,
}

/// A decoded tree: the raw object and where its entries stand, in git's order.
pub struct Tree {
    algo: HashAlgo,
    raw: Box<[u8]>,
    places: Box<[Place]>,
    folders: u32,
}

impl Tree {
    /// Decodes a tree object. Calls `hidden` with each name that must not show.
    pub fn decode(algo: HashAlgo, raw: Vec<u8>, hidden: &mut dyn FnMut(&[u8])) -> io::Result<Self> {
        let bad = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
        if u32::try_from(raw.len()).is_err() {
            return Err(bad(format!("a tree of {} bytes: too large", raw.len())));
        }
        let doubts = Doubts::of(algo, &raw);
        let mut places = Vec::new();
        let mut rest = 0_usize;
        for entry in TreeIter::new(algo, &raw) {
            let entry = entry.map_err(|error| bad(error.to_string()))?;
            // An entry is `mode SP name NUL id`; the next begins behind the id.
            let mode_len = raw[rest..].iter().position(|byte| *byte == b' ').unwrap_or(0);
            let name_at = rest + mode_len + 1;
            rest = name_at + entry.name.len() + 1 + entry.id.len();
            if entry.name.len() > NAME_BYTES_MAX || doubts.names && is_refused(algo, entry.name) {
                hidden(entry.name);
                continue;
            }
            let kind = EntryKind::from_mode(entry.mode);
            places.push(Place { name_at: name_at as u32, name_len: entry.name.len() as u16, kind });
        }
        let mut tree = Self { algo, raw: raw.into(), places: places.into(), folders: 0 };
        if doubts.order {
            tree.put_in_order(hidden);
        }
        tree.folders = tree.places.iter().filter(|place| place.kind.is_dir()).count() as u32;
        Ok(tree)
    }

    /// Sorts the entries and hides all but the first of equal names.
    fn put_in_order(&mut self, hidden: &mut dyn FnMut(&[u8])) {
        let (raw, mut places) = (&self.raw, std::mem::take(&mut self.places).into_vec());
        let name = |place: &Place| &raw[place.name_at as usize..][..usize::from(place.name_len)];
        let mut seen = HashSet::new();
        places.retain(|place| {
            let first = seen.insert(name(place));
            if !first {
                hidden(name(place));
            }
            first
        });
        places.sort_by(|a, b| {
            compare((name(a), a.kind == EntryKind::Dir), (name(b), b.kind == EntryKind::Dir))
        });
        drop(seen);
        self.places = places.into();
    }

    fn name(&self, place: &Place) -> &[u8] {
        &self.raw[place.name_at as usize..][..usize::from(place.name_len)]
    }

    fn entry(&self, place: &Place) -> Entry<'_> {
        let id_at = place.name_at as usize + usize::from(place.name_len) + 1;
        let id = ObjectId::from_bytes(self.algo, &self.raw[id_at..][..self.algo.bytes()]);
        Entry { name: self.name(place), kind: place.kind, id: id.expect("the length is the hash's") }
    }

    /// The entry with this name.
    pub fn get(&self, name: &[u8]) -> Option<Entry<'_>> {
        [false, true].into_iter().find_map(|is_dir| {
            let found = self.places.binary_search_by(|place| {
                compare((self.name(place), place.kind == EntryKind::Dir), (name, is_dir))
            });
            found.ok().map(|at| self.entry(&self.places[at]))
        })
    }

    /// All entries, in git's order: that of paths, where a directory's name ends with a slash.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.places.iter().map(|place| self.entry(place))
    }

    /// The entry at a place in that order.
    pub fn at(&self, at: usize) -> Option<Entry<'_>> {
        self.places.get(at).map(|place| self.entry(place))
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Entries that show as directories.
    pub fn folders(&self) -> u32 {
        self.folders
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn bytes(&self) -> usize {
        self.raw.len() + self.places.len() * size_of::<Place>() + 128
    }
}

fn compare(a: (&[u8], bool), b: (&[u8], bool)) -> Ordering {
    let len = a.0.len().min(b.0.len());
    let end = |(name, is_dir): (&[u8], bool)| match name.get(len) {
        Some(byte) => *byte,
        None if is_dir => b'/',
        None => 0,
    };
    let longer = || a.0.len().cmp(&b.0.len()).then(a.1.cmp(&b.1));
    a.0[..len].cmp(&b.0[..len]).then_with(|| end(a).cmp(&end(b))).then_with(longer)
}

/// What is odd about a tree.
#[derive(Clone, Copy, Debug, Default)]
pub struct Doubts {
    /// It has names that git refuses.
    pub names: bool,
    /// It is out of order, or has a name twice.
    pub order: bool,
}

/// Looks for what git would not have made.
pub fn looks_odd(algo: HashAlgo, raw: &[u8]) -> Doubts {
    Doubts::of(algo, raw)
}

impl Doubts {
    fn of(algo: HashAlgo, raw: &[u8]) -> Self {
        let mut doubts = Self::default();
        visit_tree(algo, raw, &mut doubts);
        doubts
    }
}

impl TreeVisitor for Doubts {
    fn found(&mut self, finding: cairn_protocol::object::fsck::Finding) {
        match finding.id {
            MsgId::HasDot | MsgId::HasDotdot | MsgId::HasDotgit | MsgId::FullPathname => self.names = true,
            MsgId::DuplicateEntries | MsgId::TreeNotSorted => self.order = true,
            _ => {}
        }
    }
}

/// Whether git refuses to check out an entry of this name: asked of the rules for trees, with a tree of one entry.
pub fn is_refused(algo: HashAlgo, name: &[u8]) -> bool {
    let mut raw = b"100644 ".to_vec();
    raw.extend_from_slice(name);
    raw.push(0);
    raw.extend(std::iter::repeat_n(1, algo.bytes()));
    name.is_empty() || name.contains(&0) || Doubts::of(algo, &raw).names
}

/// Decoded trees, the least recently used ones dropped beyond a number of bytes.
pub struct Trees {
    objects: Arc<dyn Objects>,
    cache: Mutex<Cache>,
    empty: Arc<Tree>,
}

#[derive(Default)]
struct Cache {
    trees: HashMap<ObjectId, (u64, Arc<Tree>)>,
    bytes: usize,
    clock: u64,
}

impl Trees {
    /// A cache in front of `objects`.
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        let empty = Tree { algo: objects.algo(), raw: Box::default(), places: Box::default(), folders: 0 };
        Self { objects, cache: Mutex::default(), empty: Arc::new(empty) }
    }

    /// The tree of a directory; that of a directory without base is empty.
    pub fn get(&self, id: Option<ObjectId>) -> io::Result<Arc<Tree>> {
        let Some(id) = id else { return Ok(Arc::clone(&self.empty)) };
        let lock = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut cache = lock();
            cache.clock += 1;
            let now = cache.clock;
            if let Some((used, tree)) = cache.trees.get_mut(&id) {
                *used = now;
                return Ok(Arc::clone(tree));
            }
        }
        let raw = self.objects.tree(&id)?;
        let tree = Tree::decode(self.objects.algo(), raw, &mut |name| {
            log::warn!("tree {id}: the entry '{}' is hidden: git refuses such a name", name.escape_ascii());
        })?;
        let tree = Arc::new(tree);
        lock().insert(id, Arc::clone(&tree));
        Ok(tree)
    }
}

impl Cache {
    fn insert(&mut self, id: ObjectId, tree: Arc<Tree>) {
        self.bytes += tree.bytes();
        if let Some((_, old)) = self.trees.insert(id, (self.clock, tree)) {
            self.bytes -= old.bytes();
        }
        if self.bytes <= TREE_CACHE_BYTES_MAX {
            return;
        }
        // Half of it at once, so that the sort is paid for by many inserts.
        let mut by_age: Vec<(u64, ObjectId)> =
            self.trees.iter().map(|(id, (used, _))| (*used, *id)).collect();
        by_age.sort_unstable_by_key(|(used, _)| *used);
        for (_, id) in by_age {
            if self.bytes <= TREE_CACHE_BYTES_MAX / 2 {
                break;
            }
            if let Some((_, old)) = self.trees.remove(&id) {
                self.bytes -= old.bytes();
            }
        }
    }
}
