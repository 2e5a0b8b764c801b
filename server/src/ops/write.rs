//! What operations that change refs through REST share: why they fail, and turns for writers of one repository.

use std::sync::Arc;
use std::time::Duration;

use cairn_protocol::object::ObjectId;
use cairn_protocol::tree_edit::EditError;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::OpError;
use super::push::Refused;
use crate::budget::{Budget, Busy};
use crate::error::{Error, code};
use crate::limits::{COMMIT_TURNS, PUSH_COMMANDS_LARGE_MAX};
use crate::store::RepoId;

/// What a caller says a ref must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Whatever it is.
    Any,
    /// Not there.
    Absent,
    /// At this object.
    At(ObjectId),
}

impl Wanted {
    /// Whether a ref at `now` is as wanted.
    pub fn holds(self, now: Option<ObjectId>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => now.is_none(),
            Self::At(id) => now == Some(id),
        }
    }
}

/// Why a change was not made.
#[derive(Debug)]
pub enum WriteError {
    /// The request is at fault; what the caller is told.
    Refused(Error),
    /// The work failed.
    Op(OpError),
}

impl<E: Into<OpError>> From<E> for WriteError {
    fn from(error: E) -> Self {
        Self::Op(error.into())
    }
}

impl From<EditError<OpError>> for WriteError {
    fn from(error: EditError<OpError>) -> Self {
        match error {
            EditError::Read(error) => Self::Op(error),
            error => Self::Refused(Error::input("/changes", error.to_string())),
        }
    }
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Refused(error) => error,
            WriteError::Op(error) => error.into(),
        }
    }
}

/// A refusal that points at a field.
pub fn bad(pointer: impl Into<std::borrow::Cow<'static, str>>, message: impl Into<String>) -> WriteError {
    WriteError::Refused(Error::input(pointer, message))
}

/// 10304: the ref is at `now`, which the caller did not expect. The answer carries it under `meta.current`.
pub fn moved(pointer: &'static str, now: Option<ObjectId>) -> WriteError {
    let text = match now {
        Some(now) => format!("the ref is at {now}"),
        None => "the ref does not exist".to_owned(),
    };
    let now = now.map(|id| id.to_string());
    let meta = serde_json::json!({ "current": now });
    WriteError::Refused(Error::new(code::HEAD_MOVED, text).at(pointer).with_meta(meta))
}

/// What a command that was refused for another reason than the ref's value is answered with.
pub fn refused(pointer: &'static str, why: &Refused) -> WriteError {
    match why {
        Refused::Stale { now } => moved(pointer, *now),
        Refused::Conflict { .. } => {
            WriteError::Refused(Error::new(code::ALREADY_EXISTS, why.to_string()).at(pointer))
        }
        Refused::Rule(text) => bad(pointer, text.clone()),
    }
}

/// Turns for writers, so that those of one branch do not do work that all but one must do again. Repositories share
/// turns by hash. Lock order: a turn comes before everything else and is only waited for asynchronously.
#[derive(Debug)]
pub struct Turns {
    writers: Vec<Arc<Mutex<()>>>,
    /// For pushes of many commands, which are in memory from when they are read until the push is done.
    commands: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        let writers = (0..COMMIT_TURNS).map(|_| Arc::default()).collect();
        Self { writers, commands: Arc::new(Semaphore::new(PUSH_COMMANDS_LARGE_MAX)) }
    }
}

impl Turns {
    /// Waits for the turn of a repository, as long as for memory.
    pub async fn of(&self, memory: &Budget, id: RepoId) -> Result<OwnedMutexGuard<()>, Busy> {
        let sum = id.as_str().bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31) + usize::from(byte));
        let turn = self.writers.get(sum % COMMIT_TURNS).expect("there are so many");
        let wait = Duration::from_millis(memory.config().wait_ms);
        timeout(wait, Arc::clone(turn).lock_owned()).await.map_err(|_| memory.refuse())
    }

    /// Waits for the turn of a push of many commands, which is whole by then. Comes before a share of the memory budget.
    pub async fn commands(&self, memory: &Budget) -> Result<OwnedSemaphorePermit, Busy> {
        let wait = Duration::from_millis(memory.config().upload_wait_ms);
        match timeout(wait, Arc::clone(&self.commands).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(memory.refuse()),
        }
    }
}
