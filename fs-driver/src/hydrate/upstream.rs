//! A remote as the hydrator sees it, so that tests can put another one in its place.

use std::fmt;
use std::io;

use cairn_protocol::object::ObjectId;
use cairn_remote::{Class, FetchWish, Fetched, Options, Remote, RemoteError, RemoteRef};

/// Takes the bytes of a pack.
pub type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;

/// What went wrong with a remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For people; without credentials.
    pub text: String,
    /// Whether it may go better in a moment.
    pub is_transient: bool,
    /// What those who wait are told.
    pub kind: io::ErrorKind,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        Self::new(failure.kind, failure.text)
    }
}

impl From<io::Error> for Failure {
    /// An error of this side's disk, or a pack that is broken: the next one may be whole.
    fn from(error: io::Error) -> Self {
        let is_transient = error.kind() == io::ErrorKind::InvalidData;
        Self { text: error.to_string(), is_transient, kind: error.kind() }
    }
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        let kind = match error.class() {
            Class::Auth | Class::Refused => io::ErrorKind::PermissionDenied,
            Class::NotFound | Class::NotGit => io::ErrorKind::NotFound,
            Class::Unreachable => io::ErrorKind::HostUnreachable,
            Class::Limit => io::ErrorKind::FileTooLarge,
            Class::Protocol => io::ErrorKind::InvalidData,
            Class::Sink => error.sink_error().map_or(io::ErrorKind::Other, io::Error::kind),
        };
        Self { text: error.to_string(), is_transient: error.is_transient(), kind }
    }
}

/// One connection to a remote. Its calls block.
pub trait Upstream: Send {
    /// Whether sizes can be asked for.
    fn has_sizes(&self) -> bool;
    /// Whether blobs can be wanted one by one.
    fn has_filter(&self) -> bool;
    /// Whether history can be cut.
    fn has_shallow(&self) -> bool;
    /// All refs.
    fn refs(&mut self) -> Result<Vec<RemoteRef>, Failure>;
    /// One pack.
    fn fetch(&mut self, wish: &FetchWish, pack: Sink<'_>) -> Result<Fetched, Failure>;
    /// Sizes, in the order of `ids`.
    fn sizes(&mut self, ids: &[ObjectId]) -> Result<Vec<Option<u64>>, Failure>;
}

/// Opens connections. Called on the thread that will use the connection.
pub type Dial = Box<dyn Fn() -> Result<Box<dyn Upstream>, Failure> + Send + Sync>;

impl Upstream for Remote {
    fn has_sizes(&self) -> bool {
        self.capabilities().object_info
    }

    fn has_filter(&self) -> bool {
        self.capabilities().filter && self.capabilities().any_want
    }

    fn has_shallow(&self) -> bool {
        self.capabilities().shallow
    }

    fn refs(&mut self) -> Result<Vec<RemoteRef>, Failure> {
        let found = self.ls_refs(&["refs/heads/", "refs/tags/"])?;
        let is_name = |found: &RemoteRef| cairn_protocol::refs::RefName::new(&found.name).is_ok();
        Ok(found.into_iter().filter(is_name).collect())
    }

    fn fetch(&mut self, wish: &FetchWish, pack: Sink<'_>) -> Result<Fetched, Failure> {
        Ok(Remote::fetch(self, wish, pack, &mut |_| {})?)
    }

    fn sizes(&mut self, ids: &[ObjectId]) -> Result<Vec<Option<u64>>, Failure> {
        Ok(Remote::sizes(self, ids)?)
    }
}

/// Dials the remote at `url`; `options` is asked anew for each connection, since tokens change.
pub fn dial(url: String, options: impl Fn() -> io::Result<Options> + Send + Sync + 'static) -> Dial {
    Box::new(move || {
        let remote = Remote::open(&url, options()?)?;
        Ok(Box::new(remote))
    })
}
