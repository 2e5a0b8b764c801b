//! Small caches of ready answers: plans and visible sets. Keyed by what the sources show, so that forks of one base
//! share them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use cairn_protocol::object::HashAlgo;
use cairn_protocol::plan::Plan;
use cairn_protocol::source::ObjRef;
use cairn_protocol::upload_pack::FetchRequest;
use cairn_protocol::walk::{DeepenTo, ObjSet, WalkRequest};
use sha2::{Digest, Sha256};

use super::fetch::Edges;
use crate::limits::{PLAN_CACHE_BYTES, VISIBLE_CACHE_BYTES};
use crate::metrics::Metrics;
use crate::store::repo::{Shown, Snapshot};

/// A cache bounded in bytes that drops what was used longest ago. Lock order: its lock is the last one taken.
struct Bounded<K, V> {
    inner: Mutex<Entries<K, V>>,
    bytes_max: usize,
    /// What it is called where its hits are counted.
    name: &'static str,
    metrics: Metrics,
}

struct Entries<K, V> {
    map: HashMap<K, (V, usize, u64)>,
    bytes: usize,
    clock: u64,
}

impl<K: Hash + Eq + Clone, V: Clone> Bounded<K, V> {
    fn new(bytes_max: usize, name: &'static str, metrics: Metrics) -> Self {
        let inner = Mutex::new(Entries { map: HashMap::new(), bytes: 0, clock: 0 });
        Self { inner, bytes_max, name, metrics }
    }

    fn get(&self, key: &K) -> Option<V> {
        let found = self.find(key);
        self.metrics.cached(self.name, found.is_some());
        found
    }

    fn find(&self, key: &K) -> Option<V> {
        let mut entries = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        entries.clock += 1;
        let now = entries.clock;
        let (value, _, used) = entries.map.get_mut(key)?;
        *used = now;
        Some(value.clone())
    }

    fn put(&self, key: K, value: V, bytes: usize) {
        if bytes > self.bytes_max / 2 {
            return;
        }
        let mut entries = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        entries.clock += 1;
        let now = entries.clock;
        entries.bytes += bytes;
        if let Some((_, old, _)) = entries.map.insert(key, (value, bytes, now)) {
            entries.bytes -= old;
        }
        while entries.bytes > self.bytes_max {
            let oldest = entries.map.iter().min_by_key(|(_, (_, _, used))| *used).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { break };
            if let Some((_, bytes, _)) = entries.map.remove(&oldest) {
                entries.bytes -= bytes;
            }
        }
    }
}

/// Names a fetch: what the sources show and what was asked, hashed.
pub type PlanKey = [u8; 32];

/// Ready plans.
pub struct Plans(Bounded<PlanKey, (Arc<Plan>, Edges)>);

impl Plans {
    /// An empty cache, whose hits are counted.
    pub fn new(metrics: Metrics) -> Self {
        Self(Bounded::new(PLAN_CACHE_BYTES, "plans", metrics))
    }

    /// A plan made before.
    pub fn get(&self, key: &PlanKey) -> Option<(Arc<Plan>, Edges)> {
        self.0.get(key)
    }

    /// Keeps a plan.
    pub fn put(&self, key: PlanKey, plan: &Arc<Plan>, edges: &Edges) {
        self.0.put(key, (Arc::clone(plan), edges.clone()), plan.memory_bytes());
    }
}

type VisibleKey = Vec<Shown>;

/// Visible sets of recent snapshots.
pub struct Visible(Bounded<VisibleKey, Arc<ObjSet>>);

impl Visible {
    /// An empty cache, whose hits are counted.
    pub fn new(metrics: Metrics) -> Self {
        Self(Bounded::new(VISIBLE_CACHE_BYTES, "visible", metrics))
    }

    /// A set walked before.
    pub fn get(&self, key: &VisibleKey) -> Option<Arc<ObjSet>> {
        self.0.get(key)
    }

    /// Keeps a set.
    pub fn put(&self, key: VisibleKey, set: &Arc<ObjSet>) {
        let bytes = set.to_bytes().len() * 2 + 256;
        self.0.put(key, Arc::clone(set), bytes);
    }
}

/// Takes in what a snapshot shows: part of every key of what was made from it.
pub fn hash_shown(hash: &mut Sha256, snapshot: &Snapshot) {
    for (index, id, seq, only) in snapshot.fingerprint() {
        hash.update(index.to_le_bytes());
        hash.update(id.as_bytes());
        hash.update(seq.to_le_bytes());
        if let Some(name) = only {
            hash.update(b"only");
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(&name);
        }
    }
}

/// The key of a fetch. Everything that changes the pack's bytes is in it.
pub fn key(algo: HashAlgo, snapshot: &Snapshot, request: &FetchRequest, walk: &WalkRequest) -> PlanKey {
    let mut hash = Sha256::new();
    let mut number = |value: u64| hash.update(value.to_le_bytes());
    number(algo.bytes() as u64);
    let flags = [request.ofs_delta, request.thin_pack, request.include_tag];
    flags.iter().for_each(|flag| number(u64::from(*flag)));
    let mut list = |refs: &[ObjRef]| {
        let mut refs = refs.to_vec();
        refs.sort_unstable();
        number(refs.len() as u64);
        refs.iter().for_each(|at| number(u64::from(at.source) << 32 | u64::from(at.ordinal)));
    };
    list(&walk.wants);
    list(&walk.haves);
    list(&walk.client_shallow);
    match &walk.deepen {
        DeepenTo::Unchanged => number(0),
        DeepenTo::Depth(depth) => number(1 << 32 | u64::from(*depth)),
        DeepenTo::Relative(more) => number(2 << 32 | u64::from(*more)),
        DeepenTo::Since { time, not } => {
            let mut not = not.clone();
            not.sort_unstable();
            number(3 << 32 | not.len() as u64);
            number(*time as u64);
            not.iter().for_each(|at| number(u64::from(at.source) << 32 | u64::from(at.ordinal)));
        }
    }
    hash.update(format!("{:?}", walk.filter));
    hash_shown(&mut hash, snapshot);
    // Plans name places in packs.
    for layout in snapshot.layout() {
        hash.update(layout.to_le_bytes());
    }
    hash.finalize().into()
}
