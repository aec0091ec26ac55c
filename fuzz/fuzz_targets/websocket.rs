//! A WebSocket peer, before and after the upgrade.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| midge_fuzz::websocket::check(input));
