//! Settings of `cairn serve`: how long it waits for clients and works for them, and how many it takes.

use clap::{Args, value_parser};

use crate::config::Patience;
use crate::limits::{
    BODY_IDLE_MS_MAX, BODY_MIN_BYTES_PER_SECOND, CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX,
    GIT_DEADLINE_MS, HTTP2_PING_MS, REST_DEADLINE_MS, WRITE_IDLE_MS_MAX,
};

#[derive(Args)]
pub(super) struct PatienceArgs {
    /// Give up a request whose body stands still for longer, in milliseconds.
    #[arg(long, env = "CAIRN_BODY_IDLE_MS", default_value_t = BODY_IDLE_MS_MAX, value_parser = value_parser!(u64).range(1..))]
    body_idle_ms: u64,
    /// Give up a request whose body comes slower than so many bytes a second for as long as it may stand still.
    #[arg(long, env = "CAIRN_BODY_BYTES_PER_SECOND_MIN", default_value_t = BODY_MIN_BYTES_PER_SECOND, value_parser = value_parser!(u64).range(1..))]
    body_bytes_per_second_min: u64,
    /// Cut a client that takes nothing of its answer for longer, in milliseconds.
    #[arg(long, env = "CAIRN_WRITE_IDLE_MS", default_value_t = WRITE_IDLE_MS_MAX, value_parser = value_parser!(u64).range(1..))]
    write_idle_ms: u64,
    /// Ping HTTP/2 connections that are silent for longer, and close those that do not answer, in milliseconds.
    #[arg(long, env = "CAIRN_HTTP2_PING_MS", default_value_t = HTTP2_PING_MS, value_parser = value_parser!(u64).range(1..))]
    http2_ping_ms: u64,
    /// Give up a REST request for which the server itself takes longer, in milliseconds.
    #[arg(long, env = "CAIRN_REST_DEADLINE_MS", default_value_t = REST_DEADLINE_MS, value_parser = value_parser!(u64).range(1..))]
    rest_deadline_ms: u64,
    /// Give up a git request, or maintenance that was asked for, for which the server itself takes longer, in milliseconds.
    #[arg(long, env = "CAIRN_GIT_DEADLINE_MS", default_value_t = GIT_DEADLINE_MS, value_parser = value_parser!(u64).range(1..))]
    git_deadline_ms: u64,
    /// Serve so many connections at once, as far as the system's limit of descriptors goes.
    #[arg(long, env = "CAIRN_CONNECTIONS_MAX", default_value_t = CONNECTIONS_MAX, value_parser = connections)]
    connections_max: usize,
    /// Serve so many connections of one client at once, and behind trusted proxies so many requests; but never more than
    /// three quarters of --connections-max.
    #[arg(long, env = "CAIRN_CONNECTIONS_PER_ADDRESS_MAX", default_value_t = CONNECTIONS_PER_ADDRESS_MAX, value_parser = connections)]
    connections_per_address_max: usize,
}

fn connections(text: &str) -> Result<usize, String> {
    // More than that no semaphore counts.
    let max = tokio::sync::Semaphore::MAX_PERMITS;
    let number = text.parse().map_err(|error| format!("{error}"))?;
    if (1..=max).contains(&number) { Ok(number) } else { Err(format!("from 1 to {max}")) }
}

impl From<PatienceArgs> for Patience {
    fn from(args: PatienceArgs) -> Self {
        Self {
            body_idle_ms: args.body_idle_ms,
            body_bytes_per_second_min: args.body_bytes_per_second_min,
            write_idle_ms: args.write_idle_ms,
            http2_ping_ms: args.http2_ping_ms,
            rest_deadline_ms: args.rest_deadline_ms,
            git_deadline_ms: args.git_deadline_ms,
            connections_max: args.connections_max,
            connections_per_address_max: args.connections_per_address_max,
        }
    }
}
