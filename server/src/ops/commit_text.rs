//! A commit as people read it.

use cairn_protocol::object::{HashAlgo, ObjectId};
use gix_object::CommitRef;

/// Who, and when by their own clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Name; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// Address, likewise.
    pub email: String,
    /// Seconds since 1970.
    pub seconds: i64,
    /// Seconds east of UTC.
    pub offset_seconds: i32,
}

/// A commit, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitText {
    /// Its id.
    pub id: ObjectId,
    /// Its root tree.
    pub tree: ObjectId,
    /// Its parents in order.
    pub parents: Vec<ObjectId>,
    /// Who wrote the change.
    pub author: Signature,
    /// Who made the commit.
    pub committer: Signature,
    /// The whole message; bytes that are not UTF-8 are replaced.
    pub message: String,
}

fn signature(raw: gix_actor::SignatureRef<'_>) -> Signature {
    let time = raw.time().unwrap_or_default();
    Signature {
        name: String::from_utf8_lossy(raw.name).into_owned(),
        email: String::from_utf8_lossy(raw.email).into_owned(),
        seconds: time.seconds,
        offset_seconds: time.offset,
    }
}

/// Parses the bytes of commit `id`; `None` where they are not a commit.
pub fn parse(algo: HashAlgo, id: ObjectId, data: &[u8]) -> Option<CommitText> {
    let kind = match algo {
        HashAlgo::Sha1 => gix_hash::Kind::Sha1,
        HashAlgo::Sha256 => gix_hash::Kind::Sha256,
    };
    let raw = CommitRef::from_bytes(data, kind).ok()?;
    let ours = |id: gix_hash::ObjectId| ObjectId::from_bytes(algo, id.as_slice());
    Some(CommitText {
        id,
        tree: ours(raw.tree())?,
        parents: raw.parents().map(ours).collect::<Option<_>>()?,
        author: signature(raw.author().ok()?),
        committer: signature(raw.committer().ok()?),
        message: String::from_utf8_lossy(raw.message).into_owned(),
    })
}
