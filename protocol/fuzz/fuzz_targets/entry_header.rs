//! Entry headers: no panic, and what decodes encodes to the same meaning.

#![no_main]

use cairn_protocol::object::HashAlgo;
use cairn_protocol::pack::entry::{EntryKind, decode, encode_ofs, encode_ref, encode_whole};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for algo in [HashAlgo::Sha1, HashAlgo::Sha256] {
        let Ok(Some(header)) = decode(algo, data) else {
            continue;
        };
        let mut bytes = Vec::new();
        match header.kind {
            EntryKind::Whole(kind) => encode_whole(&mut bytes, kind, header.size),
            EntryKind::Ofs { back } => encode_ofs(&mut bytes, header.size, back),
            EntryKind::Ref(base) => encode_ref(&mut bytes, header.size, &base),
        }
        let again = decode(algo, &bytes).expect("canonical").expect("whole");
        assert_eq!(
            (again.kind, again.size, again.header_bytes),
            (header.kind, header.size, bytes.len())
        );
    }
});
