//! The ceilings of what the server does of itself.

cairn_protocol::limits! {
/// Repository files that `cairn maintain` keeps open.
#[inner = "how many files are kept open; more are opened anew"]
pub const MAINTAIN_FILES_MAX: usize = 8;
/// `cairn maintain` rewrites a file of which more than one page in so many is free.
#[inner = "when maintenance is due; what is read is the same"]
pub const COMPACT_FREE_SHARE: u64 = 10;
/// Without a push for so long, a repository is maintained as a whole, in milliseconds.
#[inner = "when maintenance is due; what is read is the same"]
pub const MAINTAIN_QUIET_MS: u64 = 600_000;
/// Between two looks at what is to be maintained, in milliseconds; half the quiet time where that is less.
#[inner = "how often something is looked at"]
pub const MAINTAIN_LOOK_MS: u64 = 10_000;
/// Quiet repositories that one question to the catalog names.
#[inner = "a batch"]
pub const MAINTAIN_BATCH_REPOS: u32 = 64;
/// Longest rest between two steps of the server's own maintenance, in milliseconds: as long as the step took, so that
/// requests have at least half of the time.
#[inner = "how often something is looked at"]
pub const MAINTAIN_REST_MS_MAX: u64 = 2_000;
/// A larger file is not rewritten by the server of itself, since pushes to the repository wait meanwhile; in bytes.
#[inner = "when maintenance is due; what is read is the same"]
pub const COMPACT_FILE_BYTES_MAX: u64 = 128 << 20;
/// Repositories whose rolled packs are kept for clones under way and looked at again.
#[inner = "a list; what has no room in it is found again by its age"]
pub const MAINTAIN_LATER_MAX: usize = 10_000;
}
