//! Ceilings of the repository store, with their units.

cairn_protocol::limits! {
/// Bytes of one `chunk` row of a pack. The worst random read depends on it, throughput hardly.
#[inner = "how rows are cut; what is read is the same"]
pub const CHUNK_BYTES: usize = 256 << 10;
/// Records in one row.
#[inner = "how rows are cut; what is read is the same"]
pub const RECORDS_PER_ROW: u32 = 4_096;
/// Ids in one index shard: about 6 KiB, read for each lookup.
#[inner = "how rows are cut; what is read is the same"]
pub const SHARD_IDS: usize = 512;
/// Packs of fewer objects go to the `object` table, one row an object; larger ones write sorted shards.
#[inner = "chooses one of two forms, which read the same"]
pub const SHARDED_OBJECTS_MIN: u32 = 1_000;
/// Packs up to this size wait in memory and are written in the transaction of their entry.
#[inner = "chooses one of two forms, which read the same"]
pub const SMALL_PACK_BYTES_MAX: u64 = 1 << 20;
/// Objects of a pack that waits in memory.
#[inner = "chooses one of two forms, which read the same"]
pub const SMALL_PACK_OBJECTS_MAX: u32 = 20_000;
/// Bytes of one transaction while staging: the WAL stays bounded, other stages get their turn.
#[inner = "a batch"]
pub const STAGE_TRANSACTION_BYTES: usize = 8 << 20;
/// Bytes after which a row of commit links is full.
#[inner = "how rows are cut; what is read is the same"]
pub const COMMIT_ROW_BYTES: usize = 128 << 10;
/// Rows of one section of one pack (20 bits of the row's number).
#[inner = "PUSH_PACK_BYTES_MAX is met first"]
pub const SECTION_ROWS_MAX: u64 = 1 << 20;
/// Largest pack: what its chunk rows can number, 256 GiB.
#[inner = "PUSH_PACK_BYTES_MAX is met first"]
pub const PACK_BYTES_MAX: u64 = SECTION_ROWS_MAX * CHUNK_BYTES as u64;
/// Sources of one repository: its own log and the prefixes below it.
#[test_at = "server/src/store/files.rs::a_chain_has_so_many_sources_and_no_more"]
pub const SOURCES_MAX: usize = 1_000;
/// Commits of packs that are kept in memory, some 40 bytes each, all repositories together; those used longest ago go
/// first. A single pack's may be more.
#[inner = "a cache"]
pub const COMMIT_GRAPH_BYTES: usize = 48 << 20;
/// Idle read connections kept for one file.
#[inner = "how many connections are kept; more are opened anew"]
pub const READERS_IDLE_MAX: usize = 4;
/// Ids of a new pack that are looked up together.
#[inner = "a batch"]
pub const LOOKUP_BATCH: usize = 8_192;
/// Refs read in one statement.
#[inner = "a batch"]
pub const REFS_BATCH: usize = 1_000;
/// Ref changes read in one statement; those of one entry are not parted.
#[inner = "a batch"]
pub const REF_CHANGES_BATCH: usize = 4_096;
/// How long a statement waits for another process's lock, in milliseconds.
#[inner = "a time to wait"]
pub const BUSY_MS_MAX: u64 = 10_000;

/// Bytes that are rolled into one pack in one step: what a step holds in memory and writes in one transaction.
#[inner = "how maintenance is cut into steps; what is read is the same"]
pub const ROLL_STEP_BYTES_MAX: u64 = 4 << 20;
/// Packs of this size and more stay as they are: rolling them again and again would cost more than it saves.
#[inner = "how maintenance is cut into steps; what is read is the same"]
pub const ROLL_PACK_BYTES_MAX: u64 = ROLL_STEP_BYTES_MAX / 2;
/// Objects that are rolled into one pack in one step.
#[inner = "how maintenance is cut into steps; what is read is the same"]
pub const ROLL_STEP_OBJECTS_MAX: u32 = 32_768;
/// Longest delta chain that rolling leaves or makes, in links, as `git repack` does.
#[test_at = "server/src/store/repo/tests/roll.rs::rolling_cuts_long_chains_and_makes_deltas_of_whole_objects"]
pub const ROLL_DELTA_DEPTH_MAX: u32 = 50;
/// Earlier objects of the same kind against which an object is tried as a delta.
#[inner = "how well packs are compressed; what is read is the same"]
pub const ROLL_WINDOW_OBJECTS: usize = 10;
/// Bytes of the last versions of files and folders that are kept at hand as bases while packs are rolled.
#[inner = "how well packs are compressed; what is read is the same"]
pub const ROLL_NAMED_BYTES_MAX: usize = 8 << 20;
/// Objects that are tried as deltas, in bytes: smaller ones save nothing, larger ones would hold up memory and time.
#[inner = "how well packs are compressed; what is read is the same"]
pub const ROLL_DELTA_BYTES: std::ops::RangeInclusive<u64> = 64..=512 << 10;
/// Neighbouring packs of about one age that are rolled while a repository is pushed to: each entry is then written again
/// once for every such power of the number of entries.
#[inner = "how maintenance is cut into steps; what is read is the same"]
pub const ROLL_TIER_PACKS: usize = 64;
/// Repositories that wait for their small packs to be rolled because of their number.
#[inner = "a queue; what has no room is found again by its age"]
pub const DUE_REPOS_MAX: usize = 10_000;
/// Packs with an index of their own up to which rolled ones get one: each is asked by every lookup.
#[inner = "chooses one of two forms, which read the same"]
pub const ROLL_SHARDED_PACKS_MAX: usize = 32;
/// Retired packs deleted in one transaction.
#[inner = "a batch"]
pub const ROLL_DELETE_PACKS: usize = 1_000;
/// Objects of retired packs deleted in one transaction, but for the last pack.
#[inner = "how maintenance is cut into steps; what is read is the same"]
pub const ROLL_DELETE_OBJECTS: u32 = 8_192;
/// A pack that holds something that was dropped is rolled by itself up to so many objects, what was dropped included.
#[inner = "how maintenance is cut into steps; what is read is the same"]
pub const ROLL_DROPPED_OBJECTS_MAX: u32 = 262_144;
/// Marks of how far a log was when, for each time that unreachable objects are kept.
#[inner = "how finely ages are told; nothing is dropped before its time"]
pub const DROP_MARKS_PER_TIME: u64 = 8;

const _: () = assert!(ROLL_STEP_BYTES_MAX < PACK_BYTES_MAX);
// Every record of the largest pack has a row to live in.
const _: () = assert!(SECTION_ROWS_MAX * RECORDS_PER_ROW as u64 >= u32::MAX as u64);
}
