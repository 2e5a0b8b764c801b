//! What the operator chose.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Settings of one server, complete: nothing is defaulted after this.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder that holds everything.
    pub data: PathBuf,
    /// The account that REST paths name.
    pub account: String,
    /// Origin that clients use, without a slash at the end.
    pub public_url: String,
    /// Whence may be imported.
    pub imports: ImportConfig,
}

/// Whence may be imported.
#[derive(Clone, Debug, Default)]
pub struct ImportConfig {
    /// Whether remotes may be on loopback and on private networks.
    pub allow_private: bool,
    /// A PEM file with certificate authorities that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// Settings as they were given, before the folder and the port are known.
#[derive(Clone, Debug)]
pub struct Given {
    /// Where to listen; port 0 picks one.
    pub listen: SocketAddr,
    /// The folder that holds everything.
    pub data: PathBuf,
    /// Origin that clients use, where it is not the address listened on.
    pub public_url: Option<String>,
    /// The API token, where it is not the one kept in the folder.
    pub api_token: Option<String>,
    /// The account that REST paths name.
    pub account: String,
    /// Whence may be imported.
    pub imports: ImportConfig,
}
