//! `cairn ns …`

use clap::{Args, Subcommand};
use serde_json::json;

use super::http::{Payload, Problem, part, result};
use super::show;
use super::target::Target;

#[derive(Args)]
#[command(after_help = "Examples:\n  cairn ns create team\n  cairn ns list\n  cairn ns delete team --force")]
pub(super) struct NsArgs {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List namespaces
    List {
        /// How many at most
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Show a namespace
    Get {
        /// Its name
        name: String,
    },
    /// Make a namespace; making a repository in it does so too
    Create {
        /// Its name
        name: String,
    },
    /// Delete a namespace
    Delete {
        /// Its name
        name: String,
        /// With all its repositories
        #[arg(long)]
        force: bool,
    },
}

pub(super) fn run(args: NsArgs) -> Result<(), Problem> {
    let (client, as_json) = (args.target.client()?, args.target.json);
    match args.what {
        What::List { limit } => {
            let items = client.all("/namespaces", &[("limit", "200")], limit)?;
            show::list(as_json, &items, &["namespace", "#repo_count", "created_at", "updated_at"])
        }
        What::Get { name } => {
            show::fields(as_json, result(&client.get(&format!("/namespaces/{}", part(&name)), &[])?))
        }
        What::Create { name } => {
            show::fields(as_json, result(&client.post("/namespaces", &json!({ "namespace": name }))?))
        }
        What::Delete { name, force } => {
            let query: &[_] = if force { &[("force", "true")] } else { &[] };
            client.send("DELETE", &format!("/namespaces/{}", part(&name)), query, Payload::None)?;
            match as_json {
                true => show::json(&json!({ "deleted": name })),
                false => show::line(&format!("deleted {name}")),
            }
        }
    }
}
