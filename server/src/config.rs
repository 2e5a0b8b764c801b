//! What the operator chose.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::limits::{
    BODY_IDLE_MS_MAX, BODY_MIN_BYTES_PER_SECOND, CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX,
    GIT_DEADLINE_MS, HTTP2_PING_MS, KEEP_UNREACHABLE_DAYS, MAINTAIN_QUIET_MS, MEMORY_BUDGET_BYTES,
    MEMORY_UPLOAD_WAIT_MS_MAX, MEMORY_WAIT_MS_MAX, MEMORY_WAITING_MAX, REST_DEADLINE_MS, SLOW_REQUEST_MS,
    WRITE_IDLE_MS_MAX,
};
use crate::ops::quota::Allowed;
use crate::peer::Network;
use crate::rate::Rate;

/// What callers may use; `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// Requests of one token.
    pub rate_per_token: Option<Rate>,
    /// Requests to one namespace.
    pub rate_per_namespace: Option<Rate>,
    /// Bytes that are kept.
    pub size: Allowed,
}

/// How long clients are waited for and worked for, in milliseconds, and how many.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Silence while the body of a request is awaited.
    pub body_idle_ms: u64,
    /// A body that comes slower uses up that time, in bytes a second.
    pub body_bytes_per_second_min: u64,
    /// Time in which nothing of an answer is taken.
    pub write_idle_ms: u64,
    /// Silence of an HTTP/2 connection before it is pinged, and then the wait for the answer.
    pub http2_ping_ms: u64,
    /// What the server itself takes for a REST request.
    pub rest_deadline_ms: u64,
    /// What it takes for a git request, and for maintenance that is asked for.
    pub git_deadline_ms: u64,
    /// Connections at once.
    pub connections_max: usize,
    /// Those of one client, as far as some are left for others.
    pub connections_per_address_max: usize,
}

impl Patience {
    /// Connections of one client: three quarters of all at the most.
    pub fn connections_per_address(&self) -> usize {
        self.connections_per_address_max.min(self.connections_max - self.connections_max / 4)
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            body_idle_ms: BODY_IDLE_MS_MAX,
            body_bytes_per_second_min: BODY_MIN_BYTES_PER_SECOND,
            write_idle_ms: WRITE_IDLE_MS_MAX,
            http2_ping_ms: HTTP2_PING_MS,
            rest_deadline_ms: REST_DEADLINE_MS,
            git_deadline_ms: GIT_DEADLINE_MS,
            connections_max: CONNECTIONS_MAX,
            connections_per_address_max: CONNECTIONS_PER_ADDRESS_MAX,
        }
    }
}

/// How much memory large work may take, and how long it may be waited for.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// All requests together.
    pub budget_bytes: u64,
    /// A request before its answer.
    pub wait_ms: u64,
    /// A push that is uploaded.
    pub upload_wait_ms: u64,
    /// Requests that wait at once.
    pub waiting_max: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            budget_bytes: MEMORY_BUDGET_BYTES,
            wait_ms: MEMORY_WAIT_MS_MAX,
            upload_wait_ms: MEMORY_UPLOAD_WAIT_MS_MAX,
            waiting_max: MEMORY_WAITING_MAX,
        }
    }
}

/// Settings of one server, complete.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder that holds everything.
    pub data: PathBuf,
    /// The account that REST paths name.
    pub account: String,
    /// Origin that clients use, without a slash at the end.
    pub public_url: String,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Requests whose answer's head takes longer are logged; in milliseconds.
    pub slow_request_ms: u64,
    /// How long clients are waited for and worked for, and how many.
    pub patience: Patience,
    /// How much memory large work may take.
    pub memory: Memory,
    /// What callers may use.
    pub bounds: Bounds,
    /// Whence may be imported.
    pub imports: ImportConfig,
    /// Without a push for so long, a repository is maintained, in milliseconds; `None`: the server does nothing of itself.
    pub maintenance_quiet_ms: Option<u64>,
    /// What no ref named for so long is dropped, in milliseconds; `None`: nothing is.
    pub keep_unreachable_ms: Option<u64>,
}

/// Whence may be imported.
#[derive(Clone, Debug, Default)]
pub struct ImportConfig {
    /// Whether remotes may be on loopback and on private networks.
    pub allow_private: bool,
    /// A PEM file with certificate authorities that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
}

impl Default for Config {
    /// What the command line takes where nothing is said.
    fn default() -> Self {
        Self {
            data: "./cairn-data".into(),
            account: "local".into(),
            public_url: "http://127.0.0.1:8787".into(),
            trusted_proxies: Vec::new(),
            slow_request_ms: SLOW_REQUEST_MS,
            patience: Patience::default(),
            memory: Memory::default(),
            bounds: Bounds::default(),
            imports: ImportConfig::default(),
            maintenance_quiet_ms: Some(MAINTAIN_QUIET_MS),
            keep_unreachable_ms: Some(KEEP_UNREACHABLE_DAYS * 86_400_000),
        }
    }
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
    /// Certificate chain and key as PEM files, where the server itself speaks TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Requests whose answer's head takes longer are logged; in milliseconds.
    pub slow_request_ms: u64,
    /// How long clients are waited for and worked for, and how many.
    pub patience: Patience,
    /// How much memory large work may take.
    pub memory: Memory,
    /// What callers may use.
    pub bounds: Bounds,
    /// Without a push for so long, a repository is maintained, in milliseconds; `None`: the server does nothing of itself.
    pub maintenance_quiet_ms: Option<u64>,
    /// What no ref named for so long is dropped, in milliseconds; `None`: nothing is.
    pub keep_unreachable_ms: Option<u64>,
}

/// Where a process on this machine reaches a server that listens there: one that listens everywhere is at loopback, too.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
