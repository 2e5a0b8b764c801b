//! One open repository file: its writer, its readers, and what is kept of its packs in memory.
//!
//! Lock order: `writer`, then `packs`; `readers`, `kinds` and `packs` are leaves of each other.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard};
use std::time::Instant;

use cairn_protocol::object::HashAlgo;
use prometheus_client::metrics::histogram::Histogram;
use roaring::RoaringBitmap;
use rusqlite::Connection;

use super::cuts::{Cut, Lease, Retired, decode_cuts, delete_retired, sweep};
use super::drops::{Drops, Hush};
use super::graph::{Graphs, Serial};
use super::kinds::KindSets;
use super::limits::{READERS_IDLE_MAX, ROLL_DELETE_OBJECTS, ROLL_DELETE_PACKS};
use super::pick::is_loose;
use super::record::bitmap_from;
use super::schema::{self, Use};
use crate::store::StoreError;
use crate::store::disk::{self, Disk};
use crate::store::outside;

/// Whether this process is the file's one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Write,
    ReadOnly,
}

/// When a transaction must be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Before it counts as done.
    Now,
    /// With the next one that flushes: a crash may undo it, but never the order. For what nobody was
    /// promised.
    Later,
}

/// A live pack. Nothing of it ever changes, but that places of it may be dropped.
#[derive(Clone)]
pub(crate) struct PackMeta {
    pub(crate) id: u32,
    pub(crate) base_ordinal: u32,
    pub(crate) object_count: u32,
    pub(crate) bytes: u64,
    pub(crate) whole: bool,
    pub(crate) seq: u64,
    /// Places whose objects an older pack or a base has already, and those that were dropped.
    pub(crate) dups: RoaringBitmap,
    /// The first id prefix of each index shard; empty where the ids are in `object`.
    pub(crate) fanout: Vec<u64>,
    /// Names its commits among those that are kept in memory.
    pub(crate) serial: Serial,
    /// The packs that were rolled into this one, in order; empty where it is as its entry brought it.
    pub(crate) cuts: Vec<Cut>,
}

impl PackMeta {
    pub(crate) fn end(&self) -> u32 {
        self.base_ordinal.saturating_add(self.object_count)
    }

    /// One past the last ordinal of what was rolled into it by the entries up to `seq`.
    fn end_at(&self, seq: u64) -> Option<u32> {
        let visible = self.cuts.partition_point(|cut| cut.seq <= seq);
        let last = self.cuts.get(visible.checked_sub(1)?)?;
        Some(self.base_ordinal.saturating_add(last.end))
    }
}

/// The live packs in order of their ordinals. Ordinals only ever grow, so a limit of them is a snapshot; which packs
/// hold them changes when packs are rolled.
#[derive(Default)]
pub(crate) struct Packs {
    pub(crate) head: u64,
    pub(crate) list: Vec<Arc<PackMeta>>,
    by_id: HashMap<u32, usize>,
    sharded: Vec<usize>,
    /// Small packs that were not rolled yet.
    pub(crate) loose: usize,
    /// Held by each snapshot that may name packs of the list as it is.
    pub(crate) lease: Lease,
    pub(crate) retired: Retired,
    /// What was dropped of the log.
    pub(crate) drops: Arc<Drops>,
}

impl Packs {
    pub(crate) fn push(&mut self, pack: PackMeta) {
        self.by_id.insert(pack.id, self.list.len());
        if !pack.fanout.is_empty() {
            self.sharded.push(self.list.len());
        }
        self.loose += usize::from(is_loose(&pack));
        self.list.push(Arc::new(pack));
    }

    /// Drops more of the log.
    pub(crate) fn set_drops(&mut self, drops: Drops) {
        for pack in &mut self.list {
            drops.mark(Arc::make_mut(pack));
        }
        self.drops = Arc::new(drops);
    }

    /// Whether a snapshot is open.
    fn is_read(&self) -> bool {
        Arc::strong_count(&self.lease) > 1 || self.retired.is_read()
    }

    /// Whether the log as of an entry lacks what was dropped of it: it can no longer be read as it was.
    pub(crate) fn lacks_at(&self, seq: u64) -> bool {
        self.drops.lacks(seq, self.limit_at(seq))
    }

    /// One past the last ordinal.
    pub(crate) fn limit(&self) -> u32 {
        self.list.last().map_or(0, |pack| pack.end())
    }

    /// One past the last ordinal as of an entry.
    pub(crate) fn limit_at(&self, seq: u64) -> u32 {
        let visible = self.list.partition_point(|pack| pack.seq <= seq);
        let part = self.list.get(visible).and_then(|next| next.end_at(seq));
        let before = || visible.checked_sub(1).and_then(|last| self.list.get(last)).map(|pack| pack.end());
        part.or_else(before).unwrap_or(0)
    }

    pub(crate) fn at(&self, ordinal: u32) -> Option<&Arc<PackMeta>> {
        self.list.get(self.list.partition_point(|pack| pack.end() <= ordinal))
    }

    /// Whether the pack that holds an ordinal has an index of its own.
    pub(crate) fn is_sharded(&self, ordinal: u32) -> bool {
        self.at(ordinal).is_some_and(|pack| !pack.fanout.is_empty())
    }

    pub(crate) fn by_id(&self, id: u32) -> Option<&Arc<PackMeta>> {
        match self.by_id.get(&id) {
            Some(index) => self.list.get(*index),
            None => self.retired.by_id(id),
        }
    }

    /// Puts a pack in the place of `count` from `first` on, which stay readable to snapshots opened before.
    pub(crate) fn replace(&mut self, first: u32, count: usize, pack: PackMeta) {
        let Some(at) = self.by_id.get(&first).copied() else { return };
        let lease = std::mem::replace(&mut self.lease, Arc::new(pack.id));
        let is_sharded = !pack.fanout.is_empty();
        let old = self.list.splice(at..at + count, [Arc::new(pack)]).map(|old| (old, is_sharded)).collect();
        self.retired.add(lease, old);
        self.by_id = self.list.iter().enumerate().map(|(at, pack)| (pack.id, at)).collect();
        let sharded = self.list.iter().enumerate().filter(|(_, pack)| !pack.fanout.is_empty());
        self.sharded = sharded.map(|(at, _)| at).collect();
        self.loose = self.list.iter().filter(|pack| is_loose(pack)).count();
    }

    /// Takes over what was retired before the list was read again: snapshots still name it.
    fn inherit(&mut self, old: &mut Self) {
        let lease = std::mem::replace(&mut old.lease, Arc::clone(&self.lease));
        self.retired = std::mem::take(&mut old.retired);
        if lease != self.lease {
            // Rolled, and the answer was lost: what left the list is found by the next open.
            let gone = old.list.iter().filter(|pack| !self.by_id.contains_key(&pack.id));
            let gone = gone.map(|pack| (Arc::clone(pack), self.is_sharded(pack.base_ordinal))).collect();
            self.retired.add(lease, gone);
        } else {
            self.lease = lease;
        }
    }

    pub(crate) fn sharded(&self) -> impl Iterator<Item = &Arc<PackMeta>> {
        self.sharded.iter().filter_map(|index| self.list.get(*index))
    }

    fn load(conn: &Connection) -> Result<Self, StoreError> {
        let mut packs = Self::default();
        conn.execute_batch("BEGIN")?;
        let head = conn.query_row("SELECT max(seq) FROM entry", [], |row| row.get::<_, Option<i64>>(0))?;
        packs.head = head.unwrap_or(0) as u64;
        packs.drops = Arc::new(Drops::load(conn)?);
        let cuts = if schema::has_cuts(conn)? { "cuts" } else { "NULL" };
        let mut select = conn.prepare(&format!(
            "SELECT id, base_ordinal, object_count, bytes, whole, seq, dups, fanout, {cuts} FROM pack
             WHERE live = 1 ORDER BY seq"
        ))?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let mut pack = PackMeta {
                id: row.get(0)?,
                base_ordinal: row.get(1)?,
                object_count: row.get(2)?,
                bytes: row.get::<_, i64>(3)? as u64,
                whole: row.get(4)?,
                seq: row.get::<_, i64>(5)? as u64,
                dups: bitmap_from(row.get_ref(6)?.as_blob().map_err(rusqlite::Error::from)?)?,
                fanout: fanout_from(row.get_ref(7)?.as_blob().map_err(rusqlite::Error::from)?),
                serial: Serial::next(),
                cuts: decode_cuts(row.get::<_, Option<Vec<u8>>>(8)?.unwrap_or_default().as_slice())?,
            };
            packs.drops.mark(&mut pack);
            packs.push(pack);
        }
        drop(rows);
        drop(select);
        conn.execute_batch("COMMIT")?;
        let rolled = packs.list.iter().filter(|pack| !pack.cuts.is_empty()).map(|pack| pack.id).max();
        packs.lease = Arc::new(rolled.unwrap_or(0));
        Ok(packs)
    }
}

pub(crate) fn fanout_from(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|eight| u64::from_le_bytes(*eight)).collect()
}

/// An open repository file.
pub(crate) struct RepoFile {
    disk: Arc<dyn Disk>,
    data_dir: PathBuf,
    path: PathBuf,
    pub(crate) algo: HashAlgo,
    access: Access,
    commit_seconds: Histogram,
    /// The commits that are kept in memory, of all files together.
    pub(crate) graphs: Arc<Graphs>,
    readers: Mutex<Vec<Connection>>,
    /// Behind the readers, and so closed after them: it is the last one that takes the log up.
    writer: Mutex<Option<Connection>>,
    /// Set when a checkpoint failed: the log may not be on the disk as it is read.
    is_suspect: Arc<AtomicBool>,
    /// Whether the names of the file and of its log are durable.
    is_named: AtomicBool,
    /// Set while it is not known whether something was dropped: nobody may look before that is settled.
    in_doubt: AtomicBool,
    /// Snapshots that were opened.
    opened: AtomicU64,
    packs: RwLock<Packs>,
    /// Held while packs are rolled, before the writer's turn: one at a time.
    pub(crate) rolling: Mutex<()>,
    pub(crate) kinds: Mutex<KindSets>,
}

impl RepoFile {
    /// Opens an existing file. A writer sweeps what a crash left: call it only where no stage of the file can
    /// be alive.
    pub(crate) fn open(
        (disk, data_dir): (&Arc<dyn Disk>, &Path),
        path: &Path,
        algo: HashAlgo,
        (access, commit_seconds, graphs): (Access, &Histogram, &Arc<Graphs>),
    ) -> Result<Self, StoreError> {
        let to = if access == Access::Write { Use::Write } else { Use::ReadOnly };
        let mut conn = schema::connect_on(&**disk, path, to)?;
        schema::check_meta(&conn, algo)?;
        let is_suspect = Arc::default();
        if access == Access::Write {
            disk::settle::<StoreError>(&**disk, &conn, path)?;
            disk::watch_checkpoints(&mut conn, &is_suspect)?;
            schema::bring_up_to_date(&conn)?;
        }
        let packs = Packs::load(&conn)?;
        let (mut writer, mut readers) = (None, Vec::new());
        if access == Access::Write {
            sweep(&conn, data_dir, algo, &packs)?;
            disk::take_log(&conn)?;
            writer = Some(conn);
        } else {
            readers.push(conn);
        }
        Ok(Self {
            disk: Arc::clone(disk),
            data_dir: data_dir.to_owned(),
            path: path.to_owned(),
            algo,
            access,
            commit_seconds: commit_seconds.clone(),
            graphs: Arc::clone(graphs),
            writer: Mutex::new(writer),
            is_suspect,
            is_named: AtomicBool::new(false),
            in_doubt: AtomicBool::new(false),
            opened: AtomicU64::new(0),
            readers: Mutex::new(readers),
            packs: RwLock::new(packs),
            rolling: Mutex::default(),
            kinds: Mutex::default(),
        })
    }

    pub(crate) fn expect_algo(&self, algo: HashAlgo) -> Result<(), StoreError> {
        if self.algo == algo {
            return Ok(());
        }
        Err(StoreError::corrupt(format!("object format {}, expected {}", self.algo.name(), algo.name())))
    }

    pub(crate) fn packs(&self) -> RwLockReadGuard<'_, Packs> {
        self.packs.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The packs for a new snapshot, which holds their lease from before they are let go of.
    pub(crate) fn packs_to_open(&self) -> Result<RwLockReadGuard<'_, Packs>, StoreError> {
        loop {
            let packs = self.packs();
            if !self.in_doubt.load(Ordering::Acquire) {
                self.opened.fetch_add(1, Ordering::Relaxed);
                return Ok(packs);
            }
            drop(packs);
            self.settle()?;
        }
    }

    /// A moment at which nobody reads the file, in this process or another; `None` where somebody does.
    pub(crate) fn hush(&self) -> Option<Hush> {
        let alone = outside::keep_out(&self.data_dir)?;
        let packs = self.packs.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        (!packs.is_read()).then(|| Hush::new(self.opened.load(Ordering::Relaxed), alone))
    }

    /// Runs `work` in one transaction if nobody opened a snapshot since `hush`; none can be opened before it is published,
    /// and where it fails none before the next writer has settled whether it was done. False where somebody did.
    ///
    /// `work` must not ask for the packs: it is given them.
    pub(crate) fn write_alone<T>(
        &self,
        hush: Hush,
        work: impl FnOnce(&Connection, &Packs) -> Result<Option<T>, StoreError>,
        publish: impl FnOnce(&T, &mut Packs),
    ) -> Result<Option<T>, StoreError> {
        if self.access == Access::ReadOnly {
            return Err(StoreError::Misuse("the files are open for reading only"));
        }
        let mut writer = locked(&self.writer);
        let conn = match writer.take() {
            Some(conn) => conn,
            None => self.reopen()?,
        };
        let done = (|| {
            let has_no_entry = self.packs().head == 0;
            schema::sync_names(&*self.disk, &self.path, &self.data_dir, has_no_entry)?;
            let mut kinds = locked(&self.kinds);
            let mut packs = self.packs.write().unwrap_or_else(|poisoned| poisoned.into_inner());
            if packs.is_read() || self.opened.load(Ordering::Relaxed) != hush.opened() {
                return Ok(None);
            }
            conn.execute_batch("BEGIN IMMEDIATE")?;
            let Some(out) = work(&conn, &packs)? else {
                conn.execute_batch("ROLLBACK")?;
                return Ok(None);
            };
            *kinds = KindSets::default();
            self.in_doubt.store(true, Ordering::Release);
            conn.execute_batch("COMMIT")?;
            publish(&out, &mut packs);
            self.in_doubt.store(false, Ordering::Release);
            Ok(Some(out))
        })();
        if done.is_ok() && !self.is_suspect.load(Ordering::Relaxed) {
            *writer = Some(conn);
        } else {
            disk::give_up(conn);
        }
        done
    }

    /// Runs `work` with a connection that may only read. One that failed is not used again.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = locked(&self.readers).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => schema::connect_on(
                &*self.disk,
                &self.path,
                if self.access == Access::Write { Use::Read } else { Use::ReadOnly },
            )?,
        };
        let out = work(&conn)?;
        let mut readers = locked(&self.readers);
        if readers.len() < READERS_IDLE_MAX {
            readers.push(conn);
        }
        Ok(out)
    }

    /// Deletes the rows of retired packs that no snapshot can name any more, in bounded transactions, unless other
    /// processes read. True where none are left.
    pub(crate) fn delete_retired(&self) -> Result<bool, StoreError> {
        if self.packs().retired.is_empty() {
            return Ok(true);
        }
        let Some(_alone) = outside::keep_out(&self.data_dir) else { return Ok(false) };
        let free = self.packs.write().unwrap_or_else(|poisoned| poisoned.into_inner()).retired.take_free();
        let drops = Arc::clone(&self.packs().drops);
        let mut rest = free.as_slice();
        while !rest.is_empty() {
            let mut objects = 0;
            let fits = |(pack, _): &&(Arc<PackMeta>, bool)| {
                objects += pack.object_count;
                objects - pack.object_count < ROLL_DELETE_OBJECTS
            };
            let count = rest.iter().take(ROLL_DELETE_PACKS).take_while(fits).count();
            let (batch, later) = rest.split_at(count);
            let delete = |conn: &Connection| {
                let one = |(pack, is_indexed): &(Arc<PackMeta>, bool)| {
                    delete_retired(conn, self.algo, pack.id, &drops, |_| *is_indexed)
                };
                batch.iter().try_for_each(one)
            };
            if let Err(error) = self.write(Flush::Later, delete, |(), _| ()) {
                // For the next try, at the latest that of the next open. What was deleted after all is not there then.
                let mut packs = self.packs.write().unwrap_or_else(|poisoned| poisoned.into_inner());
                packs.retired.put_back(rest.to_vec());
                return Err(error);
            }
            rest = later;
        }
        Ok(self.packs().retired.is_empty())
    }

    /// Rewrites the file without its free pages where more than one page in `free_share` is free. True where it did.
    ///
    /// Holds the writer's turn and needs the size of the file on the disk, twice, for as long as it takes.
    pub(crate) fn compact(&self, free_share: u64) -> Result<bool, StoreError> {
        let mut writer = locked(&self.writer);
        if self.access == Access::Write && writer.is_none() {
            // An earlier try failed, for want of space as a rule: this one is to do what that one left.
            *writer = Some(self.reopen()?);
        }
        let Some(conn) = writer.as_ref() else { return Ok(false) };
        let count = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let (free, all) = (count("freelist_count")? as u64, count("page_count")? as u64);
        if free.saturating_mul(free_share) <= all {
            return Ok(false);
        }
        let done = conn.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);");
        if done.is_err() {
            // As after any error: the next writer opens a new one.
            writer.take().into_iter().for_each(disk::give_up);
        }
        Ok(done.map(|()| true)?)
    }

    /// Runs `work` in one IMMEDIATE transaction, and `publish` once it is durable, before the next writer's
    /// turn.
    ///
    /// After any error the connection is given up: the next writer opens a new one and reads back what is in
    /// the file, because a failed flush leaves open whether the entry is there.
    pub(crate) fn write<T>(
        &self,
        flush: Flush,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
        publish: impl FnOnce(&T, &mut Packs),
    ) -> Result<T, StoreError> {
        if self.access == Access::ReadOnly {
            return Err(StoreError::Misuse("the files are open for reading only"));
        }
        let mut writer = locked(&self.writer);
        // Taken out of its place: a panic below drops it, which rolls back.
        let conn = match writer.take() {
            Some(conn) => conn,
            None => self.reopen()?,
        };
        let done = self.transact(&conn, flush, work, publish);
        // A checkpoint that failed is no failure of this entry, but the end of this connection.
        if done.is_ok() && !self.is_suspect.load(Ordering::Relaxed) {
            *writer = Some(conn);
        } else {
            disk::give_up(conn);
        }
        done
    }

    fn transact<T>(
        &self,
        conn: &Connection,
        flush: Flush,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
        publish: impl FnOnce(&T, &mut Packs),
    ) -> Result<T, StoreError> {
        if !self.is_named.load(Ordering::Relaxed) {
            schema::sync_names(&*self.disk, &self.path, &self.data_dir, self.packs().head == 0)?;
            self.is_named.store(true, Ordering::Relaxed);
        }
        if flush == Flush::Later {
            conn.execute_batch("PRAGMA synchronous = NORMAL")?;
        }
        conn.execute_batch("BEGIN IMMEDIATE")?;
        let out = work(conn)?;
        let start = Instant::now();
        conn.execute_batch("COMMIT")?;
        self.commit_seconds.observe(start.elapsed().as_secs_f64());
        publish(&out, &mut self.packs.write().unwrap_or_else(|poisoned| poisoned.into_inner()));
        if flush == Flush::Later {
            conn.execute_batch("PRAGMA synchronous = FULL")?;
        }
        Ok(out)
    }

    /// Does what the next writer would have to after one that failed: from here on no crash shows a commit that is not
    /// seen now, or that fails later.
    pub(crate) fn settle(&self) -> Result<(), StoreError> {
        let mut writer = locked(&self.writer);
        if self.access == Access::Write && writer.is_none() {
            *writer = Some(self.reopen()?);
        }
        Ok(())
    }

    /// A connection for the next writer after one that was given up.
    fn reopen(&self) -> Result<Connection, StoreError> {
        let mut conn = schema::connect_on(&*self.disk, &self.path, Use::Write)?;
        disk::settle::<StoreError>(&*self.disk, &conn, &self.path)?;
        self.is_suspect.store(false, Ordering::Relaxed);
        // Where no other connection was open, the log was made anew.
        self.is_named.store(false, Ordering::Relaxed);
        disk::watch_checkpoints(&mut conn, &self.is_suspect)?;
        let mut packs = Packs::load(&conn)?;
        let mut held = self.packs.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        packs.inherit(&mut held);
        *held = packs;
        self.in_doubt.store(false, Ordering::Release);
        drop(held);
        disk::take_log(&conn)?;
        Ok(conn)
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
