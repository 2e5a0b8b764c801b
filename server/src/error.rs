//! What can go wrong, and what the other side is told about it.

pub mod code;
pub mod git;
pub mod http;

use std::borrow::Cow;

use crate::budget::Busy;
use crate::ops::OpError;
use crate::ops::room::Wishes;
use crate::store::StoreError;
use crate::store::catalog::CatalogError;
use cairn_protocol::walk::WalkError;
use code::Code;
use serde_json::Value;

/// An answer that is not the wished one. `code` decides what the peer can do about it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The number that clients act on.
    pub code: Code,
    /// HTTP status, where it is not the code's usual one.
    pub status: Option<u16>,
    /// For people; never a token or a body.
    pub message: String,
    /// The field that is at fault, as a JSON pointer.
    pub pointer: Option<Cow<'static, str>>,
    /// Facts beside the message that clients act on, as `errors[0].meta`.
    pub meta: Option<Value>,
    /// The memory that the work would hold, in bytes, where it stopped for want of it and is to begin again with more.
    pub wished_bytes: Option<u64>,
    /// When to come back, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// For the log alone.
    pub cause: Option<String>,
}

/// Result of an operation.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with the code's usual status.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            status: None,
            message: message.into(),
            pointer: None,
            wished_bytes: None,
            retry_after_ms: None,
            cause: None,
            meta: None,
        }
    }

    /// Something in the input is wrong; `pointer` says what.
    pub fn input(pointer: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(code::INVALID_INPUT, message).at(pointer)
    }

    /// Names the field at fault.
    pub fn at(self, pointer: impl Into<Cow<'static, str>>) -> Self {
        Self { pointer: Some(pointer.into()), ..self }
    }

    /// Carries facts that clients act on.
    pub fn with_meta(self, meta: Value) -> Self {
        Self { meta: Some(meta), ..self }
    }

    /// Answers with another status than the code's usual one.
    pub fn with_status(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
    }

    /// One request too many of somebody who was let in.
    pub fn rate_limited(wait_ms: u64) -> Self {
        let error = Self::new(code::RATE_LIMITED, "Too many requests");
        Self { retry_after_ms: Some(wait_ms), ..error }
    }

    /// Our own fault; the peer hears nothing of `cause`.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..Self::new(code::INTERNAL_ERROR, "Internal error") }
    }

    /// No space is left on the disk.
    pub fn full() -> Self {
        let cause = Some("the disk is full".into());
        Self { cause, ..Self::new(code::STORAGE_FULL, crate::ops::git::DISK_FULL) }
    }

    /// No repository of that name.
    pub fn repo_missing() -> Self {
        Self::new(code::NOT_FOUND, "Repository not found")
    }
}

impl From<CatalogError> for Error {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::NamespaceExists => Self::new(code::ALREADY_EXISTS, "Namespace already exists"),
            CatalogError::NamespaceMissing => Self::new(code::NOT_FOUND, "Namespace not found"),
            CatalogError::NamespaceInUse(count) => {
                let message = format!("Namespace holds {count} repositories; delete them or pass force=true");
                Self::new(code::INVALID_INPUT, message).with_status(409)
            }
            CatalogError::RepoExists(name) => {
                Self::new(code::ALREADY_EXISTS, format!("repo already exists: {name}")).at("/name")
            }
            CatalogError::RepoMissing => Self::repo_missing(),
            CatalogError::TokenMissing => Self::new(code::NOT_FOUND, "Token not found"),
            CatalogError::Full => Self::full(),
            error @ CatalogError::ForkTooDeep { .. } => Self::new(code::QUOTA_EXCEEDED, error.to_string()),
            error => Self::internal(error),
        }
    }
}

impl From<Busy> for Error {
    fn from(busy: Busy) -> Self {
        Self { retry_after_ms: Some(busy.retry_after_ms), ..Self::new(code::NOT_READY, busy.to_string()) }
    }
}

impl From<OpError> for Error {
    fn from(error: OpError) -> Self {
        if let Some(bytes) = error.wished_bytes() {
            return Self { wished_bytes: Some(bytes), ..Self::new(code::MEMORY_LIMIT, error.to_string()) };
        }
        match error {
            OpError::Stopped(why) => Self::new(code::DEADLINE_EXCEEDED, why.to_string()),
            OpError::Busy(busy) => busy.into(),
            OpError::Walk(WalkError::TooLarge { bytes, max }) => {
                let text = format!("an object of {bytes} bytes would be made in memory, at most {max} are");
                Self::new(code::MEMORY_LIMIT, text)
            }
            OpError::Store(error @ StoreError::Dropped { seq, floor }) => {
                let meta = serde_json::json!({ "seq": seq, "floor": floor });
                Self::new(code::NO_LONGER_KEPT, error.to_string()).with_meta(meta)
            }
            OpError::Quota(text) => Self::new(code::QUOTA_EXCEEDED, text),
            OpError::Request(text) => Self::new(code::INVALID_INPUT, text),
            error if error.is_full() => Self::full(),
            OpError::TooLarge(text) => Self::new(code::MEMORY_LIMIT, text),
            OpError::Walk(error @ WalkError::TooDeep) => Self::new(code::MEMORY_LIMIT, error.to_string()),
            error if error.is_ours() => Self::internal(error),
            error => Self::new(code::INVALID_INPUT, error.for_peer()),
        }
    }
}
