//! What goes wrong, and when.

use std::time::Duration;

use crate::Random;

/// A kind of call to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Bytes of a file are read.
    Read,
    /// Bytes of a file are written.
    Write,
    /// A file is cut or extended.
    Truncate,
    /// A file is synced.
    Sync,
    /// A file is opened.
    Open,
    /// A lock on a file is taken.
    Lock,
    /// A name is made, moved or removed, or a folder is made.
    Name,
    /// A folder is synced.
    SyncFolder,
}

impl Call {
    /// Whether it can change what the disk holds: the moments at which a crash makes a difference.
    pub fn changes(self) -> bool {
        !matches!(self, Self::Read | Self::Open | Self::Lock)
    }
}

/// What happens then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// An input/output error. Of a failed sync the system forgets what was to be written, as Linux does: the bytes are
    /// read back as written, and never reach the disk unless they are written again.
    Error,
    /// No space is left: the call does nothing.
    Full,
    /// Half of the bytes are written, then an error.
    Short,
    /// Somebody else has it locked.
    Busy,
    /// The call takes this long.
    Slow(Duration),
    /// The process dies: this call and all later ones do nothing and fail.
    Death,
}

/// When calls are harmed.
#[derive(Clone, Debug)]
pub enum When {
    /// At the n-th, from 1.
    Nth(u64),
    /// From the n-th on.
    From(u64),
    /// Each with a chance of one in this many.
    OneIn(u64, Random),
}

/// One thing that goes wrong.
#[derive(Clone, Debug)]
pub struct Fault {
    call: Option<Call>,
    when: When,
    harm: Harm,
    seen: u64,
}

impl Fault {
    /// Harms calls of a kind; any that change something where there is none.
    pub fn new(call: Option<Call>, when: When, harm: Harm) -> Self {
        Self { call, when, harm, seen: 0 }
    }

    pub(crate) fn meet(&mut self, call: Call) -> Option<Harm> {
        if !self.call.map_or(call.changes(), |wanted| wanted == call) {
            return None;
        }
        self.seen += 1;
        let is_due = match &mut self.when {
            When::Nth(n) => self.seen == *n,
            When::From(n) => self.seen >= *n,
            When::OneIn(of, random) => random.one_in(*of),
        };
        is_due.then_some(self.harm)
    }
}
