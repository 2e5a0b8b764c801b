//! What the operator chose.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::peer::Network;

/// Settings of one server, complete.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The folder that holds everything.
    pub data: PathBuf,
    /// The account that REST paths name.
    pub account: String,
    /// Origin that clients use, without a slash at the end.
    pub public_url: String,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
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
    /// Certificate chain and key as PEM files, where the server itself speaks TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
}
