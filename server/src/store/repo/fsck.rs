//! Checking a repository file from its first byte to its last ref, and copying one while it serves.

use std::path::Path;
use std::sync::Arc;

use cairn_protocol::object::{HashAlgo, Hasher, ObjectId, hash_object};
use cairn_protocol::source::ObjRef;
use cairn_protocol::walk::Reader;
use rusqlite::{Connection, OpenFlags};

use super::file::{PackMeta, RepoFile};
use super::index::{read_pack, read_record};
use super::limits::CHUNK_BYTES;
use super::schema::{self, Use};
use super::snapshot::Snapshot;
use crate::store::StoreError;
use crate::store::disk::{self, Disk, Draft};
use crate::store::files::{Files, Pin};

/// Findings kept; a file that is broken throughout says so soon.
const FINDINGS_MAX: usize = 1_000;

/// What is wrong with the own log of a repository; empty where all is well.
///
/// Reads every object. May run beside the process that serves, with `Files::open_read_only`. What is staged is no finding:
/// it is a push under way, or what a crash left and the next open sweeps.
pub fn fsck(files: &Files, algo: HashAlgo, chain: &[Pin]) -> Vec<String> {
    let mut found = Vec::new();
    if let Err(error) = check(files, algo, chain, &mut found) {
        found.push(format!("the check stopped: {error}"));
    }
    found
}

fn check(files: &Files, algo: HashAlgo, chain: &[Pin], found: &mut Vec<String>) -> Result<(), StoreError> {
    let snapshot = files.repo(algo, chain)?.snapshot(None)?;
    let Some(file) = snapshot.views().first().and_then(|view| view.file.clone()) else {
        return Ok(());
    };
    file.read(|conn| check_tables(conn, snapshot.seq(), found))?;
    let packs = file.packs().list.clone();
    let mut next = 0;
    // One for all: bases of delta chains are made once.
    let mut reader = Reader::new(&snapshot, algo);
    for pack in &packs {
        if pack.base_ordinal != next {
            found.push(format!("pack {}: first ordinal {}, expected {next}", pack.id, pack.base_ordinal));
        }
        next = pack.end();
        if let Err(error) = check_trailer(&file, pack, found) {
            found.push(format!("pack {}: {error}", pack.id));
        }
        for index in 0..pack.object_count {
            if found.len() >= FINDINGS_MAX {
                found.push("more findings are left out".to_owned());
                return Ok(());
            }
            if let Err(error) = check_object(&mut reader, &snapshot, (&file, pack, index), found) {
                found.push(format!("pack {}, object {index}: {error}", pack.id));
            }
        }
    }
    let mut missing = Vec::new();
    let mut failed = None;
    snapshot.refs(b"", &mut |row| {
        let ids = [Some(row.id), row.peeled].into_iter().flatten();
        for id in ids {
            match snapshot.find_from(0, &id) {
                Ok(Some(_)) => {}
                Ok(None) => missing.push(format!("ref {} names {id}, which is missing", show(&row.name))),
                Err(error) => failed = Some(error),
            }
        }
        failed.is_none()
    })?;
    found.append(&mut missing);
    failed.map_or(Ok(()), Err)
}

fn show(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn check_tables(conn: &Connection, head: u64, found: &mut Vec<String>) -> Result<(), StoreError> {
    let mut integrity = conn.prepare("PRAGMA integrity_check(20)")?;
    for line in integrity.query_map([], |row| row.get::<_, String>(0))? {
        let line = line?;
        if line != "ok" {
            found.push(format!("sqlite: {line}"));
        }
    }
    let count: i64 =
        conn.query_row("SELECT count(*) FROM entry WHERE seq <= ?1", [schema::int(head)], |row| row.get(0))?;
    if count != schema::int(head) {
        found.push(format!("{count} entries up to seq {head}"));
    }
    let questions = [
        (
            "entry without its pack",
            "SELECT seq FROM entry WHERE pack IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM pack
                 WHERE pack.id = entry.pack AND live = 1 AND pack.seq = entry.seq)
             AND NOT EXISTS (SELECT 1 FROM pack JOIN meta ON meta.key = 'layout' AND meta.value > 1
                 WHERE pack.id = entry.pack AND live = 1 AND pack.seq > entry.seq)",
        ),
        (
            "chunks without a pack",
            "SELECT DISTINCT id >> 22 FROM chunk WHERE id >> 22 NOT IN (SELECT id FROM pack)",
        ),
        (
            "ref changes of no entry",
            "SELECT DISTINCT seq FROM ref_change WHERE seq NOT IN (SELECT seq FROM entry)",
        ),
        (
            "refs that differ from the ref log",
            "WITH last AS (SELECT name, new, peeled, max(seq) FROM ref_change GROUP BY name)
             SELECT count(*) FROM last LEFT JOIN ref USING (name)
             WHERE new IS NOT ref.id OR last.peeled IS NOT ref.peeled HAVING count(*) > 0",
        ),
        (
            "refs without a ref log",
            "SELECT count(*) FROM ref WHERE name NOT IN (SELECT name FROM ref_change) HAVING count(*) > 0",
        ),
    ];
    for (what, sql) in questions {
        for number in conn.prepare(sql)?.query_map([], |row| row.get::<_, i64>(0))? {
            found.push(format!("{what}: {}", number?));
        }
    }
    Ok(())
}

/// Hashes the stored bytes of a pack against its trailer.
fn check_trailer(file: &RepoFile, pack: &PackMeta, found: &mut Vec<String>) -> Result<(), StoreError> {
    let id_bytes = file.algo.bytes() as u64;
    let end =
        pack.bytes.checked_sub(id_bytes).ok_or_else(|| StoreError::corrupt("shorter than a trailer"))?;
    let mut hasher = Hasher::new(file.algo);
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut at = 0;
    while at < end {
        let take = (end - at).min(CHUNK_BYTES as u64) as usize;
        let Some(part) = buffer.get_mut(..take) else { break };
        file.read(|conn| read_pack(conn, pack.id, at, part))?;
        hasher.update(part);
        at += take as u64;
    }
    let mut trailer = vec![0; file.algo.bytes()];
    file.read(|conn| read_pack(conn, pack.id, end, &mut trailer))?;
    let hashed = hasher.finish().map_err(|_| StoreError::corrupt("bytes of a collision attack"))?;
    if hashed.as_bytes() != trailer {
        found.push(format!("pack {}: its bytes hash to {hashed}, its trailer differs", pack.id));
    }
    Ok(())
}

/// Recomputes an object's id from its bytes, and asks the index for it.
fn check_object(
    reader: &mut Reader<'_>,
    snapshot: &Snapshot,
    (file, pack, index): (&RepoFile, &PackMeta, u32),
    found: &mut Vec<String>,
) -> Result<(), StoreError> {
    let record = file.read(|conn| read_record(conn, file.algo, pack.id, index))?;
    let drops = Arc::clone(&file.packs().drops);
    if drops.places.contains(pack.base_ordinal + index) {
        // Nothing reads it, and what it leans on may be gone.
        let at = ObjRef { source: 0, ordinal: pack.base_ordinal + index };
        if snapshot.find_from(0, &record.id)? == Some(at) {
            found.push(format!("object {}: was dropped, and is found at {at:?}", record.id));
        }
        return Ok(());
    }
    if pack.dups.contains(index) && !drops.places.is_empty() && snapshot.find_from(0, &record.id)?.is_some() {
        // Nothing reads a copy; what it leans on may have been dropped.
        return Ok(());
    }
    if record.entry_bytes == 0 {
        // Rolling leaves out the bytes of a copy, which nothing reads.
        let is_found = snapshot.find_from(0, &record.id)?.is_some();
        if !pack.dups.contains(index) || !is_found {
            found.push(format!("object {}: without bytes, and there is no other copy", record.id));
        }
        return Ok(());
    }
    let at = ObjRef { source: 0, ordinal: pack.base_ordinal + index };
    let (kind, data) = reader.read(at).map_err(|error| StoreError::corrupt(error.to_string()))?;
    let hashed: ObjectId = hash_object(file.algo, kind, &data)
        .map_err(|_| StoreError::corrupt("bytes of a collision attack"))?;
    if hashed != record.id || data.len() as u64 != record.size {
        found.push(format!("object {}: {} bytes that hash to {hashed}", record.id, data.len()));
    }
    let place = snapshot.find_from(0, &record.id)?;
    let is_right =
        if pack.dups.contains(index) { place.is_some_and(|other| other != at) } else { place == Some(at) };
    if !is_right {
        found.push(format!("object {}: at {at:?}, found at {place:?}", record.id));
    }
    Ok(())
}

/// Copies a repository file as of one moment, while another process may serve and change it.
///
/// The copy appears under its name whole and durable, or not at all.
pub fn backup(disk: &dyn Disk, from: &Path, to: &Path) -> Result<(), StoreError> {
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    schema::create_durable_folders(disk, folder)?;
    let made = Draft::new(disk, folder, ".copy-")?;
    let copy = made.path().join("copy.sqlite");
    let name = copy.to_str().ok_or(StoreError::Misuse("the folder of the copy is not UTF-8"))?;
    let source = schema::connect_on(disk, from, Use::ReadOnly)?;
    // VACUUM INTO counts as writing, though the file is opened for reading only.
    source.execute_batch("PRAGMA query_only = OFF")?;
    source.execute("VACUUM INTO ?1", [name])?;
    // A copy comes out with a rollback journal.
    let conn = disk::connect(disk, &copy, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.close().map_err(|(_, error)| error)?;
    disk.sync_file(&copy)?;
    disk.rename(&copy, to)?;
    Ok(disk.sync_folder(folder)?)
}
