//! What callers name: a ref or a hash, and a path below it.

use cairn_protocol::object::{ObjectId, TreeIter};
use sha2::{Digest, Sha256};

use super::cache::NameKey;
use super::tree::read_tree;
use super::{Halt, Reading};
use crate::limits::RAW_REF_PARTS_MAX;
use crate::ops::plans::hash_shown;
use crate::ops::view::TreePlace;

/// What a name stood for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The object that the ref or hash names, tags not followed.
    pub tip: ObjectId,
    /// Whether the name was a whole hash, and so will never mean anything else.
    pub is_hash: bool,
    /// Whether a setting of the repository, the default branch, decides what the name means.
    pub is_default: bool,
    /// What is at the path.
    pub place: TreePlace,
}

/// Names what was asked of a snapshot.
pub fn key(reading: &Reading, what: &str, parts: &[&[u8]]) -> NameKey {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(what.as_bytes());
    // Fresh forks share their base's fingerprint, not always its default branch.
    part(reading.view.served.default_branch.as_bytes());
    part(reading.view.served.algo.name().as_bytes());
    parts.iter().for_each(|bytes| part(bytes));
    hash_shown(&mut hash, &reading.view.snapshot);
    hash.finalize().into()
}

impl Reading {
    /// What is at `path` of what `name` stands for.
    pub fn named(&self, name: &[u8], path: &[u8]) -> Result<Option<Named>, Halt> {
        self.kept(key(self, "path", &[name, path]), || self.find_named(name, path))
    }

    /// What `REF/PATH` names, where each of `parts` is decoded and the ref may take several: the longest one that is a
    /// ref. A ref that holds a slash may also be one part.
    pub fn named_in_path(&self, parts: &[Vec<u8>]) -> Result<Option<Named>, Halt> {
        let whole: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        self.kept(key(self, "raw", &whole), || {
            for end in (1..parts.len().min(RAW_REF_PARTS_MAX + 1)).rev() {
                let (name, path) = whole.split_at(end);
                let name = name.join(&b'/');
                if self.view.resolve_bytes(&name)?.is_some() {
                    return self.find_named(&name, &path.join(&b'/'));
                }
            }
            Ok(None)
        })
    }

    fn kept(
        &self,
        key: NameKey,
        find: impl FnOnce() -> Result<Option<Named>, Halt>,
    ) -> Result<Option<Named>, Halt> {
        if let Some(found) = self.reads.names.get(&key) {
            return Ok(found);
        }
        let found = find()?;
        self.reads.names.put(key, found.clone(), size_of::<Named>());
        Ok(found)
    }

    fn find_named(&self, name: &[u8], path: &[u8]) -> Result<Option<Named>, Halt> {
        let Some(tip) = self.view.resolve_bytes(name)? else { return Ok(None) };
        let is_hash = ObjectId::from_hex(self.view.served.algo, name) == Some(tip);
        let Some(tree) = self.view.tree_of(tip)? else { return Ok(None) };
        let place = self.entry(tree, path)?;
        let is_default = !is_hash && (name.is_empty() || name == b"HEAD");
        Ok(place.map(|place| Named { tip, is_hash, is_default, place }))
    }

    /// What is at `path` below a visible tree; an empty path is the tree itself. Slashes in front, behind or doubled are
    /// passed over.
    fn entry(&self, tree: ObjectId, path: &[u8]) -> Result<Option<TreePlace>, Halt> {
        let algo = self.view.served.algo;
        let mut here = TreePlace { mode: 0o040_000, id: tree };
        for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            if here.mode & 0o170_000 != 0o040_000 {
                return Ok(None);
            }
            let data = read_tree(self, &here.id)?;
            let mut entries = TreeIter::new(algo, &data).filter_map(Result::ok);
            let Some(entry) = entries.find(|entry| entry.name == part) else { return Ok(None) };
            let Some(id) = ObjectId::from_bytes(algo, entry.id) else { return Ok(None) };
            here = TreePlace { mode: entry.mode, id };
        }
        Ok(Some(here))
    }
}
