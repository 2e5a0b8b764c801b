//! Who may do what. A `Grant` is made here alone, so that an unchecked operation does not compile.
//!
//! API tokens open REST and nothing else; a repository's token opens git on that repository and nothing else.

mod extract;
mod token;

use std::marker::PhantomData;
use std::sync::Arc;

use axum::http::{HeaderMap, header};

use crate::error::{Error, code};
use crate::store::catalog::{Catalog, CatalogError, RepoRow, Scope, TokenHash, TokenState};

pub use token::{ApiToken, Issued, api_token, issue};

/// May read one repository.
#[derive(Clone, Copy, Debug)]
pub enum Read {}
/// May read and write one repository.
#[derive(Clone, Copy, Debug)]
pub enum Write {}
/// May look at everything that REST shows of the caller's namespaces.
#[derive(Clone, Copy, Debug)]
pub enum View {}
/// May do everything that REST offers in the caller's namespaces.
#[derive(Clone, Copy, Debug)]
pub enum Edit {}

/// May do what concerns the server as a whole: make and take back API tokens.
#[derive(Clone, Copy, Debug)]
pub enum Owner {}

/// Kinds of access to a repository that a token can give.
pub trait Access: sealed::Sealed {
    /// The least scope that gives it.
    const NEEDED: Scope;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Read {}
    impl Sealed for super::Write {}
}

impl Access for Read {
    const NEEDED: Scope = Scope::Read;
}

impl Access for Write {
    const NEEDED: Scope = Scope::Write;
}

/// Who asks, and for which namespaces it may.
#[derive(Debug)]
pub struct Caller {
    /// For the log of who did what: `api:<id>`, `token:<id>` or `operator`. Never a secret.
    pub actor: String,
    /// The namespaces it is restricted to, in lower case; `None` for all.
    pub namespaces: Option<Vec<String>>,
    /// What its token is called in lists: an API token's id, or `owner`; empty for git clients.
    pub token_id: String,
}

impl Caller {
    /// Whether the caller may name this namespace.
    pub fn may_name(&self, namespace: &str) -> bool {
        let folded = namespace.to_ascii_lowercase();
        self.namespaces.as_ref().is_none_or(|allowed| allowed.contains(&folded))
    }
}

/// Proof that access was checked, and for whom.
#[derive(Clone, Debug)]
pub struct Grant<A> {
    caller: Arc<Caller>,
    access: PhantomData<A>,
}

impl<A> Grant<A> {
    fn new(caller: Arc<Caller>) -> Self {
        Self { caller, access: PhantomData }
    }

    /// Who was let in.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Refuses a namespace that the caller is not for. Routes that name one in their path are checked already; this
    /// is for names in bodies.
    pub fn check_namespace(&self, namespace: &str) -> Result<(), Error> {
        if self.caller.may_name(namespace) {
            return Ok(());
        }
        Err(Error::new(code::FORBIDDEN, "this API token is not for that namespace"))
    }
}

/// For the command line: who can open the data folder may do everything.
fn operator() -> Arc<Caller> {
    Arc::new(Caller { actor: "operator".into(), namespaces: None, token_id: String::new() })
}

impl Grant<Owner> {
    /// For the command line: who can open the data folder may do everything.
    pub fn owner() -> Self {
        Self::new(operator())
    }
}

impl Grant<Edit> {
    /// For the command line: who can open the data folder may do everything.
    pub fn operator() -> Self {
        Self::new(operator())
    }

    /// Who may change things may look at them.
    pub fn viewing(&self) -> Grant<View> {
        Grant::new(Arc::clone(&self.caller))
    }
}

impl Grant<Write> {
    /// Who may write may read.
    pub fn reading(self) -> Grant<Read> {
        Grant::new(self.caller)
    }
}

/// A git client that was let in.
#[derive(Clone, Debug)]
pub struct GitAccess<A> {
    /// The repository.
    pub row: RepoRow,
    /// What the token could do at most.
    pub scope: Scope,
    /// The token, for the log of who did what.
    pub token: TokenHash,
    /// The proof.
    pub grant: Grant<A>,
}

/// Why a git client is not let in.
#[derive(Debug)]
pub enum GitDenied {
    /// No token, or one that does not open this repository, which may not exist: 401, with a challenge.
    Unauthenticated,
    /// The token reads, and writing was asked for: 403.
    Forbidden,
    /// The repository refuses writes, whoever asks: 403.
    ReadOnly,
    /// The repository is still being imported: 409.
    Importing,
    /// The catalog could not be asked.
    Catalog(CatalogError),
}

impl From<CatalogError> for GitDenied {
    fn from(error: CatalogError) -> Self {
        Self::Catalog(error)
    }
}

/// Checks a git request for `namespace`/`name` (without `.git`) at time `now`.
pub async fn git_grant<A: Access>(
    catalog: &Catalog,
    now_ms: i64,
    headers: &HeaderMap,
    namespace: &str,
    name: &str,
) -> Result<GitAccess<A>, GitDenied> {
    let credentials = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let hash = credentials.and_then(token::from_credentials).ok_or(GitDenied::Unauthenticated)?;
    let token = catalog.token(hash).await?.ok_or(GitDenied::Unauthenticated)?;
    let row = catalog.resolve(namespace, name).await?.ok_or(GitDenied::Unauthenticated)?;
    if token.state(now_ms) != TokenState::Active || token.repo != row.id {
        return Err(GitDenied::Unauthenticated);
    }
    if token.scope < A::NEEDED {
        return Err(GitDenied::Forbidden);
    }
    if row.importing {
        return Err(GitDenied::Importing);
    }
    if A::NEEDED == Scope::Write && row.read_only {
        return Err(GitDenied::ReadOnly);
    }
    let caller = Caller { actor: format!("token:{}", hash.id()), namespaces: None, token_id: String::new() };
    Ok(GitAccess { row, scope: token.scope, token: hash, grant: Grant::new(Arc::new(caller)) })
}
