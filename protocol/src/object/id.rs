//! Object ids, their hash functions, and object kinds.

use std::fmt;

/// The hash function that names a repository's objects (`extensions.objectFormat`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlgo {
    /// SHA-1, always computed with collision detection.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl HashAlgo {
    /// Bytes of one id: 20 or 32.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// git's name: `sha1` or `sha256`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    /// The algorithm with git's name `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "sha1" => Some(Self::Sha1),
            "sha256" => Some(Self::Sha256),
            _ => None,
        }
    }

    fn gix(self) -> gix_hash::Kind {
        match self {
            Self::Sha1 => gix_hash::Kind::Sha1,
            Self::Sha256 => gix_hash::Kind::Sha256,
        }
    }
}

/// The name of an object. Unused bytes of the array are zero, so that derived order and equality hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    algo: HashAlgo,
    raw: [u8; 32],
}

impl ObjectId {
    /// From exactly `algo.bytes()` raw bytes; `None` for any other length.
    pub fn from_bytes(algo: HashAlgo, bytes: &[u8]) -> Option<Self> {
        let mut raw = [0; 32];
        raw.get_mut(..algo.bytes())?.copy_from_slice_checked(bytes)?;
        Some(Self { algo, raw })
    }

    /// From exactly `2 * algo.bytes()` hex digits of either case; `None` for anything else.
    pub fn from_hex(algo: HashAlgo, hex: &[u8]) -> Option<Self> {
        if hex.len() != 2 * algo.bytes() {
            return None;
        }
        let mut raw = [0; 32];
        for (byte, pair) in raw.iter_mut().zip(hex.chunks_exact(2)) {
            let [hi, lo] = pair else { return None };
            *byte = hex_digit(*hi)? << 4 | hex_digit(*lo)?;
        }
        Some(Self { algo, raw })
    }

    /// The all-zero id, which stands for "no object" in ref updates.
    pub const fn null(algo: HashAlgo) -> Self {
        Self { algo, raw: [0; 32] }
    }

    /// Whether this is the all-zero id.
    pub fn is_null(&self) -> bool {
        self.raw == [0; 32]
    }

    /// The algorithm that made it.
    pub const fn algo(&self) -> HashAlgo {
        self.algo
    }

    /// Its raw bytes: 20 or 32.
    pub fn as_bytes(&self) -> &[u8] {
        self.raw.get(..self.algo.bytes()).unwrap_or(&self.raw)
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

/// `copy_from_slice` that answers `None` instead of panicking where lengths differ.
trait CopyChecked {
    fn copy_from_slice_checked(&mut self, from: &[u8]) -> Option<()>;
}

impl CopyChecked for [u8] {
    fn copy_from_slice_checked(&mut self, from: &[u8]) -> Option<()> {
        (self.len() == from.len()).then(|| self.copy_from_slice(from))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// The four kinds of objects, with the numbers that packs use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A commit.
    Commit = 1,
    /// A tree.
    Tree = 2,
    /// A blob.
    Blob = 3,
    /// An annotated tag.
    Tag = 4,
}

impl Kind {
    /// From the number that packs use; `None` for delta types and unknown ones.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Commit),
            2 => Some(Self::Tree),
            3 => Some(Self::Blob),
            4 => Some(Self::Tag),
            _ => None,
        }
    }

    /// From git's word for it.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"commit" => Some(Self::Commit),
            b"tree" => Some(Self::Tree),
            b"blob" => Some(Self::Blob),
            b"tag" => Some(Self::Tag),
            _ => None,
        }
    }

    /// git's word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }
}

/// The bytes are one half of a SHA-1 collision attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("object bytes are part of a SHA-1 collision attack")]
pub struct Collision;

/// Hashes a stream with collision detection. For object ids and for the trailers of packs that others send.
pub struct Hasher {
    algo: HashAlgo,
    inner: gix_hash::Hasher,
}

impl Hasher {
    /// An empty hash.
    pub fn new(algo: HashAlgo) -> Self {
        Self { algo, inner: gix_hash::hasher(algo.gix()) }
    }

    /// A hash that has taken in the header of an object of `size` bytes.
    pub fn for_object(algo: HashAlgo, kind: Kind, size: u64) -> Self {
        let mut hasher = Self::new(algo);
        hasher.update(format!("{} {size}\0", kind.name()).as_bytes());
        hasher
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.inner.update(bytes);
    }

    /// The id of all bytes taken in.
    pub fn finish(self) -> Result<ObjectId, Collision> {
        let id = self.inner.try_finalize().map_err(|_| Collision)?;
        ObjectId::from_bytes(self.algo, id.as_slice()).ok_or(Collision)
    }
}

/// The id of a whole object.
pub fn hash_object(algo: HashAlgo, kind: Kind, data: &[u8]) -> Result<ObjectId, Collision> {
    let mut hasher = Hasher::for_object(algo, kind, data.len() as u64);
    hasher.update(data);
    hasher.finish()
}
