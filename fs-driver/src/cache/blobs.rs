//! Blobs as plain files, `<algo>/ab/<hex>`, shared by all mounts of one user.
//!
//! A file appears under its name only when it is whole and its hash was computed, and each process computes it again before it
//! first shows the file: a disk may lose what it was not told to sync. Who uses it holds a shared lock on it, and
//! eviction takes only what it can lock alone, so that no process evicts what another one uses.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use cairn_protocol::object::{HashAlgo, Hasher, Kind, ObjectId};

use super::recent::{Held, Recent};
use crate::config::private_folder;
use crate::gitdir::idx::finished;
use crate::limits::{
    CACHE_CHECK_BYTES, CACHE_CHECKED_MAX, CACHE_KEPT_PERCENT, CACHE_STAGE_AGE_MAX, CACHE_TOUCH_AFTER,
};
use crate::port::Blob;

/// The count of filled bytes before the first look.
const UNSEEN: u64 = u64::MAX / 2;

/// The cache.
pub struct Blobs {
    folder: PathBuf,
    bytes_max: u64,
    /// Bytes filled since the last look at the whole cache.
    filled_bytes: AtomicU64,
    /// Bytes that were here at the last look.
    seen_bytes: AtomicU64,
    /// The first bytes of the ids whose content this process has hashed.
    checked: Mutex<HashSet<[u8; 8]>>,
    /// Its locks are taken with no other lock held.
    recent: Recent,
}

/// What an eviction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Files that are left.
    pub kept: u64,
    /// Their bytes.
    pub kept_bytes: u64,
    /// Files that are gone.
    pub gone: u64,
    /// Their bytes.
    pub gone_bytes: u64,
}

impl Blobs {
    /// Opens the cache in `folder`. It is kept below `bytes_max` bytes.
    pub fn open(folder: &Path, bytes_max: u64) -> io::Result<Self> {
        private_folder(folder)?;
        // The first fill looks at what earlier runs left.
        Ok(Self {
            folder: folder.to_owned(),
            bytes_max,
            filled_bytes: AtomicU64::new(UNSEEN),
            seen_bytes: AtomicU64::new(0),
            checked: Mutex::default(),
            recent: Recent::new(),
        })
    }

    fn path(&self, id: &ObjectId) -> PathBuf {
        let hex = id.to_string();
        self.folder.join(id.algo().name()).join(hex.get(..2).unwrap_or_default()).join(hex)
    }

    /// Whether a blob is here.
    pub fn has(&self, id: &ObjectId) -> bool {
        self.path(id).exists()
    }

    /// The size of a blob that is here.
    pub fn size(&self, id: &ObjectId) -> Option<u64> {
        fs::metadata(self.path(id)).ok().map(|meta| meta.len())
    }

    /// A blob that is here, kept from eviction while it is used.
    pub fn open_blob(&self, id: &ObjectId) -> io::Result<Option<Blob>> {
        if let Some(blob) = self.recent.get(id) {
            return Ok(Some(blob));
        }
        let path = self.path(id);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        let held = Held::new(file, meta.len());
        let blob = held.blob();
        if !self.is_checked(id) {
            if !is_what_it_says(&blob.file, meta.len(), id)? {
                // A loss of power or a broken disk. It is fetched again.
                log::warn!("{}: the content does not fit the name; removed", path.display());
                fs::remove_file(&path)?;
                return Ok(None);
            }
            self.note_checked(id);
        }
        let now = SystemTime::now();
        let is_old = |used: SystemTime| now.duration_since(used).is_ok_and(|age| age > CACHE_TOUCH_AFTER);
        if meta.modified().is_ok_and(is_old) {
            // Only the order of eviction suffers.
            let _ = blob.file.set_modified(now);
        }
        self.recent.put(id, &held);
        Ok(Some(blob))
    }

    /// Closes what was left open a while ago.
    pub fn close_idle(&self) {
        self.recent.close_idle();
    }

    fn is_checked(&self, id: &ObjectId) -> bool {
        let checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        first_bytes(id).is_some_and(|bytes| checked.contains(&bytes))
    }

    fn note_checked(&self, id: &ObjectId) {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.len() >= CACHE_CHECKED_MAX {
            // They are only hashed once more.
            checked.clear();
        }
        checked.extend(first_bytes(id));
    }

    /// Takes a blob in. Refuses content that is not what `id` names.
    pub fn fill(&self, id: &ObjectId, content: &[u8]) -> io::Result<()> {
        let mut hasher = Hasher::for_object(id.algo(), Kind::Blob, content.len() as u64);
        hasher.update(content);
        let found = finished(hasher)?;
        if found != *id {
            let text = format!("content of {found} instead of {id}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let path = self.path(id);
        if self.is_checked(id) && path.exists() {
            return Ok(());
        }
        let folder = path.parent().expect("a cached file has a folder");
        let stage = || tempfile::Builder::new().prefix("tmp_").tempfile_in(folder);
        let mut file = match stage() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(folder)?;
                stage()?
            }
            made => made?,
        };
        file.write_all(content)?;
        file.persist(&path).map_err(|error| error.error)?;
        self.note_checked(id);
        let filled = content.len() as u64;
        let before = self.filled_bytes.fetch_add(filled, Ordering::Relaxed);
        if before.saturating_add(filled) > self.bytes_max / 16 {
            self.evict(self.bytes_max)?;
        }
        Ok(())
    }

    /// Bytes that are here, as of the last look and what was filled since. Other processes may have changed that.
    pub fn used_bytes(&self) -> u64 {
        let filled = self.filled_bytes.load(Ordering::Relaxed);
        // Before the first look, which the first fill makes, little is known to be here.
        let filled = if filled >= UNSEEN { 0 } else { filled };
        self.seen_bytes.load(Ordering::Relaxed).saturating_add(filled)
    }

    /// Looks how many bytes are here.
    pub fn look(&self) -> io::Result<u64> {
        self.look_at_each(&mut |_| ())
    }

    /// Looks how many bytes are here, and calls `each` with every blob that is.
    pub fn look_at_each(&self, each: &mut dyn FnMut(&ObjectId)) -> io::Result<u64> {
        Ok(self.evict_and_tell(u64::MAX, each)?.kept_bytes)
    }

    /// Removes what was used longest ago until `bytes_max` holds, if it does not hold already.
    pub fn evict(&self, bytes_max: u64) -> io::Result<Evicted> {
        self.evict_and_tell(bytes_max, &mut |_| ())
    }

    fn evict_and_tell(&self, bytes_max: u64, each: &mut dyn FnMut(&ObjectId)) -> io::Result<Evicted> {
        self.filled_bytes.store(0, Ordering::Relaxed);
        let done = self.evict_now(bytes_max, each)?;
        self.seen_bytes.store(done.kept_bytes, Ordering::Relaxed);
        Ok(done)
    }

    fn evict_now(&self, bytes_max: u64, each: &mut dyn FnMut(&ObjectId)) -> io::Result<Evicted> {
        let mut files = Vec::new();
        let mut done = Evicted::default();
        for algo in [HashAlgo::Sha1, HashAlgo::Sha256] {
            for folder in entries(&self.folder.join(algo.name()))? {
                for file in entries(&folder)? {
                    let Ok(meta) = fs::symlink_metadata(&file) else { continue };
                    let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                    let name = file.file_name().unwrap_or_default().as_encoded_bytes();
                    let Some(id) = ObjectId::from_hex(algo, name) else {
                        sweep(&file, used);
                        continue;
                    };
                    each(&id);
                    done.kept += 1;
                    done.kept_bytes += meta.len();
                    // There may be millions: ids take less than paths, and a mere look needs none.
                    if bytes_max < u64::MAX {
                        files.push((used, meta.len(), id));
                    }
                }
            }
        }
        if done.kept_bytes <= bytes_max {
            return Ok(done);
        }
        // What is evicted is to be gone.
        self.recent.clear();
        files.sort_unstable();
        let aim = bytes_max / 100 * CACHE_KEPT_PERCENT;
        for (_, bytes, id) in files {
            if done.kept_bytes <= aim {
                break;
            }
            let path = self.path(&id);
            let Ok(file) = File::open(&path) else { continue };
            if file.try_lock().is_err() || fs::remove_file(&path).is_err() {
                continue; // in use, or gone already
            }
            done.kept -= 1;
            done.kept_bytes -= bytes;
            done.gone += 1;
            done.gone_bytes += bytes;
        }
        Ok(done)
    }
}

/// Enough to tell ids apart: two that begin alike cost one check.
fn first_bytes(id: &ObjectId) -> Option<[u8; 8]> {
    id.as_bytes().first_chunk().copied()
}

fn is_what_it_says(file: &File, len: u64, id: &ObjectId) -> io::Result<bool> {
    let mut hasher = Hasher::for_object(id.algo(), Kind::Blob, len);
    let mut buffer = vec![0; CACHE_CHECK_BYTES];
    let mut at = 0;
    loop {
        let got = file.read_at(&mut buffer, at)?;
        if got == 0 {
            return Ok(at == len && finished(hasher)? == *id);
        }
        hasher.update(buffer.get(..got).unwrap_or_default());
        at += got as u64;
    }
}

/// What a crash left. What another process is writing is younger.
fn sweep(stage: &Path, used: SystemTime) {
    if used.elapsed().is_ok_and(|age| age > CACHE_STAGE_AGE_MAX) {
        let _ = fs::remove_file(stage);
    }
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(list) => list.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
