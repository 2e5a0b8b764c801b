//! The lines that a fetch has in all protocol versions.

use std::collections::HashSet;
use std::hash::Hash;

use super::FetchRequest;
use crate::{
    filter::Filter,
    limits::{DEEPEN_DEPTH_MAX, DEEPEN_NOTS_MAX, HAVES_MAX, SHALLOWS_MAX, WANTS_MAX},
    object::{HashAlgo, ObjectId},
    refs::RefName,
    request::RequestError,
    scan::{Scan, decimal, shown},
};

/// A bounded list without duplicates, in order of arrival.
struct Unique<T> {
    seen: HashSet<T>,
    what: &'static str,
    max: usize,
}

impl<T: Clone + Eq + Hash> Unique<T> {
    fn new(what: &'static str, max: usize) -> Self {
        Self { seen: HashSet::new(), what, max }
    }

    /// Adds `item` to `list`; `false` where it was there before.
    fn add(&mut self, list: &mut Vec<T>, item: T) -> Result<bool, RequestError> {
        if self.seen.contains(&item) {
            return Ok(false);
        }
        if list.len() >= self.max {
            return Err(RequestError::TooMany { what: self.what, max: self.max });
        }
        self.seen.insert(item.clone());
        list.push(item);
        Ok(true)
    }
}

/// A fetch request while its lines come in.
pub(super) struct Lines {
    algo: HashAlgo,
    pub(super) request: FetchRequest,
    wants: Unique<ObjectId>,
    want_refs: Unique<RefName>,
    haves: Unique<ObjectId>,
    shallow: Unique<ObjectId>,
}

impl Lines {
    pub(super) fn new(algo: HashAlgo) -> Self {
        Self {
            algo,
            request: FetchRequest::default(),
            wants: Unique::new("wants", WANTS_MAX),
            want_refs: Unique::new("want-refs", WANTS_MAX),
            haves: Unique::new("haves", HAVES_MAX),
            shallow: Unique::new("shallow lines", SHALLOWS_MAX),
        }
    }

    /// `want <id>`, and in v0 whatever follows the id, which is returned.
    pub(super) fn want<'a>(&mut self, value: &'a [u8]) -> Result<&'a [u8], RequestError> {
        let mut scan = Scan::new(value);
        let id = scan.id(self.algo).ok_or_else(|| RequestError::id(value))?;
        self.wants.add(&mut self.request.wants, id)?;
        Ok(scan.rest())
    }

    pub(super) fn want_ref(&mut self, value: &[u8]) -> Result<(), RequestError> {
        let unknown = |source| RequestError::WantRef { name: shown(value), source };
        let name = RefName::new(value).map_err(unknown)?;
        match self.want_refs.add(&mut self.request.want_refs, name)? {
            true => Ok(()),
            false => Err(RequestError::WantRefTwice(shown(value))),
        }
    }

    pub(super) fn have(&mut self, value: &[u8]) -> Result<(), RequestError> {
        let id = self.id(value)?;
        self.haves.add(&mut self.request.haves, id).map(drop)
    }

    /// Takes in `shallow`, the `deepen` family and `filter`; `false` for any other line.
    pub(super) fn bounds(&mut self, line: &[u8]) -> Result<bool, RequestError> {
        let Some((key, value)) = split_key(line) else {
            return Ok(false);
        };
        let deepen = &mut self.request.deepen;
        let bad = || RequestError::Deepen(shown(line));
        match key {
            b"shallow" => {
                let id = self.id(value)?;
                self.shallow.add(&mut self.request.shallow, id)?;
            }
            b"deepen" => {
                let depth = decimal(value).and_then(|depth| u32::try_from(depth).ok());
                let depth = depth.filter(|depth| (1..=DEEPEN_DEPTH_MAX).contains(depth));
                deepen.depth = Some(depth.ok_or_else(bad)?);
            }
            b"deepen-since" => {
                let since = decimal(value).and_then(|since| i64::try_from(since).ok());
                deepen.since = Some(since.ok_or_else(bad)?);
            }
            b"deepen-not" => {
                if value.is_empty() {
                    return Err(bad());
                }
                if deepen.not.len() >= DEEPEN_NOTS_MAX {
                    return Err(RequestError::TooMany { what: "deepen-not lines", max: DEEPEN_NOTS_MAX });
                }
                deepen.not.push(value.into());
            }
            b"filter" => self.request.filter = Some(Filter::parse(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The request, once its lines do not contradict each other.
    pub(super) fn finish(self) -> Result<FetchRequest, RequestError> {
        let deepen = &self.request.deepen;
        if deepen.depth.is_some() && (deepen.since.is_some() || !deepen.not.is_empty()) {
            return Err(RequestError::DeepenTwice);
        }
        Ok(self.request)
    }

    fn id(&self, value: &[u8]) -> Result<ObjectId, RequestError> {
        ObjectId::from_hex(self.algo, value).ok_or_else(|| RequestError::id(value))
    }
}

/// `key SP value`.
pub(super) fn split_key(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut scan = Scan::new(line);
    let key = scan.until(b' ')?;
    Some((key, scan.rest()))
}
