//! Everything that tips reach: the sets behind full clones and behind the question whether a want may be served.

use std::collections::HashSet;

use super::commits::ancestors;
use super::trees::{Other, TreeWalk};
use super::{ObjSet, Reader, WalkError};
use crate::object::{Kind, tag_target};
use crate::source::ObjRef;

/// Sorts tips by kind; tags are followed to what they name, and are themselves collected.
#[derive(Default)]
pub struct Tips {
    /// Commits, named or behind tags.
    pub commits: Vec<ObjRef>,
    /// Trees, named or behind tags.
    pub trees: Vec<ObjRef>,
    /// Blobs and tag objects.
    pub leaves: Vec<ObjRef>,
}

impl Tips {
    /// Follows each tip through any chain of tags.
    pub fn peel(reader: &mut Reader<'_>, tips: &[ObjRef]) -> Result<Self, WalkError> {
        let mut out = Self::default();
        let mut seen = HashSet::new();
        for tip in tips {
            let mut at = *tip;
            while seen.insert(at) {
                match reader.source.record(at)?.kind {
                    Kind::Commit => out.commits.push(at),
                    Kind::Tree => out.trees.push(at),
                    Kind::Blob => out.leaves.push(at),
                    Kind::Tag => {
                        out.leaves.push(at);
                        let (_, data) = reader.read(at)?;
                        let (target, _) =
                            tag_target(reader.algo(), &data).map_err(|e| WalkError::Corrupt {
                                id: reader.source.record(at).map(|r| r.id).expect("read a moment ago"),
                                why: e.to_string(),
                            })?;
                        at = reader.source.lookup(&target)?.ok_or(WalkError::Missing(target))?;
                    }
                }
            }
        }
        Ok(out)
    }
}

/// All objects that `tips` reach. `known` is a set that is closed (whatever a member names is a member) and wholly
/// reachable from the tips: the walk stops at its edge, and it is part of the answer.
pub fn reach(reader: &mut Reader<'_>, tips: &[ObjRef], known: ObjSet) -> Result<ObjSet, WalkError> {
    let peeled = Tips::peel(reader, tips)?;
    let commits = ancestors(reader.source, &peeled.commits, &HashSet::new(), &known)?;
    let mut order = Vec::with_capacity(commits.len() as usize);
    for at in commits.iter() {
        order.push((reader.source.commit(at)?.generation, at));
    }
    // Oldest first: a tree's unchanged parts are then in the set already.
    order.sort_unstable();
    let mut walk = TreeWalk::new(reader, known);
    for (_, at) in order {
        add_commit(&mut walk, at, |_| true, |_| false, None)?;
    }
    for tree in peeled.trees {
        walk.add(tree, &[])?;
    }
    peeled.leaves.into_iter().for_each(|leaf| walk.add_leaf(leaf));
    Ok(walk.set)
}

/// Adds a commit and what its tree has beyond the trees of those parents that `usable` admits;
/// where none is, beyond `otherwise`, a tree that the client has.
pub fn add_commit(
    walk: &mut TreeWalk<'_, '_>,
    at: ObjRef,
    usable: impl Fn(ObjRef) -> bool,
    had: impl Fn(ObjRef) -> bool,
    otherwise: Option<ObjRef>,
) -> Result<(), WalkError> {
    let node = walk.commit(at)?;
    let mut others = Vec::new();
    for parent in node.parents {
        if usable(parent) {
            others.push(Other { tree: walk.commit(parent)?.tree, had: had(parent) });
        }
    }
    if others.is_empty() {
        others.extend(otherwise.map(|tree| Other { tree, had: true }));
    }
    walk.add_leaf(at);
    walk.add(node.tree, &others)
}
