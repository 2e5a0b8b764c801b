//! `cairn token …`

use clap::{Args, Subcommand};
use serde_json::json;

use super::http::{Payload, Problem, part, result, route};
use super::show;
use super::target::Target;

#[derive(Args)]
#[command(
    after_help = "Examples:\n  cairn token issue team/site --scope read --ttl 3600\n  cairn token list team/site\n  \
    cairn token revoke ID --namespace team"
)]
pub(super) struct TokenArgs {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Issue a token that opens one repository for git
    Issue {
        /// NAMESPACE/NAME
        repo: String,
        /// read or write
        #[arg(long, default_value = "write")]
        scope: String,
        /// Seconds until it expires, from 60 to a year; a day if absent
        #[arg(long)]
        ttl: Option<i64>,
    },
    /// List a repository's tokens, newest first; their text is not kept
    List {
        /// NAMESPACE/NAME
        repo: String,
        /// active, expired, revoked or all
        #[arg(long, default_value = "active")]
        state: String,
        /// How many at most
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Revoke a token of the namespace; it opens nothing from the next request on
    Revoke {
        /// What `token list` shows as id
        id: String,
    },
}

pub(super) fn run(args: TokenArgs) -> Result<(), Problem> {
    let (target, client) = (&args.target, args.target.client()?);
    match args.what {
        What::Issue { repo, scope, ttl } => {
            let repo = target.repo(&repo)?;
            let mut body = json!({ "repo": repo.name, "scope": scope });
            if let (Some(ttl), Some(fields)) = (ttl, body.as_object_mut()) {
                fields.insert("ttl".into(), ttl.into());
            }
            let path = format!("/namespaces/{}/tokens", part(&repo.namespace));
            show::fields(target.json, result(&client.post(&path, &body)?))
        }
        What::List { repo, state, limit } => {
            let path = route(&target.repo(&repo)?, "/tokens");
            let mut items = Vec::new();
            for page in 1.. {
                let page: String = u64::to_string(&page);
                let answer = client.get(&path, &[("state", &state), ("per_page", "100"), ("page", &page)])?;
                let found = result(&answer).as_array().cloned().unwrap_or_default();
                let is_last = found.len() < 100;
                items.extend(found);
                if is_last || items.len() >= limit {
                    break;
                }
            }
            items.truncate(limit);
            show::list(target.json, &items, &["id", "scope", "state", "created_at", "expires_at"])
        }
        What::Revoke { id } => {
            let path = format!("/namespaces/{}/tokens/{}", part(target.namespace()), part(&id));
            show::fields(target.json, result(&client.send("DELETE", &path, &[], Payload::None)?))
        }
    }
}
