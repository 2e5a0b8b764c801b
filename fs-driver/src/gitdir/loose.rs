//! The mounted commit's blobs as git's loose objects, made as they are read.
//!
//! A loose object is one zlib stream of `blob SIZE NUL` and the content. Here it is a stream of stored blocks, so that any
//! part of it, and its length, follow from the content without compressing anything.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use cairn_protocol::object::ObjectId;

use super::index::Listing;
use crate::port::Blob;

/// Bytes of one stored block.
const BLOCK_BYTES: u64 = 0xffff;
/// Bytes in front of each block.
const BLOCK_HEAD_BYTES: u64 = 5;
/// zlib: deflate, a window of 32 KiB, no dictionary, the fastest level.
const STREAM_HEAD: [u8; 2] = [0x78, 0x01];
/// The checksum at the end.
const STREAM_TAIL_BYTES: u64 = 4;
/// The modulus of Adler-32, and the bytes after which its sums must be reduced.
const ADLER_MODULUS: u32 = 65_521;
const ADLER_RUN: usize = 5_552;

/// Blobs in the order of their names, each as a place in the listing where it stands.
pub struct Names {
    listing: std::sync::Arc<Listing>,
    sorted: Vec<u32>,
}

impl Names {
    /// The blobs of a listing.
    pub fn new(listing: std::sync::Arc<Listing>) -> Self {
        let mut all: Vec<(ObjectId, u32)> = listing.blobs().map(|file| (file.id, file.place)).collect();
        all.sort_unstable();
        all.dedup_by_key(|(id, _)| *id);
        let sorted = all.into_iter().map(|(_, place)| place).collect::<Box<[u32]>>().into_vec();
        Self { listing, sorted }
    }

    fn id(&self, place: u32) -> Option<ObjectId> {
        self.listing.at(place).map(|file| file.id)
    }

    /// The blob at a place.
    pub fn at(&self, place: usize) -> Option<ObjectId> {
        self.id(*self.sorted.get(place)?)
    }

    /// A path at which the blob at a place stands.
    pub fn path(&self, place: usize) -> &[u8] {
        self.sorted.get(place).map_or(b"", |item| self.listing.path(*item))
    }

    /// The place of a blob.
    pub fn find(&self, id: &ObjectId) -> Option<usize> {
        self.sorted.binary_search_by_key(&Some(*id), |place| self.id(*place)).ok()
    }

    /// The places of the blobs whose name begins with `first`.
    pub fn shelf(&self, first: u8) -> std::ops::Range<usize> {
        let byte =
            |place: &u32| self.id(*place).and_then(|id| id.as_bytes().first().copied()).unwrap_or_default();
        let start = self.sorted.partition_point(|entry| byte(entry) < first);
        let len = self.sorted.get(start..).unwrap_or_default().partition_point(|entry| byte(entry) == first);
        start..start + len
    }
}

fn head(size: u64) -> Vec<u8> {
    format!("blob {size}\0").into_bytes()
}

/// Bytes of the loose object of a blob of `size` bytes.
pub fn stream_bytes(size: u64) -> u64 {
    let payload = head(size).len() as u64 + size;
    STREAM_HEAD.len() as u64 + payload.div_ceil(BLOCK_BYTES) * BLOCK_HEAD_BYTES + payload + STREAM_TAIL_BYTES
}

/// A blob that is read as a loose object.
pub struct Loose {
    blob: Blob,
    head: Vec<u8>,
    adler: OnceLock<u32>,
}

impl Loose {
    /// Wraps a blob.
    pub fn new(blob: Blob) -> Self {
        Self { head: head(blob.size), blob, adler: OnceLock::new() }
    }

    /// Bytes of the stream.
    pub fn bytes(&self) -> u64 {
        stream_bytes(self.blob.size)
    }

    fn payload_bytes(&self) -> u64 {
        self.head.len() as u64 + self.blob.size
    }

    /// At most `len` bytes of the stream from `at`; fewer only at its end.
    pub fn read(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let end = self.bytes().min(at.saturating_add(len as u64));
        let mut out = Vec::with_capacity(end.saturating_sub(at) as usize);
        let mut at = at;
        while at < end {
            let before = out.len();
            self.piece(at, (end - at) as usize, &mut out)?;
            at += (out.len() - before) as u64;
        }
        Ok(out)
    }

    /// Adds at least one byte and at most `len`, up to the next border between blocks, heads and tail.
    fn piece(&self, at: u64, len: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let mut add = |bytes: &[u8], skip: u64| {
            let rest = bytes.get(skip as usize..).unwrap_or_default();
            out.extend_from_slice(&rest[..rest.len().min(len)]);
        };
        let tail_at = self.bytes() - STREAM_TAIL_BYTES;
        if at >= tail_at {
            add(&self.adler()?.to_be_bytes(), at - tail_at);
            return Ok(());
        }
        let Some(at) = at.checked_sub(STREAM_HEAD.len() as u64) else {
            add(&STREAM_HEAD, at);
            return Ok(());
        };
        let (block, inside) = (at / (BLOCK_BYTES + BLOCK_HEAD_BYTES), at % (BLOCK_BYTES + BLOCK_HEAD_BYTES));
        let start = block * BLOCK_BYTES;
        let bytes = BLOCK_BYTES.min(self.payload_bytes() - start);
        let Some(inside) = inside.checked_sub(BLOCK_HEAD_BYTES) else {
            let is_last = start + bytes == self.payload_bytes();
            let [low, high] = (bytes as u16).to_le_bytes();
            add(&[u8::from(is_last), low, high, !low, !high], inside);
            return Ok(());
        };
        let want = len.min((bytes - inside) as usize);
        self.payload(start + inside, want, out)
    }

    /// Adds `len` bytes of the head and the content, which are there.
    fn payload(&self, at: u64, len: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let from_head = self.head.get(at as usize..).unwrap_or_default();
        let from_head = &from_head[..from_head.len().min(len)];
        out.extend_from_slice(from_head);
        let start = out.len();
        let rest = len - from_head.len();
        out.resize(start + rest, 0);
        let from = (at + from_head.len() as u64).saturating_sub(self.head.len() as u64);
        self.blob.file.read_exact_at(&mut out[start..], from)
    }

    fn adler(&self) -> io::Result<u32> {
        if let Some(known) = self.adler.get() {
            return Ok(*known);
        }
        let sum = adler(&self.head, &self.blob.file, self.blob.size)?;
        Ok(*self.adler.get_or_init(|| sum))
    }
}

/// Adler-32 (RFC 1950) of the head and the content.
fn adler(head: &[u8], file: &File, size: u64) -> io::Result<u32> {
    let (mut a, mut b) = (1_u32, 0_u32);
    let mut add = |bytes: &[u8]| {
        for run in bytes.chunks(ADLER_RUN) {
            for byte in run {
                a += u32::from(*byte);
                b += a;
            }
            (a, b) = (a % ADLER_MODULUS, b % ADLER_MODULUS);
        }
    };
    add(head);
    let mut buffer = vec![0; (1 << 16).min(size as usize)];
    let mut at = 0;
    while at < size {
        let want = buffer.len().min((size - at) as usize);
        file.read_exact_at(&mut buffer[..want], at)?;
        add(&buffer[..want]);
        at += want as u64;
    }
    Ok(b << 16 | a)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::io::{Read, Write};
    use std::sync::Arc;

    use super::*;
    use crate::port::Pin;

    struct NoPin;

    impl Pin for NoPin {}

    #[test]
    fn any_part_of_the_stream_is_that_of_one_zlib_stream_of_head_and_content() {
        let sizes = [0, 1, 100, 65_526, 65_527, 65_528, 65_535, 131_070 - 12, 131_070, 300_000];
        for size in sizes {
            let content: Vec<u8> = (0..size).map(|at: u32| ((at * 31) >> 3) as u8).collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&content).unwrap();
            let blob = Blob { file: Arc::new(file), size: u64::from(size), pin: Arc::new(NoPin) };
            let loose = Loose::new(blob);
            let whole = loose.read(0, usize::MAX >> 1).unwrap();
            assert_eq!(whole.len() as u64, loose.bytes(), "{size}");
            let mut plain = Vec::new();
            flate2::read::ZlibDecoder::new(&whole[..]).read_to_end(&mut plain).unwrap();
            let (head, body) = plain.split_at(plain.iter().position(|byte| *byte == 0).unwrap() + 1);
            assert_eq!(head, format!("blob {size}\0").as_bytes());
            assert_eq!(body, content, "{size}");
            for (at, len) in [(0, 1), (1, 3), (2, 5), (6, 70_000), (65_540, 9), (whole.len() - 2, 50)] {
                let want = whole.get(at..).map_or(&[][..], |rest| &rest[..rest.len().min(len)]);
                assert_eq!(loose.read(at as u64, len).unwrap(), want, "{size}: {len} bytes from {at}");
            }
        }
    }
}
