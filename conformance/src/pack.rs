//! Builds objects, packs, gzip members and pkt-lines by hand, right or deliberately wrong.
//!
//! Nothing is compressed (zlib's stored blocks), so every byte on the wire is chosen here.

use gix::hash::{Kind as HashKind, hasher};

/// Most bytes in one stored block (16-bit length).
const STORED_BYTES_MAX: usize = 65_535;

/// An object's kind, by its number in a pack entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A commit.
    Commit = 1,
    /// A tree.
    Tree = 2,
    /// A blob.
    Blob = 3,
    /// A tag.
    Tag = 4,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }
}

/// SHA-1 of bytes.
pub fn sha1(bytes: &[u8]) -> Vec<u8> {
    let mut hash = hasher(HashKind::Sha1);
    hash.update(bytes);
    hash.try_finalize().expect("no test builds a SHA-1 collision").as_slice().to_vec()
}

/// SHA-1 of bytes in hex.
pub fn sha1_hex(bytes: &[u8]) -> String {
    hex(&sha1(bytes))
}

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The id of an object in hex.
pub fn oid(kind: Kind, body: &[u8]) -> String {
    hex(&raw_oid(kind, body))
}

/// The id of an object as bytes.
pub fn raw_oid(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{} {}\0", kind.name(), body.len()).into_bytes();
    bytes.extend_from_slice(body);
    sha1(&bytes)
}

/// One tree entry.
pub fn tree_entry(mode: &str, name: &[u8], raw_oid: &[u8]) -> Vec<u8> {
    [mode.as_bytes(), b" ", name, b"\0", raw_oid].concat()
}

/// A commit's body.
pub fn commit(tree: &str, parents: &[&str], message: &str) -> Vec<u8> {
    let parents: String = parents.iter().map(|p| format!("parent {p}\n")).collect();
    let who = "A U Thor <author@example.com> 1700000000 +0000";
    format!("tree {tree}\n{parents}author {who}\ncommitter {who}\n\n{message}\n").into_bytes()
}

/// A pack in the making.
#[derive(Clone, Debug, Default)]
pub struct Pack {
    entries: Vec<Vec<u8>>,
}

impl Pack {
    /// Adds an object and returns its id in hex.
    pub fn add(&mut self, kind: Kind, body: &[u8]) -> String {
        self.raw_entry(kind as u8, body.len() as u64, &zlib(body));
        oid(kind, body)
    }

    /// Adds an entry with a size and data that need not agree.
    pub fn raw_entry(&mut self, kind: u8, size: u64, data: &[u8]) {
        let mut entry = entry_head(kind, size);
        entry.extend_from_slice(data);
        self.entries.push(entry);
    }

    /// The pack with a true count and trailer.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes_claiming(u32::try_from(self.entries.len()).expect("tests build small packs"))
    }

    /// The pack with any count and a true trailer.
    pub fn bytes_claiming(&self, count: u32) -> Vec<u8> {
        let mut bytes = b"PACK\0\0\0\x02".to_vec();
        bytes.extend_from_slice(&count.to_be_bytes());
        bytes.extend(self.entries.concat());
        let trailer = sha1(&bytes);
        bytes.extend(trailer);
        bytes
    }
}

fn entry_head(kind: u8, size: u64) -> Vec<u8> {
    let low = u8::try_from(size & 15).expect("four bits");
    let mut rest = size >> 4;
    let mut head = vec![kind << 4 | low];
    while rest > 0 {
        *head.last_mut().expect("never empty") |= 0x80;
        head.push(u8::try_from(rest & 0x7f).expect("seven bits"));
        rest >>= 7;
    }
    head
}

/// A zlib stream of stored blocks.
pub fn zlib(body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    out.extend(stored(body));
    let (mut a, mut b) = (1u32, 0u32);
    for byte in body {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    out.extend_from_slice(&(b << 16 | a).to_be_bytes());
    out
}

/// A gzip member of stored blocks.
pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    out.extend(stored(body));
    let mut crc = u32::MAX;
    for byte in body {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    out.extend_from_slice(&(!crc).to_le_bytes());
    out.extend_from_slice(&u32::try_from(body.len() & 0xffff_ffff).expect("masked").to_le_bytes());
    out
}

fn stored(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 16);
    let mut blocks = body.chunks(STORED_BYTES_MAX).peekable();
    if blocks.peek().is_none() {
        return vec![1, 0, 0, 0xff, 0xff];
    }
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).expect("a block fits 16 bits");
        out.push(u8::from(blocks.peek().is_none()));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    out
}

/// One pkt-line.
pub fn pkt(payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut line = format!("{:04x}", payload.len() + 4).into_bytes();
    line.extend_from_slice(payload);
    line
}

/// Flush-pkt.
pub const FLUSH: &[u8] = b"0000";
/// Delim-pkt.
pub const DELIM: &[u8] = b"0001";
/// The id that stands for absence.
pub const ZERO: &str = "0000000000000000000000000000000000000000";

/// Splits a body into pkt-line payloads; control packets come back as empty payloads. Stops at the first
/// thing that is no pkt-line.
pub fn pkt_lines(mut body: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    while let Some((length, rest)) = body.split_at_checked(4) {
        let length = std::str::from_utf8(length).ok().and_then(|l| usize::from_str_radix(l, 16).ok());
        let Some(length) = length else { break };
        let Some((payload, rest)) = rest.split_at_checked(length.saturating_sub(4)) else {
            break;
        };
        lines.push(payload.to_vec());
        body = rest;
    }
    lines
}
