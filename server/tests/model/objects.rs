//! Git objects as values: what every id stands for and leads to.

use std::collections::{BTreeMap, BTreeSet};

use cairn_conformance::pack::{self, Kind};
use cairn_protocol::object::{HashAlgo, Kind as StoredKind, ObjectId};
use cairn_protocol::pack::Known;
use cairn_protocol::source::SourceError;

pub type Id = String;
/// Path (`name` or `folder/name`) to blob.
pub type Files = BTreeMap<String, Id>;

#[derive(Clone, Debug)]
pub enum Object {
    Blob(Vec<u8>),
    /// Names in git's order with mode and id.
    Tree(Vec<(String, &'static str, Id)>),
    /// `body` is unknown where the server made the commit.
    Commit {
        tree: Id,
        parents: Vec<Id>,
        body: Option<Vec<u8>>,
    },
    Tag {
        of: Id,
        body: Vec<u8>,
    },
}

#[derive(Clone, Debug, Default)]
pub struct Objects {
    all: BTreeMap<Id, Object>,
    /// What a commit shows.
    pub files: BTreeMap<Id, Files>,
}

fn raw(id: &str) -> Vec<u8> {
    (0..id.len() / 2).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).expect("hex")).collect()
}

impl Objects {
    pub fn get(&self, id: &str) -> &Object {
        &self.all[id]
    }

    pub fn blob(&mut self, bytes: Vec<u8>) -> Id {
        let id = pack::oid(Kind::Blob, &bytes);
        self.all.insert(id.clone(), Object::Blob(bytes));
        id
    }

    fn tree(&mut self, mut entries: Vec<(String, &'static str, Id)>) -> Id {
        // A folder sorts as if a slash ended its name.
        let key = |(name, mode, _): &(String, &str, Id)| match *mode {
            "40000" => format!("{name}/"),
            _ => name.clone(),
        };
        entries.sort_by_key(key);
        let id = pack::oid(Kind::Tree, &tree_bytes(&entries));
        self.all.insert(id.clone(), Object::Tree(entries));
        id
    }

    pub fn root(&mut self, files: &Files) -> Id {
        let (mut top, mut folders) = (Vec::new(), BTreeMap::<&str, Vec<_>>::new());
        for (path, id) in files {
            match path.split_once('/') {
                Some((folder, name)) => {
                    folders.entry(folder).or_default().push((name.to_owned(), "100644", id.clone()));
                }
                None => top.push((path.clone(), "100644", id.clone())),
            }
        }
        for (folder, entries) in folders {
            top.push((folder.to_owned(), "40000", self.tree(entries)));
        }
        self.tree(top)
    }

    pub fn commit(&mut self, files: &Files, parents: &[Id], message: &str) -> Id {
        let tree = self.root(files);
        let names: Vec<&str> = parents.iter().map(String::as_str).collect();
        let body = pack::commit(&tree, &names, message);
        let id = pack::oid(Kind::Commit, &body);
        self.learn(&id, files, parents, Some(body));
        id
    }

    /// A commit that the server made, of which the answer told the id.
    pub fn learn(&mut self, id: &str, files: &Files, parents: &[Id], body: Option<Vec<u8>>) {
        let tree = self.root(files);
        self.all.insert(id.to_owned(), Object::Commit { tree, parents: parents.to_vec(), body });
        self.files.insert(id.to_owned(), files.clone());
    }

    pub fn tag(&mut self, name: &str, of: &str) -> Id {
        let body = format!(
            "object {of}\ntype commit\ntag {name}\ntagger A U Thor <author@example.com> 1700000000 +0000\n\nx\n"
        );
        let id = pack::oid(Kind::Tag, body.as_bytes());
        self.all.insert(id.clone(), Object::Tag { of: of.to_owned(), body: body.into_bytes() });
        id
    }

    pub fn links(&self, id: &str) -> Vec<&Id> {
        match self.get(id) {
            Object::Blob(_) => Vec::new(),
            Object::Tree(entries) => entries.iter().map(|(_, _, id)| id).collect(),
            Object::Commit { tree, parents, .. } => parents.iter().chain([tree]).collect(),
            Object::Tag { of, .. } => vec![of],
        }
    }

    /// Everything that the ids lead to, and they.
    pub fn closure<'a>(&self, from: impl IntoIterator<Item = &'a Id>) -> BTreeSet<Id> {
        let (mut seen, mut todo) = (BTreeSet::new(), from.into_iter().cloned().collect::<Vec<_>>());
        while let Some(id) = todo.pop() {
            if seen.insert(id.clone()) {
                todo.extend(self.links(&id).into_iter().cloned());
            }
        }
        seen
    }

    /// What a clone of depth 1 holds.
    pub fn shallow<'a>(&self, from: impl IntoIterator<Item = &'a Id>) -> BTreeSet<Id> {
        let mut seen = BTreeSet::new();
        for id in from {
            let mut id = id;
            seen.insert(id.clone());
            while let Object::Tag { of, .. } = self.get(id) {
                id = of;
                seen.insert(id.clone());
            }
            if let Object::Commit { tree, .. } = self.get(id) {
                seen.extend(self.closure([tree]));
            }
        }
        seen
    }

    /// The commit behind a tag, or the commit.
    pub fn peel<'a>(&'a self, id: &'a Id) -> &'a Id {
        match self.get(id) {
            Object::Tag { of, .. } => self.peel(of),
            _ => id,
        }
    }

    pub fn is_blob(&self, id: &str) -> bool {
        matches!(self.get(id), Object::Blob(_))
    }

    /// Best common ancestors.
    pub fn bases(&self, one: &Id, two: &Id) -> Vec<Id> {
        let commits = |id: &Id| -> BTreeSet<Id> {
            let (mut seen, mut todo) = (BTreeSet::new(), vec![id.clone()]);
            while let Some(id) = todo.pop() {
                if let Object::Commit { parents, .. } = self.get(&id)
                    && seen.insert(id.clone())
                {
                    todo.extend(parents.iter().cloned());
                }
            }
            seen
        };
        let common: BTreeSet<Id> = commits(one).intersection(&commits(two)).cloned().collect();
        let below: BTreeSet<Id> =
            common.iter().flat_map(|id| commits(id).into_iter().filter(move |at| at != id)).collect();
        common.difference(&below).cloned().collect()
    }

    /// A pack of the objects; a blob in `thin` is a delta against the blob it names.
    pub fn pack(&self, ids: &BTreeSet<Id>, thin: &BTreeMap<Id, Id>) -> Vec<u8> {
        let mut pack = pack::Pack::default();
        for id in ids {
            match self.get(id) {
                Object::Blob(bytes) => match thin.get(id).map(|base| (base, self.get(base))) {
                    Some((base, Object::Blob(old))) => {
                        let delta = delta(old, bytes);
                        let entry = [raw(base), pack::zlib(&delta)].concat();
                        pack.raw_entry(7, delta.len() as u64, &entry);
                    }
                    _ => {
                        pack.add(Kind::Blob, bytes);
                    }
                },
                Object::Tree(entries) => {
                    pack.add(Kind::Tree, &tree_bytes(entries));
                }
                Object::Commit { body, .. } => {
                    pack.add(Kind::Commit, body.as_ref().expect("only own commits are pushed"));
                }
                Object::Tag { body, .. } => {
                    pack.add(Kind::Tag, body);
                }
            }
        }
        pack.bytes()
    }
}

fn tree_bytes(entries: &[(String, &'static str, Id)]) -> Vec<u8> {
    entries.iter().flat_map(|(name, mode, id)| pack::tree_entry(mode, name.as_bytes(), &raw(id))).collect()
}

/// Copies the common start and inserts the rest.
fn delta(old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for mut size in [old.len(), new.len()] {
        while size > 127 {
            out.push(u8::try_from(size & 127).expect("seven bits") | 128);
            size >>= 7;
        }
        out.push(u8::try_from(size).expect("seven bits"));
    }
    let same = old.iter().zip(new).take_while(|(a, b)| a == b).count().min(0xff_ffff);
    if same > 0 {
        let size = u32::try_from(same).expect("three bytes").to_le_bytes();
        out.push(0xf0);
        out.extend(&size[..3]);
    }
    for piece in new[same..].chunks(127) {
        out.push(u8::try_from(piece.len()).expect("seven bits"));
        out.extend(piece);
    }
    out
}

/// Everything that ever was is known: packs are read alone, without the objects that their readers have.
impl Known for Objects {
    fn find(&self, _: &ObjectId) -> Result<Option<(StoredKind, Vec<u8>)>, SourceError> {
        Ok(None)
    }

    fn kinds(&self, ids: &[ObjectId]) -> Result<Vec<Option<StoredKind>>, SourceError> {
        let kind = |id: &ObjectId| {
            self.all.get(&id.to_string()).map(|object| match object {
                Object::Blob(_) => StoredKind::Blob,
                Object::Tree(_) => StoredKind::Tree,
                Object::Commit { .. } => StoredKind::Commit,
                Object::Tag { .. } => StoredKind::Tag,
            })
        };
        Ok(ids.iter().map(kind).collect())
    }
}

pub const ALGO: HashAlgo = HashAlgo::Sha1;
