//! Files as memory, which the standard library cannot do.
#![allow(
    unsafe_code,
    reason = "a map is unsound where another process cuts its file; here this test alone has it open"
)]
#![allow(dead_code, clippy::unwrap_used)]

use std::fs::File;

use memmap2::{MmapMut, MmapOptions};

/// A shared map of `len` bytes from `at`, a multiple of the page's size.
pub fn shared(file: &File, at: u64, len: usize) -> MmapMut {
    // SAFETY: the file is in a folder of the test's own, and is not cut while the map is there.
    unsafe { MmapOptions::new().offset(at).len(len).map_mut(file) }.unwrap()
}

/// A map of the first `len` bytes, whose changes nobody else sees.
pub fn private(file: &File, len: usize) -> std::io::Result<MmapMut> {
    // SAFETY: as above.
    unsafe { MmapOptions::new().len(len).map_copy(file) }
}
