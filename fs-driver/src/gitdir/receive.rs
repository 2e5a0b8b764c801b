//! Takes a pack from a remote: to a file without a name, then through the index pass, which hashes every object.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use cairn_protocol::object::{HashAlgo, Kind, ObjectId};
use cairn_protocol::pack::{
    Check, IndexOptions, IndexedPack, NothingKnown, PackBytes, PackError, ReadObject, scan,
};
use tempfile::NamedTempFile;

use super::bases::Bases;
use super::pack::{broken, read_object};
use super::staging;
use crate::limits::{INDEX_CACHE_BYTES, OBJECT_BYTES_MAX, PACK_OBJECTS_MAX};

/// A checked pack in a temporary file.
pub struct Received {
    /// Gone when dropped, unless it is kept.
    pub file: NamedTempFile,
    /// What it holds.
    pub pack: IndexedPack,
}

struct Bytes<'a> {
    file: &'a File,
    len: u64,
}

impl PackBytes for Bytes<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, at)
    }
}

/// A partial pack leaves out what it names: links are not followed.
struct AnyLinks;

impl Check for AnyLinks {
    fn object(
        &self,
        _: Kind,
        _: &ObjectId,
        _: &[u8],
        _: &mut dyn FnMut(&[u8], Kind),
    ) -> Result<(), PackError> {
        Ok(())
    }

    fn finish(&self, _: &ReadObject<'_>) -> Result<(), PackError> {
        Ok(())
    }
}

/// Calls `fetch` with a sink for the bytes of a pack, and indexes what came. `None` where no byte came.
pub fn receive<T, E>(
    folder: &Path,
    algo: HashAlgo,
    fetch: impl FnOnce(&mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<T, E>,
) -> Result<(T, Option<Received>), E>
where
    E: From<io::Error>,
{
    let file = staging::create(folder, staging::PACK)?;
    let mut out = BufWriter::with_capacity(1 << 17, file.as_file());
    let mut len = 0;
    let told = fetch(&mut |bytes| {
        len += bytes.len() as u64;
        out.write_all(bytes)
    })?;
    out.flush()?;
    drop(out);
    if len == 0 {
        return Ok((told, None));
    }
    let pack = index(file.as_file(), len, algo).map_err(broken)?;
    Ok((told, Some(Received { file, pack })))
}

fn index(file: &File, len: u64, algo: HashAlgo) -> Result<IndexedPack, PackError> {
    let bytes = Bytes { file, len };
    let options = IndexOptions {
        algo,
        cache_bytes: INDEX_CACHE_BYTES,
        object_bytes_max: OBJECT_BYTES_MAX,
        objects_max: PACK_OBJECTS_MAX,
        fsck: true,
    };
    let scanned = scan(&bytes, &options, &mut |_, _| {})?;
    let resolver = scanned.resolver(&bytes, &NothingKnown, &AnyLinks)?;
    resolver.work()?;
    resolver.finish()
}

impl Received {
    /// Hands over every blob, one after the other.
    pub fn for_each_blob(&self, each: &mut dyn FnMut(ObjectId, Vec<u8>) -> io::Result<()>) -> io::Result<()> {
        // Blobs are not kept.
        let bases = Bases::default();
        let find = |id: &ObjectId| Ok(self.pack.find(id).map(|index| self.pack.entry(index).offset));
        for entry in self.pack.entries().filter(|entry| entry.kind == Kind::Blob) {
            let (_, content) =
                read_object(self.file.as_file(), self.pack.algo(), entry.offset, &bases, &find)?;
            each(entry.id, content)?;
        }
        Ok(())
    }
}
