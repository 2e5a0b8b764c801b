//! No bytes make the judge of ref names panic, and a name that passes is kept as it is.

#![no_main]

use cairn_protocol::refs::{RefName, is_pushable};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    if let Ok(name) = RefName::new(raw) {
        assert_eq!(name.as_bytes(), raw);
        assert!(is_pushable(&name) || !name.is_branch());
        assert!(!raw.iter().any(|byte| *byte <= b' '));
    }
});
