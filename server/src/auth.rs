//! Who may do what. A `Grant` is made here alone, so that an unchecked operation does not compile.
//!
//! The API token opens REST and nothing else; a repository's token opens git on that repository and nothing else.

mod extract;
mod token;

use std::marker::PhantomData;

use axum::http::{HeaderMap, header};

use crate::store::catalog::{Catalog, CatalogError, RepoRow, Scope, TokenHash, TokenState};

pub use token::{ApiToken, Issued, issue};

/// May read one repository.
#[derive(Clone, Copy, Debug)]
pub enum Read {}
/// May read and write one repository.
#[derive(Clone, Copy, Debug)]
pub enum Write {}
/// May do everything that REST offers.
#[derive(Clone, Copy, Debug)]
pub enum Admin {}

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

/// Proof that access was checked.
#[derive(Clone, Copy, Debug)]
pub struct Grant<A>(PhantomData<A>);

impl Grant<Admin> {
    /// For the command line: who can open the data folder may do everything.
    pub fn operator() -> Self {
        Self(PhantomData)
    }
}

impl Grant<Write> {
    /// Who may write may read.
    pub fn reading(self) -> Grant<Read> {
        Grant(PhantomData)
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
    if A::NEEDED == Scope::Write && row.read_only {
        return Err(GitDenied::ReadOnly);
    }
    Ok(GitAccess { row, scope: token.scope, token: hash, grant: Grant(PhantomData) })
}
