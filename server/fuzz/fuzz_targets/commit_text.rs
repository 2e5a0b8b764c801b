//! Commits as people read them: no panic on any bytes.

#![no_main]

use cairn_protocol::object::{HashAlgo, ObjectId};
use cairn_server::ops::commit_text;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let id = ObjectId::from_bytes(HashAlgo::Sha1, &[7; 20]).expect("20 bytes");
    if let Some(commit) = commit_text::parse(HashAlgo::Sha1, id, data) {
        assert!(commit.parents.iter().all(|parent| parent.algo() == HashAlgo::Sha1));
    }
});
