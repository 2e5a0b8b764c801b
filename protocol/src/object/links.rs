//! Which objects an object names.

use super::parse::{ParseError, TreeIter, commit_links, tag_target};
use super::{HashAlgo, Kind};

/// Calls `each` with the raw id and the expected kind of every object that `data` names. Submodule commits are left
/// out, since they live elsewhere. Links before the place of an error have been told when it comes back.
pub fn for_each_link(
    algo: HashAlgo,
    kind: Kind,
    data: &[u8],
    each: &mut dyn FnMut(&[u8], Kind),
) -> Result<(), ParseError> {
    match kind {
        Kind::Commit => {
            let links = commit_links(algo, data)?;
            each(links.tree.as_bytes(), Kind::Tree);
            links.parents.iter().for_each(|parent| each(parent.as_bytes(), Kind::Commit));
        }
        Kind::Tree => {
            for entry in TreeIter::new(algo, data) {
                let entry = entry?;
                if let Some(kind) = entry.link_kind() {
                    each(entry.id, kind);
                }
            }
        }
        Kind::Tag => {
            let (target, kind) = tag_target(algo, data)?;
            each(target.as_bytes(), kind);
        }
        Kind::Blob => {}
    }
    Ok(())
}
