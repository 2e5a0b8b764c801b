//! The way from SQLite to a `Disk`: SQLite's own interface for files, in C.
//!
//! SQLite calls each function with the pointers that its documentation of `sqlite3_vfs` and `sqlite3_io_methods` names: a
//! file that `open` filled in, buffers of the length given, names that end in 0. All safety arguments here rest on that.
#![allow(unsafe_code, reason = "SQLite's interface for files is one of C")]

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, Once};

use rusqlite::ffi;

use crate::disk::{Disk, locked};
use crate::node::Node;
use crate::{Call, Harm};

/// The name to open a database under.
pub const VFS: &str = "cairn-faults";
const NAME: &CStr = c"cairn-faults";
/// As SQLite's own for Unix has it.
const SECTOR_BYTES: c_int = 4_096;

#[repr(C)]
struct Open {
    base: ffi::sqlite3_file,
    handle: *mut Handle,
}

struct Handle {
    /// None for a temporary file, which never fails.
    disk: Option<Disk>,
    file: Arc<Mutex<Node>>,
    holder: u64,
    path: PathBuf,
    /// The folder is synced with the file's first sync, as SQLite does for Unix with every journal that it may have made;
    /// whether that fails is not asked.
    syncs_folder: bool,
    is_removed_on_close: bool,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved),
    xFileControl: Some(control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Makes the name known to SQLite, once.
pub(crate) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: what is found lives as long as SQLite; its time and random functions use no state of its own. The
        // copy is never freed, as `sqlite3_vfs_register` demands.
        unsafe {
            let default = ffi::sqlite3_vfs_find(std::ptr::null());
            let mut own = *default;
            own.szOsFile = size_of::<Open>() as c_int;
            own.pNext = std::ptr::null_mut();
            own.zName = NAME.as_ptr();
            own.xOpen = Some(open);
            own.xDelete = Some(delete);
            own.xAccess = Some(access);
            own.xFullPathname = Some(full_name);
            own.xSetSystemCall = None;
            own.xGetSystemCall = None;
            own.xNextSystemCall = None;
            assert_eq!(ffi::sqlite3_vfs_register(Box::into_raw(Box::new(own)), 0), ffi::SQLITE_OK);
        }
    });
}

fn code(done: Result<(), Harm>, failed: c_int) -> c_int {
    match done {
        Ok(()) => ffi::SQLITE_OK,
        Err(Harm::Full) => ffi::SQLITE_FULL,
        Err(Harm::Busy) => ffi::SQLITE_BUSY,
        Err(_) => failed,
    }
}

fn io_code(done: std::io::Result<()>, failed: c_int) -> c_int {
    match done {
        Ok(()) => ffi::SQLITE_OK,
        Err(error) if error.kind() == std::io::ErrorKind::StorageFull => ffi::SQLITE_FULL,
        Err(_) => failed,
    }
}

impl Handle {
    fn meet(&self, call: Call) -> Result<(), Harm> {
        self.disk.as_ref().map_or(Ok(()), |disk| disk.meet(call))
    }
}

/// SAFETY: `file` is one that `open` filled in and `close` has not seen.
unsafe fn handle<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Handle {
    unsafe { &mut *(*file.cast::<Open>()).handle }
}

/// SAFETY: `name` ends in 0.
unsafe fn path_of(name: *const c_char) -> PathBuf {
    let bytes = unsafe { CStr::from_ptr(name) }.to_bytes();
    Path::new(OsStr::from_bytes(bytes)).to_owned()
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    static HOLDERS: AtomicU64 = AtomicU64::new(1);
    unsafe { (*file).pMethods = std::ptr::null() };
    let mut opened = Handle {
        disk: None,
        file: Arc::default(),
        holder: HOLDERS.fetch_add(1, Ordering::Relaxed),
        path: PathBuf::new(),
        syncs_folder: false,
        is_removed_on_close: flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0,
    };
    if !name.is_null() {
        opened.path = unsafe { path_of(name) };
        let Some(disk) = Disk::of(&opened.path) else { return ffi::SQLITE_CANTOPEN };
        let Ok(node) = disk.open_file(&opened.path, flags & ffi::SQLITE_OPEN_CREATE != 0) else {
            return ffi::SQLITE_CANTOPEN;
        };
        let journals = ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL;
        opened.syncs_folder = flags & ffi::SQLITE_OPEN_CREATE != 0 && flags & journals != 0;
        opened.file = node;
        opened.disk = Some(disk);
    }
    unsafe {
        if !out_flags.is_null() {
            *out_flags = flags;
        }
        let file = file.cast::<Open>();
        (*file).handle = Box::into_raw(Box::new(opened));
        (*file).base.pMethods = &raw const METHODS;
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    let path = unsafe { path_of(name) };
    let Some(disk) = Disk::of(&path) else { return ffi::SQLITE_IOERR_DELETE };
    match disk.remove(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return ffi::SQLITE_IOERR_DELETE_NOENT;
        }
        Err(_) => return ffi::SQLITE_IOERR_DELETE,
        Ok(()) => {}
    }
    match path.parent().filter(|_| sync_folder != 0) {
        Some(folder) => io_code(disk.sync_folder(folder), ffi::SQLITE_IOERR_DIR_FSYNC),
        None => ffi::SQLITE_OK,
    }
}

unsafe extern "C" fn access(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let path = unsafe { path_of(name) };
    let Some(disk) = Disk::of(&path) else { return ffi::SQLITE_IOERR_ACCESS };
    match disk.len(&path) {
        // As for Unix: an empty journal does not exist.
        Ok(len) => {
            let is_there = len.is_some_and(|len| len > 0 || flags != ffi::SQLITE_ACCESS_EXISTS);
            unsafe { *out = c_int::from(is_there) };
            ffi::SQLITE_OK
        }
        Err(_) => ffi::SQLITE_IOERR_ACCESS,
    }
}

unsafe extern "C" fn full_name(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    let bytes = unsafe { CStr::from_ptr(name) }.to_bytes_with_nul();
    if bytes.len() > usize::try_from(room).unwrap_or(0) {
        return ffi::SQLITE_CANTOPEN;
    }
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), out.cast(), bytes.len()) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: made by `open`, and closed once.
    let closed = unsafe {
        (*file).pMethods = std::ptr::null();
        Box::from_raw((*file.cast::<Open>()).handle)
    };
    locked(&closed.file).locks.file.retain(|(holder, _)| *holder != closed.holder);
    if let Some(disk) = closed.disk.as_ref().filter(|_| closed.is_removed_on_close) {
        // A temporary file: SQLite does not ask whether it could be removed.
        let _ = disk.remove(&closed.path);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, into: *mut c_void, len: c_int, at: i64) -> c_int {
    let this = unsafe { handle(file) };
    let into = unsafe { slice::from_raw_parts_mut(into.cast::<u8>(), len as usize) };
    if let Err(harm) = this.meet(Call::Read) {
        return code(Err(harm), ffi::SQLITE_IOERR_READ);
    }
    let count = locked(&this.file).read(at as usize, into);
    if count == into.len() {
        return ffi::SQLITE_OK;
    }
    into[count..].fill(0);
    ffi::SQLITE_IOERR_SHORT_READ
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, len: c_int, at: i64) -> c_int {
    let this = unsafe { handle(file) };
    let from = unsafe { slice::from_raw_parts(from.cast::<u8>(), len as usize) };
    match &this.disk {
        Some(disk) => code(disk.write_at(&this.file, at as usize, from), ffi::SQLITE_IOERR_WRITE),
        None => {
            locked(&this.file).write(at as usize, from);
            ffi::SQLITE_OK
        }
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: i64) -> c_int {
    let this = unsafe { handle(file) };
    let met = this.meet(Call::Truncate);
    code(met.map(|()| locked(&this.file).truncate(len as usize)), ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    let this = unsafe { handle(file) };
    let Some(disk) = &this.disk else { return ffi::SQLITE_OK };
    let synced = code(disk.sync(&this.file), ffi::SQLITE_IOERR_FSYNC);
    if synced == ffi::SQLITE_OK
        && std::mem::take(&mut this.syncs_folder)
        && let Some(folder) = this.path.parent()
    {
        let _ = disk.sync_folder(folder);
    }
    synced
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, out: *mut i64) -> c_int {
    let this = unsafe { handle(file) };
    unsafe { *out = locked(&this.file).bytes.len() as i64 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    let this = unsafe { handle(file) };
    if let Err(harm) = this.meet(Call::Lock) {
        return code(Err(harm), ffi::SQLITE_IOERR_LOCK);
    }
    let mut node = locked(&this.file);
    let highest_other = node.locks.file.iter().filter(|(holder, _)| *holder != this.holder);
    let highest_other = highest_other.map(|(_, level)| *level).max().unwrap_or(0);
    let (granted, answer) = match level {
        ffi::SQLITE_LOCK_SHARED if highest_other >= ffi::SQLITE_LOCK_PENDING => (None, ffi::SQLITE_BUSY),
        ffi::SQLITE_LOCK_SHARED => (Some(level), ffi::SQLITE_OK),
        _ if highest_other >= ffi::SQLITE_LOCK_RESERVED => (None, ffi::SQLITE_BUSY),
        ffi::SQLITE_LOCK_EXCLUSIVE if highest_other > 0 => (Some(ffi::SQLITE_LOCK_PENDING), ffi::SQLITE_BUSY),
        _ => (Some(level), ffi::SQLITE_OK),
    };
    if let Some(granted) = granted {
        let own = node.locks.file.iter().find(|(holder, _)| *holder == this.holder);
        let granted = own.map_or(granted, |(_, level)| granted.max(*level));
        node.locks.file.retain(|(holder, _)| *holder != this.holder);
        node.locks.file.push((this.holder, granted));
    }
    answer
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    let this = unsafe { handle(file) };
    let mut node = locked(&this.file);
    node.locks.file.retain(|(holder, _)| *holder != this.holder);
    if level > 0 {
        node.locks.file.push((this.holder, level));
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    let this = unsafe { handle(file) };
    let node = locked(&this.file);
    let is_reserved = node.locks.file.iter().any(|(_, level)| *level >= ffi::SQLITE_LOCK_RESERVED);
    unsafe { *out = c_int::from(is_reserved) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    SECTOR_BYTES
}

unsafe extern "C" fn characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    index: c_int,
    bytes: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    let this = unsafe { handle(file) };
    if let Err(harm) = this.meet(Call::Open) {
        return code(Err(harm), ffi::SQLITE_IOERR_SHMMAP);
    }
    let mut node = locked(&this.file);
    if !node.locks.mapped.contains(&this.holder) {
        node.locks.mapped.push(this.holder);
    }
    let index = index as usize;
    while extend != 0 && node.locks.regions.len() <= index {
        node.locks.regions.push(vec![0; bytes as usize / size_of::<u64>()].into());
    }
    let region = node.locks.regions.get_mut(index);
    unsafe { *out = region.map_or(std::ptr::null_mut(), |region| region.as_mut_ptr().cast()) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn shm_lock(
    file: *mut ffi::sqlite3_file,
    first: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    let this = unsafe { handle(file) };
    if flags & ffi::SQLITE_SHM_LOCK != 0
        && let Err(harm) = this.meet(Call::Lock)
    {
        return code(Err(harm), ffi::SQLITE_IOERR_SHMLOCK);
    }
    let slots = first as u32..(first + count) as u32;
    let alone = flags & ffi::SQLITE_SHM_EXCLUSIVE != 0;
    let shared = &mut locked(&this.file).locks.shared;
    if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
        shared.retain(|(holder, slot, _)| *holder != this.holder || !slots.contains(slot));
        return ffi::SQLITE_OK;
    }
    let in_the_way = |(holder, slot, other_alone): &(u64, u32, bool)| {
        *holder != this.holder && slots.contains(slot) && (alone || *other_alone)
    };
    if shared.iter().any(in_the_way) {
        return ffi::SQLITE_BUSY;
    }
    shared.extend(slots.map(|slot| (this.holder, slot, alone)));
    ffi::SQLITE_OK
}

unsafe extern "C" fn shm_barrier(_: *mut ffi::sqlite3_file) {
    fence(Ordering::SeqCst);
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    let this = unsafe { handle(file) };
    let locks = &mut locked(&this.file).locks;
    locks.mapped.retain(|holder| *holder != this.holder);
    locks.shared.retain(|(holder, ..)| *holder != this.holder);
    if locks.mapped.is_empty() {
        locks.regions.clear();
    }
    ffi::SQLITE_OK
}
