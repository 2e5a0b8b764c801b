//! Sizes of blobs that are not here: a file of records `<raw id><size, 8 bytes, big endian>`, appended to, read at the start.
//!
//! A record that a crash cut off is dropped at the next start. Two processes may append the same record: it does no harm.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock};

use cairn_protocol::object::{HashAlgo, ObjectId};

use crate::ids::Ids;
use crate::limits::SIZES_MAX;

/// Bytes that are read from the file at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Known sizes of blobs.
pub struct Sizes {
    known: RwLock<Known>,
    /// Taken before `known`.
    file: Mutex<File>,
}

#[derive(Default)]
struct Known {
    ids: Ids,
    /// At the places of their ids.
    bytes: Vec<u64>,
}

impl Known {
    /// Adds a size; a later one takes the place of an earlier one. Answers whether the id is new.
    fn put(&mut self, id: &ObjectId, size: u64) -> bool {
        match self.ids.insert(id) {
            Some((_, true)) => {
                self.bytes.push(size);
                true
            }
            Some((place, false)) => {
                self.bytes[place as usize] = size;
                false
            }
            None => false,
        }
    }
}

impl Sizes {
    /// Reads the table in `path`, which is made where it does not exist.
    pub fn open(path: &Path, algo: HashAlgo) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        // Appends of others wait, so that nobody's record is cut.
        file.lock()?;
        let (bytes, width) = (file.metadata()?.len(), algo.bytes() + 8);
        let torn = bytes % width as u64;
        if torn != 0 {
            file.set_len(bytes - torn)?;
        }
        let count = usize::try_from(bytes / width as u64).unwrap_or(SIZES_MAX).min(SIZES_MAX);
        let (mut from, mut record) = (BufReader::with_capacity(BUFFER_BYTES, &file), vec![0; width]);
        let mut known = Known::default();
        for _ in 0..count {
            from.read_exact(&mut record)?;
            let (id, size) = record.split_at(algo.bytes());
            let size = size.try_into().map(u64::from_be_bytes).unwrap_or_default();
            if let Some(id) = ObjectId::from_bytes(algo, id) {
                known.put(&id, size);
            }
        }
        drop(from);
        file.unlock()?;
        Ok(Self { known: RwLock::new(known), file: Mutex::new(file) })
    }

    /// The size of a blob, if it is known.
    pub fn get(&self, id: &ObjectId) -> Option<u64> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.bytes.get(known.ids.find(id)? as usize).copied()
    }

    /// Adds sizes.
    pub fn add(&self, found: &[(ObjectId, u64)]) -> io::Result<()> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = Vec::new();
        {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            for (id, size) in found {
                if known.ids.len() < SIZES_MAX && known.put(id, *size) {
                    records.extend_from_slice(id.as_bytes());
                    records.extend_from_slice(&size.to_be_bytes());
                }
            }
        }
        if records.is_empty() {
            return Ok(());
        }
        file.lock()?;
        let written = (&*file).write_all(&records);
        file.unlock()?;
        written
    }
}
