//! Ceilings of the pack code, with units.

crate::limits! {
/// Deepest delta chain that is followed, in links; `git pack-objects` cannot write a deeper one (12-bit depth).
#[test_at = "protocol/tests/pack_hostile.rs::chains_up_to_the_limit_resolve_and_longer_ones_are_refused"]
pub const DELTA_DEPTH_MAX: u32 = 4_095;

/// One read from a pack, and the piece in which objects are inflated while scanning.
#[inner = "a buffer"]
pub const STEP_BYTES: usize = 64 << 10;

/// Bytes that hold any entry header: 10 of size, and 10 of an offset or 32 of an id.
#[inner = "a length of the format"]
pub const ENTRY_HEADER_BYTES_MAX: usize = 42;

/// The shortest entry: one byte of header, eight of an empty zlib stream. Tells counts that lie.
#[test_at = "protocol/tests/pack_edges.rs::the_shortest_entry_is_taken_and_a_count_that_needs_shorter_ones_is_not"]
pub const ENTRY_BYTES_MIN: u64 = 9;

/// The pack header: `PACK`, version, count.
#[inner = "a length of the format"]
pub const PACK_HEADER_BYTES: u64 = 12;

/// Most entries in one pack: the four topmost numbers stand for other things than entries.
#[test_at = "protocol/tests/pack_edges.rs::no_pack_has_more_entries_than_can_be_numbered"]
pub const OBJECTS_MAX: u32 = u32::MAX - 4;

/// What a pack may inflate to in all, whatever its size: 16 GiB cost some ten seconds of hashing.
#[test_at = "protocol/tests/pack_edges.rs::a_pack_inflates_to_so_much_and_no_more"]
pub const RESOLVED_BYTES_FLOOR: u64 = 16 << 30;

/// What a pack may inflate to beyond the floor, per byte of pack. Long histories of git and Linux reach 30 to 60.
#[test_at = "protocol/tests/pack_edges.rs::a_pack_inflates_to_so_much_and_no_more"]
pub const RESOLVED_BYTES_PER_PACK_BYTE: u64 = 512;

/// What may be built again because the cache of ancestors was too small. Real packs stay below a hundredth of it.
#[inner = "64 GiB of copying are too much for a test, and what counts towards it has no other size"]
pub const REBUILT_BYTES_MAX: u64 = 64 << 30;

/// What building again one object counts at least, since reading its delta costs as much as copying this.
#[inner = "a weight in a sum"]
pub const REBUILD_BYTES_MIN: u64 = 4 << 10;

/// Scratch buffers that a worker keeps from one delta tree to the next.
#[inner = "how much is kept for the next object; what is beyond it is made anew"]
pub const SCRATCH_BYTES_MAX: usize = 4 << 20;

/// Entries that a worker takes at a time.
#[inner = "a batch"]
pub const ROOTS_AT_ONCE: u64 = 16;

/// Results that a worker holds back before it takes the lock to hand them over.
#[inner = "a batch"]
pub const BATCH_OBJECTS: usize = 512;

/// No zlib stream inflates to more than this times its bytes: 258 bytes from two bits.
#[test_at = "protocol/tests/pack_edges.rs::a_size_that_no_stream_has_room_for_is_refused_before_it_is_allocated"]
pub const INFLATE_RATIO_MAX: u64 = 1_032;

/// Ids that are asked of the repository at a time.
#[inner = "a batch"]
pub const KNOWN_BATCH: usize = 1_024;

/// Slots of the cache of lately named ids, per worker: 0.7 MB for SHA-1.
#[inner = "a cache"]
pub const RECENT_SLOTS: usize = 1 << 15;

/// Shards of the set of named ids.
#[inner = "how locks are shared out"]
pub const LINK_SHARDS: usize = 32;

/// Named ids that a worker holds back per shard before it takes the shard's lock.
#[inner = "a batch"]
pub const LINK_BATCH: usize = 64;

const _: () = assert!(RECENT_SLOTS.is_power_of_two() && RECENT_SLOTS <= 1 << 16);
const _: () = assert!(LINK_SHARDS.is_power_of_two());
const _: () = assert!(ENTRY_HEADER_BYTES_MAX < STEP_BYTES);
/// Bytes of a compressed stream that are handed on at a time.
#[inner = "a buffer"]
pub const DEFLATE_BUFFER_BYTES: usize = 16 << 10;
/// States of deflate that are kept for the next object, some 300 KB each. More than cores are rarely used at once.
#[inner = "how much is kept for the next object; what is beyond it is made anew"]
pub const DEFLATE_STATES_MAX: usize = 16;
}
