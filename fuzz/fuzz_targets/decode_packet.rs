//! Bytes from a peer, in any version of the protocol.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| midge_fuzz::decode_packet::check(input));
