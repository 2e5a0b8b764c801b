//! Fetch: from a parsed request to an answer, of which a pack is made batch by batch.
//!
//! Everything here blocks on SQLite and belongs on a blocking thread. Between batches no transaction and no thread is
//! held: [`PackAnswer`] is a value that waits until the client has taken the last batch.

use std::collections::HashSet;
use std::sync::Arc;

use cairn_protocol::object::{Kind, ObjectId};
use cairn_protocol::pack::PackBytes;
use cairn_protocol::pktline;
use cairn_protocol::plan::{Plan, PlanOptions, build};
use cairn_protocol::refs::RefName;
use cairn_protocol::source::{ObjRef, ObjectSource};
use cairn_protocol::upload_pack::{
    self, AdvertisedRef, FetchRequest, LsRefs, MultiAck, ObjectInfo, Service, SideBand, V2Request,
};
use cairn_protocol::walk::{self, DEPTH_INFINITE, DeepenTo, Reader, Selection, WalkError, WalkRequest};

use super::pack_answer::PackAnswer;
use super::room::Room;
use super::shallow::{cut_of, tell_cut};
use super::spool::Spool;
use super::visible::{full_set, visible_set};
use super::{OpError, Served};
use crate::limits::{FETCH_REQUEST_COPIES, PLAN_OBJECT_BYTES, REF_ROW_BYTES, ROOM_SMALL_BYTES};
use crate::store::repo::Snapshot;

/// What a request gets.
pub enum Answer {
    /// All of it, ready.
    Whole(Vec<u8>),
    /// A head, then a pack.
    Pack(Box<PackAnswer>),
}

/// Memory that reading a request takes, in bytes; 0 for a small one.
pub fn request_bytes(body: &Spool) -> u64 {
    if body.is_on_disk(0) {
        body.len().saturating_mul(FETCH_REQUEST_COPIES).max(ROOM_SMALL_BYTES + 1)
    } else {
        0
    }
}

/// The bytes of a request.
pub fn request(body: &Spool, room: Room) -> Result<Vec<u8>, OpError> {
    room.hold(request_bytes(body))?;
    Ok(body.front(body.len())?)
}

/// The advertisement of `info/refs`.
pub fn advertise(served: &Served, service: Service, version: u8) -> Result<Vec<u8>, OpError> {
    let mut out = Vec::new();
    if version == 2 && service == Service::UploadPack {
        upload_pack::advertise_v2(&mut out, served.algo);
        return Ok(out);
    }
    upload_pack::write_service_header(&mut out, service);
    let snapshot = served.snapshot()?;
    let head = served.head();
    let mut rows = Vec::new();
    if service == Service::UploadPack
        && let Some(row) = snapshot.reference(head.as_bytes())?
    {
        rows.push((b"HEAD".to_vec(), row.id, row.peeled));
    }
    let mut bytes = 0;
    snapshot.refs(b"", &mut |row| {
        bytes += row.name.len() as u64 * 2 + REF_ROW_BYTES;
        rows.push((row.name, row.id, row.peeled.filter(|_| service == Service::UploadPack)));
        bytes <= served.room.bytes()
    })?;
    served.room.hold(bytes)?;
    let refs: Vec<AdvertisedRef<'_>> =
        rows.iter().map(|(name, id, peeled)| AdvertisedRef { name, id: *id, peeled: *peeled }).collect();
    let symref = (service == Service::UploadPack).then_some(&head);
    let cut: Vec<ObjectId> = cut_of(&snapshot)?.into_iter().map(|(_, id)| id).collect();
    upload_pack::advertise_v0(&mut out, service, version == 1, &refs, symref, &cut, served.algo);
    Ok(out)
}

/// Answers the body of a v2 request.
pub fn serve_v2(served: &Served, body: &[u8]) -> Result<Answer, OpError> {
    let mut out = Vec::new();
    match upload_pack::parse_v2(body, served.algo)? {
        None => {}
        Some(V2Request::LsRefs(request)) => ls_refs(served, request, &mut out)?,
        Some(V2Request::ObjectInfo(request)) => object_info(served, &request, &mut out)?,
        Some(V2Request::Fetch(request)) => return fetch_v2(served, &request),
    }
    Ok(Answer::Whole(out))
}

fn ls_refs(served: &Served, request: LsRefs, out: &mut Vec<u8>) -> Result<(), OpError> {
    let snapshot = served.snapshot()?;
    let mut prefixes = request.ref_prefixes;
    prefixes.sort();
    // A prefix behind one of its own prefixes adds nothing; the rest are disjoint and in order.
    prefixes.dedup_by(|later, kept| later.starts_with(kept));
    if prefixes.is_empty() {
        prefixes.push(Vec::new());
    }
    let head = served.head();
    if prefixes.iter().any(|prefix| b"HEAD".starts_with(prefix)) {
        let row = snapshot.reference(head.as_bytes())?;
        let symref = request.symrefs.then_some(head.as_bytes());
        match row {
            Some(row) => {
                let peeled = row.peeled.filter(|_| request.peel);
                upload_pack::write_ls_refs_line(out, "HEAD", Some(&row.id), symref, peeled.as_ref());
            }
            None if request.unborn => upload_pack::write_ls_refs_line(out, "HEAD", None, symref, None),
            None => {}
        }
    }
    for prefix in prefixes {
        snapshot.refs(&prefix, &mut |row| {
            let peeled = row.peeled.filter(|_| request.peel);
            upload_pack::write_ls_refs_line(out, &row.name, Some(&row.id), None, peeled.as_ref());
            out.len() as u64 * 2 <= served.room.bytes()
        })?;
        // The buffer may be twice as large as what is in it.
        served.room.hold(out.len() as u64 * 2)?;
    }
    pktline::write_flush(out);
    Ok(())
}

fn object_info(served: &Served, request: &ObjectInfo, out: &mut Vec<u8>) -> Result<(), OpError> {
    let snapshot = served.snapshot()?;
    let visible = visible_set(served, &snapshot)?;
    let mut sizes = Vec::with_capacity(request.ids.len());
    for id in &request.ids {
        let at = snapshot.lookup(id)?.filter(|at| visible.contains(*at));
        sizes.push((*id, at.map(|at| snapshot.record(at)).transpose()?.map(|record| record.size)));
    }
    if request.size {
        upload_pack::write_object_info(out, &sizes);
    } else {
        pktline::write_flush(out);
    }
    Ok(())
}

/// A fetch with its names resolved.
struct Resolved {
    walk: WalkRequest,
    wanted_refs: Vec<(ObjectId, RefName)>,
    /// Haves that this repository shows too.
    common: Vec<ObjectId>,
}

fn resolve(served: &Served, snapshot: &Snapshot, request: &FetchRequest) -> Result<Resolved, OpError> {
    let mut wanted_refs = Vec::new();
    let mut wants = request.wants.clone();
    for name in &request.want_refs {
        let id = if name.as_bytes() == b"HEAD" {
            snapshot.reference(served.head().as_bytes())?
        } else {
            snapshot.reference(name.as_bytes())?
        };
        let id = id.ok_or_else(|| OpError::UnknownRef(name.clone()))?.id;
        wanted_refs.push((id, name.clone()));
        wants.push(id);
    }
    let visible = visible_set(served, snapshot)?;
    let mut walk = WalkRequest { filter: request.filter.clone(), ..WalkRequest::default() };
    for (id, at) in wants.iter().zip(snapshot.lookup_many(&wants)?) {
        walk.wants.push(at.filter(|at| visible.contains(*at)).ok_or(OpError::NotOurRef(*id))?);
    }
    let mut common = Vec::new();
    for (id, at) in request.haves.iter().zip(snapshot.lookup_many(&request.haves)?) {
        // Only what a ref shows counts: an answer must not tell that an object is stored unseen.
        if let Some(at) = at.filter(|at| visible.contains(*at)) {
            walk.haves.push(at);
            common.push(*id);
        }
    }
    for id in &request.shallow {
        if let Some(at) = snapshot.lookup(id)?.filter(|at| visible.contains(*at))
            && snapshot.record(at)?.kind == Kind::Commit
        {
            walk.client_shallow.push(at);
        }
    }
    walk.deepen = deepen(served, snapshot, request)?;
    Ok(Resolved { walk, wanted_refs, common })
}

fn deepen(served: &Served, snapshot: &Snapshot, request: &FetchRequest) -> Result<DeepenTo, OpError> {
    let deepen = &request.deepen;
    if let Some(depth) = deepen.depth {
        let relative = deepen.relative && depth != DEPTH_INFINITE && !request.shallow.is_empty();
        return Ok(if relative { DeepenTo::Relative(depth) } else { DeepenTo::Depth(depth) });
    }
    if deepen.is_none() {
        return Ok(DeepenTo::Unchanged);
    }
    let mut not = Vec::new();
    for name in &deepen.not {
        let id = find_ref(served, snapshot, name)?.ok_or_else(|| {
            OpError::Request(format!("deepen-not names no ref: {}", String::from_utf8_lossy(name)))
        })?;
        not.extend(snapshot.lookup(&id)?);
    }
    let not = walk::Tips::peel(&mut served.reader(snapshot), &not)?.commits;
    Ok(DeepenTo::Since { time: deepen.since.unwrap_or(i64::MIN), not })
}

/// A ref by its full or short name, in git's order of looking.
pub(super) fn find_ref(
    served: &Served,
    snapshot: &Snapshot,
    name: &[u8],
) -> Result<Option<ObjectId>, OpError> {
    if name == b"HEAD" {
        return Ok(snapshot.reference(served.head().as_bytes())?.map(|row| row.id));
    }
    for prefix in ["", "refs/", "refs/tags/", "refs/heads/", "refs/remotes/"] {
        let full = [prefix.as_bytes(), name].concat();
        if let Some(row) = snapshot.reference(&full)? {
            return Ok(Some(row.id));
        }
    }
    Ok(None)
}

/// Whether every want has a common ancestor among the haves, so that more haves would change little.
fn is_ready(served: &Served, snapshot: &Snapshot, resolved: &Resolved) -> Result<bool, OpError> {
    let mut reader = served.reader(snapshot);
    let haves = walk::Tips::peel(&mut reader, &resolved.walk.haves)?.commits;
    if haves.is_empty() {
        return Ok(false);
    }
    let wants = walk::Tips::peel(&mut reader, &resolved.walk.wants)?.commits;
    Ok(walk::merge_reachable(snapshot, &wants, &haves)?)
}

fn fetch_v2(served: &Served, request: &FetchRequest) -> Result<Answer, OpError> {
    let mut out = Vec::new();
    if request.wants.is_empty() && request.want_refs.is_empty() && !request.wait_for_done {
        return Ok(Answer::Whole(out));
    }
    let snapshot = served.snapshot()?;
    let resolved = resolve(served, &snapshot, request)?;
    if !request.done && !request.haves.is_empty() {
        let ready = !request.wait_for_done && is_ready(served, &snapshot, &resolved)?;
        upload_pack::write_acknowledgments(&mut out, &resolved.common, ready);
        if !ready {
            pktline::write_flush(&mut out);
            return Ok(Answer::Whole(on_band(request, out)));
        }
        pktline::write_delim(&mut out);
    }
    let (plan, selection) = plan(served, &snapshot, request, &resolved.walk)?;
    if !request.deepen.is_none() || !request.shallow.is_empty() || selection.is_cut {
        let (shallow, unshallow) = boundary_ids(&snapshot, &selection)?;
        upload_pack::write_shallow_info(&mut out, &shallow, &unshallow);
        pktline::write_delim(&mut out);
    }
    if !resolved.wanted_refs.is_empty() {
        upload_pack::write_wanted_refs(&mut out, &resolved.wanted_refs);
        pktline::write_delim(&mut out);
    }
    pktline::write_text(&mut out, "packfile");
    Ok(pack_answer(served, &snapshot, on_band(request, out), plan, SideBand::Large))
}

/// The head of an answer as `sideband-all` wants it.
fn on_band(request: &FetchRequest, head: Vec<u8>) -> Vec<u8> {
    if !request.sideband_all {
        return head;
    }
    let mut out = Vec::with_capacity(head.len() + 64);
    pktline::write_on_band(&mut out, &head).expect("we wrote these packets whole");
    out
}

/// Answers the body of a v0 or v1 request.
pub fn serve_v0(served: &Served, body: &[u8]) -> Result<Answer, OpError> {
    let Some(request) = upload_pack::parse_v0(body, served.algo)? else {
        return Ok(Answer::Whole(Vec::new()));
    };
    let snapshot = served.snapshot()?;
    let resolved = resolve(served, &snapshot, &request)?;
    let mut out = Vec::new();
    let mut planned = None;
    if !request.deepen.is_none() {
        let (plan, selection) = plan(served, &snapshot, &request, &resolved.walk)?;
        let (shallow, unshallow) = boundary_ids(&snapshot, &selection)?;
        upload_pack::write_shallow_v0(&mut out, &shallow, &unshallow);
        planned = Some(plan);
    }
    if request.wants_only {
        return Ok(Answer::Whole(out));
    }
    if !acknowledge_v0(served, &snapshot, &request, &resolved, &mut out)? {
        return Ok(Answer::Whole(out));
    }
    let plan = match planned {
        Some(plan) => plan,
        None => plan(served, &snapshot, &request, &resolved.walk)?.0,
    };
    Ok(pack_answer(served, &snapshot, out, plan, request.side_band))
}

/// Writes the lines that answer haves; whether the pack follows. git's order of lines in `get_common_commits`.
fn acknowledge_v0(
    served: &Served,
    snapshot: &Snapshot,
    request: &FetchRequest,
    resolved: &Resolved,
    out: &mut Vec<u8>,
) -> Result<bool, OpError> {
    let common: HashSet<&ObjectId> = resolved.common.iter().collect();
    let multi = !matches!(request.multi_ack, MultiAck::None);
    let detailed = matches!(request.multi_ack, MultiAck::Detailed);
    let ready = !request.done && multi && is_ready(served, snapshot, resolved)?;
    let mut last = None;
    let mut sent_ready = false;
    for id in &request.haves {
        if common.contains(id) {
            match (detailed, multi, last) {
                (true, ..) => pktline::write_text(out, &format!("ACK {id} common")),
                (_, true, _) => pktline::write_text(out, &format!("ACK {id} continue")),
                (_, _, None) => pktline::write_text(out, &format!("ACK {id}")),
                _ => {}
            }
            last = Some(id);
        }
    }
    if request.done {
        match last {
            Some(id) if multi => pktline::write_text(out, &format!("ACK {id}")),
            Some(_) => {}
            None => pktline::write_text(out, "NAK"),
        }
        return Ok(true);
    }
    if let Some(id) = last.filter(|_| ready && detailed) {
        pktline::write_text(out, &format!("ACK {id} ready"));
        sent_ready = true;
    }
    if last.is_none() || multi {
        pktline::write_text(out, "NAK");
    }
    if let Some(id) = last.filter(|_| request.no_done && sent_ready) {
        pktline::write_text(out, &format!("ACK {id}"));
        return Ok(true);
    }
    Ok(false)
}

fn pack_answer(
    served: &Served,
    snapshot: &Snapshot,
    head: Vec<u8>,
    plan: Arc<Plan>,
    side_band: SideBand,
) -> Answer {
    Answer::Pack(Box::new(PackAnswer::new(served.algo, snapshot, head, plan, side_band)))
}

fn boundary_ids(snapshot: &Snapshot, edges: &Edges) -> Result<(Vec<ObjectId>, Vec<ObjectId>), OpError> {
    let ids = |list: &[ObjRef]| -> Result<Vec<ObjectId>, OpError> {
        list.iter().map(|at| Ok(snapshot.record(*at)?.id)).collect()
    };
    Ok((ids(&edges.shallow)?, ids(&edges.unshallow)?))
}

/// The part of a selection that the answer's head needs.
#[derive(Clone, Default)]
pub struct Edges {
    shallow: Vec<ObjRef>,
    unshallow: Vec<ObjRef>,
    /// Whether the repository's own history is cut, so that they have to be told.
    is_cut: bool,
}

/// Memory that planning takes at most: sets of objects, the graph of commits, the runs of the plan.
fn plan_bytes(snapshot: &Snapshot) -> u64 {
    snapshot.limits().into_iter().map(u64::from).sum::<u64>() * PLAN_OBJECT_BYTES
}

fn plan(
    served: &Served,
    snapshot: &Snapshot,
    request: &FetchRequest,
    walk: &WalkRequest,
) -> Result<(Arc<Plan>, Edges), OpError> {
    let key = super::plans::key(served.algo, snapshot, request, walk);
    if let Some(found) = served.plans.get(&key) {
        return Ok(found);
    }
    let _span = tracing::debug_span!("plan", wants = walk.wants.len(), haves = walk.haves.len()).entered();
    served.room.hold(plan_bytes(snapshot))?;
    let mut reader = served.reader(snapshot);
    let mut full = |reader: &mut Reader<'_>, wants: &[ObjRef]| {
        full_set(served, snapshot, reader, wants).map_err(|e| match e {
            OpError::Walk(error) => error,
            other => WalkError::Source(cairn_protocol::source::SourceError(Box::new(other))),
        })
    };
    let mut selection = walk::select(&mut reader, walk, &mut full)?;
    let cut = cut_of(snapshot)?;
    if !cut.is_empty() {
        tell_cut(snapshot, &mut reader, walk, &cut, &mut selection)?;
    }
    let Selection { mut set, had, versions, shallow, unshallow } = selection;
    if request.include_tag {
        include_tags(snapshot, &mut reader, &mut set, &had)?;
    }
    let options = PlanOptions { ofs_delta: request.ofs_delta, thin: request.thin_pack };
    let plan = Arc::new(build(&mut reader, &set, (&had, &versions), options)?);
    let edges = Edges { shallow, unshallow, is_cut: !cut.is_empty() };
    served.plans.put(key, &plan, &edges);
    Ok((plan, edges))
}

/// Adds annotated tags whose target is sent.
fn include_tags(
    snapshot: &Snapshot,
    reader: &mut Reader<'_>,
    set: &mut walk::ObjSet,
    had: &walk::ObjSet,
) -> Result<(), OpError> {
    let mut tags = Vec::new();
    snapshot.refs(b"refs/tags/", &mut |row| {
        tags.extend(row.peeled.map(|peeled| (row.id, peeled)));
        true
    })?;
    for (id, peeled) in tags {
        let (Some(tag), Some(target)) = (snapshot.lookup(&id)?, snapshot.lookup(&peeled)?) else { continue };
        if set.contains(target) && !had.contains(tag) {
            for leaf in walk::Tips::peel(reader, &[tag])?.leaves {
                set.insert(leaf);
            }
        }
    }
    Ok(())
}
