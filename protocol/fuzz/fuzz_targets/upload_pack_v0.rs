//! No body makes the parser of v0 requests panic, and no text of an error is longer than a packet.

#![no_main]

use cairn_protocol::{limits::PKT_PAYLOAD_BYTES_MAX, object::HashAlgo, upload_pack::parse_v0};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    for algo in [HashAlgo::Sha1, HashAlgo::Sha256] {
        if let Err(err) = parse_v0(body, algo) {
            assert!(err.to_string().len() < PKT_PAYLOAD_BYTES_MAX);
        }
    }
});
