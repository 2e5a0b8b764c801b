//! Blobs, whole or a range of bytes, in bounded memory.
//!
//! A small one is read whole and kept. A large one that is stored whole is inflated as the client takes it. A large one
//! that is stored as a delta must be made in memory: that takes room, and what was made goes to a file without a
//! name, so that slow clients hold no memory.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use cairn_protocol::object::{HashAlgo, Kind, ObjectId};
use cairn_protocol::pack::entry;
use cairn_protocol::source::{Base, ObjRef, ObjectSource, Record};
use cairn_protocol::walk::WalkError;
use flate2::{Decompress, FlushDecompress, Status};

use super::batches::{Batches, Step};
use super::{Halt, Reading};
use crate::limits::{BLOB_BATCH_BYTES, BLOB_INPUT_BYTES, SMALL_BLOB_BYTES_MAX};
use crate::ops::OpError;
use crate::ops::room::Room;
use crate::store::repo::Snapshot;

/// A blob that can be read.
pub struct Blob {
    /// Its name.
    pub id: ObjectId,
    /// Bytes of the whole blob.
    pub size: u64,
    from: From,
}

enum From {
    Memory(Bytes),
    Pack(Snapshot, u16, Record),
    File(File),
}

impl Blob {
    /// The blob if a ref shows it; `None` for objects of other kinds too. `spool_dir` is where a large one may wait.
    pub fn open(reading: &Reading, id: &ObjectId, spool_dir: &Path) -> Result<Option<Self>, Halt> {
        match reading.view.place(id)? {
            Some(at) => Self::at(reading, id, at, spool_dir),
            None => Ok(None),
        }
    }

    /// The same for a blob that a visible tree names.
    pub fn shown(reading: &Reading, id: &ObjectId, spool_dir: &Path) -> Result<Option<Self>, Halt> {
        if let Some((kind, bytes)) = reading.reads.objects.get(&(reading.view.served.repo.id(), *id)) {
            return Ok((kind == Kind::Blob).then(|| Self::in_memory(*id, bytes)));
        }
        match reading.view.snapshot.lookup(id)? {
            Some(at) => Self::at(reading, id, at, spool_dir),
            None => Ok(None),
        }
    }

    fn in_memory(id: ObjectId, bytes: Bytes) -> Self {
        Self { id, size: bytes.len() as u64, from: From::Memory(bytes) }
    }

    fn at(reading: &Reading, id: &ObjectId, at: ObjRef, spool_dir: &Path) -> Result<Option<Self>, Halt> {
        let snapshot = &reading.view.snapshot;
        let record = snapshot.record(at)?;
        if record.kind != Kind::Blob {
            return Ok(None);
        }
        if record.size <= SMALL_BLOB_BYTES_MAX {
            return Ok(reading.shown(id, Kind::Blob)?.map(|bytes| Self::in_memory(*id, bytes)));
        }
        let from = match record.base {
            // A slow client holds no commits.
            Base::None => From::Pack(snapshot.at_rest(), at.source, record),
            Base::Ofs(_) | Base::Ref(_) => {
                let (_, data) = reading.reader().read(at)?;
                From::File(spooled(&data, spool_dir).map_err(OpError::Spool)?)
            }
        };
        Ok(Some(Self { id: *id, size: record.size, from }))
    }

    /// Its bytes where they are in memory anyway.
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.from {
            From::Memory(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Up to `count` bytes from its start.
    pub fn head(&self, count: u64) -> Result<Vec<u8>, Halt> {
        let mut reader = self.reader(0..count.min(self.size))?;
        let mut out = Vec::new();
        while let Some(bytes) = reader.next_bytes()? {
            out.extend_from_slice(&bytes);
        }
        Ok(out)
    }

    /// A reader of a range, which must lie within the blob.
    pub fn reader(&self, range: Range<u64>) -> Result<BlobReader, Halt> {
        let from = match &self.from {
            From::Memory(bytes) => {
                let range = range.start as usize..range.end as usize;
                Source::Memory(bytes.slice(range))
            }
            From::Pack(snapshot, source, record) => Source::Inflating(Box::new(Inflating::new(
                snapshot.clone(),
                *source,
                *record,
                range.clone(),
            )?)),
            From::File(file) => Source::File(file.try_clone().map_err(OpError::Spool)?, range.start),
        };
        Ok(BlobReader { from, left: range.end.saturating_sub(range.start) })
    }
}

fn spooled(data: &[u8], folder: &Path) -> std::io::Result<File> {
    let mut file = tempfile::tempfile_in(folder)?;
    file.write_all(data)?;
    Ok(file)
}

/// Reads a range of a blob front to back.
pub struct BlobReader {
    from: Source,
    left: u64,
}

enum Source {
    Memory(Bytes),
    Inflating(Box<Inflating>),
    File(File, u64),
}

impl BlobReader {
    /// The next bytes, at most a batch; `None` at the end.
    pub fn next_bytes(&mut self) -> Result<Option<Bytes>, Halt> {
        if self.left == 0 {
            return Ok(None);
        }
        let count = self.left.min(BLOB_BATCH_BYTES as u64) as usize;
        let bytes = match &mut self.from {
            Source::Memory(bytes) => bytes.split_to(count.min(bytes.len())),
            Source::Inflating(stream) => stream.next_bytes(count)?,
            Source::File(file, at) => {
                let mut out = vec![0; count];
                file.read_exact_at(&mut out, *at).map_err(OpError::Spool)?;
                *at += count as u64;
                out.into()
            }
        };
        self.left -= bytes.len() as u64;
        Ok(Some(bytes))
    }
}

impl Batches for BlobReader {
    fn step(&mut self, _: Room) -> Result<Step, Halt> {
        Ok(self.next_bytes()?.map_or(Step::End, Step::Data))
    }
}

/// A whole object in a pack, inflated step by step.
struct Inflating {
    snapshot: Snapshot,
    source: u16,
    record: Record,
    /// Where the input that is not yet in `input` starts, from the start of the pack.
    at: u64,
    input: Vec<u8>,
    used: usize,
    state: Decompress,
    /// Bytes to pass over before the first that are asked for.
    skip: u64,
}

impl Inflating {
    fn new(snapshot: Snapshot, source: u16, record: Record, range: Range<u64>) -> Result<Self, Halt> {
        let algo: HashAlgo = snapshot.algo();
        let mut stream = Self {
            at: record.offset,
            skip: range.start,
            input: Vec::new(),
            used: 0,
            state: Decompress::new(true),
            snapshot,
            source,
            record,
        };
        stream.refill()?;
        let header = entry::decode(algo, &stream.input).ok().flatten();
        stream.used = header.ok_or_else(|| stream.broken("entry header"))?.header_bytes;
        Ok(stream)
    }

    fn broken(&self, why: &str) -> Halt {
        WalkError::Corrupt { id: self.record.id, why: why.into() }.into()
    }

    fn refill(&mut self) -> Result<(), Halt> {
        let end = self.record.offset + self.record.entry_bytes;
        let count = (end - self.at).min(BLOB_INPUT_BYTES as u64);
        if count == 0 {
            return Err(self.broken("the entry ends inside its stream"));
        }
        self.input.resize(count as usize, 0);
        self.snapshot.pack_bytes(self.source, self.record.pack, self.at, &mut self.input)?;
        self.at += count;
        self.used = 0;
        Ok(())
    }

    /// Exactly `count` bytes.
    fn next_bytes(&mut self, count: usize) -> Result<Bytes, Halt> {
        let mut out = vec![0; count.max(BLOB_INPUT_BYTES.min(self.skip as usize))];
        while self.skip > 0 {
            let room = out.len().min(self.skip as usize);
            let written = self.inflate(out.get_mut(..room).unwrap_or_default())?;
            self.skip -= written as u64;
        }
        out.truncate(count);
        let mut filled = 0;
        while filled < count {
            filled += self.inflate(out.get_mut(filled..).unwrap_or_default())?;
        }
        Ok(out.into())
    }

    fn inflate(&mut self, out: &mut [u8]) -> Result<usize, Halt> {
        if self.used == self.input.len() {
            self.refill()?;
        }
        let (before_in, before_out) = (self.state.total_in(), self.state.total_out());
        let input = self.input.get(self.used..).unwrap_or_default();
        let status = self.state.decompress(input, out, FlushDecompress::None);
        let status = status.map_err(|_| self.broken("not a zlib stream"))?;
        self.used += (self.state.total_in() - before_in) as usize;
        let written = (self.state.total_out() - before_out) as usize;
        if written == 0 && (status == Status::StreamEnd || self.used < self.input.len()) {
            return Err(self.broken("less data than the entry declares"));
        }
        Ok(written)
    }
}
