//! Every ceiling of the server, with its unit in its name.

/// Connections served at once; further ones wait in the kernel's backlog.
pub const CONNECTIONS_MAX: usize = 8_192;
/// Wait for a request's complete header, and for the next request on an idle connection.
pub const HEADER_READ_MS_MAX: u64 = 30_000;
/// Wait for the first bytes of a connection, which tell HTTP/1 from HTTP/2.
pub const FIRST_BYTES_MS_MAX: u64 = 15_000;
/// Bytes that tell HTTP/1 from HTTP/2: the length of HTTP/2's preface.
pub const FIRST_BYTES: usize = 24;
/// Wait for a TLS handshake.
pub const TLS_HANDSHAKE_MS_MAX: u64 = 15_000;
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
pub const HTTP2_PING_MS: u64 = 30_000;
/// Pause after a failed `accept`, which is nearly always a lack of descriptors.
pub const ACCEPT_PAUSE_MS: u64 = 50;
/// Requests whose answer's head takes longer are logged as slow, where nothing else is said.
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
/// Names that a search takes from the index of trigrams; where there are more, it reads all names of the namespace.
pub const SEARCH_CANDIDATES_MAX: i64 = 10_000;
/// A pagination cursor as a client sends it back.
pub const CURSOR_BYTES_MAX: usize = 512;

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
/// How long a dead token stays in lists before it is swept, in milliseconds: 30 days.
pub const TOKEN_KEPT_MS: i64 = 30 * 86_400_000;
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

const _: () = assert!(CATALOG_BATCH_JOBS_MAX <= CATALOG_QUEUE_JOBS_MAX);
const _: () = assert!(FIRST_BYTES_MS_MAX <= HEADER_READ_MS_MAX);
const _: () =
    assert!(TOKEN_TTL_SECONDS >= TOKEN_TTL_SECONDS_MIN && TOKEN_TTL_SECONDS <= TOKEN_TTL_SECONDS_MAX);

/// An inflated fetch request: 262,144 wants and as many haves of SHA-256 fit.
pub const FETCH_REQUEST_BYTES_MAX: usize = 48 << 20;
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
/// Large packs indexed at once; others wait on disk. Their memory adds up, their cores do not.
pub const INDEX_LARGE_MAX: usize = 1;
/// Plans of recent fetches, all repositories together.
pub const PLAN_CACHE_BYTES: usize = 32 << 20;
/// Visible sets of recent snapshots, all repositories together.
pub const VISIBLE_CACHE_BYTES: usize = 16 << 20;
/// Repository files open at once. Each takes up to four descriptors and some 100 KB.
pub const OPEN_FILES_MAX: usize = 512;

/// The file of an API token, in bytes: a token is one short line.
pub const CLI_TOKEN_FILE_BYTES_MAX: u64 = 4_096;
/// A JSON answer that a command holds, in bytes: a comparison with all its patches fits.
pub const CLI_ANSWER_BYTES_MAX: u64 = 128 << 20;
/// How long a command waits for a connection, in seconds.
pub const CLI_CONNECT_SECONDS_MAX: u64 = 20;
/// How long a command waits for the next bytes of an answer, in seconds: the server may be importing meanwhile.
pub const CLI_ANSWER_SECONDS_MAX: u64 = 600;
/// Pages that a command follows, so that a server cannot lead it on for ever.
pub const CLI_PAGES_MAX: usize = 10_000;
/// What a command reads into one JSON commit, in bytes: as base64 it fits the 32 MiB that the server takes.
pub const CLI_COMMIT_BYTES_MAX: u64 = 22 << 20;
/// A question in git's credential protocol, in bytes.
pub const CREDENTIAL_QUESTION_BYTES_MAX: u64 = 64 << 10;
/// How long a token lives that the credential helper hands to git, in seconds: git asks for a new one each time.
pub const CREDENTIAL_TTL_SECONDS: u64 = 3_600;
