//! Two clients, whatever they send and whenever they go, and a broker.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| midge_fuzz::connection::check(input));
