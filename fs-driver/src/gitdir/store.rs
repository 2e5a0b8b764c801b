//! The objects that all mounts of one remote share: packs with their indexes, what is complete, and what is shallow.
//!
//! `objects/` is an object folder as git's alternates take it. Nothing in it is ever removed while the store exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use cairn_protocol::object::{HashAlgo, Kind, ObjectId};
use serde::{Deserialize, Serialize};

use super::idx;
use super::pack::{Pack, broken};
use super::receive::Received;
use super::staging;

/// What is known about the history that a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Commits whose trees are here in full. `true`: with their whole history.
    pub tips: BTreeMap<String, bool>,
    /// Commits whose parents are not here.
    pub shallow: BTreeSet<String>,
    /// Whether blobs came along, since the remote knows no filters.
    pub has_blobs: bool,
}

/// The store of one remote.
pub struct Store {
    folder: PathBuf,
    algo: HashAlgo,
    packs: RwLock<Vec<(PathBuf, Arc<Pack>)>>,
    /// Held while facts are read, changed and written. No other lock is taken meanwhile.
    facts: Mutex<()>,
}

impl Store {
    /// Opens the store in `folder`, which is made where it does not exist.
    pub fn open(folder: &Path, algo: HashAlgo) -> io::Result<Self> {
        crate::config::private_folder(folder)?;
        fs::create_dir_all(folder.join("objects/pack"))?;
        fs::create_dir_all(folder.join("objects/info"))?;
        let store = Self { folder: folder.to_owned(), algo, packs: RwLock::default(), facts: Mutex::new(()) };
        staging::sweep(&store.pack_folder())?;
        store.reload()?;
        Ok(store)
    }

    /// The hash that names its objects.
    pub fn algo(&self) -> HashAlgo {
        self.algo
    }

    /// What git's `objects/info/alternates` is to name.
    pub fn objects(&self) -> PathBuf {
        self.folder.join("objects")
    }

    /// Where packs are received.
    pub fn pack_folder(&self) -> PathBuf {
        self.folder.join("objects/pack")
    }

    /// Looks for packs that came since.
    pub fn reload(&self) -> io::Result<()> {
        let mut packs = self.packs.write().unwrap_or_else(PoisonError::into_inner);
        for entry in fs::read_dir(self.pack_folder())? {
            let path = entry?.path();
            if path.extension().is_none_or(|ext| ext != "idx") {
                continue;
            }
            let path = path.with_extension("pack");
            if packs.iter().all(|(known, _)| *known != path) {
                let pack = Arc::new(Pack::open(&path, self.algo)?);
                packs.push((path, pack));
            }
        }
        Ok(())
    }

    /// A whole object, checked against its name.
    pub fn read(&self, id: &ObjectId) -> io::Result<Option<(Kind, Vec<u8>)>> {
        let packs: Vec<_> = {
            let packs = self.packs.read().unwrap_or_else(PoisonError::into_inner);
            packs.iter().rev().map(|(_, pack)| Arc::clone(pack)).collect()
        };
        for pack in packs {
            if let Some(found) = pack.read(id)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// A tree's bytes.
    pub fn tree(&self, id: &ObjectId) -> io::Result<Vec<u8>> {
        match self.read(id)? {
            Some((Kind::Tree, data)) => Ok(data),
            Some((kind, _)) => Err(broken(format_args!("{id} is a {}, not a tree", kind.name()))),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("tree {id} is not here"))),
        }
    }

    /// Puts a pack where git and later reads find it.
    pub fn keep(&self, received: Received) -> io::Result<()> {
        let Received { file, pack } = received;
        if pack.is_empty() {
            return Ok(());
        }
        let folder = self.pack_folder();
        let name = folder.join(format!("pack-{}.pack", pack.trailer()));
        let index = staging::create(&folder, staging::INDEX)?;
        idx::write(&pack, file.as_file(), io::BufWriter::new(index.as_file()))?;
        index.as_file().sync_data()?;
        file.as_file().sync_data()?;
        // git takes a pack for complete as soon as it sees the index: that comes last.
        File::create(name.with_extension("promisor"))?;
        file.persist(&name).map_err(|error| error.error)?;
        index.persist(name.with_extension("idx")).map_err(|error| error.error)?;
        File::open(&folder)?.sync_all()?;
        self.reload()
    }

    /// What is known about the history.
    pub fn facts(&self) -> io::Result<Facts> {
        match fs::read(self.folder.join("facts.json")) {
            Ok(raw) => Ok(serde_json::from_slice(&raw)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Facts::default()),
            Err(error) => Err(error),
        }
    }

    /// Changes what is known about the history, one process after the other.
    pub fn update_facts(&self, change: impl FnOnce(&mut Facts)) -> io::Result<Facts> {
        let _held = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = File::create(self.folder.join("facts.lock"))?;
        lock.lock()?;
        let mut facts = self.facts()?;
        change(&mut facts);
        crate::config::write_whole(&self.folder.join("facts.json"), &serde_json::to_vec(&facts)?)?;
        Ok(facts)
    }
}

/// Writes a loose object, unless it is there already.
pub fn write_loose(objects: &Path, id: &ObjectId, kind: Kind, data: &[u8]) -> io::Result<()> {
    let hex = id.to_string();
    let (folder, rest) = hex.split_at(2);
    let folder = objects.join(folder);
    let path = folder.join(rest);
    if path.exists() {
        return Ok(());
    }
    fs::create_dir_all(&folder)?;
    let file = tempfile::Builder::new().prefix("tmp_obj_").tempfile_in(&folder)?;
    let mut out = flate2::write::ZlibEncoder::new(file.as_file(), flate2::Compression::fast());
    io::Write::write_all(&mut out, format!("{} {}\0", kind.name(), data.len()).as_bytes())?;
    io::Write::write_all(&mut out, data)?;
    out.finish()?;
    let readable = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o444);
    file.as_file().set_permissions(readable)?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(())
}
