//! Writes git's index for a tree that nobody touched yet (gitformat-index, with TREE, UNTR and FSMN).
//!
//! All entries are marked as unchanged since the fsmonitor token, so that git stats nothing and reads nothing. An entry
//! of unknown size says 0, which makes git compare contents should the mark ever be lost.
//!
//! What git refuses to check out (`.git` in any spelling) is hidden by the mount. Its entries say that they are to be left
//! out of the work tree (skip-worktree): they are no changes, and commits keep them.

use std::io::{self, Write};

use cairn_protocol::object::{HashAlgo, Kind, ObjectId, TreeEntry, TreeIter};

use super::idx::{Hashed, finished};
use super::pack::broken;
use super::text::{PIECE_BYTES, Text};
use super::untracked::{self, Folder};
use crate::limits::{INDEX_ENTRIES_MAX, INDEX_TEXT_BYTES_MAX, TREE_DEPTH_MAX};
use crate::tree::{is_refused, looks_odd};

/// Bytes of a name that the flags of an entry can count.
const FLAG_NAME_BYTES: usize = 0xfff;
/// Bytes of an entry before its id.
const STAT_BYTES: usize = 40;
/// There is a second word of flags.
const FLAG_EXTENDED: u16 = 0x4000;
/// The file is not to be in the work tree; in the second word.
const FLAG_SKIP_WORKTREE: u16 = 0x4000;

/// Set in the mode of what the mount does not show.
const IS_HIDDEN: u32 = 1 << 31;

/// A file of the tree, as the index has it. Its path and then its id are in the text.
#[derive(Clone, Copy)]
struct Item {
    at: u32,
    path_bytes: u32,
    mode: u32,
}

/// A file of a listing.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// From the root of the tree.
    pub path: &'a [u8],
    /// Its content.
    pub id: ObjectId,
    /// Which one it is.
    pub place: u32,
}

/// The files of a tree, and what the index says about its folders. A file takes 12 bytes, its path and its id.
pub struct Listing {
    items: Vec<Item>,
    text: Text,
    cache_tree: Vec<u8>,
    folders: Vec<Folder>,
    /// Whether the index is as git would make it: no folder is out of order or has a name twice.
    is_regular: bool,
    algo: HashAlgo,
}

fn path_in(text: &Text, item: Item) -> &[u8] {
    text.get(item.at, item.path_bytes as usize)
}

/// Answers the bytes of a tree.
pub type ReadTree<'a> = dyn FnMut(&ObjectId) -> io::Result<Vec<u8>> + 'a;

/// Reads the whole tree. `None` where it has more files or deeper folders than an index is prepared for.
pub fn list(read: &mut ReadTree<'_>, root: &ObjectId) -> io::Result<Option<Listing>> {
    let (items, text, cache_tree, folders) = Default::default();
    let mut listing = Listing { items, text, cache_tree, folders, is_regular: true, algo: root.algo() };
    let whole = listing.walk(read, root, &mut Vec::new(), b"", (0, false))?;
    if !listing.is_regular {
        // The first of equal names is the one that the mount shows.
        let text = &listing.text;
        listing.items.sort_by(|a, b| path_in(text, *a).cmp(path_in(text, *b)));
        listing.items.dedup_by(|later, first| path_in(text, *later) == path_in(text, *first));
        // Their places are others now.
        listing.folders.iter_mut().for_each(|folder| folder.ignore = None);
    }
    Ok(whole.is_some().then_some(listing))
}

impl Listing {
    fn listed(&self, item: Item, place: u32) -> Listed<'_> {
        let path_bytes = item.path_bytes as usize;
        let id = self.text.get(item.at, path_bytes + self.algo.bytes()).get(path_bytes..);
        let id = id.and_then(|id| ObjectId::from_bytes(self.algo, id)).unwrap_or(ObjectId::null(self.algo));
        Listed { path: path_in(&self.text, item), id, place }
    }

    fn those(&self, of_kind: fn(u32) -> bool) -> impl Iterator<Item = Listed<'_>> {
        let all = self.items.iter().zip(0_u32..).filter(move |(item, _)| of_kind(item.mode));
        all.map(|(item, place)| self.listed(*item, place))
    }

    /// The blobs, in the order of the index.
    pub fn blobs(&self) -> impl Iterator<Item = Listed<'_>> {
        self.those(|mode| mode & 0o170_000 != 0o160_000)
    }

    /// The blobs that are not targets of symbolic links.
    pub fn regular_files(&self) -> impl Iterator<Item = Listed<'_>> {
        self.those(|mode| mode & 0o170_000 == 0o100_000)
    }

    /// What is at a place.
    pub fn at(&self, place: u32) -> Option<Listed<'_>> {
        self.items.get(place as usize).map(|item| self.listed(*item, place))
    }

    /// The path at a place.
    pub fn path(&self, place: u32) -> &[u8] {
        self.items.get(place as usize).map_or(b"", |item| path_in(&self.text, *item))
    }

    /// How many files and submodules there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether the tree is empty.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds a file. `false` where there is no room for it.
    fn add(&mut self, path: &[u8], id: &ObjectId, mode: u32) -> bool {
        if self.items.len() >= INDEX_ENTRIES_MAX || self.text.bytes() + PIECE_BYTES > INDEX_TEXT_BYTES_MAX {
            return false;
        }
        let Some(at) = self.text.add(path, id.as_bytes()) else { return false };
        self.items.push(Item { at, path_bytes: path.len() as u32, mode });
        true
    }

    /// Adds a folder, which is so deep and may be hidden. Answers how many files are in it.
    fn walk(
        &mut self,
        read: &mut ReadTree<'_>,
        id: &ObjectId,
        path: &mut Vec<u8>,
        name: &[u8],
        (depth, is_hidden): (usize, bool),
    ) -> io::Result<Option<usize>> {
        // A tree may have nothing but folders.
        if depth > TREE_DEPTH_MAX || self.folders.len() >= INDEX_ENTRIES_MAX {
            return Ok(None);
        }
        let data = read(id)?;
        let before = self.items.len();
        let outer = std::mem::take(&mut self.cache_tree);
        let here = self.folders.len();
        self.folders.push(Folder { name: name.to_owned(), kids: Vec::new(), ignore: None });
        let is_odd = looks_odd(self.algo, &data);
        self.is_regular &= !is_odd.order;
        let mut folders = 0;
        for entry in TreeIter::new(self.algo, &data) {
            let entry = entry.map_err(broken)?;
            let entry_id = ObjectId::from_bytes(self.algo, entry.id).ok_or_else(|| broken("a short id"))?;
            let is_hidden = is_hidden || is_odd.names && is_refused(self.algo, entry.name);
            self.is_regular &= !entry.name.contains(&b'/');
            let len = path.len();
            path.extend_from_slice(entry.name);
            if entry.is_tree() {
                path.push(b'/');
                folders += 1;
                if !is_hidden {
                    let kid = self.folders.len();
                    self.folders[here].kids.push(kid);
                }
                if self.walk(read, &entry_id, path, entry.name, (depth + 1, is_hidden))?.is_none() {
                    return Ok(None);
                }
            } else {
                let mode = mode_of(&entry);
                if entry.name == b".gitignore" && mode & 0o170_000 == 0o100_000 {
                    self.folders[here].ignore = Some(self.items.len());
                }
                if !self.add(path, &entry_id, if is_hidden { mode | IS_HIDDEN } else { mode }) {
                    return Ok(None);
                }
            }
            path.truncate(len);
        }
        let count = self.items.len() - before;
        let inner = std::mem::replace(&mut self.cache_tree, outer);
        self.cache_tree.extend_from_slice(name);
        self.cache_tree.extend_from_slice(format!("\0{count} {folders}\n").as_bytes());
        self.cache_tree.extend_from_slice(id.as_bytes());
        self.cache_tree.extend_from_slice(&inner);
        Ok(Some(count))
    }

    /// Writes the index. `mtime` is what all files have, in seconds; `token` the fsmonitor token; `location` where the
    /// work tree is; `size` the size of a file, where it is known; `ignore` what git takes for the name of a
    /// `.gitignore`.
    #[allow(clippy::too_many_arguments, reason = "the index says all of that")]
    pub fn encode(
        &self,
        out: &mut dyn Write,
        mtime: i64,
        owner: (u32, u32),
        token: &str,
        location: &[u8],
        size: &dyn Fn(&[u8], &ObjectId) -> Option<u64>,
        ignore: &dyn Fn(&[u8], &ObjectId) -> Option<ObjectId>,
    ) -> io::Result<()> {
        let version: u32 = if self.items.iter().any(|item| item.mode & IS_HIDDEN != 0) { 3 } else { 2 };
        let mut out = Hashed::new(self.algo, out);
        out.put(b"DIRC")?;
        out.put(&version.to_be_bytes())?;
        out.put(&(self.items.len() as u32).to_be_bytes())?;
        let mut entry = Vec::new();
        for (item, place) in self.items.iter().zip(0..) {
            let (file, mode) = (self.listed(*item, place), item.mode & !IS_HIDDEN);
            let size = if mode == 0o160_000 { Some(0) } else { size(file.path, &file.id) };
            // Both times, device and inode, mode, owner, size: 32-bit words, cut to size as git does.
            let seconds = mtime as u32;
            let words =
                [seconds, 0, seconds, 0, 0, 0, mode, owner.0, owner.1, size.unwrap_or_default() as u32];
            entry.clear();
            words.iter().for_each(|word| entry.extend_from_slice(&word.to_be_bytes()));
            debug_assert_eq!(entry.len(), STAT_BYTES);
            entry.extend_from_slice(file.id.as_bytes());
            let flags = file.path.len().min(FLAG_NAME_BYTES) as u16;
            if item.mode & IS_HIDDEN != 0 {
                entry.extend_from_slice(&(flags | FLAG_EXTENDED).to_be_bytes());
                entry.extend_from_slice(&FLAG_SKIP_WORKTREE.to_be_bytes());
            } else {
                entry.extend_from_slice(&flags.to_be_bytes());
            }
            entry.extend_from_slice(file.path);
            // One to eight NULs, up to a multiple of eight.
            entry.resize((entry.len() / 8 + 1) * 8, 0);
            out.put(&entry)?;
        }
        if self.is_regular {
            extension(&mut out, b"TREE", &self.cache_tree)?;
        }
        let ignore = |place: usize| {
            let file = self.at(u32::try_from(place).ok()?)?;
            ignore(file.path, &file.id)
        };
        let folders = untracked::encode(&self.folders, self.algo, location, &ignore);
        extension(&mut out, b"UNTR", &folders)?;
        extension(&mut out, b"FSMN", &fsmonitor(token))?;
        let Hashed { hasher, out } = out;
        out.write_all(finished(hasher)?.as_bytes())
    }
}

fn extension(out: &mut Hashed<&mut dyn Write>, name: &[u8; 4], data: &[u8]) -> io::Result<()> {
    out.put(name)?;
    out.put(&(data.len() as u32).to_be_bytes())?;
    out.put(data)
}

/// Version 2, the token, and the EWAH bitmap of the entries that may have changed: none.
fn fsmonitor(token: &str) -> Vec<u8> {
    let mut out = 2_u32.to_be_bytes().to_vec();
    out.extend_from_slice(token.as_bytes());
    out.push(0);
    let mut bitmap = Vec::new();
    untracked::bitmap(&mut bitmap, 0, &|_| false);
    out.extend_from_slice(&(bitmap.len() as u32).to_be_bytes());
    out.extend_from_slice(&bitmap);
    out
}

fn mode_of(entry: &TreeEntry<'_>) -> u32 {
    match entry.link_kind() {
        Some(Kind::Blob) if entry.is_symlink() => 0o120_000,
        Some(Kind::Blob) if entry.mode & 0o100 != 0 => 0o100_755,
        Some(Kind::Blob) => 0o100_644,
        _ => 0o160_000,
    }
}
