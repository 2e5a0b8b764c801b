//! What lies around a path of the mounted tree, and when so many reads miss that a whole folder had better come at once.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use cairn_protocol::object::{Kind, ObjectId, TreeIter};

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

fn is_inside(path: &[u8], folder: &[u8]) -> bool {
    folder.is_empty()
        || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

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

    /// Up to `max` files below a folder, `depth` folders deep.
    pub fn files(&self, folder: &[u8], depth: usize, max: usize) -> io::Result<Vec<Candidate>> {
        let mut found = Vec::new();
        let Some((kind, id)) = self.find(folder)? else { return Ok(found) };
        if kind != Kind::Tree {
            found.push(Candidate { path: folder.to_vec(), id, size: None });
            return Ok(found);
        }
        let mut open = vec![(folder.to_vec(), id, 0)];
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
                    // A bomb has more folders than there is time for.
                    Some(Kind::Tree) if level < depth.min(TREE_DEPTH_MAX) && open.len() < max => {
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
