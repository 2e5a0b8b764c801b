//! Packs built by hand, with their index.

use std::io::Write;

use cairn_protocol::object::{HashAlgo, Hasher, Kind, ObjectId, hash_object};

use crate::store::repo::facts::{CommitLinks, Entry, EntryBase, PackFacts, RefBase};

pub struct TestPack {
    algo: HashAlgo,
    pub entries: Vec<Entry>,
    contents: Vec<Vec<u8>>,
    commits: Vec<CommitLinks>,
    sorted: Vec<u32>,
    pub bytes: Vec<u8>,
}

impl TestPack {
    pub fn new(algo: HashAlgo) -> Self {
        let (entries, contents, commits, sorted) = Default::default();
        Self { algo, entries, contents, commits, sorted, bytes: vec![0; 12] }
    }

    fn add(&mut self, kind: Kind, data: &[u8], base: EntryBase, base_content: &[u8]) -> ObjectId {
        let id = hash_object(self.algo, kind, data).unwrap();
        let offset = self.bytes.len() as u64;
        let is_delta = base != EntryBase::Whole;
        let body = if is_delta { delta(base_content, data) } else { data.to_vec() };
        let form = match base {
            EntryBase::Whole => kind as u8,
            EntryBase::Ofs(_) => 6,
            EntryBase::Ref(_) => 7,
        };
        self.header(form, body.len());
        match base {
            EntryBase::Whole => {}
            EntryBase::Ofs(at) => self.back(offset - self.entries[at as usize].offset),
            EntryBase::Ref(RefBase::InPack(at)) => {
                let id = self.entries[at as usize].id;
                self.bytes.extend_from_slice(id.as_bytes());
            }
            EntryBase::Ref(RefBase::External(id)) => self.bytes.extend_from_slice(id.as_bytes()),
        }
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(&body).unwrap();
        self.bytes.extend(zlib.finish().unwrap());
        let (size, entry_bytes) = (data.len() as u64, self.bytes.len() as u64 - offset);
        self.entries.push(Entry { id, kind, size, offset, entry_bytes, base });
        self.contents.push(data.to_vec());
        id
    }

    fn header(&mut self, form: u8, mut size: usize) {
        let mut byte = form << 4 | (size & 15) as u8;
        size >>= 4;
        while size > 0 {
            self.bytes.push(byte | 0x80);
            byte = (size & 0x7f) as u8;
            size >>= 7;
        }
        self.bytes.push(byte);
    }

    fn back(&mut self, mut back: u64) {
        let mut out = vec![(back & 0x7f) as u8];
        back >>= 7;
        while back > 0 {
            back -= 1;
            out.push(0x80 | (back & 0x7f) as u8);
            back >>= 7;
        }
        out.reverse();
        self.bytes.extend(out);
    }

    pub fn whole(&mut self, kind: Kind, data: &[u8]) -> ObjectId {
        self.add(kind, data, EntryBase::Whole, b"")
    }

    pub fn blob(&mut self, data: &[u8]) -> ObjectId {
        self.whole(Kind::Blob, data)
    }

    pub fn ofs(&mut self, base: u32, data: &[u8]) -> ObjectId {
        let content = self.contents[base as usize].clone();
        self.add(Kind::Blob, data, EntryBase::Ofs(base), &content)
    }

    pub fn thin(&mut self, base: ObjectId, content: &[u8], data: &[u8]) -> ObjectId {
        self.add(Kind::Blob, data, EntryBase::Ref(RefBase::External(base)), content)
    }

    pub fn tree(&mut self, name: &str, blob: ObjectId) -> ObjectId {
        let mut data = format!("100644 {name}\0").into_bytes();
        data.extend_from_slice(blob.as_bytes());
        self.whole(Kind::Tree, &data)
    }

    /// A commit of which the text is known.
    pub fn commit_as(&mut self, tree: ObjectId, parents: &[ObjectId], time: i64, text: &[u8]) -> ObjectId {
        let id = self.whole(Kind::Commit, text);
        let index = self.entries.len() as u32 - 1;
        self.commits.push(CommitLinks { index, tree, parents: parents.to_vec(), time });
        id
    }

    pub fn commit(&mut self, tree: ObjectId, parents: &[ObjectId], time: i64) -> ObjectId {
        let mut text = format!("tree {tree}\n");
        parents.iter().for_each(|parent| text.push_str(&format!("parent {parent}\n")));
        text.push_str(&format!("author A <a@b> {time} +0000\ncommitter A <a@b> {time} +0000\n\nm\n"));
        let id = self.whole(Kind::Commit, text.as_bytes());
        let index = self.entries.len() as u32 - 1;
        self.commits.push(CommitLinks { index, tree, parents: parents.to_vec(), time });
        id
    }

    pub fn finish(mut self) -> Self {
        let count = self.entries.len() as u32;
        self.bytes[..4].copy_from_slice(b"PACK");
        self.bytes[4..8].copy_from_slice(&2_u32.to_be_bytes());
        self.bytes[8..12].copy_from_slice(&count.to_be_bytes());
        let mut hasher = Hasher::new(self.algo);
        hasher.update(&self.bytes);
        self.bytes.extend_from_slice(hasher.finish().unwrap().as_bytes());
        self.sorted = (0..count).collect();
        self.sorted.sort_by_key(|index| self.entries[*index as usize].id);
        self
    }
}

impl PackFacts for TestPack {
    fn algo(&self) -> HashAlgo {
        self.algo
    }

    fn len(&self) -> u32 {
        self.entries.len() as u32
    }

    fn pack_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn entry(&self, index: u32) -> Entry {
        self.entries[index as usize]
    }

    fn find(&self, id: &ObjectId) -> Option<u32> {
        let found = self.sorted.binary_search_by_key(id, |index| self.entries[*index as usize].id);
        found.ok().map(|at| self.sorted[at])
    }

    fn sorted(&self) -> &[u32] {
        &self.sorted
    }

    fn commits(&self) -> Box<dyn Iterator<Item = CommitLinks> + '_> {
        Box::new(self.commits.iter().cloned())
    }
}

/// Copies what both start with, then inserts the rest.
fn delta(base: &[u8], data: &[u8]) -> Vec<u8> {
    let varint = |mut value: usize, out: &mut Vec<u8>| {
        while value > 0x7f {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    };
    let mut out = Vec::new();
    varint(base.len(), &mut out);
    varint(data.len(), &mut out);
    let same = base.iter().zip(data).take_while(|(a, b)| a == b).count().min(0xffff);
    if same > 0 {
        out.extend([0x80 | 0x10 | 0x20, same as u8, (same >> 8) as u8]);
    }
    for part in data[same..].chunks(127) {
        out.push(part.len() as u8);
        out.extend_from_slice(part);
    }
    out
}
