//! The mounted tree as a checkout would write it: objects whose converted files have names of their own.
//!
//! Trees with converted files are written anew with those names, so that all that serves a tree serves this one: which
//! conversion a file has goes with it when it is renamed, and stays as it was when the attributes change later.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_protocol::object::{HashAlgo, Kind, ObjectId, TreeIter, hash_object};

use super::convert::{Conversion, is_known};
use super::rules::{Rules, Sources};
use crate::cache::sizes::Sizes;
use crate::gitdir::pack::broken;
use crate::limits::{ATTRIBUTES_BYTES_MAX, OBJECT_BYTES_MAX, TREE_DEPTH_MAX, WARNINGS_MAX};
use crate::port::{Blob, Done, Objects, Pin};

/// Objects with the names of converted files.
pub struct Converted {
    inner: Arc<dyn Objects>,
    root: ObjectId,
    trees: HashMap<ObjectId, Vec<u8>>,
    blobs: HashMap<ObjectId, (ObjectId, Arc<Conversion>)>,
    /// In the order of the index.
    paths: Vec<Vec<u8>>,
    /// Files `.gitignore` that git may store otherwise than it sees them, and as what they are shown.
    ignores: HashMap<Vec<u8>, ObjectId>,
    warnings: Vec<String>,
    sizes: Arc<Sizes>,
    /// Where converted contents are put, without a name.
    folder: PathBuf,
}

/// What a converted content needs no longer than its file is open: nothing.
struct Unpinned;

impl Pin for Unpinned {}

struct Maker<'a> {
    rules: Rules<'a>,
    made: Converted,
    path: Vec<u8>,
    filters: Vec<String>,
}

impl Converted {
    /// The tree `root` as it is to be shown. Names of filters and encodings that are not applied become warnings.
    pub fn new(
        inner: Arc<dyn Objects>,
        root: ObjectId,
        sources: &Sources,
        folder: &Path,
    ) -> io::Result<Self> {
        let sizes = Arc::new(Sizes::open(&folder.join("converted-sizes"), inner.algo())?);
        let folder = folder.to_owned();
        let (trees, blobs, paths, ignores, warnings) = Default::default();
        let made = Self { inner, root, trees, blobs, paths, ignores, warnings, sizes, folder };
        if Rules::are_empty(sources) {
            return Ok(made);
        }
        let mut maker = Maker { rules: Rules::new(sources)?, made, path: Vec::new(), filters: Vec::new() };
        let root = maker.tree(root, 0)?;
        Ok(Self { root: root.unwrap_or(maker.made.root), ..maker.made })
    }

    /// The root of the tree as it is shown.
    pub fn root(&self) -> ObjectId {
        self.root
    }

    /// Whether the file at a path may be shown otherwise than it is stored.
    pub fn has(&self, path: &[u8]) -> bool {
        self.paths.binary_search_by(|known| known.as_slice().cmp(path)).is_ok()
    }

    /// What git takes for the name of a `.gitignore`: its object's, unless the object may be made of other bytes than the
    /// file's. Then it hashes what it reads, to which it has added a line feed by then. `None` where that is not here.
    pub fn ignore_name(&self, path: &[u8], id: &ObjectId) -> Option<ObjectId> {
        let Some(shown) = self.ignores.get(path) else { return Some(*id) };
        let blob = self.open(shown).filter(|blob| blob.size <= ATTRIBUTES_BYTES_MAX as u64)?;
        let mut content = vec![0; blob.size as usize];
        blob.file.read_exact_at(&mut content, 0).ok()?;
        content.push(b'\n');
        hash_object(id.algo(), Kind::Blob, &content).ok()
    }

    /// What is asked for and not done.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl Maker<'_> {
    /// Adds a folder. Answers its new name, where it has one.
    fn tree(&mut self, id: ObjectId, depth: usize) -> io::Result<Option<ObjectId>> {
        if depth > TREE_DEPTH_MAX {
            return Err(broken("folders too deep to be converted"));
        }
        let has_rules = self.rules.enter(&self.path)?;
        let mut raw = self.made.inner.tree(&id)?;
        let algo = self.made.inner.algo();
        let mut changes: Vec<(usize, ObjectId)> = Vec::new();
        let mut at = 0;
        for entry in TreeIter::new(algo, &raw) {
            let entry = entry.map_err(broken)?;
            let mode_bytes = raw[at..].iter().position(|byte| *byte == b' ').unwrap_or_default();
            let id_at = at + mode_bytes + 1 + entry.name.len() + 1;
            at = id_at + algo.bytes();
            let found = ObjectId::from_bytes(algo, entry.id).ok_or_else(|| broken("a short id"))?;
            let len = self.path.len();
            self.path.extend_from_slice(entry.name);
            let renamed = if entry.is_tree() {
                self.path.push(b'/');
                self.tree(found, depth + 1)?
            } else if entry.mode & 0o170_000 == 0o100_000 {
                self.file(found)?
            } else {
                None
            };
            changes.extend(renamed.map(|name| (id_at, name)));
            self.path.truncate(len);
        }
        if has_rules {
            self.rules.leave();
        }
        if changes.is_empty() {
            return Ok(None);
        }
        for (id_at, name) in changes {
            raw[id_at..id_at + algo.bytes()].copy_from_slice(name.as_bytes());
        }
        let name = hash_object(algo, Kind::Tree, &raw).map_err(|_| broken("a hash that cannot be"))?;
        self.made.trees.insert(name, raw);
        Ok(Some(name))
    }

    fn file(&mut self, id: ObjectId) -> io::Result<Option<ObjectId>> {
        let (mut conversion, filter) = self.rules.of(&self.path);
        if let Some(filter) = filter {
            self.warn(format!("filter={filter}"));
        }
        if let Some(encoding) = conversion.encoding.take_if(|encoding| !is_known(encoding)) {
            self.warn(format!("working-tree-encoding={encoding}"));
        }
        let name = if conversion.is_none() { id } else { conversion.name(&id)? };
        if is_ignore_file(&self.path) && self.rules.may_be_stored_otherwise(&self.path) {
            self.made.ignores.insert(self.path.clone(), name);
        }
        if conversion.is_none() {
            return Ok(None);
        }
        self.made.blobs.entry(name).or_insert_with(|| (id, Arc::new(conversion)));
        self.made.paths.push(self.path.clone());
        Ok(Some(name))
    }

    fn warn(&mut self, what: String) {
        if self.filters.contains(&what) || self.filters.len() >= WARNINGS_MAX {
            return;
        }
        let path = String::from_utf8_lossy(&self.path);
        self.made
            .warnings
            .push(format!("{path} and others like it ask for {what}: they are shown as they are stored"));
        self.filters.push(what);
    }
}

fn is_ignore_file(path: &[u8]) -> bool {
    path.strip_suffix(b".gitignore").is_some_and(|folder| folder.is_empty() || folder.ends_with(b"/"))
}

/// Converts a blob into a file without a name.
fn convert(
    blob: &Blob,
    (name, id): (ObjectId, ObjectId),
    conversion: &Conversion,
    sizes: &Sizes,
    folder: &Path,
) -> io::Result<Blob> {
    if blob.size > OBJECT_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("blob {id} is too large to be converted"),
        ));
    }
    let mut content = vec![0; blob.size as usize];
    blob.file.read_exact_at(&mut content, 0)?;
    let converted = conversion.apply(&id, &content);
    sizes.add(&[(name, converted.len() as u64)])?;
    if *converted == *content {
        return Ok(blob.clone());
    }
    let mut file = tempfile::tempfile_in(folder)?;
    file.write_all(&converted)?;
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    let size = converted.len() as u64;
    Ok(Blob { file: Arc::new(File::open(path)?), size, pin: Arc::new(Unpinned) })
}

impl Objects for Converted {
    fn algo(&self) -> HashAlgo {
        self.inner.algo()
    }

    fn tree(&self, id: &ObjectId) -> io::Result<Vec<u8>> {
        match self.trees.get(id) {
            Some(raw) => Ok(raw.clone()),
            None => self.inner.tree(id),
        }
    }

    fn size(&self, id: &ObjectId) -> Option<u64> {
        if self.blobs.contains_key(id) { self.sizes.get(id) } else { self.inner.size(id) }
    }

    /// The size of a converted file is known once its content is here: all that are asked for come together.
    fn want_sizes(&self, ids: Vec<ObjectId>, near: &[u8], done: Done<()>) {
        let (mut converted, mut plain) = (Vec::new(), Vec::new());
        for id in ids {
            match self.blobs.get(&id) {
                Some((real, conversion)) => converted.push((id, *real, Arc::clone(conversion))),
                None => plain.push(id),
            }
        }
        if converted.is_empty() {
            return self.inner.want_sizes(plain, near, done);
        }
        let reals = converted.iter().map(|(_, real, _)| *real).collect();
        let (inner, sizes, folder) = (Arc::clone(&self.inner), Arc::clone(&self.sizes), self.folder.clone());
        let then = move |came: io::Result<()>| {
            let measure = || {
                for (id, real, conversion) in converted {
                    let gone = || io::Error::other(format!("blob {real} came and is gone again"));
                    let blob = inner.open(&real).ok_or_else(gone)?;
                    convert(&blob, (id, real), &conversion, &sizes, &folder)?;
                }
                Ok(())
            };
            match came.and_then(|()| measure()) {
                Ok(()) if !plain.is_empty() => inner.want_sizes(plain, b"", done),
                outcome => done(outcome),
            }
        };
        self.inner.want_contents(reals, near, Box::new(then));
    }

    fn want_contents(&self, ids: Vec<ObjectId>, near: &[u8], done: Done<()>) {
        let real = |id: ObjectId| self.blobs.get(&id).map_or(id, |(real, _)| *real);
        self.inner.want_contents(ids.into_iter().map(real).collect(), near, done);
    }

    fn open(&self, id: &ObjectId) -> Option<Blob> {
        let Some((real, conversion)) = self.blobs.get(id) else { return self.inner.open(id) };
        let blob = self.inner.open(real)?;
        match convert(&blob, (*id, *real), conversion, &self.sizes, &self.folder) {
            Ok(blob) => Some(blob),
            Err(error) => {
                log::warn!("blob {real} cannot be converted: {error}");
                None
            }
        }
    }

    fn want(&self, id: ObjectId, path: &[u8], done: Done<Blob>) {
        let Some((real, conversion)) = self.blobs.get(&id) else { return self.inner.want(id, path, done) };
        let (real, conversion, folder) = (*real, Arc::clone(conversion), self.folder.clone());
        let sizes = Arc::clone(&self.sizes);
        let then = move |came: io::Result<Blob>| {
            done(came.and_then(|blob| convert(&blob, (id, real), &conversion, &sizes, &folder)));
        };
        self.inner.want(real, path, Box::new(then));
    }

    fn diverges(&self, id: ObjectId) {
        self.inner.diverges(self.blobs.get(&id).map_or(id, |(real, _)| *real));
    }
}
