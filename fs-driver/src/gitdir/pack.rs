//! Reads objects of packs on the disk, with `pread`: nothing is mapped, nothing is kept but the fanout of the index.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use cairn_protocol::object::{HashAlgo, Kind, ObjectId};
use cairn_protocol::pack::entry::{self, EntryKind};
use cairn_protocol::pack::inflate::Inflater;
use cairn_protocol::pack::{PackError, delta};

use super::bases::Bases;
use crate::limits::{DELTA_DEPTH_MAX, OBJECT_BYTES_MAX};

/// Bytes of the longest entry header.
const HEADER_BYTES: usize = 64;
/// Bytes of an index before the ids: magic, version, fanout.
const IDS_AT: u64 = 8 + 1_024;
/// The bit that says that an offset is in the table of 64-bit offsets.
const LARGE_OFFSET: u32 = 1 << 31;

/// A pack with its index.
pub struct Pack {
    algo: HashAlgo,
    data: File,
    index: File,
    fanout: Vec<u32>,
    bases: Bases,
}

pub(crate) fn broken(why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("broken pack: {why}"))
}

impl Pack {
    /// Opens `x.pack` with the `x.idx` beside it.
    pub fn open(path: &Path, algo: HashAlgo) -> io::Result<Self> {
        let index = File::open(path.with_extension("idx"))?;
        let mut head = [0; IDS_AT as usize];
        index.read_exact_at(&mut head, 0)?;
        let (magic, fanout) = head.split_at(8);
        if magic != b"\xfftOc\0\0\0\x02" {
            return Err(broken("no index of version 2"));
        }
        let fanout = fanout.chunks_exact(4).map(|raw| u32::from_be_bytes([raw[0], raw[1], raw[2], raw[3]]));
        let (data, fanout, bases) = (File::open(path)?, fanout.collect(), Bases::default());
        Ok(Self { algo, data, index, fanout, bases })
    }

    /// Where an object starts, in bytes from the start of the pack.
    pub fn find(&self, id: &ObjectId) -> io::Result<Option<u64>> {
        let first = usize::from(id.as_bytes().first().copied().unwrap_or_default());
        let width = self.algo.bytes() as u64;
        let from = u64::from(if first == 0 { 0 } else { self.fanout[first - 1] });
        let to = u64::from(self.fanout[first]);
        let count = to.checked_sub(from).ok_or_else(|| broken("the fanout falls"))?;
        let mut ids = vec![0; (count * width) as usize];
        self.index.read_exact_at(&mut ids, IDS_AT + from * width)?;
        let (mut low, mut high) = (0, count as usize);
        let width = width as usize;
        while low < high {
            let middle = low + (high - low) / 2;
            match ids[middle * width..(middle + 1) * width].cmp(id.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return self.offset(from + middle as u64).map(Some),
            }
        }
        Ok(None)
    }

    fn offset(&self, nth: u64) -> io::Result<u64> {
        let count = u64::from(self.fanout[255]);
        let offsets_at = IDS_AT + count * (self.algo.bytes() as u64 + 4);
        let mut raw = [0; 4];
        self.index.read_exact_at(&mut raw, offsets_at + nth * 4)?;
        let offset = u32::from_be_bytes(raw);
        if offset & LARGE_OFFSET == 0 {
            return Ok(u64::from(offset));
        }
        let mut raw = [0; 8];
        self.index.read_exact_at(&mut raw, offsets_at + count * 4 + u64::from(offset ^ LARGE_OFFSET) * 8)?;
        Ok(u64::from_be_bytes(raw))
    }

    /// A whole object.
    pub fn read(&self, id: &ObjectId) -> io::Result<Option<(Kind, Vec<u8>)>> {
        let Some(offset) = self.find(id)? else { return Ok(None) };
        read_object(&self.data, self.algo, offset, &self.bases, &|id| self.find(id)).map(Some)
    }

    /// How many objects it holds.
    pub fn len(&self) -> u32 {
        self.fanout[255]
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Reads the object whose entry is at `offset`, with the help of `bases` of the same pack; `find` knows where the bases of
/// ref-deltas are.
pub fn read_object(
    data: &File,
    algo: HashAlgo,
    offset: u64,
    bases: &Bases,
    find: &dyn Fn(&ObjectId) -> io::Result<Option<u64>>,
) -> io::Result<(Kind, Vec<u8>)> {
    let mut inflater = Inflater::new();
    // Each with where the object starts that it makes.
    let mut deltas: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut held_bytes = 0;
    let mut at = offset;
    let (kind, mut object) = loop {
        if let Some(base) = bases.get(at) {
            break (base.0, base.1.clone());
        }
        let (kind, content) = read_entry(data, algo, at, &mut inflater)?;
        let base_at = match kind {
            EntryKind::Whole(kind) => {
                bases.put(at, kind, &content);
                break (kind, content);
            }
            EntryKind::Ofs { back } => {
                at.checked_sub(back).ok_or_else(|| broken("a base before the pack"))?
            }
            EntryKind::Ref(base) => find(&base)?.ok_or_else(|| broken("a base is not in the pack"))?,
        };
        held_bytes += content.len() as u64;
        deltas.push((at, content));
        at = base_at;
        if deltas.len() > DELTA_DEPTH_MAX || held_bytes > OBJECT_BYTES_MAX {
            return Err(broken("too long a chain of deltas"));
        }
    };
    let mut result = Vec::new();
    while let Some((made_at, delta)) = deltas.pop() {
        delta::apply(&object, &delta, &mut result, OBJECT_BYTES_MAX).map_err(broken)?;
        std::mem::swap(&mut object, &mut result);
        bases.put(made_at, kind, &object);
    }
    Ok((kind, object))
}

fn read_entry(
    data: &File,
    algo: HashAlgo,
    at: u64,
    inflater: &mut Inflater,
) -> io::Result<(EntryKind, Vec<u8>)> {
    let end = data.metadata()?.len().saturating_sub(algo.bytes() as u64);
    let left = end.checked_sub(at).ok_or_else(|| broken("an entry behind the end"))?;
    let mut buffer = vec![0; left.min(HEADER_BYTES as u64) as usize];
    data.read_exact_at(&mut buffer, at)?;
    let header = entry::decode(algo, &buffer).map_err(broken)?.ok_or_else(|| broken("cut off"))?;
    if header.size > OBJECT_BYTES_MAX {
        return Err(broken(format_args!("{} bytes, at most {OBJECT_BYTES_MAX} are taken", header.size)));
    }
    // What deflate makes of data that does not shrink, with room to spare.
    let mut window = (header.size + header.size / 64 + 256).min(left);
    loop {
        buffer.resize(window as usize, 0);
        data.read_exact_at(&mut buffer, at)?;
        let mut out = Vec::new();
        let input = buffer.get(header.header_bytes..).unwrap_or_default();
        match inflater.inflate(input, header.size, &mut out) {
            Ok(_) => return Ok((header.kind, out)),
            Err(PackError::Truncated { .. }) if window < left => window = (window * 2).min(left),
            Err(error) => return Err(broken(error)),
        }
    }
}
