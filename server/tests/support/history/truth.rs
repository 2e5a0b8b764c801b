//! What was acknowledged, and what may be either way.

use std::collections::BTreeMap;

use cairn_protocol::object::{Kind, ObjectId};
use cairn_server::ops::view::RepoView;
use serde_json::Value;

/// Where a ref is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tip {
    Absent,
    At(String),
    /// At a commit that was asked for and not acknowledged. `parent`: `None` where any will do.
    Commit {
        message: String,
        parent: Option<Option<String>>,
    },
}

/// A ref that is shown: its name, its commit, that commit's message and first parent.
pub type Shown = (String, String, String, Option<String>);

/// A repository.
#[derive(Clone, Debug, Default)]
pub struct Repo {
    /// Whether it may be there, whether it may be gone.
    may: (bool, bool),
    /// All that each ref may be.
    refs: BTreeMap<String, Vec<Tip>>,
}

/// Everything.
#[derive(Debug, Default)]
pub struct Truth {
    pub repos: BTreeMap<String, Repo>,
    /// The file that a commit brought: its path and content.
    pub files: BTreeMap<String, (String, String)>,
    /// Requests under an idempotency key: key, path, body, the answer's body.
    pub keyed: Vec<(String, String, String, Value)>,
}

impl Truth {
    /// The repositories that are there for sure.
    pub fn usable(&self) -> impl Iterator<Item = &String> {
        self.repos.iter().filter(|(_, repo)| repo.may == (true, false)).map(|(name, _)| name)
    }

    pub fn made(&mut self, name: &str, repo: Repo, acknowledged: Option<bool>) {
        let may = match acknowledged {
            Some(true) => (true, false),
            Some(false) => return,
            None => (true, true),
        };
        self.repos.insert(name.to_owned(), Repo { may, ..repo });
    }

    pub fn deleted(&mut self, name: &str, acknowledged: Option<bool>) {
        let repo = self.repos.get_mut(name).expect("a known one");
        match acknowledged {
            Some(true) => repo.may = (false, true),
            Some(false) => {}
            None => repo.may.1 = true,
        }
        // Their repository may be gone.
        let part = format!("/{name}/");
        self.keyed.retain(|(_, path, ..)| !path.contains(&part));
    }

    /// Takes note of whether it is there.
    pub fn seen(&mut self, name: &str, is_there: bool) -> Result<(), String> {
        let repo = self.repos.get_mut(name).expect("a known one");
        let (may_be, may_be_gone) = repo.may;
        match is_there {
            true if !may_be => Err("deleted, and there again".into()),
            false if !may_be_gone => Err("acknowledged, and gone".into()),
            _ => {
                repo.may = (is_there, !is_there);
                Ok(())
            }
        }
    }
}

impl Repo {
    /// With these refs.
    pub fn of(refs: Vec<(String, String)>) -> Self {
        let refs = refs.into_iter().map(|(name, id)| (name, vec![Tip::At(id)])).collect();
        Self { may: (true, false), refs }
    }

    /// What a ref is, where that is known.
    pub fn only(&self, name: &str) -> Option<Tip> {
        match self.refs.get(name).map(Vec::as_slice) {
            None => Some(Tip::Absent),
            Some([one]) => Some(one.clone()),
            Some(_) => None,
        }
    }

    /// The commits that refs are at for sure.
    pub fn sure_ids(&self) -> Vec<String> {
        let sure = self.refs.keys().filter_map(|name| match self.only(name) {
            Some(Tip::At(id)) => Some(id),
            _ => None,
        });
        sure.collect()
    }

    pub fn is_doubtful(&self) -> bool {
        self.refs.values().any(|tips| tips.len() > 1)
    }

    pub fn set(&mut self, name: &str, tip: Tip) {
        self.refs.insert(name.to_owned(), vec![tip]);
    }

    /// It may be there now, too.
    pub fn doubt(&mut self, name: &str, tip: Tip) {
        self.refs.entry(name.to_owned()).or_insert_with(|| vec![Tip::Absent]).push(tip);
    }

    /// Takes what is shown for the truth, where it can be.
    pub fn settle(&mut self, shown: &[Shown]) -> Result<(), String> {
        if let Some((name, ..)) = shown.iter().find(|(name, ..)| !self.refs.contains_key(name)) {
            return Err(format!("{name} is there and was never made"));
        }
        for (name, tips) in &mut self.refs {
            let now = shown.iter().find(|(shown, ..)| shown == name);
            let fits = |tip: &Tip| match (tip, now) {
                (Tip::Absent, now) => now.is_none(),
                (Tip::At(id), Some((_, now, ..))) => id == now,
                (Tip::Commit { message, parent }, Some((_, _, has, follows))) => {
                    message == has && parent.as_ref().is_none_or(|parent| parent == follows)
                }
                (_, None) => false,
            };
            if !tips.iter().any(fits) {
                return Err(format!("{name} is at {now:?}, not at {tips:?}"));
            }
            *tips = vec![now.map_or(Tip::Absent, |(_, id, ..)| Tip::At(id.clone()))];
        }
        Ok(())
    }
}

/// The bytes of a file in the root folder of a commit, read object by object.
pub fn file_of(view: &RepoView, commit: &str, path: &str) -> Option<Vec<u8>> {
    let algo = view.served.algo;
    let read = |id: ObjectId, kind| view.object(&id, kind).ok().flatten();
    let commit = read(ObjectId::from_hex(algo, commit.as_bytes())?, Kind::Commit)?;
    let tree = commit.strip_prefix(b"tree ")?.get(..2 * algo.bytes())?;
    let tree = read(ObjectId::from_hex(algo, tree)?, Kind::Tree)?;
    let entry = [b"100644 ", path.as_bytes(), b"\0"].concat();
    let at = tree.windows(entry.len()).position(|part| part == entry)? + entry.len();
    read(ObjectId::from_bytes(algo, tree.get(at..at + algo.bytes())?)?, Kind::Blob)
}
