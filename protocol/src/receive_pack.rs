//! The words of receive-pack: the commands of a push in, the report out (gitprotocol-pack, "Reference Update
//! Request and Packfile Transfer"). The advertisement is `upload_pack::advertise_v0`.

mod front;
mod parse;
mod report;

pub use front::Front;
pub use parse::parse_push;
pub use report::{Outcome, write_report};

use crate::object::ObjectId;
pub use crate::request::RequestError;

/// One asked-for ref update. The null id as `old` creates, as `new` deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The name as the client wrote it: a bad one is refused alone, not with the whole push.
    pub name: Vec<u8>,
    /// What the client takes the ref to be worth.
    pub old: ObjectId,
    /// What it shall be worth.
    pub new: ObjectId,
}

impl Command {
    /// Whether it deletes the ref.
    pub fn is_delete(&self) -> bool {
        self.new.is_null()
    }
}

/// The report that a client understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Report {
    /// None: the answer is empty.
    #[default]
    None,
    /// `report-status`.
    V1,
    /// `report-status-v2`.
    V2,
}

/// A push up to its pack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushRequest {
    /// The ref updates in order; none where the client only says that it will ask nothing.
    pub commands: Vec<Command>,
    /// How it wants to hear about them.
    pub report: Report,
    /// The report goes on side-band 1 of large frames.
    pub side_band: bool,
    /// All updates or none.
    pub atomic: bool,
    /// No progress.
    pub quiet: bool,
    /// The client knows that refs can be deleted.
    pub delete_refs: bool,
    /// Deltas name their base by offset.
    pub ofs_delta: bool,
    /// The push options in order, unjudged.
    pub options: Vec<Vec<u8>>,
    /// Commits whose parents the client lacks.
    pub shallow: Vec<ObjectId>,
    /// The client's `agent=`, unjudged.
    pub agent: Option<Vec<u8>>,
}

impl PushRequest {
    /// Whether a pack follows: git sends none where all commands delete.
    pub fn has_pack(&self) -> bool {
        self.commands.iter().any(|command| !command.is_delete())
    }
}

/// What the start of a stream holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// All of it.
    Done {
        /// What was read.
        value: T,
        /// Bytes that it took: the pack starts behind them.
        used: usize,
    },
    /// More bytes are needed.
    NeedMore,
}
