//! What is agreed with the kernel when a mount begins.

use std::sync::atomic::Ordering;

use fuser::{InitFlags, KernelConfig};

use super::shared::Shared;
use crate::limits::{BACKGROUND_REQUESTS_MAX, WRITE_BYTES_MAX};

/// Asks for what the kernel offers and the mount can use.
pub(super) fn ask(shared: &Shared, config: &mut KernelConfig) {
    let wanted = [
        InitFlags::FUSE_DO_READDIRPLUS,
        InitFlags::FUSE_READDIRPLUS_AUTO,
        InitFlags::FUSE_PARALLEL_DIROPS,
        InitFlags::FUSE_CACHE_SYMLINKS,
        InitFlags::FUSE_HANDLE_KILLPRIV_V2,
        InitFlags::FUSE_EXPLICIT_INVAL_DATA,
        // No file has an access list, and none can be given one: the kernel then remembers that of each.
        InitFlags::FUSE_POSIX_ACL,
    ];
    for flag in wanted {
        if config.add_capabilities(flag).is_err() {
            log::info!("the kernel does not offer {flag:?}");
        }
    }
    // An open file is its inode: the kernel need not tell of it, and keeps what it read. Only a file that it reads past
    // us has to be asked for.
    let asks = shared.wants_passthrough && !shared.fs.options().read_only;
    let stateless_files = !asks && config.add_capabilities(InitFlags::FUSE_NO_OPEN_SUPPORT).is_ok();
    // An open that is not told of cannot cut a file to nothing by itself.
    if !stateless_files && config.add_capabilities(InitFlags::FUSE_ATOMIC_O_TRUNC).is_err() {
        log::info!("the kernel does not offer to cut files to nothing as it opens them");
    }
    shared.stateless_files.store(stateless_files, Ordering::Relaxed);
    let passthrough = asks
        && config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
        && config.set_max_stack_depth(1).is_ok();
    shared.passthrough.store(passthrough, Ordering::Relaxed);
    let stateless_dirs = config.add_capabilities(InitFlags::FUSE_NO_OPENDIR_SUPPORT).is_ok();
    shared.stateless_dirs.store(stateless_dirs, Ordering::Relaxed);
    // A kernel that allows less says so; less is what it then gets.
    let _ = config.set_max_write(WRITE_BYTES_MAX);
    let _ = config.set_max_background(BACKGROUND_REQUESTS_MAX);
}
