//! What the filesystem asks of the side that knows git objects: the cache, the hydrator and the remote behind them.
//!
//! Nothing here blocks on the network. What is not local is asked for with a callback, so that a thread that serves the
//! kernel hands its reply over and goes on.

use std::fs::File;
use std::io;
use std::sync::Arc;

use cairn_protocol::object::{HashAlgo, ObjectId};

/// Called once, from any thread, with what was asked for or why it is not to be had.
pub type Done<T> = Box<dyn FnOnce(io::Result<T>) + Send>;

/// Keeps a cached blob from eviction for as long as it lives.
pub trait Pin: Send + Sync {}

/// The whole content of a blob in a plain file, as a checkout would write it.
#[derive(Clone)]
pub struct Blob {
    /// Open for reading; its bytes never change.
    pub file: Arc<File>,
    /// Its length in bytes.
    pub size: u64,
    /// Held while the file is in use.
    pub pin: Arc<dyn Pin>,
}

/// The objects of the mounted commit. Trees are always local; contents and sizes of blobs may have to be fetched.
pub trait Objects: Send + Sync + 'static {
    /// The hash that names them.
    fn algo(&self) -> HashAlgo;

    /// The raw bytes of a tree. Reads the disk at most.
    fn tree(&self, id: &ObjectId) -> io::Result<Vec<u8>>;

    /// The size of a blob in bytes, where it is known without asking anyone.
    fn size(&self, id: &ObjectId) -> Option<u64>;

    /// Makes the sizes of blobs known, in as few requests as it can; `size` has them when `done` is called. `near` is the path
    /// of one of them: sizes around it may come along. Never blocks.
    fn want_sizes(&self, ids: Vec<ObjectId>, near: &[u8], done: Done<()>);

    /// Fetches blobs, in as few requests as it can; `open` has them when `done` is called. `near` is as in `want_sizes`.
    fn want_contents(&self, ids: Vec<ObjectId>, near: &[u8], done: Done<()>);

    /// The blob, where it is local. Reads the disk at most.
    fn open(&self, id: &ObjectId) -> Option<Blob>;

    /// Fetches a blob ahead of all background work. `path` is where it was met: its neighbours may come along. Never blocks.
    /// Fails with `ErrorKind::TimedOut` or another error within the read deadline.
    fn want(&self, id: ObjectId, path: &[u8], done: Done<Blob>);

    /// As [`Objects::want`], for git, which reads all objects of a commit one after the other where it compares or checks them.
    fn want_for_git(&self, id: ObjectId, path: &[u8], done: Done<Blob>) {
        self.want(id, path, done);
    }

    /// The file of a blob is about to be changed or removed: git will ask for the old content. Never blocks, best effort.
    fn diverges(&self, id: ObjectId);
}
