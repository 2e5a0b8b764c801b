//! What can be wrong with a pack, in words that a pusher can use.

use crate::object::{Kind, ObjectId};
use crate::pack::delta::DeltaError;
use crate::source::SourceError;

/// What the other side can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The pack or an object in it breaks the format: make it anew.
    Malformed,
    /// A limit is exceeded: send less.
    TooLarge,
    /// Something that the pack leans on is not here.
    Missing,
    /// The bytes were damaged on the way: send them again.
    Corrupt,
    /// The repository could not be read: try later.
    Unavailable,
}

/// Why a pack is refused.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The pack header, an entry header or the order of things is wrong.
    #[error("malformed pack at byte {at}: {why}")]
    Malformed {
        /// Bytes from the start of the pack.
        at: u64,
        /// What was seen.
        why: &'static str,
    },
    /// The pack ends inside of something.
    #[error("pack ends early, inside of what starts at byte {at}")]
    Truncated {
        /// Bytes from the start of the pack.
        at: u64,
    },
    /// The compressed data of an entry cannot be inflated to the size that the entry declares.
    #[error("bad compressed data in the pack entry at byte {at}: {why}")]
    Inflate {
        /// Bytes from the start of the pack to the entry.
        at: u64,
        /// What was seen.
        why: &'static str,
    },
    /// A delta cannot be applied.
    #[error("bad delta in the pack entry at byte {at}: {source}")]
    Delta {
        /// Bytes from the start of the pack to the entry.
        at: u64,
        /// What was seen.
        source: DeltaError,
    },
    /// The checksum at the end is not that of the bytes before it.
    #[error("pack checksum is {found}, its bytes give {computed}")]
    Checksum {
        /// What the pack says.
        found: ObjectId,
        /// What its bytes say.
        computed: ObjectId,
    },
    /// An object or a pack is part of a SHA-1 collision attack.
    #[error("the pack bytes at {at} are part of a SHA-1 collision attack")]
    Collision {
        /// Bytes from the start of the pack.
        at: u64,
    },
    /// One object or delta is too large.
    #[error("object of {bytes} bytes, at most {max} are allowed")]
    ObjectTooLarge {
        /// Its declared size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// An object that a rule asks for would be held as a whole, and there is no memory for that: see
    /// [`Scanned::set_memory`](crate::pack::Scanned::set_memory).
    #[error("object of {bytes} bytes would be held, at most {max} may be")]
    Held {
        /// Its size.
        bytes: u64,
        /// What may be held.
        max: u64,
    },
    /// The pack has too many objects.
    #[error("pack of {count} objects, at most {max} are allowed")]
    TooManyObjects {
        /// The declared count.
        count: u32,
        /// The limit.
        max: u32,
    },
    /// The pack would inflate to too much.
    #[error("pack inflates to more than {max} bytes")]
    TooMuch {
        /// The limit.
        max: u64,
    },
    /// A chain of deltas is too long.
    #[error("delta chain of more than {max} links")]
    TooDeep {
        /// The limit.
        max: u32,
    },
    /// The base of a delta is nowhere.
    #[error("delta base {id} is neither in the pack nor in the repository")]
    MissingBase {
        /// The base.
        id: ObjectId,
    },
    /// A named object is nowhere.
    #[error("{} {id}, named by a {}, is neither in the pack nor in the repository", kind.name(), named_by.name())]
    Missing {
        /// The named object.
        id: ObjectId,
        /// What it should be.
        kind: Kind,
        /// The kind of an object that names it.
        named_by: Kind,
    },
    /// An object is named as something that it is not.
    #[error("{id} is a {}, but a {} names it as something else", found.name(), named_by.name())]
    WrongKind {
        /// The named object.
        id: ObjectId,
        /// What it is.
        found: Kind,
        /// The kind of an object that names it.
        named_by: Kind,
    },
    /// Two entries hold the same object.
    #[error("object {id} is twice in the pack")]
    Duplicate {
        /// The object.
        id: ObjectId,
    },
    /// An object's content is not what its kind promises, or breaks a rule.
    #[error("{} {id}: {why}", kind.name())]
    Object {
        /// Its kind.
        kind: Kind,
        /// The object.
        id: ObjectId,
        /// What is wrong.
        why: String,
    },
    /// The repository could not be read.
    #[error("repository could not be read")]
    Source(#[from] SourceError),
    /// The pack could not be read.
    #[error("stored pack could not be read")]
    Read(#[from] std::io::Error),
    /// A worker gave up before all objects were resolved.
    #[error("pack was not resolved to the end")]
    Unfinished,
}

impl PackError {
    /// What the other side can do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Malformed { .. } | Self::Delta { .. } | Self::Collision { .. } => Class::Malformed,
            Self::WrongKind { .. } | Self::Duplicate { .. } | Self::Object { .. } => Class::Malformed,
            Self::Truncated { .. } | Self::Inflate { .. } | Self::Checksum { .. } => Class::Corrupt,
            Self::Held { .. } | Self::ObjectTooLarge { .. } | Self::TooManyObjects { .. } => Class::TooLarge,
            Self::TooMuch { .. } | Self::TooDeep { .. } => Class::TooLarge,
            Self::MissingBase { .. } | Self::Missing { .. } => Class::Missing,
            Self::Source(_) | Self::Read(_) | Self::Unfinished => Class::Unavailable,
        }
    }

    /// Moves an error that was counted from the start of an entry to where the entry starts.
    pub(crate) fn moved_to(self, entry_at: u64) -> Self {
        match self {
            Self::Malformed { at, why } => Self::Malformed { at: at.saturating_add(entry_at), why },
            Self::Inflate { at, why } => Self::Inflate { at: at.saturating_add(entry_at), why },
            Self::Truncated { at } => Self::Truncated { at: at.saturating_add(entry_at) },
            other => other,
        }
    }
}
