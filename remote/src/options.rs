//! How a remote is to be reached.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;

use crate::limits::{CONNECT_TIMEOUT, READ_TIMEOUT, REDIRECTS_MAX};

/// Who we are for the remote. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// User and password.
    Basic {
        /// The user; may be empty.
        user: String,
        /// The password; may be empty.
        password: String,
    },
    /// A token of RFC 6750.
    Bearer(String),
}

impl Credentials {
    /// The value of `Authorization`.
    pub(crate) fn header(&self) -> String {
        match self {
            Self::Basic { user, password } => {
                let pair = format!("{user}:{password}");
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
            }
            Self::Bearer(token) => format!("Bearer {token}"),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Credentials(..)")
    }
}

/// Which addresses may be connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressPolicy {
    /// Any. The proxy of the environment (`HTTPS_PROXY`, `NO_PROXY`) is used.
    #[default]
    Any,
    /// Only what is reachable on the public internet: for URLs that strangers choose. No proxy is used, since it would
    /// do the looking up.
    PublicOnly,
}

/// How a remote is to be reached.
#[derive(Clone, Debug)]
pub struct Options {
    /// Sent to the URL's host from the first request on; not to another host that it redirects to. A user and password in the
    /// URL count only where these are `None`.
    pub credentials: Option<Credentials>,
    /// Which addresses may be connected to.
    pub addresses: AddressPolicy,
    /// A PEM file with certificate authorities that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// To resolve a name, and to connect with TLS.
    pub connect_timeout: Duration,
    /// To wait for the next bytes.
    pub read_timeout: Duration,
    /// For one call of `open`, `ls_refs`, `fetch` or `sizes`, redirects included.
    pub total_deadline: Option<Duration>,
    /// Sent as `User-Agent` and as the protocol's `agent`. Some hosts serve git only to names that start with `git/`.
    pub user_agent: String,
    /// Redirects that are followed for one request.
    pub redirects_max: u32,
    /// Bytes of one pack.
    pub pack_bytes_max: Option<u64>,
    /// Sent with every command, as `git fetch --server-option` does: `at=7` asks a Cairn server for an earlier state. A remote
    /// that does not offer them is refused.
    pub server_options: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            credentials: None,
            addresses: AddressPolicy::Any,
            ca_file: None,
            connect_timeout: CONNECT_TIMEOUT,
            read_timeout: READ_TIMEOUT,
            total_deadline: None,
            user_agent: concat!("git/cairn-", env!("CARGO_PKG_VERSION")).to_owned(),
            redirects_max: REDIRECTS_MAX,
            pack_bytes_max: None,
            server_options: Vec::new(),
        }
    }
}
