//! A mounted commit: prepares it from the remote, and answers the filesystem's questions about its objects.

pub mod hydrated;
mod listed;
mod shown;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cairn_protocol::object::{HashAlgo, Kind, ObjectId, commit_links, tag_target};
use cairn_remote::FetchWish;
use serde::{Deserialize, Serialize};

use crate::attributes::view::Converted;
use crate::cache::blobs::Blobs;
use crate::cache::sizes::Sizes;
use crate::config::{History, Record, private_folder, write_whole};
use crate::gitdir::head::{HeadNow, head_of};
use crate::gitdir::index::Listing;
use crate::gitdir::kept::Kept;
use crate::gitdir::layout::{self, Head, Plan, gitdir_of};
use crate::gitdir::receive::receive;
use crate::gitdir::staging;
use crate::gitdir::store::{Store, write_loose};
use crate::hydrate::hydrator::{Hydrator, Parts, Progress};
use crate::hydrate::learnt::Learnt;
use crate::hydrate::order::order;
use crate::hydrate::scan::Tree;
use crate::hydrate::upstream::{Dial, Failure, Upstream};
use crate::ids::Ids;
use crate::limits::{BACKGROUND_MAX, SIZES_AT_MOUNT_MAX};
use crate::port::{Blob, Done, Objects};

/// Makes a fetch bring all history: git's own word for it.
const DEPTH_INFINITE: u32 = 0x7fff_ffff;
/// Diverged blobs that wait to be written for git; more are left to git, which fetches them itself.
const DIVERGED_MAX: usize = 4_096;

/// What is mounted. Kept, so that a remount shows the same without asking the remote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// The commit.
    pub commit: String,
    /// Its tree.
    pub tree: String,
    /// Its committer's time, in seconds since 1970.
    pub time: i64,
    /// The hash of the objects.
    pub algo: String,
    /// The branch that HEAD names.
    pub branch: Option<String>,
    /// Whether blobs are left out.
    pub is_partial: bool,
    /// Whether the remote tells sizes.
    pub has_sizes: bool,
}

impl Mounted {
    fn algo(&self) -> io::Result<HashAlgo> {
        HashAlgo::from_name(&self.algo).ok_or_else(|| io::Error::other("the state names an unknown hash"))
    }

    fn tree(&self) -> io::Result<ObjectId> {
        ObjectId::from_hex(self.algo()?, self.tree.as_bytes())
            .ok_or_else(|| io::Error::other("the state names a malformed tree"))
    }

    /// The time that all untouched files have.
    pub fn commit_time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(u64::try_from(self.time).unwrap_or_default())
    }
}

/// A prepared commit with all that serves it.
pub struct Repo {
    record: Record,
    mounted: Mounted,
    root: ObjectId,
    store: Arc<Store>,
    /// All trees of the commit, where a mount has listed them.
    kept: OnceLock<Kept>,
    blobs: Arc<Blobs>,
    sizes: Arc<Sizes>,
    hydrator: Hydrator,
    diverged: SyncSender<ObjectId>,
    learnt: Learnt,
    counted: hydrated::Counted,
}

/// What the remote said, and what of it is to be mounted.
struct Chosen {
    refs: Vec<(String, ObjectId)>,
    default_branch: Option<String>,
    head: Head,
    /// A commit, or a tag that leads to one.
    tip: ObjectId,
    commit: ObjectId,
}

fn failure(kind: io::ErrorKind, text: impl Into<String>) -> Failure {
    Failure { text: text.into(), is_transient: false, kind }
}

/// Picks what to mount: a branch, a tag, a full name, or the remote's HEAD.
fn choose(upstream: &mut dyn Upstream, record: &Record) -> Result<Chosen, Failure> {
    let found = upstream.refs()?;
    let text = |name: &[u8]| std::str::from_utf8(name).ok().map(str::to_owned);
    let head = found.iter().find(|r| r.name == b"HEAD");
    let default_branch = head
        .and_then(|head| head.symref_target.as_deref())
        .and_then(|target| text(target.strip_prefix(b"refs/heads/")?));
    let wanted = match (&record.reference, head) {
        (Some(name), _) => ["", "refs/heads/", "refs/tags/", "refs/"].iter().find_map(|prefix| {
            let full = format!("{prefix}{name}");
            found.iter().find(|r| r.name == full.as_bytes())
        }),
        (None, Some(head)) => Some(head),
        (None, None) => None,
    };
    let Some(wanted) = wanted.filter(|r| !r.id.is_null()) else {
        let what = record.reference.as_deref().unwrap_or("HEAD");
        let text = format!("{}: there is no ref {what}, or it has no commit yet", record.url);
        return Err(failure(io::ErrorKind::NotFound, text));
    };
    let commit = wanted.peeled.unwrap_or(wanted.id);
    if let Some(required) = record.require_commit.as_ref().filter(|id| **id != commit.to_string()) {
        let text = format!("the remote has commit {commit} there, and {required} is required");
        return Err(failure(io::ErrorKind::InvalidData, text));
    }
    let branch = match wanted.name.strip_prefix(b"refs/heads/") {
        Some(branch) => text(branch),
        None if wanted.name == b"HEAD" => default_branch.clone(),
        None => None,
    };
    let tip = wanted.id;
    let refs = found.iter().filter(|r| r.name.starts_with(b"refs/") && !r.id.is_null());
    let refs = refs.filter_map(|r| Some((text(&r.name)?, r.id))).collect();
    let head = branch.map_or(Head::Detached, Head::Branch);
    Ok(Chosen { refs, default_branch, head, tip, commit })
}

/// Fetches into the store, and notes what is complete now.
fn fetch_into(
    store: &Store,
    sizes: &Sizes,
    upstream: &mut dyn Upstream,
    tips: &[ObjectId],
    depth: Option<u32>,
    complete: &[ObjectId],
) -> Result<(), Failure> {
    let facts = store.facts()?;
    let ids = |set: &mut dyn Iterator<Item = &String>| -> Vec<ObjectId> {
        set.filter_map(|hex| ObjectId::from_hex(store.algo(), hex.as_bytes())).collect()
    };
    let is_partial = upstream.has_filter();
    let depth = depth.filter(|_| upstream.has_shallow());
    let is_full = depth.is_none_or(|depth| depth == DEPTH_INFINITE);
    let haves = match depth {
        None => ids(&mut facts.tips.iter().filter(|(_, is_full)| **is_full).map(|(id, _)| id)),
        Some(_) => Vec::new(),
    };
    let shallow = if upstream.has_shallow() { ids(&mut facts.shallow.iter()) } else { Vec::new() };
    let wish = FetchWish {
        wants: tips.to_vec(),
        haves,
        depth,
        filter: is_partial.then(|| "blob:none".to_owned()),
        // What is cut on this side matters only where the cut is to move.
        shallow: if depth == Some(DEPTH_INFINITE) { shallow } else { Vec::new() },
    };
    let folder = store.pack_folder();
    let (told, received) = receive(&folder, store.algo(), |sink| upstream.fetch(&wish, sink))?;
    if let Some(received) = received {
        let blobs = received.pack.entries().filter(|entry| entry.kind == Kind::Blob);
        sizes.add(&blobs.map(|entry| (entry.id, entry.size)).collect::<Vec<_>>())?;
        store.keep(received)?;
    }
    store.update_facts(|facts| {
        facts.has_blobs |= !is_partial;
        facts.shallow.extend(told.shallow.iter().map(ObjectId::to_string));
        for id in &told.unshallow {
            facts.shallow.remove(&id.to_string());
        }
        for id in complete {
            *facts.tips.entry(id.to_string()).or_default() |= is_full;
        }
    })?;
    Ok(())
}

/// Follows tags to a commit that is here.
fn commit_of(store: &Store, id: ObjectId) -> io::Result<(ObjectId, ObjectId, i64)> {
    let mut at = id;
    for _ in 0..16 {
        let found = store.read(&at)?;
        let (kind, data) = found.ok_or_else(|| io::Error::other(format!("the remote did not send {at}")))?;
        let wrong = |error| io::Error::new(io::ErrorKind::InvalidData, format!("{at}: {error}"));
        match kind {
            Kind::Commit => {
                let links = commit_links(at.algo(), &data).map_err(wrong)?;
                return Ok((at, links.tree, links.time));
            }
            Kind::Tag => at = tag_target(at.algo(), &data).map_err(wrong)?.0,
            _ => return Err(io::Error::other(format!("{at} is a {}, not a commit", kind.name()))),
        }
    }
    Err(io::Error::other(format!("{id}: a tag of a tag, too many times over")))
}

/// Makes a mount ready: fetches its commit and trees, makes the git dir. A mount that was ready once asks nobody.
pub fn prepare(record: &Record, dial: &Dial, program: &std::path::Path) -> Result<Mounted, Failure> {
    let state = record.state();
    private_folder(&record.cache)?;
    private_folder(&state)?;
    if let Ok(raw) = fs::read(state.join("mounted.json")) {
        let mounted: Mounted = serde_json::from_slice(&raw).map_err(io::Error::from)?;
        if let Some(required) = record.require_commit.as_ref().filter(|id| **id != mounted.commit) {
            let text = format!("commit {} is mounted there, and {required} is required", mounted.commit);
            return Err(failure(io::ErrorKind::InvalidData, text));
        }
        return Ok(mounted);
    }
    let mut upstream = dial()?;
    let chosen = choose(upstream.as_mut(), record)?;
    let store = Store::open(&record.store(), chosen.commit.algo())?;
    let facts = store.facts()?;
    let known = facts.tips.get(&chosen.commit.to_string());
    let enough = match record.history {
        History::Depth(_) => known == Some(&true),
        History::Full | History::Lazy => known.is_some(),
    };
    if !enough {
        let depth = if let History::Depth(depth) = record.history { depth } else { 1 };
        let sizes = Sizes::open(&record.store().join("sizes"), store.algo())?;
        fetch_into(&store, &sizes, upstream.as_mut(), &[chosen.tip], Some(depth), &[chosen.commit])?;
    }
    let (commit, tree, time) = commit_of(&store, chosen.tip)?;
    let facts = store.facts()?;
    let mounted = Mounted {
        commit: commit.to_string(),
        tree: tree.to_string(),
        time,
        algo: commit.algo().name().to_owned(),
        branch: if let Head::Branch(branch) = &chosen.head { Some(branch.clone()) } else { None },
        is_partial: upstream.has_filter(),
        has_sizes: upstream.has_sizes(),
    };
    let mut here = Vec::new();
    for (name, id) in &chosen.refs {
        let is_here = *id == chosen.tip || facts.tips.contains_key(&id.to_string());
        if is_here && store.read(id)?.is_some() {
            here.push((name.clone(), *id));
        }
    }
    let remote_head = chosen.default_branch.as_deref();
    let remote_head = remote_head.filter(|b| here.iter().any(|(n, _)| n == &format!("refs/heads/{b}")));
    let plan = Plan {
        gitdir: &gitdir_of(&state),
        objects: &store.objects(),
        algo: store.algo(),
        url: &record.url,
        is_partial: mounted.is_partial,
        head: &chosen.head,
        commit,
        refs: &here,
        default_branch: remote_head,
        program,
        state: &state,
    };
    layout::create(&plan, &facts)?;
    write_whole(&state.join("mounted.json"), &serde_json::to_vec(&mounted).map_err(io::Error::from)?)?;
    Ok(mounted)
}

impl Repo {
    /// Starts serving what was prepared.
    pub fn open(record: Record, mounted: Mounted, dial: Dial) -> io::Result<Arc<Self>> {
        let (algo, root) = (mounted.algo()?, mounted.tree()?);
        let store = Arc::new(Store::open(&record.store(), algo)?);
        let blobs = Arc::new(Blobs::open(&record.cache.join("blobs"), record.cache_bytes_max)?);
        let sizes = Arc::new(Sizes::open(&record.store().join("sizes"), algo)?);
        let stage = record.store().join("stage");
        private_folder(&stage)?;
        staging::sweep(&stage)?;
        let hydrator = Hydrator::start(Parts {
            dial,
            has_sizes: mounted.has_sizes,
            blobs: Arc::clone(&blobs),
            sizes: Arc::clone(&sizes),
            tree: Tree { store: Arc::clone(&store), root },
            stage,
            algo,
            background_bytes_per_second: record.background_bytes_per_second,
            background_disk_bytes_max: record.background_disk_bytes_max(),
            read_deadline: record.read_deadline(),
        })?;
        let (diverged, receiver) = sync_channel::<ObjectId>(DIVERGED_MAX);
        let (objects, cached) = (gitdir_of(&record.state()).join("objects"), Arc::clone(&blobs));
        std::thread::Builder::new().name("diverge".to_owned()).spawn(move || {
            for id in receiver {
                // git fetches what is missing here by itself.
                let _ = keep_for_git(&cached, &objects, &id);
            }
        })?;
        let learnt = Learnt::new(record.store().join("read-order"));
        Ok(Arc::new(Self {
            record,
            mounted,
            root,
            store,
            kept: OnceLock::new(),
            blobs,
            sizes,
            hydrator,
            diverged,
            learnt,
            counted: Default::default(),
        }))
    }

    /// What is mounted.
    pub fn mounted(&self) -> &Mounted {
        &self.mounted
    }

    /// The root of the mounted tree.
    pub fn root(&self) -> ObjectId {
        self.root
    }

    /// How it was asked for.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The git dir.
    pub fn gitdir(&self) -> PathBuf {
        gitdir_of(&self.record.state())
    }

    /// Where HEAD is now.
    pub fn head(&self) -> io::Result<HeadNow> {
        head_of(&self.gitdir(), self.root.algo())
    }

    /// What the hydrator did and will do.
    pub fn progress(&self) -> Progress {
        self.hydrator.progress()
    }

    /// The threads that fetch.
    pub fn hydrator(&self) -> &Hydrator {
        &self.hydrator
    }

    /// Asks for the sizes that the index is to have, where one or two requests tell them all. What is answered ends when
    /// they are known.
    pub fn ask_sizes(&self, listing: &Listing) -> Option<Receiver<io::Result<()>>> {
        let unknown = listing.blobs().map(|file| file.id).filter(|id| self.size(id).is_none());
        let ids: Vec<_> = unknown.take(SIZES_AT_MOUNT_MAX + 1).collect();
        if !self.mounted.has_sizes || ids.is_empty() || ids.len() > SIZES_AT_MOUNT_MAX {
            return None;
        }
        let (sender, receiver) = sync_channel(1);
        self.want_sizes(ids, b"", Box::new(move |outcome| _ = sender.send(outcome)));
        Some(receiver)
    }

    /// Writes the index, unless git has one already. `token` is the fsmonitor's.
    pub fn write_index(
        &self,
        listing: &Listing,
        view: &Converted,
        owner: (u32, u32),
        token: &str,
    ) -> io::Result<()> {
        if self.gitdir().join("index").exists() {
            return Ok(());
        }
        let location = self.record.dir.as_os_str().as_encoded_bytes();
        // git compares contents where a size is 0: it may hold or not.
        let size = |path: &[u8], id: &ObjectId| if view.has(path) { None } else { self.size(id) };
        let ignore = |path: &[u8], id: &ObjectId| view.ignore_name(path, id);
        layout::write_index(&self.gitdir(), &|out| {
            listing.encode(out, self.mounted.time, owner, token, location, &size, &ignore)
        })
    }

    /// Tells the background what to bring, in order. A remote without filters sent everything with the commit.
    pub fn start_background(&self, listing: &Listing) {
        if !self.mounted.is_partial {
            return;
        }
        let mut wanted = Ids::default();
        for file in listing.blobs() {
            wanted.insert(&file.id);
        }
        let mut is_here = vec![false; wanted.len()];
        // One look at the cache tells of all of them.
        let looked = self.blobs.look_at_each(&mut |id| {
            if let Some(here) = wanted.find(id).and_then(|place| is_here.get_mut(place as usize)) {
                *here = true;
            }
        });
        if let Err(error) = looked {
            // It is counted again as it is filled.
            log::warn!("the cache of contents could not be counted: {error}");
            let each = is_here.iter_mut().zip(0..);
            each.for_each(|(here, place)| *here |= wanted.get(place).is_some_and(|id| self.blobs.has(&id)));
        }
        let is_missing = |id: &ObjectId| {
            wanted.find(id).and_then(|place| is_here.get(place as usize)).is_some_and(|here| !here)
        };
        let missing = listing.blobs().filter(|file| is_missing(&file.id)).map(|file| file.place);
        let mut files: Vec<u32> = missing.take(BACKGROUND_MAX).collect();
        let ranks = self.learnt.ranks();
        let size = |place| self.size(&listing.at(place)?.id);
        order(&mut files, &|place| listing.path(place), &size, &|path| ranks.get(path).copied());
        let ids = files.into_iter().filter_map(|place| listing.at(place)).map(|file| file.id);
        self.hydrator.append_background(ids);
    }

    /// Closes files of the cache that were left open a while ago.
    pub fn close_idle(&self) {
        self.blobs.close_idle();
    }

    /// Keeps which files were read, for the next mount of the remote.
    pub fn save_learnt(&self, listing: &Listing) {
        if let Err(error) = self.learnt.save(listing) {
            log::warn!("which files were read could not be kept: {error}");
        }
    }

    /// Brings all files below `path` before the rest. Answers how many are missing.
    pub fn prefetch(&self, path: &[u8]) -> io::Result<usize> {
        let tree = Tree { store: Arc::clone(&self.store), root: self.root };
        if tree.find(path)?.is_none() {
            let text = format!("{} is not in the mounted commit", String::from_utf8_lossy(path));
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        if !self.mounted.is_partial {
            return Ok(0);
        }
        let files = tree.files(path, usize::MAX, BACKGROUND_MAX)?;
        let missing: Vec<_> = files.into_iter().map(|f| f.id).filter(|id| !self.blobs.has(id)).collect();
        let count = missing.len();
        self.hydrator.hurry_background(missing);
        Ok(count)
    }

    /// Brings all history and all branches and tags. Blocks; for a thread of its own.
    pub fn complete_history(&self, dial: &Dial) -> Result<(), Failure> {
        let mut upstream = dial()?;
        let found = upstream.refs()?;
        let name = |r: &cairn_remote::RemoteRef| std::str::from_utf8(&r.name).ok().map(str::to_owned);
        let real = found.iter().filter(|r| r.name.starts_with(b"refs/") && !r.id.is_null());
        let refs: Vec<(String, ObjectId)> = real.filter_map(|r| Some((name(r)?, r.id))).collect();
        let facts = self.store.facts()?;
        let is_full = |id: &ObjectId| facts.tips.get(&id.to_string()) == Some(&true);
        let mut wants: Vec<_> = refs.iter().map(|(_, id)| *id).filter(|id| !is_full(id)).collect();
        wants.sort_unstable();
        wants.dedup();
        if !facts.shallow.is_empty() {
            let mounted = ObjectId::from_hex(self.store.algo(), self.mounted.commit.as_bytes());
            wants.extend(mounted.filter(|id| !wants.contains(id)));
        }
        if !wants.is_empty() {
            let depth = (!facts.shallow.is_empty()).then_some(DEPTH_INFINITE);
            fetch_into(&self.store, &self.sizes, upstream.as_mut(), &wants, depth, &wants)?;
        }
        layout::write_shallow(&self.gitdir(), &self.store.facts()?)?;
        Ok(layout::add_refs(&self.gitdir(), &refs)?)
    }
}

fn keep_for_git(blobs: &Blobs, objects: &std::path::Path, id: &ObjectId) -> io::Result<()> {
    let Some(blob) = blobs.open_blob(id)? else { return Ok(()) };
    let mut content = vec![0; usize::try_from(blob.size).map_err(io::Error::other)?];
    std::os::unix::fs::FileExt::read_exact_at(&*blob.file, &mut content, 0)?;
    write_loose(objects, id, Kind::Blob, &content)
}

/// An empty blob needs no remote.
const EMPTY: &[u8] = b"";

impl Objects for Repo {
    fn algo(&self) -> HashAlgo {
        self.root.algo()
    }

    fn tree(&self, id: &ObjectId) -> io::Result<Vec<u8>> {
        self.tree_of(id)
    }

    fn size(&self, id: &ObjectId) -> Option<u64> {
        self.sizes.get(id).or_else(|| self.blobs.size(id))
    }

    fn want_sizes(&self, ids: Vec<ObjectId>, near: &[u8], done: Done<()>) {
        self.hydrator.want_sizes(ids, near, done);
    }

    fn want_contents(&self, ids: Vec<ObjectId>, near: &[u8], done: Done<()>) {
        let is_missing = |id: &ObjectId| match self.mounted.is_partial {
            true => !self.blobs.has(id),
            // They are all here, and are taken out of their packs.
            false => self.open(id).is_none(),
        };
        let missing: Vec<_> = ids.into_iter().filter(is_missing).collect();
        self.hydrator.want_contents(&missing, near, done);
    }

    fn open(&self, id: &ObjectId) -> Option<Blob> {
        self.learnt.note(id);
        if let Ok(Some(blob)) = self.blobs.open_blob(id) {
            return Some(blob);
        }
        // A remote without filters sent all blobs at once: they are in packs.
        let is_empty = self.size(id) == Some(0);
        if self.mounted.is_partial && !is_empty {
            return None;
        }
        let content = match self.store.read(id) {
            Ok(Some((Kind::Blob, content))) => content,
            _ if is_empty => EMPTY.to_vec(),
            _ => return None,
        };
        self.sizes.add(&[(*id, content.len() as u64)]).ok()?;
        self.blobs.fill(id, &content).ok()?;
        self.blobs.open_blob(id).ok().flatten()
    }

    fn want(&self, id: ObjectId, path: &[u8], done: Done<Blob>) {
        match self.open(&id) {
            Some(blob) => done(Ok(blob)),
            None => self.hydrator.want(id, path, done),
        }
    }

    fn want_for_git(&self, id: ObjectId, path: &[u8], done: Done<Blob>) {
        match self.open(&id) {
            Some(blob) => done(Ok(blob)),
            None => self.hydrator.want_for_git(id, path, done),
        }
    }

    fn diverges(&self, id: ObjectId) {
        // Best effort: a full queue is no loss.
        let _ = self.diverged.try_send(id);
    }
}
