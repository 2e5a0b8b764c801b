//! Which files were read, in which order: the next mount of the same remote brings them first.
//!
//! The list is one file for each remote, of paths that each end in NUL. Paths, not objects: the next mount may be of another
//! commit. What was read last time stands first; what earlier mounts read follows, until the list is full.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cairn_protocol::object::ObjectId;

use crate::config::write_whole;
use crate::gitdir::index::Listing;
use crate::limits::{LEARNT_BYTES_MAX, LEARNT_PATHS_MAX};

/// What this mount read.
#[derive(Default)]
struct Seen {
    order: Vec<ObjectId>,
    known: HashSet<ObjectId>,
    saved_count: usize,
}

/// The list of one remote.
pub struct Learnt {
    path: PathBuf,
    seen: Mutex<Seen>,
    /// Nothing more is noted: a mount that reads everything tells nothing.
    is_full: AtomicBool,
}

impl Learnt {
    /// The list that is kept in `path`, which need not exist.
    pub fn new(path: PathBuf) -> Self {
        Self { path, seen: Mutex::default(), is_full: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A blob was read.
    pub fn note(&self, id: &ObjectId) {
        if self.is_full.load(Ordering::Relaxed) {
            return;
        }
        let mut seen = self.lock();
        if seen.known.insert(*id) {
            seen.order.push(*id);
            self.is_full.store(seen.order.len() >= LEARNT_PATHS_MAX, Ordering::Relaxed);
        }
    }

    /// The rank of each path that earlier mounts read; lower comes first. What cannot be read is no list.
    pub fn ranks(&self) -> HashMap<Vec<u8>, u32> {
        load(&self.path).unwrap_or_default().into_iter().zip(0..).collect()
    }

    /// Puts what was read since the last call into the list.
    pub fn save(&self, listing: &Listing) -> io::Result<()> {
        let order = {
            let seen = self.lock();
            if seen.order.len() == seen.saved_count {
                return Ok(());
            }
            seen.order.clone()
        };
        let places: HashMap<&ObjectId, usize> = order.iter().zip(0..).collect();
        let mut paths: Vec<Option<&[u8]>> = vec![None; order.len()];
        for file in listing.blobs() {
            let slot = places.get(&file.id).and_then(|at| paths.get_mut(*at));
            if let Some(slot) = slot.filter(|slot| slot.is_none()) {
                *slot = Some(file.path);
            }
        }
        // Another mount of the remote may have written meanwhile.
        let before = load(&self.path).unwrap_or_default();
        let out = encode(paths.into_iter().flatten().chain(before.iter().map(Vec::as_slice)));
        write_whole(&self.path, &out)?;
        self.lock().saved_count = order.len();
        Ok(())
    }
}

/// Each path once, as many as the list holds.
fn encode<'a>(paths: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut known = HashSet::new();
    let mut out = Vec::new();
    for path in paths {
        if known.len() >= LEARNT_PATHS_MAX || out.len() + path.len() >= LEARNT_BYTES_MAX {
            break;
        }
        if known.insert(path) {
            out.extend_from_slice(path);
            out.push(0);
        }
    }
    out
}

fn load(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut raw = Vec::new();
    File::open(path)?.take(LEARNT_BYTES_MAX as u64).read_to_end(&mut raw)?;
    // A path without its end is a torn one.
    let whole = raw.iter().rposition(|byte| *byte == 0).map_or(0, |at| at + 1);
    raw.truncate(whole);
    let paths = raw.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    Ok(paths.take(LEARNT_PATHS_MAX).map(<[u8]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;
    use cairn_protocol::object::HashAlgo;

    fn paths(count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|nth| format!("a/path/{nth}\n").into_bytes()).collect()
    }

    fn kept(paths: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), encode(paths.iter().map(Vec::as_slice))).unwrap();
        load(file.path()).unwrap()
    }

    #[test]
    fn a_list_keeps_its_first_paths_each_once_up_to_its_limits() {
        let (full, beyond) = (paths(LEARNT_PATHS_MAX), paths(LEARNT_PATHS_MAX + 1));
        assert_eq!(kept(&full), full);
        assert_eq!(kept(&beyond), full);
        assert_eq!(kept(&[full.clone(), full.clone()].concat()), full);
        let long = |bytes: usize| vec![b'x'; bytes];
        assert_eq!(
            kept(&[long(LEARNT_BYTES_MAX - 1)]).len(),
            1,
            "with its end it is as long as the list may be"
        );
        assert_eq!(kept(&[long(LEARNT_BYTES_MAX)]).len(), 0);
    }

    #[test]
    fn what_a_crash_cut_off_and_what_is_not_there_are_no_paths() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"whole\0also whole\0torn").unwrap();
        let learnt = Learnt::new(file.path().to_owned());
        let ranks = learnt.ranks();
        assert_eq!((ranks.len(), ranks[b"whole".as_slice()], ranks[b"also whole".as_slice()]), (2, 0, 1));
        assert!(Learnt::new(file.path().with_extension("gone")).ranks().is_empty());
    }

    #[test]
    fn a_mount_that_reads_everything_stops_noting() {
        let learnt = Learnt::new(PathBuf::from("/nowhere/at/all"));
        let id = |nth: usize| {
            let mut bytes = [0; 20];
            bytes[..8].copy_from_slice(&nth.to_be_bytes());
            ObjectId::from_bytes(HashAlgo::Sha1, &bytes).unwrap()
        };
        for nth in 0..LEARNT_PATHS_MAX + 10 {
            learnt.note(&id(nth));
            learnt.note(&id(nth));
        }
        assert_eq!(learnt.lock().order.len(), LEARNT_PATHS_MAX);
    }
}
