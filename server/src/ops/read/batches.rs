//! Answers that are made piece by piece, each when the client has taken the one before.

use bytes::Bytes;

use super::Halt;
use crate::error::Error;
use crate::ops::room::Room;

/// One step of an answer.
#[derive(Debug)]
pub enum Step {
    /// The next bytes; never empty.
    Data(Bytes),
    /// The answer is complete.
    End,
}

/// An answer under way. Owns all that it needs, so that it can wait for its client without a thread.
pub trait Batches: Send + 'static {
    /// The next step. Blocks. `room`: what it may hold; where it stops with `Halt::Room`, it is asked again with more.
    fn step(&mut self, room: Room) -> Result<Step, Halt>;

    /// The last bytes of an answer that breaks off, where there is a way to say why.
    fn failure(&self, _why: &Error) -> Option<Bytes> {
        None
    }
}
