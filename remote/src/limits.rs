//! Ceilings of everything that a remote feeds.

use std::time::Duration;

cairn_protocol::limits! {
/// Largest URL that is opened or followed, in bytes; what common servers take.
#[test_at = "remote/src/url.rs::only_plain_http_urls_are_taken"]
pub const URL_BYTES_MAX: usize = 8_192;
/// Most redirects that are followed unless the caller says otherwise; git follows 20 and needs one.
#[test_at = "remote/tests/faults.rs::redirects_are_followed_and_credentials_stay_with_their_host"]
#[test_at = "remote/tests/faults.rs::a_redirect_without_end_ends"]
pub const REDIRECTS_MAX: u32 = 4;
/// Bytes of one advertisement (`info/refs`) or one answer to ls-refs: 300,000 refs of 100 bytes, in memory some 100 MiB.
#[test_at = "remote/tests/edges.rs::answers_are_taken_up_to_their_limits"]
pub const REFS_BYTES_MAX: u64 = 32 << 20;
/// Bytes before the pack in a v2 answer to fetch: 300,000 shallow lines.
#[test_at = "remote/tests/edges.rs::what_stands_before_a_pack_is_taken_up_to_its_limit"]
pub const PREAMBLE_BYTES_MAX: u64 = 16 << 20;
/// The same in v0 and v1, where acknowledgements are compared with each other: 40,000 lines.
#[test_at = "remote/tests/edges.rs::what_stands_before_a_pack_is_taken_up_to_its_limit"]
pub const PREAMBLE_V0_BYTES_MAX: u64 = 2 << 20;
/// Bytes after the pack that are read so that the connection can be used again.
#[inner = "how much is read so that a connection can be used again; behind more it is closed"]
pub const TRAILER_BYTES_MAX: u64 = 4_096;
/// Bytes of one answer to object-info, for `OBJECT_INFO_BATCH` ids.
#[test_at = "remote/tests/edges.rs::answers_are_taken_up_to_their_limits"]
pub const SIZES_BYTES_MAX: u64 = 4 << 20;
/// Ids of one object-info request; more are asked for in several requests.
#[inner = "a batch"]
pub const OBJECT_INFO_BATCH: usize = 16_384;
/// Bytes of one request body.
#[inner = "the numbers of what a request names are met first"]
pub const REQUEST_BYTES_MAX: usize = 32 << 20;
/// Objects that one fetch may want.
#[test_at = "remote/tests/edges.rs::requests_name_so_much_and_no_more"]
pub const WANTS_MAX: usize = 262_144;
/// Haves that are sent; more of them are only more hints.
#[test_at = "remote/tests/edges.rs::requests_name_so_much_and_no_more"]
pub const HAVES_MAX: usize = 16_384;
/// Shallow commits that one fetch may name.
#[test_at = "remote/tests/edges.rs::requests_name_so_much_and_no_more"]
pub const SHALLOWS_MAX: usize = 262_144;
/// Ref prefixes of one ls-refs.
#[test_at = "remote/tests/edges.rs::requests_name_so_much_and_no_more"]
pub const PREFIXES_MAX: usize = 1_024;
/// Server options of one remote.
#[test_at = "remote/tests/edges.rs::server_options_stop_at_their_limits"]
pub const SERVER_OPTIONS_MAX: usize = 16;
/// Bytes of one server option.
#[test_at = "remote/tests/edges.rs::server_options_stop_at_their_limits"]
pub const SERVER_OPTION_BYTES_MAX: usize = 256;
/// Bytes of one message of the remote that an error or a progress line repeats.
#[test_at = "remote/tests/edges.rs::a_message_is_repeated_up_to_its_limit"]
pub const MESSAGE_BYTES_MAX: usize = 1_024;
/// Bytes of the head of one HTTP answer.
#[test_at = "remote/tests/edges.rs::the_head_of_an_answer_stops_at_its_limit"]
pub const HTTP_HEAD_BYTES_MAX: usize = 64 << 10;
/// Bytes that are read from a socket at once.
#[inner = "a buffer"]
pub const READ_BYTES: usize = 64 << 10;
/// Certificate authorities that a file may add, in bytes of the file.
#[test_at = "remote/tests/edges.rs::a_file_of_authorities_stops_at_its_limit"]
pub const CA_FILE_BYTES_MAX: u64 = 1 << 20;
/// To resolve a name and to connect, TLS included, unless the caller says otherwise.
#[inner = "a time to wait"]
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// To wait for the next bytes, unless the caller says otherwise; servers say something every few seconds.
#[inner = "a time to wait"]
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);

const _: () = assert!(OBJECT_INFO_BATCH * (64 + 22) < SIZES_BYTES_MAX as usize);
const _: () = assert!(WANTS_MAX * (4 + 5 + 64 + 1) < REQUEST_BYTES_MAX);
const _: () = assert!(PREAMBLE_V0_BYTES_MAX < PREAMBLE_BYTES_MAX);
}
