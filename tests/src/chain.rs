//! A branch that grows by one hand-made commit after another, each with a blob of its own.

use crate::server::Random;
use cairn_conformance::host::Remote;
use cairn_conformance::pack::{self, Kind, Pack, ZERO};
use cairn_conformance::wire::{self, Command};

/// One commit ready to be pushed.
pub struct Step {
    /// The branch before, in hex.
    pub old: String,
    /// The branch after, in hex.
    pub new: String,
    /// A pack with the commit, its tree and its blob.
    pub pack: Vec<u8>,
}

/// Makes the steps.
pub struct Chain {
    name: String,
    tip: String,
    random: Random,
    blob_bytes: usize,
}

impl Chain {
    /// Steps of a branch that does not exist yet.
    pub fn new(name: &str, seed: u64, blob_bytes: usize) -> Self {
        Self { name: name.to_owned(), tip: ZERO.to_owned(), random: Random::new(seed), blob_bytes }
    }

    /// The branch's full name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the branch stands as far as is known.
    pub fn tip(&self) -> &str {
        &self.tip
    }

    /// Says where the branch stands.
    pub fn stands_at(&mut self, tip: &str) {
        self.tip = tip.to_owned();
    }

    /// The next commit.
    pub fn next_step(&mut self) -> Step {
        let body = self.random.bytes(self.blob_bytes);
        let mut pack = Pack::default();
        pack.add(Kind::Blob, &body);
        let tree =
            pack.add(Kind::Tree, &pack::tree_entry("100644", b"file", &pack::raw_oid(Kind::Blob, &body)));
        let parents: &[&str] = if self.tip == ZERO { &[] } else { &[&self.tip] };
        let new = pack.add(Kind::Commit, &pack::commit(&tree, parents, &self.name));
        Step { old: self.tip.clone(), new, pack: pack.bytes() }
    }

    /// Pushes a step; true when the server acknowledged it.
    pub fn push(&mut self, remote: &Remote, step: &Step) -> bool {
        let command = Command { old: &step.old, new: &step.new, name: self.name.as_bytes() };
        let report = wire::push(remote, &[command], &step.pack);
        let taken = report.is_ok_and(|report| report.refs == [format!("ok {}", self.name)]);
        if taken {
            self.tip.clone_from(&step.new);
        }
        taken
    }
}
