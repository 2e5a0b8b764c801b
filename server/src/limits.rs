//! Every ceiling of the server, with its unit in its name.

cairn_protocol::limits! {
/// Connections served at once, as far as descriptors go; further ones wait in the kernel's backlog.
#[set = "--connections-max"]
#[test_at = "server/tests/connections.rs::one_connection_past_the_ceiling_waits_until_another_ends"]
pub const CONNECTIONS_MAX: usize = 16_384;
/// Descriptors that connections leave for repository files, uploads and the rest.
pub const DESCRIPTORS_KEPT: u64 = 3_072;
/// Wait for a request's complete header, and for the next request on an idle connection.
pub const HEADER_READ_MS_MAX: u64 = 30_000;
/// Wait for the first bytes of a connection, which tell HTTP/1 from HTTP/2.
pub const FIRST_BYTES_MS_MAX: u64 = 15_000;
/// Bytes that tell HTTP/1 from HTTP/2: the length of HTTP/2's preface.
pub const FIRST_BYTES: usize = 24;
/// Wait for a TLS handshake.
pub const TLS_HANDSHAKE_MS_MAX: u64 = 15_000;
/// Silence of a client whose request's body is awaited; then the answer is 408.
#[set = "--body-idle-ms"]
#[test_at = "server/tests/patience.rs::a_json_body_that_stands_still_gets_408_and_makes_nothing"]
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
pub const DEADLINE_GRACE_MS: u64 = 5_000;
/// How often a clock that stands is looked at.
pub const DEADLINE_LOOK_MS: u64 = 100;
/// Time in which a client takes nothing of an answer; then its connection is cut, or its stream of HTTP/2. Long, as
/// the kernel tells of room only when a third of its send buffer is free: at 1 kB/s that is once in many minutes.
#[set = "--write-idle-ms"]
#[test_at = "server/tests/http2.rs::a_stream_whose_window_stays_shut_is_reset_and_the_connection_lives"]
pub const WRITE_IDLE_MS_MAX: u64 = 900_000;
/// How often the files of the certificate are looked at.
pub const TLS_CHECK_MS: u64 = 10_000;
/// Read buffer of an HTTP/1 connection, and so the most that a request's header may take.
pub const HTTP1_BUFFER_BYTES_MAX: usize = 256 << 10;
/// Fields in a request's header.
pub const HEADER_FIELDS_MAX: usize = 128;
/// Fields of an HTTP/2 request, summed as HPACK sums them.
pub const HTTP2_HEADER_BYTES_MAX: u32 = 64 << 10;
/// Requests at once on one HTTP/2 connection.
pub const HTTP2_STREAMS_MAX: u32 = 128;
/// Silence on an HTTP/2 connection before it is pinged, and then the wait for the pong.
#[set = "--http2-ping-ms"]
#[test_at = "server/tests/http2.rs::a_connection_that_answers_no_ping_is_closed"]
pub const HTTP2_PING_MS: u64 = 30_000;
/// Pause after a failed `accept`, which is nearly always a lack of descriptors.
pub const ACCEPT_PAUSE_MS: u64 = 50;
/// Requests whose answer's head takes longer are logged as slow, where nothing else is said.
#[set = "--slow-request-ms"]
pub const SLOW_REQUEST_MS: u64 = 10_000;
/// Wait for running requests after SIGTERM or SIGINT; then they are cut.
pub const DRAIN_MS_MAX: u64 = 20_000;

/// Body of a REST request that carries settings only.
pub const JSON_BODY_BYTES_MAX: usize = 256 << 10;
/// Namespace and repository names.
pub const NAME_BYTES_MAX: usize = 63;
/// A repository's description.
pub const DESCRIPTION_BYTES_MAX: usize = 4_096;
/// A branch's name without `refs/heads/`; files of that name must fit on a client's disk.
pub const BRANCH_BYTES_MAX: usize = 244;
/// A search text; no name is longer.
pub const SEARCH_BYTES_MAX: usize = NAME_BYTES_MAX;
/// Repositories of a namespace up to which a search reads all names instead of asking the index of trigrams.
pub const SEARCH_SCAN_REPOS_MAX: i64 = 10_000;
/// Names that a search takes from the index of trigrams and counts; where there are more, it goes through the names in
/// the order that is asked for until a page is full, and its total says only that there is more.
pub const SEARCH_CANDIDATES_MAX: i64 = 2_000;
/// A pagination cursor as a client sends it back: a ref of 4,096 bytes fits, percent-encoded and in base 64.
pub const CURSOR_BYTES_MAX: usize = 20 << 10;

/// Items on a page of repositories or namespaces.
pub const PAGE_ITEMS_MAX: u64 = 200;
/// Repositories on a page when nothing is asked for.
pub const REPO_PAGE_ITEMS: u64 = 50;
/// Namespaces on a page when nothing is asked for.
pub const NAMESPACE_PAGE_ITEMS: u64 = 100;
/// Tokens on a page.
pub const TOKEN_PAGE_ITEMS_MAX: u64 = 100;
/// Tokens on a page when nothing is asked for.
pub const TOKEN_PAGE_ITEMS: u64 = 30;
/// Highest page number, so that page × items stays far from overflow.
pub const PAGE_NUMBER_MAX: u64 = 1 << 40;

/// Shortest life of a repository token, in seconds.
pub const TOKEN_TTL_SECONDS_MIN: i64 = 60;
/// Longest life of a repository token, in seconds: one year.
pub const TOKEN_TTL_SECONDS_MAX: i64 = 31_536_000;
/// Life of a repository token when nothing is asked for, in seconds.
pub const TOKEN_TTL_SECONDS: i64 = 86_400;
/// Name of an API token.
pub const API_TOKEN_NAME_BYTES_MAX: usize = 100;
/// Namespaces that one API token may be restricted to.
pub const API_TOKEN_NAMESPACES_MAX: usize = 64;
/// Longest life of an API token that has an end, in seconds: ten years.
pub const API_TOKEN_TTL_SECONDS_MAX: i64 = 10 * 31_536_000;
/// How long a dead token stays in lists before it is swept, in milliseconds: 30 days.
pub const TOKEN_KEPT_MS: i64 = 30 * 86_400_000;
/// Buckets of one rate that stand together: a new one takes the place of the fullest of them.
pub const RATE_WAYS: usize = 8;
/// Such groups: 65,536 buckets, 1.1 MiB, for each rate that is set.
pub const RATE_SETS: usize = 8_192;
/// Greatest rate, in requests a unit of time: a bucket counts microseconds.
pub const RATE_PER_SECOND_MAX: u32 = 1_000_000;
/// Most requests at once that a rate allows.
pub const RATE_BURST_MAX: u32 = 1_000_000;
/// Repositories whose size is known and not written to the catalog yet.
pub const NOTED_SIZES_MAX: usize = 65_536;
/// Longest credential looked at; ours have 65 characters.
pub const CREDENTIAL_BYTES_MAX: usize = 512;

/// Logs that a fork stands on. Each costs a lookup per missing object.
pub const FORK_DEPTH_MAX: usize = 64;

/// Catalog changes that wait for the writer; callers beyond it wait themselves.
pub const CATALOG_QUEUE_JOBS_MAX: usize = 4_096;
/// Catalog changes in one transaction, and so in one fsync.
pub const CATALOG_BATCH_JOBS_MAX: usize = 1_024;
/// Connections that read the catalog.
pub const CATALOG_READERS_MAX: usize = 4;
/// Wait for another process that writes to the catalog.
pub const CATALOG_BUSY_MS_MAX: u64 = 10_000;
/// Page cache of one catalog connection.
pub const CATALOG_CACHE_KIB: i64 = 4_096;
/// What stays of the catalog's write-ahead log after a checkpoint.
pub const CATALOG_WAL_BYTES_KEPT: i64 = 16 << 20;
/// Bytes kept back on the disk for deletions: the pages of a few hundred of them.
pub const RESERVE_BYTES: u64 = 1 << 20;
/// Bytes of a write-ahead log held while it is written over itself.
pub const WAL_REWRITE_BYTES: usize = 256 << 10;
/// Pages in a write-ahead log behind which a checkpoint is tried: SQLite's own default.
pub const WAL_CHECKPOINT_PAGES: i32 = 1_000;

const _: () = assert!(CATALOG_BATCH_JOBS_MAX <= CATALOG_QUEUE_JOBS_MAX);
const _: () = assert!(FIRST_BYTES_MS_MAX <= HEADER_READ_MS_MAX);
const _: () =
    assert!(TOKEN_TTL_SECONDS >= TOKEN_TTL_SECONDS_MIN && TOKEN_TTL_SECONDS <= TOKEN_TTL_SECONDS_MAX);

/// An inflated fetch request: 262,144 wants and as many haves of SHA-256 fit.
pub const FETCH_REQUEST_BYTES_MAX: usize = 48 << 20;
/// Bytes of a compressed request that are inflated at a time: they become a thousand times as many at most.
pub const GZIP_STEP_BYTES: usize = 1 << 10;
/// Commands and push options in front of a pack.
pub const PUSH_HEADER_BYTES_MAX: usize = 64 << 20;
/// One pushed pack, before inflation.
pub const PUSH_PACK_BYTES_MAX: u64 = 4 << 30;
/// What is taken and dropped behind a pack that is too large, so that the client gets to read why.
pub const PUSH_DRAIN_BYTES_MAX: u64 = 1 << 30;
/// Objects in one pushed pack.
pub const PUSH_OBJECTS_MAX: u32 = 20_000_000;
/// One object, inflated. Whole objects stream; resolving a delta holds up to three of these.
pub const OBJECT_BYTES_MAX: u64 = 256 << 20;
/// An upload that is kept in memory; a larger one goes to a file without a name.
pub const SPOOL_MEMORY_BYTES_MAX: usize = 1 << 20;
/// Delta bases kept while one pack is indexed.
pub const INDEX_CACHE_BYTES: u64 = 16 << 20;
/// Threads that index one pack.
pub const INDEX_THREADS_MAX: usize = 8;
/// Memory of the index pass for each entry of a pack, in bytes: its row, its place in the forest of deltas, and what it names.
pub const INDEX_ENTRY_BYTES: u64 = 128;
/// The largest object up to which all threads of an index pass count on holding some at once.
pub const INDEX_OBJECT_BYTES: u64 = 4 << 20;
/// Plans of recent fetches, all repositories together.
pub const PLAN_CACHE_BYTES: usize = 32 << 20;
/// Visible sets of recent snapshots, all repositories together.
pub const VISIBLE_CACHE_BYTES: usize = 16 << 20;
/// Memory that planning a fetch takes for each object that the repository stores, in bytes.
pub const PLAN_OBJECT_BYTES: u64 = 24;
/// Memory that a ref takes in an answer that lists it, beside twice its name, in bytes.
pub const REF_ROW_BYTES: u64 = 256;
/// What a fetch request takes in memory, in times of its bytes: itself, and what was read out of it.
pub const FETCH_REQUEST_COPIES: u64 = 3;
/// What the commands of a push take in memory, in times of their bytes.
pub const PUSH_COMMANDS_COPIES: u64 = 3;
/// Pushes at once whose commands do not fit an upload in memory. They are whole on disk before that.
pub const PUSH_COMMANDS_LARGE_MAX: usize = 1;
/// Imports that run at once; others wait without a connection.
pub const IMPORTS_MAX: usize = 4;
/// Imports that run or wait; further ones are refused.
pub const IMPORTS_WAITING_MAX: usize = 256;
/// Remotes that are asked for their refs at once, before an import is one. Each may take some 100 MiB for a moment.
pub const IMPORT_PROBES_MAX: usize = 4;
/// Wait for a remote to tell its refs.
pub const IMPORT_PROBE_MS_MAX: u64 = 30_000;
/// Wait for an import to end, before the answer is that it is under way.
pub const IMPORT_WAIT_MS: u64 = 5_000;
/// One try to fetch the pack of an import.
pub const IMPORT_FETCH_MS_MAX: u64 = 4 * 3_600_000;
/// Tries to fetch the pack of an import, where the remote breaks off or cannot answer.
pub const IMPORT_TRIES_MAX: u32 = 3;
/// Pause before the second try; before each further one it is twice as long.
pub const IMPORT_PAUSE_MS: u64 = 500;
/// Between two looks whether the repository of a running import was deleted.
pub const IMPORT_LOOK_MS: u64 = 2_000;
/// Branches and tags of one import, as many as one push may bring.
pub const IMPORT_REFS_MAX: usize = cairn_protocol::limits::COMMANDS_MAX;
/// Wait for running imports after SIGTERM or SIGINT; then they are left to the next start.
pub const IMPORT_DRAIN_MS_MAX: u64 = 3_000;
/// Wait for work that blocks, at the very end.
pub const BLOCKING_STOP_MS_MAX: u64 = 3_000;
/// Repository files open at once. Each takes up to four descriptors and some 100 KB.
pub const OPEN_FILES_MAX: usize = 512;

/// The file of an API token, in bytes: a token is one short line.
pub const CLI_TOKEN_FILE_BYTES_MAX: u64 = 4_096;
/// The file of certificate authorities that `--ca-file` names, in bytes; the system's own has a fifth of that.
pub const CLI_CA_FILE_BYTES_MAX: u64 = 1 << 20;
/// How long `cairn ready` waits for the whole answer, in seconds: less than health checks usually wait for it.
pub const CLI_READY_SECONDS_MAX: u64 = 8;
/// A JSON answer that a command holds, in bytes: a comparison with all its patches fits.
pub const CLI_ANSWER_BYTES_MAX: u64 = 128 << 20;
/// How long a command waits for a connection, in seconds.
pub const CLI_CONNECT_SECONDS_MAX: u64 = 20;
/// How long a command waits for the next bytes of an answer, in seconds: the server may be importing meanwhile.
pub const CLI_ANSWER_SECONDS_MAX: u64 = 600;
/// Pages that a command follows, so that a server cannot lead it on for ever.
pub const CLI_PAGES_MAX: usize = 10_000;
/// What a command sends of a commit's files inside its JSON, in bytes; the rest goes as parts that are read while they
/// are sent. As base64, with its JSON around it, it fits the 32 MiB that the server takes.
pub const CLI_INLINE_BYTES_MAX: u64 = 4 << 20;
/// A question in git's credential protocol, in bytes.
pub const CREDENTIAL_QUESTION_BYTES_MAX: u64 = 64 << 10;
/// How long a token lives that the credential helper hands to git, in seconds: git asks for a new one each time.
pub const CREDENTIAL_TTL_SECONDS: u64 = 3_600;

/// Memory that all requests together take for large work: index passes, large objects, large bodies, archives. What needs
/// more takes all of it and runs alone.
#[set = "--memory-budget"]
#[test_at = "budget::large_pushes_and_reads_at_once_all_end_well"]
pub const MEMORY_BUDGET_BYTES: u64 = 256 << 20;
/// What a request waits for its share of that memory before it is answered with 503.
#[set = "--memory-wait-ms"]
#[test_at = "budget::beyond_the_wait_rest_answers_503_with_retry_after"]
pub const MEMORY_WAIT_MS_MAX: u64 = 60_000;
/// The same for a push that is uploaded, which hears meanwhile that the work goes on, and for an import.
#[set = "--memory-upload-wait-ms"]
#[test_at = "budget::beyond_the_wait_a_push_is_told_why"]
pub const MEMORY_UPLOAD_WAIT_MS_MAX: u64 = 1_800_000;
/// Requests that wait for memory; further ones are answered with 503 at once.
#[set = "--memory-waiting"]
#[test_at = "budget::a_full_queue_refuses_at_once"]
pub const MEMORY_WAITING_MAX: usize = 256;
/// What `Retry-After` says where memory was missing.
pub const MEMORY_RETRY_MS: u64 = 10_000;
/// The unit in which the budget is counted.
pub const MEMORY_UNIT_BYTES: u64 = 64 << 10;
/// Memory that a request holds without asking the budget.
pub const ROOM_SMALL_BYTES: u64 = 4 << 20;
/// Objects of one size that making a delta holds: its base, its instructions, itself.
pub const OBJECT_COPIES: u64 = 3;
/// A blob that is read and sent as one piece. A slow client holds it.
pub const SMALL_BLOB_BYTES_MAX: u64 = 128 << 10;
/// Bytes of a larger blob, or of an archive, that are made at a time. A slow client holds them.
pub const BLOB_BATCH_BYTES: usize = 256 << 10;
/// Compressed bytes of a blob read at a time.
pub const BLOB_INPUT_BYTES: usize = 64 << 10;
/// An object that reads keep.
pub const CACHED_OBJECT_BYTES_MAX: usize = 128 << 10;
/// Small objects that reads keep, all repositories together.
pub const OBJECT_CACHE_BYTES: usize = 24 << 20;
/// What names stood for, all repositories together.
pub const READ_NAME_CACHE_BYTES: usize = 4 << 20;
/// How long lists are, all repositories together.
pub const READ_COUNT_CACHE_BYTES: usize = 1 << 20;
/// A tree that is listed: some 400,000 entries.
pub const TREE_BYTES_MAX: usize = 16 << 20;
/// A tree that `GET .../tree/{hash}` answers in one piece: some 100,000 entries.
pub const TREE_WHOLE_BYTES_MAX: usize = 4 << 20;
/// Trees that a walk holds: those above the entry where it is.
pub const TREE_WALK_BYTES_MAX: usize = 64 << 20;
/// Entries below a tree that is listed with all folders. Listing must count them.
pub const TREE_WALK_ENTRIES_MAX: u64 = 1_000_000;
/// Entries of trees on a page.
pub const TREE_PAGE_ITEMS_MAX: u64 = 1_000;
/// Entries of trees on a page when nothing is asked for.
pub const TREE_PAGE_ITEMS: u64 = 200;
/// A tag that is followed to what it names.
pub const PEELED_TAG_BYTES_MAX: u64 = 1 << 20;
/// Commits on a page of the log.
pub const LOG_PAGE_ITEMS_MAX: u64 = 1_000;
/// Commits on a page of the log when nothing is asked for.
pub const LOG_PAGE_ITEMS: u64 = 50;
/// Bytes of commits after which a page of the log ends.
pub const LOG_PAGE_BYTES: usize = 4 << 20;
/// Commits compared for one page of a path's log; the cursor goes on behind them.
pub const LOG_WALKED_COMMITS_MAX: u64 = 10_000;
/// A path that a cursor carries; behind a longer one, a listing counts.
pub const CURSOR_PATH_BYTES_MAX: usize = 4_096;
/// Refs on a page.
pub const REF_PAGE_ITEMS_MAX: u64 = 1_000;
/// Refs on a page when nothing is asked for.
pub const REF_PAGE_ITEMS: u64 = 100;
/// Parts of `raw/{ref}/{path}` that may belong to the ref.
pub const RAW_REF_PARTS_MAX: usize = 16;
/// Entries of the log on a page.
pub const ACTIVITY_PAGE_ITEMS_MAX: u64 = 100;
/// Entries of the log on a page when nothing is asked for.
pub const ACTIVITY_PAGE_ITEMS: u64 = 30;
/// Ref changes shown of one entry of the log; the answer says how many there are.
pub const ACTIVITY_CHANGES_MAX: u32 = 1_000;
/// Entries in one archive.
pub const ARCHIVE_ENTRIES_MAX: u64 = 5_000_000;
/// A symbolic link's target in an archive.
pub const ARCHIVE_LINK_BYTES_MAX: u64 = 64 << 10;
/// One `.gitattributes` that an archive heeds.
pub const ATTRIBUTES_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a zip's directory that are kept in memory; beyond, they go to a file without a name.
pub const ZIP_DIRECTORY_BYTES_MAX: usize = 1 << 20;

const _: () =
    assert!(SMALL_BLOB_BYTES_MAX <= ROOM_SMALL_BYTES / OBJECT_COPIES && CACHED_OBJECT_BYTES_MAX <= OBJECT_CACHE_BYTES / 4);
/// One object that is diffed or merged, or a tree or commit on the way to it.
pub const ENGINE_OBJECT_BYTES_MAX: u64 = 64 << 20;
/// Commits that one comparison or merge looks at.
pub const COMPARE_COMMITS_MAX: usize = 2_000_000;
/// Memory that a commit takes while histories are compared, in bytes.
pub const COMPARE_COMMIT_BYTES: u64 = 40;
/// Commits on a page of a comparison when nothing is asked for.
pub const COMPARE_PAGE_COMMITS: u64 = 50;
/// Files that one comparison lists.
pub const COMPARE_FILES_MAX: usize = 1_000;
/// Changed files up to which a comparison sorts them all and looks for renames.
pub const COMPARE_CHANGES_MAX: usize = 100_000;
/// A file that a comparison diffs, in bytes of either side.
pub const COMPARE_BLOB_BYTES_MAX: u64 = 4 << 20;
/// Bytes of all files that one comparison diffs, both sides.
pub const COMPARE_DIFFED_BYTES_MAX: u64 = 64 << 20;
/// The patch of one file in a comparison.
pub const COMPARE_PATCH_BYTES_MAX: usize = 512 << 10;
/// All patches of one comparison.
pub const COMPARE_PATCHES_BYTES_MAX: usize = 8 << 20;
/// Pairs of an added and a deleted file that are compared to find renames; with more, only unchanged files count.
pub const RENAME_PAIRS_MAX: u64 = 40_000;
/// Bytes of all these pairs.
pub const RENAME_PAIR_BYTES_MAX: u64 = 512 << 20;
/// A file that is compared to find renames. Those of one comparison are kept in memory.
pub const RENAME_BLOB_BYTES_MAX: u64 = 1 << 20;
/// Bytes of all files that are kept in memory to find renames.
pub const RENAME_BLOBS_BYTES_MAX: u64 = 64 << 20;
/// Bytes at the start of a file in which a zero makes it binary: git's number.
pub const BINARY_PROBE_BYTES: usize = 8_000;
/// A file that a merge merges by lines; two changes of a larger one are a conflict.
pub const MERGE_BLOB_BYTES_MAX: u64 = 16 << 20;
/// New objects that one merge makes, in bytes before compression.
pub const MERGE_MADE_BYTES_MAX: u64 = 128 << 20;
/// Merge bases that one merge makes one of, and how deep that may go on below them.
pub const MERGE_BASES_MAX: usize = 16;
/// Tries of one merge against a branch that keeps moving.
pub const MERGE_ATTEMPTS_MAX: usize = 5;
/// Conflicted paths that an answer lists.
pub const MERGE_CONFLICTS_MAX: usize = 1_000;
/// Regions that an answer shows of one conflicted file.
pub const MERGE_REGIONS_MAX: usize = 50;
/// Text of all regions in one answer.
pub const MERGE_REGION_BYTES_MAX: usize = 256 << 10;
/// Changes in one commit made through REST.
pub const COMMIT_CHANGES_MAX: usize = 10_000;
/// A path in such a commit: what file systems take.
pub const COMMIT_PATH_BYTES_MAX: usize = 4_096;
/// A commit's message.
pub const COMMIT_MESSAGE_BYTES_MAX: usize = 64 << 10;
/// An author's or committer's name or address.
pub const PERSON_BYTES_MAX: usize = 1_024;
/// The JSON of a commit, files in it included.
pub const COMMIT_JSON_BYTES_MAX: u64 = 32 << 20;
/// A multipart body: a commit's JSON and its files.
pub const COMMIT_UPLOAD_BYTES_MAX: u64 = 1 << 30;
/// The header of one part of a multipart body.
pub const PART_HEADER_BYTES_MAX: usize = 16 << 10;
/// A multipart boundary (RFC 2046, section 5.1.1).
pub const BOUNDARY_BYTES_MAX: usize = 70;
/// What a JSON body takes in memory while it is worked on, in times of its bytes: itself, what was read out of it, and the
/// objects that are made of that. A large one is whole on disk before that.
pub const COMMIT_JSON_COPIES: u64 = 4;
/// Folders that one commit reads, in bytes of their trees.
pub const COMMIT_TREE_BYTES_MAX: u64 = 128 << 20;
/// How often a REST write follows a ref that moves before it gives up.
pub const COMMIT_ATTEMPTS_MAX: u32 = 32;
/// Turns that the repositories' REST writers share.
pub const COMMIT_TURNS: usize = 256;
/// One read from a spooled file.
pub const STREAM_STEP_BYTES: usize = 64 << 10;

const _: () = assert!(COMMIT_JSON_BYTES_MAX <= COMMIT_UPLOAD_BYTES_MAX);

/// An `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// How long an answer is given again, in milliseconds: 24 hours.
pub const IDEMPOTENCY_KEPT_MS: i64 = 86_400_000;
/// An answer that is kept; of a larger one it is kept that it was given.
pub const IDEMPOTENCY_ANSWER_BYTES_MAX: usize = 256 << 10;
/// Answers kept for one API token; then the oldest goes.
pub const IDEMPOTENCY_ROWS_MAX: i64 = 100_000;
/// Old answers that are swept whenever one is kept.
pub const IDEMPOTENCY_SWEEP_ROWS: i64 = 16;

/// What a collector of traces may answer.
pub const TRACE_ANSWER_BYTES_MAX: u64 = 1 << 20;
/// How long a stopping server waits for the last traces to be sent.
pub const TRACE_STOP_MS_MAX: u64 = 5_000;
/// Repository files that `cairn maintain` keeps open.
pub const MAINTAIN_FILES_MAX: usize = 8;
/// `cairn maintain` rewrites a file of which more than one page in so many is free.
pub const COMPACT_FREE_SHARE: u64 = 10;
/// Without a push for so long, a repository is maintained as a whole, in milliseconds.
pub const MAINTAIN_QUIET_MS: u64 = 600_000;
/// Between two looks at what is to be maintained, in milliseconds; half the quiet time where that is less.
pub const MAINTAIN_LOOK_MS: u64 = 10_000;
/// Quiet repositories that one question to the catalog names.
pub const MAINTAIN_BATCH_REPOS: u32 = 64;
/// Longest rest between two steps of the server's own maintenance, in milliseconds: as long as the step took, so that
/// requests have at least half of the time.
pub const MAINTAIN_REST_MS_MAX: u64 = 2_000;
/// A larger file is not rewritten by the server of itself, since pushes to the repository wait meanwhile; in bytes.
pub const COMPACT_FILE_BYTES_MAX: u64 = 128 << 20;
/// Repositories whose rolled packs are kept for clones under way and looked at again.
pub const MAINTAIN_LATER_MAX: usize = 10_000;
}
