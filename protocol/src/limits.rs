//! Ceilings on everything that a peer can make grow. Exceeding one is an ordinary error that names the limit.

crate::limits! {
/// One pkt-line with its four length digits, in bytes (gitprotocol-common).
#[test_at = "protocol/src/pktline.rs::lengths_are_judged_as_git_does"]
pub const PKT_BYTES_MAX: usize = 65_520;
/// The data of one pkt-line, in bytes.
#[test_at = "protocol/src/pktline.rs::lengths_are_judged_as_git_does"]
pub const PKT_PAYLOAD_BYTES_MAX: usize = 65_516;
const _: () = assert!(PKT_PAYLOAD_BYTES_MAX + 4 == PKT_BYTES_MAX);

/// One ref name, in bytes: what a path may have on the file systems that clients check out to.
#[test_at = "protocol/src/refs.rs::names_stop_at_their_limit"]
pub const REF_NAME_BYTES_MAX: usize = 4_096;

/// Distinct wants of one fetch, `want` and `want-ref` each. A mirror of the largest hosts' repositories stays below.
#[test_at = "protocol/tests/wire_requests.rs::lists_of_ids_hold_at_the_limit_and_not_past_it"]
pub const WANTS_MAX: usize = 262_144;
/// Distinct haves of one request. Stateless clients repeat what is common, and give up long before.
#[test_at = "protocol/tests/wire_requests.rs::lists_of_ids_hold_at_the_limit_and_not_past_it"]
pub const HAVES_MAX: usize = 262_144;
/// Distinct shallow commits that a client may declare.
#[test_at = "protocol/tests/wire_requests.rs::lists_of_ids_hold_at_the_limit_and_not_past_it"]
pub const SHALLOWS_MAX: usize = 262_144;
/// `deepen-not` lines of one fetch.
#[test_at = "protocol/tests/wire_requests.rs::v2_limits_hold_at_the_limit_and_not_past_it"]
pub const DEEPEN_NOTS_MAX: usize = 4_096;
/// `deepen` depth; git's own `INFINITE_DEPTH`.
#[test_at = "protocol/tests/wire_requests.rs::v2_limits_hold_at_the_limit_and_not_past_it"]
pub const DEEPEN_DEPTH_MAX: u32 = 0x7fff_ffff;
/// Prefixes of one `ls-refs`. As in git, more than that many is no error: then none are applied.
#[test_at = "protocol/tests/wire_requests.rs::v2_limits_hold_at_the_limit_and_not_past_it"]
pub const REF_PREFIXES_MAX: usize = 65_536;
/// `server-option=` lines of one v2 request.
#[test_at = "protocol/tests/wire_requests.rs::v2_limits_hold_at_the_limit_and_not_past_it"]
pub const SERVER_OPTIONS_MAX: usize = 64;
/// Ids of one `object-info`.
#[test_at = "protocol/tests/wire_requests.rs::lists_of_ids_hold_at_the_limit_and_not_past_it"]
pub const OBJECT_INFO_IDS_MAX: usize = 262_144;

/// `combine:` inside `combine:`, in levels. Percent-encoding grows with each, so that real ones have one or two.
#[test_at = "protocol/src/filter.rs::depth_and_count_hold_at_the_limit_and_not_past_it"]
pub const FILTER_DEPTH_MAX: usize = 8;
/// Filters in one filter spec, all levels together.
#[test_at = "protocol/src/filter.rs::depth_and_count_hold_at_the_limit_and_not_past_it"]
pub const FILTER_PARTS_MAX: usize = 64;

/// Ref updates of one push: each costs a row and a line of report.
#[test_at = "protocol/tests/wire_requests.rs::push_limits_hold_at_the_limit_and_not_past_it"]
pub const COMMANDS_MAX: usize = 100_000;
/// Push options of one push.
#[test_at = "protocol/tests/wire_requests.rs::push_limits_hold_at_the_limit_and_not_past_it"]
pub const PUSH_OPTIONS_MAX: usize = 1_000;
/// All of a push before its pack, in bytes.
#[test_at = "protocol/tests/wire_requests.rs::push_limits_hold_at_the_limit_and_not_past_it"]
pub const PUSH_HEADER_BYTES_MAX: usize = 64 << 20;
const _: () = assert!(PKT_BYTES_MAX < PUSH_HEADER_BYTES_MAX);
}
