//! The seeds of the fuzz targets, tried without a fuzzer: each is something that its parser takes whole.

use std::{fs, path::PathBuf};

use cairn_protocol::{
    filter::Filter,
    object::HashAlgo,
    pktline::Packets,
    receive_pack::{Parsed, parse_push},
    refs::RefName,
    upload_pack::{parse_v0, parse_v2},
};

/// Whether a parser takes `bytes` in either object format.
fn is_taken(target: &str, bytes: &[u8]) -> bool {
    let either = |takes: &dyn Fn(HashAlgo) -> bool| takes(HashAlgo::Sha1) || takes(HashAlgo::Sha256);
    match target {
        "pktline" => Packets::new(bytes).all(|packet| packet.is_ok()),
        "upload_pack_v2" => either(&|algo| parse_v2(bytes, algo).is_ok()),
        "upload_pack_v0" => either(&|algo| parse_v0(bytes, algo).is_ok()),
        // The first byte tells the fuzz target where to cut.
        "receive_pack" => either(&|algo| matches!(parse_push(&bytes[1..], algo), Ok(Parsed::Done { .. }))),
        "ref_name" => RefName::new(bytes).is_ok(),
        "filter" => Filter::parse(bytes).is_ok(),
        _ => panic!("no such target: {target}"),
    }
}

#[test]
fn every_seed_is_taken_by_its_parser() {
    let seeds = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    for target in ["pktline", "upload_pack_v2", "upload_pack_v0", "receive_pack", "ref_name", "filter"] {
        let entries: Vec<_> = fs::read_dir(seeds.join(target)).expect("the target has seeds").collect();
        assert!(entries.len() >= 4, "{target}");
        for entry in entries {
            let path = entry.expect("a folder can be read").path();
            let bytes = fs::read(&path).expect("a seed can be read");
            assert!(is_taken(target, &bytes), "{}", path.display());
        }
    }
}
