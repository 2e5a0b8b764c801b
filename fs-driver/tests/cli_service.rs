//! A mount as the process of a service manager: `--foreground`, told by datagrams, ended by a signal.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/remotes.rs"]
mod remotes;

use std::os::unix::net::UnixDatagram;
use std::process::Command;

use cairn_conformance::fixture::Script;
use cairn_conformance::front::Deed;
use remotes::{DEADLINE, World};

#[test]
fn a_manager_is_told_once_the_tree_is_there_and_a_signal_unmounts_it() {
    let mut script = Script::default();
    script.commit("main", &[], &[("README", "first\n")]);
    let world = World::stock(&script, |_| Deed::Pass);
    let path = world.dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let (url, dir) = (world.url(), world.mountpoint());
    let mut mount = world.driver_command(&["mount", "--foreground", "--", &url, dir.to_str().unwrap()]);
    let mut mount = mount.env("NOTIFY_SOCKET", &path).spawn().unwrap();
    let mut told = [0; 64];
    let count = manager.recv(&mut told).unwrap();
    assert_eq!(&told[..count], b"READY=1\n");
    assert_eq!(world.read("README"), "first\n");
    let pid = mount.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(mount.wait().unwrap().success());
    assert!(!dir.join("README").exists());
}
