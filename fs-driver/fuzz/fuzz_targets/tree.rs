//! Trees of any bytes: no panic, no name that could leave the folder or stand for `.git`, and every shown name is found.

#![no_main]

use std::collections::HashSet;

use cairn_fs::tree::Tree;
use cairn_protocol::object::HashAlgo;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for algo in [HashAlgo::Sha1, HashAlgo::Sha256] {
        let Ok(tree) = Tree::decode(algo, data.to_vec(), &mut |_| {}) else { continue };
        let mut seen = HashSet::new();
        for entry in tree.iter() {
            let name = entry.name;
            assert!(!name.is_empty() && !name.contains(&b'/') && !name.contains(&0), "{name:?}");
            assert!(name != b"." && name != b".." && !name.eq_ignore_ascii_case(b".git"), "{name:?}");
            assert!(seen.insert(name), "{name:?} is there twice");
            assert_eq!(tree.get(name).map(|found| found.id), Some(entry.id), "{name:?}");
        }
        assert_eq!(seen.len(), tree.len());
    }
});
