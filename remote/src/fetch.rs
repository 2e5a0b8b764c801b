//! Fetching a pack: one request that says all, one answer that streams.

use std::cell::RefCell;
use std::io;
use std::ops::ControlFlow;
use std::rc::Rc;

use bstr::BString;
use cairn_protocol::object::ObjectId;
use gix_protocol::fetch::response::ShallowUpdate;
use gix_protocol::fetch::{Arguments, Response};
use gix_transport::Protocol;
use gix_transport::client::MessageKind;
use gix_transport::client::blocking_io::{ExtendedBufRead, TransportV2Ext as _};

use crate::error::{Class, RemoteError};
use crate::http::Shared;
use crate::limits::{
    HAVES_MAX, PREAMBLE_BYTES_MAX, PREAMBLE_V0_BYTES_MAX, SHALLOWS_MAX, TRAILER_BYTES_MAX, WANTS_MAX,
};
use crate::refs::id_from;
use crate::session::{Capabilities, Remote, Session, broken, plain, told};

/// What a fetch is to bring.
#[derive(Clone, Debug, Default)]
pub struct FetchWish {
    /// The objects that are wanted, with all that they reach.
    pub wants: Vec<ObjectId>,
    /// Commits that are here with all that they reach; only a hint. The pack never leans on objects that it does not hold.
    pub haves: Vec<ObjectId>,
    /// Commits of history to bring, from 1.
    pub depth: Option<u32>,
    /// A filter of `git rev-list --filter`, such as `blob:none`.
    pub filter: Option<String>,
    /// The commits that are here without their parents.
    pub shallow: Vec<ObjectId>,
}

/// What a fetch changed beside the objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Commits whose parents were not sent.
    pub shallow: Vec<ObjectId>,
    /// Commits of `FetchWish::shallow` whose parents are here now.
    pub unshallow: Vec<ObjectId>,
}

type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;
type Progress<'a> = &'a mut dyn FnMut(&str);

impl Remote {
    /// Fetches one pack and hands its bytes to `pack` as they come, up to 65515 at once, with its trailer. Nothing is checked of
    /// the pack but that it came whole: what it holds is the caller's to judge. `progress` gets the remote's lines.
    pub fn fetch(
        &mut self,
        wish: &FetchWish,
        pack: Sink<'_>,
        progress: Progress<'_>,
    ) -> Result<Fetched, RemoteError> {
        check(wish, &self.capabilities)?;
        if wish.wants.is_empty() {
            return Ok(Fetched::default());
        }
        let (agent, options) = (self.options.user_agent.clone(), self.options.server_options.clone());
        let bytes_max = self.options.pack_bytes_max.unwrap_or(u64::MAX);
        let version = self.capabilities.version;
        let budget = if version == 2 { PREAMBLE_BYTES_MAX } else { PREAMBLE_V0_BYTES_MAX };
        let fetched = self.call(budget, |shared, offered, session| {
            let early = session.handshake.v1_shallow_updates.take();
            let (protocol, mut reader) = match version {
                2 => (Protocol::V2, send(shared, session, wish, &told(&agent, &options, offered))?),
                _ => (Protocol::V1, send_v0(shared, offered, session, wish, &agent)?),
            };
            let mut response = Response::from_line_reader(protocol, &mut reader, true, false)
                .map_err(|error| broken(shared, &error))?;
            if !response.has_pack() {
                let text = format!("{}: the remote sent no pack", shared.url());
                return Err(RemoteError::new(Class::Protocol, text));
            }
            response.append_v1_shallow_updates(early);
            shared.set_budget(u64::MAX);
            receive(shared, reader, pack, progress, bytes_max)?;
            cuts(&response, offered)
        });
        if version != 2 {
            // The next call needs the advertisement, which says what is shallow.
            self.session = None;
        }
        fetched
    }
}

fn check(wish: &FetchWish, offered: &Capabilities) -> Result<(), RemoteError> {
    let refused = |text: String| Err(RemoteError::new(Class::Protocol, text));
    if wish.wants.len() > WANTS_MAX || wish.shallow.len() > SHALLOWS_MAX {
        let text = format!(
            "a fetch of more than {WANTS_MAX} objects, or with more than {SHALLOWS_MAX} shallow commits"
        );
        return Err(RemoteError::new(Class::Limit, text));
    }
    let ids = wish.wants.iter().chain(&wish.haves).chain(&wish.shallow);
    if let Some(id) = ids.into_iter().find(|id| id.algo() != offered.object_format) {
        return refused(format!("{id} is no id of a {} repository", offered.object_format.name()));
    }
    if wish.depth == Some(0) {
        return refused("a depth of 0 commits brings nothing".to_owned());
    }
    if (wish.depth.is_some() || !wish.shallow.is_empty()) && !offered.shallow {
        return refused("the remote does not offer shallow fetches".to_owned());
    }
    let Some(filter) = &wish.filter else { return Ok(()) };
    if !offered.filter {
        return refused("the remote does not offer filters".to_owned());
    }
    if !filter.bytes().all(|b| b.is_ascii_graphic()) {
        return refused("a filter with characters that no filter has".to_owned());
    }
    Ok(())
}

type Answer<'a> = Box<dyn ExtendedBufRead<'a> + Unpin + 'a>;

/// Version 2. gix's `Arguments` would always ask for a thin pack.
fn send<'a>(
    shared: &Shared,
    session: &'a mut Session,
    wish: &FetchWish,
    told: &[(&str, Option<&str>)],
) -> Result<Answer<'a>, RemoteError> {
    let line = |name: &'static str| move |id: &ObjectId| BString::from(format!("{name} {id}"));
    let arguments = std::iter::once(BString::from("ofs-delta"))
        .chain(wish.wants.iter().map(line("want")))
        .chain(wish.shallow.iter().map(line("shallow")))
        .chain(wish.depth.map(|depth| BString::from(format!("deepen {depth}"))))
        .chain(wish.filter.as_ref().map(|filter| BString::from(format!("filter {filter}"))))
        .chain(wish.haves.iter().take(HAVES_MAX).map(line("have")))
        .chain(std::iter::once(BString::from("done")));
    session
        .transport
        .invoke("fetch", told.iter().copied(), Some(arguments), false)
        .map_err(|error| broken(shared, &error))
}

/// Versions 0 and 1. gix's default features hold `deepen-relative`, which makes a depth count from a boundary that does not exist
/// and so fetches all history: only what is needed is asked for.
fn send_v0<'a>(
    shared: &Shared,
    offered: &Capabilities,
    session: &'a mut Session,
    wish: &FetchWish,
    agent: &str,
) -> Result<Answer<'a>, RemoteError> {
    let has = |name: &str| session.handshake.capabilities.contains(name);
    let mut features = Vec::new();
    let bands = ["side-band-64k", "side-band"].into_iter().find(|name| has(name));
    let wanted = [Some("multi_ack_detailed"), bands, Some("ofs-delta")];
    features.extend(wanted.into_iter().flatten().filter(|name| has(name)).map(|name| (name, None)));
    if wish.depth.is_some() || !wish.shallow.is_empty() {
        features.push(("shallow", None));
    }
    if wish.filter.is_some() {
        features.push(("filter", None));
    }
    if has("object-format") {
        features.push(("object-format", Some(offered.object_format.name().to_owned())));
    }
    features.push(("agent", Some(agent.to_owned())));
    Response::check_required_features(Protocol::V1, &features).map_err(|error| broken(shared, &error))?;
    let mut arguments = Arguments::new(Protocol::V1, features, false);
    for id in &wish.wants {
        arguments.want(gix_id(id)?);
    }
    for id in &wish.shallow {
        arguments.shallow(gix_id(id)?);
    }
    if let Some(depth) = wish.depth {
        arguments.deepen(depth as usize);
    }
    if let Some(filter) = &wish.filter {
        arguments.filter(filter);
    }
    for id in wish.haves.iter().take(HAVES_MAX) {
        arguments.have(gix_id(id)?);
    }
    arguments.send(&mut session.transport, true).map_err(|error| broken(shared, &error))
}

fn gix_id(id: &ObjectId) -> Result<gix_hash::ObjectId, RemoteError> {
    gix_hash::ObjectId::try_from(id.as_bytes())
        .map_err(|_| RemoteError::new(Class::Protocol, format!("{id} is no object id")))
}

/// Hands the pack on. It is whole when a flush-pkt ends it; that its trailer fits is for the one who indexes it.
fn receive<'a>(
    shared: &Shared,
    mut reader: Answer<'a>,
    pack: Sink<'_>,
    progress: Progress<'a>,
    bytes_max: u64,
) -> Result<(), RemoteError> {
    let fatal = Rc::new(RefCell::new(None));
    let kept = Rc::clone(&fatal);
    reader.set_progress_handler(Some(Box::new(move |is_error, text: &[u8]| {
        let text = plain(text);
        match is_error {
            true => _ = kept.borrow_mut().get_or_insert(text),
            false => progress(&text),
        }
        ControlFlow::Continue(())
    })));
    let mut bytes = 0;
    let done = loop {
        let read = match reader.fill_buf() {
            Ok([]) => break Ok(()),
            Ok(read) => read,
            Err(error) => break Err(broken(shared, &error)),
        };
        bytes += read.len() as u64;
        if bytes > bytes_max {
            let text = format!("{}: a pack of more than {bytes_max} bytes", shared.url());
            return Err(RemoteError::new(Class::Limit, text));
        }
        pack(read).map_err(RemoteError::sink)?;
        let read = read.len();
        reader.consume(read);
    };
    if let Some(fatal) = fatal.borrow_mut().take() {
        return Err(RemoteError::new(Class::Protocol, format!("{}: the remote says: {fatal}", shared.url())));
    }
    done?;
    if reader.stopped_at() != Some(MessageKind::Flush) {
        return Err(RemoteError::new(Class::Unreachable, format!("{}: the pack breaks off", shared.url())));
    }
    if bytes == 0 {
        return Err(RemoteError::new(Class::Protocol, format!("{}: an empty pack", shared.url())));
    }
    shared.set_budget(TRAILER_BYTES_MAX);
    Ok(())
}

fn cuts(response: &Response, offered: &Capabilities) -> Result<Fetched, RemoteError> {
    let mut fetched = Fetched::default();
    for update in response.shallow_updates() {
        match update {
            ShallowUpdate::Shallow(id) => fetched.shallow.push(id_from(id, offered.object_format)?),
            ShallowUpdate::Unshallow(id) => fetched.unshallow.push(id_from(id, offered.object_format)?),
        }
    }
    for ids in [&mut fetched.shallow, &mut fetched.unshallow] {
        ids.sort_unstable();
        ids.dedup();
    }
    Ok(fetched)
}
