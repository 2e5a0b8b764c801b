//! Ceilings of the driver, each with its unit.

use std::time::Duration;

cairn_protocol::limits! {
/// One object after inflation, in bytes; it is held in memory while it is checked.
#[test_at = "fs-driver/tests/limits.rs::an_object_of_a_pack_stops_at_its_limit"]
pub const OBJECT_BYTES_MAX: u64 = 512 << 20;
/// Objects of one pack that a remote sends.
#[test_at = "fs-driver/tests/limits.rs::a_pack_that_is_received_stops_at_its_count_of_objects"]
pub const PACK_OBJECTS_MAX: u32 = 32 << 20;
/// Memory for delta bases while a pack is indexed, in bytes.
#[inner = "a cache"]
pub const INDEX_CACHE_BYTES: u64 = 32 << 20;
/// Deltas that are followed to read one object; git writes at most 4,095.
#[test_at = "fs-driver/tests/limits.rs::a_chain_of_deltas_stops_at_its_limit"]
pub const DELTA_DEPTH_MAX: usize = 4_096;
/// Files that the prepared index names. A larger tree mounts without a prepared index.
#[test_at = "fs-driver/tests/limits.rs::a_tree_of_too_many_files_or_too_deep_folders_has_no_prepared_index"]
pub const INDEX_ENTRIES_MAX: usize = 2_000_000;
/// Bytes of their paths and of the names of their objects together.
#[test_at = "fs-driver/tests/limits.rs::paths_of_too_many_bytes_have_no_prepared_index"]
pub const INDEX_TEXT_BYTES_MAX: usize = 512 << 20;
/// Folders within folders that the prepared index and the background order follow.
#[test_at = "fs-driver/tests/limits.rs::a_tree_of_too_many_files_or_too_deep_folders_has_no_prepared_index"]
#[test_at = "fs-driver/tests/limits.rs::folders_too_deep_are_not_converted"]
pub const TREE_DEPTH_MAX: usize = 512;
/// Sizes that are asked for before the mount is ready; those of a larger tree come when they are needed.
#[inner = "what comes before a mount is ready; the rest comes when it is asked for"]
pub const SIZES_AT_MOUNT_MAX: usize = 50_000;
/// Sizes that one remote's table keeps.
#[inner = "a table; a size that has no room in it is asked for again"]
pub const SIZES_MAX: usize = 8_000_000;
/// The blob cache of the machine, in bytes, unless `--cache-limit` says otherwise.
#[set = "--cache-limit"]
#[inner = "what is meant where nothing is asked for"]
pub const CACHE_BYTES_DEFAULT: u64 = 20 << 30;
/// What eviction leaves, in hundredths of the limit.
#[inner = "how much goes at once; when it goes is for the limit to say"]
pub const CACHE_KEPT_PERCENT: u64 = 90;
/// A cached file's time of use is brought up to date when it is older than this.
#[inner = "how often a time is written; what is read is the same"]
pub const CACHE_TOUCH_AFTER: Duration = Duration::from_secs(60);
/// Temporary files of the cache that are older than this belong to nobody.
#[inner = "when litter is taken away; nobody uses it"]
pub const CACHE_STAGE_AGE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Blobs of one request that somebody waits for.
#[test_at = "fs-driver/tests/hydrate_queue.rs::who_waits_is_served_in_batches_of_the_limit"]
pub const WANTS_BATCH: usize = 512;
/// Neighbours that come along with blobs that somebody waits for.
#[inner = "how much comes along; what is read is the same"]
pub const NEIGHBOURS_MAX: usize = 256;
/// A neighbour of more bytes stays where it is.
#[inner = "how much comes along; what is read is the same"]
pub const NEIGHBOUR_BYTES_MAX: u64 = 1 << 20;
/// Blobs of one request of the background.
#[test_at = "fs-driver/src/hydrate/background.rs::requests_grow_from_a_few_blobs_to_the_limit"]
pub const BACKGROUND_BATCH: usize = 2_048;
/// Blobs of its first request: what is needed most comes by itself.
#[test_at = "fs-driver/src/hydrate/background.rs::requests_grow_from_a_few_blobs_to_the_limit"]
pub const BACKGROUND_BATCH_FIRST: usize = 64;
/// By how much each request may have more blobs than the one before.
#[inner = "how fast batches grow; what they bring is the same"]
pub const BACKGROUND_BATCH_GROWTH: usize = 4;
/// A background that may take no more of the disk looks after this whether there is room again.
#[test_at = "fs-driver/tests/hydrate_queue.rs::a_background_without_room_stands_still_until_the_disk_is_looked_at_again"]
pub const DISK_LOOK_PAUSE: Duration = Duration::from_secs(30);
/// Paths that were read, which a remote's list keeps for its next mount.
#[test_at = "fs-driver/src/hydrate/learnt.rs::a_list_keeps_its_first_paths_each_once_up_to_its_limits"]
#[test_at = "fs-driver/src/hydrate/learnt.rs::a_mount_that_reads_everything_stops_noting"]
pub const LEARNT_PATHS_MAX: usize = 20_000;
/// Bytes of that list.
#[test_at = "fs-driver/src/hydrate/learnt.rs::a_list_keeps_its_first_paths_each_once_up_to_its_limits"]
pub const LEARNT_BYTES_MAX: usize = 4 << 20;
/// A tree of more files is not kept in memory to learn their paths.
#[inner = "what is learnt for the next mount; what is read is the same"]
pub const LEARNT_LISTING_MAX: usize = VIEW_OBJECTS_MAX;
/// Bytes of one request of the background, by known sizes.
#[test_at = "fs-driver/tests/hydrate_queue.rs::a_background_request_stops_at_its_bytes"]
pub const BACKGROUND_BATCH_BYTES: u64 = 16 << 20;
/// Bytes that a blob of unknown size is taken for.
#[inner = "a guess"]
pub const UNKNOWN_BLOB_BYTES: u64 = 8 << 10;
/// Blobs of a folder that a scan brings at once.
#[inner = "a batch"]
pub const SCAN_BLOBS_MAX: usize = 4_096;
/// Folders below one folder in which reads missed, before the whole of it is fetched.
#[inner = "how much comes along; what is read is the same"]
pub const SCAN_FOLDERS_MIN: usize = 3;
/// Walks through a tree that are told apart, each of which brings more with each miss.
#[inner = "how much comes along; what is read is the same"]
pub const AHEAD_ROWS_MAX: usize = 4;
/// Missing files between what came with one miss and the next miss of the same walk.
#[inner = "how much comes along; what is read is the same"]
pub const AHEAD_GAP_FILES_MAX: usize = NEIGHBOURS_MAX;
/// Folders that are looked at to find what is next.
#[inner = "how much comes along; what is read is the same"]
pub const AHEAD_FOLDERS_MAX: usize = 4_096;
/// Between an answer to git and its next question of the same walk.
#[inner = "how much comes along; what is read is the same"]
pub const AHEAD_GIT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Connections to one remote.
#[inner = "how many are at work at once; others wait"]
pub const CONNECTIONS_MAX: usize = 4;
/// The longest wait for a blob, as long as the remote is thought to be alive.
#[set = "--read-deadline"]
#[test_at = "fs-driver/tests/fs_mount.rs::metadata_and_warm_reads_are_answered_while_32_cold_reads_hang_and_they_fail_at_the_deadline"]
pub const WANT_DEADLINE: Duration = Duration::from_secs(60);
/// The longest wait for a blob while the remote is thought to be dead.
#[test_at = "fs-driver/tests/hydrate_queue.rs::a_remote_is_thought_dead_after_so_many_failures_and_waited_for_less"]
pub const WANT_DEADLINE_DEAD: Duration = Duration::from_secs(5);
/// The longest wait for what somebody has just waited for in vain: readers of one file come one after the other, and must
/// not each wait as long.
#[test_at = "fs-driver/tests/hydrate_queue.rs::who_asks_for_what_was_just_waited_for_in_vain_does_not_wait_as_long_again"]
pub const WANT_DEADLINE_AGAIN: Duration = Duration::from_millis(250);
/// How long after that end a wait counts as one for the same again.
#[test_at = "fs-driver/tests/hydrate_queue.rs::who_asks_for_what_was_just_waited_for_in_vain_does_not_wait_as_long_again"]
pub const LATE_AGAIN_MAX: Duration = Duration::from_secs(1);
/// Blobs that were waited for in vain, which are remembered for that.
#[inner = "a list; who finds no room in it waits as long as anyone"]
pub const LATE_MAX: usize = 65_536;
/// The longest deadline that can be set, in seconds.
#[test_at = "fs-driver/tests/limits.rs::deadlines_of_the_command_line_stop_at_their_limit"]
pub const DEADLINE_SECONDS_MAX: u64 = 86_400;
/// Failures one after the other, after which a remote is thought to be dead.
#[test_at = "fs-driver/tests/hydrate_queue.rs::a_remote_is_thought_dead_after_so_many_failures_and_waited_for_less"]
pub const FAILURES_UNTIL_DEAD: u32 = 5;
/// The first pause after a failure; it doubles with each further one.
#[inner = "a time to wait"]
pub const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// The longest pause after a failure.
#[inner = "a time to wait"]
pub const BACKOFF_MAX: Duration = Duration::from_secs(15);
/// Blobs that may be waited for at once.
#[test_at = "fs-driver/tests/hydrate_queue.rs::so_many_blobs_are_waited_for_and_no_more"]
pub const WAITING_MAX: usize = 1 << 20;
/// Blobs that the background order holds.
#[test_at = "fs-driver/tests/hydrate_queue.rs::the_background_holds_so_many_blobs_and_no_more"]
pub const BACKGROUND_MAX: usize = 1_000_000;
/// Bytes of one request on the control socket.
#[test_at = "fs-driver/tests/limits.rs::a_request_on_the_control_socket_stops_at_its_limit"]
pub const CONTROL_REQUEST_BYTES_MAX: u64 = 4 << 20;
/// Clients that the control socket serves at once.
#[test_at = "fs-driver/tests/limits.rs::the_control_socket_serves_so_many_and_no_more"]
pub const CONTROL_CLIENTS_MAX: usize = 64;
/// To wait for a request on the control socket.
#[inner = "a time to wait"]
pub const CONTROL_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a path of a Unix socket, less the closing NUL.
#[test_at = "fs-driver/tests/limits.rs::the_path_of_the_control_socket_stops_at_its_limit"]
pub const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Cached contents that a process remembers to have hashed, at some 16 bytes each; beyond it they are hashed again.
#[inner = "a cache"]
pub const CACHE_CHECKED_MAX: usize = 1 << 20;
/// Cached contents that a process leaves open after their use, at some 500 bytes each with what the kernel holds; and no more
/// than a quarter of the files that it may have open.
#[test_at = "fs-driver/src/cache/recent.rs::those_used_longest_ago_are_closed_beyond_the_count_and_large_ones_at_once"]
pub const RECENT_BLOBS_MAX: usize = 16_384;
/// A content of at least this many bytes is closed after its use.
#[test_at = "fs-driver/src/cache/recent.rs::those_used_longest_ago_are_closed_beyond_the_count_and_large_ones_at_once"]
pub const RECENT_BLOB_BYTES_MAX: u64 = PASSTHROUGH_BYTES_MIN;
/// Bytes of all that are left open: so much of the disk may stay taken for a minute after an eviction.
#[test_at = "fs-driver/src/cache/recent.rs::those_used_longest_ago_are_closed_beyond_the_bytes"]
pub const RECENT_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a cached content that are hashed at once.
#[inner = "a buffer"]
pub const CACHE_CHECK_BYTES: usize = 128 << 10;
/// Bytes of a file with a token.
#[test_at = "fs-driver/tests/limits.rs::a_file_with_a_token_stops_at_its_limit"]
pub const TOKEN_FILE_BYTES_MAX: u64 = 64 << 10;
/// A count of what is here is made anew after this, even if this mount brought nothing since.
#[inner = "how old what is told may be"]
pub const HYDRATED_AGE_MAX: Duration = Duration::from_secs(2);
/// Bytes of a file that holds a ref, and of a line of the packed ones.
#[inner = "no ref that git takes is as long: 4,096 bytes of a name"]
pub const REF_BYTES_MAX: u64 = 8 << 10;
/// Refs that lead from HEAD to a commit; git follows as many.
#[test_at = "fs-driver/tests/limits.rs::head_leads_through_so_many_refs_and_no_more"]
pub const SYMREFS_MAX: usize = 5;
/// Restarts of a daemon that dies within `RESTART_CALM` of its start.
#[inner = "how often something is tried again; what was written survives each time"]
pub const RESTARTS_MAX: u32 = 5;
/// A daemon that lives this long is thought to be well.
#[inner = "a time to wait"]
pub const RESTART_CALM: Duration = Duration::from_secs(60);
/// Paths of one warning in the status.
#[test_at = "fs-driver/tests/limits.rs::a_status_has_so_many_warnings_and_no_more"]
pub const WARNINGS_MAX: usize = 16;

const _: () = assert!(WANTS_BATCH + NEIGHBOURS_MAX <= BACKGROUND_BATCH);
const _: () = assert!(CACHE_KEPT_PERCENT < 100);
const _: () = assert!(RECENT_BLOB_BYTES_MAX < RECENT_BYTES_MAX / 2);
const _: () = assert!(KEPT_TREES_BYTES_MAX <= KEPT_TREES_TOTAL_BYTES_MAX / 4);

/// A name in a directory (`NAME_MAX`).
#[test_at = "fs-driver/tests/limits.rs::names_targets_and_attributes_stop_at_their_limits"]
pub const NAME_BYTES_MAX: usize = 255;
/// The target of a symbolic link (`PATH_MAX`).
#[test_at = "fs-driver/tests/limits.rs::names_targets_and_attributes_stop_at_their_limits"]
#[test_at = "fs-driver/tests/limits.rs::a_link_of_the_commit_stops_at_its_limit"]
pub const LINK_TARGET_BYTES_MAX: usize = 4096;
/// Decoded trees that are kept. A tree of a million entries takes about 50 MB.
#[inner = "a cache"]
pub const TREE_CACHE_BYTES_MAX: usize = 64 << 20;
/// One frame of the journal. The largest record is an inode with all its extended attributes.
#[test_at = "fs-driver/tests/limits.rs::a_frame_of_the_journal_stops_at_its_limit"]
pub const JOURNAL_FRAME_BYTES_MAX: usize = 1 << 20;
/// A journal beyond this, and beyond twice the last checkpoint, is folded into a checkpoint.
#[test_at = "fs-driver/tests/limits.rs::a_journal_is_folded_once_it_is_longer_than_its_limit"]
pub const JOURNAL_BYTES_MAX: u64 = 16 << 20;
/// Room that is kept for the journal ahead of its end.
#[inner = "room that is kept ahead; what is written is the same"]
pub const JOURNAL_RESERVE_BYTES: u64 = 1 << 20;
/// Names and values of one inode's extended attributes together.
#[test_at = "fs-driver/tests/limits.rs::names_targets_and_attributes_stop_at_their_limits"]
pub const XATTR_BYTES_MAX: usize = 64 << 10;
/// Paths that the change log remembers; beyond it a reader is told that everything may have changed.
#[test_at = "fs-driver/tests/limits.rs::so_many_changed_paths_are_told_and_beyond_them_that_all_may_have_changed"]
pub const CHANGED_PATHS_MAX: usize = 100_000;
/// A file of at least this many bytes is read by the kernel itself where it can (passthrough).
#[inner = "which way bytes take; what is read is the same"]
pub const PASSTHROUGH_BYTES_MIN: u64 = 128 << 10;
/// Listings of directories that are kept while they are read in parts.
#[inner = "a cache"]
pub const LISTINGS_KEPT_MAX: usize = 8;
/// Data of one write request.
#[inner = "told to the kernel, and kept by it"]
pub const WRITE_BYTES_MAX: u32 = 1 << 20;
/// Requests that wait for the network at once; more are refused with `EIO`.
#[test_at = "fs-driver/src/fuse/park.rs::so_many_requests_wait_and_one_more_is_answered_at_once"]
pub const PARKED_REQUESTS_MAX: usize = 65_536;
/// Sizes that are asked for together.
#[inner = "a batch"]
pub const SIZES_PER_REQUEST_MAX: usize = 10_000;
/// Contents of removed files that wait for the journal to be synced; beyond it, it is synced at once.
#[inner = "when something is synced; what is seen is the same"]
pub const DOOMED_FILES_MAX: usize = 512;
/// Bytes in them.
#[inner = "when something is synced; what is seen is the same"]
pub const DOOMED_BYTES_MAX: u64 = 64 << 20;

const _: () = assert!(XATTR_BYTES_MAX < JOURNAL_FRAME_BYTES_MAX / 2);
/// To bring the commit and its trees before a mount is ready, all attempts together.
#[set = "--prepare-deadline"]
#[test_at = "fs-driver/tests/mount_async.rs::a_preparation_that_takes_too_long_fails_for_all_who_wait"]
pub const PREPARE_DEADLINE: Duration = Duration::from_secs(3_600);
/// To wait until all who waited for a mount that will not be ready have been told, and have left its folder.
#[inner = "a time to wait"]
pub const GATE_END_MAX: Duration = Duration::from_secs(10);
/// Attempts to prepare a mount while the remote does not answer.
#[inner = "how often something is tried again"]
pub const PREPARE_TRIES_MAX: u32 = 4;
/// Attempts to bring the history in the background.
#[inner = "how often something is tried again"]
pub const HISTORY_TRIES_MAX: u32 = 20;
/// To try to unmount what is in use, after a signal. Files that were closed just now count as open for a moment.
#[inner = "a time to wait"]
pub const UNMOUNT_TRY_MAX: Duration = Duration::from_secs(5);
/// Between two such tries.
#[inner = "how often something is looked at"]
pub const UNMOUNT_PAUSE: Duration = Duration::from_millis(50);
/// To wait until a mount is gone after it was asked to end.
#[inner = "a time to wait"]
pub const UNMOUNT_DEADLINE: Duration = Duration::from_secs(20);
/// Blobs that git is shown as objects at hand; the paths of all of them stay in memory. Those of a larger commit are left
/// to git's own fetching.
#[inner = "beyond it git fetches for itself; what it reads is the same"]
pub const VIEW_OBJECTS_MAX: usize = 500_000;
/// Files `.gitignore` and `.gitattributes` that are brought before the mount is ready.
#[inner = "what comes before a mount is ready; the rest comes when it is read"]
pub const RULES_AT_MOUNT_MAX: usize = 10_000;
/// Bytes of one attribute file; a larger one is not followed.
#[test_at = "fs-driver/src/repo/shown.rs::attribute_files_stop_at_their_limits"]
pub const ATTRIBUTES_BYTES_MAX: usize = 1 << 20;
/// Bytes of all attribute files of a tree together.
#[test_at = "fs-driver/src/repo/shown.rs::attribute_files_stop_at_their_limits"]
pub const ATTRIBUTES_TOTAL_BYTES_MAX: usize = 16 << 20;
/// Bytes of the changes that one mount leaves for the next; beyond it git looks at everything once.
#[inner = "a file of the mount itself; a larger one is not believed, and git looks at everything once"]
pub const CHANGES_BYTES_MAX: u64 = 64 << 20;
/// Bytes of the log of a mount, after which it begins anew; as many of the one before are kept.
#[test_at = "fs-driver/src/mount_log.rs::a_log_never_takes_more_than_two_files_of_the_limit_and_keeps_the_latest"]
pub const LOG_BYTES_MAX: u64 = 1 << 20;
/// Written files that wait to be compared with the base; more are compared at the next mount.
#[inner = "a list; what has no room in it is compared at the next mount"]
pub const FOLD_WAITING_MAX: usize = 65_536;
/// Bytes of a written file that is compared with the base; a larger one stays as it is.
#[inner = "what is compared with the base; a larger file stays as it was written, and is read the same"]
pub const FOLD_BYTES_MAX: u64 = 16 << 20;
/// To wait until the daemon before has closed the state of a mount: it is told of as unmounted a moment earlier.
#[inner = "a time to wait"]
pub const STATE_LOCK_WAIT_MAX: Duration = Duration::from_secs(10);
/// Between two looks whether it has.
#[inner = "how often something is looked at"]
pub const STATE_LOCK_LOOK: Duration = Duration::from_millis(10);
/// After the last write into a file of whose close nobody is told, before it is compared with the base.
#[inner = "when something is compared; what is shown is the same"]
pub const FOLD_AFTER: Duration = Duration::from_secs(2);
/// Files of the state directory that are left open after a read or a write; one of another inode is opened by its path.
#[inner = "descriptors that are kept; a file beyond is opened by its path"]
pub const UPPERS_OPEN_MAX: usize = 256;
/// Blobs that are left open, and kept from eviction, after a read that no open announced.
#[inner = "descriptors that are kept; a content beyond is opened anew"]
pub const READ_LATELY_BLOBS_MAX: usize = 128;
/// After this they are opened anew, or closed by the next look that `FOLD_PAUSE` makes.
#[inner = "descriptors that are kept; a content beyond is opened anew"]
pub const READ_LATELY_AGE_MAX: Duration = Duration::from_secs(20);
/// To wait for writes that are under way, before it is told what changed.
#[inner = "a time to wait"]
pub const WRITES_WAIT_MAX: Duration = Duration::from_secs(1);
/// Bytes of writes that wait for the content of the files that they go into; more are refused with `EIO`.
#[test_at = "fs-driver/src/fuse/write.rs::so_many_bytes_of_writes_wait_and_no_more"]
pub const PARKED_WRITE_BYTES_MAX: usize = 256 << 20;
/// Requests that the kernel sends before it has answers, of those that nobody waits for: reads ahead, and writes of mapped
/// pages. What changed is asked for behind all of them.
#[inner = "how many the kernel sends ahead; what is read and written is the same"]
pub const BACKGROUND_REQUESTS_MAX: u16 = 4_096;
/// Between two looks at what was written.
#[inner = "how often something is looked at"]
pub const FOLD_PAUSE: Duration = Duration::from_secs(10);
/// Bytes of all trees of one commit that are kept as one file for its next mount; larger ones are read from packs again.
#[test_at = "fs-driver/src/gitdir/kept.rs::more_than_the_bytes_of_one_commit_are_not_kept"]
pub const KEPT_TREES_BYTES_MAX: u64 = 64 << 20;
/// Commits of one remote whose trees are kept so.
#[test_at = "fs-driver/src/gitdir/kept.rs::those_used_longest_ago_go_beyond_the_count_and_an_unfinished_one_is_none"]
pub const KEPT_TREES_COUNT_MAX: usize = 16;
/// Bytes of all these files of one remote.
#[test_at = "fs-driver/src/gitdir/kept.rs::those_used_longest_ago_go_beyond_the_bytes"]
pub const KEPT_TREES_TOTAL_BYTES_MAX: u64 = 256 << 20;
/// Bytes of the trees and commits of one pack that are kept as bases of deltas.
#[test_at = "fs-driver/src/gitdir/bases.rs::the_first_to_come_go_and_the_room_is_kept"]
pub const BASES_BYTES_MAX: usize = 8 << 20;
/// Bytes of one such tree or commit.
#[test_at = "fs-driver/src/gitdir/bases.rs::the_first_to_come_go_and_the_room_is_kept"]
#[test_at = "fs-driver/src/gitdir/bases.rs::blobs_and_what_is_large_are_not_kept"]
pub const BASE_BYTES_MAX: usize = 256 << 10;
/// A mount that was asked nothing for so long is at rest.
#[inner = "a time to wait"]
pub const CALM: Duration = Duration::from_millis(50);
/// The longest that what nobody waits for stays out of the way of the first looks at a new mount.
#[inner = "a time to wait"]
pub const CALM_WAIT_MAX: Duration = Duration::from_secs(2);
}
