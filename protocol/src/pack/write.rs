//! Packs that the server makes itself: few objects, all whole.

use crate::object::{Collision, HashAlgo, Hasher, Kind, ObjectId, hash_object};
use crate::pack::entry::{encode_whole, pack_header};
use crate::pack::inflate::deflate;

/// Collects whole objects into a pack.
#[derive(Debug)]
pub struct PackWriter {
    algo: HashAlgo,
    out: Vec<u8>,
    count: u32,
}

impl PackWriter {
    /// An empty pack.
    pub fn new(algo: HashAlgo) -> Self {
        Self { algo, out: pack_header(0).to_vec(), count: 0 }
    }

    /// Adds an object and names it. Adding the same object twice makes a pack that the index pass refuses.
    pub fn add(&mut self, kind: Kind, data: &[u8]) -> Result<ObjectId, Collision> {
        let id = hash_object(self.algo, kind, data)?;
        encode_whole(&mut self.out, kind, data.len() as u64);
        self.push(&deflate(data));
        Ok(id)
    }

    /// Adds an entry that is made already: a header of [`crate::pack::entry`] and a zlib stream.
    pub fn add_entry(&mut self, header: &[u8], compressed: &[u8]) {
        self.out.extend_from_slice(header);
        self.push(compressed);
    }

    fn push(&mut self, compressed: &[u8]) {
        self.out.extend_from_slice(compressed);
        self.count += 1;
    }

    /// Where the next entry will start, in bytes from the start of the pack.
    pub fn offset(&self) -> u64 {
        self.out.len() as u64
    }

    /// How many entries there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The pack, with its trailer.
    pub fn finish(self) -> Result<Vec<u8>, Collision> {
        let mut out = self.out;
        if let Some(header) = out.first_chunk_mut() {
            *header = pack_header(self.count);
        }
        let mut hasher = Hasher::new(self.algo);
        hasher.update(&out);
        out.extend_from_slice(hasher.finish()?.as_bytes());
        Ok(out)
    }
}
