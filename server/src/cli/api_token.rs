//! `cairn api-token …`: on the data folder, also beside a running server.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{json, to_value};

use super::{Failure, Place, show};
use crate::auth::Grant;
use crate::limits::PAGE_ITEMS_MAX;
use crate::ops;
use crate::rest::api_tokens::{ApiToken, MadeApiToken};
use crate::store::catalog::Window;

#[derive(Args)]
pub(super) struct ApiTokenArgs {
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
    /// Make a token; its text is shown this once.
    Create {
        /// What it is called; need not be unique.
        name: String,
        /// read or edit.
        #[arg(long, default_value = "read")]
        right: String,
        /// A namespace that it is for; several may be given. For all if absent.
        #[arg(long)]
        namespace: Vec<String>,
        /// Seconds until it expires; never if absent.
        #[arg(long)]
        ttl: Option<i64>,
    },
    /// List tokens, the newest first.
    List,
    /// Take a token back, from the next request on.
    Revoke {
        /// Its id, as `list` shows it.
        id: String,
    },
}

pub(super) async fn run(args: ApiTokenArgs) -> Result<ExitCode, Failure> {
    let app = args.place.open()?;
    let grant = Grant::owner();
    match args.what {
        What::Create { name, right, namespace, ttl } => {
            let namespaces = (!namespace.is_empty()).then_some(namespace);
            let wish = ops::api_tokens::Wish { name, right: Some(right), namespaces, ttl_seconds: ttl };
            let (row, text) = ops::api_tokens::create(&app, &grant, wish).await?;
            show::fields(args.json, &to_value(MadeApiToken::new(&row, text))?)?;
        }
        What::List => {
            let (mut all, mut skip, now) = (Vec::new(), 0, app.clock.now_ms());
            loop {
                let window = Window { skip, take: PAGE_ITEMS_MAX };
                let listed = ops::api_tokens::list(&app, &grant, window).await?;
                skip += listed.items.len() as u64;
                for row in &listed.items {
                    all.push(to_value(ApiToken::new(row, now))?);
                }
                if listed.items.is_empty() || skip >= listed.total {
                    break;
                }
            }
            show::list(args.json, &all, &["id", "name", "right", "namespaces", "state", "expires_at"])?;
        }
        What::Revoke { id } => {
            ops::api_tokens::revoke(&app, &grant, &id).await?;
            show::fields(args.json, &json!({ "id": id }))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
