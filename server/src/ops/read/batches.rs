//! Answers that are made piece by piece, each when the client has taken the one before.

use bytes::Bytes;

use super::Halt;

/// One step of an answer.
#[derive(Debug)]
pub enum Step {
    /// The next bytes; never empty.
    Data(Bytes),
    /// A large object must be made: ask again with the turn for it.
    Turn,
    /// The answer is complete.
    End,
}

/// An answer under way. Owns all that it needs, so that it can wait for its client without a thread.
pub trait Batches: Send + 'static {
    /// The next step. Blocks. `has_turn`: large objects may be made.
    fn step(&mut self, has_turn: bool) -> Result<Step, Halt>;
}
