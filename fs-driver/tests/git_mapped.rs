//! `git status` in a mount sees what is written by whoever keeps a file open, through a memory map as well.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/map.rs"]
mod map;
#[path = "support/world.rs"]
mod world;

use std::fs::{File, OpenOptions};
use std::io::Write;

use world::World;

const TREE: &str = "
    mkdir src; head -c 8192 /dev/zero | tr '\\0' p > src/page; echo readme > README
    for n in 1 2 3 4 5 6 7 8 9; do echo \"int f$n;\" > src/f$n.c; done
    git add -A; git commit -qm first";

#[test]
fn status_sees_what_was_written_through_a_map_or_by_an_open_writer_before_it_was_asked() {
    for more in [&[][..], &["--passthrough"]] {
        let world = World::start(TREE);
        world.mount(more);
        let dir = world.mountpoint();
        let status = || {
            let out = world.git.run(&dir, &["status", "--porcelain"]);
            assert!(out.ok(), "{}", out.errors());
            out.text()
        };
        let commit = || {
            let out = world.git.run(&dir, &["commit", "-qam", "more"]);
            assert!(out.ok(), "{}", out.errors());
        };
        assert_eq!(status(), "");
        let file = File::options().read(true).write(true).open(dir.join("src/page")).unwrap();
        let mut page = map::shared(&file, 0, 8_192);
        for round in 0..4 {
            page[round] = b'x';
            assert_eq!(status(), " M src/page", "{more:?}, round {round}");
            commit();
            assert_eq!(status(), "", "{more:?}, round {round}");
        }
        let writer = OpenOptions::new().append(true).open(dir.join("README")).unwrap();
        for round in 0..4 {
            (&writer).write_all(b"more\n").unwrap();
            assert_eq!(status(), " M README", "{more:?}, round {round}");
            commit();
            assert_eq!(status(), "", "{more:?}, round {round}");
        }
        drop((page, file, writer));
        let kept = world.git.run(&dir, &["cat-file", "blob", "HEAD:src/page"]);
        assert!(kept.text().starts_with("xxxxp"), "{}", kept.errors());
    }
}
