//! How commits relate: their merge bases, and what each reaches that the other does not.

use std::collections::{BinaryHeap, HashMap};

use super::WalkError;
use crate::source::{ObjRef, ObjectSource};

/// Reached from the left commit.
const LEFT: u8 = 1;
/// Reached from the right commit.
const RIGHT: u8 = 2;
/// Reached from a merge base: of both, and no base itself.
const STALE: u8 = 4;

/// How two commits relate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Divergence {
    /// The best common ancestors: none is an ancestor of another. Newest first; empty for unrelated histories.
    pub bases: Vec<ObjRef>,
    /// What the left commits alone reach, descendants before ancestors.
    pub left: Vec<ObjRef>,
    /// What the right commit alone reaches, descendants before ancestors.
    pub right: Vec<ObjRef>,
}

/// Compares the histories of two commits; that of several left ones together is that of a merge of them. `None` where
/// more than `commits_max` commits would have to be looked at.
///
/// Commits are taken by descending generation, so that every descendant of a commit was seen before the commit itself:
/// what is known of it then is final. The walk ends where both histories have become one.
pub fn diverge(
    source: &dyn ObjectSource,
    left: &[ObjRef],
    right: ObjRef,
    commits_max: usize,
) -> Result<Option<Divergence>, WalkError> {
    let mut found = Divergence::default();
    let mut reached: HashMap<ObjRef, u8> = left.iter().map(|at| (*at, LEFT)).collect();
    *reached.entry(right).or_default() |= RIGHT;
    let mut queue = BinaryHeap::new();
    for at in reached.keys() {
        queue.push((source.commit(*at)?.generation, *at));
    }
    // How many queued commits are not stale: when none is left, the rest is common and behind a base.
    let mut open = queue.len();
    let mut bases = Vec::new();
    while open > 0 {
        let Some((_, at)) = queue.pop() else { break };
        let mut flags = reached.get(&at).copied().unwrap_or(STALE);
        if flags & STALE == 0 {
            open -= 1;
        }
        let node = source.commit(at)?;
        match flags {
            LEFT => found.left.push(at),
            RIGHT => found.right.push(at),
            flag if flag == LEFT | RIGHT => {
                bases.push((node.time, at));
                flags |= STALE;
            }
            _ => {}
        }
        for parent in node.parents {
            let before = reached.get(&parent).copied();
            let after = before.unwrap_or(0) | flags;
            reached.insert(parent, after);
            match before {
                None => {
                    queue.push((source.commit(parent)?.generation, parent));
                    open += usize::from(after & STALE == 0);
                }
                Some(before) => open -= usize::from(before & STALE == 0 && after & STALE != 0),
            }
        }
        if reached.len() > commits_max {
            return Ok(None);
        }
    }
    bases.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
    found.bases = bases.into_iter().map(|(_, at)| at).collect();
    Ok(Some(found))
}
