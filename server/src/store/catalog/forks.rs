//! Forks: which prefixes of whose logs a repository stands on, and which files nobody needs any more.
//!
//! A chain is stored as 16 bytes of id and the seq in LEB128 for each log below the own one, nearest first.

use rusqlite::{Connection, OptionalExtension};

use super::{Catalog, CatalogError, NewRepo, RepoRow, Result, repos};
use crate::limits::FORK_DEPTH_MAX;
use crate::store::{Pin, RepoId};

/// The bytes of a chain; `None` for an empty one.
pub(super) fn encode_chain(below: &[Pin]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(below.len() * 19);
    for pin in below {
        out.extend_from_slice(pin.id.as_bytes());
        let mut seq = pin.seq.unwrap_or(0);
        while seq >= 0x80 {
            out.push(seq as u8 | 0x80);
            seq >>= 7;
        }
        out.push(seq as u8);
    }
    (!out.is_empty()).then_some(out)
}

/// The chain in `bytes`; `None` where they are not one.
pub(super) fn decode_chain(mut bytes: &[u8]) -> Option<Vec<Pin>> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let (id, rest) = bytes.split_at_checked(16)?;
        let len = rest.iter().position(|byte| byte & 0x80 == 0)? + 1;
        let (digits, rest) = rest.split_at_checked(len)?;
        let mut seq = 0_u64;
        for (at, digit) in digits.iter().enumerate() {
            let value = u64::from(digit & 0x7f);
            let shift = u32::try_from(7 * at).ok()?;
            seq |= value.checked_shl(shift).filter(|moved| moved >> shift == value)?;
        }
        out.push(Pin { id: RepoId::from_bytes(id)?, seq: Some(seq) });
        bytes = rest;
    }
    Some(out)
}

/// The number of a repository, dead or alive: forks pin the logs of deleted bases too.
fn number(conn: &Connection, id: RepoId) -> Result<i64> {
    let mut find = conn.prepare_cached("SELECT n FROM repos WHERE id = ?1")?;
    find.query_row([id.to_string()], |row| row.get(0)).optional()?.ok_or(CatalogError::Corrupt("pin"))
}

/// Frees what `repo` pinned.
pub(super) fn unpin(conn: &Connection, repo: i64, below: &[Pin]) -> Result<()> {
    let mut free = conn.prepare_cached("DELETE FROM pins WHERE base = ?1 AND repo = ?2")?;
    for pin in below {
        free.execute([number(conn, pin.id)?, repo])?;
    }
    Ok(())
}

impl Catalog {
    /// Makes a fork of `base` as of `seq` of its own log. A base whose own log is not seen (`seq` 0) is left out, so
    /// that forks of untouched forks stay flat. Branch and hash function are the base's.
    pub async fn fork_repo(&self, base: RepoId, seq: u64, mut new: NewRepo) -> Result<RepoRow> {
        self.write(move |conn| {
            // A base deleted since the caller looked is refused here, before its file can be counted as free.
            let base = repos::by_id(conn, base)?.ok_or(CatalogError::RepoMissing)?;
            let mut below: Vec<Pin> = base.pins.iter().skip(1).copied().collect();
            if seq > 0 {
                below.insert(0, Pin { id: base.id, seq: Some(seq) });
            }
            if below.len() > FORK_DEPTH_MAX {
                return Err(CatalogError::ForkTooDeep { depth: below.len(), max: FORK_DEPTH_MAX });
            }
            let source = format!("artifacts:{}/{}", base.namespace, base.name);
            new.default_branch = base.default_branch;
            new.object_format = base.object_format;
            let fork = repos::insert(conn, new, Some(source), &below)?;
            let mut pin =
                conn.prepare_cached("INSERT INTO pins (base, repo) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
            for log in &below {
                pin.execute([number(conn, log.id)?, fork.n])?;
            }
            Ok(fork)
        })
        .await
    }

    /// Deleted repositories whose file no live repository pins. Nothing can pin them again.
    pub async fn files_to_drop(&self) -> Result<Vec<RepoId>> {
        self.read(|conn| {
            let mut find = conn.prepare_cached(
                "SELECT id FROM repos WHERE deleted_at IS NOT NULL AND dropped = 0
                 AND NOT EXISTS (SELECT 1 FROM pins WHERE pins.base = repos.n)",
            )?;
            let ids = find.query_map([], |row| row.get::<_, String>(0))?;
            ids.map(|id| RepoId::parse(&id?).ok_or(CatalogError::Corrupt("repository id"))).collect()
        })
        .await
    }

    /// Notes that the file of a deleted repository is gone.
    pub async fn file_dropped(&self, id: RepoId) -> Result<()> {
        self.write(move |conn| {
            let mut note =
                conn.prepare_cached("UPDATE repos SET dropped = 1 WHERE id = ?1 AND deleted_at IS NOT NULL")?;
            note.execute([id.to_string()])?;
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::{decode_chain, encode_chain};
    use crate::store::{Pin, RepoId};

    #[test]
    fn chains_survive_their_bytes_and_bad_bytes_are_refused() {
        let seqs = [0, 1, 127, 128, 300, u64::MAX];
        let chain: Vec<Pin> = seqs.iter().map(|seq| Pin { id: RepoId::random(), seq: Some(*seq) }).collect();
        let bytes = encode_chain(&chain).expect("not empty");
        assert_eq!(decode_chain(&bytes).as_deref(), Some(chain.as_slice()));
        assert_eq!(encode_chain(&[]), None);
        let mut cut = encode_chain(chain.get(4..5).expect("six rows")).expect("not empty");
        cut.pop();
        assert_eq!(decode_chain(&cut), None, "cut inside a seq");
        let endless = [b"0123456789abcdef".as_slice(), &[0xff; 11], &[1]].concat();
        assert_eq!(decode_chain(&endless), None, "seq beyond 64 bits");
        assert_eq!(decode_chain(b"ABC"), None, "not an id");
    }
}
