//! Rows of API tokens, which open REST. The text of a token is never stored.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::tokens::range_of;
use super::{Catalog, CatalogError, Listed, Result, TokenHash, TokenState, Window};

/// What an API token may do in the namespaces that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Look at everything.
    Read,
    /// Change things as well.
    Edit,
}

impl Right {
    /// `read` or `edit`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Edit => "edit",
        }
    }

    /// The right of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "read" => Some(Self::Read),
            "edit" => Some(Self::Edit),
            _ => None,
        }
    }
}

/// An API token as it is stored. Its public id is that of its hash.
#[derive(Clone, Debug)]
pub struct ApiTokenRow {
    /// Its hash.
    pub hash: TokenHash,
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub right: Right,
    /// The namespaces that it is for, in lower case; `None` for all.
    pub namespaces: Option<Vec<String>>,
    /// Milliseconds since 1970.
    pub created_at_ms: i64,
    /// Milliseconds since 1970, dead from then on; `None` for never.
    pub expires_at_ms: Option<i64>,
    /// Milliseconds since 1970; dead from then on.
    pub revoked_at_ms: Option<i64>,
}

impl ApiTokenRow {
    /// Its state at `now`.
    pub fn state(&self, now: i64) -> TokenState {
        match (self.revoked_at_ms, self.expires_at_ms) {
            (Some(_), _) => TokenState::Revoked,
            (None, Some(end)) if end <= now => TokenState::Expired,
            _ => TokenState::Active,
        }
    }
}

const COLUMNS: &str = "hash, name, edits, namespaces, created_at, expires_at, revoked_at";

fn row_of(row: &Row<'_>) -> rusqlite::Result<ApiTokenRow> {
    let namespaces: Option<String> = row.get(3)?;
    Ok(ApiTokenRow {
        hash: TokenHash(row.get(0)?),
        name: row.get(1)?,
        right: if row.get(2)? { Right::Edit } else { Right::Read },
        namespaces: namespaces.map(|names| names.split('/').map(str::to_owned).collect()),
        created_at_ms: row.get(4)?,
        expires_at_ms: row.get(5)?,
        revoked_at_ms: row.get(6)?,
    })
}

/// Removes what has been dead since before `before`.
pub(super) fn sweep(conn: &Connection, before: i64) -> Result<usize> {
    let sql = "DELETE FROM api_tokens WHERE expires_at < ?1 OR revoked_at < ?1";
    Ok(conn.execute(sql, [before])?)
}

impl Catalog {
    /// The API token with that hash, dead or alive.
    pub async fn api_token(&self, hash: TokenHash) -> Result<Option<ApiTokenRow>> {
        self.read(move |conn| {
            let sql = format!("SELECT {COLUMNS} FROM api_tokens WHERE hash = ?1");
            Ok(conn.prepare_cached(&sql)?.query_row([hash.0], row_of).optional()?)
        })
        .await
    }

    /// Stores an API token.
    pub async fn add_api_token(&self, token: ApiTokenRow) -> Result<()> {
        self.write(move |conn| {
            let sql = "INSERT INTO api_tokens (hash, name, edits, namespaces, created_at, expires_at)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let edits = i64::from(token.right == Right::Edit);
            // No name of a namespace holds a slash.
            let namespaces = token.namespaces.map(|names| names.join("/"));
            let (made, end) = (token.created_at_ms, token.expires_at_ms);
            conn.execute(sql, params![token.hash.0, token.name, edits, namespaces, made, end])?;
            Ok(())
        })
        .await
    }

    /// API tokens, dead ones too, newest first.
    pub async fn api_tokens(&self, window: Window) -> Result<Listed<ApiTokenRow>> {
        self.read(move |conn| {
            let snapshot = conn.unchecked_transaction()?;
            let sql =
                format!("SELECT {COLUMNS} FROM api_tokens ORDER BY created_at DESC, hash LIMIT ?1 OFFSET ?2");
            let (take, skip) = window.sql();
            let mut page = snapshot.prepare_cached(&sql)?;
            let items = page.query_map([take, skip], row_of)?.collect::<rusqlite::Result<_>>()?;
            let count = "SELECT COUNT(*) FROM api_tokens";
            let total: i64 = snapshot.prepare_cached(count)?.query_row([], |row| row.get(0))?;
            Ok(Listed { items, total: u64::try_from(total).unwrap_or(0) })
        })
        .await
    }

    /// Takes an API token back; doing so twice is no error.
    pub async fn revoke_api_token(&self, id: &str, now: i64) -> Result<()> {
        let (low, high) = range_of(id).ok_or(CatalogError::TokenMissing)?;
        self.write(move |conn| {
            let sql = "UPDATE api_tokens SET revoked_at = COALESCE(revoked_at, ?1)
                       WHERE hash >= ?2 AND hash <= ?3";
            match conn.execute(sql, params![now, low, high])? {
                0 => Err(CatalogError::TokenMissing),
                _ => Ok(()),
            }
        })
        .await
    }
}
