//! `cairn refs …`

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::http::{Payload, Problem, parts, result, route};
use super::show;
use super::target::Target;

#[derive(Args)]
#[command(
    after_help = "Examples:\n  cairn refs list team/site --prefix refs/tags/\n  cairn refs get team/site HEAD\n  \
    cairn refs set team/site refs/heads/topic 2f5a99e0... --expect 52d3c01f...\n  cairn refs delete team/site refs/heads/topic"
)]
pub(super) struct RefsArgs {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List refs and what they point at
    List {
        /// NAMESPACE/NAME
        #[arg(value_name = "NS/NAME")]
        of: String,
        /// Only refs whose full name begins so
        #[arg(long)]
        prefix: Option<String>,
        /// As of the number of an entry or an RFC 3339 time
        #[arg(long, value_name = "SEQ|TIME")]
        at: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 100_000)]
        limit: usize,
    },
    /// Show one ref
    Get {
        /// NAMESPACE/NAME
        #[arg(value_name = "NS/NAME")]
        of: String,
        /// Its full name, or HEAD
        name: String,
    },
    /// Make or move a ref
    Set {
        /// NAMESPACE/NAME
        #[arg(value_name = "NS/NAME")]
        of: String,
        /// Its full name
        name: String,
        /// The whole id of what it is to point at
        oid: String,
        /// Only if it points at this id now; all zeros: only if there is none
        #[arg(long, value_name = "OID")]
        expect: Option<String>,
        /// Also where this is no fast-forward
        #[arg(long)]
        force: bool,
    },
    /// Delete a ref
    Delete {
        /// NAMESPACE/NAME
        #[arg(value_name = "NS/NAME")]
        of: String,
        /// Its full name
        name: String,
        /// Only if it points at this id now
        #[arg(long, value_name = "OID")]
        expect: Option<String>,
    },
}

pub(super) fn run(args: RefsArgs) -> Result<(), Problem> {
    let (target, client) = (&args.target, args.target.client()?);
    let place =
        |of: &str, name: &str| Ok::<_, Problem>(route(&target.repo(of)?, &format!("/refs/{}", parts(name))));
    match args.what {
        What::List { of, prefix, at, limit } => {
            let mut query = vec![("limit", "1000")];
            query.extend(prefix.as_deref().map(|prefix| ("prefix", prefix)));
            query.extend(at.as_deref().map(|at| ("at", at)));
            let refs = client.all(&route(&target.repo(&of)?, "/refs"), &query, limit)?;
            if target.json {
                return show::json(&Value::Array(refs));
            }
            refs.iter().try_for_each(|item| {
                let [hash, name, symref] = ["hash", "name", "symref"].map(|field| show::text(item, field));
                let arrow = if symref.is_empty() { String::new() } else { format!(" → {symref}") };
                show::line(&format!("{hash} {name}{arrow}"))
            })
        }
        What::Get { of, name } => show::fields(target.json, result(&client.get(&place(&of, &name)?, &[])?)),
        What::Set { of, name, oid, expect, force } => {
            let mut body = json!({ "oid": oid });
            if let Some(fields) = body.as_object_mut() {
                let is_absent = |oid: &str| oid.bytes().all(|digit| digit == b'0');
                let old = expect.map(|oid| if is_absent(&oid) { Value::Null } else { oid.into() });
                fields.extend(old.map(|old| ("expected".to_owned(), old)));
                fields.extend(force.then(|| ("force".to_owned(), true.into())));
            }
            let answer = client.send("PUT", &place(&of, &name)?, &[], Payload::Json(&body))?;
            show::fields(target.json, result(&answer))
        }
        What::Delete { of, name, expect } => {
            let query: Vec<_> = expect.as_deref().map(|expect| ("expected", expect)).into_iter().collect();
            let answer = client.send("DELETE", &place(&of, &name)?, &query, Payload::None)?;
            match target.json {
                true => show::json(result(&answer)),
                false => show::line(&format!("deleted {name}")),
            }
        }
    }
}
