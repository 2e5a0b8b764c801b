//! What the server says first: its capabilities, and in v0 and v1 its refs.

use crate::{
    capability::AGENT,
    object::{HashAlgo, ObjectId},
    pktline::{Hex, write_flush, write_line, write_text},
    refs::RefName,
};

const UPLOAD_PACK: &str = "multi_ack thin-pack side-band side-band-64k ofs-delta shallow deepen-since deepen-not \
    deepen-relative no-progress include-tag multi_ack_detailed no-done allow-tip-sha1-in-want \
    allow-reachable-sha1-in-want filter";
const RECEIVE_PACK: &str =
    "report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta push-options";

/// The two services of a git server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Clone and fetch.
    UploadPack,
    /// Push.
    ReceivePack,
}

impl Service {
    /// git's name: `git-upload-pack` or `git-receive-pack`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }

    /// The service with git's name `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::UploadPack, Self::ReceivePack].into_iter().find(|service| service.name() == name)
    }
}

/// One ref of a v0 or v1 advertisement.
#[derive(Clone, Copy, Debug)]
pub struct AdvertisedRef<'a> {
    /// Its full name, or `HEAD`.
    pub name: &'a [u8],
    /// What it is worth.
    pub id: ObjectId,
    /// What an annotated tag peels to.
    pub peeled: Option<ObjectId>,
}

/// Writes `# service=…` and a flush, which smart HTTP puts before an advertisement of v0 or v1 (gitprotocol-http).
pub fn write_service_header(out: &mut Vec<u8>, service: Service) {
    write_line(out, &[b"# service=", service.name().as_bytes()]);
    write_flush(out);
}

/// Writes the capabilities of protocol v2.
pub fn advertise_v2(out: &mut Vec<u8>, algo: HashAlgo) {
    write_text(out, "version 2");
    write_line(out, &[b"agent=", AGENT.as_bytes()]);
    write_text(out, "ls-refs=unborn");
    write_text(out, "fetch=shallow wait-for-done filter ref-in-want sideband-all");
    write_text(out, "server-option");
    write_line(out, &[b"object-format=", algo.name().as_bytes()]);
    write_text(out, "object-info");
    write_flush(out);
}

/// Writes the advertisement of protocol v0, or of v1 where `version1`, without the service header of smart HTTP.
///
/// `refs` are in git's order: `HEAD` first where it is born, then sorted by name. To receive-pack neither `HEAD` nor
/// peeled values are shown, whatever `refs` holds. `head_symref` is what `HEAD` names, `shallow` are the commits at which the
/// repository's own history ends.
pub fn advertise_v0(
    out: &mut Vec<u8>,
    service: Service,
    version1: bool,
    refs: &[AdvertisedRef<'_>],
    head_symref: Option<&RefName>,
    shallow: &[ObjectId],
    algo: HashAlgo,
) {
    if version1 {
        write_text(out, "version 1");
    }
    let fetching = service == Service::UploadPack;
    let mut capabilities = capabilities(service, algo);
    if let Some(target) = head_symref.filter(|_| fetching && refs.iter().any(|r| r.name == b"HEAD")) {
        capabilities.extend_from_slice(b" symref=HEAD:");
        capabilities.extend_from_slice(target.as_bytes());
    }
    let mut unsaid = Some(capabilities);
    for shown in refs.iter().filter(|r| fetching || r.name != b"HEAD") {
        let id = Hex::new(&shown.id);
        match unsaid.take() {
            Some(words) => write_line(out, &[id.as_bytes(), b" ", shown.name, b"\0", &words]),
            None => write_line(out, &[id.as_bytes(), b" ", shown.name]),
        }
        if let Some(peeled) = shown.peeled.filter(|_| fetching) {
            write_line(out, &[Hex::new(&peeled).as_bytes(), b" ", shown.name, b"^{}"]);
        }
    }
    if let Some(words) = unsaid {
        let null = Hex::new(&ObjectId::null(algo));
        write_line(out, &[null.as_bytes(), b" capabilities^{}\0", &words]);
    }
    shallow.iter().for_each(|id| write_line(out, &[b"shallow ", Hex::new(id).as_bytes()]));
    write_flush(out);
}

fn capabilities(service: Service, algo: HashAlgo) -> Vec<u8> {
    let words = match service {
        Service::UploadPack => UPLOAD_PACK,
        Service::ReceivePack => RECEIVE_PACK,
    };
    format!("{words} object-format={} agent={AGENT}", algo.name()).into_bytes()
}
