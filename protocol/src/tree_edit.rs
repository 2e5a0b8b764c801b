//! Edits a tree in the folders that change and leaves all others unread (gitformat: a tree object is a sorted list of
//! `<mode> <name>\0<raw id>`).
//!
//! In: the id of a root tree, a way to read trees, and single edits by path. Out: the id of the new root and the new tree
//! objects. Names are not judged here, modes of entries that nobody touches stay as they are, and folders that lose
//! their last entry go, since git keeps none.

use std::collections::BTreeMap;
use std::mem;

use crate::object::{Collision, HashAlgo, Kind, ObjectId, TreeEntry, TreeIter, hash_object};

/// The mode of a folder.
pub const MODE_TREE: u32 = 0o040_000;
const MODE_KIND_MASK: u32 = 0o170_000;

/// Why an edit cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EditError<E> {
    /// A tree could not be read.
    #[error(transparent)]
    Read(E),
    /// A stored tree cannot be parsed, or names something twice.
    #[error("tree {0} is malformed")]
    Malformed(ObjectId),
    /// A file stands where a folder is needed.
    #[error("'{}' is a file", String::from_utf8_lossy(.path))]
    FileInTheWay {
        /// Path of the file.
        path: Vec<u8>,
    },
    /// The bytes of a new tree are part of a collision attack.
    #[error(transparent)]
    Collision(#[from] Collision),
}

/// What a path leads to. Folders may have changed since they were read, so that they have no id yet.
#[derive(Clone, Debug)]
pub struct Node(Inner);

#[derive(Clone, Debug)]
enum Inner {
    /// A file, a link, a submodule, or a folder that was not opened.
    Stored {
        mode: u32,
        id: ObjectId,
    },
    Open(Folder),
}

impl Node {
    /// A file, a link, a submodule, or a stored folder.
    pub fn new(mode: u32, id: ObjectId) -> Self {
        Self(Inner::Stored { mode, id })
    }

    /// Mode and id of what is not a folder.
    pub fn file(&self) -> Option<(u32, ObjectId)> {
        match self.0 {
            Inner::Stored { mode, id } if !is_tree(mode) => Some((mode, id)),
            _ => None,
        }
    }

    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.file().is_none()
    }
}

fn is_tree(mode: u32) -> bool {
    mode & MODE_KIND_MASK == MODE_TREE
}

#[derive(Clone, Debug, Default)]
struct Folder {
    entries: BTreeMap<Vec<u8>, Node>,
    /// What it was read from; `None` once something in it changed.
    unchanged: Option<ObjectId>,
}

/// Reads the content of a tree.
pub type ReadTree<'a, E> = &'a mut dyn FnMut(&ObjectId) -> Result<Vec<u8>, E>;

/// A tree under edit.
#[derive(Clone, Debug)]
pub struct TreeEditor {
    algo: HashAlgo,
    root: Node,
}

/// The trees that an edit made.
#[derive(Clone, Debug)]
pub struct NewTrees {
    /// The root.
    pub root: ObjectId,
    /// New objects, folders before those that hold them; one may be there twice.
    pub trees: Vec<(ObjectId, Vec<u8>)>,
}

impl TreeEditor {
    /// Starts from a root tree, or from nothing.
    pub fn new(algo: HashAlgo, root: Option<ObjectId>) -> Self {
        let root = match root {
            Some(id) => Node::new(MODE_TREE, id),
            None => Node(Inner::Open(Folder::default())),
        };
        Self { algo, root }
    }

    /// What is at `path`, whose parts are not empty.
    pub fn get<E>(&mut self, path: &[u8], read: ReadTree<'_, E>) -> Result<Option<&Node>, EditError<E>> {
        let algo = self.algo;
        let mut here = &mut self.root;
        for part in parts(path) {
            if !here.is_folder() {
                return Ok(None);
            }
            match open(algo, here, read)?.entries.get_mut(part) {
                Some(node) => here = node,
                None => return Ok(None),
            }
        }
        Ok(Some(here))
    }

    /// Takes away what is at `path`, and the folders that hold nothing else.
    pub fn remove<E>(&mut self, path: &[u8], read: ReadTree<'_, E>) -> Result<Option<Node>, EditError<E>> {
        if self.get(path, read)?.is_none() {
            return Ok(None);
        }
        let parts: Vec<&[u8]> = parts(path).collect();
        take(self.algo, &mut self.root, &parts, read)
    }

    /// Puts `node` at `path`, in the place of what is there, and makes the folders above.
    pub fn put<E>(&mut self, path: &[u8], node: Node, read: ReadTree<'_, E>) -> Result<(), EditError<E>> {
        let algo = self.algo;
        let (mut here, mut at) = (&mut self.root, 0);
        for part in parts(path) {
            if !here.is_folder() {
                let path = path.get(..at).unwrap_or(path).strip_suffix(b"/").unwrap_or(path).to_vec();
                return Err(EditError::FileInTheWay { path });
            }
            at += part.len() + 1;
            let folder = open(algo, here, read)?;
            folder.unchanged = None;
            here =
                folder.entries.entry(part.to_vec()).or_insert_with(|| Node(Inner::Open(Folder::default())));
        }
        *here = node;
        Ok(())
    }

    /// Writes the folders that changed.
    pub fn finish(self) -> Result<NewTrees, Collision> {
        let mut trees = Vec::new();
        let (_, root) = write(self.algo, self.root, &mut trees)?;
        Ok(NewTrees { root, trees })
    }
}

fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
}

/// Reads a folder that was not opened yet. Call for folders alone.
fn open<'n, E>(
    algo: HashAlgo,
    node: &'n mut Node,
    read: ReadTree<'_, E>,
) -> Result<&'n mut Folder, EditError<E>> {
    if let Inner::Stored { id, .. } = node.0 {
        let data = read(&id).map_err(EditError::Read)?;
        let mut folder = Folder { entries: BTreeMap::new(), unchanged: Some(id) };
        for entry in TreeIter::new(algo, &data) {
            let TreeEntry { mode, name, id: raw } = entry.map_err(|_| EditError::Malformed(id))?;
            let entry_id = ObjectId::from_bytes(algo, raw).ok_or(EditError::Malformed(id))?;
            if folder.entries.insert(name.to_vec(), Node::new(mode, entry_id)).is_some() {
                return Err(EditError::Malformed(id));
            }
        }
        node.0 = Inner::Open(folder);
    }
    match &mut node.0 {
        Inner::Open(folder) => Ok(folder),
        Inner::Stored { id, .. } => Err(EditError::Malformed(*id)),
    }
}

/// Takes out the end of `path`, which is known to be there.
fn take<E>(
    algo: HashAlgo,
    here: &mut Node,
    path: &[&[u8]],
    read: ReadTree<'_, E>,
) -> Result<Option<Node>, EditError<E>> {
    let Some((first, rest)) = path.split_first() else { return Ok(None) };
    let folder = open(algo, here, read)?;
    folder.unchanged = None;
    if rest.is_empty() {
        return Ok(folder.entries.remove(*first));
    }
    let Some(below) = folder.entries.get_mut(*first) else { return Ok(None) };
    let taken = take(algo, below, rest, read)?;
    if matches!(&below.0, Inner::Open(folder) if folder.entries.is_empty()) {
        folder.entries.remove(*first);
    }
    Ok(taken)
}

/// Mode and id of a node, once what is below it is written.
fn write(
    algo: HashAlgo,
    node: Node,
    trees: &mut Vec<(ObjectId, Vec<u8>)>,
) -> Result<(u32, ObjectId), Collision> {
    let mut folder = match node.0 {
        Inner::Stored { mode, id } => return Ok((mode, id)),
        Inner::Open(Folder { unchanged: Some(id), .. }) => return Ok((MODE_TREE, id)),
        Inner::Open(folder) => folder,
    };
    let mut entries = Vec::with_capacity(folder.entries.len());
    for (name, node) in mem::take(&mut folder.entries) {
        let (mode, id) = write(algo, node, trees)?;
        entries.push((name, mode, id));
    }
    // git sorts folders as if their names ended in a slash.
    let key = |name: &[u8], mode: u32| [name, if is_tree(mode) { b"/" } else { b"" }].concat();
    entries.sort_by_cached_key(|(name, mode, _)| key(name, *mode));
    let mut data = Vec::new();
    for (name, mode, id) in &entries {
        data.extend_from_slice(format!("{mode:o} ").as_bytes());
        data.extend_from_slice(name);
        data.push(0);
        data.extend_from_slice(id.as_bytes());
    }
    let id = hash_object(algo, Kind::Tree, &data)?;
    trees.push((id, data));
    Ok((MODE_TREE, id))
}
