//! Where an upload waits until it is whole: in memory while it is small, else in a file without a name, which is gone
//! when the process is.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use cairn_protocol::pack::PackBytes;

use crate::limits::{PUSH_PACK_BYTES_MAX, SPOOL_MEMORY_BYTES_MAX};

/// An upload under way.
#[derive(Default)]
pub struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
    /// Bytes of the file that were cut off its front.
    skipped: u64,
    len: u64,
}

impl Spool {
    /// Whether the next bytes go to disk, so that writing them may block.
    pub fn is_on_disk(&self, more: usize) -> bool {
        self.file.is_some() || self.memory.len() + more > SPOOL_MEMORY_BYTES_MAX
    }

    /// Appends; `dir` is where the file is made once memory does not do.
    pub fn write(&mut self, dir: &Path, bytes: &[u8]) -> io::Result<()> {
        if self.len + bytes.len() as u64 > PUSH_PACK_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("the pack is larger than {PUSH_PACK_BYTES_MAX} bytes"),
            ));
        }
        self.len += bytes.len() as u64;
        if self.file.is_none() && self.memory.len() + bytes.len() <= SPOOL_MEMORY_BYTES_MAX {
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        if self.file.is_none() {
            let mut file = tempfile::tempfile_in(dir)?;
            file.write_all(&self.memory)?;
            self.memory = Vec::new();
            self.file = Some(file);
        }
        self.file.as_mut().expect("made above").write_all(bytes)
    }

    /// Takes the first `count` bytes away.
    pub fn cut_front(&mut self, count: u64) {
        let count = count.min(self.len);
        self.len -= count;
        match self.file {
            Some(_) => self.skipped += count,
            None => drop(self.memory.drain(..count as usize)),
        }
    }

    /// Up to `count` bytes from the front.
    pub fn front(&self, count: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.len.min(count) as usize];
        self.read_at(0, &mut bytes)?;
        Ok(bytes)
    }
}

/// Whether `dir` takes files now: one without a name is written and given up.
pub fn probe(dir: &Path) -> io::Result<()> {
    let mut file = tempfile::tempfile_in(dir)?;
    file.write_all(&[0; 4_096])?;
    file.sync_data()
}

impl PackBytes for Spool {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        match &self.file {
            Some(file) => file.read_exact_at(into, at + self.skipped),
            None => self.memory.as_slice().read_at(at, into),
        }
    }
}
