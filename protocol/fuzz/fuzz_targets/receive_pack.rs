//! No bytes make the parser of pushes panic, and cutting the stream changes no result. The first byte says where to cut.

#![no_main]

use cairn_protocol::{
    object::HashAlgo,
    receive_pack::{Parsed, parse_push},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((cut, bytes)) = input.split_first() else {
        return;
    };
    let cut = bytes.len() * usize::from(*cut) / 256;
    for algo in [HashAlgo::Sha1, HashAlgo::Sha256] {
        let Ok(Parsed::Done { value, used }) = parse_push(bytes, algo) else {
            continue;
        };
        match parse_push(&bytes[..cut], algo).expect("a prefix is no worse than the whole") {
            Parsed::NeedMore => assert!(cut < used),
            Parsed::Done {
                value: short,
                used: end,
            } => assert!(end == used && short == value),
        }
    }
});
