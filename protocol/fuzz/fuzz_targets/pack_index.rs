//! The whole index pass over a pack whose trailer is put right: no panic, and one answer whatever the budget.

#![no_main]

use cairn_protocol::object::{HashAlgo, Hasher};
use cairn_protocol::pack::{IndexOptions, IndexedPack, LinksOnly, NothingKnown, PackError, scan};
use libfuzzer_sys::fuzz_target;

fn index(pack: &Vec<u8>, cache_bytes: u64) -> Result<IndexedPack, PackError> {
    let options = IndexOptions {
        algo: HashAlgo::Sha1,
        cache_bytes,
        object_bytes_max: 1 << 20,
        objects_max: 1_000,
        fsck: false,
    };
    let resolver = scan(pack, &options, &mut |_, _| ())?.resolver(pack, &NothingKnown, &LinksOnly)?;
    resolver.work()?;
    resolver.finish()
}

fuzz_target!(|data: &[u8]| {
    let mut hasher = Hasher::new(HashAlgo::Sha1);
    hasher.update(data);
    let Ok(trailer) = hasher.finish() else { return };
    let pack = [data, trailer.as_bytes()].concat();
    match (index(&pack, 0), index(&pack, 1 << 20)) {
        (Ok(one), Ok(other)) => assert!(one.entries().eq(other.entries())),
        (one, other) => assert_eq!(one.is_ok(), other.is_ok()),
    }
});
