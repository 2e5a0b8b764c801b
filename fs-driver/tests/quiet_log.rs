//! The log of a mount tells of what went wrong, and of nothing else.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/world.rs"]
mod world;

use std::fs::{self, File};
use std::io::IsTerminal;

use world::World;

#[test]
fn who_asks_whether_a_file_is_a_terminal_leaves_no_line_in_the_log() {
    let world = World::start("echo a >a; git add a; git commit -qm a");
    world.mount(&["--history", "lazy"]);
    let file = File::open(world.mountpoint().join("a")).unwrap();
    assert!(!file.is_terminal());
    assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(rustix::io::Errno::NOTTY.raw_os_error()));
    drop(file);
    world.unmount();
    let mounts = fs::read_dir(world.dir.path().join("c/mounts")).unwrap();
    let logs: Vec<_> =
        mounts.map(|state| fs::read_to_string(state.unwrap().path().join("log")).unwrap()).collect();
    assert_eq!(logs, [""], "one mount, and nothing went wrong");
}
