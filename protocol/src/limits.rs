//! Ceilings on everything that a peer can make grow. Exceeding one is an ordinary error that names the limit.

crate::limits! {
/// One pkt-line with its four length digits, in bytes (gitprotocol-common).
pub const PKT_BYTES_MAX: usize = 65_520;
/// The data of one pkt-line, in bytes.
pub const PKT_PAYLOAD_BYTES_MAX: usize = 65_516;
const _: () = assert!(PKT_PAYLOAD_BYTES_MAX + 4 == PKT_BYTES_MAX);

/// One ref name, in bytes: what a path may have on the file systems that clients check out to.
pub const REF_NAME_BYTES_MAX: usize = 4_096;

/// Distinct wants of one fetch, `want` and `want-ref` each. A mirror of the largest hosts' repositories stays below.
pub const WANTS_MAX: usize = 262_144;
/// Distinct haves of one request. Stateless clients repeat what is common, and give up long before.
pub const HAVES_MAX: usize = 262_144;
/// Distinct shallow commits that a client may declare.
pub const SHALLOWS_MAX: usize = 262_144;
/// `deepen-not` lines of one fetch.
pub const DEEPEN_NOTS_MAX: usize = 4_096;
/// `deepen` depth; git's own `INFINITE_DEPTH`.
pub const DEEPEN_DEPTH_MAX: u32 = 0x7fff_ffff;
/// Prefixes of one `ls-refs`. As in git, more than that many is no error: then none are applied.
pub const REF_PREFIXES_MAX: usize = 65_536;
/// `server-option=` lines of one v2 request.
pub const SERVER_OPTIONS_MAX: usize = 64;
/// Ids of one `object-info`.
pub const OBJECT_INFO_IDS_MAX: usize = 262_144;

/// `combine:` inside `combine:`, in levels. Percent-encoding grows with each, so that real ones have one or two.
pub const FILTER_DEPTH_MAX: usize = 8;
/// Filters in one filter spec, all levels together.
pub const FILTER_PARTS_MAX: usize = 64;

/// Ref updates of one push: each costs a row and a line of report.
pub const COMMANDS_MAX: usize = 100_000;
/// Push options of one push.
pub const PUSH_OPTIONS_MAX: usize = 1_000;
/// All of a push before its pack, in bytes.
pub const PUSH_HEADER_BYTES_MAX: usize = 64 << 20;
const _: () = assert!(PKT_BYTES_MAX < PUSH_HEADER_BYTES_MAX);
}
