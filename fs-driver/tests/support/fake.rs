//! Objects in memory, with switches for what is not local.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use cairn_fs::fs::{DotGit, Options};
use cairn_fs::port::{Blob, Done, Objects, Pin};
use cairn_protocol::object::{HashAlgo, Kind, ObjectId, hash_object};

#[derive(Default)]
pub struct Fake {
    trees: Mutex<HashMap<ObjectId, Vec<u8>>>,
    blobs: Mutex<HashMap<ObjectId, (Arc<File>, u64)>>,
    /// Blobs that must be fetched.
    pub cold: Mutex<HashSet<ObjectId>>,
    /// Blobs of unknown size.
    pub sizeless: Mutex<HashSet<ObjectId>>,
    /// Fetches never end.
    pub hang: AtomicBool,
    hanging: Mutex<Vec<Done<Blob>>>,
    pub size_requests: AtomicUsize,
    pub blob_requests: AtomicUsize,
}

struct NoPin;
impl Pin for NoPin {}

/// Path, mode and content.
pub type FileOf<'a> = (&'a str, &'a str, &'a [u8]);

pub fn id_of(data: &[u8]) -> ObjectId {
    hash_object(HashAlgo::Sha1, Kind::Blob, data).unwrap()
}

impl Fake {
    pub fn add_blob(&self, data: &[u8]) -> ObjectId {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(data).unwrap();
        let id = id_of(data);
        self.blobs.lock().unwrap().insert(id, (Arc::new(file), data.len() as u64));
        id
    }

    pub fn add_tree(&self, raw: Vec<u8>) -> ObjectId {
        let id = hash_object(HashAlgo::Sha1, Kind::Tree, &raw).unwrap();
        self.trees.lock().unwrap().insert(id, raw);
        id
    }

    /// Makes the trees of files given as path, mode and content.
    pub fn tree_of(&self, files: &[FileOf<'_>]) -> ObjectId {
        let mut here: Vec<(String, String, ObjectId)> = Vec::new();
        let mut below: BTreeMap<&str, Vec<FileOf<'_>>> = BTreeMap::new();
        for (path, mode, data) in files {
            match path.split_once('/') {
                Some((dir, rest)) => below.entry(dir).or_default().push((rest, mode, data)),
                None => here.push((path.to_string(), mode.to_string(), self.add_blob(data))),
            }
        }
        for (dir, files) in below {
            here.push((dir.to_string(), "40000".to_string(), self.tree_of(&files)));
        }
        here.sort_by_key(|(name, mode, _)| if mode == "40000" { format!("{name}/") } else { name.clone() });
        let mut raw = Vec::new();
        for (name, mode, id) in here {
            raw.extend(format!("{mode} {name}\0").bytes());
            raw.extend(id.as_bytes());
        }
        self.add_tree(raw)
    }

    fn blob(&self, id: &ObjectId) -> Option<Blob> {
        let blobs = self.blobs.lock().unwrap();
        let (file, size) = blobs.get(id)?;
        Some(Blob { file: Arc::clone(file), size: *size, pin: Arc::new(NoPin) })
    }

    pub fn hanging(&self) -> usize {
        self.hanging.lock().unwrap().len()
    }

    /// Ends all fetches that hang.
    pub fn fail_hanging(&self) {
        for done in std::mem::take(&mut *self.hanging.lock().unwrap()) {
            done(Err(io::Error::other("gone")));
        }
    }
}

impl Objects for Fake {
    fn algo(&self) -> HashAlgo {
        HashAlgo::Sha1
    }

    fn tree(&self, id: &ObjectId) -> io::Result<Vec<u8>> {
        let tree = self.trees.lock().unwrap().get(id).cloned();
        tree.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no tree {id}")))
    }

    fn size(&self, id: &ObjectId) -> Option<u64> {
        if self.sizeless.lock().unwrap().contains(id) {
            return None;
        }
        Some(self.blob(id)?.size)
    }

    fn want_sizes(&self, ids: Vec<ObjectId>, _near: &[u8], done: Done<()>) {
        self.size_requests.fetch_add(1, Ordering::SeqCst);
        let mut sizeless = self.sizeless.lock().unwrap();
        ids.iter().for_each(|id| {
            sizeless.remove(id);
        });
        drop(sizeless);
        std::thread::spawn(move || done(Ok(())));
    }

    fn want_contents(&self, ids: Vec<ObjectId>, _near: &[u8], done: Done<()>) {
        let mut cold = self.cold.lock().unwrap();
        ids.iter().for_each(|id| {
            cold.remove(id);
        });
        drop(cold);
        std::thread::spawn(move || done(Ok(())));
    }

    fn open(&self, id: &ObjectId) -> Option<Blob> {
        if self.cold.lock().unwrap().contains(id) { None } else { self.blob(id) }
    }

    fn want(&self, id: ObjectId, _path: &[u8], done: Done<Blob>) {
        self.blob_requests.fetch_add(1, Ordering::SeqCst);
        if self.hang.load(Ordering::SeqCst) {
            self.hanging.lock().unwrap().push(done);
            return;
        }
        self.cold.lock().unwrap().remove(&id);
        let blob = self.blob(&id).ok_or_else(|| io::Error::other("no such blob"));
        std::thread::spawn(move || done(blob));
    }

    fn diverges(&self, _id: ObjectId) {}
}

pub fn options(read_deadline: Duration) -> Options {
    Options {
        dotgit: DotGit::Symlink("/elsewhere/git".into()),
        read_only: false,
        uid: 0,
        gid: 0,
        commit_time: UNIX_EPOCH + Duration::new(1_600_000_000, 0),
        read_deadline,
    }
}
