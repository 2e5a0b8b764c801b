//! Make an empty repository: a row in the catalog and a first token.

use cairn_protocol::object::HashAlgo;

use crate::app::App;
use crate::auth::{self, Edit, Grant};
use crate::error::{Error, Result};
use crate::limits::TOKEN_TTL_SECONDS;
use crate::store::catalog::{NewRepo, RepoRow, Scope};

/// What a caller says of the new repository.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Where; made if absent.
    pub namespace: String,
    /// Its name.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// `main` if absent.
    pub default_branch: Option<String>,
    /// `sha1` if absent.
    pub object_format: Option<String>,
    /// Whether pushes are refused.
    pub read_only: bool,
}

/// A new repository and the text of its first token.
pub struct Created {
    /// The repository.
    pub row: RepoRow,
    /// A write token.
    pub token: String,
}

/// Makes the repository.
pub async fn create(app: &App, _grant: Grant<Edit>, wish: Wish) -> Result<Created> {
    let format = wish.object_format.as_deref().unwrap_or("sha1");
    let format = HashAlgo::from_name(format);
    let format = format.ok_or_else(|| Error::input("/object_format", "object_format is sha1 or sha256"))?;
    let now_ms = app.clock.now_ms();
    let token = auth::issue(Scope::Write, now_ms, TOKEN_TTL_SECONDS);
    let new = NewRepo {
        namespace: super::namespace_name(Some(&wish.namespace))?,
        name: super::repo_name(wish.name.as_deref())?,
        description: super::description(wish.description)?,
        default_branch: super::branch(wish.default_branch.unwrap_or_else(|| "main".into()))?,
        object_format: format,
        read_only: wish.read_only,
        now_ms,
        token: Some(token.row),
    };
    let row = app.catalog.create_repo(new).await?;
    Ok(Created { row, token: token.plaintext })
}
