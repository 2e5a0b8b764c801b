//! The table of error codes. Codes are API: never renamed, never reused.

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// The number that clients act on.
    pub number: u32,
    /// Its name in the documents.
    pub name: &'static str,
    /// The usual HTTP status.
    pub status: u16,
    /// Whether the same request may succeed later.
    pub retry: bool,
    /// What happened.
    pub meaning: &'static str,
}

macro_rules! codes {
    ($($name:ident $number:literal $status:literal $retry:literal $meaning:literal;)+) => {
        $(#[doc = $meaning] pub const $name: Code = Code {
            number: $number, name: stringify!($name), status: $status, retry: $retry, meaning: $meaning,
        };)+
        /// All of them, in order of number.
        pub const ALL: &[Code] = &[$($name),+];
    };
}

codes! {
    AUTHENTICATION 10000 401 false "The credentials are missing or wrong.";
    INVALID_INPUT 10100 400 false "A field, parameter or body breaks a rule; source.pointer says which.";
    INVALID_REPO_NAME 10101 400 false "The repository's name breaks the rule for names.";
    INVALID_TTL 10103 400 false "The token's life is shorter or longer than allowed.";
    INVALID_URL 10104 400 false "The URL leads to nothing that speaks git.";
    REMOTE_AUTH_REQUIRED 10106 422 false "The remote asks for credentials.";
    FORBIDDEN 10107 403 false "The credentials are good, but do not open this.";
    NOT_FOUND 10200 404 false "There is no such thing.";
    ALREADY_EXISTS 10201 409 false "The name is taken.";
    NO_LONGER_KEPT 10202 410 false "What was asked for is of a moment of which something was dropped since; meta.floor is the first entry that can be read.";
    CREATE_IN_PROGRESS 10301 409 true "The repository is being made.";
    IMPORT_IN_PROGRESS 10302 409 true "The repository is being imported.";
    FORK_IN_PROGRESS 10303 409 true "The repository is being forked.";
    HEAD_MOVED 10304 409 true "The ref is no longer at the expected object.";
    IDEMPOTENCY_CONFLICT 10305 409 false "The idempotency key was used with another body.";
    MERGE_CONFLICT 10306 409 false "The two sides cannot be merged without a choice; details lists the conflicts.";
    INTERNAL_ERROR 10400 500 true "The server failed; its log says why under the request id.";
    UPSTREAM_UNAVAILABLE 10401 502 true "The remote cannot be reached.";
    MEMORY_LIMIT 10402 507 false "The work would take more memory than one request may.";
    QUOTA_EXCEEDED 10403 422 false "A named limit would be exceeded.";
    NOT_READY 10404 503 true "The server cannot take work now.";
    STORAGE_FULL 10405 507 true "The server's disk is full; nothing was stored. Reading and deleting still work.";
    DEADLINE_EXCEEDED 10408 504 true "The work took too long and was given up. meta.changed of a change says whether it was \
        made: no, yes or unknown; then look, or ask again with the same Idempotency-Key.";
    RATE_LIMITED 10429 429 true "Too many requests; Retry-After says when to come back.";
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn numbers_rise_and_so_are_unique() {
        assert!(ALL.is_sorted_by(|a, b| a.number < b.number));
    }
}
