//! The words of upload-pack: requests of v0, v1 and v2 in, advertisements and the text parts of answers out.
//!
//! Follows gitprotocol-v2 and gitprotocol-pack for stateless connections: a request is one complete body.

mod advertise;
mod answer;
mod lines;
mod v0;
mod v2;

pub use advertise::{AdvertisedRef, Service, advertise_v0, advertise_v2, write_service_header};
pub use answer::{
    Ack, write_ack, write_acknowledgments, write_final_ack, write_ls_refs_line, write_nak, write_object_info,
    write_section, write_shallow_info, write_shallow_v0, write_wanted_refs,
};
pub use v0::parse_v0;
pub use v2::{parse_v2, server_option};

pub use crate::request::RequestError;
use crate::{
    filter::Filter,
    object::ObjectId,
    pktline::{BAND_DATA_MAX, BAND_DATA_SMALL_MAX},
    refs::RefName,
};

/// What a client asks to fetch. Lists hold no value twice and keep the order of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchRequest {
    /// Objects that it wants.
    pub wants: Vec<ObjectId>,
    /// Refs that it wants, whatever they are worth (v2).
    pub want_refs: Vec<RefName>,
    /// Objects that it has, with all that they reach.
    pub haves: Vec<ObjectId>,
    /// Commits that it has without their parents.
    pub shallow: Vec<ObjectId>,
    /// Where its history shall end.
    pub deepen: Deepen,
    /// What to leave out.
    pub filter: Option<Filter>,
    /// It will say no more: send the pack now.
    pub done: bool,
    /// Deltas may have bases that only the client has.
    pub thin_pack: bool,
    /// Nothing on side-band 2.
    pub no_progress: bool,
    /// Add annotated tags of objects that are sent.
    pub include_tag: bool,
    /// Deltas may name their base by offset.
    pub ofs_delta: bool,
    /// Never send a pack before `done` (v2).
    pub wait_for_done: bool,
    /// Put every packet of the answer on a side-band (v2): see `pktline::write_on_band`.
    pub sideband_all: bool,
    /// How the pack is framed; always large in v2.
    pub side_band: SideBand,
    /// How haves are answered; of no meaning in v2.
    pub multi_ack: MultiAck,
    /// After `ACK … ready` the pack may follow without `done` (v0 and v1).
    pub no_done: bool,
    /// The body ends at the flush behind the wants (v0 and v1): the client reads the shallow list and nothing else, so
    /// that not even a `NAK` may follow it.
    pub wants_only: bool,
    /// The client's `agent=`, unjudged.
    pub agent: Option<Vec<u8>>,
}

/// Where a client's history shall end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deepen {
    /// So many commits from the tips; at least 1. Excludes `since` and `not`.
    pub depth: Option<u32>,
    /// `depth` counts from the client's present end.
    pub relative: bool,
    /// Commits of that time or later, in seconds since 1970.
    pub since: Option<i64>,
    /// Commits that these refs do not reach, in the client's spelling.
    pub not: Vec<Vec<u8>>,
}

impl Deepen {
    /// Whether the client's history may stay as it is.
    pub fn is_none(&self) -> bool {
        self.depth.is_none() && self.since.is_none() && self.not.is_empty()
    }
}

/// How pack, progress and errors share the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SideBand {
    /// The bare pack.
    #[default]
    None,
    /// Frames of up to 1000 bytes.
    Small,
    /// Frames of up to 65520 bytes.
    Large,
}

impl SideBand {
    /// Data bytes of one frame, for `pktline::write_band`; without side-bands as with large ones.
    pub const fn data_max(self) -> usize {
        match self {
            Self::Small => BAND_DATA_SMALL_MAX,
            Self::None | Self::Large => BAND_DATA_MAX,
        }
    }
}

/// How haves are answered in v0 and v1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MultiAck {
    /// Only the first common one.
    #[default]
    None,
    /// `ACK … continue`.
    Multi,
    /// `ACK … common` and `ACK … ready`.
    Detailed,
}

/// A request of protocol v2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum V2Request {
    /// List refs.
    LsRefs(LsRefs),
    /// Negotiate and send a pack.
    Fetch(Box<FetchRequest>),
    /// Tell what is known of objects.
    ObjectInfo(ObjectInfo),
}

/// What to list of which refs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LsRefs {
    /// Add what annotated tags peel to.
    pub peel: bool,
    /// Add the targets of symrefs.
    pub symrefs: bool,
    /// List `HEAD` where it names a branch that is not there.
    pub unborn: bool,
    /// Only refs that start with one of these; all refs where there is none.
    pub ref_prefixes: Vec<Vec<u8>>,
}

/// What to tell of which objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Tell their sizes.
    pub size: bool,
    /// The objects, in the order of the request.
    pub ids: Vec<ObjectId>,
}
