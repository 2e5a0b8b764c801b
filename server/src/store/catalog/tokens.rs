//! Rows of repository tokens. The text of a token is never stored.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Catalog, CatalogError, Listed, Result, Window, api_tokens, repos};
use crate::store::RepoId;

/// What a token opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Clones and fetches.
    Read,
    /// Pushes as well.
    Write,
}

impl Scope {
    /// `read` or `write`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    /// The scope of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "read" => Some(Self::Read),
            "write" => Some(Self::Write),
            _ => None,
        }
    }
}

/// The first 16 bytes of a token's SHA-256. A token is 160 random bits, so half a hash is enough to name it and far
/// too much to invert. Its public id is the first 80 bits, in base 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 16]);

const ID_DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
const ID_BYTES: usize = 10;

impl TokenHash {
    /// The token's public id: 16 of `[0-9a-v]`.
    pub fn id(&self) -> String {
        let bits = self.0.iter().take(ID_BYTES).fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
        (0..16).rev().map(|at| char::from(ID_DIGITS[(bits >> (5 * at)) as usize & 31])).collect()
    }
}

/// The least and the greatest hash with this public id.
pub(super) fn range_of(id: &str) -> Option<([u8; 16], [u8; 16])> {
    let mut bits = 0_u128;
    if id.len() != 16 {
        return None;
    }
    for digit in id.bytes() {
        let value = ID_DIGITS.iter().position(|known| *known == digit)?;
        bits = bits << 5 | value as u128;
    }
    let low = bits << 48;
    Some((low.to_be_bytes(), (low | 0xffff_ffff_ffff).to_be_bytes()))
}

/// A token as it is stored.
#[derive(Clone, Debug)]
pub struct TokenRow {
    /// Its hash, which gives its public id.
    pub hash: TokenHash,
    /// What it opens.
    pub repo: RepoId,
    /// How far.
    pub scope: Scope,
    /// Milliseconds since 1970.
    pub created_at_ms: i64,
    /// Milliseconds since 1970; dead from then on.
    pub expires_at_ms: i64,
    /// Milliseconds since 1970; dead from then on.
    pub revoked_at_ms: Option<i64>,
}

impl TokenRow {
    /// Its state at `now`.
    pub fn state(&self, now: i64) -> TokenState {
        match self.revoked_at_ms {
            Some(_) => TokenState::Revoked,
            None if self.expires_at_ms <= now => TokenState::Expired,
            None => TokenState::Active,
        }
    }
}

/// Whether a token still opens anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// It does.
    Active,
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
}

impl TokenState {
    /// `active`, `expired` or `revoked`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// A token to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewToken {
    /// Its hash.
    pub hash: TokenHash,
    /// How far it opens.
    pub scope: Scope,
    /// Milliseconds since 1970.
    pub created_at_ms: i64,
    /// Milliseconds since 1970.
    pub expires_at_ms: i64,
}

/// Stores `token` for the repository numbered `repo`.
pub(super) fn insert(conn: &Connection, repo: i64, token: &NewToken) -> Result<()> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO tokens (hash, repo, scope, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let scope = i64::from(token.scope == Scope::Write);
    insert.execute(params![token.hash.0, repo, scope, token.created_at_ms, token.expires_at_ms])?;
    Ok(())
}

const COLUMNS: &str = "t.hash, r.id, t.scope, t.created_at, t.expires_at, t.revoked_at";
const LIVE: &str = "tokens t JOIN repos r ON r.n = t.repo AND r.deleted_at IS NULL";

fn row_of(row: &Row<'_>) -> rusqlite::Result<Result<TokenRow>> {
    let id: String = row.get(1)?;
    let Some(repo) = RepoId::parse(&id) else {
        return Ok(Err(CatalogError::Corrupt("repository id")));
    };
    Ok(Ok(TokenRow {
        hash: TokenHash(row.get(0)?),
        repo,
        scope: if row.get::<_, i64>(2)? == 0 { Scope::Read } else { Scope::Write },
        created_at_ms: row.get(3)?,
        expires_at_ms: row.get(4)?,
        revoked_at_ms: row.get(5)?,
    }))
}

impl Catalog {
    /// The token with that hash, dead or alive, unless its repository is gone.
    pub async fn token(&self, hash: TokenHash) -> Result<Option<TokenRow>> {
        self.read(move |conn| {
            let sql = format!("SELECT {COLUMNS} FROM {LIVE} WHERE t.hash = ?1");
            conn.prepare_cached(&sql)?.query_row([hash.0], row_of).optional()?.transpose()
        })
        .await
    }

    /// Stores a token for a live repository.
    pub async fn add_token(&self, repo: RepoId, token: NewToken) -> Result<()> {
        self.write(move |conn| {
            let n = repos::live_number(conn, repo)?.ok_or(CatalogError::RepoMissing)?;
            insert(conn, n, &token)
        })
        .await
    }

    /// A repository's tokens in one state, or in any, newest first.
    pub async fn tokens(
        &self,
        repo: RepoId,
        state: Option<TokenState>,
        now: i64,
        window: Window,
    ) -> Result<Listed<TokenRow>> {
        self.read(move |conn| {
            let state = match state {
                None => "?2 = ?2",
                Some(TokenState::Active) => "t.revoked_at IS NULL AND t.expires_at > ?2",
                Some(TokenState::Expired) => "t.revoked_at IS NULL AND t.expires_at <= ?2",
                Some(TokenState::Revoked) => "t.revoked_at IS NOT NULL AND ?2 = ?2",
            };
            let snapshot = conn.unchecked_transaction()?;
            let (take, skip) = window.sql();
            let sql = format!(
                "SELECT {COLUMNS} FROM {LIVE} WHERE r.id = ?1 AND {state}
                 ORDER BY t.created_at DESC, t.hash LIMIT ?3 OFFSET ?4"
            );
            let mut page = snapshot.prepare_cached(&sql)?;
            let rows = page.query_map(params![repo.to_string(), now, take, skip], row_of)?;
            let items = rows.map(|row| row?).collect::<Result<_>>()?;
            let sql = format!("SELECT COUNT(*) FROM {LIVE} WHERE r.id = ?1 AND {state}");
            let mut count = snapshot.prepare_cached(&sql)?;
            let total: i64 = count.query_row(params![repo.to_string(), now], |row| row.get(0))?;
            Ok(Listed { items, total: u64::try_from(total).unwrap_or(0) })
        })
        .await
    }

    /// Takes a token of the namespace back; doing so twice is no error.
    pub async fn revoke_token(&self, namespace: &str, id: &str, now: i64) -> Result<()> {
        let folded = namespace.to_ascii_lowercase();
        let (low, high) = range_of(id).ok_or(CatalogError::TokenMissing)?;
        self.write(move |conn| {
            let mut update = conn.prepare_cached(
                "UPDATE tokens SET revoked_at = COALESCE(revoked_at, ?1)
                 WHERE hash >= ?2 AND hash <= ?3 AND repo IN (
                     SELECT r.n FROM repos r JOIN namespaces s ON s.n = r.namespace
                     WHERE r.n = tokens.repo AND r.deleted_at IS NULL AND s.folded = ?4)",
            )?;
            match update.execute(params![now, low, high, folded])? {
                0 => Err(CatalogError::TokenMissing),
                _ => Ok(()),
            }
        })
        .await
    }

    /// Removes tokens that have been dead since before `before`.
    pub async fn sweep_tokens(&self, before: i64) -> Result<u64> {
        self.write(move |conn| {
            let gone = conn.execute("DELETE FROM tokens WHERE expires_at < ?1", [before])?;
            Ok((gone + api_tokens::sweep(conn, before)?) as u64)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::{TokenHash, range_of};

    #[test]
    fn an_id_spans_the_hashes_that_start_with_it() {
        let hash = TokenHash(std::array::from_fn(|at| (at * 37 + 201) as u8));
        let (low, high) = range_of(&hash.id()).expect("ids parse");
        assert!(low <= hash.0 && hash.0 <= high);
        assert_eq!(low[..10], hash.0[..10]);
        assert_eq!(high[..10], hash.0[..10]);
        assert!(range_of("short").is_none() && range_of("zzzzzzzzzzzzzzzz").is_none());
    }
}
