//! The port through which a stored pack is read, and a window that slides over it once.

use crate::object::{Collision, HashAlgo, Hasher, ObjectId};
use crate::pack::PackError;
use crate::pack::entry::{self, EntryHeader};
use crate::pack::limits::{ENTRY_HEADER_BYTES_MAX, PACK_HEADER_BYTES, STEP_BYTES};

/// The bytes of one stored pack, which do not change while they are read.
#[allow(clippy::len_without_is_empty, reason = "no pack is empty")]
pub trait PackBytes: Sync {
    /// Bytes of the pack, trailer included.
    fn len(&self) -> u64;

    /// Fills `into` from byte `at` on. An error where the pack ends before.
    fn read_at(&self, at: u64, into: &mut [u8]) -> std::io::Result<()>;
}

impl PackBytes for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> std::io::Result<()> {
        let from =
            usize::try_from(at).ok().and_then(|at| self.get(at..)).and_then(|rest| rest.get(..into.len()));
        into.copy_from_slice(from.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl PackBytes for Vec<u8> {
    fn len(&self) -> u64 {
        PackBytes::len(self.as_slice())
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> std::io::Result<()> {
        self.as_slice().read_at(at, into)
    }
}

/// Slides over a pack from its first byte to its trailer, and hashes what it reads.
pub(crate) struct Window<'a> {
    bytes: &'a dyn PackBytes,
    algo: HashAlgo,
    hasher: Hasher,
    buffer: Vec<u8>,
    /// The unread part of `buffer`.
    start: usize,
    filled: usize,
    /// Bytes from the start of the pack to the end of the filled part.
    read_to: u64,
    /// Where the trailer starts.
    end: u64,
}

impl<'a> Window<'a> {
    pub(crate) fn new(bytes: &'a dyn PackBytes, algo: HashAlgo) -> Result<Self, PackError> {
        let end = bytes.len().checked_sub(algo.bytes() as u64).filter(|end| *end >= PACK_HEADER_BYTES);
        let end = end.ok_or(PackError::Truncated { at: 0 })?;
        let buffer = vec![0; STEP_BYTES];
        Ok(Self { bytes, algo, hasher: Hasher::new(algo), buffer, start: 0, filled: 0, read_to: 0, end })
    }

    /// Bytes from the start of the pack to the first unread one.
    pub(crate) fn at(&self) -> u64 {
        self.read_to - (self.filled - self.start) as u64
    }

    /// Where the trailer starts.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn available(&self) -> &[u8] {
        self.buffer.get(self.start..self.filled).unwrap_or_default()
    }

    pub(crate) fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.filled);
    }

    /// Reads on. `false` where nothing is left before the trailer, or nothing was consumed since the window was full.
    pub(crate) fn fill(&mut self) -> Result<bool, PackError> {
        self.buffer.copy_within(self.start..self.filled, 0);
        (self.start, self.filled) = (0, self.filled - self.start);
        let room = (self.buffer.len() - self.filled) as u64;
        let more = room.min(self.end - self.read_to) as usize;
        let into = self.buffer.get_mut(self.filled..self.filled + more).unwrap_or_default();
        self.bytes.read_at(self.read_to, into)?;
        self.hasher.update(into);
        self.filled += more;
        self.read_to += more as u64;
        Ok(more > 0)
    }

    /// The next `N` bytes.
    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], PackError> {
        let at = self.at();
        if self.available().len() < N {
            self.fill()?;
        }
        let taken = self.available().first_chunk().copied().ok_or(PackError::Truncated { at })?;
        self.consume(N);
        Ok(taken)
    }

    /// Reads the entry header that comes next.
    pub(crate) fn header(&mut self) -> Result<EntryHeader, PackError> {
        let at = self.at();
        if self.available().len() < ENTRY_HEADER_BYTES_MAX {
            self.fill()?;
        }
        let header = entry::decode(self.algo, self.available()).map_err(|error| error.moved_to(at))?;
        let header = header.ok_or(PackError::Truncated { at })?;
        self.consume(header.header_bytes);
        Ok(header)
    }

    /// Compares the trailer with what was read. All that comes before it must have been consumed.
    pub(crate) fn finish(self) -> Result<ObjectId, PackError> {
        if self.at() != self.end {
            return Err(PackError::Malformed { at: self.at(), why: "bytes after the last entry" });
        }
        let mut raw = [0; 32];
        let raw = raw.get_mut(..self.algo.bytes()).unwrap_or_default();
        self.bytes.read_at(self.end, raw)?;
        let found = ObjectId::from_bytes(self.algo, raw).ok_or(PackError::Truncated { at: self.end })?;
        let computed = self.hasher.finish().map_err(|Collision| PackError::Collision { at: 0 })?;
        if found == computed { Ok(found) } else { Err(PackError::Checksum { found, computed }) }
    }
}
