//! The forest of deltas: who builds upon whom.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::object::HashAlgo;
use crate::pack::table::{Stored, Table, raw};

/// No entry.
pub(crate) const NONE: u32 = u32::MAX;
/// The base of a group that lies in the repository.
const EXTERNAL: u32 = u32::MAX - 1;

/// Children of each entry, as linked lists.
pub(crate) struct Forest {
    first_child: Vec<u32>,
    next_sibling: Vec<u32>,
    pub(crate) groups: Groups,
}

/// Ref-deltas by base. Which entry is a base shows only when the base's id is known.
pub(crate) struct Groups {
    algo: HashAlgo,
    /// Raw base ids, ascending, each once.
    ids: Vec<u8>,
    first_child: Vec<u32>,
    /// The entry that turned out to be the base, `EXTERNAL`, or `NONE`.
    bases: Vec<AtomicU32>,
}

impl Forest {
    /// Turns the base numbers of ref-deltas in `table`, which count `ref_bases`, into numbers of groups.
    pub(crate) fn plant(table: &mut Table, ref_bases: &[u8]) -> Self {
        let count = table.len();
        let mut next_sibling = vec![NONE; count as usize];
        let groups = Groups::new(table, ref_bases, &mut next_sibling);
        let first_child = link(table, &mut next_sibling);
        Self { first_child, next_sibling, groups }
    }

    pub(crate) fn first_child(&self, index: u32) -> u32 {
        self.first_child[index as usize]
    }

    /// Frees what only resolving needs.
    pub(crate) fn drop_children(&mut self) {
        (self.first_child, self.next_sibling) = (Vec::new(), Vec::new());
        self.groups.first_child = Vec::new();
    }

    pub(crate) fn next_sibling(&self, index: u32) -> u32 {
        self.next_sibling[index as usize]
    }
}

/// Lists the ofs-deltas of each base. The child with most descendants comes last: whatever waits on a worker's stack
/// for its next child waits for a subtree that is at most half of its own, so few ancestors ever wait at once.
fn link(table: &Table, next_sibling: &mut [u32]) -> Vec<u32> {
    let count = table.len();
    let mut family = vec![1_u32; count as usize];
    let mut first_child = vec![NONE; count as usize];
    let ofs = |index: &u32| table.stored(*index) == Stored::Ofs;
    for index in (0..count).rev().filter(ofs) {
        family[table.base(index) as usize] += family[index as usize];
    }
    for index in (0..count).filter(ofs) {
        let heaviest = &mut first_child[table.base(index) as usize];
        if *heaviest == NONE || family[*heaviest as usize] < family[index as usize] {
            *heaviest = index;
        }
    }
    for heaviest in first_child.iter().filter(|child| **child != NONE) {
        family[*heaviest as usize] = 0;
    }
    for index in (0..count).rev().filter(ofs).filter(|index| family[*index as usize] != 0) {
        let first = &mut first_child[table.base(index) as usize];
        next_sibling[index as usize] = std::mem::replace(first, index);
    }
    first_child
}

impl Groups {
    fn new(table: &mut Table, ref_bases: &[u8], next_sibling: &mut [u32]) -> Self {
        let algo = table.algo;
        let mut order: Vec<u32> =
            (0..table.len()).filter(|index| table.stored(*index) == Stored::Ref).collect();
        let base_of = |table: &Table, index: u32| raw(ref_bases, algo, table.base(index));
        order.sort_unstable_by(|a, b| base_of(table, *a).cmp(base_of(table, *b)).then(b.cmp(a)));
        let mut groups = Self { algo, ids: vec![], first_child: vec![], bases: vec![] };
        for index in order {
            let id = base_of(table, index);
            if !groups.ids.ends_with(id) {
                groups.ids.extend_from_slice(id);
                groups.first_child.push(NONE);
                groups.bases.push(AtomicU32::new(NONE));
            }
            let first = groups.first_child.last_mut().expect("a group was pushed with the first id");
            next_sibling[index as usize] = std::mem::replace(first, index);
            let group = groups.first_child.len() as u32 - 1;
            table.set_base(index, group);
        }
        groups
    }

    pub(crate) fn len(&self) -> u32 {
        self.bases.len() as u32
    }

    pub(crate) fn raw_id(&self, group: u32) -> &[u8] {
        raw(&self.ids, self.algo, group)
    }

    pub(crate) fn first_child(&self, group: u32) -> u32 {
        self.first_child[group as usize]
    }

    /// The group whose base has this id, unless another entry is its base already.
    pub(crate) fn claim(&self, id: &[u8], index: u32) -> Option<u32> {
        let group = self.find(id)?;
        let base = &self.bases[group as usize];
        match base.compare_exchange(NONE, index, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Some(group),
            Err(current) => (current == index).then_some(group),
        }
    }

    fn find(&self, id: &[u8]) -> Option<u32> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.raw_id(middle).cmp(id) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The entry that is the base; `None` where it lies outside the pack.
    pub(crate) fn base(&self, group: u32) -> Option<u32> {
        Some(self.bases[group as usize].load(Ordering::Acquire)).filter(|base| *base < EXTERNAL)
    }

    /// Whether nobody turned out to be the base.
    pub(crate) fn is_open(&self, group: u32) -> bool {
        self.bases[group as usize].load(Ordering::Acquire) == NONE
    }

    pub(crate) fn is_external(&self, group: u32) -> bool {
        self.bases[group as usize].load(Ordering::Acquire) == EXTERNAL
    }

    pub(crate) fn set_external(&mut self, group: u32) {
        *self.bases[group as usize].get_mut() = EXTERNAL;
    }

    pub(crate) fn into_bases(self) -> Bases {
        let bases = self.bases.into_iter().map(AtomicU32::into_inner).collect();
        Bases { algo: self.algo, ids: self.ids, bases }
    }
}

/// The bases of ref-deltas once all are found.
#[derive(Debug)]
pub(crate) struct Bases {
    algo: HashAlgo,
    ids: Vec<u8>,
    bases: Vec<u32>,
}

impl Bases {
    /// The entry that is the base of a group, or the id of what lies outside the pack.
    pub(crate) fn get(&self, group: u32) -> Result<u32, &[u8]> {
        let base = self.bases[group as usize];
        if base < EXTERNAL { Ok(base) } else { Err(raw(&self.ids, self.algo, group)) }
    }
}
