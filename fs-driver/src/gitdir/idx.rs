//! Writes the index of a pack (gitformat-pack, "Version 2 pack-*.idx files").

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use cairn_protocol::object::{Collision, HashAlgo, Hasher, ObjectId};
use cairn_protocol::pack::IndexedPack;

/// Offsets from here on go to the table of 64-bit offsets.
const LARGE_OFFSET: u64 = 1 << 31;
/// Bytes that are read at once for the checksums.
const STEP_BYTES: usize = 64 << 10;

/// Writes the index of `pack`, whose bytes are in `data`, to `out`.
pub fn write(pack: &IndexedPack, data: &File, out: impl Write) -> io::Result<()> {
    let mut out = Hashed { hasher: Hasher::new(pack.algo()), out };
    out.put(b"\xfftOc\0\0\0\x02")?;
    let mut counts = [0_u32; 256];
    for index in pack.sorted() {
        let first = pack.entry(*index).id.as_bytes().first().copied().unwrap_or_default();
        counts[usize::from(first)] += 1;
    }
    let mut total = 0;
    for count in counts {
        total += count;
        out.put(&total.to_be_bytes())?;
    }
    for index in pack.sorted() {
        out.put(pack.entry(*index).id.as_bytes())?;
    }
    let checksums = checksums(pack, data)?;
    for index in pack.sorted() {
        out.put(&checksums[*index as usize].to_be_bytes())?;
    }
    let mut large = Vec::new();
    for index in pack.sorted() {
        let offset = pack.entry(*index).offset;
        if offset < LARGE_OFFSET {
            out.put(&(offset as u32).to_be_bytes())?;
        } else {
            out.put(&(LARGE_OFFSET as u32 | large.len() as u32).to_be_bytes())?;
            large.push(offset);
        }
    }
    for offset in large {
        out.put(&offset.to_be_bytes())?;
    }
    out.put(pack.trailer().as_bytes())?;
    let Hashed { hasher, mut out } = out;
    out.write_all(finished(hasher)?.as_bytes())?;
    out.flush()
}

/// The id of a hash, or an error for the few bytes that attack SHA-1.
pub(crate) fn finished(hasher: Hasher) -> io::Result<ObjectId> {
    hasher
        .finish()
        .map_err(|Collision| io::Error::new(io::ErrorKind::InvalidData, "a SHA-1 collision attack"))
}

/// Writes and hashes.
pub(super) struct Hashed<W> {
    pub hasher: Hasher,
    pub out: W,
}

impl<W: Write> Hashed<W> {
    pub fn new(algo: HashAlgo, out: W) -> Self {
        Self { hasher: Hasher::new(algo), out }
    }

    pub fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }
}

fn checksums(pack: &IndexedPack, data: &File) -> io::Result<Vec<u32>> {
    let mut buffer = vec![0; STEP_BYTES];
    let mut found = Vec::with_capacity(pack.len() as usize);
    for entry in pack.entries() {
        let mut hasher = crc32fast::Hasher::new();
        let (mut at, end) = (entry.offset, entry.offset + entry.entry_bytes);
        while at < end {
            let step = (end - at).min(STEP_BYTES as u64) as usize;
            data.read_exact_at(&mut buffer[..step], at)?;
            hasher.update(&buffer[..step]);
            at += step as u64;
        }
        found.push(hasher.finalize());
    }
    Ok(found)
}
