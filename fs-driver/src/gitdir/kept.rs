//! All trees of a commit as one file, so that later mounts of it read each as it is instead of making it of deltas.
//!
//! The file has the name of the root tree. It holds a head (what it is and of which version, the root), then each tree once as
//! `<id><length, 4 bytes, big endian><the tree's bytes>`, in the order in which a walk first meets it, and at the end the
//! CRC-32 of all that. How files are shown is no part of it: hidden names and conversions are worked out on what is
//! read, so that no setting makes it stale.
//!
//! What is damaged, cut off or of another version is no listing: it is removed, and the next walk of the packs writes it
//! anew. That is why nothing here waits for the disk.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cairn_protocol::object::ObjectId;
use tempfile::NamedTempFile;

use super::pack::broken;
use crate::config::private_folder;
use crate::limits::{
    CACHE_STAGE_AGE_MAX, KEPT_TREES_BYTES_MAX, KEPT_TREES_COUNT_MAX, KEPT_TREES_TOTAL_BYTES_MAX,
};

/// What the file is, and its version.
const MAGIC: &[u8; 8] = b"CAIRNTR\x01";
/// Bytes of the length in front of a tree.
const LEN_BYTES: usize = 4;
/// Bytes of the checksum.
const CRC_BYTES: usize = 4;
/// Bytes that are read or written at once.
const BUFFER_BYTES: usize = 64 << 10;
/// Names of what is not whole yet.
const STAGE: &str = "tmp_";

/// Where one tree is.
struct Place {
    id: ObjectId,
    at: u64,
    len: u32,
}

/// The trees of one commit.
pub struct Kept {
    file: File,
    /// In the order of the ids.
    places: Vec<Place>,
}

/// Reads and sums up.
struct Summed<R> {
    from: R,
    crc: crc32fast::Hasher,
    left: u64,
}

impl<R: Read> Summed<R> {
    fn take(&mut self, into: &mut [u8]) -> io::Result<()> {
        self.left =
            self.left.checked_sub(into.len() as u64).ok_or_else(|| broken("kept trees that are cut off"))?;
        self.from.read_exact(into)?;
        self.crc.update(into);
        Ok(())
    }
}

fn path_of(folder: &Path, root: &ObjectId) -> PathBuf {
    folder.join(root.to_string())
}

impl Kept {
    /// The trees below `root` that an earlier mount kept in `folder`; `None` where none are, or none that can be used.
    pub fn open(folder: &Path, root: &ObjectId) -> Option<Self> {
        let path = path_of(folder, root);
        match Self::load(&path, root) {
            Ok(kept) => Some(kept),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                log::info!("{}: {error}; it is written anew", path.display());
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    fn load(path: &Path, root: &ObjectId) -> io::Result<Self> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        if meta.len() > KEPT_TREES_BYTES_MAX {
            return Err(broken(format_args!(
                "{} bytes, at most {KEPT_TREES_BYTES_MAX} are kept",
                meta.len()
            )));
        }
        let left =
            meta.len().checked_sub(CRC_BYTES as u64).ok_or_else(|| broken("kept trees without an end"))?;
        let from = BufReader::with_capacity(BUFFER_BYTES, &file);
        let mut summed = Summed { from, crc: crc32fast::Hasher::new(), left };
        let (mut magic, mut id) = ([0; MAGIC.len()], vec![0; root.algo().bytes()]);
        summed.take(&mut magic)?;
        summed.take(&mut id)?;
        if magic != *MAGIC || id != root.as_bytes() {
            return Err(broken("kept trees of another version or of another commit"));
        }
        let (mut places, mut raw) = (Vec::new(), Vec::new());
        while summed.left > 0 {
            let mut len = [0; LEN_BYTES];
            summed.take(&mut id)?;
            summed.take(&mut len)?;
            let (at, len) = (left - summed.left, u32::from_be_bytes(len));
            if u64::from(len) > summed.left {
                return Err(broken("a kept tree behind the end"));
            }
            raw.resize(len as usize, 0);
            summed.take(&mut raw)?;
            let id = ObjectId::from_bytes(root.algo(), &id).ok_or_else(|| broken("a short id"))?;
            places.push(Place { id, at, len });
        }
        let mut crc = [0; CRC_BYTES];
        summed.from.read_exact(&mut crc)?;
        if summed.crc.finalize().to_be_bytes() != crc {
            return Err(broken("kept trees that do not fit their checksum"));
        }
        places.sort_unstable_by_key(|place| place.id);
        // What was used last is removed last.
        let _ = file.set_modified(SystemTime::now());
        Ok(Self { file, places })
    }

    /// The bytes of a tree; `None` where it is not one of these.
    pub fn get(&self, id: &ObjectId) -> io::Result<Option<Vec<u8>>> {
        let Ok(found) = self.places.binary_search_by_key(id, |place| place.id) else { return Ok(None) };
        let place = &self.places[found];
        let mut raw = vec![0; place.len as usize];
        self.file.read_exact_at(&mut raw, place.at)?;
        Ok(Some(raw))
    }
}

/// Trees that are being written while they are walked.
pub struct Keeper {
    folder: PathBuf,
    root: ObjectId,
    out: BufWriter<NamedTempFile>,
    crc: crc32fast::Hasher,
    known: HashSet<ObjectId>,
    bytes: u64,
}

impl Keeper {
    /// Begins a file for the trees below `root`.
    pub fn new(folder: &Path, root: ObjectId) -> io::Result<Self> {
        private_folder(folder)?;
        let file = tempfile::Builder::new().prefix(STAGE).tempfile_in(folder)?;
        let (out, crc) = (BufWriter::with_capacity(BUFFER_BYTES, file), crc32fast::Hasher::new());
        let known = HashSet::new();
        let mut keeper = Self { folder: folder.to_owned(), root, out, crc, known, bytes: 0 };
        keeper.put(MAGIC)?;
        keeper.put(root.as_bytes())?;
        Ok(keeper)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.crc.update(bytes);
        self.out.write_all(bytes)
    }

    /// Adds a tree, unless it is there. Fails where there are more than are kept, too.
    pub fn add(&mut self, id: &ObjectId, raw: &[u8]) -> io::Result<()> {
        if !self.known.insert(*id) {
            return Ok(());
        }
        let bytes = self.bytes + (id.as_bytes().len() + LEN_BYTES + raw.len() + CRC_BYTES) as u64;
        let len = u32::try_from(raw.len()).ok().filter(|_| bytes <= KEPT_TREES_BYTES_MAX);
        let Some(len) = len else {
            return Err(io::Error::other(format!(
                "trees of more than {KEPT_TREES_BYTES_MAX} bytes are not kept"
            )));
        };
        self.put(id.as_bytes())?;
        self.put(&len.to_be_bytes())?;
        self.put(raw)
    }

    /// Puts the file where later mounts find it, and removes those that were used longest ago.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&self.crc.finalize().to_be_bytes())?;
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        let path = path_of(&self.folder, &self.root);
        file.persist(&path).map_err(|error| error.error)?;
        evict(&self.folder, &path)
    }
}

/// Removes what was used longest ago until the bounds hold, but not `newest`.
fn evict(folder: &Path, newest: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (meta, path) = (entry.metadata()?, entry.path());
        let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        if entry.file_name().as_encoded_bytes().starts_with(STAGE.as_bytes()) {
            // What a crash left. What another process is writing is younger.
            if used.elapsed().is_ok_and(|age| age > CACHE_STAGE_AGE_MAX) {
                fs::remove_file(path)?;
            }
        } else if path != newest {
            files.push((used, meta.len(), path));
        }
    }
    files.sort_unstable();
    let mut left =
        (files.len() + 1, fs::metadata(newest)?.len() + files.iter().map(|file| file.1).sum::<u64>());
    for (_, bytes, path) in files {
        if left.0 <= KEPT_TREES_COUNT_MAX && left.1 <= KEPT_TREES_TOTAL_BYTES_MAX {
            break;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => left = (left.0 - 1, left.1 - bytes),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use cairn_protocol::object::HashAlgo;

    use super::*;

    fn id(nth: u32) -> ObjectId {
        let mut bytes = [7; 20];
        bytes[..4].copy_from_slice(&nth.to_be_bytes());
        ObjectId::from_bytes(HashAlgo::Sha1, &bytes).unwrap()
    }

    fn keep(folder: &Path, root: ObjectId, trees: &[(ObjectId, Vec<u8>)]) {
        let mut keeper = Keeper::new(folder, root).unwrap();
        trees.iter().for_each(|(id, raw)| keeper.add(id, raw).unwrap());
        keeper.finish().unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn each_tree_is_kept_once_and_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let trees = [(id(9), b"root".to_vec()), (id(3), Vec::new()), (id(5), vec![1; 300_000])];
        keep(dir.path(), id(9), &[&trees[..], &trees[..]].concat());
        let kept = Kept::open(dir.path(), &id(9)).unwrap();
        assert_eq!(kept.places.len(), trees.len());
        trees.iter().for_each(|(id, raw)| assert_eq!(kept.get(id).unwrap().as_ref(), Some(raw)));
        assert_eq!(kept.get(&id(4)).unwrap(), None);
        assert!(Kept::open(dir.path(), &id(3)).is_none(), "it is the trees of another root");
    }

    #[test]
    fn what_is_damaged_cut_off_or_of_another_version_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let root = id(1);
        keep(dir.path(), root, &[(root, b"root".to_vec()), (id(2), b"folder".to_vec())]);
        let path = path_of(dir.path(), &root);
        let whole = fs::read(&path).unwrap();
        let flipped = (0..whole.len()).map(|at| {
            let mut raw = whole.clone();
            raw[at] ^= 0x10;
            raw
        });
        let cut = (0..whole.len()).map(|len| whole[..len].to_vec());
        let longer = [[&whole[..], b"x"].concat(), [&whole[..], &whole[..]].concat()];
        for raw in flipped.chain(cut).chain(longer) {
            fs::write(&path, &raw).unwrap();
            assert!(Kept::open(dir.path(), &root).is_none(), "{}", raw.escape_ascii());
            assert!(!path.exists(), "{}", raw.escape_ascii());
        }
        fs::write(&path, &whole).unwrap();
        assert!(Kept::open(dir.path(), &root).is_some());
        // The trees of another commit under this name.
        fs::copy(&path, path_of(dir.path(), &id(2))).unwrap();
        assert!(Kept::open(dir.path(), &id(2)).is_none());
    }

    #[test]
    fn those_used_longest_ago_go_beyond_the_count_and_an_unfinished_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let at = |nth: u64| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 + nth);
        let count = KEPT_TREES_COUNT_MAX as u32;
        for nth in 0..count {
            keep(dir.path(), id(nth), &[(id(nth), vec![0; 8])]);
            let path = path_of(dir.path(), &id(nth));
            File::options().write(true).open(path).unwrap().set_modified(at(u64::from(nth))).unwrap();
        }
        drop(Keeper::new(dir.path(), id(count)).unwrap());
        assert_eq!(names(dir.path()).len(), KEPT_TREES_COUNT_MAX);
        // The oldest is used again: the one after it is now the oldest.
        assert!(Kept::open(dir.path(), &id(0)).is_some());
        keep(dir.path(), id(count), &[(id(count), vec![0; 8])]);
        let mut left: Vec<_> = (0..=count).filter(|nth| *nth != 1).map(|nth| id(nth).to_string()).collect();
        left.sort();
        assert_eq!(names(dir.path()), left);
    }

    #[test]
    fn those_used_longest_ago_go_beyond_the_bytes() {
        let dir = tempfile::tempdir().unwrap();
        for nth in 0..4 {
            keep(dir.path(), id(nth), &[]);
            let file = File::options().write(true).open(path_of(dir.path(), &id(nth))).unwrap();
            file.set_len(KEPT_TREES_TOTAL_BYTES_MAX / 2).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(nth)))
                .unwrap();
        }
        keep(dir.path(), id(4), &[]);
        assert_eq!(names(dir.path()), [id(3).to_string(), id(4).to_string()]);
    }

    #[test]
    fn more_than_the_bytes_of_one_commit_are_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let head = (MAGIC.len() + 20 + CRC_BYTES) as u64;
        let fit = KEPT_TREES_BYTES_MAX - head - (20 + LEN_BYTES) as u64;
        for (first, second) in [(fit + 1, false), (fit, true)] {
            let mut keeper = Keeper::new(dir.path(), id(0)).unwrap();
            assert_eq!(keeper.add(&id(1), &vec![0; first as usize]).is_ok(), second);
            assert!(!second || keeper.add(&id(2), b"").is_err());
        }
        let mut keeper = Keeper::new(dir.path(), id(0)).unwrap();
        keeper.add(&id(1), &vec![0; fit as usize]).unwrap();
        keeper.finish().unwrap();
        assert!(Kept::open(dir.path(), &id(0)).is_some());
        assert_eq!(names(dir.path()), [id(0).to_string()]);
    }
}
