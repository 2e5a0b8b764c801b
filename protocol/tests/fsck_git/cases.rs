//! Odd objects.

type Entry<'a> = (&'a str, &'a [u8], u8);

fn tree(entries: &[Entry<'_>]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|(mode, name, id)| [mode.as_bytes(), b" ", name, b"\0", &[*id; 20]].concat())
        .collect()
}

const FILE: &str = "100644";
const DIR: &str = "40000";
const LINK: &str = "120000";

/// Names that file systems may or may not take for those of git.
pub fn names_in_trees() -> Vec<&'static [u8]> {
    vec![
        b"plain",
        b".",
        b"..",
        b"...",
        b".git",
        b".GIT",
        b".Git ",
        b".git.",
        b".git. . ",
        b".git...x",
        b".gitx",
        b"git",
        b"git~1",
        b"GIT~1",
        b"git~2",
        b"git~1.",
        b"git~1x",
        b".git::$INDEX_ALLOCATION",
        b".git:x",
        b"git~1:x",
        b"a/b",
        b".git/x",
        b"x/.git",
        b"a\\b",
        b"a\\.git",
        b"a\\git~1",
        b".git\\x",
        b"a\\.git\\b",
        b"a\\b\\.GIT ",
        b"\xe2\x80\x8c.git",
        b".g\xe2\x80\x8dit",
        b".git\xe2\x80\xaa",
        b"\xef\xbb\xbf.git",
        b".g\xe2\x81\xafit",
        b".git\xff",
        b".gi\xfft",
        b"\xff.git",
        b".git\xef\xbf\xbf",
        b".git\xe2\x80",
        b".g\xe2\x80\x90it",
        b".git\xed\xa0\x80",
        b".git\xe2\x80\x8c/x",
        b".g\xc4\xb1t",
        b".mailmap",
        b"maba30~1",
        b"mailma~1",
        b"mailmap",
        b".gitignore",
        b"gi250a~1",
        b"gitign~4",
        b"gitign~5",
        b".gitattributes",
        b"gi7d29~1",
        b"gitatt~1",
        b"a\\.gitattributes",
        b".gitmodules",
        b".GITMODULES",
        b"gitmod~1",
        b"gitmod~5",
        b"gi7eba~1",
        b"GI7EBA~9",
        b"gi7eba~0",
        b"gi7eb~10",
        b"gi7eb~1x",
        b"g~123456",
        b"~1000000",
        b"~0000000",
        b"~123456",
        b"gi7eba~1 .",
        b"gi7eba~1:x",
        b"gi7eba~1x",
        b"a\\.gitmodules",
        b"a\\gi7eba~1",
        b".gitmodules:x",
        b".gitmodules ",
        b".gitmodules/x",
        b".gitm\xe2\x80\x8codules",
        b".gitmodulesx",
    ]
}

/// Odd trees, whose entries lead nowhere.
pub fn trees() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = names_in_trees().iter().map(|name| tree(&[(FILE, name, 1)])).collect();
    all.extend(names_in_trees().iter().map(|name| tree(&[(LINK, name, 1)])));
    for mode in
        ["100755", "100664", "0100644", "040000", "0", "644", "160000", "100600", "140000", "60000", "777777"]
    {
        all.push(tree(&[(mode, b"x", 1)]));
    }
    let orders: &[&[Entry<'_>]] = &[
        &[],
        &[(FILE, b"a", 1), (FILE, b"b", 2)],
        &[(FILE, b"b", 1), (FILE, b"a", 2)],
        &[(FILE, b"a", 1), (FILE, b"a", 2)],
        &[(FILE, b"a", 1), (DIR, b"a", 2)],
        &[(DIR, b"a", 1), (FILE, b"a.c", 2)],
        &[(FILE, b"a.c", 1), (DIR, b"a", 2)],
        &[(FILE, b"a", 1), (FILE, b"a.c", 2), (DIR, b"a", 3)],
        &[
            (FILE, b"foo", 1),
            (FILE, b"foo.bar", 1),
            (FILE, b"foo.bar.baz", 1),
            (DIR, b"foo.bar", 1),
            (DIR, b"foo", 1),
        ],
        &[
            (FILE, b"foo", 1),
            (FILE, b"foo.bar", 1),
            (FILE, b"foo.baz", 1),
            (DIR, b"foo.quux", 1),
            (DIR, b"foo", 1),
        ],
        &[(FILE, b"foo", 1), (DIR, b"foo.a", 1), (DIR, b"foo.b", 1), (FILE, b"foo0", 1), (DIR, b"foo", 1)],
        &[(FILE, b"a-", 1), (FILE, b"a", 1), (FILE, b"a0", 1)],
        &[(DIR, b"a0", 1), (DIR, b"a", 1)],
        &[(FILE, b"\xff", 1), (FILE, b"a", 1)],
        &[(FILE, b"x", 0)],
        &[(FILE, b"a", 1), ("160000", b"x", 0)],
        &[(FILE, b"a", 1), ("0644", b".git", 0), ("040000", b".", 1), (LINK, b".gitmodules", 1)],
        &[(FILE, b"", 1)],
        &[("", b"x", 1)],
        &[("10064x", b"x", 1)],
        &[("100648", b"x", 1)],
        &[("777", b"b", 1), (FILE, b"a", 1), ("x", b"c", 1)],
        &[(FILE, b"a", 1), (FILE, b"", 1)],
        &[(FILE, &[b'n'; 4096], 1)],
        &[(FILE, &[b'n'; 4097], 1)],
    ];
    all.extend(orders.iter().map(|entries| tree(entries)));
    let whole = tree(&[(FILE, b"a", 1), (FILE, b"b", 2)]);
    all.extend([1, 5, 10, 28, 30, 40, 57].iter().map(|end| whole[..*end].to_vec()));
    all
}

pub const HEX: &str = "0123456789abcdef0123456789abcdef01234567";

/// Odd commits of the tree `HEX`.
pub fn commits() -> Vec<Vec<u8>> {
    let idents = [
        "A <a@b> 1 +0000",
        "A <a@b> 0 +0000",
        "A <a@b> 00 +0000",
        "A <a@b> 01 +0000",
        "A <a@b> 1 +000",
        "A <a@b> 1 +00000",
        "A <a@b> 1 0000",
        "A <a@b> 1",
        "A <a@b> 0",
        "A <a@b> ",
        "A <a@b>",
        "A <a@b>1 +0000",
        "A <a@b>  \t 1 -9999",
        "A <a@b> x +0000",
        "A <a@b> -1 +0000",
        "A <a@b> 1x +0000",
        "A <a@b> 1  +0000",
        "A <a@b",
        "A",
        "",
        "A a@b> 1 +0000",
        "A<a@b> 1 +0000",
        "<a@b> 1 +0000",
        " <a@b> 1 +0000",
        "A <<a@b> 1 +0000",
        "A > <a@b> 1 +0000",
        "A <> 1 +0000",
        "A <a@b>> 1 +0000",
        "A <a@b> 9223372036854775807 +0000",
        "A <a@b> 9223372036854775808 +0000",
        "A <a@b> 18446744073709551615 +0000",
        "A <a@b> 99999999999999999999999 +0000",
        "A <a@b> 1 +00:0",
        "A <a@b> 1 +0000 ",
        "A <a@b> 1\t+0000",
        "A <a@b> 9223372036854775806 +0000",
    ];
    let good = "A <a@b> 1 +0000";
    let mut all: Vec<String> = Vec::new();
    for ident in idents {
        all.push(format!("tree {HEX}\nauthor {ident}\ncommitter {good}\n\nx\n"));
        all.push(format!("tree {HEX}\nparent {HEX}\nauthor {good}\ncommitter {ident}\n\nx\n"));
    }
    let tail = format!("author {good}\ncommitter {good}\n\nx\n");
    all.extend([
        format!("parent {HEX}\n{tail}"),
        format!("tree {HEX}0\n{tail}"),
        format!("tree {}\n{tail}", &HEX[1..]),
        format!("tree {}\n{tail}", HEX.to_uppercase()),
        format!("tree {HEX}\nparent {}z\n{tail}", &HEX[1..]),
        format!("tree {HEX}\nparent {HEX} \n{tail}"),
        format!("tree {HEX}\ntree {HEX}\n{tail}"),
        format!("tree {HEX}\nparent {HEX}\nx\n{tail}"),
        format!("tree {HEX}\nauthor {good}\n{tail}"),
        format!("tree {HEX}\ncommitter {good}\n\nx"),
        format!("tree {HEX}\nauthor {good}\n\nx"),
        format!("tree {HEX}\nauthor {good}\ncommitter {good}"),
        format!("tree {HEX}\nauthor {good}\ncommitter {good}\n"),
        format!("tree {HEX}\nauthor {good}\ncommitter {good}\nencoding x\ngpgsig a\n b\n\nx"),
        format!("tree {HEX}\nauthor {good}\ncommitter {good}\nmore"),
        format!("tree {HEX}\nauthor A\0 <a@b> 1 +0000\ncommitter {good}\n\nx"),
        format!("tree {HEX}\nauthor {good}\ncommitter {good}\n\nx\0y"),
        format!("tree {HEX}\nauthor {good}\ncommitter {good}\n\0\n\nx"),
        format!("tree {HEX}\n\n{tail}"),
        "tree".to_owned(),
        "\n".to_owned(),
        String::new(),
    ]);
    all.into_iter().map(String::into_bytes).collect()
}

/// Odd tags of `HEX`.
pub fn tags() -> Vec<Vec<u8>> {
    let good = "A <a@b> 1 +0000";
    let mut all = vec![
        format!("object {HEX}\ntype commit\ntag v1\ntagger {good}\n\nx\n"),
        format!("object {HEX}\ntype blob\ntag v1\ntagger {good}\n"),
        format!("object {HEX}\ntype commits\ntag v1\ntagger {good}\n\nx\n"),
        format!("object {HEX}\ntype\ntag v1\ntagger {good}\n\nx\n"),
        format!("object {HEX}\ntype \ntag v1\ntagger {good}\n\nx\n"),
        format!("object {HEX}\ntype commit\n\nx\n"),
        format!("object {HEX}\ntype commit\n"),
        format!("object {HEX}\n"),
        format!("object {HEX}0\ntype commit\ntag v1\ntagger {good}\n\nx\n"),
        format!("object xyz\ntype commit\ntag v1\ntagger {good}\n\nx\n"),
        format!("type commit\nobject {HEX}\ntag v1\ntagger {good}\n\nx\n"),
        format!("object {HEX}\ntype tree\ntag v1\n\nx\n"),
        format!("object {HEX}\ntype tree\ntag v1\ntagger A\n\nx\n"),
        format!("object {HEX}\ntype tree\ntag v1\ntagger {good}\nmore x\n\nx\n"),
        format!("object {HEX}\ntype tree\ntag v1\ntagger {good}"),
        format!("object {HEX}\ntype tree\ntag v1\ntagger A\0 <a@b> 1 +0000\n\nx\n"),
        format!("object {HEX}\ntype tree\ntag v1\ntagger {good}\n\nx\0\n"),
        String::new(),
    ];
    for name in [
        "a b", ".a", "a.", "a..b", "a.lock", "a/b", "a//b", "/a", "a/", "", "@", "a@{b", "a/.b", "\u{e4}",
        "a.lock/b",
    ] {
        all.push(format!("object {HEX}\ntype commit\ntag {name}\ntagger {good}\n\nx\n"));
    }
    all.into_iter().map(String::into_bytes).collect()
}

/// Odd contents of `.gitmodules`.
pub fn gitmodules() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for name in
        ["a", "..", "../a", "a/../b", "a/..", "a\\..\\b", "..a", "a..", ".", "", "a.b", "...", "a/..b"]
    {
        let name = name.replace('\\', "\\\\");
        all.push(format!("[submodule \"{name}\"]\n\tpath = p\n").into());
    }
    let urls = [
        "https://host/x",
        "-x",
        "--upload-pack=x",
        "./-x",
        "../x",
        "../../x",
        "..\\\\x",
        "../:x",
        ".././:x",
        "..//x",
        "./:x",
        ".//x",
        "../x:y",
        "./a%0ab",
        "../a%0Ab",
        "git://host/%0a",
        "git://host/x",
        "./%00",
        "ssh://h/%0a",
        "https://host/%0a",
        "https://host/%250a",
        "https://host/a%0a/../b",
        "https://h%0a/",
        "https://host/%zz",
        "https:///x",
        "https://host/../x",
        "https://host:99999/",
        "https://host:x/",
        "https://u%0a@host/",
        "http::https://host/%0a",
        "http::x",
        "https::-x",
        "http::file:///x",
        "ftp://h/%0a",
        "ftps::ftp://h",
        "ssh::-x",
        "https://host?%0a",
        "https://host#%0a",
        "https://",
        "https://h o/",
        "HTTPS://host/%0a",
        "a\\nb",
        "./a\\nb",
        "https://h/a\\nb",
        "https\\n://h",
        "file:///%0a",
        "/-x",
        "",
        "%0a",
        "./%%0a",
        "https://@/",
        "https://[::1]:1/",
        "https://h:0/",
        "https://h:/%0a",
        "https://h/a/..",
        "https://h/a/../..",
        "https://h/%2e%2e/",
        "http::-://x",
    ];
    for url in urls {
        all.push(format!("[submodule \"a\"]\n\turl = \"{url}\"\n").into());
    }
    all.extend(
        [
            &b"[submodule \"a\"]\n\tpath = -x\n"[..],
            b"[submodule \"a\"]\n\tupdate = !sh\n",
            b"[submodule \"a\"]\n\tupdate = checkout\n",
            b"[submodule \"a\"]\n\tupdate = odd\n",
            b"[submodule \"a\"]\n\tUPDATE = \"!\"sh\n",
            b"[submodule]\n\turl = -x\n",
            b"[submodule.a]\n\turl = -x\n",
            b"[submodule.]\n\turl = -x\n",
            b"[SubModule \"A\"]\n\turl = -x\n",
            b"[submodules \"a\"]\n\turl = -x\n",
            b"[submodule \"a\"]\n\turl\n",
            b"[submodule \"..\"]\n\turl\n",
            b"[submodule \"..\"]\n",
            b"[submodule \"a\"] url = -x",
            b"[submodule \"a\"]\r\nurl = -x\r\n",
            b"[submodule \"a\"]\nurl = \\\n-x\n",
            b"[submodule \"a\"]\nurl = x # -x\n",
            b"[submodule \"a\"]\nurl = \"x\n",
            b"[submodule \"a\"]\nurl = -x\n[broken\n",
            b"[submodule \"a\"]\nurl = \\q\n",
            b"[submodule \"a]\nurl = -x\n",
            b"[submodule \"a\\\"b\"]\nurl = -x\n",
            b"# c\n; d\n\n[submodule \"a\"]\n  url = ok ; x\n",
            b"[submodule \"a\0b\"]\nurl = -x\n",
            b"[submodule \"a\"]\nurl = ./x\0%0a\n",
            b"[submodule \"a\"]\nurl x\n",
            b"url = -x\n",
            b"not a config",
            b"",
        ]
        .map(<[u8]>::to_vec),
    );
    all
}
