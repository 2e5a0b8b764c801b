//! Writes git's index for a tree that nobody touched yet (gitformat-index, with TREE, UNTR and FSMN).
//!
//! All entries are marked as unchanged since the fsmonitor token, so that git stats nothing and reads nothing. An entry
//! of unknown size says 0, which makes git compare contents should the mark ever be lost.
//!
//! What git refuses to check out (`.git` in any spelling) is hidden by the mount. Its entries say that they are to be left
//! out of the work tree (skip-worktree): they are no changes, and commits keep them.

use std::io;

use cairn_protocol::object::{HashAlgo, Hasher, Kind, ObjectId, TreeEntry, TreeIter};

use super::idx::finished;
use super::pack::broken;
use super::untracked::{self, Folder};
use crate::hydrate::order::Candidate;
use crate::limits::{INDEX_ENTRIES_MAX, TREE_DEPTH_MAX};
use crate::tree::{is_refused, looks_odd};

/// Bytes of a name that the flags of an entry can count.
const FLAG_NAME_BYTES: usize = 0xfff;
/// Bytes of an entry before its id.
const STAT_BYTES: usize = 40;
/// There is a second word of flags.
const FLAG_EXTENDED: u16 = 0x4000;
/// The file is not to be in the work tree; in the second word.
const FLAG_SKIP_WORKTREE: u16 = 0x4000;

/// A file of the tree, as the index has it.
struct Item {
    path: Vec<u8>,
    id: ObjectId,
    mode: u32,
    /// The mount does not show it.
    is_hidden: bool,
}

/// The files of a tree, and what the index says about its folders.
pub struct Listing {
    items: Vec<Item>,
    cache_tree: Vec<u8>,
    folders: Vec<Folder>,
    /// Whether the index is as git would make it: no folder is out of order or has a name twice.
    is_regular: bool,
    algo: HashAlgo,
}

/// Answers the bytes of a tree.
pub type ReadTree<'a> = dyn FnMut(&ObjectId) -> io::Result<Vec<u8>> + 'a;

/// Reads the whole tree. `None` where it has more files or deeper folders than an index is prepared for.
pub fn list(read: &mut ReadTree<'_>, root: &ObjectId) -> io::Result<Option<Listing>> {
    let (items, cache_tree, folders) = Default::default();
    let mut listing = Listing { items, cache_tree, folders, is_regular: true, algo: root.algo() };
    let whole = listing.walk(read, root, &mut Vec::new(), b"", (0, false))?;
    if !listing.is_regular {
        // The first of equal names is the one that the mount shows.
        listing.items.sort_by(|a, b| a.path.cmp(&b.path));
        listing.items.dedup_by(|later, first| later.path == first.path);
        // Their places are others now.
        listing.folders.iter_mut().for_each(|folder| folder.ignore = None);
    }
    Ok(whole.is_some().then_some(listing))
}

impl Listing {
    /// The blobs, in the order of the index.
    pub fn files(&self) -> impl Iterator<Item = Candidate> {
        let blobs = self.items.iter().filter(|item| item.mode != 0o160_000);
        blobs.map(|item| Candidate { path: item.path.clone(), id: item.id, size: None })
    }

    /// The blobs that are not targets of symbolic links.
    pub fn regular_files(&self) -> impl Iterator<Item = Candidate> {
        let files = self.items.iter().filter(|item| item.mode & 0o170_000 == 0o100_000);
        files.map(|item| Candidate { path: item.path.clone(), id: item.id, size: None })
    }

    /// The blobs, each with its place in the listing.
    pub fn blobs(&self) -> impl Iterator<Item = (ObjectId, u32)> {
        let blobs = self.items.iter().zip(0_u32..).filter(|(item, _)| item.mode != 0o160_000);
        blobs.map(|(item, place)| (item.id, place))
    }

    /// The path at a place.
    pub fn path(&self, place: u32) -> &[u8] {
        self.items.get(place as usize).map_or(b"", |item| &item.path)
    }

    /// How many files and submodules there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether the tree is empty.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
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
        if depth > TREE_DEPTH_MAX {
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
                self.items.push(Item { path: path.clone(), id: entry_id, mode, is_hidden });
            }
            path.truncate(len);
            if self.items.len() > INDEX_ENTRIES_MAX {
                return Ok(None);
            }
        }
        let count = self.items.len() - before;
        let inner = std::mem::replace(&mut self.cache_tree, outer);
        self.cache_tree.extend_from_slice(name);
        self.cache_tree.extend_from_slice(format!("\0{count} {folders}\n").as_bytes());
        self.cache_tree.extend_from_slice(id.as_bytes());
        self.cache_tree.extend_from_slice(&inner);
        Ok(Some(count))
    }

    /// The bytes of the index. `mtime` is what all files have, in seconds; `token` the fsmonitor token; `location` where
    /// the work tree is; `size` the size of a file, where it is known; `ignore` what git takes for the name of a
    /// `.gitignore`.
    pub fn encode(
        &self,
        mtime: i64,
        owner: (u32, u32),
        token: &str,
        location: &[u8],
        size: &dyn Fn(&[u8], &ObjectId) -> Option<u64>,
        ignore: &dyn Fn(&[u8], &ObjectId) -> Option<ObjectId>,
    ) -> io::Result<Vec<u8>> {
        let version: u32 = if self.items.iter().any(|item| item.is_hidden) { 3 } else { 2 };
        let mut out = b"DIRC".to_vec();
        out.extend_from_slice(&version.to_be_bytes());
        out.extend_from_slice(&(self.items.len() as u32).to_be_bytes());
        for item in &self.items {
            let start = out.len();
            let size = if item.mode == 0o160_000 { Some(0) } else { size(&item.path, &item.id) };
            // Both times, device and inode, mode, owner, size: 32-bit words, cut to size as git does.
            let seconds = mtime as u32;
            let words =
                [seconds, 0, seconds, 0, 0, 0, item.mode, owner.0, owner.1, size.unwrap_or_default() as u32];
            words.iter().for_each(|word| out.extend_from_slice(&word.to_be_bytes()));
            debug_assert_eq!(out.len() - start, STAT_BYTES);
            out.extend_from_slice(item.id.as_bytes());
            let flags = item.path.len().min(FLAG_NAME_BYTES) as u16;
            if item.is_hidden {
                out.extend_from_slice(&(flags | FLAG_EXTENDED).to_be_bytes());
                out.extend_from_slice(&FLAG_SKIP_WORKTREE.to_be_bytes());
            } else {
                out.extend_from_slice(&flags.to_be_bytes());
            }
            out.extend_from_slice(&item.path);
            // One to eight NULs, up to a multiple of eight.
            let bytes = out.len() - start;
            out.resize(start + (bytes / 8 + 1) * 8, 0);
        }
        if self.is_regular {
            extension(&mut out, b"TREE", &self.cache_tree);
        }
        let ignore = |place: usize| self.items.get(place).and_then(|item| ignore(&item.path, &item.id));
        extension(&mut out, b"UNTR", &untracked::encode(&self.folders, self.algo, location, &ignore));
        extension(&mut out, b"FSMN", &fsmonitor(token));
        let mut hasher = Hasher::new(self.algo);
        hasher.update(&out);
        out.extend_from_slice(finished(hasher)?.as_bytes());
        Ok(out)
    }
}

fn extension(out: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(&(data.len() as u32).to_be_bytes());
    out.extend_from_slice(data);
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
