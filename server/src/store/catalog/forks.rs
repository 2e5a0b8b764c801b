//! Forks: which prefixes of whose logs a repository stands on, and which files nobody needs any more.
//!
//! A chain is stored as 16 bytes of id and the seq in LEB128 for each log below the own one, nearest first. Where
//! some of these logs are not seen as a whole, there follow a zero byte, how many logs are, of how many one ref is (a
//! byte each; none of the rest) and the name of that ref: narrowing goes on downwards, so that there is one name alone.

use std::sync::Arc;

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
    let whole = below.iter().take_while(|pin| pin.only.is_none()).count();
    let seen = |pin: &&Pin| pin.only.as_ref().is_some_and(|name| !name.is_empty());
    let named: Vec<&Pin> = below.iter().skip(whole).take_while(seen).collect();
    if whole < below.len() {
        out.extend_from_slice(&[0, whole as u8, named.len() as u8]);
        out.extend_from_slice(named.first().and_then(|pin| pin.only.as_deref()).unwrap_or_default());
    }
    (!out.is_empty()).then_some(out)
}

/// The chain in `bytes`; `None` where they are not one.
pub(super) fn decode_chain(mut bytes: &[u8]) -> Option<Vec<Pin>> {
    let mut out: Vec<Pin> = Vec::new();
    while !bytes.is_empty() {
        if let Some(narrow) = bytes.strip_prefix(&[0]) {
            let (&[whole, named], name) = narrow.split_first_chunk()?;
            let (name, none): (Arc<[u8]>, Arc<[u8]>) = (name.into(), Arc::from([]));
            for (at, pin) in out.iter_mut().enumerate().skip(usize::from(whole)) {
                let is_named = at < usize::from(whole) + usize::from(named);
                pin.only = Some(Arc::clone(if is_named { &name } else { &none }));
            }
            return Some(out);
        }
        let (id, rest) = bytes.split_at_checked(16)?;
        let len = rest.iter().position(|byte| byte & 0x80 == 0)? + 1;
        let (digits, rest) = rest.split_at_checked(len)?;
        let mut seq = 0_u64;
        for (at, digit) in digits.iter().enumerate() {
            let value = u64::from(digit & 0x7f);
            let shift = u32::try_from(7 * at).ok()?;
            seq |= value.checked_shl(shift).filter(|moved| moved >> shift == value)?;
        }
        out.push(Pin::new(RepoId::from_bytes(id)?, Some(seq)));
        bytes = rest;
    }
    Some(out)
}

/// The number of a repository, dead or alive: forks pin the logs of deleted bases too.
fn number(conn: &Connection, id: RepoId) -> Result<i64> {
    let mut find = conn.prepare_cached("SELECT n FROM repos WHERE id = ?1")?;
    find.query_row([id.to_string()], |row| row.get(0)).optional()?.ok_or(CatalogError::Corrupt("pin"))
}

/// Keeps the logs below `repo` from being dropped.
pub(super) fn pin(conn: &Connection, repo: i64, below: &[Pin]) -> Result<()> {
    let mut pin =
        conn.prepare_cached("INSERT INTO pins (base, repo) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    for log in below {
        pin.execute([number(conn, log.id)?, repo])?;
    }
    Ok(())
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
    /// Makes a fork of `base` that stands on `below`: prefixes of the base's own log and of those that the base stands
    /// on. Logs of which nothing is seen are left out, so that forks of untouched forks stay flat. Branch and hash
    /// function are the base's.
    pub async fn fork_repo(&self, base: RepoId, below: Vec<Pin>, mut new: NewRepo) -> Result<RepoRow> {
        self.write(move |conn| {
            // A base deleted since the caller looked is refused here, before its file can be counted as free.
            let base = repos::by_id(conn, base)?.ok_or(CatalogError::RepoMissing)?;
            let below: Vec<Pin> =
                below.into_iter().filter(|pin| pin.seq.is_some_and(|seq| seq > 0)).collect();
            // What the base itself does not pin could be gone already.
            if below.iter().any(|pin| !base.pins.iter().any(|of_base| of_base.id == pin.id)) {
                return Err(CatalogError::Corrupt("fork: a log that the base does not stand on"));
            }
            if below.len() > FORK_DEPTH_MAX {
                return Err(CatalogError::ForkTooDeep { depth: below.len(), max: FORK_DEPTH_MAX });
            }
            let source = format!("artifacts:{}/{}", base.namespace, base.name);
            new.default_branch = base.default_branch;
            new.object_format = base.object_format;
            let fork = repos::insert(conn, new, Some(source), &below)?;
            pin(conn, fork.n, &below)?;
            Ok(fork)
        })
        .await
    }

    /// The last entry of a repository's log up to which another repository stands on it, or a deleted one whose file is
    /// still there; 0 where none does.
    pub async fn pinned_up_to(&self, id: RepoId) -> Result<u64> {
        self.read(move |conn| {
            let mut last = 0;
            let mut take = |sql: &str, n: i64| -> Result<()> {
                let mut chains = conn.prepare_cached(sql)?;
                let mut rows = chains.query([n])?;
                while let Some(row) = rows.next()? {
                    let chain: Vec<u8> = row.get(0)?;
                    let chain = decode_chain(&chain).ok_or(CatalogError::Corrupt("fork chain"))?;
                    let seqs = chain.iter().filter(|pin| pin.id == id).filter_map(|pin| pin.seq);
                    last = seqs.fold(last, u64::max);
                }
                Ok(())
            };
            let n = number(conn, id)?;
            let live = "SELECT r.chain FROM pins p JOIN repos r ON r.n = p.repo WHERE p.base = ?1 AND r.chain IS NOT NULL";
            take(live, n)?;
            let kept = "SELECT chain FROM repos WHERE deleted_at IS NOT NULL AND dropped = 0 AND chain IS NOT NULL AND n <> ?1";
            take(kept, n)?;
            Ok(last)
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
    use std::sync::Arc;

    use super::{decode_chain, encode_chain};
    use crate::store::{Pin, RepoId};

    #[test]
    fn chains_survive_their_bytes_and_bad_bytes_are_refused() {
        let seqs = [0, 1, 127, 128, 300, u64::MAX];
        let chain: Vec<Pin> = seqs.iter().map(|seq| Pin::new(RepoId::random(), Some(*seq))).collect();
        let bytes = encode_chain(&chain).expect("not empty");
        assert_eq!(decode_chain(&bytes).as_deref(), Some(chain.as_slice()));
        let names: [Arc<[u8]>; 2] = [b"refs/heads/main".as_slice().into(), b"refs/heads/x".as_slice().into()];
        for (first, second) in [(0, 0), (0, 3), (2, 2), (2, 6), (6, 6)] {
            // Narrowed at two forks, to two names: below the second, nothing is seen.
            let narrowed = |(at, pin): (usize, &Pin)| {
                let pin = if at >= first { pin.clone().narrowed(&names[0]) } else { pin.clone() };
                if at >= second { pin.narrowed(&names[0]).narrowed(&names[1]) } else { pin }
            };
            let narrow: Vec<Pin> = chain.iter().enumerate().map(narrowed).collect();
            let bytes = encode_chain(&narrow).expect("not empty");
            assert_eq!(decode_chain(&bytes), Some(narrow), "{first} {second}");
        }
        assert_eq!(encode_chain(&[]), None);
        let mut cut = encode_chain(chain.get(4..5).expect("six rows")).expect("not empty");
        cut.pop();
        assert_eq!(decode_chain(&cut), None, "cut inside a seq");
        let endless = [b"0123456789abcdef".as_slice(), &[0xff; 11], &[1]].concat();
        assert_eq!(decode_chain(&endless), None, "seq beyond 64 bits");
        assert_eq!(decode_chain(b"ABC"), None, "not an id");
    }
}
