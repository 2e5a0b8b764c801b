//! A mount shows what a checkout writes: line ends, `$Id$`, encodings, by attributes and by settings.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use world::World;

/// Contents first and attributes last: so `odd/` and `id/` hold what git itself would not have stored like that.
const TREE: &str = r#"
    put() { mkdir -p "$(dirname "$1")"; printf "$2" > "$1"; }
    put plain.txt 'one\ntwo\n'; put none.txt ''; put last.txt 'no end'; put unix.sh '#!/bin/sh\necho\n'; chmod 755 unix.sh
    put dos.bat 'echo\nexit\n'; put page.html 'a\nb\n'; put image.png 'a\n\000b\nc\n'; put auto.dat 'x\ny\n'
    put auto-binary.dat 'x\n\000y\n'; put sub/in.txt 'in\n'; put sub/in.bat 'in\n'; put sub/deep/x.txt 'deep\n'
    put sub/deep/y.other 'other\n'; put old/style.txt 'old\n'; put old/raw.txt 'raw\n'; put macro.bin 'm\n'
    put big.txt "$(seq 1 60000)\n"; put lfs.bin 'version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n'
    put id/none.c 'none $ $I $Id x\n'; put id/one.c '/* $Id$ */\nint x; /* $Id$ */\n'
    put odd/old.c '$Id: 0123456789012345678901234567890123456789 $\n'; put odd/cvs.c '$Id: a.c,v 1.2 who Exp $\n'
    put id/open.c '$Id: no end\n$Id$\n'; put id/both.c '$Id$\nx\n'; put id/tail.c 'x $Id$'; put odd/empty.c '$Id:$ $Id: $\n'
    put enc/le.txt 'gr\303\274n \360\237\230\200\n'; put enc/mark.txt 'gr\303\274n\n'; put enc/be.txt 'x\303\251\n'
    put enc/word.txt 'w\303\251\ny\n'; put enc/latin.txt 'caf\303\251\n'; put enc/jis.txt '\346\227\245\346\234\254\n'
    put enc/empty.txt ''; put enc/wide.txt 'w\n'; put enc/lines.txt 'a\nb\n'; put enc/same.txt 'gr\303\274n\n'
    put odd/mixed.txt 'a\r\nb\nc\n'; put odd/cr.txt 'a\rb\nc\n'; put odd/crlf.txt 'a\r\nb\r\n'; put odd/mixed.auto 'a\r\nb\n'
    put odd/cr.auto 'a\rb\nc\n'; put odd/bad-latin.txt '\346\227\245\n'; put odd/not-utf8.txt 'x\377y\n'
    put odd/control.auto 'a\001\002\003\nb\n'; put odd/eof.auto 'a\nb\n\032'
    ln -s plain.txt link.bat; put dir.bat/inside 'd\n'; put 'sp ace.bat' 's\n'; put '#first.bat' 'f\n'
    git add -A; git commit -qm contents
    cat > .gitattributes <<'END'
[attr]kept binary
*.bat text eol=crlf
*.sh text eol=lf
page.html text
*.png binary
*.dat text=auto eol=crlf
macro.bin kept
lfs.bin filter=lfs diff=lfs merge=lfs -text
/id/*.c ident
/odd/*.c ident
/id/both.c text eol=crlf
/enc/le.txt text working-tree-encoding=UTF-16LE
/enc/mark.txt text working-tree-encoding=UTF-16LE-BOM
/enc/be.txt text working-tree-encoding=utf-16be
/enc/word.txt text working-tree-encoding=UTF-16
/enc/latin.txt text working-tree-encoding=ISO-8859-1
/enc/jis.txt text working-tree-encoding=shift-jis
/enc/empty.txt text working-tree-encoding=UTF-16LE-BOM
/enc/wide.txt text working-tree-encoding=UTF-32LE
/enc/lines.txt text eol=crlf working-tree-encoding=UTF-16BE
/enc/same.txt text working-tree-encoding=UTF-8
/old/*.txt crlf
/old/raw.txt -crlf
/odd/*.txt text eol=crlf
/odd/*.auto text=auto eol=crlf
/odd/bad-latin.txt working-tree-encoding=ISO-8859-1
/odd/not-utf8.txt working-tree-encoding=UTF-16LE
/big.txt eol=crlf
END
    printf '*.txt eol=crlf\n[attr]nope text eol=crlf\n' > sub/.gitattributes
    printf '*.txt -text\n*.other text eol=crlf\n' > sub/deep/.gitattributes
    git add .gitattributes sub/.gitattributes sub/deep/.gitattributes; git commit -qm attributes"#;

fn files(root: &Path, dir: &Path, into: &mut BTreeMap<Vec<u8>, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let meta = fs::symlink_metadata(&path).unwrap();
        if name == b".git" {
            continue;
        } else if meta.is_dir() {
            files(root, &path, into);
        } else if meta.is_symlink() {
            into.insert(name, fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec());
        } else {
            let content = fs::read(&path).unwrap();
            assert_eq!(meta.len(), content.len() as u64, "the size of {}", path.display());
            into.insert(name, content);
        }
    }
}

fn compare(world: &World, why: &str) {
    let (mut native, mut mounted) = (BTreeMap::new(), BTreeMap::new());
    files(&world.clone_dir(), &world.clone_dir(), &mut native);
    files(&world.mountpoint(), &world.mountpoint(), &mut mounted);
    for (name, content) in &native {
        let found = mounted.get(name).map(|found| found.escape_ascii().to_string());
        let start = |text: String| text.chars().take(300).collect::<String>();
        let want = Some(start(content.escape_ascii().to_string()));
        assert_eq!(found.map(start), want, "{why}: {}", name.escape_ascii());
        assert!(mounted.get(name) == Some(content), "{why}: {}", name.escape_ascii());
    }
    assert_eq!(native.len(), mounted.len(), "{why}");
}

/// What git shows as changed, but for what it would store otherwise than it is stored: that depends on the clock.
const STATUS: &str = "git status --porcelain -- . ':!odd'";
/// The same, with every file looked at.
const ANEW: &str = "git -c core.fsmonitor=false update-index --really-refresh -q > $OUT/refreshed; \
    git -c core.fsmonitor=false status --porcelain -- . ':!odd'";

#[test]
fn every_file_has_the_bytes_of_a_checkout_and_is_unchanged_to_git() {
    let settings: [&[(&str, &str)]; 5] = [
        &[],
        &[("core.autocrlf", "true")],
        &[("core.autocrlf", "input"), ("core.eol", "crlf")],
        &[("core.eol", "crlf")],
        &[("core.attributesFile", "~/mine")],
    ];
    for setting in settings {
        let why = format!("{setting:?}");
        let mut world = World::start(TREE);
        fs::write(world.dir.path().join("mine"), "plain.txt text eol=crlf\n*.bat -text\n").unwrap();
        setting.iter().for_each(|(key, value)| world.git.set(key, value));
        world.clone_natively();
        world.mount(&[]);
        // Before anything is read, and after.
        let clean = world.shell(&world.mountpoint(), STATUS);
        assert_eq!((clean.text(), clean.errors()), (String::new(), String::new()), "{why}");
        compare(&world, &why);
        for script in [STATUS, ANEW] {
            let (here, there) =
                (world.shell(&world.mountpoint(), script), world.shell(&world.clone_dir(), script));
            assert_eq!(here.text(), there.text(), "{why}: {script}");
            assert_eq!(here.text(), "", "{why}: {script}");
        }
        let told = world.status()["warnings"].to_string();
        assert!(told.contains("filter=lfs"), "{told}");
        assert_eq!(told.matches("ask for").count(), 1, "{told}");
    }
}

#[test]
fn what_is_edited_in_the_mount_is_stored_and_shown_as_in_a_native_clone() {
    let world = World::start(TREE);
    world.clone_natively();
    world.mount(&[]);
    let steps = [
        "for f in dos.bat page.html auto.dat id/one.c sub/in.txt old/style.txt; do printf 'more\\n' >> $f; done",
        "printf 'z\\0' >> enc/le.txt; git mv dos.bat moved.bat; git mv auto.dat moved.txt; cp unix.sh copy.bat",
        "git add -A . ':!odd' 2>/dev/null; git commit -qm edits; git push -q",
        "git checkout -q HEAD~1; git checkout -q -",
        "echo '* -text' > sub/.gitattributes; git commit -qm 'no text' sub/.gitattributes; touch sub/*",
        "rm sub/in.txt; git checkout -q -- sub/in.txt; od -c sub/in.txt",
        "git diff HEAD~1 --stat -- sub; git archive HEAD dos.bat moved.bat page.html 2>&1 | od -c | tail -3",
    ];
    for step in steps {
        let (here, there) = (world.shell(&world.mountpoint(), step), world.shell(&world.clone_dir(), step));
        assert_eq!((here.code, here.text()), (there.code, there.text()), "{step}: {}", here.errors());
        compare(&world, step);
        let blobs = "git ls-tree -r HEAD; git status --porcelain -- . ':!odd'";
        assert_eq!(
            world.shell(&world.mountpoint(), blobs).text(),
            world.shell(&world.clone_dir(), blobs).text(),
            "{step}"
        );
    }
    let pushed = |name: &str| world.git.run(&world.host.path(name), &["ls-tree", "-r", "main"]).text();
    assert_eq!(pushed("mounted"), pushed("cloned"));

    // Another mount of the same folder shows the same, whatever the settings are by then.
    world.unmount();
    let mut world = world;
    world.git.set("core.autocrlf", "true");
    world.mount(&[]);
    compare(&world, "after a remount");
}
