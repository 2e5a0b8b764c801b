//! Repositories of objects that have just the size that a test needs.

use std::collections::HashSet;

use axum::body::Body;
use axum::http::Request;
use cairn_protocol::object::{HashAlgo, Kind, ObjectId, hash_object};
use cairn_protocol::pack::PackWriter;
use http_body_util::BodyExt;
use tower_service::Service;

use crate::support::{API_TOKEN, Answer, BASE, Server};
use crate::wire;

pub const REPO: &str = "/namespaces/t/repos/r";
/// Bytes of a tree's entry for a file beside its name: mode, space, NUL and id.
const ENTRY_BYTES: usize = 7 + 1 + 20;

/// A server with the repository `t/r`.
pub struct Built {
    pub server: Server,
    pub token: String,
}

/// Objects that are pushed together, each once.
pub struct Objects(PackWriter, HashSet<ObjectId>);

impl Default for Objects {
    fn default() -> Self {
        Self(PackWriter::new(HashAlgo::Sha1), HashSet::new())
    }
}

impl Objects {
    pub fn add(&mut self, kind: Kind, data: &[u8]) -> ObjectId {
        let id = hash_object(HashAlgo::Sha1, kind, data).expect("no collision");
        if self.1.insert(id) {
            self.0.add(kind, data).expect("no collision");
        }
        id
    }

    pub fn blob(&mut self, data: &[u8]) -> ObjectId {
        self.add(Kind::Blob, data)
    }

    /// A tree of these entries, which are in git's order.
    pub fn tree(&mut self, entries: &[(&str, &str, ObjectId)]) -> ObjectId {
        let entry = |(mode, name, id): &(&str, &str, ObjectId)| {
            [mode.as_bytes(), b" ", name.as_bytes(), b"\0", id.as_bytes()].concat()
        };
        let data: Vec<u8> = entries.iter().flat_map(entry).collect();
        self.add(Kind::Tree, &data)
    }

    /// A tree of these files.
    pub fn files<'a>(&mut self, files: impl IntoIterator<Item = (&'a str, ObjectId)>) -> ObjectId {
        let entries: Vec<_> = files.into_iter().map(|(name, id)| ("100644", name, id)).collect();
        self.tree(&entries)
    }

    /// A tree of just so many bytes, whose files are all `blob`, and which holds the folder `~` last if there is one.
    pub fn tree_of(&mut self, bytes: usize, blob: ObjectId, folder: Option<ObjectId>) -> ObjectId {
        const NAME_BYTES: usize = 100;
        let below = folder.map(|id| [b"40000 ~\0".as_slice(), id.as_bytes()].concat()).unwrap_or_default();
        let each = ENTRY_BYTES + NAME_BYTES;
        let (count, rest) = ((bytes - below.len()) / each, (bytes - below.len()) % each);
        let mut data = Vec::with_capacity(bytes);
        for n in 0..count {
            let more = if n + 1 == count { rest } else { 0 };
            let name = format!("{n:0NAME_BYTES$}{}", "z".repeat(more));
            data.extend_from_slice(format!("100644 {name}\0").as_bytes());
            data.extend_from_slice(blob.as_bytes());
        }
        data.extend_from_slice(&below);
        assert_eq!(data.len(), bytes, "one file at least");
        self.add(Kind::Tree, &data)
    }

    pub fn commit(&mut self, tree: ObjectId, parents: &[ObjectId], message: &str) -> ObjectId {
        self.commit_at(1_700_000_000, tree, parents, message)
    }

    pub fn commit_at(
        &mut self,
        seconds: u64,
        tree: ObjectId,
        parents: &[ObjectId],
        message: &str,
    ) -> ObjectId {
        self.add(Kind::Commit, &commit(seconds, tree, parents, message))
    }
}

/// The bytes of a commit.
pub fn commit(seconds: u64, tree: ObjectId, parents: &[ObjectId], message: &str) -> Vec<u8> {
    let parents: String = parents.iter().map(|id| format!("parent {id}\n")).collect();
    let who = format!("A <a@x> {seconds} +0000");
    format!("tree {tree}\n{parents}author {who}\ncommitter {who}\n\n{message}").into_bytes()
}

impl Built {
    pub async fn new() -> Self {
        let server = Server::new();
        let token = server.repo("t", "r").await;
        Self { server, token }
    }

    /// Pushes objects and new refs that name them.
    pub async fn push(&self, objects: Objects, refs: &[(&str, ObjectId)]) {
        let moves: Vec<_> =
            refs.iter().map(|(name, id)| ((*name).to_owned(), None, Some(id.to_string()))).collect();
        let pack = objects.0.finish().expect("no collision");
        let done = wire::push(&self.server.edge, "t", ("r", &self.token), &moves, &pack, false).await;
        assert_eq!(done, Ok(vec![true; refs.len()]));
    }

    /// Asks below the repository.
    pub async fn get(&self, path: &str) -> Answer {
        self.server.get(&format!("{REPO}/{path}")).await
    }

    /// Whether the answer is 200 and its body comes to its end.
    pub async fn is_whole(&self, path: &str) -> bool {
        let request = Request::builder().uri(format!("{BASE}{REPO}/{path}"));
        let request = request.header("authorization", format!("Bearer {API_TOKEN}"));
        let request = request.body(Body::empty()).expect("a request");
        let response = self.server.edge.clone().call(request).await.expect("edges do not fail");
        response.status() == 200 && response.into_body().collect().await.is_ok()
    }

    /// Answers whose body is no JSON, too.
    pub async fn status(&self, path: &str) -> u16 {
        self.get(path).await.status
    }
}

/// That an answer is this error, and names the limit.
#[track_caller]
pub fn refused(answer: &Answer, error: (u16, u64), limit: impl std::fmt::Display) {
    let (status, code, _) = answer.error();
    assert_eq!((status, code), error, "{}", answer.body);
    let message = answer.body["errors"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains(&limit.to_string()), "{limit} is not in: {message}");
}
