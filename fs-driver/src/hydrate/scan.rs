//! What lies around a path of the mounted tree, and when so many reads miss that a whole folder had better come at once.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use cairn_protocol::object::{Kind, ObjectId, TreeIter};

use super::ahead::EachFolder;
use super::order::Candidate;
use crate::gitdir::pack::broken;
use crate::gitdir::store::Store;
use crate::limits::{SCAN_FOLDERS_MIN, TREE_DEPTH_MAX};

/// The folders in which the last reads missed.
#[derive(Default)]
pub struct Detector {
    recent: VecDeque<Vec<u8>>,
}

/// Folders that are remembered.
const RECENT_MAX: usize = 16;
/// A walk that has so many folders before it takes in no more.
const WALK_OPEN_MAX: usize = 1 << 16;

impl Detector {
    /// A read in `folder` missed. Answers a folder whose whole content should be fetched.
    pub fn missed(&mut self, folder: &[u8]) -> Option<Vec<u8>> {
        if self.recent.iter().any(|known| known == folder) {
            // Neighbours came along, and still a read misses here.
            return Some(folder.to_vec());
        }
        self.recent.push_back(folder.to_vec());
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
        let above = parent(folder)?;
        let is_below = |known: &&Vec<u8>| is_inside(known, above);
        (self.recent.iter().filter(is_below).count() >= SCAN_FOLDERS_MIN).then(|| above.to_vec())
    }
}

/// The folder of a path; `None` for the root.
pub fn parent(path: &[u8]) -> Option<&[u8]> {
    if path.is_empty() {
        return None;
    }
    Some(path.iter().rposition(|b| *b == b'/').and_then(|at| path.get(..at)).unwrap_or_default())
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

fn is_inside(path: &[u8], folder: &[u8]) -> bool {
    folder.is_empty()
        || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// A folder: its path and its tree.
type Folder = (Vec<u8>, ObjectId);

/// The mounted tree, by path.
pub struct Tree {
    /// Where its objects are.
    pub store: Arc<Store>,
    /// Its root.
    pub root: ObjectId,
}

impl Tree {
    /// The tree or blob at `path`; `None` where nothing or a submodule is there.
    pub fn find(&self, path: &[u8]) -> io::Result<Option<(Kind, ObjectId)>> {
        let mut at = (Kind::Tree, self.root);
        for name in path.split(|b| *b == b'/').filter(|name| !name.is_empty()) {
            if at.0 != Kind::Tree {
                return Ok(None);
            }
            let data = self.store.tree(&at.1)?;
            let mut found = None;
            for entry in TreeIter::new(at.1.algo(), &data) {
                let entry = entry.map_err(broken)?;
                if entry.name == name {
                    let id = ObjectId::from_bytes(at.1.algo(), entry.id);
                    found = entry.link_kind().zip(id);
                    break;
                }
            }
            match found {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// The files right in the folder of `path`; those with its extension first.
    pub fn siblings(&self, path: &[u8]) -> io::Result<Vec<Candidate>> {
        let folder = parent(path).unwrap_or_default();
        let mut found = self.files(folder, 0, usize::MAX)?;
        let extension = |path: &[u8]| path.iter().rposition(|b| *b == b'.').map(|at| path[at..].to_vec());
        let own = extension(path);
        found.sort_by_key(|file| extension(&file.path) != own);
        Ok(found)
    }

    /// All folders from one on, each with its files, and its own folders after it.
    pub fn walk(&self, from: &[u8], each: EachFolder<'_>) -> io::Result<()> {
        let (mut at, mut open) = ((Vec::new(), self.root), Vec::new());
        for name in from.split(|b| *b == b'/').filter(|name| !name.is_empty()) {
            let mut folders = self.read(&at.0, &at.1)?.1;
            let path = join(&at.0, name);
            let Some(place) = folders.iter().position(|(folder, _)| *folder == path) else { return Ok(()) };
            open.extend(folders.drain(place + 1..).rev());
            at = folders.swap_remove(place);
        }
        open.push(at);
        while let Some((folder, id)) = open.pop() {
            let (files, folders) = self.read(&folder, &id)?;
            if each(&folder, files).is_break() {
                return Ok(());
            }
            // A bomb has more folders than there is time for.
            if folder.iter().filter(|b| **b == b'/').count() < TREE_DEPTH_MAX && open.len() < WALK_OPEN_MAX {
                open.extend(folders.into_iter().rev());
            }
        }
        Ok(())
    }

    /// The files and the folders right in a folder.
    fn read(&self, folder: &[u8], id: &ObjectId) -> io::Result<(Vec<Candidate>, Vec<Folder>)> {
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        let data = self.store.tree(id)?;
        for entry in TreeIter::new(id.algo(), &data) {
            let entry = entry.map_err(broken)?;
            let Some(id) = ObjectId::from_bytes(id.algo(), entry.id) else { continue };
            let path = join(folder, entry.name);
            match entry.link_kind() {
                Some(Kind::Blob) => files.push(Candidate { path, id, size: None }),
                Some(Kind::Tree) => folders.push((path, id)),
                _ => {}
            }
        }
        Ok((files, folders))
    }

    /// Up to `max` files below a folder, `depth` folders deep.
    pub fn files(&self, folder: &[u8], depth: usize, max: usize) -> io::Result<Vec<Candidate>> {
        let mut found = Vec::new();
        let Some((kind, id)) = self.find(folder)? else { return Ok(found) };
        if kind != Kind::Tree {
            found.push(Candidate { path: folder.to_vec(), id, size: None });
            return Ok(found);
        }
        let (mut open, mut folders) = (vec![(folder.to_vec(), id, 0)], 0);
        while let Some((folder, id, level)) = open.pop() {
            let data = self.store.tree(&id)?;
            for entry in TreeIter::new(id.algo(), &data) {
                let entry = entry.map_err(broken)?;
                let Some(id) = ObjectId::from_bytes(id.algo(), entry.id) else { continue };
                let mut path = folder.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(entry.name);
                match entry.link_kind() {
                    Some(Kind::Blob) => found.push(Candidate { path, id, size: None }),
                    // A bomb has more folders than there is time for, and perhaps no file.
                    Some(Kind::Tree) if level < depth.min(TREE_DEPTH_MAX) && folders < max => {
                        folders += 1;
                        open.push((path, id, level + 1));
                    }
                    _ => {}
                }
                if found.len() >= max {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }
}
