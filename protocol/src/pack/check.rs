//! The place where rules about objects plug into the index pass.

use crate::object::{Kind, ObjectId, ParseError, for_each_link};
use crate::pack::PackError;

/// Answers an object of the pack, or `None` where the pack does not have it.
pub type ReadObject<'a> = dyn Fn(&ObjectId) -> Result<Option<Vec<u8>>, PackError> + 'a;

/// Judges objects as they are resolved, on all workers at once.
pub trait Check: Sync {
    /// Judges one commit, tree or tag, and calls `links` with the raw id and kind of every object it names.
    fn object(
        &self,
        kind: Kind,
        id: &ObjectId,
        data: &[u8],
        links: &mut dyn FnMut(&[u8], Kind),
    ) -> Result<(), PackError>;

    /// Called once when all objects are resolved. `read` answers objects of the pack, `None` for others: blobs that
    /// only their names in trees make interesting (`.gitmodules`) are judged here.
    fn finish(&self, read: &ReadObject<'_>) -> Result<(), PackError>;
}

/// Follows links, and judges nothing but what that takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinksOnly;

impl Check for LinksOnly {
    fn object(
        &self,
        kind: Kind,
        id: &ObjectId,
        data: &[u8],
        links: &mut dyn FnMut(&[u8], Kind),
    ) -> Result<(), PackError> {
        let bad = |why: ParseError| PackError::Object { kind, id: *id, why: why.to_string() };
        for_each_link(id.algo(), kind, data, links).map_err(bad)
    }

    fn finish(&self, _: &ReadObject<'_>) -> Result<(), PackError> {
        Ok(())
    }
}
