//! `cairn repo …`

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Failure, Place, print, split};
use crate::auth::Grant;
use crate::error::Error;
use crate::ops;
use crate::rest::repos::{created_shape, shape};
use crate::store::catalog::{Direction, RepoPage, Sort, Window};

#[derive(Args)]
pub(super) struct RepoArgs {
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
    /// Make an empty repository and print its remote and a write token.
    Create {
        /// NAMESPACE/NAME, or NAME in `default`.
        name: String,
        /// What it is for.
        #[arg(long)]
        description: Option<String>,
        /// The branch that HEAD names.
        #[arg(long, default_value = "main")]
        default_branch: String,
        /// sha1 or sha256.
        #[arg(long, default_value = "sha1")]
        object_format: String,
        /// Refuse pushes.
        #[arg(long)]
        read_only: bool,
    },
    /// List a namespace's repositories, newest first.
    List {
        /// The namespace.
        #[arg(default_value = "default")]
        namespace: String,
        /// Part of the name.
        #[arg(long)]
        search: Option<String>,
        /// How many at most.
        #[arg(long, default_value_t = 1_000)]
        limit: u64,
    },
    /// Show a repository.
    Get {
        /// NAMESPACE/NAME, or NAME in `default`.
        name: String,
    },
    /// Fork a repository: at once, whatever its size.
    Fork {
        /// NAMESPACE/NAME of the base.
        base: String,
        /// NAMESPACE/NAME of the fork.
        name: String,
        /// What of the base is seen: the number of its last entry, a time (RFC 3339) or the whole hash of a commit.
        #[arg(long)]
        at: Option<String>,
    },
    /// Delete a repository.
    Delete {
        /// NAMESPACE/NAME, or NAME in `default`.
        name: String,
    },
}

pub(super) async fn run(args: RepoArgs) -> Result<(), Failure> {
    let (app, grant, json) = (args.place.open()?, Grant::operator(), args.json);
    match args.what {
        What::Create { name, description, default_branch, object_format, read_only } => {
            let (namespace, name) = split(&name);
            let wish = ops::create::Wish {
                namespace: namespace.into(),
                name: Some(name.into()),
                description,
                default_branch: Some(default_branch),
                object_format: Some(object_format),
                read_only,
            };
            print(json, &created_shape(&app, &ops::create::create(&app, grant, wish).await?));
        }
        What::List { namespace, search, limit } => {
            let window = Window { skip: 0, take: limit };
            let (sort, direction) = (Sort::CreatedAt, Direction::Desc);
            let page = RepoPage { namespace, search, sort, direction, after: None, window, before: 0 };
            let listed = app.catalog.repos(page).await?;
            if json {
                print(true, &Value::Array(listed.items.iter().map(|row| shape(&app, row)).collect()));
            } else {
                listed
                    .items
                    .iter()
                    .for_each(|row| println!("{}/{}\t{}", row.namespace, row.name, app.remote(row)));
            }
        }
        What::Get { name } => {
            let (namespace, name) = split(&name);
            let row = app.catalog.resolve(namespace, name).await?.ok_or_else(Error::repo_missing)?;
            print(json, &shape(&app, &row));
        }
        What::Fork { base, name, at } => {
            let ((base_namespace, base_name), (namespace, name)) = (split(&base), split(&name));
            let wish = ops::fork::Wish {
                base_namespace: base_namespace.into(),
                base_name: base_name.into(),
                namespace: Some(namespace.into()),
                name: Some(name.into()),
                at,
                ..Default::default()
            };
            print(json, &created_shape(&app, &ops::fork::fork(&app, grant, wish).await?.0));
        }
        What::Delete { name } => {
            let (namespace, name) = split(&name);
            let id = ops::delete::delete(&app, grant, namespace, name).await?;
            print(json, &json!({ "id": id.to_string() }));
        }
    }
    Ok(())
}
