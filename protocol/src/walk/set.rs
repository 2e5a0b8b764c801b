//! Sets of objects: one roaring bitmap of ordinals for each source.

use roaring::RoaringBitmap;

use crate::source::ObjRef;

/// A set of objects of one repository. Runs of ordinals cost a few bytes, whatever their length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjSet {
    sources: Vec<RoaringBitmap>,
}

impl ObjSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// From one bitmap for each source, own log first.
    pub fn from_sources(sources: Vec<RoaringBitmap>) -> Self {
        Self { sources }
    }

    fn source_mut(&mut self, source: u16) -> &mut RoaringBitmap {
        let at = usize::from(source);
        if self.sources.len() <= at {
            self.sources.resize_with(at + 1, RoaringBitmap::new);
        }
        self.sources.get_mut(at).expect("just made long enough")
    }

    /// Adds one object; whether it was new.
    pub fn insert(&mut self, at: ObjRef) -> bool {
        self.source_mut(at.source).insert(at.ordinal)
    }

    /// Takes one object out; whether it was there.
    pub fn remove(&mut self, at: ObjRef) -> bool {
        self.source_mut(at.source).remove(at.ordinal)
    }

    /// Whether the object is a member.
    pub fn contains(&self, at: ObjRef) -> bool {
        self.sources.get(usize::from(at.source)).is_some_and(|set| set.contains(at.ordinal))
    }

    /// How many objects.
    pub fn len(&self) -> u64 {
        self.sources.iter().map(RoaringBitmap::len).sum()
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.sources.iter().all(RoaringBitmap::is_empty)
    }

    /// Adds all of `other`.
    pub fn union_with(&mut self, other: &Self) {
        for (source, bits) in other.sources.iter().enumerate() {
            *self.source_mut(source as u16) |= bits;
        }
    }

    /// Takes out all of `other`.
    pub fn subtract(&mut self, other: &Self) {
        for (own, bits) in self.sources.iter_mut().zip(&other.sources) {
            *own -= bits;
        }
    }

    /// Keeps only what `other` has too.
    pub fn intersect(&mut self, other: &Self) {
        for (source, own) in self.sources.iter_mut().enumerate() {
            match other.sources.get(source) {
                Some(bits) => *own &= bits,
                None => own.clear(),
            }
        }
    }

    /// The members in one source; empty where it has none.
    pub fn source(&self, source: u16) -> Option<&RoaringBitmap> {
        self.sources.get(usize::from(source))
    }

    /// How many sources the set speaks of.
    pub fn source_count(&self) -> u16 {
        self.sources.len() as u16
    }

    /// All members, by source and then by ordinal.
    pub fn iter(&self) -> impl Iterator<Item = ObjRef> + '_ {
        self.sources.iter().enumerate().flat_map(|(source, bits)| {
            bits.iter().map(move |ordinal| ObjRef { source: source as u16, ordinal })
        })
    }

    /// The set as bytes: a count of sources, then each bitmap behind its length (u32, little endian).
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = (self.sources.len() as u32).to_le_bytes().to_vec();
        for bits in &self.sources {
            out.extend_from_slice(&(bits.serialized_size() as u32).to_le_bytes());
            bits.serialize_into(&mut out).expect("writing to memory cannot fail");
        }
        out
    }

    /// From what [`to_bytes`](Self::to_bytes) made; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (count, mut rest) = take_u32(bytes)?;
        let mut sources = Vec::new();
        for _ in 0..count {
            let (size, tail) = take_u32(rest)?;
            let (body, tail) = tail.split_at_checked(size as usize)?;
            sources.push(RoaringBitmap::deserialize_from(body).ok()?);
            rest = tail;
        }
        rest.is_empty().then_some(Self { sources })
    }
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*head), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip_and_garbage_is_refused() {
        let mut set = ObjSet::new();
        for ordinal in [0, 1, 2, 70_000] {
            set.insert(ObjRef { source: 2, ordinal });
        }
        let bytes = set.to_bytes();
        assert_eq!(ObjSet::from_bytes(&bytes), Some(set));
        for cut in 0..bytes.len() {
            assert_eq!(ObjSet::from_bytes(&bytes[..cut]), None, "cut at {cut}");
        }
    }
}
