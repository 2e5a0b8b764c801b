//! How much memory work may hold. Work begins with little; where it turns out to need more, it stops, gives back what it
//! has, and begins again with a larger share of the budget. So nobody takes a second share while holding one, and who
//! waits holds no thread.

use std::sync::Arc;

use cairn_protocol::pack::PackError;
use cairn_protocol::source::SourceError;
use cairn_protocol::walk::{Reader, WalkError};

use super::OpError;
use super::read::Halt;
use crate::app::App;
use crate::budget::{Busy, Wait};
use crate::error::Error;
use crate::limits::{OBJECT_BYTES_MAX, OBJECT_COPIES, ROOM_SMALL_BYTES};
use crate::stop::{Stop, Stopped};

/// Bytes that work may hold in memory at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    bytes: u64,
}

impl Room {
    /// What work gets without asking the budget.
    pub const SMALL: Self = Self { bytes: ROOM_SMALL_BYTES };
    /// For work outside a server: the other limits hold alone.
    pub const ALL: Self = Self { bytes: u64::MAX };

    /// For so many bytes; at least what work gets anyway.
    pub fn of(bytes: u64) -> Self {
        Self { bytes: bytes.max(ROOM_SMALL_BYTES) }
    }

    /// How much it is.
    pub fn bytes(self) -> u64 {
        self.bytes
    }

    /// The largest object that may be made: its base, its delta and itself are held at once.
    pub fn object_bytes_max(self) -> u64 {
        (self.bytes / OBJECT_COPIES).min(OBJECT_BYTES_MAX)
    }

    /// Asks for more where `bytes` do not fit.
    pub fn hold(self, bytes: u64) -> Result<(), OpError> {
        if bytes > self.bytes { Err(OpError::Room { bytes }) } else { Ok(()) }
    }

    /// A reader that makes no object that does not fit.
    pub fn limit<'a>(self, reader: Reader<'a>) -> Reader<'a> {
        reader.limited(self.object_bytes_max())
    }
}

/// An error that may be nothing but a wish for more room.
pub trait Wishes: From<Busy> + Send + 'static {
    /// The bytes that the work would hold, where that is why it stopped.
    fn wished_bytes(&self) -> Option<u64>;
    /// The work ended without a result.
    fn broken(why: String) -> Self;
    /// The request for which it was done is to end.
    fn stopped(why: Stopped) -> Self;
}

fn in_walk(error: &WalkError) -> Option<u64> {
    match error {
        WalkError::TooLarge { bytes, .. } if *bytes <= OBJECT_BYTES_MAX => Some(bytes * OBJECT_COPIES),
        WalkError::Source(error) => in_source(error),
        _ => None,
    }
}

/// The same for an error of the port through which the store is read.
pub fn in_source(SourceError(error): &SourceError) -> Option<u64> {
    error.downcast_ref().and_then(in_walk)
}

impl Wishes for OpError {
    fn wished_bytes(&self) -> Option<u64> {
        match self {
            Self::Room { bytes } => Some(*bytes),
            Self::Walk(error) => in_walk(error),
            Self::Pack(PackError::Source(error)) => in_source(error),
            Self::Pack(PackError::Held { bytes, .. }) => Some(bytes * OBJECT_COPIES),
            _ => None,
        }
    }

    fn broken(why: String) -> Self {
        Self::Spool(std::io::Error::other(why))
    }

    fn stopped(why: Stopped) -> Self {
        Self::Stopped(why)
    }
}

impl Wishes for Error {
    fn wished_bytes(&self) -> Option<u64> {
        self.wished_bytes
    }

    fn broken(why: String) -> Self {
        Self::internal(why)
    }

    fn stopped(why: Stopped) -> Self {
        OpError::Stopped(why).into()
    }
}

impl Wishes for Halt {
    fn wished_bytes(&self) -> Option<u64> {
        match self {
            Self::Room(bytes) => Some(*bytes),
            Self::Failed(_) => None,
        }
    }

    fn broken(why: String) -> Self {
        Self::Failed(Error::internal(why))
    }

    fn stopped(why: Stopped) -> Self {
        OpError::Stopped(why).into()
    }
}

/// Runs work that blocks, and holds about `bytes` of memory as far as can be told; again with more where it asks for that.
/// Once begun it goes on if the caller goes away, and keeps its share for as long.
pub async fn within<T, E, F>(app: &App, wait: Wait, bytes: u64, work: F) -> Result<T, E>
where
    T: Send + 'static,
    E: Wishes,
    F: Fn(Room) -> Result<T, E> + Send + Sync + 'static,
{
    within_unless(app, wait, bytes, std::future::pending, work).await
}

/// The same, but for a caller who is still here while it waits: it is not begun once `gone` is done.
pub async fn within_unless<T, E, F, G>(
    app: &App,
    wait: Wait,
    bytes: u64,
    gone: impl Fn() -> G,
    work: F,
) -> Result<T, E>
where
    T: Send + 'static,
    E: Wishes,
    F: Fn(Room) -> Result<T, E> + Send + Sync + 'static,
    G: Future<Output = ()>,
{
    let (work, stop) = (Arc::new(work), Stop::current());
    let mut bytes = bytes;
    loop {
        let share = match bytes <= ROOM_SMALL_BYTES {
            true => None,
            false => tokio::select! {
                share = app.memory.take(bytes, wait) => Some(share?),
                () = gone() => return Err(E::from(app.memory.refuse())),
                why = stop.heard() => return Err(E::stopped(why)),
            },
        };
        let (work, room) = (Arc::clone(&work), Room::of(bytes));
        let run = move || {
            let done = work(room);
            drop(work); // what it holds goes before the share does
            drop(share);
            done
        };
        let error = match stop.spawn(run).await {
            Ok(Ok(done)) => return Ok(done),
            // What failed since the word was said failed for that.
            Ok(Err(error)) => match stop.said() {
                Some(why) => return Err(E::stopped(why)),
                None => error,
            },
            Err(_) => return Err(E::broken("a worker panicked".into())),
        };
        // In doubling steps, so that what finds ever larger objects begins again a few times only.
        match error.wished_bytes() {
            Some(more) if more > room.bytes => bytes = more.max(room.bytes.saturating_mul(2)),
            _ => return Err(error),
        }
    }
}
