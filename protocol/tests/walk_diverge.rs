//! Merge bases and one-sided histories on random graphs, against sets computed the long way.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

use std::collections::BTreeSet;
use std::ops::Range;

use cairn_protocol::object::{Kind, ObjectId};
use cairn_protocol::source::{CommitNode, ObjRef, ObjectSource, Record, SourceError};
use cairn_protocol::walk::diverge;
use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};

/// Commits alone: each names earlier ones as its parents.
#[derive(Debug)]
struct Graph(Vec<Vec<u32>>);

fn at(ordinal: u32) -> ObjRef {
    ObjRef { source: 0, ordinal }
}

impl Graph {
    fn generation(&self, commit: u32) -> u32 {
        1 + self.0[commit as usize].iter().map(|parent| self.generation(*parent)).max().unwrap_or(0)
    }

    fn reach(&self, tip: u32) -> BTreeSet<u32> {
        let (mut seen, mut stack) = (BTreeSet::new(), vec![tip]);
        while let Some(commit) = stack.pop() {
            if seen.insert(commit) {
                stack.extend(&self.0[commit as usize]);
            }
        }
        seen
    }

    /// Common ancestors that no other common ancestor reaches.
    fn bases(&self, left: u32, right: u32) -> BTreeSet<u32> {
        let common: BTreeSet<u32> = self.reach(left).intersection(&self.reach(right)).copied().collect();
        let is_best =
            |one: &u32| !common.iter().any(|other| other != one && self.reach(*other).contains(one));
        common.iter().copied().filter(is_best).collect()
    }
}

impl ObjectSource for Graph {
    fn limits(&self) -> Vec<u32> {
        vec![self.0.len() as u32]
    }
    fn lookup(&self, _: &ObjectId) -> Result<Option<ObjRef>, SourceError> {
        unreachable!("walks of commits look nothing up")
    }
    fn record(&self, _: ObjRef) -> Result<Record, SourceError> {
        unreachable!("walks of commits read no records")
    }
    fn records(&self, _: u16, _: Range<u32>, _: &mut dyn FnMut(u32, &Record)) -> Result<(), SourceError> {
        unreachable!("walks of commits read no records")
    }
    fn read(&self, _: ObjRef) -> Result<(Kind, Vec<u8>), SourceError> {
        unreachable!("walks of commits inflate nothing")
    }
    fn commit(&self, commit: ObjRef) -> Result<CommitNode, SourceError> {
        let parents = self.0[commit.ordinal as usize].iter().map(|parent| at(*parent)).collect();
        // Times run against the graph: nothing may depend on them but the order of the bases.
        let time = -i64::from(commit.ordinal);
        Ok(CommitNode { tree: at(0), parents, time, generation: self.generation(commit.ordinal) })
    }
    fn pack_len(&self, _: u16, _: u32) -> Result<u64, SourceError> {
        unreachable!("walks of commits read no packs")
    }
    fn pack_bytes(&self, _: u16, _: u32, _: u64, _: &mut [u8]) -> Result<(), SourceError> {
        unreachable!("walks of commits read no packs")
    }
}

/// Up to 14 commits with up to 3 parents each, the nearer the likelier.
fn graph() -> impl Strategy<Value = (Graph, u32, u32)> {
    (2_usize..14).prop_flat_map(|count| {
        let parents = proptest::collection::vec(any::<[u8; 3]>(), count);
        let tip = 0..count as u32;
        (parents, tip.clone(), tip).prop_map(|(seeds, left, right)| {
            let commit = |(index, seed): (usize, &[u8; 3])| {
                let parent = |byte: &u8| (index as u32).checked_sub(1 + u32::from(byte % 4));
                let parents: BTreeSet<u32> = seed.iter().filter_map(parent).collect();
                parents.into_iter().collect()
            };
            (Graph(seeds.iter().enumerate().map(commit).collect()), left, right)
        })
    })
}

proptest! {
    #[test]
    fn divergence_is_what_sets_say((graph, left, right) in graph()) {
        let found = diverge(&graph, &[at(left)], at(right), usize::MAX).unwrap().unwrap();
        let set = |refs: &[ObjRef]| refs.iter().map(|at| at.ordinal).collect::<BTreeSet<u32>>();
        let (of_left, of_right) = (graph.reach(left), graph.reach(right));
        prop_assert_eq!(set(&found.bases), graph.bases(left, right));
        prop_assert_eq!(found.bases.len(), set(&found.bases).len());
        prop_assert_eq!(set(&found.left), of_left.difference(&of_right).copied().collect::<BTreeSet<_>>());
        prop_assert_eq!(set(&found.right), of_right.difference(&of_left).copied().collect::<BTreeSet<_>>());
        prop_assert_eq!(found.left.len() + found.right.len(), set(&found.left).len() + set(&found.right).len());
        for side in [&found.left, &found.right] {
            for (index, commit) in side.iter().enumerate() {
                let later = set(&side[index + 1..]);
                let parents = &graph.0[commit.ordinal as usize];
                let own: BTreeSet<u32> = parents.iter().copied().filter(|p| set(side).contains(p)).collect();
                prop_assert_eq!(later.intersection(&own).count(), own.len(), "descendants come first");
            }
        }
    }
}

#[test]
fn a_walk_is_given_up_at_its_limit() {
    let line = Graph((0..10).map(|index: u32| index.checked_sub(1).into_iter().collect()).collect());
    assert!(diverge(&line, &[at(0)], at(9), 10).unwrap().is_some());
    assert_eq!(diverge(&line, &[at(0)], at(9), 9).unwrap(), None);
}
