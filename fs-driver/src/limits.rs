//! Ceilings of the driver, each with its unit.

use std::time::Duration;

cairn_protocol::limits! {
/// One object after inflation, in bytes; it is held in memory while it is checked.
pub const OBJECT_BYTES_MAX: u64 = 512 << 20;
/// Objects of one pack that a remote sends.
pub const PACK_OBJECTS_MAX: u32 = 32 << 20;
/// Memory for delta bases while a pack is indexed, in bytes.
pub const INDEX_CACHE_BYTES: u64 = 32 << 20;
/// Deltas that are followed to read one object; git writes at most 4,095.
pub const DELTA_DEPTH_MAX: usize = 4_096;
/// Files that the prepared index names. A larger tree mounts without a prepared index.
pub const INDEX_ENTRIES_MAX: usize = 2_000_000;
/// Folders within folders that the prepared index and the background order follow.
pub const TREE_DEPTH_MAX: usize = 512;
/// Sizes that are asked for before the mount is ready; those of a larger tree come when they are needed.
pub const SIZES_AT_MOUNT_MAX: usize = 50_000;
/// Sizes that one remote's table keeps.
pub const SIZES_MAX: usize = 8_000_000;
/// The blob cache of the machine, in bytes, unless `--cache-limit` says otherwise.
#[set = "--cache-limit"]
pub const CACHE_BYTES_DEFAULT: u64 = 20 << 30;
/// What eviction leaves, in hundredths of the limit.
pub const CACHE_KEPT_PERCENT: u64 = 90;
/// A cached file's time of use is brought up to date when it is older than this.
pub const CACHE_TOUCH_AFTER: Duration = Duration::from_secs(60);
/// Temporary files of the cache that are older than this belong to nobody.
pub const CACHE_STAGE_AGE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Blobs of one request that somebody waits for.
pub const WANTS_BATCH: usize = 512;
/// Neighbours that come along with blobs that somebody waits for.
pub const NEIGHBOURS_MAX: usize = 256;
/// A neighbour of more bytes stays where it is.
pub const NEIGHBOUR_BYTES_MAX: u64 = 1 << 20;
/// Blobs of one request of the background.
pub const BACKGROUND_BATCH: usize = 2_048;
/// Blobs of its first request: what is needed most comes by itself.
pub const BACKGROUND_BATCH_FIRST: usize = 64;
/// By how much each request may have more blobs than the one before.
pub const BACKGROUND_BATCH_GROWTH: usize = 4;
/// A background that may take no more of the disk looks after this whether there is room again.
pub const DISK_LOOK_PAUSE: Duration = Duration::from_secs(30);
/// Paths that were read, which a remote's list keeps for its next mount.
pub const LEARNT_PATHS_MAX: usize = 20_000;
/// Bytes of that list.
pub const LEARNT_BYTES_MAX: usize = 4 << 20;
/// A tree of more files is not kept in memory to learn their paths.
pub const LEARNT_LISTING_MAX: usize = VIEW_OBJECTS_MAX;
/// Bytes of one request of the background, by known sizes.
pub const BACKGROUND_BATCH_BYTES: u64 = 16 << 20;
/// Bytes that a blob of unknown size is taken for.
pub const UNKNOWN_BLOB_BYTES: u64 = 8 << 10;
/// Blobs of a folder that a scan brings at once.
pub const SCAN_BLOBS_MAX: usize = 4_096;
/// Folders below one folder in which reads missed, before the whole of it is fetched.
pub const SCAN_FOLDERS_MIN: usize = 3;
/// Walks through a tree that are told apart, each of which brings more with each miss.
pub const AHEAD_ROWS_MAX: usize = 4;
/// Missing files between what came with one miss and the next miss of the same walk.
pub const AHEAD_GAP_FILES_MAX: usize = NEIGHBOURS_MAX;
/// Folders that are looked at to find what is next.
pub const AHEAD_FOLDERS_MAX: usize = 4_096;
/// Between an answer to git and its next question of the same walk.
pub const AHEAD_GIT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Connections to one remote.
pub const CONNECTIONS_MAX: usize = 4;
/// The longest wait for a blob, as long as the remote is thought to be alive.
#[set = "--read-deadline"]
pub const WANT_DEADLINE: Duration = Duration::from_secs(60);
/// The longest wait for a blob while the remote is thought to be dead.
pub const WANT_DEADLINE_DEAD: Duration = Duration::from_secs(5);
/// The longest deadline that can be set, in seconds.
pub const DEADLINE_SECONDS_MAX: u64 = 86_400;
/// Failures one after the other, after which a remote is thought to be dead.
pub const FAILURES_UNTIL_DEAD: u32 = 5;
/// The first pause after a failure; it doubles with each further one.
pub const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// The longest pause after a failure.
pub const BACKOFF_MAX: Duration = Duration::from_secs(15);
/// Blobs that may be waited for at once.
pub const WAITING_MAX: usize = 1 << 20;
/// Blobs that the background order holds.
pub const BACKGROUND_MAX: usize = 1_000_000;
/// Bytes of one request on the control socket.
pub const CONTROL_REQUEST_BYTES_MAX: u64 = 4 << 20;
/// Clients that the control socket serves at once.
pub const CONTROL_CLIENTS_MAX: usize = 64;
/// To wait for a request on the control socket.
pub const CONTROL_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a path of a Unix socket, less the closing NUL.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Cached contents that a process remembers to have hashed, at some 16 bytes each; beyond it they are hashed again.
pub const CACHE_CHECKED_MAX: usize = 1 << 20;
/// Cached contents that a process leaves open after their use, at some 500 bytes each with what the kernel holds; and no more
/// than a quarter of the files that it may have open.
pub const RECENT_BLOBS_MAX: usize = 16_384;
/// A content of at least this many bytes is closed after its use.
pub const RECENT_BLOB_BYTES_MAX: u64 = PASSTHROUGH_BYTES_MIN;
/// Bytes of all that are left open: so much of the disk may stay taken for a minute after an eviction.
pub const RECENT_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a cached content that are hashed at once.
pub const CACHE_CHECK_BYTES: usize = 128 << 10;
/// Bytes of a file with a token.
pub const TOKEN_FILE_BYTES_MAX: u64 = 64 << 10;
/// A count of what is here is made anew after this, even if this mount brought nothing since.
pub const HYDRATED_AGE_MAX: Duration = Duration::from_secs(2);
/// Bytes of a file that holds a ref, and of a line of the packed ones.
pub const REF_BYTES_MAX: u64 = 8 << 10;
/// Refs that lead from HEAD to a commit; git follows as many.
pub const SYMREFS_MAX: usize = 5;
/// Restarts of a daemon that dies within `RESTART_CALM` of its start.
pub const RESTARTS_MAX: u32 = 5;
/// A daemon that lives this long is thought to be well.
pub const RESTART_CALM: Duration = Duration::from_secs(60);
/// Paths of one warning in the status.
pub const WARNINGS_MAX: usize = 16;

const _: () = assert!(WANTS_BATCH + NEIGHBOURS_MAX <= BACKGROUND_BATCH);
const _: () = assert!(CACHE_KEPT_PERCENT < 100);
const _: () = assert!(RECENT_BLOB_BYTES_MAX < RECENT_BYTES_MAX / 2);
const _: () = assert!(KEPT_TREES_BYTES_MAX <= KEPT_TREES_TOTAL_BYTES_MAX / 4);

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
/// Listings of directories that are kept while they are read in parts.
pub const LISTINGS_KEPT_MAX: usize = 8;
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
/// To bring the commit and its trees before a mount is ready, all attempts together.
#[set = "--prepare-deadline"]
pub const PREPARE_DEADLINE: Duration = Duration::from_secs(3_600);
/// To wait until all who waited for a mount that will not be ready have been told, and have left its folder.
pub const GATE_END_MAX: Duration = Duration::from_secs(10);
/// Attempts to prepare a mount while the remote does not answer.
pub const PREPARE_TRIES_MAX: u32 = 4;
/// Attempts to bring the history in the background.
pub const HISTORY_TRIES_MAX: u32 = 20;
/// To wait until a mount is gone after it was asked to end.
pub const UNMOUNT_DEADLINE: Duration = Duration::from_secs(20);
/// Blobs that git is shown as objects at hand; the paths of all of them stay in memory. Those of a larger commit are left
/// to git's own fetching.
pub const VIEW_OBJECTS_MAX: usize = 500_000;
/// Files `.gitignore` and `.gitattributes` that are brought before the mount is ready.
pub const RULES_AT_MOUNT_MAX: usize = 10_000;
/// Bytes of one attribute file; a larger one is not followed.
pub const ATTRIBUTES_BYTES_MAX: usize = 1 << 20;
/// Bytes of all attribute files of a tree together.
pub const ATTRIBUTES_TOTAL_BYTES_MAX: usize = 16 << 20;
/// Bytes of the changes that one mount leaves for the next; beyond it git looks at everything once.
pub const CHANGES_BYTES_MAX: u64 = 64 << 20;
/// Bytes of the log of a mount, after which it begins anew; as many of the one before are kept.
pub const LOG_BYTES_MAX: u64 = 1 << 20;
/// Written files that wait to be compared with the base; more are compared at the next mount.
pub const FOLD_WAITING_MAX: usize = 65_536;
/// Bytes of a written file that is compared with the base; a larger one stays as it is.
pub const FOLD_BYTES_MAX: u64 = 16 << 20;
/// To wait until the daemon before has closed the state of a mount: it is told of as unmounted a moment earlier.
pub const STATE_LOCK_WAIT_MAX: Duration = Duration::from_secs(10);
/// Between two looks whether it has.
pub const STATE_LOCK_LOOK: Duration = Duration::from_millis(10);
/// After the last write into a file of whose close nobody is told, before it is compared with the base.
pub const FOLD_AFTER: Duration = Duration::from_secs(2);
/// Files of the state directory that are left open after a read or a write; one of another inode is opened by its path.
pub const UPPERS_OPEN_MAX: usize = 256;
/// Blobs that are left open, and kept from eviction, after a read that no open announced.
pub const READ_LATELY_BLOBS_MAX: usize = 128;
/// After this they are opened anew, or closed by the next look that `FOLD_PAUSE` makes.
pub const READ_LATELY_AGE_MAX: Duration = Duration::from_secs(20);
/// To wait for writes that are under way, before it is told what changed.
pub const WRITES_WAIT_MAX: Duration = Duration::from_secs(1);
/// Bytes of writes that wait for the content of the files that they go into; more are refused with `EIO`.
pub const PARKED_WRITE_BYTES_MAX: usize = 256 << 20;
/// Requests that the kernel sends before it has answers, of those that nobody waits for: reads ahead, and writes of mapped
/// pages. What changed is asked for behind all of them.
pub const BACKGROUND_REQUESTS_MAX: u16 = 4_096;
/// Between two looks at what was written.
pub const FOLD_PAUSE: Duration = Duration::from_secs(10);
/// Bytes of all trees of one commit that are kept as one file for its next mount; larger ones are read from packs again.
pub const KEPT_TREES_BYTES_MAX: u64 = 64 << 20;
/// Commits of one remote whose trees are kept so.
pub const KEPT_TREES_COUNT_MAX: usize = 16;
/// Bytes of all these files of one remote.
pub const KEPT_TREES_TOTAL_BYTES_MAX: u64 = 256 << 20;
/// Bytes of the trees and commits of one pack that are kept as bases of deltas.
pub const BASES_BYTES_MAX: usize = 8 << 20;
/// Bytes of one such tree or commit.
pub const BASE_BYTES_MAX: usize = 256 << 10;
/// A mount that was asked nothing for so long is at rest.
pub const CALM: Duration = Duration::from_millis(50);
/// The longest that what nobody waits for stays out of the way of the first looks at a new mount.
pub const CALM_WAIT_MAX: Duration = Duration::from_secs(2);
}
