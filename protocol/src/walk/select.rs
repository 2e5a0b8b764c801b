//! Selects the objects that answer a fetch: `reach(wants) - reach(haves)`, cut by depth and by filters.

use std::collections::{HashMap, HashSet, VecDeque};

use super::commits::{ancestors, between};
use super::reach::{Tips, add_commit};
use super::trees::{TreeWalk, Versions};
use super::{ObjSet, Reader, WalkError};
use crate::filter::Filter;
use crate::object::Kind;
use crate::source::{ObjRef, ObjectSource, Record};

/// git's depth for "all of it" (`--unshallow`).
pub const DEPTH_INFINITE: u32 = 0x7fff_ffff;

/// How far a fetch wants history, once names are resolved.
#[derive(Clone, Debug, Default)]
pub enum DeepenTo {
    /// No limit asked for: the client's own boundary stays.
    #[default]
    Unchanged,
    /// So many commits from the wants.
    Depth(u32),
    /// So many commits beyond the client's boundary.
    Relative(u32),
    /// Commits not older than a time, and not reached by some tips.
    Since {
        /// Seconds; `i64::MIN` for no bound.
        time: i64,
        /// `deepen-not`, as commits.
        not: Vec<ObjRef>,
    },
}

/// What a fetch asks for, as places of objects. Unknown haves and shallows are left out by the caller.
#[derive(Clone, Debug, Default)]
pub struct WalkRequest {
    /// Wanted objects of any kind.
    pub wants: Vec<ObjRef>,
    /// What both sides have; only commits matter.
    pub haves: Vec<ObjRef>,
    /// Commits whose parents the client does not have.
    pub client_shallow: Vec<ObjRef>,
    /// The new boundary.
    pub deepen: DeepenTo,
    /// What to leave out.
    pub filter: Option<Filter>,
}

/// The answer.
#[derive(Debug, Default)]
pub struct Selection {
    /// Objects to send.
    pub set: ObjSet,
    /// Objects that the client surely has: bases for thin deltas.
    pub had: ObjSet,
    /// What stood in the place of an object to send before.
    pub versions: Versions,
    /// New boundary commits.
    pub shallow: Vec<ObjRef>,
    /// Former boundary commits whose parents now come.
    pub unshallow: Vec<ObjRef>,
}

/// Answers "everything that these tips reach".
pub type FullSet<'a> = dyn FnMut(&mut Reader<'_>, &[ObjRef]) -> Result<ObjSet, WalkError> + 'a;

/// Selects. `full` answers "everything that these wants reach", from saved sets where the store has them.
pub fn select(
    reader: &mut Reader<'_>,
    request: &WalkRequest,
    full: &mut FullSet<'_>,
) -> Result<Selection, WalkError> {
    let is_plain = request.filter.is_none() && request.haves.is_empty() && request.client_shallow.is_empty();
    if is_plain && matches!(request.deepen, DeepenTo::Unchanged) {
        // A full clone: what its tags point to is in the answer, so they need not be read.
        return Ok(Selection { set: full(reader, &request.wants)?, ..Selection::default() });
    }
    let tips = Tips::peel(reader, &request.wants)?;
    let haves = Tips::peel(reader, &request.haves)?.commits;
    let mut out = Selection::default();
    let cut = boundary(reader.source, request, &tips.commits, &mut out)?;
    let depth = request.filter.as_ref().and_then(tree_depth).filter(|levels| *levels > 0);
    if haves.is_empty() && cut.is_empty() && depth.is_none() {
        out.set = full(reader, &request.wants)?;
    } else {
        let (commits, had) = commits_to_send(reader.source, request, &tips.commits, &haves, &cut, &out)?;
        let sent: HashSet<ObjRef> = commits.iter().copied().collect();
        let reader_source = reader.source;
        let mut walk = TreeWalk::new(reader, ObjSet::new());
        if request.filter.is_none() && !haves.is_empty() {
            walk.versions = Versions::collecting();
        }
        let mut best = HashMap::new();
        let newest_have = newest(reader_source, &haves)?;
        for at in commits {
            if let Some(levels) = depth {
                walk.add_leaf(at);
                let tree = walk.commit(at)?.tree;
                walk.add_shallow(tree, levels, &mut best)?;
                continue;
            }
            let cut_here = cut.contains(&at);
            let usable = |p| !cut_here && (sent.contains(&p) || had.contains(p));
            add_commit(&mut walk, at, usable, |p| had.contains(p), newest_have)?;
        }
        for tree in &tips.trees {
            match depth {
                Some(levels) => walk.add_shallow(*tree, levels, &mut best)?,
                None => walk.add(*tree, &[])?,
            }
        }
        tips.leaves.iter().for_each(|leaf| walk.add_leaf(*leaf));
        (out.set, out.had, out.versions) = (walk.set, walk.had, walk.versions);
        had.iter().for_each(|at| {
            out.had.insert(at);
        });
        out.set.subtract(&out.had);
    }
    if let Some(filter) = &request.filter {
        apply_filter(reader.source, filter, &mut out.set)?;
        // A partial clone need not have what its commits name.
        out.had = ObjSet::new();
        // What was asked for by name comes whatever its kind, and so does what a tag asked for points to.
        let named = [&request.wants, &tips.leaves, &tips.commits, &tips.trees];
        named.into_iter().flatten().for_each(|at| {
            out.set.insert(*at);
        });
    }
    Ok(out)
}

/// The tree of the newest commit that the client has.
fn newest(source: &dyn ObjectSource, haves: &[ObjRef]) -> Result<Option<ObjRef>, WalkError> {
    let mut best = None;
    for at in haves {
        let node = source.commit(*at)?;
        best = best.max(Some((node.generation, node.tree)));
    }
    Ok(best.map(|(_, tree)| tree))
}

/// The commits to send, oldest first, and the commits that the client has at the edge.
fn commits_to_send(
    source: &dyn ObjectSource,
    request: &WalkRequest,
    wants: &[ObjRef],
    haves: &[ObjRef],
    cut: &HashSet<ObjRef>,
    out: &Selection,
) -> Result<(Vec<ObjRef>, ObjSet), WalkError> {
    let (send, had) = if cut.is_empty() && request.client_shallow.is_empty() {
        between(source, wants, haves)?
    } else {
        // What the client has ends at its boundary, so both sides are walked apart.
        let theirs: HashSet<ObjRef> = request.client_shallow.iter().copied().collect();
        let had = ancestors(source, haves, &theirs, &ObjSet::new())?;
        let mut tips = wants.to_vec();
        for at in &out.unshallow {
            tips.extend(source.commit(*at)?.parents);
        }
        let mut send = ancestors(source, &tips, cut, &ObjSet::new())?;
        send.subtract(&had);
        (send.iter().collect(), had)
    };
    let mut order = Vec::with_capacity(send.len());
    for at in send {
        order.push((source.commit(at)?.generation, at));
    }
    order.sort_unstable();
    Ok((order.into_iter().map(|(_, at)| at).collect(), had))
}

/// Works out where history ends for the client after this fetch: commits whose parents it will not have. Fills in what
/// changed against its old boundary. git's rules (`get_shallow_commits`): a commit at the depth is shallow even if it
/// is a root.
fn boundary(
    source: &dyn ObjectSource,
    request: &WalkRequest,
    wants: &[ObjRef],
    out: &mut Selection,
) -> Result<HashSet<ObjRef>, WalkError> {
    let theirs: HashSet<ObjRef> = request.client_shallow.iter().copied().collect();
    let (edge, inside) = match &request.deepen {
        DeepenTo::Unchanged => return Ok(theirs),
        DeepenTo::Depth(DEPTH_INFINITE) => (Vec::new(), theirs.clone()),
        DeepenTo::Depth(depth) => by_depth(source, wants, *depth)?,
        DeepenTo::Relative(more) => {
            let reached = ancestors(source, wants, &HashSet::new(), &ObjSet::new())?;
            let tips: Vec<ObjRef> =
                request.client_shallow.iter().copied().filter(|at| reached.contains(*at)).collect();
            by_depth(source, &tips, more.saturating_add(1))?
        }
        DeepenTo::Since { time, not } => by_time(source, wants, *time, not)?,
    };
    let mut cut: HashSet<ObjRef> = edge.iter().copied().collect();
    out.shallow = edge.into_iter().filter(|at| !theirs.contains(at)).collect();
    for at in &request.client_shallow {
        if inside.contains(at) {
            out.unshallow.push(*at);
        } else {
            cut.insert(*at);
        }
    }
    Ok(cut)
}

type Edge = (Vec<ObjRef>, HashSet<ObjRef>);

fn by_depth(source: &dyn ObjectSource, tips: &[ObjRef], depth: u32) -> Result<Edge, WalkError> {
    let (mut edge, mut inside, mut seen) = (Vec::new(), HashSet::new(), HashSet::new());
    let mut queue: VecDeque<(u32, ObjRef)> = tips.iter().map(|tip| (1, *tip)).collect();
    while let Some((level, at)) = queue.pop_front() {
        if !seen.insert(at) {
            continue;
        }
        if level >= depth {
            edge.push(at);
            continue;
        }
        inside.insert(at);
        queue.extend(source.commit(at)?.parents.into_iter().map(|parent| (level + 1, parent)));
    }
    Ok((edge, inside))
}

fn by_time(source: &dyn ObjectSource, tips: &[ObjRef], time: i64, not: &[ObjRef]) -> Result<Edge, WalkError> {
    let hidden = ancestors(source, not, &HashSet::new(), &ObjSet::new())?;
    let mut inside: HashSet<ObjRef> = HashSet::new();
    let mut stack = tips.to_vec();
    while let Some(at) = stack.pop() {
        if hidden.contains(at) || inside.contains(&at) {
            continue;
        }
        let node = source.commit(at)?;
        if node.time < time {
            continue;
        }
        inside.insert(at);
        stack.extend(node.parents);
    }
    if inside.is_empty() {
        return Err(WalkError::NothingSelected);
    }
    let mut edge = Vec::new();
    for at in &inside {
        if source.commit(*at)?.parents.iter().any(|parent| !inside.contains(parent)) {
            edge.push(*at);
        }
    }
    edge.sort_unstable();
    edge.iter().for_each(|at| {
        inside.remove(at);
    });
    Ok((edge, inside))
}

/// The smallest `tree:<depth>` in a filter.
fn tree_depth(filter: &Filter) -> Option<u64> {
    match filter {
        Filter::TreeDepth(levels) => Some(*levels),
        Filter::Combine(parts) => parts.iter().filter_map(tree_depth).min(),
        _ => None,
    }
}

/// Takes out of `set` what the filter leaves out. Depths above zero were dealt with by the walk.
fn apply_filter(source: &dyn ObjectSource, filter: &Filter, set: &mut ObjSet) -> Result<(), WalkError> {
    match filter {
        Filter::Combine(parts) => parts.iter().try_for_each(|part| apply_filter(source, part, set)),
        Filter::BlobNone => subtract_kinds(source, &[Kind::Blob], set),
        Filter::TreeDepth(0) => subtract_kinds(source, &[Kind::Tree, Kind::Blob], set),
        Filter::TreeDepth(_) => Ok(()),
        Filter::ObjectType(wanted) => {
            let kinds = [Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag];
            let others: Vec<Kind> = kinds.into_iter().filter(|kind| kind != wanted).collect();
            subtract_kinds(source, &others, set)
        }
        Filter::BlobLimit(limit) => {
            let mut out = ObjSet::new();
            each_record(source, set, &mut |at, record| {
                if record.kind == Kind::Blob && record.size >= *limit {
                    out.insert(at);
                }
            })?;
            set.subtract(&out);
            Ok(())
        }
    }
}

fn subtract_kinds(source: &dyn ObjectSource, kinds: &[Kind], set: &mut ObjSet) -> Result<(), WalkError> {
    for kind in kinds {
        let all =
            (0..set.source_count()).map(|index| source.kind_set(index, *kind)).collect::<Result<_, _>>()?;
        set.subtract(&ObjSet::from_sources(all));
    }
    Ok(())
}

/// Calls `each` for all members in order. Small gaps are read over: a few records too many cost less than one more read.
pub fn each_record(
    source: &dyn ObjectSource,
    set: &ObjSet,
    each: &mut dyn FnMut(ObjRef, &Record),
) -> Result<(), WalkError> {
    const GAP_MAX: u32 = 256;
    for index in 0..set.source_count() {
        let Some(bits) = set.source(index) else { continue };
        let mut ordinals = bits.iter().peekable();
        while let Some(start) = ordinals.next() {
            let mut end = start + 1;
            while let Some(next) = ordinals.next_if(|next| *next - end <= GAP_MAX) {
                end = next + 1;
            }
            source.records(index, start..end, &mut |ordinal, record| {
                if bits.contains(ordinal) {
                    each(ObjRef { source: index, ordinal }, record);
                }
            })?;
        }
    }
    Ok(())
}
