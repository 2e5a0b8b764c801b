//! git's fsck rules as a [`Check`]: what a push must pass.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::object::fsck::{self, Finding, MsgId, Special, TreeVisitor};
use crate::object::{HashAlgo, Kind, ObjectId, for_each_link};
use crate::pack::{Check, Known, PackError};

/// Errors that old, honest histories are full of and that do no harm; the large hosts let them pass too.
const TOLERATED: [MsgId; 3] = [MsgId::ZeroPaddedFilemode, MsgId::BadTimezone, MsgId::MissingSpaceBeforeDate];

/// Judges objects by git's rules. One for each push.
pub struct FsckRules<'a> {
    known: &'a dyn Known,
    /// Blobs that are `.gitmodules` or `.gitattributes` somewhere: their content is judged when all is resolved.
    special: Mutex<HashSet<(Special, ObjectId)>>,
}

impl<'a> FsckRules<'a> {
    /// Rules that find files of the repository through `known`.
    pub fn new(known: &'a dyn Known) -> Self {
        Self { known, special: Mutex::default() }
    }

    /// Whether a finding refuses a push.
    pub fn stops(finding: &Finding) -> bool {
        stops(finding)
    }
}

fn stops(finding: &Finding) -> bool {
    finding.severity.stops() && !TOLERATED.contains(&finding.id)
}

fn refused(kind: Kind, id: &ObjectId, finding: &Finding) -> PackError {
    PackError::Object { kind, id: *id, why: finding.to_string() }
}

/// Collects the first finding that stops a push, and passes links on.
struct Visit<'l> {
    algo: HashAlgo,
    bad: Option<Finding>,
    links: &'l mut dyn FnMut(&[u8], Kind),
    special: Vec<(Special, ObjectId)>,
}

impl TreeVisitor for Visit<'_> {
    fn found(&mut self, finding: Finding) {
        if self.bad.is_none() && stops(&finding) {
            self.bad = Some(finding);
        }
    }

    #[inline]
    fn link(&mut self, id: &[u8], kind: Kind) {
        (self.links)(id, kind);
    }

    fn special(&mut self, special: Special, id: &[u8]) {
        self.special.extend(ObjectId::from_bytes(self.algo, id).map(|id| (special, id)));
    }
}

impl Check for FsckRules<'_> {
    fn object(
        &self,
        kind: Kind,
        id: &ObjectId,
        data: &[u8],
        links: &mut dyn FnMut(&[u8], Kind),
    ) -> Result<(), PackError> {
        let algo = id.algo();
        let mut visit = Visit { algo, bad: None, links, special: Vec::new() };
        if kind == Kind::Tree {
            fsck::visit_tree(algo, data, &mut visit);
        } else {
            fsck::check(algo, kind, data, &mut |finding| visit.found(finding));
        }
        if let Some(bad) = visit.bad {
            return Err(refused(kind, id, &bad));
        }
        if !visit.special.is_empty() {
            self.special.lock().unwrap_or_else(PoisonError::into_inner).extend(visit.special);
        }
        if kind == Kind::Tree {
            return Ok(());
        }
        let unreadable =
            |why: crate::object::ParseError| PackError::Object { kind, id: *id, why: why.to_string() };
        for_each_link(algo, kind, data, links).map_err(unreadable)
    }

    fn finish(
        &self,
        read: &dyn Fn(&ObjectId) -> Result<Option<Vec<u8>>, PackError>,
    ) -> Result<(), PackError> {
        let special = self.special.lock().unwrap_or_else(PoisonError::into_inner);
        for (special, id) in special.iter() {
            let data = match read(id)? {
                Some(data) => data,
                // Connectivity says what is missing; what is here was judged by another name when it came.
                None => match self.known.find(id)? {
                    Some((Kind::Blob, data)) => data,
                    _ => continue,
                },
            };
            let mut bad = None;
            special.check(&data, &mut |finding| {
                if bad.is_none() && stops(&finding) {
                    bad = Some(finding);
                }
            });
            if let Some(bad) = bad {
                return Err(refused(Kind::Blob, id, &bad));
            }
        }
        Ok(())
    }
}
