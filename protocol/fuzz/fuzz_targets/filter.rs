//! No bytes make the parser of filter specs panic, and a filter reads back as it was shown.

#![no_main]

use cairn_protocol::filter::Filter;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|spec: &[u8]| {
    if let Ok(filter) = Filter::parse(spec) {
        assert_eq!(Filter::parse(filter.to_string().as_bytes()), Ok(filter));
    }
});
