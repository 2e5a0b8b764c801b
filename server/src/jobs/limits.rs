//! The ceilings of what the server does of itself.

cairn_protocol::limits! {
/// Imports that run at once; others wait without a connection.
#[test_at = "server/tests/rest_import.rs::more_imports_than_allowed_wait_for_their_turn"]
pub const IMPORTS_MAX: usize = 4;
/// Imports that run or wait; further ones are refused.
#[test_at = "server/tests/rest_import.rs::so_many_imports_may_wait_and_no_more_however_they_come"]
pub const IMPORTS_WAITING_MAX: usize = 256;
/// Remotes that are asked for their refs at once, before an import is one. Each may take some 100 MiB for a moment.
#[inner = "how many are at work at once; others wait"]
pub const IMPORT_PROBES_MAX: usize = 4;
/// Wait for a remote to tell its refs.
#[inner = "a time to wait"]
pub const IMPORT_PROBE_MS_MAX: u64 = 30_000;
/// Wait for an import to end, before the answer is that it is under way.
#[inner = "a time to wait"]
pub const IMPORT_WAIT_MS: u64 = 5_000;
/// One try to fetch the pack of an import.
#[inner = "a time to wait"]
pub const IMPORT_FETCH_MS_MAX: u64 = 4 * 3_600_000;
/// Tries to fetch the pack of an import, where the remote breaks off or cannot answer.
#[test_at = "server/tests/rest_import.rs::an_import_that_breaks_off_is_tried_again_and_given_up"]
pub const IMPORT_TRIES_MAX: u32 = 3;
/// Pause before the second try; before each further one it is twice as long.
#[inner = "a time to wait"]
pub const IMPORT_PAUSE_MS: u64 = 500;
/// Between two looks whether the repository of a running import was deleted.
#[inner = "how often something is looked at"]
pub const IMPORT_LOOK_MS: u64 = 2_000;
/// Branches and tags of one import, as many as one push may bring.
#[test_at = "server/src/ops/import.rs::refs_stop_at_their_limit"]
pub const IMPORT_REFS_MAX: usize = cairn_protocol::limits::COMMANDS_MAX;
/// Wait for running imports after SIGTERM or SIGINT; then they are left to the next start.
#[inner = "a time to wait"]
pub const IMPORT_DRAIN_MS_MAX: u64 = 3_000;
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
/// Repositories whose maintenance failed and is tried again; others wait for their next push.
#[test_at = "server/src/jobs/retry.rs::so_many_are_known_and_no_more"]
pub const MAINTAIN_RETRIES_MAX: usize = 10_000;
/// Pause before maintenance that failed is tried again, in milliseconds; after each further failure it is twice as long.
#[test_at = "server/tests/maintenance.rs::what_failed_is_tried_again_without_a_push"]
pub const MAINTAIN_RETRY_MS: i64 = 60_000;
/// The longest such pause, in milliseconds.
#[test_at = "server/src/jobs/retry.rs::a_pause_doubles_up_to_its_limit_and_begins_anew_after_success"]
pub const MAINTAIN_RETRY_MS_MAX: i64 = 6 * 3_600_000;
/// What no ref named for so long is dropped, in days.
#[inner = "when maintenance is due; what refs name is read the same"]
pub const KEEP_UNREACHABLE_DAYS: u64 = 30;
/// Bytes of packs from which on the server drops of itself: the floor of what can be read as of older entries is not raised
/// for less.
#[inner = "when maintenance is due; what refs name is read the same"]
pub const DROP_BYTES_MIN: u64 = 64 << 10;
/// A pack is rolled for what was dropped of it where that is at least one byte in so many.
#[inner = "when maintenance is due; what is read is the same"]
pub const DROP_ROLL_SHARE: u64 = 8;
/// Different values of refs since the floor; nothing of a repository that has more is dropped.
#[inner = "a repository with more keeps what it has"]
pub const DROP_TIPS_MAX: usize = 1_000_000;
/// Bytes of one folder or tag that is made in memory to see what it names; nothing of a repository with a larger one is dropped.
#[inner = "a repository with a larger one keeps what it has"]
pub const DROP_OBJECT_BYTES_MAX: u64 = 64 << 20;
/// Until what could not be dropped, since somebody read or pushed, is tried again, in milliseconds.
#[inner = "how often something is looked at"]
pub const DROP_RETRY_MS: u64 = 600_000;
/// Until a repository of which nothing could be dropped, since that failed, is tried again, in milliseconds.
#[inner = "how often something is looked at"]
pub const DROP_FAILED_RETRY_MS: u64 = 86_400_000;
/// Time between two looks that counts as passed, in milliseconds: what goes beyond may be a clock that was set.
#[inner = "how ages are told; nothing is dropped before its time"]
pub const STEADY_STEP_MS_MAX: u64 = 86_400_000;
/// How much of the steady time may be lost when a server ends, in milliseconds.
#[inner = "how ages are told; nothing is dropped before its time"]
pub const STEADY_NOTE_MS: u64 = 600_000;
/// Least time until a quiet repository is looked at again, in milliseconds.
#[inner = "how often something is looked at"]
pub const MAINTAIN_AGAIN_MS_MIN: u64 = 60_000;
}
