//! Any bytes decode without a panic, and what decodes comes back the same when written.

#![no_main]

use cairn_protocol::pktline::{
    Packet, Packets, write_data, write_delim, write_flush, write_on_band, write_response_end,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut packets = Packets::new(bytes);
    let mut out = Vec::new();
    let mut read = 0;
    while let Some(Ok(packet)) = packets.next() {
        match packet {
            Packet::Data(data) => write_data(&mut out, data),
            Packet::Flush => write_flush(&mut out),
            Packet::Delim => write_delim(&mut out),
            Packet::ResponseEnd => write_response_end(&mut out),
        }
        read = bytes.len() - packets.rest().len();
    }
    // Length digits may be of either case; we write lower case.
    assert!(out.eq_ignore_ascii_case(&bytes[..read]));
    let mut banded = Vec::new();
    write_on_band(&mut banded, &out).expect("written by us");
});
