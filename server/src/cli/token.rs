//! `cairn token …`

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, Place, print, split};
use crate::auth::Grant;
use crate::clock::rfc3339;
use crate::ops;

#[derive(Args)]
pub(super) struct TokenArgs {
    #[command(flatten)]
    place: Place,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Issue a token for one repository.
    Issue {
        /// NAMESPACE/NAME, or NAME in `default`.
        repo: String,
        /// read or write.
        #[arg(long, default_value = "write")]
        scope: String,
        /// Seconds until it expires.
        #[arg(long)]
        ttl: Option<i64>,
    },
}

pub(super) async fn run(args: TokenArgs) -> Result<(), Failure> {
    let app = args.place.open()?;
    let What::Issue { repo, scope, ttl } = args.what;
    let (namespace, name) = split(&repo);
    let token = ops::tokens::issue(&app, Grant::operator(), namespace, name, Some(&scope), ttl).await?;
    let result = json!({
        "id": token.row.hash.id(),
        "plaintext": token.plaintext,
        "scope": token.row.scope.name(),
        "expires_at": rfc3339(token.row.expires_at_ms),
    });
    print(args.json, &result);
    Ok(())
}
