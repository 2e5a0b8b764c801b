//! The disk: names, files, and the calls on them.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::node::Node;
use crate::{Call, Fault, Harm, Random};

/// What a loss of power takes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing: the process alone died.
    Nothing,
    /// All of it.
    All,
    /// Any part of it, sectors and names apart.
    Torn,
}

/// A folder's disk. Clones share it.
#[derive(Clone)]
pub struct Disk {
    root: Arc<Path>,
    state: Arc<Mutex<State>>,
}

type File = Arc<Mutex<Node>>;

/// What a name stands for; `None` where it is not there.
type Named = Option<Entry>;

#[derive(Clone)]
enum Entry {
    Folder,
    File(File),
}

#[derive(Default)]
struct State {
    names: BTreeMap<PathBuf, Entry>,
    /// What each name was since its folder was last synced, the durable state first.
    unsynced: BTreeMap<PathBuf, Vec<Named>>,
    faults: Vec<Fault>,
    is_dead: bool,
    calls: u64,
    changes: u64,
    harmed: u64,
}

/// All disks that are mounted.
fn mounted() -> MutexGuard<'static, BTreeMap<PathBuf, Disk>> {
    static MOUNTED: OnceLock<Mutex<BTreeMap<PathBuf, Disk>>> = OnceLock::new();
    locked(MOUNTED.get_or_init(Mutex::default))
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(ErrorKind::NotFound, format!("{} is not there", path.display()))
}

fn harm_error(harm: Harm) -> io::Error {
    match harm {
        Harm::Full => io::Error::from(ErrorKind::StorageFull),
        Harm::Busy => io::Error::from(ErrorKind::ResourceBusy),
        _ => io::Error::other("injected input/output error"),
    }
}

impl Disk {
    /// Mounts an empty disk at `root`, instead of what was there. The folder itself is there, and durable.
    pub fn mount(root: &Path) -> Self {
        Self::mount_with(root, State::default())
    }

    fn mount_with(root: &Path, state: State) -> Self {
        crate::vfs::register();
        let disk = Self { root: root.into(), state: Arc::new(Mutex::new(state)) };
        mounted().insert(root.to_owned(), disk.clone());
        disk
    }

    /// The disk that a path lies on.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        mounted().values().find(|disk| path.starts_with(&disk.root)).cloned()
    }

    /// Takes it away; what is still open fails from now on.
    pub fn unmount(&self) {
        locked(&self.state).is_dead = true;
        mounted().retain(|_, disk| !Arc::ptr_eq(&disk.state, &self.state));
    }

    /// From now on, this goes wrong, and nothing else.
    pub fn harm(&self, faults: Vec<Fault>) {
        let mut state = locked(&self.state);
        state.faults = faults;
        state.harmed = 0;
    }

    /// How many calls were harmed since the faults were set.
    pub fn harmed(&self) -> u64 {
        locked(&self.state).harmed
    }

    /// How many calls changed something, or would have.
    pub fn changes(&self) -> u64 {
        locked(&self.state).changes
    }

    /// Everything that is done now fails, as if the process were gone. Stays so.
    pub fn die(&self) {
        locked(&self.state).is_dead = true;
    }

    /// Ends this disk and mounts what a crash leaves of it at `root`: another place, so that threads of before the crash
    /// that have not yet heard of it do no harm.
    pub fn crash(&self, loss: Loss, random: &mut Random, root: &Path) -> Self {
        self.unmount();
        let mut state = locked(&self.state);
        let mut names = state.names.clone();
        if loss != Loss::Nothing {
            for (path, was) in &state.unsynced {
                let now = names.get(path).cloned();
                let last = was.len() as u64;
                let kept = if loss == Loss::All { 0 } else { random.below(last + 1) };
                let named = was.get(kept as usize).cloned().unwrap_or(now);
                match named {
                    Some(entry) => names.insert(path.clone(), entry),
                    None => names.remove(path),
                };
            }
        }
        // A name in a folder that is not there is not there.
        let folders = names.clone();
        let is_reachable = |path: &PathBuf| {
            path.ancestors()
                .skip(1)
                .take_while(|above| **above != *self.root)
                .all(|above| folders.contains_key(above))
        };
        names.retain(|path, _| is_reachable(path));
        for entry in names.values_mut() {
            if let Entry::File(file) = entry {
                let left = locked(file).left(loss, random);
                *file = Arc::new(Mutex::new(left));
            }
        }
        // When only the process died, the system still has to write what it had not.
        let unsynced = match loss {
            Loss::Nothing => std::mem::take(&mut state.unsynced),
            _ => BTreeMap::new(),
        };
        drop(state);
        let moved = |path: PathBuf| root.join(path.strip_prefix(&self.root).unwrap_or(&path));
        let names = names.into_iter().map(|(path, entry)| (moved(path), entry)).collect();
        let unsynced = unsynced.into_iter().map(|(path, was)| (moved(path), was)).collect();
        Self::mount_with(root, State { names, unsynced, ..State::default() })
    }

    /// Counts a call, and fails it where it is due.
    pub(crate) fn meet(&self, call: Call) -> Result<(), Harm> {
        let mut state = locked(&self.state);
        state.calls += 1;
        state.changes += u64::from(call.changes());
        if state.is_dead {
            state.harmed += 1;
            return Err(Harm::Death);
        }
        let harm = state.faults.iter_mut().filter_map(|fault| fault.meet(call)).last();
        let Some(harm) = harm else { return Ok(()) };
        state.harmed += 1;
        state.is_dead |= harm == Harm::Death;
        drop(state);
        match harm {
            Harm::Slow(time) => {
                std::thread::sleep(time);
                Ok(())
            }
            harm => Err(harm),
        }
    }

    fn call(&self, call: Call) -> io::Result<()> {
        self.meet(call).map_err(harm_error)
    }

    fn rename_to(state: &mut State, path: &Path, entry: Named) {
        let was = match &entry {
            Some(entry) => state.names.insert(path.to_owned(), entry.clone()),
            None => state.names.remove(path),
        };
        state.unsynced.entry(path.to_owned()).or_default().push(was);
    }

    /// Whether the name is there.
    pub fn exists(&self, path: &Path) -> io::Result<bool> {
        self.call(Call::Open)?;
        Ok(path == &*self.root || locked(&self.state).names.contains_key(path))
    }

    /// Makes one folder, whose parent must be there.
    pub fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.call(Call::Name)?;
        let mut state = locked(&self.state);
        if state.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        Self::rename_to(&mut state, path, Some(Entry::Folder));
        Ok(())
    }

    /// Makes what was done to the names in a folder durable.
    pub fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.call(Call::SyncFolder)?;
        locked(&self.state).unsynced.retain(|path, _| path.parent() != Some(folder));
        Ok(())
    }

    /// Moves a name to another one, which must be free.
    pub fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Call::Name)?;
        let mut state = locked(&self.state);
        if state.names.contains_key(to) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let entry = state.names.get(from).cloned().ok_or_else(|| missing(from))?;
        Self::rename_to(&mut state, to, Some(entry));
        Self::rename_to(&mut state, from, None);
        Ok(())
    }

    /// Removes a file's name.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(Call::Name)?;
        let mut state = locked(&self.state);
        if !state.names.contains_key(path) {
            return Err(missing(path));
        }
        Self::rename_to(&mut state, path, None);
        Ok(())
    }

    /// Makes a new file of these bytes and syncs it. Its name is not synced.
    pub fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = self.open_file(path, true)?;
        self.write_at(&file, 0, bytes).map_err(harm_error)?;
        self.sync(&file).map_err(harm_error)
    }

    /// Writes a file's bytes over themselves and syncs it.
    pub fn rewrite(&self, path: &Path) -> io::Result<()> {
        let file = self.open_file(path, false)?;
        let bytes = locked(&file).bytes.clone();
        self.write_at(&file, 0, &bytes).map_err(harm_error)?;
        self.sync(&file).map_err(harm_error)
    }

    /// Appends to a file, made where it is not there.
    pub fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = self.open_file(path, true)?;
        let len = locked(&file).bytes.len();
        self.write_at(&file, len, bytes).map_err(harm_error)
    }

    /// Makes the bytes of a file durable.
    pub fn sync_file(&self, path: &Path) -> io::Result<()> {
        let file = self.open_file(path, false)?;
        self.sync(&file).map_err(harm_error)
    }

    /// The paths in a folder.
    pub fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.call(Call::Open)?;
        if !self.is_folder(folder) {
            return Err(missing(folder));
        }
        let names = &locked(&self.state).names;
        Ok(names.keys().filter(|path| path.parent() == Some(folder)).cloned().collect())
    }

    /// Whether the name is a folder's.
    pub fn is_folder(&self, path: &Path) -> bool {
        path == &*self.root || matches!(locked(&self.state).names.get(path), Some(Entry::Folder))
    }

    /// Removes a folder, name by name, the deepest first.
    pub fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        let names: Vec<PathBuf> =
            locked(&self.state).names.keys().filter(|path| path.starts_with(folder)).cloned().collect();
        names.iter().rev().try_for_each(|path| self.remove(path))
    }

    /// Moves a file or a folder to another name, in the place of what had it. What is in a folder comes along; should a
    /// loss of power undo the move, the folder is empty: nobody may rely on what had no name yet.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Call::Name)?;
        let mut state = locked(&self.state);
        let entry = state.names.get(from).cloned().ok_or_else(|| missing(from))?;
        Self::rename_to(&mut state, to, Some(entry));
        Self::rename_to(&mut state, from, None);
        let moved = |path: &Path| path.strip_prefix(from).ok().map(|rest| to.join(rest));
        let is_inside = |path: &PathBuf| path.starts_with(from) && path != from;
        let inside: Vec<PathBuf> = state.names.keys().filter(|path| is_inside(path)).cloned().collect();
        for path in inside {
            let (entry, to) = (state.names.remove(&path), moved(&path));
            if let (Some(entry), Some(to)) = (entry, to) {
                state.names.insert(to, entry);
            }
        }
        let inside: Vec<PathBuf> = state.unsynced.keys().filter(|path| is_inside(path)).cloned().collect();
        for path in inside {
            let (was, to) = (state.unsynced.remove(&path), moved(&path));
            if let (Some(was), Some(to)) = (was, to) {
                state.unsynced.insert(to, was);
            }
        }
        Ok(())
    }

    /// Which file it is, its length, and how often it was changed; `None` where it is not there.
    pub fn stamp(&self, path: &Path) -> io::Result<Option<(u64, u64, u64)>> {
        self.call(Call::Open)?;
        Ok(match locked(&self.state).names.get(path) {
            Some(Entry::File(file)) => {
                let node = locked(file);
                Some((Arc::as_ptr(file) as usize as u64, node.bytes.len() as u64, node.changes))
            }
            _ => None,
        })
    }

    /// The bytes of a file; `None` where it is not there.
    pub fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        self.call(Call::Open)?;
        Ok(match locked(&self.state).names.get(path) {
            Some(Entry::File(file)) => Some(locked(file).bytes.len() as u64),
            _ => None,
        })
    }

    /// Puts all files of it into a folder of the real disk, as they are read now.
    pub fn copy_out(&self, to: &Path) -> io::Result<()> {
        for (path, entry) in &locked(&self.state).names {
            let target = to.join(path.strip_prefix(&self.root).unwrap_or(path));
            match entry {
                Entry::Folder => std::fs::create_dir_all(target)?,
                Entry::File(file) => std::fs::write(target, &locked(file).bytes)?,
            }
        }
        Ok(())
    }

    pub(crate) fn open_file(&self, path: &Path, create: bool) -> io::Result<File> {
        self.call(Call::Open)?;
        if let Some(entry) = locked(&self.state).names.get(path) {
            return match entry {
                Entry::File(file) => Ok(Arc::clone(file)),
                Entry::Folder => Err(io::Error::other("a folder")),
            };
        }
        if !create {
            return Err(missing(path));
        }
        self.call(Call::Name)?;
        let mut state = locked(&self.state);
        let parent = path.parent().unwrap_or(path);
        if parent != &*self.root && !matches!(state.names.get(parent), Some(Entry::Folder)) {
            return Err(missing(parent));
        }
        let file = File::default();
        Self::rename_to(&mut state, path, Some(Entry::File(Arc::clone(&file))));
        Ok(file)
    }

    pub(crate) fn write_at(&self, file: &File, at: usize, data: &[u8]) -> Result<(), Harm> {
        match self.meet(Call::Write) {
            Err(Harm::Short) => {
                locked(file).write(at, &data[..data.len() / 2]);
                Err(Harm::Short)
            }
            met => met.map(|()| locked(file).write(at, data)),
        }
    }

    pub(crate) fn sync(&self, file: &File) -> Result<(), Harm> {
        match self.meet(Call::Sync) {
            Err(Harm::Error) => {
                let mut random = Random::new(locked(&self.state).calls);
                locked(file).sync_failed(&mut random);
                Err(Harm::Error)
            }
            met => met.map(|()| locked(file).sync()),
        }
    }
}
