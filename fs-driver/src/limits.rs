//! Every ceiling of the filesystem driver, with its unit in its name.

/// A name in a directory (`NAME_MAX`).
pub const NAME_BYTES_MAX: usize = 255;
/// The target of a symbolic link (`PATH_MAX`).
pub const LINK_TARGET_BYTES_MAX: usize = 4096;
/// Decoded trees that are kept. A tree of a million entries takes about 50 MB.
pub const TREE_CACHE_BYTES_MAX: usize = 64 << 20;
/// One frame of the journal. The largest record is an inode with all its extended attributes.
pub const JOURNAL_FRAME_BYTES_MAX: usize = 1 << 20;
/// A journal beyond this, and beyond twice the last checkpoint, is folded into a checkpoint.
pub const JOURNAL_BYTES_MAX: u64 = 16 << 20;
/// Room that is kept for the journal ahead of its end.
pub const JOURNAL_RESERVE_BYTES: u64 = 1 << 20;
/// Names and values of one inode's extended attributes together.
pub const XATTR_BYTES_MAX: usize = 64 << 10;
/// Paths that the change log remembers; beyond it a reader is told that everything may have changed.
pub const CHANGED_PATHS_MAX: usize = 100_000;
/// A file of at least this many bytes is read by the kernel itself where it can (passthrough).
pub const PASSTHROUGH_BYTES_MIN: u64 = 128 << 10;
/// Data of one write request.
pub const WRITE_BYTES_MAX: u32 = 1 << 20;
/// Requests that wait for the network at once; more are refused with `EIO`.
pub const PARKED_REQUESTS_MAX: usize = 65_536;
/// Sizes that are asked for together.
pub const SIZES_PER_REQUEST_MAX: usize = 10_000;
/// Contents of removed files that wait for the journal to be synced; beyond it, it is synced at once.
pub const DOOMED_FILES_MAX: usize = 512;
/// Bytes in them.
pub const DOOMED_BYTES_MAX: u64 = 64 << 20;

const _: () = assert!(XATTR_BYTES_MAX < JOURNAL_FRAME_BYTES_MAX / 2);
