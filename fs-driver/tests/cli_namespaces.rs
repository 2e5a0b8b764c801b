//! Where containers put a mount: namespaces without the device, without the right to mount, and with both.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/remotes.rs"]
mod remotes;

use std::process::Output;

use cairn_conformance::fixture::Script;
use cairn_conformance::front::Deed;
use remotes::World;

fn world() -> World {
    let mut script = Script::default();
    script.commit("main", &[], &[("README", "first\n"), ("a/b", "b\n")]).commit(
        "main",
        &[],
        &[("README", "second\n")],
    );
    World::stock(&script, |_| Deed::Pass)
}

/// Runs a shell script with bash in namespaces of its own: `$FS` is the program, `$REMOTE` the remote, `$M` where to mount.
fn within(world: &World, unshare: &[&str], script: &str) -> Output {
    let mut command = world.command("unshare");
    command.args(unshare).args(["--", "bash", "-euc", script]);
    command.env("FS", env!("CARGO_BIN_EXE_cairn-fs")).env("REMOTE", world.url());
    command.env("M", world.mountpoint()).env("W", world.dir.path());
    command.output().unwrap()
}

const USER_AND_MOUNT: &[&str] = &["--user", "--map-root-user", "--mount"];

fn errors(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn text(out: &Output) -> String {
    assert!(out.status.success(), "{}{}", String::from_utf8_lossy(&out.stdout), errors(out));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn without_the_device_a_mount_says_what_to_give_the_container_and_asks_no_remote() {
    let world = world();
    for more in ["", "--async", "--foreground"] {
        let hidden = format!("mount -t tmpfs none /dev; exec \"$FS\" mount \"$REMOTE\" \"$M\" {more}");
        let out = within(&world, USER_AND_MOUNT, &hidden);
        let said = errors(&out);
        assert_eq!(out.status.code(), Some(1), "{more}: {said}");
        assert!(
            said.contains("/dev/fuse is not there") && said.contains("--device /dev/fuse"),
            "{more}: {said}"
        );
    }
    assert!(world.front.asked().is_empty());
    assert!(world.status().is_none());
    assert!(!world.mountpoint().exists(), "nothing is left of it");
}

#[test]
fn without_the_right_to_mount_a_mount_says_what_would_give_it() {
    let world = world();
    // A user namespace alone: its root may not mount in the namespace of mounts that it found.
    let out = within(&world, &["--user", "--map-root-user"], "exec \"$FS\" mount \"$REMOTE\" \"$M\"");
    let said = errors(&out);
    assert_eq!(out.status.code(), Some(1), "{said}");
    for remedy in ["--cap-add SYS_ADMIN", "fusermount3", "unshare --user --map-root-user --mount"] {
        assert!(said.contains(remedy), "{said}");
    }
    assert!(world.status().is_none());
}

#[test]
fn a_mount_in_a_namespace_of_mounts_is_seen_there_alone() {
    let world = world();
    let is_root = rustix::process::geteuid().is_root();
    // Root needs no user namespace for it, and containers of root have none.
    let ways: &[&[&str]] = if is_root { &[&["--mount"], USER_AND_MOUNT] } else { &[USER_AND_MOUNT] };
    for way in ways {
        let script = "\"$FS\" mount \"$REMOTE\" \"$M\"; cat \"$M/README\"; echo n >\"$M/new\"
            git -C \"$M\" status --porcelain; test ! -e /proc/1/root/\"$M\"/README
            \"$FS\" status \"$M\" >&2; \"$FS\" unmount \"$M\"; test ! -e \"$M/README\"";
        assert_eq!(text(&within(&world, way, script)), "second\n?? new\n", "{way:?}");
        assert!(!world.mountpoint().join("README").exists(), "{way:?}");
        // The next has a state of its own: owners of one namespace are not those of another.
        std::fs::remove_dir_all(world.cache()).unwrap();
    }
}

#[test]
fn a_mount_that_is_replaced_is_seen_through_a_bind_that_follows_its_host() {
    let world = world();
    // What `-v /srv/work:/work:rslave` does: the host's folder is shared, the container's a slave of it.
    let script = r#"
        mkdir -p "$M"; mount --bind "$M" "$M"; mount --make-shared "$M"; mkfifo "$W/go" "$W/done"
        unshare --mount --propagation slave -- bash -euc '
            while read -r _ <&4; do cat "$M/README" >&3; ls -A "$M" | wc -l >&3; echo >&5; done
        ' 3>&1 4<>"$W/go" 5<>"$W/done" &
        other=$!; exec 4<>"$W/go" 5<>"$W/done"
        look() { echo >&4; read -r -t 60 _ <&5; }
        "$FS" mount "$REMOTE" "$M" 3>&-; look
        echo mine >"$M/README"; look
        "$FS" unmount "$M"; "$FS" mount "$REMOTE" "$M" 3>&-; look
        "$FS" unmount "$M"; kill $other"#;
    let seen = text(&within(&world, USER_AND_MOUNT, script));
    assert_eq!(seen, "second\n3\nmine\n3\nmine\n3\n");
}
