//! Every ceiling of the server, with its unit in its name.

cairn_protocol::limits! {
/// Connections served at once, as far as descriptors go; further ones wait in the kernel's backlog.
#[set = "--connections-max"]
#[test_at = "server/tests/connections.rs::one_connection_past_the_ceiling_waits_until_another_ends"]
pub const CONNECTIONS_MAX: usize = 16_384;
/// Connections of one client, an IPv4 address or an IPv6 /64; further ones are closed at once. Of trusted proxies, requests
/// under way for one client that they name; further ones get 429. Three quarters of `--connections-max` where that is less.
#[set = "--connections-per-address-max"]
#[test_at = "server/tests/connections.rs::one_address_has_so_many_connections_and_no_more"]
#[test_at = "server/tests/connections.rs::behind_a_trusted_proxy_each_client_has_so_many_requests_and_no_more"]
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = CONNECTIONS_MAX - CONNECTIONS_MAX / 4;
/// Descriptors that connections leave for repository files, uploads and the rest.
#[test_at = "server/src/descriptors.rs::connections_leave_descriptors_for_files"]
pub const DESCRIPTORS_KEPT: u64 = 3_072;
/// Wait for a request's complete header, and for the next request on an idle connection.
#[inner = "a time to wait"]
pub const HEADER_READ_MS_MAX: u64 = 30_000;
/// Wait for the first bytes of a connection, which tell HTTP/1 from HTTP/2.
#[inner = "a time to wait"]
pub const FIRST_BYTES_MS_MAX: u64 = 15_000;
/// Bytes that tell HTTP/1 from HTTP/2: the length of HTTP/2's preface.
#[inner = "a length of the protocol"]
pub const FIRST_BYTES: usize = 24;
/// Wait for a TLS handshake.
#[inner = "a time to wait"]
pub const TLS_HANDSHAKE_MS_MAX: u64 = 15_000;
/// Silence of a client whose request's body is awaited; then the answer is 408.
#[set = "--body-idle-ms"]
#[test_at = "server/tests/patience.rs::a_json_body_that_stands_still_gets_408_and_makes_nothing"]
#[test_at = "server/tests/patience.rs::a_push_that_stands_still_gets_408_and_the_next_is_served"]
pub const BODY_IDLE_MS_MAX: u64 = 300_000;
/// A client that sends its body slower uses up the time in which it may be silent, and gets 408 when it has none left.
#[set = "--body-bytes-per-second-min"]
#[test_at = "server/tests/patience.rs::a_body_that_drips_gets_408_though_it_is_never_silent_for_long"]
pub const BODY_MIN_BYTES_PER_SECOND: u64 = 1_024;
/// Time that the server takes for a REST request; while it waits for the client, the time stands. Then the work is told
/// to stop, and the answer is 504.
#[set = "--rest-deadline-ms"]
#[test_at = "server/tests/deadlines.rs::a_read_past_its_deadline_gets_504_and_its_work_stops"]
pub const REST_DEADLINE_MS: u64 = 600_000;
/// The same for a git request, and for maintenance that is asked for.
#[set = "--git-deadline-ms"]
#[test_at = "server/tests/deadlines.rs::a_fetch_past_its_deadline_is_told_so_and_its_work_stops"]
pub const GIT_DEADLINE_MS: u64 = 3_600_000;
/// How long work may take to stop when it is told to, before its request is answered without it.
#[test_at = "server/src/deadline.rs::work_that_does_not_hear_is_left_behind"]
pub const DEADLINE_GRACE_MS: u64 = 5_000;
/// How often a clock that stands is looked at.
#[inner = "how late a clock that stood may be seen to run; nobody outside can tell"]
pub const DEADLINE_LOOK_MS: u64 = 100;
/// Time in which a client takes nothing of an answer; then its connection is cut, or its stream of HTTP/2. Long, as
/// the kernel tells of room only when a third of its send buffer is free: at 1 kB/s that is once in many minutes.
#[set = "--write-idle-ms"]
#[test_at = "server/tests/http2.rs::a_stream_whose_window_stays_shut_is_reset_and_the_connection_lives"]
#[test_at = "server/src/patience.rs::a_peer_that_takes_nothing_is_cut"]
#[test_at = "server/src/patience.rs::a_peer_that_takes_a_byte_at_a_time_gets_everything"]
pub const WRITE_IDLE_MS_MAX: u64 = 900_000;
/// How often the files of the certificate are looked at.
#[inner = "how often something is looked at"]
pub const TLS_CHECK_MS: u64 = 10_000;
/// Read buffer of an HTTP/1 connection, and so the most that a request's header may take.
#[test_at = "server/tests/edges/bodies.rs::heads_of_requests_stop_at_their_limits"]
pub const HTTP1_BUFFER_BYTES_MAX: usize = 256 << 10;
/// Fields in a request's header.
#[test_at = "server/tests/edges/bodies.rs::heads_of_requests_stop_at_their_limits"]
pub const HEADER_FIELDS_MAX: usize = 128;
/// Fields of an HTTP/2 request, summed as HPACK sums them.
#[inner = "told to the client, and kept by the HTTP library"]
pub const HTTP2_HEADER_BYTES_MAX: u32 = 64 << 10;
/// Requests at once on one HTTP/2 connection.
#[inner = "told to the client, and kept by the HTTP library"]
pub const HTTP2_STREAMS_MAX: u32 = 128;
/// Silence on an HTTP/2 connection before it is pinged, and then the wait for the pong.
#[set = "--http2-ping-ms"]
#[test_at = "server/tests/http2.rs::a_connection_that_answers_no_ping_is_closed"]
pub const HTTP2_PING_MS: u64 = 30_000;
/// Pause after a failed `accept`, which is nearly always a lack of descriptors.
#[inner = "a time to wait"]
pub const ACCEPT_PAUSE_MS: u64 = 50;
/// Requests whose answer's head takes longer are logged as slow, where nothing else is said.
#[set = "--slow-request-ms"]
#[inner = "what is logged; no request ends by it"]
pub const SLOW_REQUEST_MS: u64 = 10_000;
/// Wait for running requests after SIGTERM or SIGINT; then they are cut.
#[inner = "a time to wait"]
pub const DRAIN_MS_MAX: u64 = 20_000;

/// Body of a REST request that carries settings only.
#[test_at = "server/tests/edges/bodies.rs::a_body_of_settings_stops_at_its_limit"]
pub const JSON_BODY_BYTES_MAX: usize = 256 << 10;
/// Namespace and repository names.
#[test_at = "server/src/names.rs::names_follow_the_contract"]
pub const NAME_BYTES_MAX: usize = 63;
/// A repository's description.
#[test_at = "server/tests/edges/pages.rs::texts_of_repositories_stop_at_their_limits"]
pub const DESCRIPTION_BYTES_MAX: usize = 4_096;
/// A branch's name without `refs/heads/`; files of that name must fit on a client's disk.
#[test_at = "server/tests/edges/pages.rs::texts_of_repositories_stop_at_their_limits"]
pub const BRANCH_BYTES_MAX: usize = 244;
/// A search text; no name is longer.
#[test_at = "server/tests/edges/pages.rs::texts_of_repositories_stop_at_their_limits"]
pub const SEARCH_BYTES_MAX: usize = NAME_BYTES_MAX;
/// Repositories of a namespace up to which a search reads all names instead of asking the index of trigrams.
#[test_at = "server/tests/catalog_scale.rs::a_large_namespace_finds_what_a_small_one_would"]
pub const SEARCH_SCAN_REPOS_MAX: i64 = 10_000;
/// Names that a search takes from the index of trigrams and counts; where there are more, it goes through the names in
/// the order that is asked for until a page is full, and its total says only that there is more.
#[test_at = "server/tests/catalog_scale.rs::a_large_namespace_finds_what_a_small_one_would"]
pub const SEARCH_CANDIDATES_MAX: i64 = 2_000;
/// A pagination cursor as a client sends it back: a ref of 4,096 bytes fits, percent-encoded and in base 64.
#[test_at = "server/tests/edges/pages.rs::cursors_stop_at_their_limit"]
pub const CURSOR_BYTES_MAX: usize = 20 << 10;

/// Items on a page of repositories or namespaces.
#[test_at = "server/tests/edges/pages.rs::pages_have_so_many_items_and_no_more"]
pub const PAGE_ITEMS_MAX: u64 = 200;
/// Repositories on a page when nothing is asked for.
#[inner = "what is meant where nothing is asked for"]
pub const REPO_PAGE_ITEMS: u64 = 50;
/// Namespaces on a page when nothing is asked for.
#[inner = "what is meant where nothing is asked for"]
pub const NAMESPACE_PAGE_ITEMS: u64 = 100;
/// Tokens on a page.
#[test_at = "server/tests/edges/pages.rs::pages_have_so_many_items_and_no_more"]
pub const TOKEN_PAGE_ITEMS_MAX: u64 = 100;
/// Tokens on a page when nothing is asked for.
#[inner = "what is meant where nothing is asked for"]
pub const TOKEN_PAGE_ITEMS: u64 = 30;
/// Highest page number, so that page × items stays far from overflow.
#[test_at = "server/tests/edges/pages.rs::numbers_of_pages_stop_at_their_limit"]
pub const PAGE_NUMBER_MAX: u64 = 1 << 40;

/// Shortest life of a repository token, in seconds.
#[test_at = "server/tests/rest_tokens.rs::lives_are_checked_before_the_repository"]
pub const TOKEN_TTL_SECONDS_MIN: i64 = 60;
/// Longest life of a repository token, in seconds: one year.
#[test_at = "server/tests/rest_tokens.rs::lives_are_checked_before_the_repository"]
pub const TOKEN_TTL_SECONDS_MAX: i64 = 31_536_000;
/// Life of a repository token when nothing is asked for, in seconds.
#[inner = "what is meant where nothing is asked for"]
pub const TOKEN_TTL_SECONDS: i64 = 86_400;
/// Name of an API token.
#[test_at = "server/tests/edges/pages.rs::api_tokens_stop_at_their_limits"]
pub const API_TOKEN_NAME_BYTES_MAX: usize = 100;
/// Namespaces that one API token may be restricted to.
#[test_at = "server/tests/edges/pages.rs::api_tokens_stop_at_their_limits"]
pub const API_TOKEN_NAMESPACES_MAX: usize = 64;
/// Longest life of an API token that has an end, in seconds: ten years.
#[test_at = "server/tests/edges/pages.rs::api_tokens_stop_at_their_limits"]
pub const API_TOKEN_TTL_SECONDS_MAX: i64 = 10 * 31_536_000;
/// How long a dead token stays in lists before it is swept, in milliseconds: 30 days.
#[test_at = "server/tests/edges/kept.rs::a_dead_token_is_listed_for_a_month"]
pub const TOKEN_KEPT_MS: i64 = 30 * 86_400_000;
/// Buckets of one rate that stand together: a new one takes the place of the fullest of them.
#[test_at = "server/src/rate.rs::very_many_callers_fit_and_an_empty_bucket_goes_last"]
pub const RATE_WAYS: usize = 8;
/// Such groups: 65,536 buckets, 1.1 MiB, for each rate that is set.
#[test_at = "server/src/rate.rs::very_many_callers_fit_and_an_empty_bucket_goes_last"]
pub const RATE_SETS: usize = 8_192;
/// Greatest rate, in requests a unit of time: a bucket counts microseconds.
#[test_at = "server/src/rate.rs::rates_and_bursts_stop_at_their_limits"]
pub const RATE_PER_SECOND_MAX: u32 = 1_000_000;
/// Most requests at once that a rate allows.
#[test_at = "server/src/rate.rs::rates_and_bursts_stop_at_their_limits"]
pub const RATE_BURST_MAX: u32 = 1_000_000;
/// Repositories whose size is known and not written to the catalog yet.
#[inner = "a size that has no room is noted by the next push"]
pub const NOTED_SIZES_MAX: usize = 65_536;
/// Longest credential looked at; ours have 65 characters.
#[test_at = "server/src/auth/token.rs::credentials_stop_at_their_limit"]
pub const CREDENTIAL_BYTES_MAX: usize = 512;

/// Logs that a fork stands on. Each costs a lookup per missing object.
#[test_at = "server/tests/catalog_forks.rs::a_chain_that_is_too_long_is_refused"]
pub const FORK_DEPTH_MAX: usize = 64;

/// Catalog changes that wait for the writer; callers beyond it wait themselves.
#[inner = "a queue; what has no room in it waits"]
pub const CATALOG_QUEUE_JOBS_MAX: usize = 4_096;
/// Catalog changes in one transaction, and so in one fsync.
#[inner = "a batch"]
pub const CATALOG_BATCH_JOBS_MAX: usize = 1_024;
/// Connections that read the catalog.
#[inner = "how many are at work at once; others wait"]
pub const CATALOG_READERS_MAX: usize = 4;
/// Wait for another process that writes to the catalog.
#[inner = "a time to wait"]
pub const CATALOG_BUSY_MS_MAX: u64 = 10_000;
/// Page cache of one catalog connection.
#[inner = "a cache"]
pub const CATALOG_CACHE_KIB: i64 = 4_096;
/// What stays of the catalog's write-ahead log after a checkpoint.
#[inner = "how a log is taken up; what is read is the same"]
pub const CATALOG_WAL_BYTES_KEPT: i64 = 16 << 20;
/// Bytes kept back on the disk for deletions: the pages of a few hundred of them.
#[test_at = "tests/tests/full_disk.rs::a_full_disk_stops_writes_and_nothing_else"]
pub const RESERVE_BYTES: u64 = 1 << 20;
/// Bytes of a write-ahead log held while it is written over itself.
#[inner = "a buffer"]
pub const WAL_REWRITE_BYTES: usize = 256 << 10;
/// Pages in a write-ahead log behind which a checkpoint is tried: SQLite's own default.
#[inner = "how a log is taken up; what is read is the same"]
pub const WAL_CHECKPOINT_PAGES: i32 = 1_000;

const _: () = assert!(CATALOG_BATCH_JOBS_MAX <= CATALOG_QUEUE_JOBS_MAX);
const _: () = assert!(FIRST_BYTES_MS_MAX <= HEADER_READ_MS_MAX);
const _: () =
    assert!(TOKEN_TTL_SECONDS >= TOKEN_TTL_SECONDS_MIN && TOKEN_TTL_SECONDS <= TOKEN_TTL_SECONDS_MAX);

/// An inflated fetch request: 262,144 wants and as many haves of SHA-256 fit.
#[test_at = "server/tests/edges/bodies.rs::a_fetch_request_stops_at_its_limit_compressed_or_not"]
pub const FETCH_REQUEST_BYTES_MAX: usize = 48 << 20;
/// Bytes of a compressed request that are inflated at a time: they become a thousand times as many at most.
#[inner = "a buffer"]
pub const GZIP_STEP_BYTES: usize = 1 << 10;
/// Commands and push options in front of a pack.
#[test_at = "server/tests/edges/bodies.rs::commands_in_front_of_a_pack_stop_at_their_limit"]
pub const PUSH_HEADER_BYTES_MAX: usize = 64 << 20;
/// One pushed pack, before inflation.
#[test_at = "server/src/ops/spool.rs::an_upload_stops_at_its_limit"]
pub const PUSH_PACK_BYTES_MAX: u64 = 4 << 30;
/// What is taken and dropped behind a pack that is too large, so that the client gets to read why.
#[test_at = "server/src/smart_http/receive_pack.rs::what_is_taken_and_dropped_has_an_end"]
pub const PUSH_DRAIN_BYTES_MAX: u64 = 1 << 30;
/// What is taken and dropped of a body that was refused, once the answer is sent, so that the client gets to read it.
#[test_at = "server/src/linger.rs::what_comes_after_a_refusal_is_dropped_within_bounds"]
pub const LINGER_BYTES_MAX: u64 = 128 << 20;
/// How long that is done.
#[test_at = "server/src/linger.rs::what_comes_after_a_refusal_is_dropped_within_bounds"]
pub const LINGER_MS_MAX: u64 = 5_000;
/// Objects in one pushed pack.
#[test_at = "protocol/tests/pack_hostile.rs::a_count_that_lies_allocates_nothing"]
pub const PUSH_OBJECTS_MAX: u32 = 20_000_000;
/// One object, inflated. Whole objects stream; resolving a delta holds up to three of these.
#[test_at = "protocol/tests/pack_edges.rs::objects_are_taken_up_to_their_limit_whole_or_as_deltas"]
#[test_at = "server/src/ops/commit/changes.rs::a_file_of_an_upload_stops_at_its_limit"]
pub const OBJECT_BYTES_MAX: u64 = 256 << 20;
/// An upload that is kept in memory; a larger one goes to a file without a name.
#[test_at = "server/src/ops/spool.rs::an_upload_goes_to_disk_when_memory_does_not_do"]
pub const SPOOL_MEMORY_BYTES_MAX: usize = 1 << 20;
/// Delta bases kept while one pack is indexed.
#[inner = "a cache"]
pub const INDEX_CACHE_BYTES: u64 = 16 << 20;
/// Threads that index one pack.
#[inner = "how many are at work at once; others wait"]
pub const INDEX_THREADS_MAX: usize = 8;
/// Memory of the index pass for each entry of a pack, in bytes: its row, its place in the forest of deltas, and what it names.
#[inner = "an estimate of memory"]
pub const INDEX_ENTRY_BYTES: u64 = 128;
/// The largest object up to which all threads of an index pass count on holding some at once.
#[inner = "an estimate of memory"]
pub const INDEX_OBJECT_BYTES: u64 = 4 << 20;
/// Plans of recent fetches, all repositories together.
#[inner = "a cache"]
pub const PLAN_CACHE_BYTES: usize = 32 << 20;
/// Visible sets of recent snapshots, all repositories together.
#[inner = "a cache"]
pub const VISIBLE_CACHE_BYTES: usize = 16 << 20;
/// Memory that planning a fetch takes for each object that the repository stores, in bytes.
#[inner = "an estimate of memory"]
pub const PLAN_OBJECT_BYTES: u64 = 24;
/// Memory that a ref takes in an answer that lists it, beside twice its name, in bytes.
#[inner = "an estimate of memory"]
pub const REF_ROW_BYTES: u64 = 256;
/// What a fetch request takes in memory, in times of its bytes: itself, and what was read out of it.
#[inner = "an estimate of memory"]
pub const FETCH_REQUEST_COPIES: u64 = 3;
/// What the commands of a push take in memory, in times of their bytes.
#[inner = "an estimate of memory"]
pub const PUSH_COMMANDS_COPIES: u64 = 3;
/// Pushes at once whose commands do not fit an upload in memory. They are whole on disk before that.
#[inner = "how many are at work at once; others wait"]
pub const PUSH_COMMANDS_LARGE_MAX: usize = 1;
/// Wait for work that blocks, at the very end.
#[inner = "a time to wait"]
pub const BLOCKING_STOP_MS_MAX: u64 = 3_000;
/// Repository files open at once. Each takes up to four descriptors and some 100 KB.
#[inner = "how many files are kept open; more are opened anew"]
pub const OPEN_FILES_MAX: usize = 512;

/// The file of an API token, in bytes: a token is one short line.
#[test_at = "server/tests/edges_cli.rs::the_file_of_a_token_stops_at_its_limit"]
pub const CLI_TOKEN_FILE_BYTES_MAX: u64 = 4_096;
/// The file of certificate authorities that `--ca-file` names, in bytes; the system's own has a fifth of that.
#[test_at = "server/src/cli/authorities.rs::a_file_is_read_up_to_its_limit"]
pub const CLI_CA_FILE_BYTES_MAX: u64 = 1 << 20;
/// How long `cairn ready` waits for the whole answer, in seconds: less than health checks usually wait for it.
#[inner = "a time to wait"]
pub const CLI_READY_SECONDS_MAX: u64 = 8;
/// A JSON answer that a command holds, in bytes: a comparison with all its patches fits.
#[test_at = "server/tests/edges_cli.rs::an_answer_is_held_up_to_its_limit"]
pub const CLI_ANSWER_BYTES_MAX: u64 = 128 << 20;
/// How long a command waits for a connection, in seconds.
#[inner = "a time to wait"]
pub const CLI_CONNECT_SECONDS_MAX: u64 = 20;
/// How long a command waits for the next bytes of an answer, in seconds: the server may be importing meanwhile.
#[inner = "a time to wait"]
pub const CLI_ANSWER_SECONDS_MAX: u64 = 600;
/// Pages that a command follows, so that a server cannot lead it on for ever.
#[test_at = "server/tests/edges_cli.rs::a_list_without_end_ends"]
pub const CLI_PAGES_MAX: usize = 10_000;
/// What a command sends of a commit's files inside its JSON, in bytes; the rest goes as parts that are read while they
/// are sent. As base64, with its JSON around it, it fits the 32 MiB that the server takes.
#[inner = "chooses one of two ways, which end the same"]
pub const CLI_INLINE_BYTES_MAX: u64 = 4 << 20;
/// A question in git's credential protocol, in bytes.
#[test_at = "server/tests/edges_cli.rs::a_question_of_git_stops_at_its_limit"]
pub const CREDENTIAL_QUESTION_BYTES_MAX: u64 = 64 << 10;
/// How long a token lives that the credential helper hands to git, in seconds: git asks for a new one each time.
#[inner = "what is meant where nothing is asked for"]
pub const CREDENTIAL_TTL_SECONDS: u64 = 3_600;

/// Memory that all requests together take for large work: index passes, large objects, large bodies, archives. What needs
/// more takes all of it and runs alone.
#[set = "--memory-budget"]
#[test_at = "server/tests/budget.rs::large_pushes_and_reads_at_once_all_end_well"]
pub const MEMORY_BUDGET_BYTES: u64 = 256 << 20;
/// What a request waits for its share of that memory before it is answered with 503.
#[set = "--memory-wait-ms"]
#[test_at = "server/tests/budget.rs::beyond_the_wait_rest_answers_503_with_retry_after"]
pub const MEMORY_WAIT_MS_MAX: u64 = 60_000;
/// The same for a push that is uploaded, which hears meanwhile that the work goes on, and for an import.
#[set = "--memory-upload-wait-ms"]
#[test_at = "server/tests/budget.rs::beyond_the_wait_a_push_is_told_why"]
pub const MEMORY_UPLOAD_WAIT_MS_MAX: u64 = 1_800_000;
/// Requests that wait for memory; further ones are answered with 503 at once.
#[set = "--memory-waiting"]
#[test_at = "server/tests/budget.rs::a_full_queue_refuses_at_once"]
pub const MEMORY_WAITING_MAX: usize = 256;
/// What `Retry-After` says where memory was missing.
#[inner = "what clients are told to wait"]
pub const MEMORY_RETRY_MS: u64 = 10_000;
/// The unit in which the budget is counted.
#[inner = "a unit of counting"]
pub const MEMORY_UNIT_BYTES: u64 = 64 << 10;
/// Memory that a request holds without asking the budget.
#[inner = "chooses one of two ways, which end the same"]
pub const ROOM_SMALL_BYTES: u64 = 4 << 20;
/// Objects of one size that making a delta holds: its base, its instructions, itself.
#[inner = "an estimate of memory"]
pub const OBJECT_COPIES: u64 = 3;
/// A blob that is read and sent as one piece. A slow client holds it.
#[inner = "chooses one of two ways, which end the same"]
pub const SMALL_BLOB_BYTES_MAX: u64 = 128 << 10;
/// Bytes of a larger blob, or of an archive, that are made at a time. A slow client holds them.
#[inner = "a buffer"]
pub const BLOB_BATCH_BYTES: usize = 256 << 10;
/// Compressed bytes of a blob read at a time.
#[inner = "a buffer"]
pub const BLOB_INPUT_BYTES: usize = 64 << 10;
/// An object that reads keep.
#[inner = "a cache"]
pub const CACHED_OBJECT_BYTES_MAX: usize = 128 << 10;
/// Small objects that reads keep, all repositories together.
#[inner = "a cache"]
pub const OBJECT_CACHE_BYTES: usize = 24 << 20;
/// What names stood for, all repositories together.
#[inner = "a cache"]
pub const READ_NAME_CACHE_BYTES: usize = 4 << 20;
/// How long lists are, all repositories together.
#[inner = "a cache"]
pub const READ_COUNT_CACHE_BYTES: usize = 1 << 20;
/// A tree that is listed: some 400,000 entries.
#[test_at = "server/tests/edges/reads.rs::trees_are_listed_and_shown_whole_up_to_their_limits"]
pub const TREE_BYTES_MAX: usize = 16 << 20;
/// A tree that `GET .../tree/{hash}` answers in one piece: some 100,000 entries.
#[test_at = "server/tests/edges/reads.rs::trees_are_listed_and_shown_whole_up_to_their_limits"]
pub const TREE_WHOLE_BYTES_MAX: usize = 4 << 20;
/// Trees that a walk holds: those above the entry where it is.
#[test_at = "server/tests/edges/reads.rs::a_walk_holds_so_many_bytes_of_trees"]
pub const TREE_WALK_BYTES_MAX: usize = 64 << 20;
/// Entries below a tree that is listed with all folders. Listing must count them.
#[test_at = "server/tests/edges/reads.rs::a_listing_counts_so_many_entries"]
pub const TREE_WALK_ENTRIES_MAX: u64 = 1_000_000;
/// Entries of trees on a page.
#[test_at = "server/tests/edges/pages.rs::pages_have_so_many_items_and_no_more"]
pub const TREE_PAGE_ITEMS_MAX: u64 = 1_000;
/// Entries of trees on a page when nothing is asked for.
#[inner = "what is meant where nothing is asked for"]
pub const TREE_PAGE_ITEMS: u64 = 200;
/// A tag that is followed to what it names.
#[test_at = "server/tests/edges/reads.rs::a_tag_is_followed_up_to_its_limit"]
pub const PEELED_TAG_BYTES_MAX: u64 = 1 << 20;
/// Commits on a page of the log.
#[test_at = "server/tests/edges/pages.rs::pages_have_so_many_items_and_no_more"]
pub const LOG_PAGE_ITEMS_MAX: u64 = 1_000;
/// Commits on a page of the log when nothing is asked for.
#[inner = "what is meant where nothing is asked for"]
pub const LOG_PAGE_ITEMS: u64 = 50;
/// Bytes of commits after which a page of the log ends.
#[test_at = "server/tests/edges/reads.rs::a_page_of_the_log_ends_behind_its_bytes"]
pub const LOG_PAGE_BYTES: usize = 4 << 20;
/// Commits compared for one page of a path's log; the cursor goes on behind them.
#[test_at = "server/tests/edges/reads.rs::a_page_of_a_path_looks_at_so_many_commits"]
pub const LOG_WALKED_COMMITS_MAX: u64 = 10_000;
/// A path that a cursor carries; behind a longer one, a listing counts.
#[inner = "behind a longer path the same list goes on by counting"]
pub const CURSOR_PATH_BYTES_MAX: usize = 4_096;
/// Refs on a page.
#[test_at = "server/tests/edges/pages.rs::pages_have_so_many_items_and_no_more"]
pub const REF_PAGE_ITEMS_MAX: u64 = 1_000;
/// Refs on a page when nothing is asked for.
#[inner = "what is meant where nothing is asked for"]
pub const REF_PAGE_ITEMS: u64 = 100;
/// Parts of `raw/{ref}/{path}` that may belong to the ref.
#[test_at = "server/tests/edges/reads.rs::a_ref_in_a_raw_path_has_so_many_parts"]
pub const RAW_REF_PARTS_MAX: usize = 16;
/// Entries of the log on a page.
#[test_at = "server/tests/edges/pages.rs::pages_have_so_many_items_and_no_more"]
pub const ACTIVITY_PAGE_ITEMS_MAX: u64 = 100;
/// Entries of the log on a page when nothing is asked for.
#[inner = "what is meant where nothing is asked for"]
pub const ACTIVITY_PAGE_ITEMS: u64 = 30;
/// Ref changes shown of one entry of the log; the answer says how many there are.
#[test_at = "server/tests/edges/reads.rs::an_entry_shows_so_many_ref_changes_and_counts_all"]
pub const ACTIVITY_CHANGES_MAX: u32 = 1_000;
/// Entries in one archive.
#[inner = "five million entries are too much for a test"]
pub const ARCHIVE_ENTRIES_MAX: u64 = 5_000_000;
/// A symbolic link's target in an archive.
#[test_at = "server/tests/edges/reads.rs::links_and_rules_of_an_archive_stop_at_their_limits"]
pub const ARCHIVE_LINK_BYTES_MAX: u64 = 64 << 10;
/// One `.gitattributes` that an archive heeds.
#[test_at = "server/tests/edges/reads.rs::links_and_rules_of_an_archive_stop_at_their_limits"]
pub const ATTRIBUTES_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a zip's directory that are kept in memory; beyond, they go to a file without a name.
#[inner = "chooses one of two ways, which end the same"]
pub const ZIP_DIRECTORY_BYTES_MAX: usize = 1 << 20;

const _: () =
    assert!(SMALL_BLOB_BYTES_MAX <= ROOM_SMALL_BYTES / OBJECT_COPIES && CACHED_OBJECT_BYTES_MAX <= OBJECT_CACHE_BYTES / 4);
/// One object that is diffed or merged, or a tree or commit on the way to it.
#[test_at = "server/tests/edges/compared.rs::an_object_is_compared_up_to_its_limit"]
pub const ENGINE_OBJECT_BYTES_MAX: u64 = 64 << 20;
/// Commits that one comparison or merge looks at.
#[test_at = "protocol/tests/walk_diverge.rs::a_walk_is_given_up_at_its_limit"]
pub const COMPARE_COMMITS_MAX: usize = 2_000_000;
/// Memory that a commit takes while histories are compared, in bytes.
#[inner = "an estimate of memory"]
pub const COMPARE_COMMIT_BYTES: u64 = 40;
/// Commits on a page of a comparison when nothing is asked for.
#[inner = "what is meant where nothing is asked for"]
pub const COMPARE_PAGE_COMMITS: u64 = 50;
/// Files that one comparison lists.
#[test_at = "server/tests/edges/compared.rs::so_many_files_are_listed_and_looked_through_for_renames"]
pub const COMPARE_FILES_MAX: usize = 1_000;
/// Changed files up to which a comparison sorts them all and looks for renames.
#[test_at = "server/tests/edges/compared.rs::so_many_files_are_listed_and_looked_through_for_renames"]
pub const COMPARE_CHANGES_MAX: usize = 100_000;
/// A file that a comparison diffs, in bytes of either side.
#[test_at = "server/tests/edges/compared.rs::a_file_is_diffed_up_to_its_limit_and_so_are_all_together"]
pub const COMPARE_BLOB_BYTES_MAX: u64 = 4 << 20;
/// Bytes of all files that one comparison diffs, both sides.
#[test_at = "server/tests/edges/compared.rs::a_file_is_diffed_up_to_its_limit_and_so_are_all_together"]
pub const COMPARE_DIFFED_BYTES_MAX: u64 = 64 << 20;
/// The patch of one file in a comparison.
#[test_at = "server/tests/edges/compared.rs::patches_stop_at_their_limits_each_and_together"]
pub const COMPARE_PATCH_BYTES_MAX: usize = 512 << 10;
/// All patches of one comparison.
#[test_at = "server/tests/edges/compared.rs::patches_stop_at_their_limits_each_and_together"]
pub const COMPARE_PATCHES_BYTES_MAX: usize = 8 << 20;
/// Pairs of an added and a deleted file that are compared to find renames; with more, only unchanged files count.
#[test_at = "server/tests/edges/compared.rs::so_many_pairs_are_compared_for_renames"]
pub const RENAME_PAIRS_MAX: u64 = 40_000;
/// Bytes of all these pairs.
#[test_at = "server/tests/edges/compared.rs::pairs_of_so_many_bytes_are_compared_for_renames"]
pub const RENAME_PAIR_BYTES_MAX: u64 = 512 << 20;
/// A file that is compared to find renames. Those of one comparison are kept in memory.
#[test_at = "server/tests/edges/compared.rs::a_file_is_compared_for_renames_up_to_its_limit"]
pub const RENAME_BLOB_BYTES_MAX: u64 = 1 << 20;
/// Bytes of all files that are kept in memory to find renames.
#[test_at = "server/tests/edges/compared.rs::files_of_so_many_bytes_are_kept_for_renames"]
pub const RENAME_BLOBS_BYTES_MAX: u64 = 64 << 20;
/// Bytes at the start of a file in which a zero makes it binary: git's number.
#[test_at = "server/tests/edges/compared.rs::a_zero_makes_a_file_binary_where_git_looks_for_it"]
pub const BINARY_PROBE_BYTES: usize = 8_000;
/// A file that a merge merges by lines; two changes of a larger one are a conflict.
#[test_at = "server/tests/edges/merged.rs::a_file_is_merged_by_lines_up_to_its_limit"]
pub const MERGE_BLOB_BYTES_MAX: u64 = 16 << 20;
/// New objects that one merge makes, in bytes before compression.
#[test_at = "server/tests/edges/merged.rs::a_merge_makes_so_many_bytes_and_no_more"]
pub const MERGE_MADE_BYTES_MAX: u64 = 128 << 20;
/// Merge bases that one merge makes one of, and how deep that may go on below them.
#[test_at = "server/tests/edges/merged.rs::histories_cross_so_often_and_no_more"]
pub const MERGE_BASES_MAX: usize = 16;
/// Tries of one merge against a branch that keeps moving.
#[inner = "how often something is tried again while others win"]
pub const MERGE_ATTEMPTS_MAX: usize = 5;
/// Conflicted paths that an answer lists.
#[test_at = "server/tests/edges/merged.rs::so_many_conflicted_paths_are_listed"]
pub const MERGE_CONFLICTS_MAX: usize = 1_000;
/// Regions that an answer shows of one conflicted file.
#[test_at = "server/tests/edges/merged.rs::so_many_regions_and_so_much_text_of_them_is_shown"]
pub const MERGE_REGIONS_MAX: usize = 50;
/// Text of all regions in one answer.
#[test_at = "server/tests/edges/merged.rs::so_many_regions_and_so_much_text_of_them_is_shown"]
pub const MERGE_REGION_BYTES_MAX: usize = 256 << 10;
/// Changes in one commit made through REST.
#[test_at = "server/tests/edges/bodies.rs::a_commit_has_so_many_changes_and_no_more_however_they_come"]
pub const COMMIT_CHANGES_MAX: usize = 10_000;
/// A path in such a commit: what file systems take.
#[test_at = "server/tests/edges/bodies.rs::what_a_commit_says_stops_at_its_limits"]
pub const COMMIT_PATH_BYTES_MAX: usize = 4_096;
/// A commit's message.
#[test_at = "server/tests/edges/bodies.rs::what_a_commit_says_stops_at_its_limits"]
pub const COMMIT_MESSAGE_BYTES_MAX: usize = 64 << 10;
/// An author's or committer's name or address.
#[test_at = "server/tests/edges/bodies.rs::what_a_commit_says_stops_at_its_limits"]
pub const PERSON_BYTES_MAX: usize = 1_024;
/// The JSON of a commit, files in it included.
#[test_at = "server/tests/rest_commits.rs::json_stops_at_its_limit"]
pub const COMMIT_JSON_BYTES_MAX: u64 = 32 << 20;
/// A multipart body: a commit's JSON and its files.
#[test_at = "server/src/rest/multipart.rs::a_body_of_parts_stops_at_its_limit"]
pub const COMMIT_UPLOAD_BYTES_MAX: u64 = 1 << 30;
/// The header of one part of a multipart body.
#[test_at = "server/src/rest/multipart.rs::the_header_of_a_part_stops_at_its_limit"]
pub const PART_HEADER_BYTES_MAX: usize = 16 << 10;
/// A multipart boundary (RFC 2046, section 5.1.1).
#[test_at = "server/src/rest/multipart.rs::boundaries_stop_at_their_limit"]
pub const BOUNDARY_BYTES_MAX: usize = 70;
/// What a JSON body takes in memory while it is worked on, in times of its bytes: itself, what was read out of it, and the
/// objects that are made of that. A large one is whole on disk before that.
#[inner = "an estimate of memory"]
pub const COMMIT_JSON_COPIES: u64 = 4;
/// Folders that one commit reads, in bytes of their trees.
#[test_at = "server/tests/edges/reads.rs::a_commit_reads_so_many_bytes_of_folders"]
pub const COMMIT_TREE_BYTES_MAX: u64 = 128 << 20;
/// How often a REST write follows a ref that moves before it gives up.
#[inner = "how often something is tried again while others win"]
pub const COMMIT_ATTEMPTS_MAX: u32 = 32;
/// Turns that the repositories' REST writers share.
#[inner = "how many are at work at once; others wait"]
pub const COMMIT_TURNS: usize = 256;
/// One read from a spooled file.
#[inner = "a buffer"]
pub const STREAM_STEP_BYTES: usize = 64 << 10;

const _: () = assert!(COMMIT_JSON_BYTES_MAX <= COMMIT_UPLOAD_BYTES_MAX);

/// An `Idempotency-Key`.
#[test_at = "server/tests/rest_idempotency.rs::keys_are_bounded_and_nobody_without_a_token_leaves_one"]
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// How long an answer is given again, in milliseconds: 24 hours.
#[test_at = "server/tests/edges/kept.rs::an_answer_is_kept_for_a_day"]
pub const IDEMPOTENCY_KEPT_MS: i64 = 86_400_000;
/// An answer that is kept; of a larger one it is kept that it was given.
#[test_at = "server/tests/edges/kept.rs::an_answer_is_kept_up_to_its_limit_and_a_larger_one_is_not_done_again"]
pub const IDEMPOTENCY_ANSWER_BYTES_MAX: usize = 256 << 10;
/// Answers kept for one API token; then the oldest goes.
#[test_at = "server/tests/edges/kept.rs::so_many_answers_are_kept_and_then_the_oldest_goes"]
pub const IDEMPOTENCY_ROWS_MAX: i64 = 100_000;
/// Old answers that are swept whenever one is kept.
#[inner = "a batch"]
pub const IDEMPOTENCY_SWEEP_ROWS: i64 = 16;

/// What a collector of traces may answer.
#[inner = "of the operator's own collector; what it answers is not used"]
pub const TRACE_ANSWER_BYTES_MAX: u64 = 1 << 20;
/// How long a stopping server waits for the last traces to be sent.
#[inner = "a time to wait"]
pub const TRACE_STOP_MS_MAX: u64 = 5_000;
}

pub use crate::jobs::limits::*;
