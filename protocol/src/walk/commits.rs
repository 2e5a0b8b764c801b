//! Walks over commits alone: they read the commit graph and inflate nothing.

use std::collections::{BinaryHeap, HashSet};

use super::{ObjSet, WalkError};
use crate::source::{ObjRef, ObjectSource};

/// A commit in a queue that yields the highest generation first.
type Queued = (u32, ObjRef);

/// All commits that `tips` reach, themselves included. Parents of `cut` commits are not followed, nor is anything in
/// `stop` or behind it.
pub fn ancestors(
    source: &dyn ObjectSource,
    tips: &[ObjRef],
    cut: &HashSet<ObjRef>,
    stop: &ObjSet,
) -> Result<ObjSet, WalkError> {
    let mut seen = ObjSet::new();
    let mut stack = Vec::new();
    let mut visit = |at: ObjRef, stack: &mut Vec<ObjRef>| {
        if !stop.contains(at) && seen.insert(at) {
            stack.push(at);
        }
    };
    for tip in tips {
        visit(*tip, &mut stack);
    }
    while let Some(at) = stack.pop() {
        if cut.contains(&at) {
            continue;
        }
        for parent in source.commit(at)?.parents {
            visit(parent, &mut stack);
        }
    }
    Ok(seen)
}

/// Whether `old` is `new` or one of its ancestors.
pub fn is_ancestor(source: &dyn ObjectSource, old: ObjRef, new: ObjRef) -> Result<bool, WalkError> {
    merge_reachable(source, &[new], &[old])
}

/// Whether each of `tips` is one of `bases` or has one of them among its ancestors. Stops at the lowest generation of
/// the bases, so that recent bases cost little whatever the length of the history.
pub fn merge_reachable(
    source: &dyn ObjectSource,
    tips: &[ObjRef],
    bases: &[ObjRef],
) -> Result<bool, WalkError> {
    let goal: HashSet<ObjRef> = bases.iter().copied().collect();
    let mut floor = u32::MAX;
    for base in bases {
        floor = floor.min(source.commit(*base)?.generation);
    }
    'tips: for tip in tips {
        let mut seen = HashSet::from([*tip]);
        let mut queue = BinaryHeap::<Queued>::from([(source.commit(*tip)?.generation, *tip)]);
        while let Some((generation, at)) = queue.pop() {
            if goal.contains(&at) {
                continue 'tips;
            }
            if generation <= floor {
                continue;
            }
            for parent in source.commit(at)?.parents {
                if seen.insert(parent) {
                    queue.push((source.commit(parent)?.generation, parent));
                }
            }
        }
        return Ok(false);
    }
    Ok(true)
}

/// What `wants` reach and `haves` do not, by generation: visits only the part of the history between them.
/// Both sides share one graph, so whatever a have reaches is had. Also answers the boundary: had parents of sent commits.
pub fn between(
    source: &dyn ObjectSource,
    wants: &[ObjRef],
    haves: &[ObjRef],
) -> Result<(Vec<ObjRef>, ObjSet), WalkError> {
    let (mut had, mut seen, mut queue) = (ObjSet::new(), ObjSet::new(), BinaryHeap::<Queued>::new());
    // How many queued commits are not had: when none is left, everything below is had or was never wanted.
    let mut open = HashSet::new();
    for at in haves {
        had.insert(*at);
    }
    for at in haves.iter().chain(wants) {
        if seen.insert(*at) {
            queue.push((source.commit(*at)?.generation, *at));
            if !had.contains(*at) {
                open.insert(*at);
            }
        }
    }
    let mut send = Vec::new();
    while let Some((_, at)) = queue.pop() {
        if open.is_empty() {
            break;
        }
        open.remove(&at);
        let is_had = had.contains(at);
        if !is_had {
            send.push(at);
        }
        for parent in source.commit(at)?.parents {
            if is_had {
                had.insert(parent);
                open.remove(&parent);
            }
            if seen.insert(parent) {
                queue.push((source.commit(parent)?.generation, parent));
                if !is_had && !had.contains(parent) {
                    open.insert(parent);
                }
            }
        }
    }
    Ok((send, had))
}
