//! Deltas: no panic, and no result beyond the limit or of another size than announced.

#![no_main]

use cairn_protocol::pack::delta::{apply, sizes};
use libfuzzer_sys::fuzz_target;

const RESULT_BYTES_MAX: u64 = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let Some((&base_bytes, rest)) = data.split_first() else {
        return;
    };
    let Some((base, delta)) = rest.split_at_checked(usize::from(base_bytes)) else {
        return;
    };
    let mut out = Vec::new();
    if apply(base, delta, &mut out, RESULT_BYTES_MAX).is_ok() {
        let sizes = sizes(delta).expect("it was applied");
        assert_eq!((sizes.base, sizes.result), (base.len() as u64, out.len() as u64));
        assert!(sizes.result <= RESULT_BYTES_MAX);
    }
});
