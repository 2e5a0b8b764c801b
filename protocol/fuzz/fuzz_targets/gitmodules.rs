//! Checks arbitrary bytes as `.gitmodules` and as `.gitattributes`.

#![no_main]

use cairn_protocol::object::fsck::{check_gitattributes, check_gitmodules};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    check_gitmodules(data, &mut |finding| assert!(!finding.to_string().is_empty()));
    check_gitattributes(data, &mut |finding| assert!(finding.severity.stops()));
});
