//! Why a request is refused: shared by upload-pack and receive-pack.

use crate::{
    filter::FilterError,
    limits::{COMMANDS_MAX, PUSH_HEADER_BYTES_MAX},
    pktline::PktError,
    refs::BadRefName,
    scan::shown,
};

/// What the other side can do about a refused request. The whole outward mapping hangs on this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The request is not what the protocol allows.
    Malformed,
    /// The request exceeds a limit.
    TooLarge,
    /// It names something that is not there.
    Missing,
}

/// Why a request is refused. The texts are fit for the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The pkt-lines are broken.
    #[error(transparent)]
    Pkt(#[from] PktError),
    /// The body ends before the request does.
    #[error("request ends before its flush")]
    Truncated,
    /// A flush, delim or response-end where the protocol has none.
    #[error("unexpected {what} packet")]
    Packet {
        /// Its name.
        what: &'static str,
    },
    /// A v2 capability or command that the server did not advertise.
    #[error("unknown capability '{0}'")]
    Capability(String),
    /// A v2 command that the server did not advertise.
    #[error("invalid command '{0}'")]
    Command(String),
    /// A v2 request without a command.
    #[error("no command requested")]
    NoCommand,
    /// A v2 request with two commands.
    #[error("more than one command requested")]
    TwoCommands,
    /// The client speaks another object format.
    #[error("mismatched object format: server {ours}; client {theirs}")]
    ObjectFormat {
        /// The repository's.
        ours: &'static str,
        /// The client's.
        theirs: String,
    },
    /// A line that has no place in the request.
    #[error("unexpected line: '{0}'")]
    Line(String),
    /// A line whose object id is none of the repository's format.
    #[error("expected an object id, got '{0}'")]
    Id(String),
    /// A depth, time or ref to deepen to that is none.
    #[error("invalid deepen line: '{0}'")]
    Deepen(String),
    /// Two ways of deepening that exclude each other.
    #[error("deepen and deepen-since (or deepen-not) cannot be used together")]
    DeepenTwice,
    /// A filter that the server refuses.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A v0 filter line without the capability.
    #[error("filtering capability not negotiated")]
    FilterUnasked,
    /// A `want-ref` of what can be no ref.
    #[error("unknown ref '{name}'")]
    WantRef {
        /// What was asked for.
        name: String,
        /// Why it is none.
        source: BadRefName,
    },
    /// Two `want-ref` lines for one ref.
    #[error("duplicate want-ref '{0}'")]
    WantRefTwice(String),
    /// A push line that is no command.
    #[error("expected old/new/ref, got '{0}'")]
    PushCommand(String),
    /// A signed push.
    #[error("signed pushes are not supported by this server, push with --no-signed")]
    PushCert,
    /// More ref updates than a push may have.
    #[error("more than {COMMANDS_MAX} ref updates in one push, split it")]
    TooManyCommands,
    /// More lines of some sort than allowed.
    #[error("more than {max} {what} in one request")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// What is allowed.
        max: usize,
    },
    /// A push whose commands and options are too long.
    #[error("commands of a push exceed {PUSH_HEADER_BYTES_MAX} bytes")]
    PushHeader,
}

impl RequestError {
    /// What the peer can do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::TooManyCommands | Self::TooMany { .. } | Self::PushHeader => Class::TooLarge,
            Self::Pkt(PktError::TooLong { .. }) => Class::TooLarge,
            Self::Filter(FilterError::TooDeep | FilterError::TooMany) => Class::TooLarge,
            Self::WantRef { .. } => Class::Missing,
            _ => Class::Malformed,
        }
    }

    pub(crate) fn line(line: &[u8]) -> Self {
        Self::Line(shown(line))
    }

    pub(crate) fn id(line: &[u8]) -> Self {
        Self::Id(shown(line))
    }
}
