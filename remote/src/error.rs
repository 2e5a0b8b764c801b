//! What can go wrong with a remote. No text ever holds credentials: URLs are told without user, password and query.

use std::io;

/// What a caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The remote asks for credentials, or for other ones.
    Auth,
    /// What answers is no git server.
    NotGit,
    /// There is nothing under this URL, or no such object.
    NotFound,
    /// Refused on this side: scheme, address, redirect, or how the URL is written.
    Refused,
    /// No answer, a broken one, or one that says to come back later.
    Unreachable,
    /// The remote breaks the protocol, or cannot do what was asked.
    Protocol,
    /// Something is larger than this side takes.
    Limit,
    /// The caller's own sink failed.
    Sink,
}

/// An error of a remote.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct RemoteError {
    class: Class,
    text: String,
    transient: bool,
    #[source]
    source: Option<io::Error>,
}

impl RemoteError {
    pub(crate) fn new(class: Class, text: impl Into<String>) -> Self {
        let transient = class == Class::Unreachable;
        Self { class, text: text.into(), transient, source: None }
    }

    /// Unreachable, but no better in a moment: a certificate that does not fit, a name that does not exist.
    pub(crate) fn lasting(text: impl Into<String>) -> Self {
        Self { transient: false, ..Self::new(Class::Unreachable, text) }
    }

    pub(crate) fn sink(source: io::Error) -> Self {
        let text = format!("cannot take the pack: {source}");
        Self { source: Some(source), ..Self::new(Class::Sink, text) }
    }

    /// What a caller can do about it.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Whether the same call may well succeed in a moment.
    pub fn is_transient(&self) -> bool {
        self.transient
    }

    /// The error of the caller's own sink, if that is what failed.
    pub fn sink_error(&self) -> Option<&io::Error> {
        self.source.as_ref()
    }
}
