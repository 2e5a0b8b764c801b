//! The settings of `cairn serve` that bound what callers may use. Without them nothing is bounded.

use clap::Args;

use crate::config::Bounds;
use crate::ops::quota::Allowed;
use crate::rate::Rate;

#[derive(Args)]
pub(super) struct BoundsArgs {
    /// Requests of one token, REST and git: N/s, N/m or N/h, and ,BURST for how many at once (N if absent).
    #[arg(long, env = "CAIRN_RATE_LIMIT_PER_TOKEN", value_name = "RATE")]
    rate_limit_per_token: Option<Rate>,
    /// Requests to one namespace, all tokens together, in the same form.
    #[arg(long, env = "CAIRN_RATE_LIMIT_PER_NAMESPACE", value_name = "RATE")]
    rate_limit_per_namespace: Option<Rate>,
    /// Bytes of packs that one repository may hold, what it was forked from not counted.
    #[arg(long, env = "CAIRN_REPO_BYTES_MAX", value_name = "BYTES")]
    repo_bytes_max: Option<u64>,
    /// Bytes of packs that all repositories of a namespace together may hold.
    #[arg(long, env = "CAIRN_NAMESPACE_BYTES_MAX", value_name = "BYTES")]
    namespace_bytes_max: Option<u64>,
}

impl From<BoundsArgs> for Bounds {
    fn from(args: BoundsArgs) -> Self {
        let BoundsArgs {
            rate_limit_per_token,
            rate_limit_per_namespace,
            repo_bytes_max,
            namespace_bytes_max,
        } = args;
        Self {
            rate_per_token: rate_limit_per_token,
            rate_per_namespace: rate_limit_per_namespace,
            size: Allowed { repo_bytes_max, namespace_bytes_max },
        }
    }
}
