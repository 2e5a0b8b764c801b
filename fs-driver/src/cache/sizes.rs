//! Sizes of blobs that are not here: a file of records `<raw id><size, 8 bytes, big endian>`, appended to, read at the start.
//!
//! A record that a crash cut off is dropped at the next start. Two processes may append the same record: it does no harm.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock};

use cairn_protocol::object::{HashAlgo, ObjectId};

use crate::limits::SIZES_MAX;

/// Known sizes of blobs.
pub struct Sizes {
    known: RwLock<HashMap<ObjectId, u64>>,
    /// Taken before `known`.
    file: Mutex<File>,
}

impl Sizes {
    /// Reads the table in `path`, which is made where it does not exist.
    pub fn open(path: &Path, algo: HashAlgo) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        // Appends of others wait, so that nobody's record is cut.
        file.lock()?;
        let width = algo.bytes() + 8;
        let mut raw = Vec::new();
        Read::take(&mut file, (SIZES_MAX * width) as u64).read_to_end(&mut raw)?;
        let whole = raw.len() / width * width;
        if whole != raw.len() {
            file.set_len(whole as u64)?;
        }
        let mut known = HashMap::with_capacity(raw.len() / width);
        for record in raw.chunks_exact(width) {
            let (id, size) = record.split_at(algo.bytes());
            let size = size.try_into().map(u64::from_be_bytes).unwrap_or_default();
            if let Some(id) = ObjectId::from_bytes(algo, id) {
                known.insert(id, size);
            }
        }
        file.unlock()?;
        Ok(Self { known: RwLock::new(known), file: Mutex::new(file) })
    }

    /// The size of a blob, if it is known.
    pub fn get(&self, id: &ObjectId) -> Option<u64> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }

    /// Adds sizes.
    pub fn add(&self, found: &[(ObjectId, u64)]) -> io::Result<()> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = Vec::new();
        {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            for (id, size) in found {
                if known.len() < SIZES_MAX && known.insert(*id, *size).is_none() {
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
